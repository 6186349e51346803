//! The way to one model of one backend: so many at a time, the rest in a bounded, fair queue.
//!
//! Invariants: a permit that was given is given back when it is dropped, whatever happened;
//! somebody who stops waiting leaves the queue at once, and a permit that was on its way to them
//! goes to the next.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::caller::Priority;
use crate::config::QueueConfig;
use crate::queue::{FairQueue, Full, Ticket};

/// The share of the newest duration in the average.
const NEWEST_SHARE: u64 = 4;
/// What is said to those who are turned away lies between these.
const RETRY_AFTER_MS: std::ops::RangeInclusive<u64> = 500..=60_000;

/// A gate. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Mutex<State>>);

struct State {
    concurrency: u32,
    running: u32,
    queue: FairQueue<oneshot::Sender<Permit>>,
    average_ms: u64,
}

/// Why somebody did not get in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GateError {
    /// Too many wait.
    Full {
        full: Full,
        retry_after_ms: u64,
    },
    TimedOut,
}

/// The right to ask. Given back when dropped.
pub(crate) struct Permit {
    /// `None` once it is somebody else's.
    gate: Option<Gate>,
    since: Instant,
}

impl Gate {
    pub(crate) fn new(concurrency: u32, queue: QueueConfig) -> Self {
        let queue = FairQueue::new(queue);
        Self(Arc::new(Mutex::new(State { concurrency, running: 0, queue, average_ms: 1_000 })))
    }

    /// How many ask now, and how many wait.
    pub(crate) fn load(&self) -> (usize, usize) {
        let state = self.lock();
        (usize::try_from(state.running).unwrap_or(usize::MAX), state.queue.len())
    }

    /// When a place is likely to be free.
    pub(crate) fn retry_after_ms(&self) -> u64 {
        self.lock().retry_after_ms()
    }

    /// Waits for a turn. Dropping it gives the place up.
    ///
    /// # Errors
    /// [`GateError`].
    pub(crate) async fn enter(
        &self,
        tenant: &str,
        priority: Priority,
        limit: Duration,
    ) -> Result<Permit, GateError> {
        let (ticket, mut turn) = {
            let mut state = self.lock();
            if state.running < state.concurrency && state.queue.len() == 0 {
                state.running += 1;
                return Ok(self.permit());
            }
            let (sender, turn) = oneshot::channel();
            match state.queue.push(tenant, priority, sender) {
                Ok(ticket) => (ticket, turn),
                Err(full) => {
                    let retry_after_ms = state.retry_after_ms();
                    return Err(GateError::Full { full, retry_after_ms });
                }
            }
        };
        let _place = Place { gate: self, tenant, priority, ticket };
        match tokio::time::timeout(limit, &mut turn).await {
            Ok(Ok(permit)) => Ok(permit),
            // Senders are dropped only with the gate, which this borrows: none is lost.
            Ok(Err(_)) | Err(_) => Err(GateError::TimedOut),
        }
    }

    fn permit(&self) -> Permit {
        Permit { gate: Some(self.clone()), since: Instant::now() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A std mutex: nothing awaits while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody is done: the next one, if there is one, goes on in their place.
    fn leave(&self, took: Duration) {
        self.lock().note(took);
        while let Some(next) = self.next() {
            match next.send(self.permit()) {
                Ok(()) => return,
                // They went away just now. This permit must not come back here when it is
                // dropped: it is still the one that is being handed on.
                Err(permit) => permit.forget(),
            }
        }
    }

    /// Whose turn it is; with nobody waiting, one less is running.
    fn next(&self) -> Option<oneshot::Sender<Permit>> {
        let mut state = self.lock();
        let next = state.queue.pop();
        if next.is_none() {
            state.running = state.running.saturating_sub(1);
        }
        next
    }
}

impl State {
    fn note(&mut self, took: Duration) {
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX / NEWEST_SHARE);
        self.average_ms = (self.average_ms * (NEWEST_SHARE - 1) + took_ms) / NEWEST_SHARE;
    }

    fn retry_after_ms(&self) -> u64 {
        let ahead = u64::try_from(self.queue.len()).unwrap_or(u64::MAX);
        let turns = ahead / u64::from(self.concurrency.max(1)) + 1;
        turns.saturating_mul(self.average_ms).clamp(*RETRY_AFTER_MS.start(), *RETRY_AFTER_MS.end())
    }
}

impl Permit {
    /// Drops it without giving it back.
    fn forget(mut self) {
        self.gate = None;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(gate) = self.gate.take() {
            gate.leave(self.since.elapsed());
        }
    }
}

/// A place in the queue. Dropping it leaves the queue.
struct Place<'a> {
    gate: &'a Gate,
    tenant: &'a str,
    priority: Priority,
    ticket: Ticket,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.gate.lock().queue.remove(self.tenant, self.priority, self.ticket);
    }
}

#[cfg(test)]
mod tests;
