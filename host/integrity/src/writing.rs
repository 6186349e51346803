//! What a call writes to a file that it has open.
//!
//! Every write is announced with its bytes, so that what the file must hold afterwards is known
//! without reading it.

use std::io;
use std::sync::Arc;

use foreshore_domain::integrity::{Author, Change};

use crate::batch::Batch;
use crate::error::ChangeError;
use crate::held::{Edit, Held};
use crate::judge::{Turn, WatchedRoot};

/// A file that a call has open for writing. Closing it, or dropping it, records what was written;
/// so does time, while it stays open.
pub struct Writing {
    watched: Arc<WatchedRoot>,
    held: Arc<Held>,
    author: Author,
    open: bool,
}

impl Writing {
    pub(crate) fn new(watched: Arc<WatchedRoot>, held: Arc<Held>, author: Author) -> Self {
        Self { watched, held, author, open: true }
    }

    /// Writes `bytes` at `offset`, by what `write` does. It must write all of them, or fail.
    ///
    /// # Errors
    /// [`ChangeError`]: nothing was written. Within it, the error of `write`.
    pub fn write_at<R>(
        &self,
        offset: u64,
        bytes: &[u8],
        write: impl FnOnce() -> io::Result<R>,
    ) -> Result<io::Result<R>, ChangeError> {
        self.edit(&Edit::Write { offset, bytes }, write)
    }

    /// Writes `bytes` at the end, wherever it is.
    ///
    /// # Errors
    /// As above.
    pub fn append<R>(
        &self,
        bytes: &[u8],
        write: impl FnOnce() -> io::Result<R>,
    ) -> Result<io::Result<R>, ChangeError> {
        self.edit(&Edit::Append { bytes }, write)
    }

    /// Changes the size.
    ///
    /// # Errors
    /// As above.
    pub fn resize<R>(
        &self,
        size_bytes: u64,
        resize: impl FnOnce() -> io::Result<R>,
    ) -> Result<io::Result<R>, ChangeError> {
        self.edit(&Edit::Resize { size_bytes }, resize)
    }

    /// Records what was written until now.
    ///
    /// # Errors
    /// [`ChangeError`]: the next look records it.
    pub fn record(&self) -> Result<Vec<Change>, ChangeError> {
        let mut turn = self.watched.turn();
        self.settle(&mut turn)
    }

    /// Records what was written, and lets go of the file.
    ///
    /// # Errors
    /// [`ChangeError`]: the next look that can be recorded records it, as this author's.
    pub fn close(mut self) -> Result<Vec<Change>, ChangeError> {
        self.let_go()
    }

    fn edit<R>(
        &self,
        edit: &Edit<'_>,
        perform: impl FnOnce() -> io::Result<R>,
    ) -> Result<io::Result<R>, ChangeError> {
        self.held.lock().edit(&self.watched, &self.author, edit, perform)
    }

    fn settle(&self, turn: &mut Turn) -> Result<Vec<Change>, ChangeError> {
        let mut batch = Batch::default();
        let path = {
            let draft = self.held.lock();
            if draft.detached {
                return Ok(Vec::new());
            }
            draft.path.clone()
        };
        self.watched.settle(turn, &mut batch, &self.held)?;
        if self.held.lock().detached {
            turn.held.remove(&path);
        }
        self.watched.commit(turn, batch)
    }

    fn let_go(&mut self) -> Result<Vec<Change>, ChangeError> {
        let watched = Arc::clone(&self.watched);
        let mut turn = watched.turn();
        self.open = false;
        self.held.lock().holders -= 1;
        let settled = self.settle(&mut turn);
        if settled.is_err() {
            // It stays among the held ones, its author with it, until a look records it.
            let path = self.held.lock().path.clone();
            watched.suspects.add(path);
        } else if self.held.is_spent() {
            let mut draft = self.held.lock();
            if !draft.detached {
                turn.held.remove(&draft.path);
                draft.detached = true;
            }
        }
        settled
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        if self.open
            && let Err(error) = self.let_go()
        {
            tracing::warn!(%error, "what a call wrote is recorded by a later look");
        }
    }
}
