//! Views: tables that follow from the events alone, kept up to date in the transaction that
//! records the events.
//!
//! Each view has `apply`, `clear` and `dump`, and is named in this file once for each. An event
//! that concerns no view opens no table. Deliberately absent: any fact that is not in an event.
//! The invariant: **a view made again from the journal is the view that is there.**

pub(crate) mod blob_references;
pub(crate) mod streams;

use redb::{ReadTransaction, WriteTransaction};

use self::blob_references::BlobReferences;
use self::streams::Streams;

/// An event where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EventRef<'a> {
    pub(crate) seq: u64,
    pub(crate) at_unix_ms: u64,
    pub(crate) tenant: &'a str,
    pub(crate) stream: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) payload: &'a [u8],
}

/// What the views made of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Receipt {
    /// Nothing that its writer needs to know.
    #[default]
    None,
}

/// A view cannot take an event.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ViewError {
    /// It means nothing, or contradicts what came before.
    #[error("{message}")]
    Invalid { message: String },
    #[error(transparent)]
    Storage(Box<redb::Error>),
}

impl<E: Into<redb::Error>> From<E> for ViewError {
    fn from(error: E) -> Self {
        Self::Storage(Box::new(error.into()))
    }
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
        stream_is_guarded || blob_references::concerns(kind)
    }

    /// Takes the next event. After an error the transaction must be aborted.
    pub(crate) fn apply(&mut self, event: &EventRef<'_>) -> Result<Receipt, ViewError> {
        self.streams.apply(event);
        if blob_references::concerns(event.kind) {
            self.references.apply(self.txn, event)?;
        }
        Ok(Receipt::None)
    }

    /// The last event of a stream; 0 for none.
    pub(crate) fn stream_head(&self, tenant: &str, stream: &str) -> Result<u64, redb::Error> {
        self.streams.head(self.txn, tenant, stream)
    }

    /// Writes what was gathered; gives back blobs that no event needs any more.
    pub(crate) fn finish(self) -> Result<Vec<[u8; 32]>, redb::Error> {
        self.streams.finish(self.txn)?;
        self.references.finish(self.txn)
    }
}

/// Empties every view.
pub(crate) fn clear(txn: &WriteTransaction) -> Result<(), redb::Error> {
    streams::clear(txn)?;
    blob_references::clear(txn)
}

/// All that each view holds, in one canonical form, to be compared.
pub(crate) fn dump(txn: &ReadTransaction) -> Result<Vec<(&'static str, Vec<u8>)>, redb::Error> {
    Ok(vec![("streams", streams::dump(txn)?), ("blob references", blob_references::dump(txn)?)])
}
