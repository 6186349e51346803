//! The journal's way to the vectors of memory's texts: read anywhere, written on the writer
//! thread, in transactions of their own, between commits.
//!
//! Deliberately absent: events. Vectors are worked out again from the records by whoever has
//! the model, so a backup has none, and losing them loses nothing but time.

use std::collections::BTreeMap;

use foreshore_domain::event::Tenant;
use foreshore_domain::memory::ModelName;
use redb::WriteTransaction;

use crate::db::storage;
use crate::error::ReadError;
use crate::journal::Journal;
use crate::views::ViewError;
use crate::views::memory::{
    self, Made, MeaningsStatus, MemoryReader, PendingMeanings, Placed, TextDigest,
};

impl Journal {
    /// As [`Journal::memory`], for a search by meaning as well.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn memory_with_meanings(
        &self,
        tenant: &Tenant,
        now_unix_ms: u64,
    ) -> Result<MemoryReader<'_>, ReadError> {
        let read = self.db()?.begin_read()?;
        Ok(self.memory_in(&read, tenant, now_unix_ms)?.with_meanings(&read)?)
    }

    /// Puts a model in use for the vectors of memory: those of another are dropped. With `anew`,
    /// its own are too. `true` if all vectors are to be made from nothing.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn use_meanings_of(&self, model: &ModelName, anew: bool) -> Result<bool, ReadError> {
        let model = model.clone();
        self.write_meanings(move |txn| memory::use_model(txn, &model, anew)).await
    }

    /// Drops all vectors that a model made; `true` if there was a model.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn forget_meanings(&self) -> Result<bool, ReadError> {
        // Where there is nothing, nothing is written.
        if self.meanings()?.model.is_none() {
            return Ok(false);
        }
        self.write_meanings(memory::forget).await
    }

    /// How far the embedding of memory has come.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn meanings(&self) -> Result<MeaningsStatus, ReadError> {
        self.reading(|read| Ok(memory::status(read)?))
    }

    /// The next documents that have no vector yet, of a namespace after the one with this
    /// number if there is such a one; `None` where all is done, or no model is in use.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn pending_meanings(
        &self,
        after: Option<u32>,
    ) -> Result<Option<PendingMeanings>, ReadError> {
        self.reading(|read| Ok(memory::pending(read, after)?))
    }

    /// Keeps what a model made of pending texts. All of it is kept; documents can be found by it
    /// in order, up to the first whose text is not there yet.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn place_meanings(
        &self,
        pending: PendingMeanings,
        made: BTreeMap<TextDigest, Made>,
    ) -> Result<Placed, ReadError> {
        self.write_meanings(move |txn| memory::place(txn, &pending, &made)).await
    }

    /// Takes away vectors that no record needs any more, some at a time; `true` if there may be
    /// more to take. Blocks while it looks.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn sweep_meanings(&self) -> Result<bool, ReadError> {
        let journal = self.clone();
        let look = move || journal.reading(|read| Ok::<_, ReadError>(memory::unneeded(read)?));
        let swept = tokio::task::spawn_blocking(look).await.map_err(|_| ReadError::NotOpen)??;
        if swept.is_empty() {
            return Ok(false);
        }
        self.write_meanings(move |txn| memory::sweep(txn, &swept)).await
    }

    /// One transaction, which is on disk when this returns.
    async fn write_meanings<T: Send + 'static>(
        &self,
        work: impl FnOnce(&WriteTransaction) -> Result<T, ViewError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let written = self.on_writer(move |writer| {
            let db = writer.shared.db().ok_or(ReadError::NotOpen)?;
            let txn = db.begin_write().map_err(storage)?;
            let done = work(&txn)?;
            txn.commit().map_err(storage)?;
            Ok(done)
        });
        written.await.unwrap_or(Err(ReadError::NotOpen))
    }
}
