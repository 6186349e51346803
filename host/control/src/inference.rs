//! Models, for agents and for people: the broker, asked on somebody's behalf.
//!
//! Deliberately absent: how models are reached and kept apart (the broker), and what an agent may
//! ask (the door). A person's own request to a model goes straight through: it touches nothing
//! but the model, and its budget is that of the tenant.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use foreshore_broker::budgets::{BudgetKey, BudgetScope};
use foreshore_broker::{BackendHealth, BreakerState, Broker, Caller, Priority};
use foreshore_domain::event::Tenant;
use foreshore_domain::identity::Principal;
use foreshore_domain::inference::{
    ChatRequest, Completion, DeltaSink, EmbedRequest, Embeddings, InferenceError, Model,
    RunningModel,
};
use foreshore_domain::ports::BoxFuture;

use crate::memory::{Embedder, Urgency};
use crate::turns::{Asker, Models};
use crate::{budgets, clock};

/// Whoever asks models. Cheap to clone.
#[derive(Clone)]
pub struct Inference {
    broker: Broker,
    /// Model servers of this process, which end with the last clone.
    _servers: Option<Arc<dyn Any + Send + Sync>>,
}

impl Inference {
    /// Asks through this broker.
    pub fn new(broker: Broker) -> Self {
        Self { broker, _servers: None }
    }

    /// As [`Self::new`]; `servers` are kept as long as somebody may ask them.
    pub fn with_servers(broker: Broker, servers: impl Any + Send + Sync) -> Self {
        Self { broker, _servers: Some(Arc::new(servers)) }
    }

    /// The broker: its health, its numbers, and the models of its backends.
    pub fn broker(&self) -> &Broker {
        &self.broker
    }

    /// Asks a model for a person, who waits.
    ///
    /// # Errors
    /// [`InferenceError`].
    pub async fn chat(
        &self,
        request: ChatRequest,
        who: &Principal,
        sink: Option<Arc<dyn DeltaSink>>,
    ) -> Result<Completion, InferenceError> {
        self.broker.chat(request, person(who), sink).await
    }

    /// Turns texts into vectors for a person.
    ///
    /// # Errors
    /// [`InferenceError`].
    pub async fn embed(
        &self,
        request: EmbedRequest,
        who: &Principal,
    ) -> Result<Embeddings, InferenceError> {
        self.broker.embed(request, person(who)).await
    }

    /// The models there are, as far as their backends answer.
    pub async fn models(&self) -> Vec<Model> {
        self.broker.models().await
    }

    /// The models that are in memory.
    pub async fn running(&self) -> Vec<RunningModel> {
        self.broker.running().await
    }

    /// The backends in a line each, for people.
    pub(crate) fn summary(&self) -> String {
        let backends: Vec<String> = self.broker.health().iter().map(line).collect();
        match (backends.is_empty(), self.broker.is_safe_mode()) {
            (true, _) => "no backend is configured".to_owned(),
            (false, true) => format!("safe mode, no backend answers: {}", backends.join("; ")),
            (false, false) => backends.join("; "),
        }
    }
}

fn line(backend: &BackendHealth) -> String {
    let mut line = format!("{} ({} at {})", backend.name, backend.kind.as_str(), backend.url);
    if !backend.reachable {
        line.push_str(" not reached");
    }
    for model in &backend.models {
        let word = match model.breaker {
            BreakerState::Closed => "closed",
            BreakerState::Open => "open",
            BreakerState::HalfOpen => "half-open",
        };
        line.push_str(&format!(", {} {word}", model.model));
        if let Some(reason) = model.last_failure.as_ref().filter(|_| word != "closed") {
            line.push_str(&format!(" ({reason})"));
        }
    }
    line
}

fn person(who: &Principal) -> Caller {
    caller(&who.tenant, &who.subject.to_string())
}

fn caller(tenant: &Tenant, who: &str) -> Caller {
    let mut caller = Caller::new(tenant.as_str(), who, Priority::Interactive);
    caller.budgets = vec![BudgetKey::new(BudgetScope::Tenant, tenant.as_str())];
    caller.at_unix_ms = clock::now_unix_ms();
    caller
}

/// Nobody waits; the budget is that of the tenant all the same.
fn memory() -> Caller {
    Caller { priority: Priority::Background, ..caller(&Tenant::DEFAULT, "memory") }
}

fn agent(asker: &Asker) -> Caller {
    let name = format!("agent:{}", asker.agent);
    let mut caller = Caller::new(asker.tenant.as_str(), name, Priority::Agent);
    caller.time_limit = Some(asker.time_limit.max(Duration::from_millis(1)));
    caller.budgets = budgets::keys(&asker.tenant, &asker.agent, Some(&asker.conversation));
    caller.at_unix_ms = clock::now_unix_ms();
    caller
}

impl Embedder for Inference {
    fn embed(
        &self,
        request: EmbedRequest,
        urgency: Urgency,
    ) -> BoxFuture<'_, Result<Embeddings, InferenceError>> {
        let caller = match urgency {
            Urgency::Waited => caller(&Tenant::DEFAULT, "memory"),
            Urgency::Background => memory(),
        };
        Box::pin(self.broker.embed(request, caller))
    }
}

impl Models for Inference {
    fn chat<'a>(
        &'a self,
        request: ChatRequest,
        asker: &'a Asker,
        sink: Option<Arc<dyn DeltaSink>>,
    ) -> BoxFuture<'a, Result<Completion, InferenceError>> {
        Box::pin(self.broker.chat(request, agent(asker), sink))
    }

    fn embed<'a>(
        &'a self,
        request: EmbedRequest,
        asker: &'a Asker,
    ) -> BoxFuture<'a, Result<Embeddings, InferenceError>> {
        Box::pin(self.broker.embed(request, agent(asker)))
    }

    fn models<'a>(
        &'a self,
        _asker: &'a Asker,
    ) -> BoxFuture<'a, Result<Vec<Model>, InferenceError>> {
        Box::pin(async {
            let mut models = self.broker.models().await;
            // The first is the one that answers where a request names none.
            let default = self.broker.config().default_model.as_deref();
            models.sort_by_key(|model| Some(model.name.as_str()) != default);
            Ok(models)
        })
    }
}
