//! `http-call`: a tool call over HTTP, beside a server that only says hello on the same stack,
//! and beside `wasmtime serve` doing the same JSON work, at its defaults and tuned.
//!
//! Each server is a process of its own and is asked in turn by the same load generator.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};

use super::figures::median;
use super::load::{self, Load};
use super::{Effort, Row, Target};

const CONNECTIONS: usize = 64;
const ROUND: Duration = Duration::from_millis(1_500);
const BODY: &str = super::control::ARGUMENTS;

pub(super) fn run(effort: &Effort) -> anyhow::Result<Vec<Row>> {
    let directory = tempfile::tempdir()?;
    let (server, token) = ours(directory.path())?;
    let mut ours = Asked::new("ours", server, &post_as("/v1/tools/bench.add/call", Some(&token)));
    let mut hello = Asked::new("hello", hello_process()?, &post("/"));
    let mut peers = peers(directory.path())?;
    for _ in 0..effort.rounds {
        hello.ask()?;
        ours.ask()?;
        for peer in &mut peers {
            peer.ask()?;
        }
    }
    let (our_rate, our_p99) = ours.medians();
    let (floor, floor_p99) = hello.medians();
    let mut rows = vec![Row {
        name: "http-call".to_owned(),
        unit: "requests/s",
        floor: Some(floor),
        ours: our_rate,
        target: Target::RatioAtLeast(0.4),
        note: format!(
            "floor: hyper saying hello, p99 {floor_p99:.0} us; ours: POST tool call, p99 {our_p99:.0} us; {CONNECTIONS} connections"
        ),
    }];
    for (peer, target) in peers.iter_mut().zip([3.5, 1.1]) {
        let (rate, p99) = peer.medians();
        rows.push(Row {
            name: format!("http-call/{}", peer.name),
            unit: "requests/s",
            floor: Some(rate),
            ours: our_rate,
            target: Target::RatioAtLeast(target),
            note: format!("floor: {} doing the same JSON work, p99 {p99:.0} us", peer.name),
        });
    }
    if peers.is_empty() {
        eprintln!(
            "http-call: wasmtime is not on PATH nor named by FORESHORE_BENCH_WASMTIME, so it is not compared with \
             (cargo install wasmtime-cli --version 48.0.8 --locked)"
        );
    }
    Ok(rows)
}

/// A server process and what it answered.
struct Asked {
    name: &'static str,
    server: Server,
    request: Vec<u8>,
    loads: Vec<Load>,
}

impl Asked {
    fn new(name: &'static str, server: Server, request: &str) -> Self {
        Self { name, server, request: request.as_bytes().to_vec(), loads: Vec::new() }
    }

    fn ask(&mut self) -> anyhow::Result<()> {
        let load = load::run(self.server.address, &self.request, CONNECTIONS, ROUND)
            .with_context(|| format!("asking {}", self.name))?;
        self.loads.push(load);
        Ok(())
    }

    fn medians(&self) -> (f64, f64) {
        let mut rates: Vec<f64> = self.loads.iter().map(|load| load.per_second).collect();
        let mut p99s: Vec<f64> = self.loads.iter().map(|load| load.p99_us).collect();
        (median(&mut rates), median(&mut p99s))
    }
}

fn post(path: &str) -> String {
    post_as(path, None)
}

fn post_as(path: &str, token: Option<&str>) -> String {
    let shown = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{shown}content-length: {}\r\n\r\n{BODY}",
        BODY.len()
    )
}

/// A process that is ended with its owner.
pub(super) struct Server {
    child: Child,
    pub(super) address: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts a process that says `listening on http://ADDR` on its first line.
    pub(super) fn announced(command: &mut Command) -> anyhow::Result<Self> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().context("standard output is piped")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let Some(address) = line.trim().strip_prefix("listening on http://") else {
            let _ = child.kill();
            bail!("the server said {line:?}");
        };
        Ok(Self { address: address.parse()?, child })
    }
}

/// A server of our own, and the token that it takes.
fn ours(directory: &Path) -> anyhow::Result<(Server, String)> {
    let components = directory.join("components");
    std::fs::create_dir(&components)?;
    std::fs::write(components.join("bench.wasm"), super::control::bench_guest()?)?;
    let data = directory.join("data");
    let server = Server::announced(
        Command::new(std::env::current_exe()?)
            .args(["serve", "--listen", "127.0.0.1:0", "--components"])
            .arg(&components)
            .arg("--data")
            .arg(&data)
            .current_dir(directory),
    )?;
    let token = std::fs::read_to_string(crate::token_file::path(&data)).context("the token")?;
    Ok((server, token.trim().to_owned()))
}

fn hello_process() -> anyhow::Result<Server> {
    Server::announced(Command::new(std::env::current_exe()?).args(["bench", "--part", "hello"]))
}

/// `wasmtime serve`, at its defaults and tuned; nothing where there is no wasmtime.
fn peers(directory: &Path) -> anyhow::Result<Vec<Asked>> {
    let Some(wasmtime) = wasmtime() else { return Ok(Vec::new()) };
    let wasm = directory.join("bench-http.wasm");
    std::fs::write(&wasm, super::control::bench_http_guest()?)?;
    let tuned = [
        "-Opooling-allocator=y",
        "-Opooling-memory-keep-resident=1048576",
        "-Opooling-table-keep-resident=65536",
        "-Opooling-async-stack-keep-resident=65536",
        "-Opooling-max-memory-size=67108864",
        "-Omemory-reservation=67108864",
        "-Opooling-max-unused-warm-slots=1000",
        "-Opooling-pagemap-scan=auto",
    ];
    Ok(vec![
        Asked::new("wasmtime-serve", peer(&wasmtime, &wasm, &[])?, &post("/")),
        Asked::new("wasmtime-serve-tuned", peer(&wasmtime, &wasm, &tuned)?, &post("/")),
    ])
}

fn wasmtime() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("FORESHORE_BENCH_WASMTIME") {
        return Some(named.into());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join("wasmtime")).find(|file| file.is_file())
}

/// It announces its address on no line that can be read, so a free port is picked for it.
fn peer(wasmtime: &Path, wasm: &Path, options: &[&str]) -> anyhow::Result<Server> {
    let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let child = Command::new(wasmtime)
        .args(["serve", "-Scli"])
        .args(options)
        .arg("--addr")
        .arg(address.to_string())
        .arg(wasm)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("starting {}", wasmtime.display()))?;
    let server = Server { child, address };
    let end = Instant::now() + Duration::from_secs(30);
    while std::net::TcpStream::connect(address).is_err() {
        if Instant::now() > end {
            bail!("{} serve did not listen in 30 s", wasmtime.display());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(server)
}

/// The floor's process: hyper as the gateway uses it, and one fixed answer.
pub(super) fn hello() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        println!("listening on http://{}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .serve_connection(TokioIo::new(stream), service_fn(answer)),
            );
        }
    })
}

async fn answer(
    _: hyper::Request<hyper::body::Incoming>,
) -> Result<hyper::Response<Full<Bytes>>, std::convert::Infallible> {
    let mut response = hyper::Response::new(Full::new(Bytes::from_static(br#"{"sum":42}"#)));
    let json = hyper::header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, json);
    Ok(response)
}
