//! `overload`: requests come whether or not those before them were answered, at twice and at five
//! times the rate that the host can do.
//!
//! The generator has the same cores as the host, so the host has less of them than in the closed
//! loop that finds its peak; what it still gets done is what counts.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc};
use tokio::task::{JoinHandle, LocalSet, spawn_local};

use super::figures::{float, median, percentile_us};
use super::http;
use super::load::{self, response};
use super::{Effort, Row, Target};

const PATH: &str = "/v1/tools/bench.compute/call";
/// Some hundred microseconds of work.
const BODY: &str = r#"{"kernel":"sieve","rounds":1}"#;
/// Connections of the open loop: each has one request under way.
const CONNECTIONS: usize = 400;
const CLOSED: usize = 32;
const ROUND: Duration = Duration::from_secs(2);
const REFUSED_MAX_US: f64 = 5_000.0;
const PROBE_MAX_US: f64 = 100_000.0;
/// How often somebody looks whether the host is well.
const PROBE_EVERY: Duration = Duration::from_millis(20);

pub(super) fn run(effort: &Effort) -> anyhow::Result<Vec<Row>> {
    let directory = tempfile::tempdir()?;
    let (server, token) = http::ours(directory.path())?;
    let request = format!(
        "POST {PATH} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    let mut rows = Vec::new();
    for times in [2_u32, 5] {
        let (mut peaks, mut goodputs, mut refused, mut probes, mut share) =
            (vec![], vec![], vec![], vec![], vec![]);
        for _ in 0..effort.rounds.div_ceil(2) {
            let peak = load::run(server.address, request.as_bytes(), CLOSED, ROUND)?.per_second;
            let seen = open_loop(server.address, request.as_bytes(), peak * f64::from(times))?;
            peaks.push(peak);
            goodputs.push(float(seen.served) / ROUND.as_secs_f64());
            share.push(float(seen.refused.len()) / float(seen.refused.len() + seen.served));
            refused.push(p99_us(seen.refused));
            probes.push(p99_us(seen.probes));
        }
        let name = |what: &str| format!("overload/{times}x{what}");
        rows.push(Row {
            name: name(""),
            unit: "calls/s",
            floor: Some(median(&mut peaks)),
            ours: median(&mut goodputs),
            target: Target::RatioAtLeast(0.9),
            note: format!(
                "floor: the peak of a closed loop; {:.0} % of what came was refused",
                100.0 * median(&mut share)
            ),
        });
        let p99 = |what: &str, mut figures: Vec<f64>, most: f64, note: &str| Row {
            name: name(what),
            unit: "us",
            floor: None,
            ours: median(&mut figures),
            target: Target::AtMost(most),
            note: note.to_owned(),
        };
        rows.push(p99("/refused", refused, REFUSED_MAX_US, "p99 of refusals, from the request on"));
        rows.push(p99("/healthz", probes, PROBE_MAX_US, "p99 of probes meanwhile"));
    }
    Ok(rows)
}

fn p99_us(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    percentile_us(&times, 0.99)
}

/// What an open loop saw.
#[derive(Default)]
struct Seen {
    served: usize,
    refused: Vec<Duration>,
    probes: Vec<Duration>,
}

/// Requests at a rate, for a round.
fn open_loop(address: SocketAddr, request: &[u8], per_second: f64) -> anyhow::Result<Seen> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async move {
        let request: Rc<[u8]> = request.into();
        // What finds no connection free waits here, as it would in a kernel.
        let (sender, due) = mpsc::unbounded_channel();
        let due = Rc::new(Mutex::new(due));
        let end = Instant::now() + ROUND;
        let workers: Vec<_> = (0..CONNECTIONS)
            .map(|_| spawn_local(work(address, Rc::clone(&request), Rc::clone(&due), end)))
            .collect();
        let prober: JoinHandle<anyhow::Result<Vec<Duration>>> = spawn_local(probe(address));
        let start = Instant::now();
        let mut sent = 0.0;
        while Instant::now() < end {
            while sent < start.elapsed().as_secs_f64() * per_second {
                sender.send(()).context("the workers are gone")?;
                sent += 1.0;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        drop(sender);
        let mut seen = Seen { probes: prober.await??, ..Seen::default() };
        for worker in workers {
            let (served, refused) = worker.await??;
            seen.served += served;
            seen.refused.extend(refused);
        }
        Ok(seen)
    })
}

async fn work(
    address: SocketAddr,
    request: Rc<[u8]>,
    due: Rc<Mutex<mpsc::UnboundedReceiver<()>>>,
    end: Instant,
) -> anyhow::Result<(usize, Vec<Duration>)> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 16 << 10];
    let (mut served, mut refused) = (0, Vec::new());
    loop {
        let next = due.lock().await.recv().await;
        // What was not sent by the end of the round is not sent any more.
        if next.is_none() || Instant::now() >= end {
            return Ok((served, refused));
        }
        let sent = Instant::now();
        stream.write_all(&request).await?;
        match response(&mut stream, &mut buffer).await? {
            200 => served += 1,
            429 | 503 => refused.push(sent.elapsed()),
            other => bail!("{other} is no answer to a call that is fine"),
        }
    }
}

async fn probe(address: SocketAddr) -> anyhow::Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(address).await?;
    let mut buffer = vec![0; 16 << 10];
    let mut times = Vec::new();
    let end = Instant::now() + ROUND;
    while Instant::now() < end {
        let asked = Instant::now();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await?;
        if response(&mut stream, &mut buffer).await? != 200 {
            bail!("the host is not well under load");
        }
        times.push(asked.elapsed());
        tokio::time::sleep(PROBE_EVERY).await;
    }
    Ok(times)
}
