//! A model server that says what it is told to, byte by byte: for what no well-behaved server
//! does.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

/// What is done on a connection.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Sends these bytes at once.
    Send(String),
    Wait(Duration),
    /// Closes the connection.
    Close,
}

/// A request that came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) line: String,
    pub(crate) body: serde_json::Value,
}

type Rule = dyn Fn(&Seen) -> Vec<Act> + Send + Sync;

/// A server. Dropping it stops it.
pub(crate) struct Stub {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    _task: AbortOnDropHandle<()>,
}

impl Stub {
    pub(crate) async fn start(rule: impl Fn(&Seen) -> Vec<Act> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("has an address");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (rule, log): (Arc<Rule>, _) = (Arc::new(rule), Arc::clone(&seen));
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, Arc::clone(&rule), Arc::clone(&log)));
            }
        });
        Self { address, seen, _task: AbortOnDropHandle::new(task) }
    }

    pub(crate) fn url(&self) -> url::Url {
        format!("http://{}", self.address).parse().expect("a URL")
    }

    /// Requests whose first line holds this.
    pub(crate) fn seen(&self, part: &str) -> Vec<Seen> {
        let seen = self.seen.lock().expect("not poisoned");
        seen.iter().filter(|one| one.line.contains(part)).cloned().collect()
    }
}

async fn serve(stream: TcpStream, rule: Arc<Rule>, log: Arc<Mutex<Vec<Seen>>>) {
    let mut stream = BufReader::new(stream);
    while let Some(seen) = request(&mut stream).await {
        log.lock().expect("not poisoned").push(seen.clone());
        for act in rule(&seen) {
            match act {
                Act::Send(text) => {
                    if stream.get_mut().write_all(text.as_bytes()).await.is_err() {
                        return;
                    }
                }
                Act::Wait(time) => tokio::time::sleep(time).await,
                Act::Close => return,
            }
        }
    }
}

async fn request(stream: &mut BufReader<TcpStream>) -> Option<Seen> {
    let mut line = String::new();
    if stream.read_line(&mut line).await.ok()? == 0 {
        return None;
    }
    let mut headers = HashMap::new();
    loop {
        let mut header = String::new();
        stream.read_line(&mut header).await.ok()?;
        let Some((name, value)) = header.trim().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    let body = serde_json::from_slice(&body).unwrap_or_default();
    Some(Seen { line: line.trim().to_owned(), body })
}

/// A whole response.
pub(crate) fn response(status: u16, body: &str) -> Vec<Act> {
    let length = body.len();
    vec![Act::Send(format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n\r\n{body}"))]
}

/// The head of a response in chunks.
pub(crate) fn chunked() -> Act {
    Act::Send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_owned())
}

/// A chunk.
pub(crate) fn chunk(data: &str) -> Act {
    Act::Send(format!("{:x}\r\n{data}\r\n", data.len()))
}

/// The end of a response in chunks.
pub(crate) fn end() -> Act {
    Act::Send("0\r\n\r\n".to_owned())
}

/// What an Ollama server answers to what is not a chat: it has every model, in memory.
pub(crate) fn ollama(seen: &Seen) -> Vec<Act> {
    let path = seen.line.split(' ').nth(1).unwrap_or_default();
    match path {
        "/api/version" => response(200, r#"{"version":"0.20.0"}"#),
        "/api/show" => {
            response(200, r#"{"details":{"family":"llama"},"capabilities":["completion","tools"]}"#)
        }
        "/api/ps" => {
            let names = ["small", "big"].map(|name| format!(r#"{{"name":"{name}:latest"}}"#));
            response(200, &format!(r#"{{"models":[{}]}}"#, names.join(",")))
        }
        _ => response(404, r#"{"error":"no such path"}"#),
    }
}
