//! Server-sent events as they come: a request in HTTP/1.0, so that the body is not in chunks.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Of those that are on record.
    pub id: Option<u64>,
    pub name: String,
    pub data: Value,
}

/// The events of one answer; they end when the server ends them, or is gone.
pub struct Events(BufReader<TcpStream>);

impl Events {
    /// Asks for events with `body`, or with none by `GET`.
    pub fn open(
        address: SocketAddr,
        path: &str,
        after: Option<u64>,
        body: Option<&Value>,
    ) -> std::io::Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(90)))?;
        let body = body.map(Value::to_string);
        let method = if body.is_some() { "POST" } else { "GET" };
        let mut text =
            format!("{method} {path} HTTP/1.0\r\nhost: {address}\r\naccept: text/event-stream\r\n");
        text.push_str(&super::http::authorization(address));
        if let Some(after) = after {
            text.push_str(&format!("last-event-id: {after}\r\n"));
        }
        if let Some(body) = &body {
            let length = body.len();
            text.push_str(&format!(
                "content-type: application/json\r\ncontent-length: {length}\r\n"
            ));
        }
        text.push_str("\r\n");
        text.push_str(body.as_deref().unwrap_or_default());
        stream.write_all(text.as_bytes())?;
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if !line.contains(" 200 ") {
            return Err(std::io::Error::other(format!("{path}: {line:?}")));
        }
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Err(std::io::Error::other(format!("{path}: the head has no end")));
            }
        }
        Ok(Self(reader))
    }
}

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let mut event = Event { id: None, name: String::new(), data: Value::Null };
        let mut line = String::new();
        loop {
            line.clear();
            if self.0.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let text = line.trim_end();
            match text.split_once(": ") {
                Some(("id", id)) => event.id = id.parse().ok(),
                Some(("event", name)) => name.clone_into(&mut event.name),
                Some(("data", data)) => event.data = serde_json::from_str(data).expect("JSON"),
                _ if text.is_empty() && !event.name.is_empty() => return Some(event),
                _ => {}
            }
        }
    }
}
