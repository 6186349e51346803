//! What all who ask one model share: its breaker, and how many of them there are.
//!
//! The way in is [`Turnstile::enter`], and whoever got in holds a [`Pass`] until its request is
//! over. Deliberately absent: a clock (the time is passed in), names and waiting. It is small so
//! that a model checker can go through every order in which its callers may come
//! (`turnstile_model.rs`), which compiles this file a second time with locks of its own: hence
//! `super::sync`.
//!
//! Invariants: whatever happens to a pass, its lease of a probe is reported or given back; who
//! is not inside is not counted.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::sync::{AtomicUsize, Mutex, MutexGuard};
use crate::breaker::{Breaker, BreakerConfig, BreakerState, Decision, Lease, Opened};

/// The way to one model. `R` is why a request failed.
pub(crate) struct Turnstile<R> {
    guard: Mutex<Guard<R>>,
    inside: AtomicUsize,
    inside_max: usize,
}

struct Guard<R> {
    breaker: Breaker,
    last_failure: Option<R>,
}

/// Why somebody did not get in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shut {
    /// The breaker says no.
    Open { retry_in_ms: u64 },
    /// As many as may be are inside.
    Full,
}

/// What a breaker looks like from outside, with the last reason.
pub(crate) struct BreakerView<R> {
    pub(crate) state: BreakerState,
    pub(crate) failures: u32,
    pub(crate) opened: Option<Opened>,
    pub(crate) last_failure: Option<R>,
}

impl<R: Clone> Turnstile<R> {
    pub(crate) fn new(config: BreakerConfig, inside_max: usize) -> Self {
        let guard = Guard { breaker: Breaker::new(config), last_failure: None };
        Self { guard: Mutex::new(guard), inside: AtomicUsize::new(0), inside_max }
    }

    /// How many are inside.
    pub(crate) fn inside(&self) -> usize {
        self.inside.load(Ordering::Relaxed)
    }

    /// Asks the breaker, and makes sure that not too many are inside already.
    ///
    /// # Errors
    /// [`Shut`].
    pub(crate) fn enter(self: &Arc<Self>, now_ms: u64) -> Result<Pass<R>, Shut> {
        let lease = self.decide(now_ms)?;
        let before = self.inside.fetch_add(1, Ordering::Relaxed);
        // From here on the pass sees to it that a lease is not lost.
        let pass = Pass { turnstile: Arc::clone(self), lease };
        if before >= self.inside_max { Err(Shut::Full) } else { Ok(pass) }
    }

    pub(crate) fn view(&self, now_ms: u64) -> BreakerView<R> {
        let guard = self.guard();
        BreakerView {
            state: guard.breaker.state(now_ms),
            failures: guard.breaker.failures(now_ms),
            opened: guard.breaker.opened(now_ms),
            last_failure: guard.last_failure.clone(),
        }
    }

    pub(crate) fn is_closed(&self, now_ms: u64) -> bool {
        self.guard().breaker.state(now_ms) == BreakerState::Closed
    }

    fn decide(&self, now_ms: u64) -> Result<Option<Lease>, Shut> {
        match self.guard().breaker.decide(now_ms) {
            Decision::Allowed => Ok(None),
            Decision::Probe(lease) => Ok(Some(lease)),
            Decision::Refused { retry_in_ms } => Err(Shut::Open { retry_in_ms }),
        }
    }

    fn guard(&self) -> MutexGuard<'_, Guard<R>> {
        // A std mutex: nothing awaits while it is held.
        self.guard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to ask, of one request. Dropping it says nothing about the server.
pub(crate) struct Pass<R: Clone> {
    turnstile: Arc<Turnstile<R>>,
    /// `None` once it was reported, and for who is no probe.
    lease: Option<Lease>,
}

impl<R: Clone> Pass<R> {
    pub(crate) fn is_probe(&self) -> bool {
        self.lease.is_some()
    }

    /// Asks the breaker again, after having waited.
    ///
    /// # Errors
    /// [`Shut::Open`].
    pub(crate) fn confirm(&mut self, now_ms: u64) -> Result<(), Shut> {
        if self.lease.is_none() {
            self.lease = self.turnstile.decide(now_ms)?;
        }
        Ok(())
    }

    /// The server answered.
    pub(crate) fn succeeded(&mut self) {
        self.lease = None;
        self.turnstile.guard().breaker.succeeded();
    }

    /// The server is to blame; whether that opened the breaker.
    pub(crate) fn failed(&mut self, reason: R, now_ms: u64) -> bool {
        let lease = self.lease.take();
        let mut guard = self.turnstile.guard();
        let was_open = guard.breaker.opened(now_ms).is_some();
        guard.breaker.failed(lease, now_ms);
        guard.last_failure = Some(reason);
        !was_open && guard.breaker.opened(now_ms).is_some()
    }

    /// Nothing was learned: another may probe at once.
    pub(crate) fn release(&mut self) {
        if let Some(lease) = self.lease.take() {
            self.turnstile.guard().breaker.released(lease);
        }
    }
}

impl<R: Clone> Drop for Pass<R> {
    fn drop(&mut self) {
        self.release();
        self.turnstile.inside.fetch_sub(1, Ordering::Relaxed);
    }
}
