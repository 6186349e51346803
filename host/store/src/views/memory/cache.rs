//! Records that were read before, so that reading them again asks no table.
//!
//! What makes an entry untrue is an event, so entries are held to sequences and not to time:
//! each knows the last event that its reader saw, and [`ReadCache::changed`] notes the event
//! that touches a key before that event can be seen. An entry older than the note is not
//! given out. Keys share notes by hash, which can only cost a hit.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::super::codec::wide;
use super::Version;
use super::head::is_past;

/// How many notes there are.
const NOTES: usize = 1 << 14;
/// What an entry costs beside its texts, roughly.
const ENTRY_BYTES: u64 = 400;

/// Which key an event changed, by hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Touched(u64);

impl Touched {
    /// The hash must be the same in each process and thread, but need not withstand anybody:
    /// keys that collide cost each other hits and nothing more.
    pub(crate) fn new(tenant: &str, namespace: &str, key: &str) -> Self {
        // FNV-1a, 64 bits.
        let parts = [tenant.as_bytes(), &[0], namespace.as_bytes(), &[0], key.as_bytes()];
        let hash = parts.into_iter().flatten().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(hash ^ (hash >> 32))
    }

    fn note(self) -> usize {
        usize::try_from(self.0 % wide(NOTES)).unwrap_or_default()
    }
}

/// How a cache does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Reads that it answered.
    pub hits: u64,
    /// Reads that it did not.
    pub misses: u64,
    /// Records that it holds.
    pub entries: u64,
    /// What they cost, roughly.
    pub bytes: u64,
}

/// The latest versions of records, bounded in bytes; what was not used since it was last looked
/// at goes first. One for each journal, shared by its readers.
pub struct ReadCache {
    max_bytes: u64,
    hits: AtomicU64,
    misses: AtomicU64,
    notes: Box<[AtomicU64]>,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    entries: HashMap<Arc<str>, Cached>,
    /// Whom to look at next for what can go.
    order: VecDeque<Arc<str>>,
    bytes: u64,
    generation: u64,
}

struct Cached {
    version: Arc<Version>,
    as_of_seq: u64,
    bytes: u64,
    used: bool,
}

/// Where a record stands, for the cache.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) tenant: &'a str,
    pub(super) namespace: &'a str,
    pub(super) key: &'a str,
}

/// What a reader saw.
#[derive(Clone, Copy, Default)]
pub(super) struct Sight {
    /// The last event applied.
    pub(super) seq: u64,
    /// How often the view was cleared.
    pub(super) generation: u64,
}

impl ReadCache {
    /// A cache of at most about `max_bytes`.
    pub fn new(max_bytes: u64) -> Self {
        Self {
            max_bytes,
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            notes: (0..NOTES).map(|_| AtomicU64::new(0)).collect(),
            held: Mutex::default(),
        }
    }

    /// The latest version of a record, without a transaction, if it is known: what
    /// [`super::MemoryReader::get`] would say now. `None` says nothing; ask a reader, which
    /// then keeps what it finds.
    pub fn latest(
        &self,
        tenant: &str,
        namespace: &str,
        key: &str,
        now_unix_ms: u64,
    ) -> Option<Arc<Version>> {
        let at = Place { tenant, namespace, key };
        let note = self.note(at);
        let mut held = self.held();
        let cached = held.entries.get_mut(&*name(at)).filter(|cached| cached.as_of_seq >= note)?;
        cached.used = true;
        let version = cached.version.clone();
        drop(held);
        if is_past(version.expires_at_unix_ms(), now_unix_ms) {
            return None;
        }
        self.hits.fetch_add(1, Ordering::Relaxed);
        Some(version)
    }

    /// Forgets everything; to be called when the view is cleared.
    pub(crate) fn clear(&self) {
        let mut held = self.held();
        *held = Held { generation: held.generation, ..Held::default() };
    }

    /// How it does.
    pub fn stats(&self) -> CacheStats {
        let held = self.held();
        CacheStats {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            entries: wide(held.entries.len()),
            bytes: held.bytes,
        }
    }

    /// Notes that event `seq` touches a key. To be called after the event was applied and
    /// **before its transaction commits**: a reader that sees the event must find the note.
    pub(crate) fn changed(&self, touched: Touched, seq: u64) {
        if let Some(note) = self.notes.get(touched.note()) {
            note.fetch_max(seq, Ordering::SeqCst);
        }
    }

    /// The latest version of a record, if it is known and there now.
    pub(super) fn get(
        &self,
        at: Place<'_>,
        sight: Sight,
        now_unix_ms: u64,
    ) -> Option<Arc<Version>> {
        let note = self.note(at);
        let mut held = self.held();
        let found = held.entries.get_mut(&*name(at)).and_then(|cached| {
            // Nothing may be newer than what the reader sees either, nor than the last change.
            if cached.as_of_seq < note || cached.version.seq > sight.seq {
                return None;
            }
            cached.used = true;
            Some(cached.version.clone())
        });
        let found = found.filter(|_| held.generation == sight.generation);
        drop(held);
        let count = if found.is_some() { &self.hits } else { &self.misses };
        count.fetch_add(1, Ordering::Relaxed);
        found.filter(|version| !is_past(version.expires_at_unix_ms(), now_unix_ms))
    }

    /// Keeps what was read.
    pub(super) fn keep(&self, at: Place<'_>, sight: Sight, version: &Arc<Version>) {
        let bytes = ENTRY_BYTES + wide(at.key.len()) + version.bytes();
        // One entry never takes the place of most others.
        if bytes > self.max_bytes / 8 || sight.seq < self.note(at) {
            return;
        }
        let name: Arc<str> = name(at).into();
        let cached = Cached { version: version.clone(), as_of_seq: sight.seq, bytes, used: false };
        let mut held = self.held();
        if held.generation != sight.generation {
            if held.generation > sight.generation {
                return;
            }
            *held = Held { generation: sight.generation, ..Held::default() };
        }
        held.bytes += bytes;
        match held.entries.insert(name.clone(), cached) {
            Some(old) => held.bytes -= old.bytes,
            None => held.order.push_back(name),
        }
        held.evict(self.max_bytes);
    }

    fn note(&self, at: Place<'_>) -> u64 {
        let touched = Touched::new(at.tenant, at.namespace, at.key);
        self.notes.get(touched.note()).map_or(u64::MAX, |note| note.load(Ordering::SeqCst))
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Second chance: what was used since it was last looked at goes to the end of the line.
    fn evict(&mut self, max_bytes: u64) {
        while self.bytes > max_bytes {
            let Some(name) = self.order.pop_front() else { return };
            match self.entries.get_mut(&name) {
                Some(cached) if cached.used => {
                    cached.used = false;
                    self.order.push_back(name);
                }
                Some(cached) => {
                    self.bytes -= cached.bytes;
                    self.entries.remove(&name);
                }
                None => {}
            }
        }
    }
}

/// Namespaces have no zero byte, and keys neither.
fn name(at: Place<'_>) -> String {
    [at.key, at.namespace, at.tenant].join("\0")
}
