//! What an operator says of models and their servers.
//!
//! Plain structures with defaults that are safe on a small machine, and one check. Deliberately
//! absent: files and environment, which are the binary's.

mod check;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use url::Url;

pub use crate::breaker::BreakerConfig;
pub use check::ConfigError;

/// All of it.
#[derive(Clone, Debug, PartialEq)]
pub struct BrokerConfig {
    /// The servers, first choice first. None is no error: every request is then refused.
    pub backends: Vec<BackendConfig>,
    /// Models by the name that callers use.
    pub models: BTreeMap<String, ModelConfig>,
    /// Asked when a request names none. Like [`Self::embedding_model`] it need not be among
    /// [`Self::models`]: it is then what the backends have under this name.
    pub default_model: Option<String>,
    /// Asked for vectors when a request names none.
    pub embedding_model: Option<String>,
    /// Models that the operator names elsewhere, such as those of agents; they need not be among
    /// [`Self::models`] either.
    pub named_models: BTreeSet<String>,
    /// Said when no backend answers, and marked as no model's.
    pub local_answer: Option<String>,
    /// Models that a local server runs elsewhere (`:cloud`) may be asked.
    pub allow_remote_models: bool,
    /// The `num_ctx` of a model that configures none, or less if the model cannot take as much.
    pub num_ctx_default: u32,
    /// No model may configure more: memory grows with it.
    pub num_ctx_max: u32,
    /// The longest line, or event, that a server may send.
    pub line_max_bytes: usize,
    /// Answers may be this long.
    pub answer_max_bytes: usize,
    /// Limits in time.
    pub timeouts: Timeouts,
    /// When to try again.
    pub retries: RetryConfig,
    /// How many may wait.
    pub queue: QueueConfig,
    /// When to leave a backend alone.
    pub breaker: BreakerConfig,
    /// How often open breakers are looked at.
    pub probe_every_ms: u64,
    /// Answers that are kept.
    pub cache: CacheConfig,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self {
            backends: Vec::new(),
            models: BTreeMap::new(),
            default_model: None,
            embedding_model: None,
            named_models: BTreeSet::new(),
            local_answer: None,
            allow_remote_models: false,
            num_ctx_default: 8_192,
            num_ctx_max: 65_536,
            line_max_bytes: 16 << 20,
            answer_max_bytes: 64 << 20,
            timeouts: Timeouts::default(),
            retries: RetryConfig::default(),
            queue: QueueConfig::default(),
            breaker: BreakerConfig::default(),
            probe_every_ms: 1_000,
            cache: CacheConfig::default(),
        }
    }
}

impl BrokerConfig {
    /// Adds the models that are named and not configured, so that they are looked at, listed and
    /// asked as others are.
    pub(crate) fn with_implied(mut self) -> Self {
        let named = self.named_models.iter().chain(&self.default_model).map(|name| (name, false));
        let named = named.chain(self.embedding_model.iter().map(|name| (name, true)));
        let named: Vec<(String, bool)> =
            named.map(|(name, embedding)| (name.clone(), embedding)).collect();
        for (name, embedding) in named {
            if !self.models.contains_key(&name) {
                let implied = ModelConfig { embedding, is_implied: true, ..self.unnamed(&name) };
                self.models.insert(name, implied);
            }
        }
        self
    }

    /// What holds for a model of this name at its backend that has no section: how it is run and
    /// what it costs follow from one that has the same model under another name.
    pub(crate) fn unnamed(&self, at_backend: &str) -> ModelConfig {
        let same = |model: &&ModelConfig| model.model.as_deref() == Some(at_backend);
        let Some(same) = self.models.values().find(same) else { return ModelConfig::default() };
        ModelConfig {
            runner: same.runner.clone(),
            price_input_micros_per_mtok: same.price_input_micros_per_mtok,
            price_output_micros_per_mtok: same.price_output_micros_per_mtok,
            embedding: same.embedding,
            ..ModelConfig::default()
        }
    }

    /// Whether the operator says which models are at a backend.
    pub(crate) fn names_models_of(&self, backend: &str) -> bool {
        self.models.values().any(|model| model.backends.iter().any(|one| one == backend))
    }
}

/// A server.
#[derive(Clone, Debug, PartialEq)]
pub struct BackendConfig {
    /// Its name in models, answers and records.
    pub name: String,
    /// What it speaks.
    pub kind: BackendKind,
    /// `http://` or `https://`; for [`BackendKind::OpenAi`] with the `/v1` that its users write.
    pub url: Url,
    /// Sent as a bearer token.
    pub api_key: Option<ApiKey>,
    /// Requests at a time for each model; none means 1 for Ollama and 8 for others.
    pub concurrency: Option<u32>,
    /// Where it differs from [`BrokerConfig::timeouts`].
    pub timeouts: TimeoutOverrides,
}

impl BackendConfig {
    /// A server with nothing but a name and an address.
    pub fn new(name: impl Into<String>, kind: BackendKind, url: Url) -> Self {
        Self {
            name: name.into(),
            kind,
            url,
            api_key: None,
            concurrency: None,
            timeouts: TimeoutOverrides::default(),
        }
    }

    pub(crate) fn concurrency(&self) -> u32 {
        self.concurrency.unwrap_or(match self.kind {
            BackendKind::Ollama => 1,
            BackendKind::OpenAi => 8,
        })
    }
}

/// What a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BackendKind {
    /// Ollama's own API.
    Ollama,
    /// `/v1/chat/completions`, as OpenAI, llama.cpp, vLLM and others have it.
    OpenAi,
}

impl BackendKind {
    /// The name in configuration and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ollama => "ollama",
            Self::OpenAi => "openai",
        }
    }
}

/// A secret. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl ApiKey {
    /// Takes the secret.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

/// A model under the name that callers use.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelConfig {
    /// The backends that have it; none named means all.
    pub backends: Vec<String>,
    /// Its name there; none means the name that callers use.
    pub model: Option<String>,
    /// Models to ask when it cannot answer, in this order.
    pub fallback: Vec<String>,
    /// How the server runs it.
    pub runner: RunnerOptions,
    /// The temperature of requests that give none.
    pub temperature: Option<f32>,
    /// The most tokens of an answer, for requests that give none.
    pub max_tokens: Option<u32>,
    /// What a million tokens of requests cost, in millionths of the operator's currency.
    pub price_input_micros_per_mtok: u64,
    /// What a million tokens of answers cost.
    pub price_output_micros_per_mtok: u64,
    /// It gives vectors.
    pub embedding: bool,
    /// Nobody configured it; its name is used somewhere. The broker's to set.
    pub is_implied: bool,
}

/// How an Ollama server runs a model. A request with other options makes the server load the
/// model again, so these are the operator's and never the caller's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunnerOptions {
    /// Tokens of context; none means [`BrokerConfig::num_ctx_default`].
    pub num_ctx: Option<u32>,
    /// Tokens read at a time.
    pub num_batch: Option<u32>,
    /// Layers on the GPU; -1 lets the server choose.
    pub num_gpu: Option<i32>,
    /// Which GPU comes first.
    pub main_gpu: Option<u32>,
    /// Threads.
    pub num_thread: Option<u32>,
    /// Map the file into memory.
    pub use_mmap: Option<bool>,
    /// How long it stays in memory: `5m`, or seconds; `-1` for ever.
    pub keep_alive: Option<String>,
}

/// Limits in time, one for each step: a slow load is not a dead server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Being connected, and hearing the answer to a question that costs nothing.
    pub connect_ms: u64,
    /// Waiting for a turn.
    pub queue_ms: u64,
    /// Getting a model into memory.
    pub load_ms: u64,
    /// Waiting for the first piece of the answer of a model that is in memory.
    pub first_token_ms: u64,
    /// Waiting for the next piece.
    pub gap_ms: u64,
    /// The whole answer, with all retries and fallbacks.
    pub total_ms: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect_ms: 2_000,
            queue_ms: 120_000,
            load_ms: 600_000,
            first_token_ms: 120_000,
            gap_ms: 60_000,
            total_ms: 1_800_000,
        }
    }
}

/// The limits of one backend that differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeoutOverrides {
    /// Instead of [`Timeouts::connect_ms`].
    pub connect_ms: Option<u64>,
    /// Instead of [`Timeouts::queue_ms`].
    pub queue_ms: Option<u64>,
    /// Instead of [`Timeouts::load_ms`].
    pub load_ms: Option<u64>,
    /// Instead of [`Timeouts::first_token_ms`].
    pub first_token_ms: Option<u64>,
    /// Instead of [`Timeouts::gap_ms`].
    pub gap_ms: Option<u64>,
}

impl TimeoutOverrides {
    pub(crate) fn over(&self, all: Timeouts) -> Timeouts {
        Timeouts {
            connect_ms: self.connect_ms.unwrap_or(all.connect_ms),
            queue_ms: self.queue_ms.unwrap_or(all.queue_ms),
            load_ms: self.load_ms.unwrap_or(all.load_ms),
            first_token_ms: self.first_token_ms.unwrap_or(all.first_token_ms),
            gap_ms: self.gap_ms.unwrap_or(all.gap_ms),
            total_ms: all.total_ms,
        }
    }
}

/// When a request is tried again on the same model. Never after its answer has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryConfig {
    /// Times after the first. Zero is allowed.
    pub max: u32,
    /// The wait before the first; it doubles, and half of it is chance.
    pub base_ms: u64,
    /// The longest wait.
    pub cap_ms: u64,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self { max: 2, base_ms: 100, cap_ms: 2_000 }
    }
}

/// How many may wait for one model of one backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueConfig {
    /// All of them.
    pub max: usize,
    /// Of one tenant.
    pub max_per_tenant: usize,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self { max: 256, max_per_tenant: 64 }
    }
}

/// Answers that are kept: of requests with temperature 0 only, each for its own tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheConfig {
    /// How many. Zero keeps none.
    pub entries: usize,
    /// All of them together.
    pub max_bytes: usize,
    /// How long one is given instead of asking a model. After that it is given only when no
    /// backend answers.
    pub ttl_s: u64,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self { entries: 256, max_bytes: 16 << 20, ttl_s: 600 }
    }
}
