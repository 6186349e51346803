//! Verifying a journal in its file, as it lies there: for whoever doubts it.
//!
//! Opening a journal looks at its end and refuses one that does not verify; this goes through
//! one that is refused too, and says where it is first wrong. The file is opened to be read. One
//! that was not closed in order is repaired first, as by any opening. Deliberately absent: what
//! to do about it.

use std::cell::Cell;
use std::path::{Path, PathBuf};

use redb::{Builder, DatabaseError, ReadOnlyDatabase, ReadTransaction, ReadableDatabase as _};

use crate::checkpoint::Checkpoint;
use crate::db::{Db, caught, storage};
use crate::error::{CorruptError, ReadError, SealError};
use crate::facts::Verified;
use crate::frames::Frames;
use crate::journal::frames_of;
use crate::meta::Meta;
use crate::seal_files::SealFiles;
use crate::seals;
use crate::start;

const CACHE_BYTES: usize = 16 << 20;

/// A journal was not verified.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// Another process has it.
    #[error("the journal {path:?} is in use by another process")]
    InUse {
        /// Where.
        path: PathBuf,
    },
    /// There is none.
    #[error("there is no journal {path:?}")]
    Absent {
        /// Where it would be.
        path: PathBuf,
    },
    /// It is not what was written, or what was signed.
    #[error("{what}")]
    Wrong {
        /// The first event that does not hold; 0 if it is not about an event.
        first_bad_seq: u64,
        /// What is wrong.
        what: String,
    },
}

/// Holds every event in a journal's file to the chain, and the chain to the checkpoints beside
/// it and to others that were kept elsewhere. No process may have the journal open.
///
/// # Errors
/// [`AuditError`].
pub fn audit(path: &Path, kept: &[Checkpoint]) -> Result<Verified, AuditError> {
    if !path.is_file() {
        return Err(AuditError::Absent { path: path.to_owned() });
    }
    let opened = std::panic::catch_unwind(|| Source::open(path));
    let damaged = || wrong(0, "the file is damaged: it cannot be opened");
    let source = match opened.map_err(|_| damaged())? {
        Ok(source) => source,
        Err(DatabaseError::DatabaseAlreadyOpen) => {
            return Err(AuditError::InUse { path: path.to_owned() });
        }
        Err(error) => return Err(wrong(0, format!("the file cannot be opened: {error}"))),
    };
    caught(|| verify(&source.begin_read()?, path, kept)).map_err(|error| {
        let first_bad_seq = match &error {
            // The database itself is damaged: what could still be read comes before it.
            ReadError::Storage { .. } => last_readable(&source) + 1,
            error => error.first_bad_seq(),
        };
        wrong(first_bad_seq, error.to_string())
    })
}

fn verify(read: &ReadTransaction, path: &Path, kept: &[Checkpoint]) -> Result<Verified, ReadError> {
    let files = SealFiles::beside(path);
    let meta = Meta::read(read)?;
    let frames = Frames::new(read, meta.base)?;
    // The chain first: what does not hold by itself needs no signature to be told by.
    frames.verify(|_| Ok(()))?;
    let own = files.all()?;
    if let (Some(key), Some(identity)) = (files.key()?, &meta.identity)
        && key.verifying_key().to_bytes() != identity.public_key
    {
        return Err(SealError::OtherKey.into());
    }
    seals::verify(&frames, own.iter().chain(kept), meta.identity.as_ref())
}

/// The last event up to which the chain can be read and holds.
fn last_readable(source: &Source) -> u64 {
    let last = Cell::new(0);
    let _ = caught(|| {
        let read = source.begin_read()?;
        frames_of(&read)?.walk(0, |frame| {
            last.set(frame.tip().seq);
            Ok::<_, ReadError>(true)
        })
    });
    last.get()
}

enum Source {
    ReadOnly(ReadOnlyDatabase),
    Repaired(Db),
}

impl Source {
    fn open(path: &Path) -> Result<Self, DatabaseError> {
        match Builder::new().set_cache_size(CACHE_BYTES).open_read_only(path) {
            Ok(database) => Ok(Self::ReadOnly(database)),
            Err(DatabaseError::RepairAborted) => {
                start::opener(path.to_owned(), CACHE_BYTES)().map(Db::new).map(Self::Repaired)
            }
            Err(error) => Err(error),
        }
    }

    fn begin_read(&self) -> Result<ReadTransaction, ReadError> {
        match self {
            Self::ReadOnly(database) => database.begin_read().map_err(storage),
            Self::Repaired(database) => database.begin_read(),
        }
    }
}

impl ReadError {
    /// The first event that an error is about, as far as it says; 0 if it is about none.
    pub fn first_bad_seq(&self) -> u64 {
        match self {
            Self::Corrupt(error) => match error {
                CorruptError::Malformed { seq, .. }
                | CorruptError::Changed { seq }
                | CorruptError::Unlinked { seq }
                | CorruptError::View { seq }
                | CorruptError::Missing { from: seq, .. } => *seq,
                CorruptError::Blob { .. } | CorruptError::Meta { .. } => 0,
            },
            Self::Seal(error) => match error {
                SealError::Cut { tip, .. } | SealError::Older { tip, .. } => tip + 1,
                SealError::Rewritten { seq }
                | SealError::Forged { seq }
                | SealError::NotAnchored { seq }
                | SealError::OtherJournal { seq } => *seq,
                _ => 0,
            },
            _ => 0,
        }
    }
}

fn wrong(first_bad_seq: u64, what: impl Into<String>) -> AuditError {
    AuditError::Wrong { first_bad_seq, what: what.into() }
}
