//! One model of one backend: its breaker, its gate, and what is known of it.
//!
//! Breakers are per model and not per backend: one model that crashes its server takes no other
//! with it. Who may ask, and what an attempt that was given up leaves behind, is the turnstile's.

mod prepare;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::backend::{Backend, Facts};
use crate::breaker::BreakerConfig;
use crate::config::{QueueConfig, RunnerOptions};
use crate::failure::{Failure, Verdict};
use crate::flight::Flights;
use crate::gate::Gate;
use crate::metrics::LaneCounters;
use crate::turnstile::{BreakerView, Pass, Shut, Turnstile};

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
    turnstile: Arc<Turnstile<Failure>>,
    known: Mutex<Known>,
    preparing: Flights<Loading, Result<Arc<Facts>, Failure>>,
}

#[derive(Default)]
struct Known {
    facts: Option<(Instant, Arc<Facts>)>,
    warm_until: Option<Instant>,
    dimensions: Option<usize>,
}

impl Lane {
    pub(crate) fn new(
        backend: Arc<Backend>,
        model: String,
        options: RunnerOptions,
        config: LaneConfig,
    ) -> Self {
        let running = usize::try_from(backend.concurrency).unwrap_or(usize::MAX);
        // Those who wait for a load are not in the queue yet, and have the same bound.
        let inside_max = config.queue.max.saturating_add(running);
        Self {
            gate: Gate::new(backend.concurrency, config.queue),
            counters: LaneCounters::default(),
            options,
            turnstile: Arc::new(Turnstile::new(config.breaker, inside_max)),
            known: Mutex::default(),
            preparing: Flights::new(),
            config,
            backend,
            model,
        }
    }

    /// Requests that have not been answered, those that wait included.
    pub(crate) fn outstanding(&self) -> usize {
        self.turnstile.inside()
    }

    /// Asks the breaker, and makes sure that not too many wait already.
    ///
    /// # Errors
    /// [`Failure::Open`] or [`Failure::Queue`].
    pub(crate) fn begin(self: &Arc<Self>) -> Result<Attempt, Failure> {
        match self.turnstile.enter(self.now_ms()) {
            Ok(pass) => Ok(Attempt { lane: Arc::clone(self), pass }),
            Err(shut) => Err(self.refusal(shut)),
        }
    }

    /// Takes the lease of a probe if one is due; for whoever probes of itself.
    pub(crate) fn begin_probe(self: &Arc<Self>) -> Option<Attempt> {
        if self.is_open() { self.begin().ok() } else { None }
    }

    fn refusal(&self, shut: Shut) -> Failure {
        match shut {
            Shut::Open { retry_in_ms } => Failure::Open { retry_in_ms },
            Shut::Full => Failure::Queue {
                reason: format!("the queue for {} of {} is full", self.model, self.backend.name),
                retry_after_ms: self.gate.retry_after_ms(),
            },
        }
    }

    /// What its breaker looks like, and what its clock says.
    pub(crate) fn breaker(&self) -> (BreakerView<Failure>, u64) {
        let now_ms = self.now_ms();
        (self.turnstile.view(now_ms), now_ms)
    }

    pub(crate) fn is_open(&self) -> bool {
        !self.turnstile.is_closed(self.now_ms())
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

    fn known(&self) -> MutexGuard<'_, Known> {
        // A std mutex: nothing awaits while it is held.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An attempt that the breaker let through.
pub(crate) struct Attempt {
    lane: Arc<Lane>,
    pass: Pass<Failure>,
}

impl Attempt {
    pub(crate) fn lane(&self) -> &Arc<Lane> {
        &self.lane
    }

    pub(crate) fn is_probe(&self) -> bool {
        self.pass.is_probe()
    }

    /// Asks the breaker again, after having waited.
    ///
    /// # Errors
    /// [`Failure::Open`].
    pub(crate) fn confirm(&mut self) -> Result<(), Failure> {
        self.pass.confirm(self.lane.now_ms()).map_err(|shut| self.lane.refusal(shut))
    }

    /// It went well.
    pub(crate) fn succeeded(&mut self) {
        self.pass.succeeded();
    }

    /// It did not. What that means for the breaker is the failure's to say.
    pub(crate) fn failed(&mut self, failure: &Failure) {
        match failure.verdict() {
            Verdict::Healthy => self.pass.succeeded(),
            Verdict::Unknown => self.pass.release(),
            Verdict::Broken => {
                if self.pass.failed(failure.clone(), self.lane.now_ms()) {
                    let (backend, model) = (&self.lane.backend.name, &self.lane.model);
                    tracing::warn!(backend, model, ?failure, "left alone for a while");
                }
            }
        }
    }
}
