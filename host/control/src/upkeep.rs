//! What an operator has done to the journal while the host runs: check, verify, back up, rebuild.
//!
//! One of these at a time, since each reads all there is. Deliberately absent: a choice of where
//! a backup goes. It goes beside the journal under a name of the host's own, so that a request
//! can never name a file; there are at most [`BACKUPS_MAX`] until somebody takes them away.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use foreshore_store::{
    BackupError, CheckError, Checked, Checkpoint, Journal, ReadError, RebuildError, Stats, Verified,
};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::clock;
use crate::control::JournalPlace;

/// Backups that may lie in the directory.
const BACKUPS_MAX: usize = 16;

/// Work on the journal.
#[derive(Clone)]
pub struct Upkeep {
    journal: Journal,
    /// `None` for a journal in memory.
    backups: Option<PathBuf>,
    one: Arc<Semaphore>,
}

/// A backup that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// In the `backups` directory beside the journal.
    pub path: PathBuf,
    /// The last event that it holds.
    pub seq: u64,
}

/// The work was not done, or found something wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpkeepError {
    /// Something of the kind runs.
    #[error("the journal is being checked, verified, copied or rebuilt: try again")]
    Busy,
    /// A journal in memory is not backed up.
    #[error("the journal is in memory: there is nothing that a backup could stand in for")]
    InMemory,
    /// Nobody took the backups away.
    #[error("{directory:?} holds {max} backups: take some away")]
    Full {
        /// Where they are.
        directory: PathBuf,
        /// The most there may be.
        max: usize,
    },
    /// The directory of backups.
    #[error("{path:?}: {message}")]
    Directory {
        /// Where.
        path: PathBuf,
        /// What the system said.
        message: String,
    },
    /// The journal could not be read, or does not verify.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It does not pass its check.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// The backup was not made.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The views were not made again.
    #[error(transparent)]
    Rebuild(#[from] RebuildError),
}

impl Upkeep {
    pub(crate) fn new(journal: Journal, place: &JournalPlace) -> Self {
        let backups = match place {
            JournalPlace::InMemory => None,
            JournalPlace::File(path) => Some(path.with_file_name("backups")),
        };
        Self { journal, backups, one: Arc::new(Semaphore::new(1)) }
    }

    /// Figures about the journal.
    ///
    /// # Errors
    /// [`UpkeepError::Busy`], [`UpkeepError::Read`].
    pub async fn stats(&self) -> Result<Stats, UpkeepError> {
        let _alone = self.alone()?;
        Ok(self.journal.stats().await?)
    }

    /// As [`Journal::check`], for part of which appends wait, and [`Journal::verify`].
    ///
    /// # Errors
    /// [`UpkeepError::Busy`], [`UpkeepError::Check`].
    pub async fn check(&self) -> Result<Checked, UpkeepError> {
        let _alone = self.alone()?;
        let checked = self.journal.check().await?;
        let journal = self.journal.clone();
        let verified = tokio::task::spawn_blocking(move || journal.verify()).await;
        verified.map_err(|_| ReadError::NotOpen)?.map_err(CheckError::from)?;
        Ok(checked)
    }

    /// As [`Journal::verify_with`].
    ///
    /// # Errors
    /// [`UpkeepError::Busy`], [`UpkeepError::Read`].
    pub async fn verify(&self, kept: Vec<Checkpoint>) -> Result<Verified, UpkeepError> {
        let _alone = self.alone()?;
        let journal = self.journal.clone();
        let verified = tokio::task::spawn_blocking(move || journal.verify_with(&kept)).await;
        Ok(verified.map_err(|_| ReadError::NotOpen)??)
    }

    /// Copies the journal while it goes on.
    ///
    /// # Errors
    /// [`UpkeepError`]; no file is left then.
    pub async fn backup(&self) -> Result<Backup, UpkeepError> {
        let _alone = self.alone()?;
        let directory = self.backups.as_deref().ok_or(UpkeepError::InMemory)?;
        make_room(directory)?;
        let path = directory.join(format!("journal-{}.redb", clock::now_unix_ms()));
        let tip = self.journal.backup(&path).await?;
        Ok(Backup { path, seq: tip.seq })
    }

    /// Makes the views again; appends wait.
    ///
    /// # Errors
    /// [`UpkeepError::Busy`], [`UpkeepError::Rebuild`].
    pub async fn rebuild(&self) -> Result<(), UpkeepError> {
        let _alone = self.alone()?;
        Ok(self.journal.rebuild(|_| {}).await?)
    }

    fn alone(&self) -> Result<SemaphorePermit<'_>, UpkeepError> {
        self.one.try_acquire().map_err(|_| UpkeepError::Busy)
    }
}

fn make_room(directory: &Path) -> Result<(), UpkeepError> {
    let failed = |error: std::io::Error| UpkeepError::Directory {
        path: directory.to_owned(),
        message: error.to_string(),
    };
    let mut builder = std::fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(builder.recursive(true), 0o700);
    builder.create(directory).map_err(failed)?;
    if std::fs::read_dir(directory).map_err(failed)?.count() >= BACKUPS_MAX {
        return Err(UpkeepError::Full { directory: directory.to_owned(), max: BACKUPS_MAX });
    }
    Ok(())
}
