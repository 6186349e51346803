//! What waits for the writer thread: one queue, in the order of arrival.
//!
//! An entry that somebody waits for wakes the writer at once. The others only start a short
//! delay, so that on the hot path recording costs a short lock and a push: **no event is made,
//! serialized or hashed by the thread that reports it soon.** The queue is bounded: past the
//! bound, soon entries are dropped and counted, and callers of `append` wait for a slot.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use foreshore_domain::event::NewEvent;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::error::AppendError;
use crate::journal::Appended;

/// Makes an event, on the writer thread.
pub(crate) type MakeEvent = Box<dyn FnOnce() -> NewEvent + Send>;

/// Where the answer to an append goes.
pub(crate) type Reply = oneshot::Sender<Result<Appended, AppendError>>;

/// One thing for the writer to do.
pub(crate) enum Entry {
    /// Somebody waits until this is on disk. The permit bounds how many do.
    Durable(NewEvent, Reply, OwnedSemaphorePermit),
    /// Nobody waits.
    Soon(MakeEvent),
    /// Somebody waits until all that came before is on disk.
    Barrier(oneshot::Sender<()>),
}

/// What the writer takes at once.
pub(crate) struct Batch {
    pub(crate) entries: Vec<Entry>,
    /// Entries dropped since the last batch.
    pub(crate) dropped: u64,
}

pub(crate) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    soon_max: usize,
    soon_delay: Duration,
}

#[derive(Default)]
struct State {
    entries: VecDeque<Entry>,
    /// Entries that somebody waits for.
    urgent: usize,
    /// Entries were left over by the last batch: they have waited long enough.
    overdue: bool,
    dropped: u64,
    phase: Phase,
    closing: bool,
}

/// Whether the writer can write.
#[derive(Clone, Default)]
pub(crate) enum Phase {
    #[default]
    Open,
    /// An I/O error happened, and the journal has not been re-opened yet.
    Failed(Arc<str>),
    /// The writer has ended.
    Closed,
}

impl Queue {
    /// With this many soon entries the writer is woken before the delay is over.
    const SOON_WAKE: usize = 4_096;

    pub(crate) fn new(soon_max: usize, soon_delay: Duration) -> Self {
        Self { state: Mutex::default(), wake: Condvar::new(), soon_max, soon_delay }
    }

    /// Queues an entry that somebody waits for.
    pub(crate) fn push_urgent(&self, entry: Entry) -> Result<(), AppendError> {
        let mut state = self.lock();
        match &state.phase {
            Phase::Open if !state.closing => {}
            Phase::Failed(message) => {
                return Err(AppendError::Failed { message: message.to_string() });
            }
            Phase::Open | Phase::Closed => return Err(AppendError::Closed),
        }
        state.entries.push_back(entry);
        state.urgent += 1;
        let first = state.urgent == 1;
        drop(state);
        if first {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Queues an entry that nobody waits for, or counts it as dropped.
    pub(crate) fn push_soon(&self, make: MakeEvent) {
        let mut state = self.lock();
        let queued = state.entries.len();
        if queued >= self.soon_max || state.closing || matches!(state.phase, Phase::Closed) {
            state.dropped += 1;
            return;
        }
        state.entries.push_back(Entry::Soon(make));
        drop(state);
        // The first entry starts the delay; the writer sleeps until then.
        if queued == 0 || queued + 1 == Self::SOON_WAKE {
            self.wake.notify_one();
        }
    }

    /// Waits for work and takes at most `max` entries; `None` once the queue is closed and
    /// empty.
    pub(crate) fn take(&self, max: usize) -> Option<Batch> {
        let mut state = self.lock();
        let mut due: Option<Instant> = None;
        while !state.is_ready() {
            if state.entries.is_empty() {
                due = None;
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let due = *due.get_or_insert_with(|| Instant::now() + self.soon_delay);
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            (state, _) =
                self.wake.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
        if state.entries.is_empty() && state.closing {
            return None;
        }
        let count = state.entries.len().min(max);
        let entries: Vec<Entry> = state.entries.drain(..count).collect();
        state.urgent -= entries.iter().filter(|entry| entry.is_urgent()).count();
        state.overdue = !state.entries.is_empty();
        Some(Batch { entries, dropped: std::mem::take(&mut state.dropped) })
    }

    /// Says that writing failed, and hands back whoever waits for what surely was not written.
    pub(crate) fn fail(&self, message: &Arc<str>) -> Vec<Entry> {
        let mut state = self.lock();
        state.phase = Phase::Failed(Arc::clone(message));
        let (urgent, soon) =
            state.entries.drain(..).partition::<Vec<_>, _>(|entry| entry.is_urgent());
        state.entries.extend(soon);
        state.urgent = 0;
        urgent
    }

    /// Says that writing works again; `dropped` soon entries were lost with the failure.
    pub(crate) fn recover(&self, dropped: u64) {
        let mut state = self.lock();
        state.phase = Phase::Open;
        state.dropped += dropped;
    }

    /// Waits for at most `patience`, or until the queue is being closed; `true` if it is.
    pub(crate) fn pause(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        let mut state = self.lock();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if state.closing || left.is_zero() {
                return state.closing;
            }
            (state, _) =
                self.wake.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes nothing new; what is queued is still written.
    pub(crate) fn close(&self) {
        self.lock().closing = true;
        self.wake.notify_one();
    }

    /// Says that the writer has ended, and drops what it left: whoever waits is answered so.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        state.phase = Phase::Closed;
        state.entries.clear();
    }

    pub(crate) fn phase(&self) -> Phase {
        self.lock().phase.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A std mutex: nothing awaits while it is held, and nothing under it can panic halfway.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_ready(&self) -> bool {
        self.urgent > 0 || self.closing || self.overdue || self.entries.len() >= Queue::SOON_WAKE
    }
}

impl Entry {
    fn is_urgent(&self) -> bool {
        !matches!(self, Self::Soon(_))
    }
}
