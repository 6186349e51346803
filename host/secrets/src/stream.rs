//! What comes in parts: a value that is cut in two is found like a whole one.

use std::sync::Arc;

use crate::scan::{Scanner, text_of};

/// A value was about to leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leak {
    /// Its name.
    pub name: Arc<str>,
}

/// A stream of bytes that nobody sees before it was looked at: what may be the start of a value is
/// held back until it is known.
#[derive(Debug, Default)]
pub struct Stream {
    held: Vec<u8>,
}

impl Stream {
    /// What may go on of the next part, with values replaced.
    pub fn redacted(&mut self, scanner: &Scanner, part: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(part);
        let unfinished = self.held.len() - scanner.unfinished(&self.held);
        let (ready, done) = scanner.replaced(&self.held, 0..unfinished);
        self.held.drain(..done);
        ready
    }

    /// What may go on of the next part; nothing of a value, not even its start.
    ///
    /// # Errors
    /// [`Leak`].
    pub fn checked(&mut self, scanner: &Scanner, part: &[u8]) -> Result<Vec<u8>, Leak> {
        self.held.extend_from_slice(part);
        if let Some(name) = scanner.find(&self.held) {
            return Err(Leak { name: Arc::clone(name) });
        }
        let unfinished = scanner.unfinished(&self.held);
        let held = self.held.split_off(self.held.len() - unfinished);
        Ok(std::mem::replace(&mut self.held, held))
    }

    /// How many bytes are held back.
    pub fn held_bytes(&self) -> usize {
        self.held.len()
    }

    /// What was held back, when nothing more comes: the start of a value is none.
    pub fn end(&mut self, scanner: &Scanner) -> Vec<u8> {
        let held = std::mem::take(&mut self.held);
        scanner.redacted(&held).unwrap_or(held)
    }
}

/// The end of what somebody was told in parts that could not wait for each other: of a value that
/// is cut in two, the part that was not told yet is replaced.
#[derive(Debug, Default)]
pub struct Tail(Vec<u8>);

impl Tail {
    /// The next text, if it has to be another.
    pub fn redacted(&mut self, scanner: &Scanner, text: &str) -> Option<String> {
        let from = self.0.len();
        self.0.extend_from_slice(text.as_bytes());
        let (replaced, _) = scanner.replaced(&self.0, from..self.0.len());
        let kept = self.0.len().saturating_sub(scanner.longest());
        let is_same = replaced == text.as_bytes();
        self.0.drain(..kept);
        (!is_same).then(|| text_of(replaced))
    }
}
