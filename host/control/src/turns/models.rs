//! The seam to whoever asks models: the broker, or a script in tests.

use std::sync::Arc;
use std::time::Duration;

use foreshore_domain::conversation::Conversation;
use foreshore_domain::event::Tenant;
use foreshore_domain::inference::{
    ChatRequest, Completion, DeltaSink, EmbedRequest, Embeddings, InferenceError, Model,
};
use foreshore_domain::ports::BoxFuture;

/// On whose behalf a model is asked.
#[derive(Clone, Debug)]
pub struct Asker {
    /// Whose data it is.
    pub tenant: Tenant,
    /// The agent's name in the configuration.
    pub agent: Arc<str>,
    /// In which conversation.
    pub conversation: Conversation,
    /// How long the answer may take.
    pub time_limit: Duration,
}

/// Whoever asks models. Dropping a future cancels what it asked for.
pub trait Models: Send + Sync + 'static {
    /// Asks a model; the pieces go to `sink` as they come.
    ///
    /// # Errors
    /// [`InferenceError`].
    fn chat<'a>(
        &'a self,
        request: ChatRequest,
        asker: &'a Asker,
        sink: Option<Arc<dyn DeltaSink>>,
    ) -> BoxFuture<'a, Result<Completion, InferenceError>>;

    /// Turns texts into vectors.
    ///
    /// # Errors
    /// [`InferenceError`].
    fn embed<'a>(
        &'a self,
        request: EmbedRequest,
        asker: &'a Asker,
    ) -> BoxFuture<'a, Result<Embeddings, InferenceError>>;

    /// The models there are; the first answers where a request names none.
    ///
    /// # Errors
    /// [`InferenceError`].
    fn models<'a>(&'a self, asker: &'a Asker) -> BoxFuture<'a, Result<Vec<Model>, InferenceError>>;
}

/// A host without models.
pub(crate) struct NoModels;

fn none(model: Option<String>) -> InferenceError {
    InferenceError::Unavailable {
        model: model.unwrap_or_else(|| "any model".to_owned()),
        reason: "no backend is configured; add one with [[inference.backends]]".to_owned(),
        retry_after_ms: None,
    }
}

impl Models for NoModels {
    fn chat<'a>(
        &'a self,
        request: ChatRequest,
        _asker: &'a Asker,
        _sink: Option<Arc<dyn DeltaSink>>,
    ) -> BoxFuture<'a, Result<Completion, InferenceError>> {
        Box::pin(async { Err(none(request.model)) })
    }

    fn embed<'a>(
        &'a self,
        request: EmbedRequest,
        _asker: &'a Asker,
    ) -> BoxFuture<'a, Result<Embeddings, InferenceError>> {
        Box::pin(async { Err(none(request.model)) })
    }

    fn models<'a>(
        &'a self,
        _asker: &'a Asker,
    ) -> BoxFuture<'a, Result<Vec<Model>, InferenceError>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}
