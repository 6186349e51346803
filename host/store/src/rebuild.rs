//! Making the views again from the journal.
//!
//! In transactions of a bounded size, each of which also says how far it came: a process that
//! ends halfway is continued by the next one that opens the journal. Nothing is appended
//! meanwhile. The journal itself is only read.

use redb::{ReadTransaction, ReadableTable as _, WriteTransaction};

use crate::archive;
use crate::blobs::BLOBS;
use crate::db::Db;
use crate::error::{ReadError, RebuildError};
use crate::frames::Frames;
use crate::meta::{self, Meta};
use crate::views::{self, EventRef, ViewError, Views, blob_references};

/// Events of one transaction, about: a commit is not taken apart.
const EVENTS_AT_ONCE: u64 = 10_000;

/// How far rebuilding has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The last event that the views hold.
    pub seq: u64,
    /// The last event there is.
    pub last_seq: u64,
}

/// Clears all views and makes them again.
pub(crate) fn rebuild(db: &Db, progress: &mut dyn FnMut(Progress)) -> Result<(), RebuildError> {
    let txn = db.begin_write().map_err(write_failed)?;
    let archives = Meta::read(&db.begin_read()?)?.archives;
    // Nothing is cleared that cannot be made again.
    archives.iter().try_for_each(|archive| archive::walk(archive, |_| Ok(())))?;
    views::clear(&txn).map_err(|error| view_failed(0, error))?;
    meta::set_rebuilt_to(&txn, Some(0)).map_err(write_failed)?;
    txn.commit().map_err(write_failed)?;
    resume(db, progress)
}

/// Goes on where [`rebuild`] was stopped; does nothing if it was not.
pub(crate) fn resume(db: &Db, progress: &mut dyn FnMut(Progress)) -> Result<(), RebuildError> {
    let read = db.begin_read()?;
    let meta = Meta::read(&read)?;
    let Some(done) = meta.rebuilt_to else { return Ok(()) };
    replay(&read, db, done, progress)?;
    let txn = db.begin_write().map_err(write_failed)?;
    let needed = blob_references::all(&db.begin_read()?).map_err(write_failed)?;
    remove_unneeded(&txn, |digest| needed.contains_key(digest)).map_err(write_failed)?;
    meta::set_rebuilt_to(&txn, None).map_err(write_failed)?;
    txn.commit().map_err(write_failed)?;
    Ok(())
}

/// Shows the events after number `done` to the views of `db`: those of the archives, then those
/// of the database that is read.
pub(crate) fn replay(
    read: &ReadTransaction,
    db: &Db,
    done: u64,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), RebuildError> {
    let meta = Meta::read(read)?;
    let frames = Frames::new(read, meta.base)?;
    let mut portions = Portions { done, last_seq: frames.tip()?.seq, db, progress };
    for archive in meta.archives.iter().filter(|archive| archive.last_seq > done) {
        // A file is read from its start each time, and each time the next portion is applied.
        while portions.done < archive.last_seq {
            portions.apply(|portion| {
                archive::walk(archive, |event| match portion.wants(event.seq) {
                    true => portion.take(event),
                    false => Ok(()),
                })
            })?;
        }
    }
    while portions.done < portions.last_seq {
        let start = portions.done;
        portions.apply(|portion| {
            frames.walk(start + 1, |frame| {
                for event in frame.events().filter(|event| event.seq > start) {
                    portion.take(&event)?;
                }
                Ok(portion.done - start < EVENTS_AT_ONCE)
            })
        })?;
    }
    Ok(())
}

/// Applies events in transactions of a bounded size.
struct Portions<'a> {
    done: u64,
    last_seq: u64,
    db: &'a Db,
    progress: &'a mut dyn FnMut(Progress),
}

/// The events of one transaction.
struct Portion<'t> {
    start: u64,
    done: u64,
    views: Views<'t>,
}

impl Portion<'_> {
    fn wants(&self, seq: u64) -> bool {
        seq == self.done + 1 && self.done - self.start < EVENTS_AT_ONCE
    }

    fn take(&mut self, event: &EventRef<'_>) -> Result<(), RebuildError> {
        self.views.apply(event).map_err(|error| view_failed(event.seq, error))?;
        self.done = event.seq;
        Ok(())
    }
}

impl Portions<'_> {
    fn apply(
        &mut self,
        fill: impl FnOnce(&mut Portion<'_>) -> Result<(), RebuildError>,
    ) -> Result<(), RebuildError> {
        let txn = self.db.begin_write().map_err(write_failed)?;
        let mut portion = Portion { start: self.done, done: self.done, views: Views::new(&txn) };
        fill(&mut portion)?;
        let done = portion.done;
        // Blobs stay until the end: one that nothing needs now may be named by a later event.
        portion.views.finish().map_err(write_failed)?;
        meta::set_rebuilt_to(&txn, Some(done)).map_err(write_failed)?;
        txn.commit().map_err(write_failed)?;
        self.done = done;
        (self.progress)(Progress { seq: done, last_seq: self.last_seq });
        Ok(())
    }
}

fn remove_unneeded(
    txn: &WriteTransaction,
    is_needed: impl Fn(&[u8; 32]) -> bool,
) -> Result<(), redb::Error> {
    let mut table = txn.open_table(BLOBS)?;
    let mut unneeded = Vec::new();
    for entry in table.iter()? {
        let digest = *entry?.0.value();
        if !is_needed(&digest) {
            unneeded.push(digest);
        }
    }
    for digest in unneeded {
        table.remove(&digest)?;
    }
    Ok(())
}

fn view_failed(seq: u64, error: ViewError) -> RebuildError {
    match error {
        ViewError::Storage { message, .. } => RebuildError::Read(ReadError::Storage { message }),
        error => RebuildError::Invalid { seq, message: error.to_string() },
    }
}

fn write_failed(error: impl Into<redb::Error>) -> RebuildError {
    RebuildError::Read(ReadError::Storage { message: error.into().to_string() })
}
