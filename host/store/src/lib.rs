//! The journal, in redb: the only crate that names it.
//!
//! One append-only table of *frames* (what one commit wrote), one writer thread, one BLAKE3
//! chain over all events; *views*, which follow from the events and are kept in the same
//! transaction; *blobs*, which events name. Deliberately absent: any decision about what is
//! worth recording, which is `control`'s, and a clock. The invariants: **what
//! [`Journal::append`] acknowledged is on disk, and an entry is recorded whole or not at all.**
#![forbid(unsafe_code)]

mod archive;
mod audit;
mod blobs;
mod caches;
mod checkpoint;
mod commit;
mod db;
mod error;
mod export;
mod facts;
pub mod floor;
mod frame;
mod frames;
mod group;
mod journal;
mod meanings;
mod meta;
mod payloads;
mod queue;
mod rebuild;
mod recovery;
mod reserve;
mod seal_files;
mod seals;
mod start;
#[cfg(test)]
mod tests;
mod upkeep;
mod views;
mod writer;

pub use archive::{Archive, ArchiveError};
pub use audit::{AuditError, audit};
pub use blobs::BLOB_MAX_BYTES;
pub use checkpoint::{Checkpoint, CheckpointParseError};
pub use commit::{
    Blob, COMMIT_BLOB_BYTES_MAX, COMMIT_EVENT_BYTES_MAX, COMMIT_EVENTS_MAX, Commit, Committed,
    Condition, Conflict,
};
pub use error::{
    AcceptError, AppendError, CorruptError, OpenError, ReadError, RebuildError, SealError,
};
pub use export::{ExportError, Exported};
pub use facts::{Appended, Health, JournalConfig, Tip, Verified};
pub use frame::{Event, Hash};
pub use journal::Journal;
pub use payloads::pack;
pub use rebuild::Progress;
pub use seals::SealEvery;
pub use upkeep::{BackupError, CheckError, Checked, Stats};
pub use views::{
    Receipt, ViewError, approvals, budgets, conversations, credentials, files, memory, questions,
    secrets, variables,
};
