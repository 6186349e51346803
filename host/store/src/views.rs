//! Views: tables that follow from the events alone, kept up to date in the transaction that
//! records the events.
//!
//! Each view has `apply`, `clear` and `dump`, and is named in this file once for each. An event
//! that concerns no view opens no table. Deliberately absent: any fact that is not in an event,
//! clocks, quotas and decisions (an event is applied as it stands: whether it might happen was
//! decided before it was recorded). The invariant: **a view made again from the journal is the
//! view that is there**, whatever transactions the events came in.

pub mod approvals;
pub(crate) mod blob_references;
pub mod budgets;
mod codec;
pub mod conversations;
pub mod credentials;
pub mod files;
pub mod memory;
pub mod questions;
pub mod secrets;
pub(crate) mod streams;
pub mod variables;

use std::fmt;

use foreshore_domain::conversation::kind as conversation_kind;
use foreshore_domain::memory::kind as memory_kind;
use foreshore_domain::variables::KIND_SET;
use redb::{ReadTransaction, WriteTransaction};

use self::blob_references::BlobReferences;
use self::streams::Streams;

/// An event where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EventRef<'a> {
    /// Its place in the journal.
    pub(crate) seq: u64,
    /// When, in milliseconds since 1970.
    pub(crate) at_unix_ms: u64,
    /// Whose.
    pub(crate) tenant: &'a str,
    /// Its aggregate. Views go by the payload, which names it too.
    pub(crate) stream: &'a str,
    /// What happened.
    pub(crate) kind: &'a str,
    /// JSON.
    pub(crate) payload: &'a [u8],
}

/// What the views made of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// The version that the event made; where it changed nothing, the latest one, or 0.
    pub version: u64,
    /// Whether any record changed.
    pub changed: bool,
    /// Which cached reads are no longer true.
    pub(crate) touched: Option<memory::Touched>,
}

impl Receipt {
    /// Nothing that its writer needs to know.
    pub(crate) const NONE: Self = Self { version: 0, changed: false, touched: None };
}

/// A view could not be written or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ViewError {
    /// The disk failed.
    #[error("a view could not be read or written: {message}")]
    Storage {
        /// What redb or the system said.
        message: String,
        /// There was no room.
        disk_full: bool,
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

impl<E: Into<redb::Error>> From<E> for ViewError {
    fn from(error: E) -> Self {
        storage(error)
    }
}

fn storage(error: impl Into<redb::Error>) -> ViewError {
    let error = error.into();
    let disk_full = crate::group::is_disk_full(&error);
    ViewError::Storage { message: error.to_string(), disk_full }
}

/// Reads an event's payload.
fn payload<T: serde::de::DeserializeOwned>(event: &EventRef<'_>) -> Result<T, ViewError> {
    serde_json::from_slice(event.payload).map_err(|error| ViewError::payload(event, &error))
}

/// The views of one transaction. What can be gathered is, and is written by [`Self::finish`].
pub(crate) struct Views<'t> {
    txn: &'t WriteTransaction,
    streams: Streams,
    references: BlobReferences,
}

impl<'t> Views<'t> {
    pub(crate) fn new(txn: &'t WriteTransaction) -> Self {
        Self { txn, streams: Streams::default(), references: BlobReferences::default() }
    }

    /// Whether any view would look at such an event.
    pub(crate) fn concerns(stream_is_guarded: bool, kind: &str) -> bool {
        stream_is_guarded || blob_references::concerns(kind) || kind == conversation_kind::SPENT
    }

    /// Takes the next event. After an error the transaction must be aborted.
    pub(crate) fn apply(&mut self, event: &EventRef<'_>) -> Result<Receipt, ViewError> {
        self.streams.apply(event);
        if blob_references::concerns(event.kind) {
            self.references.apply(self.txn, event)?;
        }
        match event.kind {
            memory_kind::PUT
            | memory_kind::DELETED
            | memory_kind::EXPIRED
            | memory_kind::RELATED
            | memory_kind::UNRELATED => {
                let mut released = Vec::new();
                let receipt = memory::apply(self.txn, event, &mut released)?;
                for digest in released {
                    self.references.release(self.txn, event, &digest, 1)?;
                }
                Ok(receipt)
            }
            KIND_SET => variables::apply(self.txn, event, &mut self.references),
            files::kind::BASELINED
            | files::kind::CHANGED
            | files::kind::APPROVED
            | files::kind::UNDO_PLANNED
            | files::kind::UNDONE
            | files::kind::DROPPED => files::apply(self.txn, event),
            conversation_kind::ASKED | conversation_kind::ANSWERED => {
                questions::apply(self.txn, event)
            }
            conversation_kind::SPENT => budgets::apply(self.txn, event),
            kind if approvals::follows(kind) => approvals::apply(self.txn, event),
            kind if credentials::follows(kind) => credentials::apply(self.txn, event),
            kind if secrets::follows(kind) => secrets::apply(self.txn, event),
            kind if conversations::follows(kind) => {
                conversations::apply(self.txn, event, &mut self.references)
            }
            _ => Ok(Receipt::NONE),
        }
    }

    /// The last event of a stream; 0 for none.
    pub(crate) fn stream_head(&self, tenant: &str, stream: &str) -> Result<u64, redb::Error> {
        self.streams.head(self.txn, tenant, stream)
    }

    /// The version that a record of memory has at a time; 0 for none.
    pub(crate) fn record_version(
        &self,
        tenant: &str,
        namespace: &str,
        key: &str,
        now_unix_ms: u64,
    ) -> Result<u64, ViewError> {
        memory::check(self.txn, tenant, namespace, key, now_unix_ms)
    }

    /// Writes what was gathered; gives back blobs that no event needs any more.
    pub(crate) fn finish(self) -> Result<Vec<[u8; 32]>, redb::Error> {
        self.streams.finish(self.txn)?;
        self.references.finish(self.txn)
    }
}

/// Empties every view.
pub(crate) fn clear(txn: &WriteTransaction) -> Result<(), ViewError> {
    streams::clear(txn)?;
    approvals::clear(txn)?;
    blob_references::clear(txn)?;
    budgets::clear(txn)?;
    conversations::clear(txn)?;
    credentials::clear(txn)?;
    files::clear(txn)?;
    memory::clear(txn)?;
    questions::clear(txn)?;
    secrets::clear(txn)?;
    variables::clear(txn)
}

/// All that each view holds, in one canonical form, to be compared.
pub(crate) fn dump(txn: &ReadTransaction) -> Result<Vec<(&'static str, Vec<u8>)>, ViewError> {
    Ok(vec![
        ("streams", streams::dump(txn)?),
        ("approvals", approvals::dump(txn)?),
        ("blob references", blob_references::dump(txn)?),
        ("budgets", budgets::dump(txn)?),
        ("conversations", conversations::dump(txn)?),
        ("credentials", credentials::dump(txn)?),
        ("files", files::dump(txn)?),
        ("memory", memory::dump(txn)?),
        ("questions", questions::dump(txn)?),
        ("secrets", secrets::dump(txn)?),
        ("variables", variables::dump(txn)?),
    ])
}
