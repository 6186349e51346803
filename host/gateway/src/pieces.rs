//! The pieces of a model's answer on their way to a client that reads them as they come, in
//! whatever wire format.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use foreshore_domain::inference::{Delta, DeltaSink, ToolCall};
use tokio::sync::mpsc;

/// Pieces of an answer that wait for a client at once.
const WAITING_MAX: usize = 1_024;

/// A piece of an answer.
pub(crate) enum Piece {
    Text(String),
    Thinking(String),
    ToolCall(ToolCall),
}

/// Passes pieces on. Never blocks: what finds no room fails the stream, since a text with a hole
/// in it would be a false one. Kept to the end: the pieces end with the last of its clones.
pub(crate) struct Passing {
    to: mpsc::Sender<Piece>,
    overflowed: AtomicBool,
}

/// Where pieces are passed on, and where they come out.
pub(crate) fn passing() -> (Arc<Passing>, mpsc::Receiver<Piece>) {
    let (to, pieces) = mpsc::channel(WAITING_MAX);
    (Arc::new(Passing { to, overflowed: AtomicBool::new(false) }), pieces)
}

impl Passing {
    /// A piece found no room: the client reads too slowly, and what it has is not whole.
    pub(crate) fn has_overflowed(&self) -> bool {
        self.overflowed.load(Ordering::Relaxed)
    }
}

impl DeltaSink for Passing {
    fn delta(&self, delta: Delta<'_>) {
        let piece = match delta {
            Delta::Text(text) => Piece::Text(text.to_owned()),
            Delta::Thinking(text) => Piece::Thinking(text.to_owned()),
            Delta::ToolCall(call) => Piece::ToolCall(call.clone()),
        };
        if self.to.try_send(piece).is_err() {
            self.overflowed.store(true, Ordering::Relaxed);
        }
    }
}

/// All that has come and was not taken yet, as `write` writes it.
pub(crate) fn rest(
    pieces: &mut mpsc::Receiver<Piece>,
    mut write: impl FnMut(&Piece) -> Vec<u8>,
) -> Vec<u8> {
    let mut text = Vec::new();
    while let Ok(piece) = pieces.try_recv() {
        text.extend(write(&piece));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_is_known_and_the_rest_is_whole() {
        let (sink, mut pieces) = passing();
        for _ in 0..WAITING_MAX {
            sink.delta(Delta::Text("x"));
        }
        assert!(!sink.has_overflowed());
        sink.delta(Delta::Thinking("y"));
        assert!(sink.has_overflowed());
        let text = rest(&mut pieces, |piece| match piece {
            Piece::Text(text) => text.clone().into_bytes(),
            Piece::Thinking(_) | Piece::ToolCall(_) => panic!("it found no room"),
        });
        assert_eq!(text.len(), WAITING_MAX);
    }
}
