//! One model of one backend: its breaker, its gate, and what is known of it.
//!
//! Breakers are per model and not per backend: one model that crashes its server takes no other
//! with it. Invariant: whatever happens to an attempt, its lease of a probe is reported or given
//! back ([`Attempt`]).

mod prepare;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::backend::{Backend, Facts};
use crate::breaker::{Breaker, BreakerConfig, BreakerState, Decision, Lease, Opened};
use crate::config::{QueueConfig, RunnerOptions};
use crate::failure::{Failure, Verdict};
use crate::flight::Flights;
use crate::gate::Gate;
use crate::metrics::LaneCounters;

pub(crate) use prepare::{Loading, PrepareError};

/// How long after an answer a model is taken to be in memory still.
const WARM_FOR: Duration = Duration::from_secs(5);
/// How long what a server says of a model is believed. Names can be moved to models that run
/// elsewhere.
const FACTS_FOR: Duration = Duration::from_secs(60);

/// How a model is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Runner {
    /// What is sent; never more than the model takes.
    pub(crate) num_ctx: Option<u32>,
    pub(crate) options: RunnerOptions,
    pub(crate) allow_remote: bool,
}

/// What is the same for all lanes.
#[derive(Clone)]
pub(crate) struct LaneConfig {
    pub(crate) breaker: BreakerConfig,
    pub(crate) queue: QueueConfig,
    pub(crate) num_ctx_default: u32,
    pub(crate) num_ctx_max: u32,
    pub(crate) allow_remote: bool,
    /// Of all breakers' clocks.
    pub(crate) origin: Instant,
}

impl LaneConfig {
    /// Tokens of context that a model is run with: what the operator pinned, within what the
    /// model takes and the operator lets it.
    pub(crate) fn num_ctx(&self, options: &RunnerOptions, facts: &Facts) -> u32 {
        let wanted = options.num_ctx.unwrap_or(self.num_ctx_default);
        wanted.min(facts.context_length.unwrap_or(u32::MAX)).min(self.num_ctx_max)
    }
}

/// One model of one backend.
pub(crate) struct Lane {
    pub(crate) backend: Arc<Backend>,
    /// As the backend names it.
    pub(crate) model: String,
    pub(crate) gate: Gate,
    pub(crate) counters: LaneCounters,
    config: LaneConfig,
    options: RunnerOptions,
    guard: Mutex<Guard>,
    known: Mutex<Known>,
    preparing: Flights<Loading, Result<Arc<Facts>, Failure>>,
    outstanding: AtomicUsize,
}

struct Guard {
    breaker: Breaker,
    last_failure: Option<Failure>,
}

#[derive(Default)]
struct Known {
    facts: Option<(Instant, Arc<Facts>)>,
    warm_until: Option<Instant>,
    dimensions: Option<usize>,
}

/// What a breaker looks like from outside, with the last reason.
pub(crate) struct BreakerView {
    pub(crate) state: BreakerState,
    pub(crate) failures: u32,
    pub(crate) opened: Option<Opened>,
    pub(crate) last_failure: Option<Failure>,
}

impl Lane {
    pub(crate) fn new(
        backend: Arc<Backend>,
        model: String,
        options: RunnerOptions,
        config: LaneConfig,
    ) -> Self {
        let breaker = Breaker::new(config.breaker);
        Self {
            gate: Gate::new(backend.concurrency, config.queue),
            counters: LaneCounters::default(),
            options,
            guard: Mutex::new(Guard { breaker, last_failure: None }),
            known: Mutex::default(),
            preparing: Flights::new(),
            outstanding: AtomicUsize::new(0),
            config,
            backend,
            model,
        }
    }

    /// Requests that have not been answered, those that wait included.
    pub(crate) fn outstanding(&self) -> usize {
        self.outstanding.load(Ordering::Relaxed)
    }

    /// Asks the breaker, and makes sure that not too many wait already: those who wait for a
    /// load are not in the queue yet, and have the same bound.
    ///
    /// # Errors
    /// [`Failure::Open`] or [`Failure::Queue`].
    pub(crate) fn begin(self: &Arc<Self>) -> Result<Attempt, Failure> {
        let lease = self.decide()?;
        let before = self.outstanding.fetch_add(1, Ordering::Relaxed);
        let attempt = Attempt { lane: Arc::clone(self), lease };
        let running = usize::try_from(self.backend.concurrency).unwrap_or(usize::MAX);
        if before >= self.config.queue.max.saturating_add(running) {
            let (backend, model) = (&self.backend.name, &self.model);
            return Err(Failure::Queue {
                reason: format!("the queue for {model} of {backend} is full"),
                retry_after_ms: self.gate.retry_after_ms(),
            });
        }
        Ok(attempt)
    }

    /// Takes the lease of a probe if one is due; for whoever probes of itself.
    pub(crate) fn begin_probe(self: &Arc<Self>) -> Option<Attempt> {
        let is_closed = {
            let guard = self.guard();
            guard.breaker.state(self.now_ms()) == BreakerState::Closed
        };
        if is_closed { None } else { self.begin().ok() }
    }

    fn decide(&self) -> Result<Option<Lease>, Failure> {
        let now_ms = self.now_ms();
        match self.guard().breaker.decide(now_ms) {
            Decision::Allowed => Ok(None),
            Decision::Probe(lease) => Ok(Some(lease)),
            Decision::Refused { retry_in_ms } => Err(Failure::Open { retry_in_ms }),
        }
    }

    /// What its breaker looks like, and what its clock says.
    pub(crate) fn breaker(&self) -> (BreakerView, u64) {
        let now_ms = self.now_ms();
        let guard = self.guard();
        let view = BreakerView {
            state: guard.breaker.state(now_ms),
            failures: guard.breaker.failures(now_ms),
            opened: guard.breaker.opened(now_ms),
            last_failure: guard.last_failure.clone(),
        };
        (view, now_ms)
    }

    pub(crate) fn is_open(&self) -> bool {
        let now_ms = self.now_ms();
        self.guard().breaker.state(now_ms) != BreakerState::Closed
    }

    /// How the model is run: what the operator pinned, within what the model takes.
    pub(crate) fn runner(&self, facts: &Facts) -> Runner {
        Runner {
            num_ctx: Some(self.config.num_ctx(&self.options, facts)),
            options: self.options.clone(),
            allow_remote: self.config.allow_remote,
        }
    }

    /// The model has answered: it is in memory.
    pub(crate) fn is_warm_now(&self) {
        self.known().warm_until = Some(Instant::now() + WARM_FOR);
    }

    /// Holds the length of vectors to that of the first ones.
    ///
    /// # Errors
    /// The length that they had.
    pub(crate) fn check_dimensions(&self, dimensions: usize) -> Result<(), usize> {
        let first = *self.known().dimensions.get_or_insert(dimensions);
        if first == dimensions { Ok(()) } else { Err(first) }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.config.origin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn guard(&self) -> MutexGuard<'_, Guard> {
        // A std mutex: nothing awaits while it is held.
        self.guard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An attempt that the breaker let through.
pub(crate) struct Attempt {
    lane: Arc<Lane>,
    /// `None` once it was reported.
    lease: Option<Lease>,
}

impl Attempt {
    pub(crate) fn lane(&self) -> &Arc<Lane> {
        &self.lane
    }

    pub(crate) fn is_probe(&self) -> bool {
        self.lease.is_some()
    }

    /// Asks the breaker again, after having waited.
    ///
    /// # Errors
    /// [`Failure::Open`].
    pub(crate) fn confirm(&mut self) -> Result<(), Failure> {
        if self.lease.is_none() {
            self.lease = self.lane.decide()?;
        }
        Ok(())
    }

    /// It went well.
    pub(crate) fn succeeded(&mut self) {
        self.lease = None;
        let mut guard = self.lane.guard();
        guard.breaker.succeeded();
    }

    /// It did not. What that means for the breaker is the failure's to say.
    pub(crate) fn failed(&mut self, failure: &Failure) {
        match failure.verdict() {
            Verdict::Healthy => self.succeeded(),
            Verdict::Unknown => self.release(),
            Verdict::Broken => {
                let now_ms = self.lane.now_ms();
                let lease = self.lease.take();
                let mut guard = self.lane.guard();
                let was_open = guard.breaker.opened(now_ms).is_some();
                guard.breaker.failed(lease, now_ms);
                guard.last_failure = Some(failure.clone());
                if !was_open && guard.breaker.opened(now_ms).is_some() {
                    drop(guard);
                    let (backend, model) = (&self.lane.backend.name, &self.lane.model);
                    tracing::warn!(backend, model, ?failure, "left alone for a while");
                }
            }
        }
    }

    fn release(&mut self) {
        if let Some(lease) = self.lease.take() {
            self.lane.guard().breaker.released(lease);
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.release();
        self.lane.outstanding.fetch_sub(1, Ordering::Relaxed);
    }
}
