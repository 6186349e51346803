//! Several events that are recorded together or not at all, and what must hold for them to be.
//!
//! Conditions are checked by the writer inside the transaction that would record the events, so
//! they see every entry before theirs, those of the same group included. Deliberately absent:
//! retries, which are for whoever made the condition.

use std::collections::BTreeSet;

use bytes::Bytes;
use foreshore_domain::blob::BlobDigest;
use foreshore_domain::event::{NewEvent, Stream, Tenant};
use foreshore_domain::memory::{Key, Namespace};

use crate::blobs::{self, BLOB_MAX_BYTES, StoredBlob};
use crate::error::AppendError;
use crate::journal::{EVENT_MAX_BYTES, event_bytes};
use crate::views::Receipt;

/// The most events of one entry.
pub const COMMIT_EVENTS_MAX: usize = 1_024;
/// The most bytes that the events of one entry have together.
pub const COMMIT_EVENT_BYTES_MAX: usize = 4 << 20;
/// The most bytes, before compression, that the blobs of one entry have together.
pub const COMMIT_BLOB_BYTES_MAX: usize = 64 << 20;

/// What is recorded together, or not at all.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// In this order, under consecutive numbers; at least one.
    pub events: Vec<NewEvent>,
    /// Each must hold.
    pub conditions: Vec<Condition>,
    /// Bytes that the events name by their digest; each must be named by one of them.
    pub blobs: Vec<Blob>,
}

/// Bytes to be stored under their digest.
#[derive(Clone, Debug)]
pub struct Blob {
    digest: BlobDigest,
    bytes: Bytes,
}

impl Blob {
    /// Hashes `bytes`: three milliseconds for the largest.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self { digest: blobs::digest(&bytes), bytes }
    }

    /// What an event writes to name it.
    pub fn digest(&self) -> BlobDigest {
        self.digest
    }

    /// What it holds.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

/// What must hold for an entry to be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Condition {
    /// Nothing was added to a stream since: its last event's number is still `seq`, 0 for none.
    /// The stream must be one that [`Stream::is_guarded`].
    StreamAt {
        /// Whose.
        tenant: Tenant,
        /// Which.
        stream: Stream,
        /// The number that it is expected to end with.
        seq: u64,
    },
    /// A record of memory stands at this version.
    RecordVersion {
        /// Whose.
        tenant: Tenant,
        /// Where.
        namespace: Namespace,
        /// Which.
        key: Key,
        /// The time by which it is there or has expired.
        now_unix_ms: u64,
        /// The version that it is expected to have; 0 for none.
        version: u64,
    },
}

/// A condition that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Which.
    pub condition: Condition,
    /// What was expected: a stream's last number, a record's version.
    pub expected: u64,
    /// What is.
    pub actual: u64,
}

/// Where an entry went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Its first event's number.
    pub first_seq: u64,
    /// Its last event's number.
    pub last_seq: u64,
    /// What the views made of each event, in their order.
    pub receipts: Vec<Receipt>,
}

/// An entry that was held to every limit that does not depend on what is recorded already.
pub(crate) struct Prepared {
    pub(crate) events: Vec<NewEvent>,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) blobs: Vec<StoredBlob>,
}

impl Commit {
    /// Bytes of its blobs, before compression.
    pub(crate) fn blob_bytes(&self) -> usize {
        self.blobs.iter().map(|blob| blob.bytes.len()).sum()
    }

    pub(crate) fn check(&self) -> Result<(), AppendError> {
        let too_large = |bytes, max_bytes| Err(AppendError::TooLarge { bytes, max_bytes });
        let count = self.events.len();
        if !(1..=COMMIT_EVENTS_MAX).contains(&count) {
            return Err(AppendError::Count { count, max: COMMIT_EVENTS_MAX });
        }
        let sizes = || self.events.iter().map(event_bytes);
        if let Some(bytes) = sizes().find(|bytes| *bytes > EVENT_MAX_BYTES) {
            return too_large(bytes, EVENT_MAX_BYTES);
        }
        if sizes().sum::<usize>() > COMMIT_EVENT_BYTES_MAX {
            return too_large(sizes().sum(), COMMIT_EVENT_BYTES_MAX);
        }
        if let Some(blob) = self.blobs.iter().find(|blob| blob.bytes.len() > BLOB_MAX_BYTES) {
            return too_large(blob.bytes.len(), BLOB_MAX_BYTES);
        }
        if self.blob_bytes() > COMMIT_BLOB_BYTES_MAX {
            return too_large(self.blob_bytes(), COMMIT_BLOB_BYTES_MAX);
        }
        for condition in &self.conditions {
            match condition {
                Condition::StreamAt { stream, .. } if !stream.is_guarded() => {
                    return Err(AppendError::Unguarded { stream: stream.to_string() });
                }
                Condition::StreamAt { .. } | Condition::RecordVersion { .. } => {}
            }
        }
        if self.blobs.is_empty() {
            return Ok(());
        }
        let named: BTreeSet<BlobDigest> = self
            .events
            .iter()
            .flat_map(|event| blobs::named(event.kind.as_str(), &event.payload))
            .collect();
        match self.blobs.iter().find(|blob| !named.contains(&blob.digest)) {
            Some(blob) => Err(AppendError::BlobNotNamed { digest: blob.digest }),
            None => Ok(()),
        }
    }

    /// Compresses the blobs: work that is not for the writer thread, nor for one that serves.
    pub(crate) fn prepare(self) -> Prepared {
        let blobs = self.blobs.iter().map(StoredBlob::new).collect();
        Prepared { events: self.events, conditions: self.conditions, blobs }
    }
}

impl Prepared {
    /// What it holds in memory, about.
    pub(crate) fn bytes(&self) -> usize {
        let events: usize = self.events.iter().map(event_bytes).sum();
        events + self.blobs.iter().map(|blob| blob.packed.len()).sum::<usize>()
    }
}
