//! The broker: cheap to clone, shared by everybody who asks a model.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::answers::Answers;
use crate::backend::Backend;
use crate::budgets::Budgets;
use crate::chat::Flying;
use crate::config::{BrokerConfig, ConfigError, RunnerOptions};
use crate::lane::{Lane, LaneConfig};
use crate::metrics::{BrokerCounters, LaneSnapshot, MetricsSnapshot};

/// Lanes that are kept. Names of models come from callers, and most of them need none for long.
const LANES_MAX: usize = 512;

/// Asks models. Clones share everything.
#[derive(Clone)]
pub struct Broker {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) config: BrokerConfig,
    pub(crate) backends: Vec<Arc<Backend>>,
    pub(crate) counters: BrokerCounters,
    pub(crate) budgets: Budgets,
    pub(crate) answers: Mutex<Answers>,
    pub(crate) flying: Flying,
    pub(crate) lane_config: LaneConfig,
    lanes: Mutex<HashMap<LaneKey, Arc<Lane>>>,
}

/// A backend's name, and a model's name there.
type LaneKey = (String, String);

impl Broker {
    /// Makes a broker. It asks nothing of anybody yet; somebody has to run
    /// [`Broker::probing`] beside it.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn new(config: BrokerConfig) -> Result<Self, ConfigError> {
        config.check()?;
        let config = config.with_implied();
        let backends: Vec<Arc<Backend>> =
            config.backends.iter().map(|one| Arc::new(Backend::new(one, &config))).collect();
        let lane_config = LaneConfig {
            breaker: config.breaker,
            queue: config.queue,
            num_ctx_default: config.num_ctx_default,
            num_ctx_max: config.num_ctx_max,
            allow_remote: config.allow_remote_models,
            origin: Instant::now(),
        };
        let inner = Inner {
            backends,
            counters: BrokerCounters::default(),
            budgets: Budgets::default(),
            answers: Mutex::new(Answers::new(config.cache)),
            flying: Flying::new(),
            lane_config,
            lanes: Mutex::default(),
            config,
        };
        inner.open_configured_lanes();
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The budgets that [`crate::Caller::budgets`] names.
    pub fn budgets(&self) -> &Budgets {
        &self.inner.budgets
    }

    /// What it is configured to do.
    pub fn config(&self) -> &BrokerConfig {
        &self.inner.config
    }

    /// What it has done so far.
    pub fn metrics(&self) -> MetricsSnapshot {
        let lanes = self.inner.all_lanes().into_iter().map(|lane| LaneSnapshot {
            backend: lane.backend.name.clone(),
            model: lane.model.clone(),
            metrics: lane.counters.snapshot(),
        });
        MetricsSnapshot { lanes: lanes.collect(), broker: self.inner.counters.snapshot() }
    }
}

impl Inner {
    /// The lanes of configured models, so that their state can be seen before they are used.
    fn open_configured_lanes(&self) {
        for (name, model) in &self.config.models {
            let at_backend = model.model.as_deref().unwrap_or(name);
            for backend in &self.backends {
                if model.backends.is_empty() || model.backends.contains(&backend.name) {
                    self.lane(backend, at_backend, &model.runner);
                }
            }
        }
    }

    /// The lane to a model of a backend.
    pub(crate) fn lane(
        &self,
        backend: &Arc<Backend>,
        model: &str,
        options: &RunnerOptions,
    ) -> Arc<Lane> {
        let key = (backend.name.clone(), model.to_owned());
        let mut lanes = self.lanes();
        if let Some(lane) = lanes.get(&key) {
            return Arc::clone(lane);
        }
        if lanes.len() >= LANES_MAX {
            lanes.retain(|key, lane| {
                self.is_configured(key) || lane.is_open() || Arc::strong_count(lane) > 1
            });
        }
        let lane = Arc::new(Lane::new(
            Arc::clone(backend),
            model.to_owned(),
            self.options(backend, model).unwrap_or(options).clone(),
            self.lane_config.clone(),
        ));
        lanes.insert(key, Arc::clone(&lane));
        lane
    }

    /// What the operator pinned for a model of a backend, by whatever name it is asked for.
    fn options(&self, backend: &Backend, model: &str) -> Option<&RunnerOptions> {
        let found = self.config.models.iter().filter(|(name, config)| {
            config.model.as_deref().unwrap_or(name) == model
                && (config.backends.is_empty() || config.backends.contains(&backend.name))
        });
        // What nobody configured is run as what somebody did.
        found.min_by_key(|(_, config)| config.is_implied).map(|(_, config)| &config.runner)
    }

    fn is_configured(&self, (backend, model): &LaneKey) -> bool {
        let named = self.backends.iter().find(|one| one.name == *backend);
        named.is_some_and(|backend| self.options(backend, model).is_some())
    }

    /// All lanes, by backend and model.
    pub(crate) fn all_lanes(&self) -> Vec<Arc<Lane>> {
        let mut lanes: Vec<_> = self.lanes().values().cloned().collect();
        lanes.sort_by(|a, b| (&a.backend.name, &a.model).cmp(&(&b.backend.name, &b.model)));
        lanes
    }

    fn lanes(&self) -> MutexGuard<'_, HashMap<LaneKey, Arc<Lane>>> {
        // A std mutex: nothing awaits while it is held.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
