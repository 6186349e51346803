//! What an operator does with a journal that runs: look at it, check it, copy it, compact it.
//!
//! A backup holds the events, the blobs and what the journal says about itself, as of one
//! moment; its views are made in it from the events, so that a backup is also a test of them,
//! and takes the archives as rebuilding does.
//! Deliberately absent: when any of this is done.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use redb::backends::InMemoryBackend;
use redb::{
    CompactionError, Database, DatabaseError, ReadTransaction, ReadableTable as _, TableDefinition,
    TableError,
};

use crate::blobs::{self, BLOBS};
use crate::db::{Db, caught, storage};
use crate::error::{OpenError, ReadError, RebuildError};
use crate::facts::{Tip, Verified};
use crate::frames::FRAMES;
use crate::journal::{Journal, frames_of};
use crate::meta;
use crate::rebuild;
use crate::start;
use crate::views::{self, blob_references};
use crate::writer::Writer;

/// Memory for the pages of a copy while it is made.
const COPY_CACHE_BYTES: usize = 16 << 20;
/// Rows of one transaction of a copy, or fewer if they are large.
const COPY_ROWS: usize = 1_000;
const COPY_BYTES: usize = 32 << 20;
/// How long the work that needs the database alone waits for readers.
const READERS_PATIENCE: Duration = Duration::from_secs(5);

/// Figures about a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// The end of the chain.
    pub tip: Tip,
    /// Events that are in the database.
    pub events: u64,
    /// Commits that wrote them.
    pub frames: u64,
    /// Blobs, each counted once.
    pub blobs: u64,
    /// Tables of the database.
    pub tables: Vec<String>,
    /// Bytes of keys and values.
    pub stored_bytes: u64,
    /// Bytes of the database's own bookkeeping.
    pub metadata_bytes: u64,
    /// Bytes of pages that hold less than they could.
    pub fragmented_bytes: u64,
    /// Bytes of all pages in use.
    pub allocated_bytes: u64,
}

/// What [`Journal::check`] went through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The chain.
    pub verified: Verified,
    /// Blobs that hold what their names say.
    pub blobs: u64,
    /// Views that are what the events make of them.
    pub views: usize,
}

/// A journal does not pass its check.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// It could not be read, or does not verify.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Its views could not be made again, to be compared.
    #[error(transparent)]
    Rebuild(#[from] RebuildError),
    /// The database found its own pages inconsistent; it has repaired what it could.
    #[error(
        "the database was inconsistent and has repaired itself: check again, and restore a backup if that fails too"
    )]
    Repaired,
    /// A view is not what the events make of it.
    #[error("the view {view:?} is not what the events make of it: rebuild the views")]
    View {
        /// Which.
        view: &'static str,
    },
    /// A blob is stored that no event needs, or needed by one and not stored.
    #[error("the blob {digest} has {references} references and is {}stored", if *stored { "" } else { "not " })]
    Blob {
        /// Which.
        digest: foreshore_domain::blob::BlobDigest,
        /// How many events need it.
        references: u64,
        /// Whether it is there.
        stored: bool,
    },
    /// Readers did not let go of the database in time.
    #[error("the journal is being read: try again")]
    Busy,
}

/// A backup was not made, or a restore.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// There is a file of that name.
    #[error("{path:?} is there already: name a file that is not")]
    Exists {
        /// Which.
        path: PathBuf,
    },
    /// The journal could not be read, or does not verify.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The views could not be made in the copy.
    #[error(transparent)]
    Rebuild(#[from] RebuildError),
    /// The copy could not be written.
    #[error("{path:?} could not be written: {message}")]
    Write {
        /// Which file.
        path: PathBuf,
        /// What redb or the system said.
        message: String,
    },
    /// What is to be restored cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
}

impl Journal {
    /// Figures, for which every page of the database is looked at.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn stats(&self) -> Result<Stats, ReadError> {
        let stats = self.on_writer(|writer| caught(|| stats(&*database(writer)?))).await;
        stats.unwrap_or(Err(ReadError::NotOpen))
    }

    /// Holds the database to its checksums, the events to the chain, the blobs to their names
    /// and their counts, and the views to the events. For the first of these the database is
    /// taken alone: appends wait, and reads are [`ReadError::NotOpen`].
    ///
    /// # Errors
    /// [`CheckError`].
    pub async fn check(&self) -> Result<Checked, CheckError> {
        let sound = self.alone(|database| match database.check_integrity() {
            Err(DatabaseError::TransactionInProgress) => None,
            sound => Some(sound),
        });
        let sound = sound.await?;
        if !sound.map_err(storage)? {
            return Err(CheckError::Repaired);
        }
        let db = self.db()?;
        let checked = tokio::task::spawn_blocking(move || caught(|| check(&db)));
        checked.await.map_err(|_| ReadError::NotOpen)?
    }

    /// Gives room that is free within the file back to the disk; meanwhile appends wait, and
    /// reads are [`ReadError::NotOpen`]. `true` if there was any.
    ///
    /// # Errors
    /// [`CheckError::Busy`], [`CheckError::Read`].
    pub async fn compact(&self) -> Result<bool, CheckError> {
        let compacted = self.alone(|database| match database.compact() {
            Err(CompactionError::TransactionInProgress) => None,
            compacted => Some(compacted),
        });
        Ok(compacted.await?.map_err(storage)?)
    }

    /// Writes a copy of the journal as it is now into a new file, while it goes on.
    ///
    /// # Errors
    /// [`BackupError`]; nothing is left under that name then.
    pub async fn backup(&self, to: &Path) -> Result<Tip, BackupError> {
        let (db, to) = (self.db()?, to.to_owned());
        let copied = tokio::task::spawn_blocking(move || caught(|| copy(&db, &to)));
        copied.await.map_err(|_| ReadError::NotOpen)?
    }

    /// Puts a backup where a journal is to be. Opening that says that it is older than its
    /// checkpoints, if there are any: [`Journal::accept`] is the way on.
    ///
    /// # Errors
    /// [`BackupError`]; nothing is left under that name then.
    pub fn restore(backup: &Path, to: &Path) -> Result<Tip, BackupError> {
        let opened = start::opener(backup.to_owned(), COPY_CACHE_BYTES);
        if !backup.is_file() {
            let message = "there is no such file".to_owned();
            return Err(OpenError::Storage { path: backup.to_owned(), message }.into());
        }
        let opened = opened().map_err(|error| start::not_opened(backup, error))?;
        copy(&Db::new(opened), to)
    }

    /// Work on the database while nobody reads or writes. Whoever reads holds a transaction and
    /// perhaps no handle: `None` means that there is still one.
    async fn alone<T: Send + 'static>(
        &self,
        mut work: impl FnMut(&mut Database) -> Option<T> + Send + 'static,
    ) -> Result<T, CheckError> {
        let done = self.on_writer(move |writer| {
            let mut db = database(writer)?;
            writer.shared.clear_db();
            let until = Instant::now() + READERS_PATIENCE;
            let (done, db) = loop {
                db = match Arc::try_unwrap(db) {
                    Ok(mut alone) => match caught(|| Ok(work(alone.database()))) {
                        Ok(Some(done)) => break (Ok(done), alone.into()),
                        Err(error) => break (Err(error), alone.into()),
                        Ok(None) if Instant::now() > until => {
                            break (Err(CheckError::Busy), alone.into());
                        }
                        Ok(None) => alone.into(),
                    },
                    Err(db) if Instant::now() > until => break (Err(CheckError::Busy), db),
                    Err(db) => db,
                };
                std::thread::sleep(Duration::from_millis(1));
            };
            writer.shared.put_db(db);
            done
        });
        done.await.unwrap_or(Err(ReadError::NotOpen.into()))
    }
}

fn database(writer: &Writer) -> Result<Arc<Db>, ReadError> {
    writer.shared.db().ok_or(ReadError::NotOpen)
}

fn stats(db: &Db) -> Result<Stats, ReadError> {
    let read = db.begin_read()?;
    let frames = frames_of(&read)?;
    let tip = frames.tip()?;
    let tables = read.list_tables().map_err(storage)?;
    let tables = tables.map(|table| redb::TableHandle::name(&table).to_owned()).collect();
    let blobs = row_count(&read, BLOBS)?;
    let txn = db.begin_write().map_err(storage)?;
    let stats = txn.stats().map_err(storage)?;
    txn.abort().map_err(storage)?;
    let page_bytes = u64::try_from(stats.page_size()).unwrap_or(u64::MAX);
    Ok(Stats {
        tip,
        events: tip.seq - frames.base().seq,
        frames: row_count(&read, FRAMES)?,
        blobs,
        tables,
        stored_bytes: stats.stored_bytes(),
        metadata_bytes: stats.metadata_bytes(),
        fragmented_bytes: stats.fragmented_bytes(),
        allocated_bytes: stats.allocated_pages() * page_bytes,
    })
}

fn row_count<K: redb::Key + 'static>(
    read: &ReadTransaction,
    table: TableDefinition<'_, K, &'static [u8]>,
) -> Result<u64, ReadError> {
    match read.open_table(table) {
        Ok(table) => redb::ReadableTableMetadata::len(&table).map_err(storage),
        Err(TableError::TableDoesNotExist(_)) => Ok(0),
        Err(error) => Err(storage(error)),
    }
}

fn check(db: &Db) -> Result<Checked, CheckError> {
    let read = db.begin_read()?;
    let frames = frames_of(&read)?;
    let verified = frames.verify(|_| Ok(()))?;
    let stored = blobs::check(&read)?;
    let needed = blob_references::all(&read).map_err(storage)?;
    let both = stored.iter().chain(needed.keys());
    for digest in both {
        let references = needed.get(digest).copied().unwrap_or(0);
        let stored = stored.contains(digest);
        if references == 0 || !stored {
            let digest = foreshore_domain::blob::BlobDigest::from_bytes(*digest);
            return Err(CheckError::Blob { digest, references, stored });
        }
    }
    // The comparison is made in memory, beside the journal: it is read alone.
    let scratch = Database::builder().create_with_backend(InMemoryBackend::new());
    let scratch = Db::new(scratch.map_err(storage)?);
    rebuild::replay(&read, &scratch, 0, &mut |_| {})?;
    let made = views::dump(&scratch.begin_read()?).map_err(read_failed)?;
    let live = views::dump(&read).map_err(read_failed)?;
    if let Some(((view, _), _)) = live.iter().zip(&made).find(|(live, made)| live != made) {
        return Err(CheckError::View { view });
    }
    let blobs = u64::try_from(stored.len()).unwrap_or(u64::MAX);
    Ok(Checked { verified, blobs, views: live.len() })
}

fn read_failed(error: views::ViewError) -> ReadError {
    ReadError::Storage { message: error.to_string() }
}

fn copy(db: &Db, to: &Path) -> Result<Tip, BackupError> {
    if to.exists() {
        return Err(BackupError::Exists { path: to.to_owned() });
    }
    let mut name = to.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part = to.with_file_name(name);
    let copied = copy_into(db, &part).and_then(|tip| {
        let placed = std::fs::rename(&part, to).and_then(|()| start::sync_parent(to));
        placed.map_err(|error| write_failed(to, error)).map(|()| tip)
    });
    if copied.is_err() {
        let _ = std::fs::remove_file(&part);
    }
    copied
}

fn copy_into(db: &Db, part: &Path) -> Result<Tip, BackupError> {
    let failed = |error: redb::Error| write_failed(part, error);
    let read = db.begin_read()?;
    // What an earlier copy left that was cut short.
    let _ = std::fs::remove_file(part);
    let opener = start::opener(part.to_owned(), COPY_CACHE_BYTES);
    let target = Db::new(opener().map_err(|error| failed(error.into()))?);
    let verified = frames_of(&read)?.verify(|_| Ok(()))?;
    let txn = target.begin_write().map_err(failed)?;
    meta::copy(&read, &txn)?;
    meta::set_rebuilt_to(&txn, Some(0)).map_err(failed)?;
    txn.commit().map_err(|error| failed(error.into()))?;
    copy_table(&read, &target, FRAMES, failed)?;
    copy_table(&read, &target, BLOBS, failed)?;
    rebuild::resume(&target, &mut |_| {})?;
    Ok(verified.tip)
}

/// Copies rows in transactions of a bounded size.
fn copy_table<K: redb::Key + 'static>(
    read: &ReadTransaction,
    target: &Db,
    definition: TableDefinition<'static, K, &'static [u8]>,
    failed: impl Fn(redb::Error) -> BackupError,
) -> Result<(), BackupError> {
    let table = match read.open_table(definition) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(()),
        Err(error) => return Err(storage(error).into()),
    };
    let mut rows = table.iter().map_err(storage)?.peekable();
    while rows.peek().is_some() {
        let txn = target.begin_write().map_err(&failed)?;
        {
            let mut copy = txn.open_table(definition).map_err(|error| failed(error.into()))?;
            let mut bytes = 0;
            for row in rows.by_ref().take(COPY_ROWS) {
                let (key, value) = row.map_err(storage)?;
                bytes += value.value().len();
                copy.insert(key.value(), value.value()).map_err(|error| failed(error.into()))?;
                if bytes > COPY_BYTES {
                    break;
                }
            }
        }
        txn.commit().map_err(|error| failed(error.into()))?;
    }
    Ok(())
}

fn write_failed(path: &Path, error: impl ToString) -> BackupError {
    BackupError::Write { path: path.to_owned(), message: error.to_string() }
}
