//! What the server was asked, and what became of it.
//!
//! Invariant: each request has one entry from the moment it is understood, and exactly one
//! outcome; a request whose client went away has that for its outcome. The log is bounded: what
//! is oldest goes first, and the count of all goes on.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

/// A request.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Recorded {
    /// From 1, in the order in which they came.
    pub number: u64,
    /// Since the server was first started.
    #[serde(rename = "at_ms", serialize_with = "milliseconds")]
    pub at: Duration,
    /// `POST`.
    pub method: String,
    /// `/api/chat`, without a query.
    pub path: String,
    /// What was sent: null when nothing was, a text when it was no JSON.
    pub body: Value,
    /// The rule that answered: its name, or its number from 1.
    pub rule: Option<String>,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It is being answered.
    Pending,
    /// It was answered whole, with this status.
    Answered(u16),
    /// It was ended as a `break` of the script says.
    Broken,
    /// The client went away, or the server was stopped, before the end.
    Abandoned,
}

fn milliseconds<S: serde::Serializer>(at: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(at.as_millis()).unwrap_or(u64::MAX))
}

/// Most entries, and most bytes of bodies, that are kept.
const ENTRIES_MAX: usize = 20_000;
const BODIES_MAX_BYTES: usize = 128 * 1024 * 1024;

/// Is told of each request that has ended.
pub(crate) type Listener = Box<dyn Fn(&Recorded) + Send + Sync>;

/// The log of a server.
pub(crate) struct Log {
    started: Instant,
    listener: Option<Listener>,
    entries: Mutex<Entries>,
    open: AtomicUsize,
    most_open: AtomicUsize,
}

#[derive(Default)]
struct Entries {
    next: u64,
    bytes: usize,
    kept: VecDeque<(Recorded, usize)>,
}

impl Log {
    pub(crate) fn new(listener: Option<Listener>) -> Self {
        Self {
            started: Instant::now(),
            listener,
            entries: Mutex::default(),
            open: AtomicUsize::new(0),
            most_open: AtomicUsize::new(0),
        }
    }

    /// Notes a request; the ticket notes what becomes of it.
    pub(crate) fn enter(
        log: &Arc<Self>,
        method: &str,
        path: &str,
        body: Value,
        bytes: usize,
    ) -> Ticket {
        let mut entries = log.lock();
        entries.next += 1;
        let number = entries.next;
        let recorded = Recorded {
            number,
            at: log.started.elapsed(),
            method: method.to_owned(),
            path: path.to_owned(),
            body,
            rule: None,
            outcome: Outcome::Pending,
        };
        entries.kept.push_back((recorded, bytes));
        entries.bytes += bytes;
        while entries.kept.len() > ENTRIES_MAX
            || (entries.bytes > BODIES_MAX_BYTES && entries.kept.len() > 1)
        {
            if let Some((_, bytes)) = entries.kept.pop_front() {
                entries.bytes -= bytes;
            }
        }
        drop(entries);
        let open = log.open.fetch_add(1, Ordering::Relaxed) + 1;
        log.most_open.fetch_max(open, Ordering::Relaxed);
        Ticket { log: Arc::clone(log), number, rule: None, outcome: Outcome::Abandoned }
    }

    pub(crate) fn all(&self) -> Vec<Recorded> {
        self.lock().kept.iter().map(|(recorded, _)| recorded.clone()).collect()
    }

    /// How many there were, those that are no longer kept included.
    pub(crate) fn count(&self) -> u64 {
        self.lock().next
    }

    /// How many have no outcome yet.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    pub(crate) fn most_open(&self) -> usize {
        self.most_open.load(Ordering::Relaxed)
    }

    pub(crate) fn clear(&self) {
        let mut entries = self.lock();
        entries.kept.clear();
        entries.bytes = 0;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Entries> {
        // A std mutex: nothing awaits while it is held.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The open end of an entry; dropping it closes the entry.
pub(crate) struct Ticket {
    log: Arc<Log>,
    pub(crate) number: u64,
    rule: Option<String>,
    outcome: Outcome,
}

impl Ticket {
    pub(crate) fn answered_by(&mut self, rule: &str) {
        self.rule = Some(rule.to_owned());
    }

    pub(crate) fn ends(&mut self, outcome: Outcome) {
        self.outcome = outcome;
    }

    /// The entry as it is from now on; `None` when it is no longer kept.
    fn close(&mut self) -> Option<Recorded> {
        let mut entries = self.log.lock();
        let of = |entry: &&mut (Recorded, usize)| entry.0.number == self.number;
        let (entry, _) = entries.kept.iter_mut().rev().find(of)?;
        entry.rule = self.rule.take();
        entry.outcome = self.outcome;
        self.log.listener.is_some().then(|| entry.clone())
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let entry = self.close();
        // Only now: whoever sees that nothing is in flight finds all outcomes.
        self.log.open.fetch_sub(1, Ordering::Relaxed);
        if let (Some(listener), Some(entry)) = (&self.log.listener, entry) {
            listener(&entry);
        }
    }
}
