//! From a file to a journal that can be used: schema, views and the end of the chain are looked
//! at, in this order, each time it is opened.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use redb::{Database, DatabaseError};

use crate::db::{Db, Opener, storage};
use crate::error::{OpenError, ReadError};
use crate::facts::Tip;
use crate::frames::Frames;
use crate::meta::{self, Meta};
use crate::rebuild::{self, Progress};
use crate::views;

/// What the tables look like. Versions of before there was a number are 1: frames alone; 2 has
/// no conversations, and variables that do not say which event set them.
pub(crate) const SCHEMA: u32 = 3;

/// What the database is in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Medium {
    /// A file of its path, of which there can be a copy.
    File,
    /// Memory, or what a test takes for a disk.
    Other,
}

/// Opens the database, brings it up to date, and finds the end of the chain.
pub(crate) fn open(
    path: &Path,
    opener: &Opener,
    medium: Medium,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Db, Tip), OpenError> {
    let opened = catch_unwind(AssertUnwindSafe(|| try_open(path, opener, medium, progress)));
    opened.unwrap_or_else(|_| Err(failed(path, &"the file is damaged")))
}

fn try_open(
    path: &Path,
    opener: &Opener,
    medium: Medium,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Db, Tip), OpenError> {
    let open = || opener().map(Db::new).map_err(|error| not_opened(path, error));
    let mut db = open()?;
    let schema = meta_of(path, &db)?.schema;
    if schema != Some(SCHEMA) {
        let is_empty = tip_of(&db).map_err(|error| not_verified(path, error))?.seq == 0;
        if medium == Medium::File && !is_empty {
            // Only a database that is closed is whole in its file.
            drop(db);
            keep_copy(path, schema.unwrap_or(1))?;
            db = open()?;
        }
        mark_new(&db).map_err(|error| failed(path, &error))?;
    }
    rebuild::resume(&db, progress)
        .map_err(|error| OpenError::Rebuild { path: path.to_owned(), error })?;
    let tip = tip_of(&db).map_err(|error| not_verified(path, error))?;
    Ok((db, tip))
}

fn meta_of(path: &Path, db: &Db) -> Result<Meta, OpenError> {
    let meta = db.begin_read().and_then(|read| Meta::read(&read));
    let meta = meta.map_err(|error| not_verified(path, error))?;
    match meta.schema {
        Some(found) if found > SCHEMA => {
            Err(OpenError::Newer { path: path.to_owned(), found, known: SCHEMA })
        }
        _ => Ok(meta),
    }
}

/// When the newest event was; 0 if there is none here.
pub(crate) fn newest_at(db: &Db, tip: Tip) -> Result<u64, ReadError> {
    let read = db.begin_read()?;
    let frames = Frames::new(&read, Meta::read(&read)?.base)?;
    if tip.seq == frames.base().seq {
        return Ok(0);
    }
    Ok(frames.read(tip.seq, 1)?.first().map_or(0, |event| event.at_unix_ms))
}

pub(crate) fn tip_of(db: &Db) -> Result<Tip, ReadError> {
    let read = db.begin_read()?;
    let base = Meta::read(&read)?.base;
    Frames::new(&read, base)?.tip()
}

/// Writes the version; whatever events there are have to be shown to the views, from the first.
fn mark_new(db: &Db) -> Result<(), ReadError> {
    let txn = db.begin_write().map_err(storage)?;
    views::clear(&txn)?;
    meta::set_schema(&txn, SCHEMA).map_err(storage)?;
    meta::set_rebuilt_to(&txn, Some(0)).map_err(storage)?;
    txn.commit().map_err(storage)
}

/// Keeps a copy of a database of an older schema beside it, before it is brought up to date.
fn keep_copy(path: &Path, version: u32) -> Result<(), OpenError> {
    let copy = path.with_extension(format!("schema-{version}.redb"));
    tracing::info!(?copy, version, "keeping a copy of the journal before it is brought up to date");
    copy_durably(path, &copy).map_err(|error| OpenError::Storage {
        path: copy.clone(),
        message: format!("the copy before migration: {error}"),
    })
}

fn copy_durably(from: &Path, to: &Path) -> std::io::Result<()> {
    let part = to.with_extension("part");
    std::fs::copy(from, &part)?;
    std::fs::File::open(&part)?.sync_all()?;
    std::fs::rename(&part, to)?;
    sync_parent(to)
}

/// A file whose directory entry is not on disk is not on disk.
pub(crate) fn sync_parent(path: &Path) -> std::io::Result<()> {
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => std::fs::File::open(parent)?.sync_all(),
        None => std::fs::File::open(".")?.sync_all(),
    }
}

pub(crate) fn opener(path: PathBuf, cache_bytes: usize) -> Opener {
    std::sync::Arc::new(move || open_file(&path, cache_bytes))
}

fn open_file(path: &Path, cache_bytes: usize) -> Result<Database, DatabaseError> {
    let mut options = std::fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    let database = Database::builder().set_cache_size(cache_bytes).create_file(file)?;
    sync_parent(path)?;
    Ok(database)
}

pub(crate) fn not_opened(path: &Path, error: DatabaseError) -> OpenError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => OpenError::InUse { path: path.to_owned() },
        error => failed(path, &error),
    }
}

fn failed(path: &Path, error: &impl ToString) -> OpenError {
    OpenError::Storage { path: path.to_owned(), message: error.to_string() }
}

pub(crate) fn not_verified(path: &Path, error: ReadError) -> OpenError {
    let path = path.to_owned();
    match error {
        ReadError::Corrupt(error) => OpenError::Corrupt { path, error },
        ReadError::Seal(error) => OpenError::Seal { path, error },
        error => OpenError::Storage { path, message: error.to_string() },
    }
}
