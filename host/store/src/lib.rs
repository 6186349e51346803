//! The journal, in redb: the only crate that names it.
//!
//! One append-only table of *frames* (what one commit wrote), one writer thread, one BLAKE3
//! chain over all events. Deliberately absent: views, blobs and retention, which stand on the
//! journal and come after it; and any decision about what is worth recording, which is
//! `control`'s. The invariant: **what [`Journal::append`] acknowledged is on disk.**
#![forbid(unsafe_code)]

mod error;
pub mod floor;
mod frame;
mod journal;
mod queue;
mod table;
#[cfg(test)]
mod tests;
pub mod views;
mod writer;

pub use error::{AppendError, CorruptError, OpenError, ReadError};
pub use frame::{Event, Hash};
pub use journal::{Appended, Health, Journal, JournalConfig, Tip, Verified};
