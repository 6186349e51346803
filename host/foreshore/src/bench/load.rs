//! An HTTP load generator: one thread, keep-alive connections, one request in flight on each.
//!
//! It parses no more of a response than it must (status and Content-Length), so that what is
//! measured is the server.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What a run of load saw.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    /// Responses with status 200 per second.
    pub(crate) per_second: f64,
    /// The 99th percentile of the time from request to whole response, in microseconds.
    pub(crate) p99_us: f64,
}

/// Sends `request` over `connections` for `duration`. Every response must be a 200.
pub(crate) fn run(
    address: SocketAddr,
    request: &[u8],
    connections: usize,
    duration: Duration,
) -> anyhow::Result<Load> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async move {
        let request: std::rc::Rc<[u8]> = request.into();
        let end = Instant::now() + duration;
        let start = Instant::now();
        let tasks: Vec<_> = (0..connections)
            .map(|_| tokio::task::spawn_local(connection(address, request.clone(), end)))
            .collect();
        let mut latencies = Vec::new();
        for task in tasks {
            latencies.extend(task.await??);
        }
        let seconds = start.elapsed().as_secs_f64();
        if latencies.is_empty() {
            bail!("{address} answered nothing");
        }
        latencies.sort_unstable();
        Ok(Load {
            per_second: super::figures::float(latencies.len()) / seconds,
            p99_us: super::figures::percentile_us(&latencies, 0.99),
        })
    })
}

async fn connection(
    address: SocketAddr,
    request: std::rc::Rc<[u8]>,
    end: Instant,
) -> anyhow::Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(address).await.context("connecting")?;
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 64 << 10];
    let mut latencies = Vec::with_capacity(1 << 14);
    while Instant::now() < end {
        let sent = Instant::now();
        stream.write_all(&request).await?;
        response(&mut stream, &mut buffer).await?;
        latencies.push(sent.elapsed());
    }
    Ok(latencies)
}

/// Reads one response with a Content-Length that fits the buffer.
async fn response(stream: &mut TcpStream, buffer: &mut [u8]) -> anyhow::Result<()> {
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).await?;
        if read == 0 {
            bail!("the server closed the connection");
        }
        filled += read;
        let Some(head) = head_length(&buffer[..filled]) else { continue };
        if !buffer.starts_with(b"HTTP/1.1 200") {
            bail!("not a 200: {}", String::from_utf8_lossy(&buffer[..filled.min(512)]));
        }
        let total = head + body_length(&buffer[..head])?;
        while filled < total {
            let read = stream.read(&mut buffer[filled..]).await?;
            if read == 0 {
                bail!("the response broke off");
            }
            filled += read;
        }
        return Ok(());
    }
}

fn head_length(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

/// Content-Length, or the length of a body in one chunk (what `wasmtime serve` sends is read up
/// to its last chunk by the caller's buffer, so both forms are understood).
fn body_length(head: &[u8]) -> anyhow::Result<usize> {
    let head = std::str::from_utf8(head)?;
    for line in head.split("\r\n") {
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            return Ok(value.trim().parse()?);
        }
    }
    bail!("a response without Content-Length: {head}")
}
