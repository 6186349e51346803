//! The fallback chain: another backend, another model, in that order, until one answers.
//!
//! Invariant: once an answer has begun, nobody else is asked.

use std::sync::Arc;
use std::time::Duration;

use foreshore_domain::inference::{InferenceError, ServedBy, Step, TimedOut, TokenUsage};

use crate::broker::Inner;
use crate::failure::{BUSY_RETRY_AFTER_MS, Failure, Next};
use crate::lane::Lane;
use crate::plan::{Candidate, Plan};

/// What is asked along the chain: a chat, or vectors.
pub(crate) trait Question: Sync {
    type Answer: Send;

    /// Asks one model of one backend, once.
    fn ask(
        &self,
        candidate: &Candidate,
        lane: &Arc<Lane>,
    ) -> impl Future<Output = Result<Self::Answer, Failure>> + Send;
}

/// What somebody answered.
pub(crate) struct Served<T> {
    pub(crate) value: T,
    pub(crate) served_by: ServedBy,
    /// Which model of the plan.
    pub(crate) candidate: usize,
}

/// Nobody answered.
#[derive(Debug, Default)]
pub(crate) struct ChainError {
    tried: Vec<Tried>,
    /// The caller has to be told the last one, whatever the others were.
    is_final: bool,
}

#[derive(Debug)]
struct Tried {
    backend: String,
    model: String,
    failure: Failure,
}

impl Inner {
    /// Asks one after the other.
    ///
    /// # Errors
    /// [`ChainError`].
    pub(crate) async fn served<Q: Question>(
        &self,
        plan: &Plan,
        question: &Q,
    ) -> Result<Served<Q::Answer>, ChainError> {
        let mut error = ChainError::default();
        for (index, candidate) in plan.candidates.iter().enumerate() {
            let mut lanes = candidate.by_load();
            let mut round = 0;
            loop {
                let mut wait_ms = None;
                let mut again = Vec::new();
                for lane in lanes {
                    let failure = match question.ask(candidate, &lane).await {
                        Ok(value) => {
                            let step = match index == 0 && error.is_all_of(&lane) {
                                true => Step::Primary,
                                false => Step::Fallback,
                            };
                            let (backend, model) = (lane.backend.name.clone(), lane.model.clone());
                            let served_by = ServedBy { backend, model, step };
                            return Ok(Served { value, served_by, candidate: index });
                        }
                        Err(failure) => failure,
                    };
                    let next = failure.next();
                    wait_ms = wait_ms.max(asked_to_wait(&failure));
                    error.push(&lane, failure);
                    match next {
                        Next::Tell => {
                            error.is_final = true;
                            return Err(error);
                        }
                        Next::Elsewhere => {}
                        Next::Again => again.push(lane),
                    }
                }
                if again.is_empty() || round >= self.config.retries.max {
                    break;
                }
                self.counters.retries.add(1);
                tokio::time::sleep(self.pause(round, wait_ms)).await;
                round += 1;
                lanes = again;
            }
        }
        Err(error)
    }

    /// How long to wait before the next round: twice as long each time, half of it by chance, so
    /// that many who failed together do not come back together.
    fn pause(&self, round: u32, asked_ms: Option<u64>) -> Duration {
        let retries = self.config.retries;
        let doubled = retries.base_ms.saturating_mul(1_u64.checked_shl(round).unwrap_or(u64::MAX));
        let most_ms = doubled.min(retries.cap_ms);
        let pause_ms = rand::random_range(most_ms / 2..=most_ms);
        Duration::from_millis(pause_ms.max(asked_ms.unwrap_or_default().min(retries.cap_ms)))
    }
}

fn asked_to_wait(failure: &Failure) -> Option<u64> {
    match failure {
        Failure::Busy { retry_after_ms, .. } => *retry_after_ms,
        _ => None,
    }
}

impl ChainError {
    fn push(&mut self, lane: &Lane, failure: Failure) {
        let (backend, model) = (lane.backend.name.clone(), lane.model.clone());
        tracing::debug!(backend, model, ?failure, "no answer");
        // Of one lane the newest counts, but that it was then left alone is no news.
        if let Some(tried) =
            self.tried.iter_mut().find(|tried| tried.backend == backend && tried.model == model)
        {
            if !matches!(failure, Failure::Open { .. }) {
                tried.failure = failure;
            }
            return;
        }
        self.tried.push(Tried { backend, model, failure });
    }

    /// Nothing was tried but this lane.
    fn is_all_of(&self, lane: &Lane) -> bool {
        self.tried
            .iter()
            .all(|tried| tried.backend == lane.backend.name && tried.model == lane.model)
    }

    /// Every backend is out of order, so that the operator's own answer may stand in: nobody is
    /// merely busy, and no request was at fault.
    pub(crate) fn is_outage(&self) -> bool {
        !self.is_final
            && self.tried.iter().any(Tried::is_out)
            && !self.tried.iter().any(Tried::is_busy)
    }

    /// No backend has the model. One that is out of order may have it, unless nobody named the
    /// model and the operator says which models that backend has.
    fn is_nowhere(&self, inner: &Inner, asked: &str) -> bool {
        let is_named = inner.config.models.contains_key(asked);
        self.tried.iter().all(|tried| {
            let is_declared = || !is_named && inner.config.names_models_of(&tried.backend);
            tried.is_missing() || tried.is_out() && is_declared()
        }) && !self.tried.is_empty()
    }

    /// An answer had begun.
    pub(crate) fn has_begun(&self) -> bool {
        self.tried.last().is_some_and(|tried| {
            matches!(
                tried.failure,
                Failure::BrokeOff { .. } | Failure::TimedOut { what: TimedOut::Gap, .. }
            )
        })
    }

    /// For the caller: the one failure there was, or the one that says most about what to do.
    pub(crate) fn into_error(mut self, inner: &Inner, plan: &Plan) -> InferenceError {
        let asked = plan.name.as_str();
        if !self.is_final && self.is_nowhere(inner, asked) {
            return inner.not_found(asked);
        }
        if self.is_final || self.tried.len() == 1 {
            let Some(Tried { backend, model, failure }) = self.tried.pop() else {
                return unavailable(asked, "no backend has it".to_owned(), None);
            };
            return match failure {
                Failure::Connection { message } => {
                    unavailable(asked, format!("{backend}: {message}"), None)
                }
                other => other.into_error(&backend, &model),
            };
        }
        if let Some(at) = self.tried.iter().position(Tried::is_busy) {
            let Tried { backend, model, failure } = self.tried.swap_remove(at);
            return failure.into_error(&backend, &model);
        }
        if let Some(at) = self.tried.iter().position(Tried::is_remote)
            && self.tried.iter().all(|tried| tried.is_remote() || tried.is_missing())
        {
            let Tried { backend, model, failure } = self.tried.swap_remove(at);
            return failure.into_error(&backend, &model);
        }
        let retry_in_ms = self.tried.iter().filter_map(Tried::retry_in_ms).min();
        let reasons: Vec<String> = self.tried.into_iter().map(Tried::reason).collect();
        unavailable(asked, reasons.join("; "), retry_in_ms)
    }
}

impl Tried {
    /// The backend is out of order: whether it has the model is not known.
    fn is_out(&self) -> bool {
        matches!(
            self.failure,
            Failure::Connection { .. }
                | Failure::ConnectTimedOut { .. }
                | Failure::Answer { .. }
                | Failure::Denied { .. }
                | Failure::TimedOut { .. }
                | Failure::Open { .. }
        )
    }

    fn is_busy(&self) -> bool {
        matches!(self.failure, Failure::Busy { .. } | Failure::Queue { .. })
    }

    fn is_remote(&self) -> bool {
        matches!(self.failure, Failure::Remote { .. })
    }

    fn is_missing(&self) -> bool {
        matches!(self.failure, Failure::NotFound)
    }

    fn retry_in_ms(&self) -> Option<u64> {
        match &self.failure {
            Failure::Open { retry_in_ms } => Some(*retry_in_ms),
            Failure::Busy { retry_after_ms, .. } => {
                Some(retry_after_ms.unwrap_or(BUSY_RETRY_AFTER_MS))
            }
            _ => None,
        }
    }

    /// In one line.
    fn reason(self) -> String {
        let Self { backend, model, failure } = self;
        match failure {
            Failure::Open { .. } => format!("{backend} has failed too often with {model}"),
            Failure::Connection { message } => format!("{backend}: {message}"),
            Failure::NotFound => format!("{backend} has no {model}"),
            other => other.into_error(&backend, &model).to_string(),
        }
    }
}

impl Inner {
    fn not_found(&self, asked: &str) -> InferenceError {
        let known = self.known_names(asked);
        InferenceError::ModelNotFound { model: asked.to_owned(), known }
    }
}

fn unavailable(asked: &str, reason: String, retry_after_ms: Option<u64>) -> InferenceError {
    InferenceError::Unavailable { model: asked.to_owned(), reason, retry_after_ms }
}

/// What an answer that no model gave costs.
pub(crate) const FREE: TokenUsage =
    TokenUsage { input_tokens: 0, output_tokens: 0, duration_ms: 0, cost_micros: 0 };
