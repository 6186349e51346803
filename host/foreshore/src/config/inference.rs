//! From `[inference]` to what the broker is told.
//!
//! Money is written per million tokens in the operator's currency, and counted in millionths of
//! it. A secret is never in the file itself: `api_key_file` names a file that holds it.

use std::collections::{BTreeMap, BTreeSet};
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};

use foreshore_broker::{
    ApiKey, BackendConfig, BackendKind, BreakerConfig, BrokerConfig, CacheConfig, ModelConfig,
    QueueConfig, RetryConfig, RunnerOptions, TimeoutOverrides, Timeouts,
};
use serde::Deserialize;
use url::Url;

use super::{Config, ConfigError};

/// Where a local Ollama listens.
pub(crate) const OLLAMA: &str = "http://127.0.0.1:11434";

/// Models and their servers.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct InferenceSection {
    /// Asked where a request names none. It needs no section of its own.
    pub(crate) default_model: Option<String>,
    /// Asked for vectors where a request names none; memory's search uses it.
    pub(crate) embedding_model: Option<String>,
    /// Said when no backend answers, and marked as no model's.
    pub(crate) local_answer: Option<String>,
    /// Models that a server runs elsewhere may be asked.
    pub(crate) allow_remote_models: bool,
    pub(crate) num_ctx_default: Option<NonZeroU32>,
    pub(crate) num_ctx_max: Option<NonZeroU32>,
    pub(crate) probe_every_ms: Option<NonZeroU64>,
    /// Servers, first choice first; a local Ollama where none is named.
    pub(crate) backends: Vec<BackendSection>,
    /// Models by the name that callers use.
    pub(crate) models: BTreeMap<String, ModelSection>,
    pub(crate) timeouts: TimeoutsSection,
    pub(crate) retries: RetriesSection,
    pub(crate) queue: QueueSection,
    pub(crate) breaker: BreakerSection,
    pub(crate) cache: CacheSection,
}

/// A server.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BackendSection {
    pub(crate) name: String,
    pub(crate) kind: KindWord,
    /// Not of a scripted one.
    pub(crate) url: Option<String>,
    /// The rules of a scripted one; its own where none is named.
    pub(crate) script: Option<PathBuf>,
    /// Holds the key that is sent as a bearer token.
    pub(crate) api_key_file: Option<PathBuf>,
    pub(crate) concurrency: Option<NonZeroU32>,
    #[serde(default)]
    pub(crate) timeouts: TimeoutsSection,
}

/// What a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum KindWord {
    Ollama,
    OpenAi,
    /// A model that answers by rules, within this process.
    Scripted,
}

/// A model under the name that callers use.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ModelSection {
    /// The backend that has it; all where none is named.
    pub(crate) backend: Option<String>,
    /// The backends that have it.
    pub(crate) backends: Vec<String>,
    /// Its name there.
    pub(crate) model: Option<String>,
    pub(crate) fallback: Vec<String>,
    pub(crate) num_ctx: Option<NonZeroU32>,
    pub(crate) num_batch: Option<NonZeroU32>,
    pub(crate) num_gpu: Option<i32>,
    pub(crate) main_gpu: Option<u32>,
    pub(crate) num_thread: Option<NonZeroU32>,
    pub(crate) use_mmap: Option<bool>,
    pub(crate) keep_alive: Option<String>,
    pub(crate) temperature: Option<f32>,
    pub(crate) max_tokens: Option<NonZeroU32>,
    /// Of requests, for a million tokens.
    pub(crate) price_input: f64,
    /// Of answers, for a million tokens.
    pub(crate) price_output: f64,
    pub(crate) embedding: bool,
}

/// Limits in time; of a backend or of all.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TimeoutsSection {
    pub(crate) connect_ms: Option<NonZeroU64>,
    pub(crate) queue_ms: Option<NonZeroU64>,
    pub(crate) load_ms: Option<NonZeroU64>,
    pub(crate) first_token_ms: Option<NonZeroU64>,
    pub(crate) gap_ms: Option<NonZeroU64>,
    /// Of all together; not of one backend.
    pub(crate) total_ms: Option<NonZeroU64>,
}

/// When a request is tried again.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RetriesSection {
    /// Zero is "never".
    pub(crate) max: Option<u32>,
    pub(crate) base_ms: Option<NonZeroU64>,
    pub(crate) cap_ms: Option<NonZeroU64>,
}

/// How many may wait for a model.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct QueueSection {
    pub(crate) max: Option<NonZeroUsize>,
    pub(crate) max_per_tenant: Option<NonZeroUsize>,
}

/// When a backend is left alone.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct BreakerSection {
    pub(crate) failures: Option<NonZeroU32>,
    pub(crate) window_ms: Option<NonZeroU64>,
    pub(crate) open_ms: Option<NonZeroU64>,
    pub(crate) probe_lease_ms: Option<NonZeroU64>,
}

/// Answers that are kept.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct CacheSection {
    /// Zero keeps none.
    pub(crate) entries: Option<usize>,
    pub(crate) max_bytes: Option<NonZeroUsize>,
    pub(crate) ttl_s: Option<NonZeroU64>,
}

/// What is asked of models, ready but for the scripted ones, which have no address before they
/// are started.
#[derive(Clone, Debug)]
pub(crate) struct InferencePlan {
    /// For the broker.
    pub(crate) broker: BrokerConfig,
    /// Scripted models to start: where their address goes in the broker's list, and their rules.
    pub(crate) scripted: Vec<ScriptedBackend>,
}

/// A scripted model to start.
#[derive(Clone, Debug)]
pub(crate) struct ScriptedBackend {
    /// Its place among the backends.
    pub(crate) index: usize,
    /// Its rules; those of the binary where there are none.
    pub(crate) script: Option<PathBuf>,
}

/// The address of a scripted model until it has one.
const NOT_STARTED: &str = "http://127.0.0.1:9";

impl Config {
    /// What is asked of models.
    ///
    /// # Errors
    /// A section that cannot be used, with its key and place.
    pub(crate) fn inference(&self) -> Result<InferencePlan, ConfigError> {
        let refused = |keys: &[&str], message: String| self.refused(keys, &message);
        let section = &self.sections.inference;
        let mut scripted = Vec::new();
        let mut backends = Vec::new();
        for (index, backend) in section.backends.iter().enumerate() {
            if backend.kind == KindWord::Scripted {
                scripted.push(ScriptedBackend { index, script: backend.script.clone() });
            }
            backends.push(one_backend(backend).map_err(|error| {
                refused(
                    &["inference", "backends"],
                    format!("backend \"{}\": {error}", backend.name),
                )
            })?);
        }
        if backends.is_empty() {
            let url = Url::parse(OLLAMA).expect("invariant: a constant that is a URL");
            backends.push(BackendConfig::new("ollama", BackendKind::Ollama, url));
        }
        let models = section
            .models
            .iter()
            .map(|(name, model)| {
                let read = one_model(model).map_err(|(key, message)| {
                    refused(&["inference", "models", name, key], message)
                })?;
                Ok((name.clone(), read))
            })
            .collect::<Result<_, ConfigError>>()?;
        let broker = self.broker(backends, models);
        broker.check().map_err(|error| refused(&["inference"], error.to_string()))?;
        Ok(InferencePlan { broker, scripted })
    }

    fn broker(
        &self,
        backends: Vec<BackendConfig>,
        models: BTreeMap<String, ModelConfig>,
    ) -> BrokerConfig {
        let section = &self.sections.inference;
        let default = BrokerConfig::default();
        BrokerConfig {
            backends,
            models,
            default_model: section.default_model.clone(),
            embedding_model: section.embedding_model.clone(),
            named_models: self.models_of_agents(),
            local_answer: section.local_answer.clone(),
            allow_remote_models: section.allow_remote_models,
            num_ctx_default: section
                .num_ctx_default
                .map_or(default.num_ctx_default, NonZeroU32::get),
            num_ctx_max: section.num_ctx_max.map_or(default.num_ctx_max, NonZeroU32::get),
            probe_every_ms: section.probe_every_ms.map_or(default.probe_every_ms, NonZeroU64::get),
            timeouts: section.timeouts.over(default.timeouts),
            retries: section.retries.over(default.retries),
            queue: section.queue.over(default.queue),
            breaker: section.breaker.over(default.breaker),
            cache: section.cache.over(default.cache),
            ..default
        }
    }
}

impl Config {
    /// The models that agents ask, which need no section of their own either.
    fn models_of_agents(&self) -> BTreeSet<String> {
        let agents = self.sections.agents.values();
        agents.flat_map(|agent| agent.model.iter().chain(&agent.models)).cloned().collect()
    }
}

fn one_backend(section: &BackendSection) -> Result<BackendConfig, String> {
    let is_scripted = section.kind == KindWord::Scripted;
    let url = match (&section.url, is_scripted) {
        (Some(_), true) => {
            return Err("a scripted model runs in this process and has no url".to_owned());
        }
        (None, true) => NOT_STARTED,
        (Some(url), false) => url,
        (None, false) => return Err(format!("url is missing, such as {OLLAMA}")),
    };
    if section.script.is_some() && !is_scripted {
        return Err("script is for kind = \"scripted\" alone".to_owned());
    }
    if section.timeouts.total_ms.is_some() {
        return Err("total_ms is of all backends together: [inference.timeouts]".to_owned());
    }
    let url = Url::parse(url).map_err(|error| format!("url \"{url}\": {error}"))?;
    let kind = match section.kind {
        KindWord::Ollama | KindWord::Scripted => BackendKind::Ollama,
        KindWord::OpenAi => BackendKind::OpenAi,
    };
    let mut backend = BackendConfig::new(section.name.clone(), kind, url);
    backend.api_key = section.api_key_file.as_deref().map(api_key).transpose()?;
    backend.concurrency = section.concurrency.map(NonZeroU32::get);
    let limit = |value: Option<NonZeroU64>| value.map(NonZeroU64::get);
    backend.timeouts = TimeoutOverrides {
        connect_ms: limit(section.timeouts.connect_ms),
        queue_ms: limit(section.timeouts.queue_ms),
        load_ms: limit(section.timeouts.load_ms),
        first_token_ms: limit(section.timeouts.first_token_ms),
        gap_ms: limit(section.timeouts.gap_ms),
    };
    Ok(backend)
}

fn api_key(file: &Path) -> Result<ApiKey, String> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("api_key_file {}: {error}", file.display()))?;
    match text.trim() {
        "" => Err(format!("api_key_file {} is empty", file.display())),
        key => Ok(ApiKey::new(key)),
    }
}

fn one_model(section: &ModelSection) -> Result<ModelConfig, (&'static str, String)> {
    let mut backends = section.backends.clone();
    if let Some(backend) = &section.backend {
        if !backends.is_empty() {
            return Err(("backend", "name either backend or backends, not both".to_owned()));
        }
        backends.push(backend.clone());
    }
    Ok(ModelConfig {
        backends,
        model: section.model.clone(),
        fallback: section.fallback.clone(),
        runner: RunnerOptions {
            num_ctx: section.num_ctx.map(NonZeroU32::get),
            num_batch: section.num_batch.map(NonZeroU32::get),
            num_gpu: section.num_gpu,
            main_gpu: section.main_gpu,
            num_thread: section.num_thread.map(NonZeroU32::get),
            use_mmap: section.use_mmap,
            keep_alive: section.keep_alive.clone(),
        },
        temperature: section.temperature,
        max_tokens: section.max_tokens.map(NonZeroU32::get),
        price_input_micros_per_mtok: micros(section.price_input).map_err(|e| ("price_input", e))?,
        price_output_micros_per_mtok: micros(section.price_output)
            .map_err(|e| ("price_output", e))?,
        embedding: section.embedding,
        ..ModelConfig::default()
    })
}

/// Millionths of a price, or of any sum of money.
pub(super) fn micros(price: f64) -> Result<u64, String> {
    const MAX: f64 = 1e9;
    if !(0.0..=MAX).contains(&price) {
        return Err(format!("{price} is no price: it is from 0 to {MAX}"));
    }
    #[allow(
        clippy::as_conversions,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "at most 1e15, and not negative: checked above"
    )]
    Ok((price * 1e6).round() as u64)
}

impl TimeoutsSection {
    fn over(&self, default: Timeouts) -> Timeouts {
        let over = |value: Option<NonZeroU64>, default| value.map_or(default, NonZeroU64::get);
        Timeouts {
            connect_ms: over(self.connect_ms, default.connect_ms),
            queue_ms: over(self.queue_ms, default.queue_ms),
            load_ms: over(self.load_ms, default.load_ms),
            first_token_ms: over(self.first_token_ms, default.first_token_ms),
            gap_ms: over(self.gap_ms, default.gap_ms),
            total_ms: over(self.total_ms, default.total_ms),
        }
    }
}

impl RetriesSection {
    fn over(&self, default: RetryConfig) -> RetryConfig {
        RetryConfig {
            max: self.max.unwrap_or(default.max),
            base_ms: self.base_ms.map_or(default.base_ms, NonZeroU64::get),
            cap_ms: self.cap_ms.map_or(default.cap_ms, NonZeroU64::get),
        }
    }
}

impl QueueSection {
    fn over(&self, default: QueueConfig) -> QueueConfig {
        QueueConfig {
            max: self.max.map_or(default.max, NonZeroUsize::get),
            max_per_tenant: self.max_per_tenant.map_or(default.max_per_tenant, NonZeroUsize::get),
        }
    }
}

impl BreakerSection {
    fn over(&self, default: BreakerConfig) -> BreakerConfig {
        BreakerConfig {
            failures: self.failures.map_or(default.failures, NonZeroU32::get),
            window_ms: self.window_ms.map_or(default.window_ms, NonZeroU64::get),
            open_ms: self.open_ms.map_or(default.open_ms, NonZeroU64::get),
            probe_lease_ms: self.probe_lease_ms.map_or(default.probe_lease_ms, NonZeroU64::get),
        }
    }
}

impl CacheSection {
    fn over(&self, default: CacheConfig) -> CacheConfig {
        CacheConfig {
            entries: self.entries.unwrap_or(default.entries),
            max_bytes: self.max_bytes.map_or(default.max_bytes, NonZeroUsize::get),
            ttl_s: self.ttl_s.map_or(default.ttl_s, NonZeroU64::get),
        }
    }
}
