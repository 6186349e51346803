//! Why an operation failed, an enum for each.

use std::io;
use std::path::PathBuf;

use foreshore_domain::integrity::{EntryPath, RootName};

use crate::ledger::LedgerError;
use crate::undo::{Conflict, listed};

/// A root cannot be watched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The directory, or that of the quarantine.
    #[error("cannot open the directory {}: {source}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A pattern of what to ignore.
    #[error("{pattern:?} is not a pattern of paths to ignore: {message}")]
    Pattern {
        /// Which.
        pattern: String,
        /// Why.
        message: String,
    },
    /// What is in quarantine would be watched, and restored.
    #[error("the quarantine {} lies within the watched directory {}", quarantine.display(), root.display())]
    QuarantineWithin {
        /// The quarantine.
        quarantine: PathBuf,
        /// The root.
        root: PathBuf,
    },
    /// The policy needs a place to move files to.
    #[error("the root {root} has the policy \"quarantine\" and names no directory for it")]
    NoQuarantine {
        /// Which root.
        root: RootName,
    },
}

/// A path could not be compared with what is known, or a call's change could not be taken down.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// The file system.
    #[error("cannot look at {path} in {root}: {source}")]
    Look {
        /// In which root.
        root: RootName,
        /// At what.
        path: EntryPath,
        /// Why.
        source: io::Error,
    },
    /// The recorder.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// A scan did not come to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScanError {
    /// The root is not there or cannot be read.
    #[error("cannot read the directory of {root}: {source}")]
    Root {
        /// Which.
        root: RootName,
        /// Why.
        source: io::Error,
    },
    /// More entries than are looked at.
    #[error("{root} holds more than {entries_max} entries; raise its entries_max or ignore some")]
    TooManyEntries {
        /// Which.
        root: RootName,
        /// The limit.
        entries_max: u64,
    },
    /// It was told to stop.
    #[error("the scan of {root} was stopped")]
    Stopped {
        /// Which.
        root: RootName,
    },
    /// The recorder.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// A version could not be put in its place; the place holds what it held.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PutError {
    /// The bytes are gone, or were never kept.
    #[error("no version of {path} with the hash {hash} is kept")]
    VersionGone {
        /// Of what.
        path: EntryPath,
        /// Which.
        hash: String,
    },
    /// A FIFO, a socket, a device, or a file too large to be kept.
    #[error("{path} was {what}, and that cannot be put back")]
    NotKept {
        /// What.
        path: EntryPath,
        /// `a FIFO`.
        what: &'static str,
    },
    /// The file system.
    #[error("cannot {action} {path}: {source}")]
    File {
        /// `write`.
        action: &'static str,
        /// What.
        path: EntryPath,
        /// Why.
        source: io::Error,
    },
    /// Looking at it, or recording it.
    #[error(transparent)]
    Change(#[from] ChangeError),
}

impl From<LedgerError> for PutError {
    fn from(error: LedgerError) -> Self {
        Self::Change(error.into())
    }
}

/// A call's changes could not be taken back; nothing is changed, unless it says so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UndoError {
    /// Files are not as the call left them, or cannot be put back.
    #[error("{} of the call's changes cannot be taken back: {}", conflicts.len(), listed(conflicts))]
    Conflicts {
        /// Which, and why.
        conflicts: Vec<Conflict>,
    },
    /// A change lies in a root that is not watched here.
    #[error("the root {root} is not watched")]
    UnknownRoot {
        /// Which.
        root: RootName,
    },
    /// A step failed; those before it were taken back.
    #[error("the undo failed and was taken back: {0}")]
    RolledBack(PutError),
    /// A step failed, and so did taking back those before it. The plan stays open, and is
    /// resumed at the next start.
    #[error("the undo stopped half-way and is taken up at the next start: {0}")]
    Interrupted(PutError),
    /// Looking or recording failed before anything was changed.
    #[error(transparent)]
    Change(#[from] ChangeError),
}

impl From<LedgerError> for UndoError {
    fn from(error: LedgerError) -> Self {
        Self::Change(error.into())
    }
}
