//! Verification of an exported journal, written from the description of its formats alone.
//!
//! ```text
//! export     = "FORESHORE JOURNAL EXPORT 1\n" | journal_id:16 | first_seq:u64
//!              | previous_hash:32 | event* | 0xffffffff:u32 | count:u64 | tip_hash:32
//! event      = length:u32 | body | hash:32                (integers are little-endian)
//! body       = at_unix_ms:u64 | tenant | stream | kind | payload   (each length:u32 | bytes)
//! hash(n)    = BLAKE3-derive("foreshore journal event 1", hash(n-1) | seq:u64 | body)
//! checkpoint = a line of JSON: journal, epoch, seq, hash, at_unix_ms, key, signature
//! ```
//!
//! Deliberately absent: any code of the program that writes journals. The invariant: an answer
//! of "verified" means that every event up to the newest checkpoint is the one that was signed.
#![forbid(unsafe_code)]

mod chain;
mod checkpoint;
mod export;

pub use chain::{Report, Trust, verify};
pub use checkpoint::{Checkpoint, parse_key};

/// What is wrong, and where it is first seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The first event that does not hold; 0 if it is not about an event.
    pub seq: u64,
    /// What is wrong with it.
    pub what: String,
}

impl Finding {
    fn new(seq: u64, what: impl Into<String>) -> Self {
        Self { seq, what: what.into() }
    }
}

/// Why there is no answer, or a bad one.
#[derive(Debug)]
pub enum Failure {
    /// The journal is not what was signed.
    Wrong(Finding),
    /// It cannot be read.
    Io(std::io::Error),
}

impl From<Finding> for Failure {
    fn from(finding: Finding) -> Self {
        Self::Wrong(finding)
    }
}
