//! How the journal can fail, one enum per operation.

use std::path::PathBuf;

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
    /// The writer thread could not be started.
    #[error("the journal's writer thread did not start: {message}")]
    Thread {
        /// What the system said.
        message: String,
    },
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
    /// The journal was closed, or is being re-opened.
    #[error("the journal is not open")]
    NotOpen,
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
}
