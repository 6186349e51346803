//! The database: how it is opened again, and the two kinds of transaction.
//!
//! Every commit is two-phase with quick-repair, because guests have a say in what is written
//! and redb's one-phase commit trusts a checksum that is not cryptographic; it also makes
//! opening after a crash instant. Deliberately absent: what is in the tables.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use redb::{Database, DatabaseError, ReadTransaction, ReadableDatabase as _, WriteTransaction};

use crate::error::ReadError;

/// Opens the database, again after each failure.
pub(crate) type Opener = Arc<dyn Fn() -> Result<Database, DatabaseError> + Send + Sync>;

pub(crate) struct Db(Database);

impl Db {
    pub(crate) fn new(database: Database) -> Self {
        Self(database)
    }

    /// One at a time: whoever asks while there is another waits for its end.
    pub(crate) fn begin_write(&self) -> Result<WriteTransaction, redb::Error> {
        let mut transaction = self.0.begin_write()?;
        transaction.set_two_phase_commit(true);
        transaction.set_quick_repair(true);
        Ok(transaction)
    }

    /// The database itself, for work that needs it alone.
    pub(crate) fn database(&mut self) -> &mut Database {
        &mut self.0
    }

    /// What is committed now, for as long as it is held.
    pub(crate) fn begin_read(&self) -> Result<ReadTransaction, ReadError> {
        self.0.begin_read().map_err(storage)
    }
}

pub(crate) fn storage(error: impl Into<redb::Error>) -> ReadError {
    ReadError::Storage { message: error.into().to_string() }
}

/// Does work on a database that may be damaged: redb panics on some states of a broken file, and
/// that is an error of the file, not the end of the host.
pub(crate) fn caught<T, E: From<ReadError>>(work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    let damaged = || ReadError::Storage { message: "the file is damaged".to_owned() };
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(damaged().into()))
}
