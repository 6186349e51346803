//! Server-sent events, as they come (WHATWG HTML, section 9.2).
//!
//! Deliberately absent: coming back by itself. Whoever reads knows what a stream that broke off
//! means, and where to go on.

use anyhow::{Context as _, anyhow};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::Value;

use crate::cli::exit::Failure;

/// The most that one event may hold: the events of turns are smaller.
const EVENT_MAX_BYTES: usize = 16 << 20;

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ServerEvent {
    pub(crate) name: String,
    pub(crate) data: Value,
}

/// Events of one answer.
pub(crate) struct EventStream {
    body: Incoming,
    lines: Lines,
}

impl EventStream {
    pub(crate) fn new(body: Incoming) -> Self {
        Self { body, lines: Lines::default() }
    }

    /// The next event; `None` where the server ended the stream. What was read stays if the wait
    /// for more is given up.
    ///
    /// # Errors
    /// The connection broke, or what came is no event.
    pub(crate) async fn next(&mut self) -> Result<Option<ServerEvent>, Failure> {
        loop {
            if let Some(event) = self.lines.event()? {
                return Ok(Some(event));
            }
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            let frame = frame.context("the server went away")?;
            self.lines.take(frame.data_ref().map_or(&[][..], |data| data))?;
        }
    }
}

/// What came and is no whole event yet.
#[derive(Default)]
struct Lines {
    held: Vec<u8>,
    name: String,
    data: Vec<u8>,
}

impl Lines {
    fn take(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.held.extend_from_slice(bytes);
        if self.held.len() + self.data.len() > EVENT_MAX_BYTES {
            let text = format!("an event is larger than {EVENT_MAX_BYTES} bytes");
            return Err(Failure::Other(anyhow!(text)));
        }
        Ok(())
    }

    fn event(&mut self) -> Result<Option<ServerEvent>, Failure> {
        while let Some(end) = self.held.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.held.drain(..=end).collect();
            let line = line.trim_ascii_end();
            if let Some(name) = line.strip_prefix(b"event:") {
                self.name = String::from_utf8_lossy(name.trim_ascii()).into_owned();
            } else if let Some(data) = line.strip_prefix(b"data:") {
                self.data.extend_from_slice(data);
            } else if line.is_empty() && !self.data.is_empty() {
                let data = std::mem::take(&mut self.data);
                let data = serde_json::from_slice(&data).context("an event is no JSON")?;
                return Ok(Some(ServerEvent { name: std::mem::take(&mut self.name), data }));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_come_whole_however_the_bytes_are_cut() {
        let text = b": listening\n\nid: 7\nevent: message.delta\ndata: {\"text\":\"a\"}\n\nevent: error\ndata: {\"state\":\"failed\"}\n\n";
        for cut in 1..text.len() {
            let (mut lines, mut events) = (Lines::default(), Vec::new());
            for part in text.chunks(cut) {
                lines.take(part).expect("it is small");
                while let Some(event) = lines.event().expect("it is JSON") {
                    events.push((event.name, event.data));
                }
            }
            let wanted = [
                ("message.delta".to_owned(), json!({"text": "a"})),
                ("error".to_owned(), json!({"state": "failed"})),
            ];
            assert_eq!(events, wanted, "in pieces of {cut} bytes");
        }
    }

    #[test]
    fn an_event_without_an_end_is_refused() {
        let mut lines = Lines::default();
        assert!(lines.take(&vec![b'a'; EVENT_MAX_BYTES + 1]).is_err());
    }
}
