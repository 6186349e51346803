//! How the journal can fail, one enum per operation.

use std::path::PathBuf;

use foreshore_domain::blob::BlobDigest;

use crate::commit::{Condition, Conflict};

/// The journal could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has it.
    #[error("the journal {path:?} is in use by another process")]
    InUse {
        /// Where.
        path: PathBuf,
    },
    /// The file cannot be opened, or is not a journal.
    #[error("the journal {path:?} cannot be opened: {message}")]
    Storage {
        /// Where.
        path: PathBuf,
        /// What redb or the system said.
        message: String,
    },
    /// Its end does not verify.
    #[error("the journal {path:?} is corrupt: {error}")]
    Corrupt {
        /// Where.
        path: PathBuf,
        /// What does not hold.
        error: CorruptError,
    },
    /// It does not match its signed checkpoints.
    #[error("the journal {path:?} is not opened: {error}")]
    Seal {
        /// Where.
        path: PathBuf,
        /// What does not match.
        error: SealError,
    },
    /// It was written by a newer version.
    #[error(
        "the journal {path:?} is of schema version {found}, and this program knows versions up to {known}: run the version that wrote it"
    )]
    Newer {
        /// Where.
        path: PathBuf,
        /// The version it has.
        found: u32,
        /// The newest that is known.
        known: u32,
    },
    /// Its views had to be made again, and could not be.
    #[error("the views of the journal {path:?} could not be made again: {error}")]
    Rebuild {
        /// Where.
        path: PathBuf,
        /// Why not.
        error: RebuildError,
    },
    /// The writer thread could not be started.
    #[error("the journal's writer thread did not start: {message}")]
    Thread {
        /// What the system said.
        message: String,
    },
}

/// A journal was not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// It could not be opened all the same.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The acceptance could not be recorded.
    #[error(transparent)]
    Append(#[from] AppendError),
}

/// An event was not recorded, or it is not known whether it was.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The event alone is too large.
    #[error("an event of {bytes} bytes is larger than the {max_bytes} that the journal takes")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The most there may be.
        max_bytes: usize,
    },
    /// The disk failed in this commit: the event may or may not be found after a restart.
    #[error("the journal could not be written: {message}")]
    Write {
        /// What redb or the system said.
        message: String,
    },
    /// The disk failed earlier and the journal has not come back yet: surely not recorded.
    #[error("the journal is out of order and is being re-opened: {message}")]
    Failed {
        /// What redb or the system said when it failed.
        message: String,
    },
    /// The journal was closed: surely not recorded.
    #[error("the journal is closed")]
    Closed,
    /// A condition does not hold: surely not recorded, and nothing else of the entry either.
    #[error("{0}")]
    Conflict(Box<Conflict>),
    /// An entry has no event, or too many.
    #[error("an entry of {count} events; the journal takes 1 to {max}")]
    Count {
        /// How many it has.
        count: usize,
        /// The most there may be.
        max: usize,
    },
    /// A condition on a stream that has no head.
    #[error("the stream {stream:?} has no head that a condition could name")]
    Unguarded {
        /// Which.
        stream: String,
    },
    /// A blob was handed over that no event of its entry names.
    #[error("no event of the entry names the blob {digest} in its payload")]
    BlobNotNamed {
        /// Which.
        digest: BlobDigest,
    },
    /// An event names a blob that is not stored.
    #[error("an event names the blob {digest}, which is neither stored nor handed over with it")]
    BlobUnknown {
        /// Which.
        digest: BlobDigest,
    },
    /// A view cannot take an event: surely not recorded.
    #[error("the event {kind} cannot be taken: {message}")]
    Invalid {
        /// Which kind of event.
        kind: &'static str,
        /// What is wrong with it.
        message: String,
    },
}

impl std::fmt::Display for Conflict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { condition, expected, actual } = self;
        match condition {
            Condition::StreamAt { stream, .. } => {
                write!(f, "the stream \"{stream}\" ends at event {actual}, not at {expected}")
            }
            Condition::RecordVersion { namespace, key, .. } if *actual == 0 => write!(
                f,
                "\"{}\" is not in namespace \"{}\", so it has no version {expected}",
                key.as_str(),
                namespace.as_str()
            ),
            Condition::RecordVersion { key, .. } => {
                write!(f, "\"{}\" has version {actual}, not {expected}", key.as_str())
            }
        }
    }
}

/// Events could not be read.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The disk failed.
    #[error("the journal could not be read: {message}")]
    Storage {
        /// What redb or the system said.
        message: String,
    },
    /// What is there is not what was written.
    #[error("the journal is corrupt: {0}")]
    Corrupt(#[from] CorruptError),
    /// A view does not say what it should.
    #[error(transparent)]
    View(#[from] crate::views::ViewError),
    /// The journal was closed, or is being re-opened.
    #[error("the journal is not open")]
    NotOpen,
    /// It does not match its signed checkpoints.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The events are not in the journal any more.
    #[error("events up to {to} were moved to an archive")]
    Archived {
        /// The last of them.
        to: u64,
    },
}

/// The views could not be made again.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RebuildError {
    /// The journal could not be read or written.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A recorded event cannot be taken by a view: this version is not fit for this journal.
    #[error("event {seq} cannot be taken: {message}")]
    Invalid {
        /// Which.
        seq: u64,
        /// What is wrong with it.
        message: String,
    },
    /// Archived events are needed, and their file is absent or not what it was.
    #[error("the archive {path:?} is needed: {message}")]
    Archive {
        /// Where it was put.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
}

/// The journal is not what was signed, or that cannot be known.
///
/// After a restore that was meant, [`crate::Journal::accept`] is the way on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// Events that were signed are missing at the end of this very file.
    #[error(
        "the journal was cut: it ends at event {tip}, and had events up to {seq} when it was last signed"
    )]
    Cut {
        /// The checkpoint's event.
        seq: u64,
        /// The last that is there.
        tip: u64,
    },
    /// The file is from before the newest checkpoint.
    #[error(
        "the journal is older than its checkpoints: it ends at event {tip}, and was signed up to event {seq}; if it was restored on purpose, accept it"
    )]
    Older {
        /// The checkpoint's event.
        seq: u64,
        /// The last that is there.
        tip: u64,
    },
    /// The event of a checkpoint is there, and is another one.
    #[error("the journal was rewritten: event {seq} is not the one that was signed")]
    Rewritten {
        /// Which.
        seq: u64,
    },
    /// A checkpoint is not signed with the journal's key.
    #[error("the checkpoint of event {seq} is not signed with the journal's key")]
    Forged {
        /// Which event it is of.
        seq: u64,
    },
    /// Events are missing at the start, and nothing signed says that they were archived.
    #[error(
        "the journal starts after event {seq}, and nothing signed says that what came before was archived"
    )]
    NotAnchored {
        /// The last event that is not there.
        seq: u64,
    },
    /// A checkpoint is that of another journal.
    #[error("the checkpoint of event {seq} is that of another journal")]
    OtherJournal {
        /// Which event it is of.
        seq: u64,
    },
    /// The file of checkpoints is gone or empty.
    #[error(
        "the journal's checkpoints are missing: put their file back, or accept the journal as it is"
    )]
    CheckpointsMissing,
    /// The key is gone.
    #[error(
        "the journal's key is missing: put its file back, or accept the journal with a new one"
    )]
    KeyMissing,
    /// The key is not the one that this journal was signed with.
    #[error(
        "the key beside the journal is not the journal's: put the right one back, or accept the journal with this one"
    )]
    OtherKey,
    /// A file does not hold a key.
    #[error("{path:?} does not hold a key: 64 hex digits")]
    NotAKey {
        /// Which file.
        path: PathBuf,
    },
    /// A line is not a checkpoint.
    #[error("{path:?} holds a line that is not a checkpoint{}", if *line == 0 { ": the last".to_owned() } else { format!(": line {line}") })]
    NotACheckpoint {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1; 0 for the last.
        line: usize,
    },
    /// A file cannot be read or written.
    #[error("{path:?}: {message}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        message: String,
    },
    /// The system gave no random numbers for a key.
    #[error("no random numbers for a key: {message}")]
    Random {
        /// What the system said.
        message: String,
    },
}

/// What is on disk is not what was written there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CorruptError {
    /// A frame's bytes do not parse.
    #[error("the frame that starts at event {seq} does not parse: {message}")]
    Malformed {
        /// Its first event.
        seq: u64,
        /// What does not hold.
        message: &'static str,
    },
    /// A frame's events do not hash to what the frame says.
    #[error("an event of the frame that starts at {seq} was changed")]
    Changed {
        /// Its first event.
        seq: u64,
    },
    /// A frame does not continue the one before it.
    #[error("the frame that starts at event {seq} does not continue the one before it")]
    Unlinked {
        /// Its first event.
        seq: u64,
    },
    /// Events are missing.
    #[error("events {from} to {to} are missing")]
    Missing {
        /// The first that is not there.
        from: u64,
        /// The last that is not there.
        to: u64,
    },
    /// A blob's bytes are not what its name says.
    #[error("the blob {digest} does not hold what its name says")]
    Blob {
        /// Its name.
        digest: BlobDigest,
    },
    /// A view points at an event that is not one it should.
    #[error("the view of streams is wrong about event {seq}: rebuild the views")]
    View {
        /// Which.
        seq: u64,
    },
    /// An entry of the journal's own table cannot be read.
    #[error("the entry {name:?} about the journal itself cannot be read")]
    Meta {
        /// Which.
        name: &'static str,
    },
}
