//! Who may start a call now: a fixed number run, a bounded number wait a short while, the rest
//! are told to come back.
//!
//! A permit is taken before any work is done for a call, even before its body is read. It also
//! stands for the call in the count that a drain waits for, so the invariant holds: **once a
//! drain has begun no call begins, and it ends when the last permit is back.**

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use foreshore_domain::call::CallError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// How many calls at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConcurrencyConfig {
    /// Calls that run.
    pub calls_max: usize,
    /// Calls that wait to run, at most.
    pub queue_max: usize,
    /// How long one waits, at most.
    pub queue_wait_max: Duration,
}

impl Default for ConcurrencyConfig {
    fn default() -> Self {
        Self { calls_max: 256, queue_max: 512, queue_wait_max: Duration::from_millis(100) }
    }
}

/// The right to run one call.
#[derive(Debug)]
pub struct Permit {
    _slot: OwnedSemaphorePermit,
    _token: TaskTrackerToken,
}

pub(crate) struct Admission {
    config: ConcurrencyConfig,
    slots: Arc<Semaphore>,
    waiting: AtomicUsize,
    tasks: TaskTracker,
}

/// When to come back: long enough for a queue to empty, and a whole second for `Retry-After`.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl Admission {
    pub(crate) fn new(config: ConcurrencyConfig, tasks: TaskTracker) -> Self {
        let slots = Arc::new(Semaphore::new(config.calls_max.max(1)));
        Self { config, slots, waiting: AtomicUsize::new(0), tasks }
    }

    /// Lets a call in, now or within `queue_wait_max`.
    ///
    /// # Errors
    /// [`CallError::Overloaded`], [`CallError::ShuttingDown`].
    pub(crate) async fn admit(&self) -> Result<Permit, CallError> {
        // The token comes first: a drain that begins from here on waits for this call.
        let token = self.tasks.token();
        let slot = match Arc::clone(&self.slots).try_acquire_owned() {
            Ok(slot) => slot,
            Err(tokio::sync::TryAcquireError::Closed) => return Err(CallError::ShuttingDown),
            Err(tokio::sync::TryAcquireError::NoPermits) => self.wait().await?,
        };
        Ok(Permit { _slot: slot, _token: token })
    }

    async fn wait(&self) -> Result<OwnedSemaphorePermit, CallError> {
        let _place =
            Place::take(&self.waiting, self.config.queue_max).ok_or(CallError::Overloaded {
                reason: "the queue for calls is full",
                retry_after: RETRY_AFTER,
            })?;
        let slot = Arc::clone(&self.slots).acquire_owned();
        match tokio::time::timeout(self.config.queue_wait_max, slot).await {
            Ok(slot) => slot.map_err(|_| CallError::ShuttingDown),
            Err(_) => Err(CallError::Overloaded {
                reason: "every slot for calls is taken",
                retry_after: RETRY_AFTER,
            }),
        }
    }

    /// Lets nobody in any more.
    pub(crate) fn close(&self) {
        self.slots.close();
    }

    /// How many calls hold a permit now.
    pub(crate) fn running(&self) -> usize {
        self.config.calls_max.max(1).saturating_sub(self.slots.available_permits())
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.slots.is_closed()
    }

    /// Whether a call that came now would have to wait.
    pub(crate) fn is_full(&self) -> bool {
        self.slots.available_permits() == 0
    }
}

/// A place in the queue, given back however the wait ends.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize, max: usize) -> Option<Self> {
        waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < max).then_some(n + 1))
            .ok()
            .map(|_| Self(waiting))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(calls_max: usize, queue_max: usize) -> Arc<Admission> {
        let config =
            ConcurrencyConfig { calls_max, queue_max, queue_wait_max: Duration::from_millis(250) };
        Arc::new(Admission::new(config, TaskTracker::new()))
    }

    #[tokio::test]
    async fn a_call_waits_for_a_slot_and_then_is_told_to_come_back() {
        let admission = admission(1, 1);
        let permit = admission.admit().await.expect("the first");
        let refused = admission.admit().await.expect_err("no slot came free");
        assert!(matches!(
            refused,
            CallError::Overloaded { reason: "every slot for calls is taken", .. }
        ));
        let waiting = tokio::spawn({
            let admission = Arc::clone(&admission);
            async move { admission.admit().await }
        });
        tokio::task::yield_now().await;
        drop(permit);
        waiting.await.expect("no panic").expect("the slot that came free");
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once() {
        let admission = admission(1, 1);
        let _running = admission.admit().await.expect("the first");
        let _waiting = tokio::spawn({
            let admission = Arc::clone(&admission);
            async move { admission.admit().await }
        });
        tokio::task::yield_now().await;
        let before = std::time::Instant::now();
        let refused = admission.admit().await.expect_err("nowhere to wait");
        assert!(matches!(
            refused,
            CallError::Overloaded { reason: "the queue for calls is full", .. }
        ));
        assert!(before.elapsed() < Duration::from_millis(200), "it waited");
    }

    #[tokio::test]
    async fn a_waiter_that_goes_away_gives_its_place_back() {
        let admission = admission(1, 1);
        let _running = admission.admit().await.expect("the first");
        for _ in 0..3 {
            let gone = tokio::time::timeout(Duration::from_millis(1), admission.admit()).await;
            assert!(gone.is_err(), "it was still waiting");
        }
        assert_eq!(admission.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn after_a_close_nobody_gets_in() {
        let admission = admission(4, 4);
        admission.close();
        assert!(matches!(admission.admit().await, Err(CallError::ShuttingDown)));
        assert!(admission.is_closed());
    }
}
