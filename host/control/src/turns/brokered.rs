//! The broker as whoever asks models.

use std::sync::Arc;

use foreshore_broker::budgets::{BudgetKey, BudgetScope};
use foreshore_broker::{Broker, Caller, Priority};
use foreshore_domain::inference::{
    ChatRequest, Completion, DeltaSink, EmbedRequest, Embeddings, InferenceError, Model,
};
use foreshore_domain::ports::BoxFuture;

use super::models::{Asker, Models};
use crate::clock;

impl Models for Broker {
    fn chat<'a>(
        &'a self,
        request: ChatRequest,
        asker: &'a Asker,
        sink: Option<Arc<dyn DeltaSink>>,
    ) -> BoxFuture<'a, Result<Completion, InferenceError>> {
        Box::pin(Broker::chat(self, request, caller(asker), sink))
    }

    fn embed<'a>(
        &'a self,
        request: EmbedRequest,
        asker: &'a Asker,
    ) -> BoxFuture<'a, Result<Embeddings, InferenceError>> {
        Box::pin(Broker::embed(self, request, caller(asker)))
    }

    fn models<'a>(
        &'a self,
        _asker: &'a Asker,
    ) -> BoxFuture<'a, Result<Vec<Model>, InferenceError>> {
        Box::pin(async { Ok(Broker::models(self).await) })
    }
}

/// An agent, with the budgets that its requests are taken from.
fn caller(asker: &Asker) -> Caller {
    let tenant = asker.tenant.as_str();
    Caller {
        time_limit: Some(asker.time_limit),
        budgets: vec![
            BudgetKey::new(BudgetScope::Tenant, tenant),
            BudgetKey::new(BudgetScope::Agent, &*asker.agent),
            BudgetKey::new(BudgetScope::Conversation, asker.conversation.as_str()),
        ],
        at_unix_ms: clock::now_unix_ms(),
        ..Caller::new(tenant, format!("agent:{}", asker.agent), Priority::Agent)
    }
}
