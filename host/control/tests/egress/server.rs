//! A server on loopback that counts connections, keeps the bytes it receives, and answers with
//! bytes that a test wrote, however malformed.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

/// What the server does with a connection.
#[derive(Clone)]
pub(crate) enum Answer {
    /// These bytes, then the end of the connection.
    Bytes(Vec<u8>),
    /// The head, then this part again and again, with a pause between, until the other side goes.
    Endless { head: Vec<u8>, part: Vec<u8>, pause: Duration },
    /// Nothing, ever.
    Silence,
}

impl Answer {
    pub(crate) fn ok(body: &[u8]) -> Self {
        Self::with("200 OK", &[], body)
    }

    pub(crate) fn with(status: &str, fields: &[&str], body: &[u8]) -> Self {
        let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
        let length = body.len();
        let head = format!("HTTP/1.1 {status}\r\n{fields}content-length: {length}\r\n\r\n");
        Self::Bytes([head.as_bytes(), body].concat())
    }
}

/// A running server; it ends when it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    sent_bytes: AtomicUsize,
    requests: Mutex<Vec<Vec<u8>>>,
}

impl Server {
    pub(crate) async fn start(answer: Answer) -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), answer).await
    }

    pub(crate) async fn start_at(address: SocketAddr, answer: Answer) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let task = tokio::spawn(serve(listener, answer, Arc::clone(&seen)));
        Self { address, seen, _task: AbortOnDropHandle::new(task) }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Connections that came in, answered or not.
    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// Bytes that the other side let the server send.
    pub(crate) fn sent_bytes(&self) -> usize {
        self.seen.sent_bytes.load(Ordering::SeqCst)
    }

    /// The heads and the first bytes of the bodies of all requests.
    pub(crate) fn requests(&self) -> Vec<String> {
        let requests = self.seen.requests.lock().unwrap();
        requests.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect()
    }
}

async fn serve(listener: TcpListener, answer: Answer, seen: Arc<Seen>) {
    while let Ok((stream, _)) = listener.accept().await {
        seen.connections.fetch_add(1, Ordering::SeqCst);
        tokio::spawn(converse(stream, answer.clone(), Arc::clone(&seen)));
    }
}

async fn converse(mut stream: TcpStream, answer: Answer, seen: Arc<Seen>) {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read_buf(&mut request).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
    if has_body(&request) {
        // What else is on its way; enough for the small bodies of these tests.
        let rest = stream.read_buf(&mut request);
        let _ = tokio::time::timeout(Duration::from_millis(200), rest).await;
    }
    seen.requests.lock().unwrap().push(request);
    match answer {
        Answer::Bytes(bytes) => {
            if stream.write_all(&bytes).await.is_ok() {
                seen.sent_bytes.fetch_add(bytes.len(), Ordering::SeqCst);
            }
            let _ = stream.shutdown().await;
        }
        Answer::Endless { head, part, pause } => {
            let mut next = head;
            while stream.write_all(&next).await.is_ok() {
                seen.sent_bytes.fetch_add(next.len(), Ordering::SeqCst);
                next.clone_from(&part);
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
            }
        }
        Answer::Silence => std::future::pending().await,
    }
}

fn has_body(request: &[u8]) -> bool {
    let head = String::from_utf8_lossy(request).to_ascii_lowercase();
    head.contains("transfer-encoding:")
        || (head.contains("content-length:") && !head.contains("content-length: 0"))
}
