//! How the backends are: for people, for readiness, and for whoever has to know that no agent
//! can think now.

use crate::breaker::BreakerState;
use crate::broker::Broker;
use crate::config::BackendKind;

/// A backend as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendHealth {
    /// Its name.
    pub name: String,
    /// What it speaks.
    pub kind: BackendKind,
    /// Where it is.
    pub url: String,
    /// False once it could not be reached, until it answers again.
    pub reachable: bool,
    /// Requests that it answers now.
    pub in_flight: usize,
    /// Requests that wait for it.
    pub queued: usize,
    /// Its models that are configured or were asked for.
    pub models: Vec<ModelHealth>,
}

/// A model of a backend as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelHealth {
    /// As the backend names it.
    pub model: String,
    /// Whether it is asked.
    pub breaker: BreakerState,
    /// Failures that count.
    pub failures: u32,
    /// For how long it has been left alone.
    pub open_for_ms: Option<u64>,
    /// When it is tried again.
    pub retry_in_ms: Option<u64>,
    /// Why it failed last.
    pub last_failure: Option<String>,
}

impl Broker {
    /// All backends, in the order of the configuration. Asks nobody.
    pub fn health(&self) -> Vec<BackendHealth> {
        let lanes = self.inner.all_lanes();
        let of = |backend: &std::sync::Arc<crate::backend::Backend>| {
            let mut health = BackendHealth {
                name: backend.name.clone(),
                kind: backend.kind,
                url: backend.url.clone(),
                reachable: true,
                in_flight: 0,
                queued: 0,
                models: Vec::new(),
            };
            for lane in lanes.iter().filter(|lane| lane.backend.name == backend.name) {
                let (running, queued) = lane.gate.load();
                health.in_flight += running;
                health.queued += queued;
                let (view, now_ms) = lane.breaker();
                let failure = view.last_failure;
                let is_out = view.state != BreakerState::Closed;
                if is_out && failure.as_ref().is_some_and(|failure| failure.is_connection()) {
                    health.reachable = false;
                }
                health.models.push(ModelHealth {
                    model: lane.model.clone(),
                    breaker: view.state,
                    failures: view.failures,
                    open_for_ms: view.opened.map(|opened| now_ms - opened.since_ms),
                    retry_in_ms: view.opened.map(|opened| opened.retry_in_ms),
                    last_failure: failure
                        .map(|failure| failure.into_error(&backend.name, &lane.model).to_string()),
                });
            }
            health
        };
        self.inner.backends.iter().map(of).collect()
    }

    /// No backend answers: agents cannot think until one does. A backend is out once it cannot
    /// be reached, or once all of its models that anybody knows of are left alone.
    pub fn is_safe_mode(&self) -> bool {
        let health = self.health();
        !health.is_empty() && health.iter().all(BackendHealth::is_out)
    }
}

impl BackendHealth {
    /// Nothing of it can be used.
    pub fn is_out(&self) -> bool {
        let is_open = |model: &ModelHealth| model.breaker != BreakerState::Closed;
        !self.reachable || (!self.models.is_empty() && self.models.iter().all(is_open))
    }
}
