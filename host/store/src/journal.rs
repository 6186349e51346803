//! The journal's handle: what the rest of the host sees of it.
//!
//! Cheap to clone. The last clone that is dropped closes the journal in order: what was queued
//! is written first. The journal has no clock and no opinion: whoever appends says when and
//! what.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use foreshore_domain::event::NewEvent;
use redb::backends::InMemoryBackend;
use redb::{Database, DatabaseError};
use tokio::sync::{Semaphore, oneshot};

use crate::error::{AppendError, OpenError, ReadError};
use crate::frame::{Event, Hash};
use crate::queue::{Entry, Phase, Queue};
use crate::table::{FrameTable, Opener};
use crate::writer::{Shared, Writer};

/// The largest event: bigger things are stored elsewhere and named by their digest.
pub(crate) const EVENT_MAX_BYTES: usize = 64 << 10;

/// How the journal works.
#[derive(Clone, Debug)]
pub struct JournalConfig {
    /// Memory for pages of the database.
    pub cache_bytes: usize,
    /// The most events in one commit.
    pub group_max: usize,
    /// The most callers of [`Journal::append`] that are queued; the others wait their turn.
    pub appends_max: usize,
    /// The most events of [`Journal::append_soon`] that are queued; the others are dropped.
    pub soon_max: usize,
    /// The longest that an event of [`Journal::append_soon`] waits for its commit to begin.
    pub soon_delay: Duration,
}

impl Default for JournalConfig {
    fn default() -> Self {
        Self {
            cache_bytes: 16 << 20,
            group_max: 1_000,
            appends_max: 4_096,
            soon_max: 65_536,
            soon_delay: Duration::from_millis(50),
        }
    }
}

/// Where an event went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Its number.
    pub seq: u64,
}

/// The end of the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tip {
    /// The last event; 0 if there is none.
    pub seq: u64,
    /// The chain's value there.
    pub hash: Hash,
}

/// What [`Journal::verify`] went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// How many events.
    pub events: u64,
    /// In how many frames.
    pub frames: u64,
    /// The end of the chain.
    pub tip: Tip,
}

/// Whether the journal can write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It can.
    Open,
    /// It could not, and is being re-opened.
    Failed {
        /// What redb or the system said.
        message: String,
    },
    /// It was closed.
    Closed,
}

/// The journal. See the module.
#[derive(Clone)]
pub struct Journal(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    appends: Arc<Semaphore>,
    thread: Option<JoinHandle<()>>,
}

impl Journal {
    /// Opens the journal in a file, or makes it, readable by its owner alone.
    ///
    /// # Errors
    /// [`OpenError`]: it is in use, cannot be opened, or its end does not verify.
    pub fn open(path: &Path, config: &JournalConfig) -> Result<Self, OpenError> {
        let (file_path, cache_bytes) = (path.to_owned(), config.cache_bytes);
        Self::start(path, Arc::new(move || open_file(&file_path, cache_bytes)), config)
    }

    /// A journal that is gone when its last handle is.
    ///
    /// # Errors
    /// [`OpenError::Thread`].
    pub fn in_memory(config: &JournalConfig) -> Result<Self, OpenError> {
        let open = || Database::builder().create_with_backend(InMemoryBackend::new());
        Self::start(Path::new(":memory:"), Arc::new(open), config)
    }

    pub(crate) fn start(
        path: &Path,
        open: Opener,
        config: &JournalConfig,
    ) -> Result<Self, OpenError> {
        let table = FrameTable::new(open().map_err(|error| not_opened(path, error))?);
        let tip = table.tip().map_err(|error| not_verified(path, error))?;
        let queue = Queue::new(config.soon_max, config.soon_delay);
        let shared = Arc::new(Shared::new(queue, table, tip));
        let group_max = config.group_max.max(1);
        let writer = Writer { shared: Arc::clone(&shared), open, group_max };
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(|| writer.run())
            .map_err(|error| OpenError::Thread { message: error.to_string() })?;
        let appends = Arc::new(Semaphore::new(config.appends_max.max(1)));
        Ok(Self(Arc::new(Handle { shared, appends, thread: Some(thread) })))
    }

    /// Records an event; it is on disk when this returns.
    ///
    /// Events are numbered in the order in which they were handed over. If the caller goes away
    /// while this waits for the disk, the event is recorded all the same.
    ///
    /// # Errors
    /// [`AppendError`]. Only [`AppendError::Write`] leaves open whether the event will be found.
    pub async fn append(&self, event: NewEvent) -> Result<Appended, AppendError> {
        let bytes = event_bytes(&event);
        if bytes > EVENT_MAX_BYTES {
            return Err(AppendError::TooLarge { bytes, max_bytes: EVENT_MAX_BYTES });
        }
        let appends = Arc::clone(&self.0.appends);
        let permit = appends.acquire_owned().await.map_err(|_| AppendError::Closed)?;
        let (reply, answer) = oneshot::channel();
        self.0.shared.queue.push_urgent(Entry::Durable(event, reply, permit))?;
        answer.await.unwrap_or(Err(AppendError::Closed))
    }

    /// Records an event within [`JournalConfig::soon_delay`] and a commit. Never blocks; an
    /// event that finds the queue full is dropped, and the journal says how many were.
    pub fn append_soon(&self, event: NewEvent) {
        self.append_soon_with(move || event);
    }

    /// As [`Self::append_soon`], and even the making of the event is left to the writer thread.
    pub fn append_soon_with(&self, make: impl FnOnce() -> NewEvent + Send + 'static) {
        self.0.shared.queue.push_soon(Box::new(make));
    }

    /// At most `max` events from number `from_seq` on, each held to its hashes.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn read(&self, from_seq: u64, max: usize) -> Result<Vec<Event>, ReadError> {
        self.0.shared.table().ok_or(ReadError::NotOpen)?.read(from_seq, max)
    }

    /// Holds every event to the chain. A journal that was cut at its end, or written anew from
    /// the first event, verifies: that takes a tip that was kept elsewhere.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn verify(&self) -> Result<Verified, ReadError> {
        self.0.shared.table().ok_or(ReadError::NotOpen)?.verify()
    }

    /// The last event on disk.
    pub fn tip(&self) -> Tip {
        self.0.shared.tip()
    }

    /// Whether the journal can write.
    pub fn health(&self) -> Health {
        match self.0.shared.queue.phase() {
            Phase::Open => Health::Open,
            Phase::Failed(message) => Health::Failed { message: message.to_string() },
            Phase::Closed => Health::Closed,
        }
    }

    /// Waits until all that was handed over before is on disk, or is known not to be.
    pub async fn flush(&self) {
        let (reply, answer) = oneshot::channel();
        if self.0.shared.queue.push_urgent(Entry::Barrier(reply)).is_ok() {
            let _ = answer.await;
        }
    }

    /// Writes what is queued, takes nothing new from any handle, and closes the file.
    pub async fn close(self) {
        let mut ended = self.0.shared.ended.subscribe();
        self.0.shared.queue.close();
        let _ = ended.wait_for(|ended| *ended).await;
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.queue.close();
        if let Some(thread) = self.thread.take() {
            // The writer catches what panics, so there is nothing to learn from the result.
            let _ = thread.join();
        }
    }
}

/// The size that [`EVENT_MAX_BYTES`] bounds: what the caller chose.
pub(crate) fn event_bytes(event: &NewEvent) -> usize {
    let stream = match &event.stream {
        foreshore_domain::event::Stream::Component(name) => name.len(),
        _ => 0,
    };
    event.payload.len() + stream
}

fn open_file(path: &PathBuf, cache_bytes: usize) -> Result<Database, DatabaseError> {
    let mut options = std::fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    let database = Database::builder().set_cache_size(cache_bytes).create_file(file)?;
    // A file whose directory entry is not on disk is not on disk.
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::File::open(parent)?.sync_all()?;
    }
    Ok(database)
}

fn not_opened(path: &Path, error: DatabaseError) -> OpenError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => OpenError::InUse { path: path.to_owned() },
        error => OpenError::Storage { path: path.to_owned(), message: error.to_string() },
    }
}

fn not_verified(path: &Path, error: ReadError) -> OpenError {
    let path = path.to_owned();
    match error {
        ReadError::Corrupt(error) => OpenError::Corrupt { path, error },
        error => OpenError::Storage { path, message: error.to_string() },
    }
}
