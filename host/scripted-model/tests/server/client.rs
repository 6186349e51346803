//! A client that sees everything: bytes as they come, and how a connection ends.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use foreshore_scripted_model::{Format, Script, ScriptedServer};
use serde_json::{Value, json};

/// Serves a script in TOML.
pub(crate) fn serve(script: &str) -> ScriptedServer {
    let script = Script::parse(script, Format::Toml).expect("the script is sound");
    ScriptedServer::start(script, any_port()).expect("a free port")
}

pub(crate) fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// A response as it came.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// The body is all there, as its framing says.
    pub(crate) whole: bool,
    /// The connection was reset.
    pub(crate) reset: bool,
}

impl Seen {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("UTF-8")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    pub(crate) fn lines(&self) -> Vec<Value> {
        let text = self.text();
        text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    /// The data of the events, without `[DONE]`.
    pub(crate) fn events(&self) -> Vec<Value> {
        let text = self.text();
        let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
        let data = data.filter(|it| *it != "[DONE]");
        data.map(|it| serde_json::from_str(it).expect("an event of JSON")).collect()
    }
}

/// A connection on which one request was sent.
pub(crate) struct Sent {
    stream: TcpStream,
}

pub(crate) fn send(server: &ScriptedServer, method: &str, path: &str, body: &[u8]) -> Sent {
    send_with(server, method, path, body, "")
}

pub(crate) fn send_with(
    server: &ScriptedServer,
    method: &str,
    path: &str,
    body: &[u8],
    headers: &str,
) -> Sent {
    let mut stream = TcpStream::connect(server.address()).expect("the server listens");
    stream.set_nodelay(true).expect("a socket");
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("a connection");
    stream.write_all(body).expect("a connection");
    Sent { stream }
}

impl Sent {
    /// Whatever comes within `patience`; empty when nothing does.
    pub(crate) fn bytes_within(&mut self, patience: Duration) -> Vec<u8> {
        self.stream.set_read_timeout(Some(Duration::from_millis(10))).expect("a socket");
        let until = Instant::now() + patience;
        let mut all = Vec::new();
        let mut buffer = [0; 4096];
        while Instant::now() < until {
            match self.stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => all.extend_from_slice(&buffer[..count]),
                Err(_) => {}
            }
        }
        all
    }

    /// The whole response.
    pub(crate) fn seen(mut self) -> Seen {
        self.stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket");
        let mut all = Vec::new();
        let ended = self.stream.read_to_end(&mut all);
        let reset = ended.is_err_and(|it| it.kind() == std::io::ErrorKind::ConnectionReset);
        let Some(at) = all.windows(4).position(|it| it == b"\r\n\r\n") else {
            return Seen { status: 0, head: String::new(), body: all, whole: false, reset };
        };
        let head = String::from_utf8(all[..at].to_vec()).expect("a head is text");
        let status = head.split(' ').nth(1).and_then(|it| it.parse().ok()).expect("a status");
        let rest = &all[at + 4..];
        let (body, whole) = match head.to_lowercase().contains("transfer-encoding: chunked") {
            true => unchunk(rest),
            false => (rest.to_vec(), true),
        };
        Seen { status, head, body, whole, reset }
    }
}

fn unchunk(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let Some(at) = rest.windows(2).position(|it| it == b"\r\n") else { return (body, false) };
        let size = std::str::from_utf8(&rest[..at]).expect("a size is text");
        let size = usize::from_str_radix(size, 16).expect("a size is a number");
        if size == 0 {
            return (body, true);
        }
        let data = &rest[at + 2..];
        if data.len() < size + 2 {
            return (body, false);
        }
        body.extend_from_slice(&data[..size]);
        rest = &data[size + 2..];
    }
}

pub(crate) fn post(server: &ScriptedServer, path: &str, body: &Value) -> Seen {
    send(server, "POST", path, body.to_string().as_bytes()).seen()
}

pub(crate) fn get(server: &ScriptedServer, path: &str) -> Seen {
    send(server, "GET", path, b"").seen()
}

/// What a user says to the model `m`.
pub(crate) fn user(text: &str) -> Value {
    json!({ "model": "m", "messages": [{ "role": "user", "content": text }] })
}

/// The same, answered in one piece.
pub(crate) fn user_at_once(text: &str) -> Value {
    json!({ "model": "m", "stream": false, "messages": [{ "role": "user", "content": text }] })
}

/// Waits until something holds that comes about soon.
pub(crate) fn until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < end, "it never came about that {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
