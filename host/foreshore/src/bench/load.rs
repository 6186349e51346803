//! An HTTP load generator: one thread, keep-alive connections, one request in flight on each.
//!
//! It parses no more of a response than it must (status and Content-Length), so that what is
//! measured is the server.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What a run of load saw.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    /// Responses.
    pub(crate) answers: usize,
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
    let end = Instant::now() + duration;
    let request: Rc<[u8]> = request.into();
    let on_each = (0..connections).map(|_| {
        let request = Rc::clone(&request);
        std::iter::repeat_with(move || Rc::clone(&request))
            .take_while(move |_| Instant::now() < end)
    });
    of_all(address, on_each.collect())
}

/// Sends each of `requests` once, shared out among `connections`. Every response must be a 200.
pub(crate) fn each(
    address: SocketAddr,
    requests: &[Vec<u8>],
    connections: usize,
) -> anyhow::Result<Load> {
    let on_each = (0..connections).map(|first| {
        let own = requests.iter().skip(first).step_by(connections);
        own.map(|request| Rc::from(&request[..])).collect::<Vec<Rc<[u8]>>>().into_iter()
    });
    of_all(address, on_each.collect())
}

fn of_all<R>(address: SocketAddr, on_each: Vec<R>) -> anyhow::Result<Load>
where
    R: Iterator<Item = Rc<[u8]>> + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async move {
        let start = Instant::now();
        let tasks: Vec<_> = on_each
            .into_iter()
            .map(|requests| tokio::task::spawn_local(connection(address, requests)))
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
            answers: latencies.len(),
            per_second: super::figures::float(latencies.len()) / seconds,
            p99_us: super::figures::percentile_us(&latencies, 0.99),
        })
    })
}

async fn connection(
    address: SocketAddr,
    requests: impl Iterator<Item = Rc<[u8]>>,
) -> anyhow::Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(address).await.context("connecting")?;
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 64 << 10];
    let mut latencies = Vec::with_capacity(1 << 14);
    for request in requests {
        let sent = Instant::now();
        stream.write_all(&request).await?;
        let status = response(&mut stream, &mut buffer).await?;
        if status != 200 {
            bail!("not a 200: {}", String::from_utf8_lossy(&buffer[..512]));
        }
        latencies.push(sent.elapsed());
    }
    Ok(latencies)
}

/// Reads one response with a Content-Length that fits the buffer; its status.
pub(super) async fn response(stream: &mut TcpStream, buffer: &mut [u8]) -> anyhow::Result<u16> {
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).await?;
        if read == 0 {
            bail!("the server closed the connection");
        }
        filled += read;
        let Some(head) = head_length(&buffer[..filled]) else { continue };
        let status = std::str::from_utf8(&buffer[9..12])?.parse().context("a status")?;
        let total = head + body_length(&buffer[..head])?;
        while filled < total {
            let read = stream.read(&mut buffer[filled..]).await?;
            if read == 0 {
                bail!("the response broke off");
            }
            filled += read;
        }
        return Ok(status);
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
