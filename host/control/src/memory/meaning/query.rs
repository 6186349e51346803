//! The vector of a query: from those that were asked for lately, or from the model within a
//! time. A model that takes longer is not given up: its answer is kept for whoever asks next.
//! So one that has to be loaded first is loaded, though no single search waits for that.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foreshore_domain::inference::{EmbedRequest, InferenceError};
use foreshore_domain::memory::Embedding;
use foreshore_store::memory::{TextDigest, meaning_text};
use tokio::sync::Semaphore;

use super::{Meaning, Urgency};

/// Vectors of queries that are kept: 4 MB of the longest there are.
const KEPT: usize = 256;
/// Queries that the model is asked about at once, those that nobody waits for any more too.
const ASKED_MAX: usize = 16;

/// Vectors of queries.
pub(super) struct Queries {
    asked: Arc<Semaphore>,
    kept: Arc<Kept>,
}

#[derive(Default)]
struct Kept(Mutex<VecDeque<(TextDigest, Embedding)>>);

impl Default for Queries {
    fn default() -> Self {
        Self { asked: Arc::new(Semaphore::new(ASKED_MAX)), kept: Arc::default() }
    }
}

impl Queries {
    /// Forgets them all: another model gave them.
    pub(super) fn clear(&self) {
        self.kept.lock().clear();
    }
}

impl Kept {
    fn find(&self, digest: TextDigest) -> Option<Embedding> {
        let kept = self.lock();
        kept.iter().find(|(known, _)| *known == digest).map(|(_, vector)| vector.clone())
    }

    fn keep(&self, digest: TextDigest, vector: Embedding) {
        let mut kept = self.lock();
        kept.retain(|(known, _)| *known != digest);
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        kept.push_back((digest, vector));
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(TextDigest, Embedding)>> {
        // A std mutex: nothing awaits while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Meaning {
    /// What a query means; `None` where it says nothing. The error is for whoever searches.
    pub(in super::super) async fn of_query(&self, text: &str) -> Result<Option<Embedding>, String> {
        let text = meaning_text(text);
        if text.is_empty() {
            return Ok(None);
        }
        let digest = TextDigest::of(&self.model, &text);
        if let Some(vector) = self.queries.kept.find(digest) {
            return Ok(Some(vector));
        }
        let Ok(permit) = Arc::clone(&self.queries.asked).try_acquire_owned() else {
            return Err(format!("{ASKED_MAX} searches wait for {} already", self.model));
        };
        let (model, embedder) = (self.model.clone(), Arc::clone(&self.embedder));
        let (kept, stop) = (Arc::clone(&self.queries.kept), self.stop.clone());
        let asked = self.tasks.spawn(async move {
            let _permit = permit;
            let request = request(model.as_str(), vec![text]);
            let answer = tokio::select! {
                () = stop.cancelled() => return Err(InferenceError::Cancelled.to_string()),
                answer = embedder.embed(request, Urgency::Waited) => answer,
            };
            let vector = answer.map_err(|error| error.to_string())?.vectors.pop();
            let vector = vector.ok_or_else(|| format!("{model} gave no vector"))?;
            let vector = Embedding::new(model, vector).map_err(|error| error.to_string())?;
            kept.keep(digest, vector.clone());
            Ok(vector)
        });
        match tokio::time::timeout(self.query_limit, asked).await {
            Ok(Ok(answer)) => answer.map(Some),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => {
                let limit_ms = self.query_limit.as_millis();
                Err(format!("{} took longer than {limit_ms} ms for the query", self.model))
            }
        }
    }
}

pub(super) fn request(model: &str, texts: Vec<String>) -> EmbedRequest {
    EmbedRequest { model: Some(model.to_owned()), texts, dimensions: None }
}
