//! What waits for the writer thread: one queue, in the order of arrival.
//!
//! An entry that somebody waits for wakes the writer at once. The others only start a short
//! delay, so that on the hot path recording costs a short lock and a push: **no event is made,
//! serialized or hashed by the thread that reports it soon.** The queue is bounded: past the
//! bound, soon entries are dropped and counted, and callers of `append` wait for a slot.
//!
//! Callers that were just answered tend to come back at once. Without a moment's patience they
//! would fall into two groups that take turns, and each commit would carry half of what it could:
//! see [`Queue::expect`].

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use foreshore_domain::event::NewEvent;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::commit::{Committed, Prepared};
use crate::error::AppendError;
use crate::journal::event_bytes;
use crate::writer::Writer;

/// Makes an event, on the writer thread.
pub(crate) type MakeEvent = Box<dyn FnOnce() -> NewEvent + Send>;

/// Where the answer to an entry goes.
pub(crate) type Reply = oneshot::Sender<Result<Committed, AppendError>>;

/// Work on the database that is not an entry. Dropping it answers whoever waits for it.
pub(crate) type Task = Box<dyn FnOnce(&mut Writer) + Send>;

/// What bounds how much is queued, given back when its entry is done with.
pub(crate) type Permits = (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>);

/// One thing for the writer to do.
pub(crate) enum Entry {
    /// Somebody waits until this is on disk. The permit bounds how many do.
    Durable(NewEvent, Reply, OwnedSemaphorePermit),
    /// Somebody waits until all of this is on disk.
    Commit(Box<Prepared>, Reply, Permits),
    /// Nobody waits.
    Soon(MakeEvent),
    /// Nobody waits, and it was made when writing failed.
    Made(NewEvent),
    /// Somebody waits until this was done, after all that came before is on disk.
    Task(Task),
    /// Somebody waits until all that came before is on disk.
    Barrier(oneshot::Sender<()>),
}

/// What the writer does next.
pub(crate) enum Next {
    Write(Batch),
    /// The time it asked for has come, and nothing else is to do.
    Due,
    /// The queue is closed and empty.
    End,
}

/// What the writer takes at once. A task can only be its last entry.
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
    /// The next batch is worth waiting for until so many entries are urgent, so long.
    expected: (usize, Duration),
}

/// Whether the writer can write.
#[derive(Clone, Default)]
pub(crate) enum Phase {
    #[default]
    Open,
    /// An I/O error happened, and the journal takes nothing yet.
    Failed(Arc<str>, Instant),
    /// The writer has ended.
    Closed,
}

impl Queue {
    /// With this many soon entries the writer is woken before the delay is over.
    const SOON_WAKE: usize = 4_096;
    /// One commit writes about this much at most, unless a single entry is larger.
    const BATCH_BYTES: usize = 16 << 20;

    pub(crate) fn new(soon_max: usize, soon_delay: Duration) -> Self {
        Self { state: Mutex::default(), wake: Condvar::new(), soon_max, soon_delay }
    }

    /// Queues an entry that somebody waits for.
    pub(crate) fn push_urgent(&self, entry: Entry) -> Result<(), AppendError> {
        let mut state = self.lock();
        match &state.phase {
            Phase::Open if !state.closing => {}
            Phase::Failed(message, _) => {
                return Err(AppendError::Failed { message: message.to_string() });
            }
            Phase::Open | Phase::Closed => return Err(AppendError::Closed),
        }
        state.entries.push_back(entry);
        state.urgent += 1;
        let wake = state.urgent == 1 || state.urgent == state.expected.0;
        drop(state);
        if wake {
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

    /// Waits for work, but not past `due`, and takes at most `max` entries.
    pub(crate) fn take(&self, max: usize, due: Option<Instant>) -> Next {
        let mut state = self.lock();
        let mut ready_at: Option<Instant> = None;
        while !state.is_ready() {
            let now = Instant::now();
            if due.is_some_and(|due| due <= now) {
                return Next::Due;
            }
            let soon = match state.entries.is_empty() {
                true => None,
                false => Some(*ready_at.get_or_insert(now + self.soon_delay)),
            };
            if soon.is_some_and(|soon| soon <= now) {
                break;
            }
            state = match soon.into_iter().chain(due).min() {
                None => self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let left = until.saturating_duration_since(now);
                    let woken = self.wake.wait_timeout(state, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        if state.entries.is_empty() && state.closing {
            return Next::End;
        }
        state = self.gather(state, max);
        let count = state.portion(max);
        let entries: Vec<Entry> = state.entries.drain(..count).collect();
        state.urgent -= entries.iter().filter(|entry| entry.is_urgent()).count();
        state.overdue = !state.entries.is_empty();
        Next::Write(Batch { entries, dropped: std::mem::take(&mut state.dropped) })
    }

    /// Says that so many callers are about to be answered: the next batch may wait so long for
    /// them, beside those that wait already.
    pub(crate) fn expect(&self, answered: usize, patience: Duration) {
        let mut state = self.lock();
        state.expected = (state.urgent + answered, patience);
    }

    fn gather<'s>(&self, mut state: MutexGuard<'s, State>, max: usize) -> MutexGuard<'s, State> {
        let (count, patience) = std::mem::take(&mut state.expected);
        if state.urgent == 0 || state.urgent >= count.min(max) {
            return state;
        }
        state.expected.0 = count.min(max);
        let until = Instant::now() + patience;
        while state.urgent < state.expected.0 && !state.closing {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            (state, _) =
                self.wake.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
        state.expected.0 = 0;
        state
    }

    /// Says that writing failed, and hands back whoever waits for what surely was not written.
    pub(crate) fn fail(&self, message: &Arc<str>, since: Instant) -> Vec<Entry> {
        let mut state = self.lock();
        state.phase = Phase::Failed(Arc::clone(message), since);
        let (urgent, soon) =
            state.entries.drain(..).partition::<Vec<_>, _>(|entry| entry.is_urgent());
        state.entries.extend(soon);
        state.urgent = 0;
        urgent
    }

    /// Says that writing works again, and what is to be written before all that was held.
    pub(crate) fn recover(&self, first: NewEvent) {
        let mut state = self.lock();
        state.phase = Phase::Open;
        state.entries.push_front(Entry::Made(first));
        state.overdue = true;
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
    /// How many events are lost with it.
    pub(crate) fn end(&self) -> u64 {
        let mut state = self.lock();
        state.phase = Phase::Closed;
        let left = std::mem::take(&mut state.entries);
        let lost = left.iter().filter(|entry| !entry.is_urgent()).count();
        u64::try_from(lost).unwrap_or(u64::MAX).saturating_add(state.dropped)
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

    /// How many entries make a batch: at most `max`, of bounded bytes, up to the first task.
    fn portion(&self, max: usize) -> usize {
        let (mut count, mut bytes) = (0, 0);
        for entry in self.entries.iter().take(max) {
            bytes += entry.bytes();
            if count > 0 && bytes > Queue::BATCH_BYTES {
                break;
            }
            count += 1;
            if matches!(entry, Entry::Task(_)) {
                break;
            }
        }
        count
    }
}

impl Entry {
    fn is_urgent(&self) -> bool {
        !matches!(self, Self::Soon(_) | Self::Made(_))
    }

    /// What is known of its size before its event is made.
    fn bytes(&self) -> usize {
        match self {
            Self::Durable(event, ..) | Self::Made(event) => event_bytes(event),
            Self::Commit(entry, ..) => entry.bytes(),
            Self::Soon(_) | Self::Barrier(_) | Self::Task(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn barrier() -> Entry {
        Entry::Barrier(oneshot::channel().0)
    }

    fn taken(queue: &Queue) -> usize {
        match queue.take(10, None) {
            Next::Write(batch) => batch.entries.len(),
            Next::Due | Next::End => 0,
        }
    }

    #[test]
    fn callers_that_come_back_share_a_batch_with_those_that_waited() {
        let queue = Queue::new(10, LONG);
        queue.push_urgent(barrier()).expect("open");
        queue.expect(2, LONG);
        std::thread::scope(|scope| {
            let taker = scope.spawn(|| taken(&queue));
            for _ in 0..2 {
                queue.push_urgent(barrier()).expect("open");
            }
            assert_eq!(taker.join().expect("taken"), 3);
        });
        // It waits once, and not again for those of the batch after.
        queue.push_urgent(barrier()).expect("open");
        assert_eq!(taken(&queue), 1);
    }

    #[test]
    fn nobody_waits_for_a_caller_that_stays_away_or_for_more_than_a_batch_takes() {
        let queue = Queue::new(10, LONG);
        queue.push_urgent(barrier()).expect("open");
        queue.expect(5, Duration::ZERO);
        assert_eq!(taken(&queue), 1);
        for _ in 0..10 {
            queue.push_urgent(barrier()).expect("open");
        }
        queue.expect(100, LONG);
        assert_eq!(taken(&queue), 10);
        queue.push_urgent(barrier()).expect("open");
        queue.expect(5, LONG);
        queue.close();
        assert_eq!(taken(&queue), 1, "what is queued at the end is written at once");
    }
}
