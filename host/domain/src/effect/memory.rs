//! Memory as an effect: what a guest asks of it, and what it is told.
//!
//! Deliberately absent: who asks, and so the origin of what is written; the door knows that of
//! the call. The invariant: **a guest names a namespace or means its own bucket; it has no way
//! to name a bucket.**

use serde::{Deserialize, Serialize};

use crate::memory::{Importance, JsonText, Key, Namespace, Origin, Relation, Tags, Ttl};

/// Where in memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Space {
    /// A namespace by its name.
    Namespace(Namespace),
    /// The bucket of the component that asks.
    Bucket,
}

/// Something to look up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemoryRead {
    /// Where.
    pub space: Space,
    /// What.
    pub kind: MemoryReadKind,
}

/// What to look up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum MemoryReadKind {
    /// The latest version of a record: [`Recalled::Entry`].
    Get {
        /// Which.
        key: Key,
    },
    /// The versions of a record, newest first, without its deletions: [`Recalled::Entries`].
    Versions {
        /// Of which.
        key: Key,
        /// At most so many.
        limit: usize,
    },
    /// Keys in order: [`Recalled::Keys`].
    List {
        /// How they begin.
        prefix: String,
        /// The key to start after.
        after: Option<String>,
        /// At most so many.
        limit: usize,
    },
    /// Records by their words, tags and time: [`Recalled::Hits`].
    Search {
        /// Words, any of which a hit has.
        text: String,
        /// A hit has all of them.
        tags: Vec<String>,
        /// A hit was written then or later, in milliseconds since 1970.
        since_unix_ms: Option<u64>,
        /// At most so many.
        limit: usize,
    },
    /// Relations of a key in either direction: [`Recalled::Relations`].
    Neighbours {
        /// Of which.
        key: Key,
        /// At most so many.
        limit: usize,
    },
    /// The shortest paths between two keys: [`Recalled::Paths`].
    Paths {
        /// The one.
        from: Key,
        /// The other.
        to: Key,
    },
}

/// A change of memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemoryWrite {
    /// Where.
    pub space: Space,
    /// What.
    pub kind: MemoryWriteKind,
}

/// What is changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum MemoryWriteKind {
    /// Write a record: [`Remembered::Version`].
    Put(MemoryRecord),
    /// Delete a record: [`Remembered::Deleted`].
    Delete {
        /// Which.
        key: Key,
    },
    /// Add a relation: [`Remembered::Related`].
    Relate(Relation),
}

/// A record to be written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemoryRecord {
    /// Under which name.
    pub key: Key,
    /// What.
    pub value: JsonText,
    /// Words to filter by.
    pub tags: Tags,
    /// How much it matters.
    pub importance: Importance,
    /// Forgotten so long after now.
    pub ttl: Option<Ttl>,
    /// The version that must stand there now; 0 for none. `None` writes over any.
    pub expected_version: Option<u64>,
}

/// What memory holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Recalled {
    /// A record, if it is there.
    Entry(Option<MemoryEntry>),
    /// Versions of a record.
    Entries(Vec<MemoryEntry>),
    /// Keys, in the order of their bytes.
    Keys(Vec<String>),
    /// What was found, best first, and how.
    Hits(Vec<MemoryHit>, SearchMethod),
    /// Relations.
    Relations(Vec<Relation>),
    /// Paths, each with its relations in order.
    Paths(Vec<Vec<Relation>>),
}

/// A version of a record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemoryEntry {
    /// Its key.
    pub key: String,
    /// Its value: JSON.
    pub value: String,
    /// Which version, from 1.
    pub version: u64,
    /// Its tags.
    pub tags: Vec<String>,
    /// How much it matters.
    pub importance: Importance,
    /// When it was written, in milliseconds since 1970.
    pub written_at_unix_ms: u64,
    /// Where its text came from.
    pub origin: Origin,
}

/// A record that was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemoryHit {
    /// The record.
    pub entry: MemoryEntry,
    /// Higher is better; comparable within one answer only.
    pub score: f32,
}

/// How records were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SearchMethod {
    /// By words alone.
    Lexical,
    /// By words and vectors.
    Hybrid,
}

/// What was changed. It is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Remembered {
    /// The version that was written.
    Version(u64),
    /// Whether there was a record to delete.
    Deleted(bool),
    /// The relation is there.
    Related,
}

/// Why memory did not do what policy allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum MemoryRefusal {
    /// It cannot be kept.
    #[error("{0}")]
    Invalid(String),
    /// Another version stands there.
    #[error("\"{key}\" has version {actual}, not {expected}; read it again and decide anew")]
    Conflict {
        /// Which record.
        key: String,
        /// What was expected.
        expected: u64,
        /// What is; 0 for none.
        actual: u64,
    },
    /// The namespace is full.
    #[error("{0}")]
    Exhausted(String),
    /// The store takes nothing now.
    #[error("the store is read-only until the disk takes writes again")]
    Unavailable,
    /// The store failed; the operator's log says how.
    #[error("the store failed")]
    Store,
}
