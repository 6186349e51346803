//! The journal's handle: what the rest of the host sees of it.
//!
//! Cheap to clone. The last clone that is dropped closes the journal in order: what was queued
//! is written first. The journal has no clock and no opinion: whoever appends says when and
//! what.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use foreshore_domain::blob::BlobDigest;
use foreshore_domain::conversation::{Body, Payload};
use foreshore_domain::event::{EventKind, NewEvent, Stream, Tenant};
use foreshore_domain::id::TurnId;
use foreshore_domain::memory::Conversation;
use redb::Database;
use redb::backends::InMemoryBackend;
use tokio::sync::{Semaphore, oneshot, watch};

use crate::blobs;
use crate::caches::Caches;
use crate::checkpoint::Checkpoint;
use crate::commit::{COMMIT_BLOB_BYTES_MAX, Commit, Committed};
use crate::db::{Db, Opener, caught, storage};
use crate::error::{AcceptError, AppendError, CorruptError, OpenError, ReadError, RebuildError};
use crate::facts::{Appended, Health, JournalConfig, Tip, Verified};
use crate::frame::{Event, Hash};
use crate::frames::Frames;
use crate::meta::Meta;
use crate::queue::{Entry, Phase, Queue, Task};
use crate::rebuild::{self, Progress};
use crate::reserve::Reserve;
use crate::seal_files::SealFiles;
use crate::seals::{self, Opening, Seals};
use crate::start::{self, Medium};
use crate::views::approvals::ApprovalsReader;
use crate::views::budgets::BudgetsReader;
use crate::views::conversations::{self, ConversationsReader, OpenTurn};
use crate::views::credentials::CredentialsReader;
use crate::views::files::FilesReader;
use crate::views::memory::{CacheStats, MemoryReader};
use crate::views::questions::QuestionsReader;
use crate::views::secrets::SecretsReader;
use crate::views::streams;
use crate::views::variables::VariablesReader;
use crate::writer::{Shared, Writer, host_event};

/// The largest event: bigger things are stored elsewhere and named by their digest.
pub(crate) const EVENT_MAX_BYTES: usize = 64 << 10;

/// The most KiB of blobs, before compression, that wait to be written.
const BLOBS_QUEUED_KIB: usize = (4 * COMMIT_BLOB_BYTES_MAX) >> 10;

/// Where a journal is, and what stands beside it.
pub(crate) struct Place {
    pub(crate) open: Opener,
    pub(crate) medium: Medium,
    pub(crate) reserve: Option<Reserve>,
    pub(crate) seals: Option<(SealFiles, Opening)>,
}

impl Place {
    fn file(path: &Path, config: &JournalConfig, opening: Opening) -> Self {
        Self {
            open: start::opener(path.to_owned(), config.cache_bytes),
            medium: Medium::File,
            reserve: Some(Reserve::beside(path)),
            seals: Some((SealFiles::beside(path), opening)),
        }
    }
}

/// The journal. See the module.
#[derive(Clone)]
pub struct Journal(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    appends: Arc<Semaphore>,
    /// One permit for each KiB of blobs that wait.
    blob_kib: Arc<Semaphore>,
    checkpoints: Option<watch::Receiver<Option<Checkpoint>>>,
    seal_files: Option<SealFiles>,
    thread: Option<JoinHandle<()>>,
}

impl Journal {
    /// Opens the journal in a file, or makes it, readable by its owner alone. One of an older
    /// schema is brought up to date, after a copy of it was put beside it.
    ///
    /// # Errors
    /// [`OpenError`]: it is in use, is newer than this program, cannot be opened, or does not
    /// verify.
    pub fn open(path: &Path, config: &JournalConfig) -> Result<Self, OpenError> {
        Self::open_with(path, config, |_| {})
    }

    /// As [`Self::open`], and says how far it is if the views have to be made again.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(
        path: &Path,
        config: &JournalConfig,
        progress: impl FnMut(Progress),
    ) -> Result<Self, OpenError> {
        Self::start(path, Place::file(path, config, Opening::Held), config, progress)
    }

    /// As [`Self::open`], for a journal that does not match its checkpoints because it was
    /// restored on purpose: takes it as it is from now on, with a key of its own if there is
    /// none, and records that, and why.
    ///
    /// # Errors
    /// As [`Self::open`], but for [`OpenError::Seal`]; [`AppendError`] if the acceptance could
    /// not be recorded.
    pub async fn accept(
        path: &Path,
        config: &JournalConfig,
        at_unix_ms: u64,
        reason: &str,
    ) -> Result<Self, AcceptError> {
        let place = Place::file(path, config, Opening::Accepted);
        let journal = Self::start(path, place, config, |_| {})?;
        let reason: String = reason.chars().take(1_024).collect();
        let payload = serde_json::json!({ "reason": reason, "from_seq": journal.tip().seq });
        let payload = payload.to_string().into_bytes();
        journal.append(host_event(at_unix_ms, EventKind::JournalAccepted, payload)).await?;
        Ok(journal)
    }

    /// A journal that is gone when its last handle is.
    ///
    /// # Errors
    /// [`OpenError::Thread`].
    pub fn in_memory(config: &JournalConfig) -> Result<Self, OpenError> {
        let open = || Database::builder().create_with_backend(InMemoryBackend::new());
        let place =
            Place { open: Arc::new(open), medium: Medium::Other, reserve: None, seals: None };
        Self::start(Path::new(":memory:"), place, config, |_| {})
    }

    pub(crate) fn start(
        path: &Path,
        place: Place,
        config: &JournalConfig,
        mut progress: impl FnMut(Progress),
    ) -> Result<Self, OpenError> {
        let Place { open, medium, reserve, seals } = place;
        let not_verified = |error| start::not_verified(path, error);
        let (db, tip) = start::open(path, &open, medium, &mut progress)?;
        let newest_at_unix_ms = caught(|| start::newest_at(&db, tip)).map_err(not_verified)?;
        let seals = match seals {
            Some((files, opening)) => {
                let end = (tip, newest_at_unix_ms);
                let open = || Seals::open(files, config.seal_every, &db, end, opening);
                Some(caught(open).map_err(not_verified)?)
            }
            None => None,
        };
        let caches = Caches::new(config.record_cache_bytes, config.vector_cache_bytes);
        let queue = Queue::new(config.soon_max, config.soon_delay);
        let shared = Arc::new(Shared::new(queue, db, tip, caches));
        let checkpoints = seals.as_ref().map(|seals| seals.published.subscribe());
        let seal_files = seals.as_ref().map(|seals| seals.files().clone());
        let writer = Writer {
            shared: Arc::clone(&shared),
            open,
            path: path.to_owned(),
            group_max: config.group_max.max(1),
            reserve_is_due: reserve.is_some(),
            reserve,
            seals,
            sealed: None,
            newest_at_unix_ms,
        };
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(|| writer.run())
            .map_err(|error| OpenError::Thread { message: error.to_string() })?;
        let appends = Arc::new(Semaphore::new(config.appends_max.max(1)));
        let blob_kib = Arc::new(Semaphore::new(BLOBS_QUEUED_KIB));
        let thread = Some(thread);
        let handle = Handle { shared, appends, blob_kib, checkpoints, seal_files, thread };
        Ok(Self(Arc::new(handle)))
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
        let committed = answer.await.unwrap_or(Err(AppendError::Closed))?;
        let receipt = committed.receipts.first().copied().unwrap_or_default();
        Ok(Appended { seq: committed.first_seq, receipt })
    }

    /// Records several events with their blobs, all of them or none, if every condition holds;
    /// they are on disk when this returns. Their numbers follow one another.
    ///
    /// # Errors
    /// [`AppendError`]; [`AppendError::Conflict`] if a condition does not hold. Only
    /// [`AppendError::Write`] leaves open whether the entry will be found, and then all of it.
    pub async fn commit(&self, commit: Commit) -> Result<Committed, AppendError> {
        commit.check()?;
        let appends = Arc::clone(&self.0.appends);
        let permit = appends.acquire_owned().await.map_err(|_| AppendError::Closed)?;
        let (prepared, blob_permit) = if commit.blobs.is_empty() {
            (commit.prepare(), None)
        } else {
            let kib = u32::try_from(commit.blob_bytes() >> 10).unwrap_or(u32::MAX);
            let blob_kib = Arc::clone(&self.0.blob_kib);
            let permit = blob_kib.acquire_many_owned(kib).await.map_err(|_| AppendError::Closed)?;
            let prepared = tokio::task::spawn_blocking(|| commit.prepare());
            (prepared.await.map_err(|_| AppendError::Closed)?, Some(permit))
        };
        let (reply, answer) = oneshot::channel();
        let entry = Entry::Commit(Box::new(prepared), reply, (permit, blob_permit));
        self.0.shared.queue.push_urgent(entry)?;
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
        self.reading(|read| frames_of(read)?.read(from_seq, max))
    }

    /// At most `max` events of one stream, from number `from_seq` on, each held to its hashes.
    /// For streams that [`Stream::is_guarded`]: there is no list of the others.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn read_stream(
        &self,
        tenant: &Tenant,
        stream: &Stream,
        from_seq: u64,
        max: usize,
    ) -> Result<Vec<Event>, ReadError> {
        let (tenant, stream) = (tenant.as_str(), &*stream.to_string());
        self.reading(|read| {
            let seqs = streams::read(read, (tenant, stream), from_seq, max).map_err(storage)?;
            let frames = frames_of(read)?;
            let mut events = Vec::with_capacity(seqs.len());
            for seq in seqs {
                // The chain says what the event is; the view only where to look.
                match frames.read(seq, 1)?.pop() {
                    Some(event) if (&*event.tenant, &*event.stream) == (tenant, stream) => {
                        events.push(event);
                    }
                    _ => return Err(CorruptError::View { seq }.into()),
                }
            }
            Ok(events)
        })
    }

    /// The number of a stream's last event, to be named in a condition; 0 for none.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn stream_head(&self, tenant: &Tenant, stream: &Stream) -> Result<u64, ReadError> {
        let (tenant, stream) = (tenant.as_str(), &*stream.to_string());
        self.reading(|read| streams::last(read, (tenant, stream)).map_err(storage))
    }

    /// A blob's bytes, held to its name; `None` if it is not stored.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn blob(&self, digest: &BlobDigest) -> Result<Option<Vec<u8>>, ReadError> {
        self.reading(|read| blobs::get(read, digest))
    }

    /// Holds every event to the chain, and the chain to the checkpoints beside the database.
    ///
    /// # Errors
    /// [`ReadError`]; [`ReadError::Seal`] if it does not match a checkpoint.
    pub fn verify(&self) -> Result<Verified, ReadError> {
        self.verify_with(&[])
    }

    /// As [`Self::verify`], and to checkpoints that were kept elsewhere.
    ///
    /// # Errors
    /// As [`Self::verify`].
    pub fn verify_with(&self, kept: &[Checkpoint]) -> Result<Verified, ReadError> {
        let own = match &self.0.seal_files {
            Some(files) => files.all()?,
            None => Vec::new(),
        };
        self.reading(|read| {
            let identity = Meta::read(read)?.identity;
            seals::verify(&frames_of(read)?, own.iter().chain(kept), identity.as_ref())
        })
    }

    /// The newest checkpoint, now and whenever there is another; to be sent elsewhere. `None`
    /// for a journal in memory.
    pub fn checkpoints(&self) -> Option<watch::Receiver<Option<Checkpoint>>> {
        self.0.checkpoints.clone()
    }

    /// Signs the chain as it is now. `None` for a journal in memory.
    ///
    /// # Errors
    /// [`ReadError::NotOpen`]: it cannot write.
    pub async fn seal(&self) -> Result<Option<Checkpoint>, ReadError> {
        let sealed = self.on_writer(|writer| {
            writer.seal(writer.shared.tip());
            writer.seals.as_ref().map(|seals| *seals.newest())
        });
        sealed.await.ok_or(ReadError::NotOpen)
    }

    /// The chain's value after event `seq`, to be kept elsewhere; `None` past the end and before
    /// what is kept here.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn hash_at(&self, seq: u64) -> Result<Option<Hash>, ReadError> {
        self.reading(|read| frames_of(read)?.hash_at(seq))
    }

    /// Clears all views and makes them again from the events; appends wait meanwhile. If this is
    /// cut short, the next opening goes on with it.
    ///
    /// # Errors
    /// [`RebuildError`].
    pub async fn rebuild(
        &self,
        mut progress: impl FnMut(Progress) + Send + 'static,
    ) -> Result<(), RebuildError> {
        let db = |writer: &mut Writer| writer.shared.db().ok_or(ReadError::NotOpen);
        let rebuild = move |writer: &mut Writer| {
            let rebuilt = rebuild::rebuild(&*db(writer)?, &mut progress);
            writer.shared.caches.clear();
            rebuilt
        };
        self.on_writer(rebuild).await.unwrap_or(Err(ReadError::NotOpen.into()))
    }

    /// Runs work on the writer thread, after all that was handed over before; `None` if the
    /// journal cannot write, or the work panicked.
    pub(crate) async fn on_writer<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Writer) -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        let task: Task = Box::new(move |writer| {
            let _ = reply.send(work(writer));
        });
        self.0.shared.queue.push_urgent(Entry::Task(task)).ok()?;
        answer.await.ok()
    }

    /// The memory of a tenant as it stands now, at a time that the caller gives.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn memory(&self, tenant: &Tenant, now_unix_ms: u64) -> Result<MemoryReader<'_>, ReadError> {
        let read = self.db()?.begin_read()?;
        self.memory_in(&read, tenant, now_unix_ms)
    }

    pub(crate) fn memory_in(
        &self,
        read: &redb::ReadTransaction,
        tenant: &Tenant,
        now_unix_ms: u64,
    ) -> Result<MemoryReader<'_>, ReadError> {
        let caches = &self.0.shared.caches;
        let reader = MemoryReader::open(read, tenant.as_str(), now_unix_ms)?;
        Ok(reader.with_caches(&caches.records, &caches.vectors)?)
    }

    /// How the cache of [`MemoryReader::get`] does.
    pub fn memory_cache(&self) -> CacheStats {
        self.0.shared.caches.records.stats()
    }

    /// What is known of a tenant's files now.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn files(&self, tenant: &Tenant) -> Result<FilesReader, ReadError> {
        let read = self.db()?.begin_read()?;
        Ok(FilesReader::open(&read, tenant.as_str())?)
    }

    /// Whether a blob is stored.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn has_blob(&self, digest: &BlobDigest) -> Result<bool, ReadError> {
        self.reading(|read| blobs::is_there(read, digest))
    }

    /// The variables of a conversation as they stand now.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn variables(
        &self,
        tenant: &Tenant,
        conversation: &Conversation,
    ) -> Result<VariablesReader, ReadError> {
        let read = self.db()?.begin_read()?;
        Ok(VariablesReader::open(&read, tenant.as_str(), conversation.as_str())?)
    }

    /// A tenant's conversations and turns as they stand now.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn conversations(&self, tenant: &Tenant) -> Result<ConversationsReader, ReadError> {
        let read = self.db()?.begin_read()?;
        Ok(ConversationsReader::open(&read, tenant.as_str())?)
    }

    /// Every turn that has not ended, of every tenant, with the tenant; a tenant's oldest first.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn open_turns(&self) -> Result<Vec<(String, OpenTurn)>, ReadError> {
        self.reading(|read| Ok(conversations::open_turns(read)?))
    }

    /// What a turn did: at most `max` events of its stream, from number `from_seq` on.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn turn_record(
        &self,
        tenant: &Tenant,
        turn: TurnId,
        from_seq: u64,
        max: usize,
    ) -> Result<Vec<Event>, ReadError> {
        self.read_stream(tenant, &Stream::Turn(turn), from_seq, max)
    }

    /// The JSON of a payload, wherever it is; `None` if its conversation was deleted.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn payload(&self, payload: &Payload) -> Result<Option<String>, ReadError> {
        match &payload.body {
            Body::Inline(json) => Ok(Some(json.as_str().to_owned())),
            Body::Blob { digest, .. } => {
                let Some(bytes) = self.blob(digest)? else { return Ok(None) };
                let json = String::from_utf8(bytes);
                json.map(Some).map_err(|_| CorruptError::Blob { digest: *digest }.into())
            }
        }
    }

    /// The questions of all tenants as they stand now.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn questions(&self) -> Result<QuestionsReader, ReadError> {
        let read = self.db()?.begin_read()?;
        Ok(QuestionsReader::open(&read)?)
    }

    /// The approvals by rule of all tenants as they stand now.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn approvals(&self) -> Result<ApprovalsReader, ReadError> {
        let read = self.db()?.begin_read()?;
        Ok(ApprovalsReader::open(&read)?)
    }

    /// The credentials of all tenants as they stand now.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn credentials(&self) -> Result<CredentialsReader, ReadError> {
        let read = self.db()?.begin_read()?;
        Ok(CredentialsReader::open(&read)?)
    }

    /// The secrets of the host, sealed, as they stand now.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn secrets(&self) -> Result<SecretsReader, ReadError> {
        let read = self.db()?.begin_read()?;
        Ok(SecretsReader::open(&read)?)
    }

    /// What a tenant spent, as it stands now.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn budgets(&self, tenant: &Tenant) -> Result<BudgetsReader, ReadError> {
        let read = self.db()?.begin_read()?;
        Ok(BudgetsReader::open(&read, tenant.as_str())?)
    }

    /// Reads one state of the journal.
    pub(crate) fn reading<T, E: From<ReadError>>(
        &self,
        work: impl FnOnce(&redb::ReadTransaction) -> Result<T, E>,
    ) -> Result<T, E> {
        let db = self.db()?;
        caught(|| work(&db.begin_read()?))
    }

    pub(crate) fn db(&self) -> Result<Arc<Db>, ReadError> {
        self.0.shared.db().ok_or(ReadError::NotOpen)
    }

    /// The last event on disk.
    pub fn tip(&self) -> Tip {
        self.0.shared.tip()
    }

    /// Whether the journal can write.
    pub fn health(&self) -> Health {
        match self.0.shared.queue.phase() {
            Phase::Open => Health::Open,
            Phase::Failed(message, since) => Health::Failed { message: message.to_string(), since },
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
    event.payload.len() + event.stream.name_bytes()
}

pub(crate) fn frames_of(read: &redb::ReadTransaction) -> Result<Frames, ReadError> {
    Frames::new(read, Meta::read(read)?.base)
}
