//! Views: tables that follow from the journal's events alone, for those who read.
//!
//! A view is written in the transaction of the events it follows from, and can be made again
//! from them at any time. Deliberately absent: clocks, quotas and decisions (an event is
//! applied as it stands: whether it might happen was decided before it was recorded). The
//! invariant: **the same events in the same order give the same rows**, whatever transactions
//! they come in.
#![allow(dead_code, reason = "the journal's writer is the caller of what is crate-wide here")]

mod codec;
pub mod memory;
pub mod variables;

use std::fmt;

/// An event as a view takes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventRef<'a> {
    /// Its place in the journal.
    pub(crate) seq: u64,
    /// When, in milliseconds since 1970.
    pub(crate) at_unix_ms: u64,
    /// Whose.
    pub(crate) tenant: &'a str,
    /// Its aggregate. The views go by the payload, which names it too.
    pub(crate) stream: &'a str,
    /// What happened.
    pub(crate) kind: &'a str,
    /// JSON.
    pub(crate) payload: &'a [u8],
}

/// What an event did to a view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Receipt {
    /// The version that the event made; where it changed nothing, the latest one, or 0.
    pub(crate) version: u64,
    /// Whether anything changed.
    pub(crate) changed: bool,
    /// Which cached reads are no longer true; for [`memory::ReadCache::changed`].
    pub(crate) touched: Option<memory::Touched>,
}

/// A view could not be written or read.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ViewError {
    /// The disk failed.
    #[error("a view could not be read or written: {message}")]
    Storage {
        /// What redb or the system said.
        message: String,
    },
    /// An event's payload is not of its kind's form.
    #[error("event {seq} is not a valid {kind}: {message}")]
    Payload {
        /// Its place in the journal.
        seq: u64,
        /// Its kind.
        kind: String,
        /// What does not hold.
        message: String,
    },
    /// An event of a kind that this view does not follow.
    #[error("event {seq} is of the kind {kind:?}, which this view does not follow")]
    Kind {
        /// Its place in the journal.
        seq: u64,
        /// Its kind.
        kind: String,
    },
    /// A row is not what was written there; the view can be made again from the journal.
    #[error("a row of the view of {what} does not parse: run `foreshore store rebuild`")]
    Malformed {
        /// Of what.
        what: &'static str,
    },
    /// A namespace has had more writes than can be numbered.
    #[error(
        "namespace {namespace:?} had 4294967295 writes since the view was built: run `foreshore store rebuild`"
    )]
    Full {
        /// Which.
        namespace: String,
    },
}

impl ViewError {
    fn payload(event: &EventRef<'_>, message: &dyn fmt::Display) -> Self {
        Self::Payload { seq: event.seq, kind: event.kind.to_owned(), message: message.to_string() }
    }
}

fn storage(error: impl Into<redb::Error>) -> ViewError {
    ViewError::Storage { message: error.into().to_string() }
}

/// Reads an event's payload.
fn payload<T: serde::de::DeserializeOwned>(event: &EventRef<'_>) -> Result<T, ViewError> {
    serde_json::from_slice(event.payload).map_err(|error| ViewError::payload(event, &error))
}
