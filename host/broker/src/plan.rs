//! Whom a request goes to: the models of its fallback chain, each with the lanes that have it.

use std::sync::Arc;

use foreshore_domain::inference::{ChatRequest, InferenceError, TokenUsage};

use crate::broker::Inner;
use crate::config::ModelConfig;
use crate::lane::Lane;

/// A model's name may be this long.
const NAME_MAX_BYTES: usize = 256;
/// Names that are told when one is not known.
const KNOWN_MAX: usize = 5;
/// Tokens that prices are for.
const PRICED_TOKENS: u128 = 1_000_000;

/// What a name stands for.
pub(crate) struct Plan {
    /// What was asked for.
    pub(crate) name: String,
    /// First choice first; at least one.
    pub(crate) candidates: Vec<Candidate>,
}

/// A model of the chain.
pub(crate) struct Candidate {
    /// The name that callers use.
    pub(crate) name: String,
    pub(crate) model: ModelConfig,
    pub(crate) lanes: Vec<Arc<Lane>>,
}

/// What is asked of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Chat,
    Embed,
}

impl Plan {
    /// What tokens cost at the dearest model of the chain.
    pub(crate) fn cost_micros(&self, usage: &TokenUsage) -> u64 {
        self.candidates.iter().map(|candidate| candidate.cost_micros(usage)).max().unwrap_or(0)
    }

    /// How long an answer may be that costs no more than this at any model of the chain.
    pub(crate) fn answer_tokens_for(&self, cost_micros: u64, input_tokens: u64) -> u64 {
        let each = self.candidates.iter().map(|candidate| {
            let price = u128::from(candidate.model.price_output_micros_per_mtok);
            let input = u128::from(candidate.model.price_input_micros_per_mtok);
            let left = (u128::from(cost_micros) * PRICED_TOKENS)
                .saturating_sub(u128::from(input_tokens) * input);
            let tokens = left.checked_div(price).unwrap_or(u128::MAX);
            u64::try_from(tokens).unwrap_or(u64::MAX)
        });
        each.min().unwrap_or(u64::MAX)
    }
}

impl Inner {
    /// Finds out whom to ask.
    ///
    /// # Errors
    /// A name that no model has, or none where there is no default.
    pub(crate) fn plan(
        &self,
        asked: Option<&str>,
        purpose: Purpose,
    ) -> Result<Plan, InferenceError> {
        let name = self.name(asked, purpose)?;
        if self.backends.is_empty() {
            return Err(InferenceError::Unavailable {
                model: name,
                reason: "no backend is configured; add one as [[inference.backends]]".to_owned(),
                retry_after_ms: None,
            });
        }
        let mut candidates = vec![self.candidate(&name)];
        if let Some(model) = self.config.models.get(&name) {
            let next = model.fallback.iter().filter(|next| **next != name);
            candidates.extend(next.map(|next| self.candidate(next)));
        }
        Ok(Plan { name, candidates })
    }

    fn name(&self, asked: Option<&str>, purpose: Purpose) -> Result<String, InferenceError> {
        let (default, key) = match purpose {
            Purpose::Chat => (&self.config.default_model, "default_model"),
            Purpose::Embed => (&self.config.embedding_model, "embedding_model"),
        };
        if let Some(name) = asked.or(default.as_deref()) {
            let is_name = !name.is_empty()
                && name.len() <= NAME_MAX_BYTES
                && !name.chars().any(|c| c.is_control() || c.is_whitespace());
            if is_name {
                return Ok(name.to_owned());
            }
            let message = format!(
                "{name:?} is no name of a model: 1 to {NAME_MAX_BYTES} bytes without white space"
            );
            return Err(InferenceError::Invalid { message });
        }
        // Where there is one of the kind, nobody need say which.
        let of_kind = |model: &&ModelConfig| {
            !model.is_implied && model.embedding == (purpose == Purpose::Embed)
        };
        let mut all = self.config.models.iter().filter(|(_, model)| of_kind(model));
        match (all.next(), all.next()) {
            (Some((name, _)), None) => Ok(name.clone()),
            _ => Err(InferenceError::Invalid {
                message: format!("no model is named, and there is no `[inference] {key}`"),
            }),
        }
    }

    fn candidate(&self, name: &str) -> Candidate {
        // A model that is not configured may still be on any of the backends.
        let configured = self.config.models.get(name).cloned();
        let model = configured.unwrap_or_else(|| self.config.unnamed(name));
        let at_backend = model.model.as_deref().unwrap_or(name);
        let has = |backend: &str| {
            model.backends.is_empty() || model.backends.iter().any(|one| one == backend)
        };
        let backends = self.backends.iter().filter(|backend| has(&backend.name));
        let lanes = backends.map(|backend| self.lane(backend, at_backend, &model.runner)).collect();
        Candidate { name: name.to_owned(), model, lanes }
    }

    /// Names that are configured or in use, nearest first.
    pub(crate) fn known_names(&self, asked: &str) -> Vec<String> {
        let mut names: Vec<String> = self.config.models.keys().cloned().collect();
        names.sort_by_cached_key(|name| {
            let likeness = strsim::jaro_winkler(name, asked);
            std::cmp::Reverse(OrderedLikeness(likeness))
        });
        names.truncate(KNOWN_MAX);
        names
    }
}

/// A likeness is never NaN.
#[derive(PartialEq)]
struct OrderedLikeness(f64);

impl Eq for OrderedLikeness {}

impl PartialOrd for OrderedLikeness {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for OrderedLikeness {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl Candidate {
    /// The request as this model gets it: with the operator's defaults where it says nothing.
    pub(crate) fn request(&self, request: &ChatRequest) -> ChatRequest {
        let mut request = request.clone();
        request.model = Some(self.name.clone());
        request.sampling.temperature = request.sampling.temperature.or(self.model.temperature);
        request.sampling.max_tokens = request.sampling.max_tokens.or(self.model.max_tokens);
        request
    }

    /// Lanes in the order in which to try them: those with the least to do first, and among
    /// equals the first one of the configuration.
    pub(crate) fn by_load(&self) -> Vec<Arc<Lane>> {
        let mut lanes = self.lanes.clone();
        lanes.sort_by_key(|lane| lane.outstanding());
        lanes
    }

    /// What tokens cost here.
    pub(crate) fn cost_micros(&self, usage: &TokenUsage) -> u64 {
        let priced = |tokens: u64, price: u64| u128::from(tokens) * u128::from(price);
        let input = priced(usage.input_tokens, self.model.price_input_micros_per_mtok);
        let output = priced(usage.output_tokens, self.model.price_output_micros_per_mtok);
        u64::try_from((input + output).div_ceil(PRICED_TOKENS)).unwrap_or(u64::MAX)
    }
}
