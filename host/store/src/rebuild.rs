//! Making the views again from the journal.
//!
//! In transactions of a bounded size, each of which also says how far it came: a process that
//! ends halfway is continued by the next one that opens the journal. Nothing is appended
//! meanwhile. The journal itself is only read.

use redb::{ReadableTable as _, WriteTransaction};

use crate::blobs::BLOBS;
use crate::db::Db;
use crate::error::{ReadError, RebuildError};
use crate::frames::Frames;
use crate::meta::{self, Meta};
use crate::views::{self, ViewError, Views, blob_references};

/// Events of one transaction, about: a frame is not taken apart.
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
    let base = Meta::read(&db.begin_read()?)?.base;
    views::clear(&txn).map_err(|error| view_failed(base.seq, error))?;
    meta::set_rebuilt_to(&txn, Some(base.seq)).map_err(write_failed)?;
    txn.commit().map_err(write_failed)?;
    resume(db, progress)
}

/// Goes on where [`rebuild`] was stopped; does nothing if it was not.
pub(crate) fn resume(db: &Db, progress: &mut dyn FnMut(Progress)) -> Result<(), RebuildError> {
    let read = db.begin_read()?;
    let meta = Meta::read(&read)?;
    let Some(done) = meta.rebuilt_to else { return Ok(()) };
    replay(&Frames::new(&read, meta.base)?, db, done, progress)?;
    let txn = db.begin_write().map_err(write_failed)?;
    let needed = blob_references::all(&db.begin_read()?).map_err(write_failed)?;
    remove_unneeded(&txn, |digest| needed.contains_key(digest)).map_err(write_failed)?;
    meta::set_rebuilt_to(&txn, None).map_err(write_failed)?;
    txn.commit().map_err(write_failed)?;
    Ok(())
}

/// Shows the events after number `done` to the views of `db`.
pub(crate) fn replay(
    frames: &Frames,
    db: &Db,
    mut done: u64,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), RebuildError> {
    let last_seq = frames.tip()?.seq;
    while done < last_seq {
        let txn = db.begin_write().map_err(write_failed)?;
        let start = done;
        let mut views = Views::new(&txn);
        frames.walk(start + 1, |frame| {
            for event in frame.events().filter(|event| event.seq > start) {
                views.apply(&event).map_err(|error| view_failed(event.seq, error))?;
                done = event.seq;
            }
            Ok::<_, RebuildError>(done - start < EVENTS_AT_ONCE)
        })?;
        // Blobs stay until the end: one that nothing needs now may be named by a later event.
        views.finish().map_err(write_failed)?;
        meta::set_rebuilt_to(&txn, Some(done)).map_err(write_failed)?;
        txn.commit().map_err(write_failed)?;
        progress(Progress { seq: done, last_seq });
    }
    Ok(())
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
