//! Vectors: asked for in batches, and held to one length.

use std::sync::Arc;
use std::time::Duration;

use foreshore_domain::inference::{EmbedRequest, Embeddings, InferenceError, TimedOut, TokenUsage};
use tokio::time::Instant;

use crate::attempt::{self, elapsed_ms};
use crate::backend::Vectors;
use crate::broker::Broker;
use crate::caller::Caller;
use crate::chain::Question;
use crate::estimate;
use crate::failure::Failure;
use crate::lane::Lane;
use crate::plan::{Candidate, Purpose};
use crate::spending::Spending;

/// Texts of one request, at most.
const TEXTS_MAX: usize = 4_096;
/// Texts that are sent at a time.
const BATCH: usize = 64;

impl Broker {
    /// Asks for the meaning of texts as vectors, in their order, all of one length.
    ///
    /// A model other than the first choice is asked only if it is configured as its fallback:
    /// vectors of different models cannot be compared, so do that for models with equal ones.
    ///
    /// # Errors
    /// [`InferenceError`].
    pub async fn embed(
        &self,
        request: EmbedRequest,
        caller: Caller,
    ) -> Result<Embeddings, InferenceError> {
        let counters = &self.inner.counters;
        counters.embeds.add(1);
        let result = self.embedded(&request, &caller).await;
        if result.is_err() {
            counters.errors.add(1);
        }
        result
    }

    async fn embedded(
        &self,
        request: &EmbedRequest,
        caller: &Caller,
    ) -> Result<Embeddings, InferenceError> {
        let inner = &self.inner;
        if request.texts.is_empty() || request.texts.len() > TEXTS_MAX {
            let message = format!("{} texts; 1 to {TEXTS_MAX} are taken", request.texts.len());
            return Err(InferenceError::Invalid { message });
        }
        let plan = inner.plan(request.model.as_deref(), Purpose::Embed)?;
        let reserved = estimate::hold_for_embed(&inner.budgets, caller, request, &plan)
            .map_err(InferenceError::BudgetExhausted)?;
        let total = Duration::from_millis(inner.config.timeouts.total_ms);
        let time_left = Duration::from_millis(reserved.room().wall_ms);
        let limit = caller.time_limit.map_or(total, |limit| limit.min(total)).min(time_left);
        let began = Instant::now();
        let asked = estimate::embed_usage(request, &plan);
        let mut spending = Spending::new(&plan, reserved, asked, caller.at_unix_ms);
        let question = EmbedQuestion { request, caller };
        spending.begin();
        let asked = inner.served(&plan, &question);
        let served = match tokio::time::timeout(limit, asked).await {
            Ok(Ok(served)) => served,
            Ok(Err(error)) => {
                spending.failed();
                return Err(error.into_error(inner, &plan));
            }
            Err(_) => {
                let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
                let (backend, what) = (plan.name.clone(), TimedOut::Total);
                return Err(InferenceError::TimedOut { backend, what, limit_ms });
            }
        };
        let Vectors { vectors, input_tokens, duration_ms } = served.value;
        let duration_ms = duration_ms.unwrap_or_else(|| elapsed_ms(began));
        let mut usage = TokenUsage { input_tokens, duration_ms, ..TokenUsage::default() };
        if let Some(candidate) = plan.candidates.get(served.candidate) {
            usage.cost_micros = candidate.cost_micros(&usage);
        }
        spending.answered(usage);
        Ok(Embeddings { vectors, served_by: served.served_by, usage })
    }
}

struct EmbedQuestion<'a> {
    request: &'a EmbedRequest,
    caller: &'a Caller,
}

impl Question for EmbedQuestion<'_> {
    type Answer = Vectors;

    async fn ask(&self, _: &Candidate, lane: &Arc<Lane>) -> Result<Vectors, Failure> {
        all_batches(lane, self.request, self.caller).await
    }
}

/// One backend gives all of them, so that they can be compared.
async fn all_batches(
    lane: &Arc<Lane>,
    request: &EmbedRequest,
    caller: &Caller,
) -> Result<Vectors, Failure> {
    let mut all = Vectors {
        vectors: Vec::with_capacity(request.texts.len()),
        input_tokens: 0,
        duration_ms: None,
    };
    for texts in request.texts.chunks(BATCH) {
        let batch = EmbedRequest {
            model: request.model.clone(),
            texts: texts.to_vec(),
            dimensions: request.dimensions,
        };
        let part = attempt::embed(lane, &batch, caller).await?;
        check(lane, &batch, &part)?;
        all.input_tokens = all.input_tokens.saturating_add(part.input_tokens);
        all.duration_ms = match (all.duration_ms, part.duration_ms) {
            (Some(sum), Some(more)) => Some(sum.saturating_add(more)),
            (sum, more) => sum.or(more),
        };
        all.vectors.extend(part.vectors);
    }
    Ok(all)
}

fn check(lane: &Lane, asked: &EmbedRequest, part: &Vectors) -> Result<(), Failure> {
    let wrong = |message: String| Err(Failure::Answer { message });
    if part.vectors.len() != asked.texts.len() {
        return wrong(format!("{} vectors for {} texts", part.vectors.len(), asked.texts.len()));
    }
    let dimensions = part.vectors.first().map_or(0, Vec::len);
    if dimensions == 0 || part.vectors.iter().any(|vector| vector.len() != dimensions) {
        return wrong("its vectors are empty, or not all of one length".to_owned());
    }
    if part.vectors.iter().flatten().any(|number| !number.is_finite()) {
        return wrong("its vectors hold what is no number".to_owned());
    }
    match asked.dimensions {
        // Who asks for a length gets it, or learns that it cannot be had.
        Some(wanted) if usize::try_from(wanted) != Ok(dimensions) => Err(Failure::Rejected {
            message: format!("{} gives vectors of {dimensions}, not {wanted}", lane.model),
        }),
        Some(_) => Ok(()),
        None => match lane.check_dimensions(dimensions) {
            Ok(()) => Ok(()),
            Err(first) => wrong(format!(
                "its vectors have {dimensions} numbers, and had {first} before: it is another model"
            )),
        },
    }
}
