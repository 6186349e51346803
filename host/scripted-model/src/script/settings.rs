//! What a script says of the server and of its models.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::Deserialize;

use super::answer::wait;
use crate::embedding::Synonyms;

/// The server's own.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ServerSettings {
    /// Of the server that it plays.
    pub(crate) version: String,
    /// Requests of one model at a time.
    pub(crate) parallel: NonZeroU32,
    /// Requests that wait, of all models together; one more gets 503.
    pub(crate) queue: u32,
    /// What the OpenAI face demands as bearer token.
    pub(crate) api_key: Option<String>,
}

impl Default for ServerSettings {
    fn default() -> Self {
        // One at a time and 512 waiting is what Ollama does if it is told nothing.
        let version = "0.13.0".to_owned();
        Self { version, parallel: NonZeroU32::MIN, queue: 512, api_key: None }
    }
}

/// One model.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Written")]
pub(crate) struct ModelSettings {
    pub(crate) name: String,
    pub(crate) family: String,
    pub(crate) parameter_size: String,
    pub(crate) quantization: String,
    pub(crate) size_bytes: u64,
    pub(crate) context_length: NonZeroU32,
    pub(crate) embedding_dimensions: NonZeroU32,
    /// Words that have one vector.
    pub(crate) synonyms: Synonyms,
    pub(crate) capabilities: Vec<Capability>,
    pub(crate) remote_host: Option<String>,
    pub(crate) remote_model: Option<String>,
    /// How long a load takes during which nothing is sent.
    pub(crate) load: Duration,
    /// It is in memory from the start.
    pub(crate) loaded: bool,
    /// How long it stays in memory after a request that does not say.
    pub(crate) keep_alive: Duration,
    pub(crate) on_cancel: OnCancel,
    /// It has to be pulled first.
    pub(crate) pull: Option<PullSettings>,
}

/// What a model can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Capability {
    Completion,
    Tools,
    Thinking,
    Vision,
    Embedding,
    Insert,
}

impl Capability {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Completion => "completion",
            Self::Tools => "tools",
            Self::Thinking => "thinking",
            Self::Vision => "vision",
            Self::Embedding => "embedding",
            Self::Insert => "insert",
        }
    }
}

/// What becomes of a load when the request that started it goes away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum OnCancel {
    /// It goes on.
    #[default]
    KeepLoad,
    /// It ends, and all who wait for it get an error.
    StopLoad,
}

/// How pulling a model goes.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "WrittenPull")]
pub(crate) struct PullSettings {
    /// Lines of progress.
    pub(crate) steps: u32,
    /// Before each.
    pub(crate) step: Duration,
    /// The error that ends it instead of success.
    pub(crate) error: Option<String>,
}

impl Default for PullSettings {
    fn default() -> Self {
        Self { steps: 4, step: Duration::ZERO, error: None }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPull {
    steps: Option<NonZeroU32>,
    #[serde(default)]
    step_ms: u64,
    error: Option<String>,
}

const STEPS_MAX: u32 = 10_000;

impl TryFrom<WrittenPull> for PullSettings {
    type Error = String;

    fn try_from(written: WrittenPull) -> Result<Self, String> {
        let steps = written.steps.map_or(Self::default().steps, NonZeroU32::get);
        if steps > STEPS_MAX {
            return Err(format!("steps = {steps} is more than {STEPS_MAX}"));
        }
        Ok(Self { steps, step: wait("step_ms", written.step_ms)?, error: written.error })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    family: Option<String>,
    parameter_size: Option<String>,
    quantization: Option<String>,
    size_bytes: Option<u64>,
    context_length: Option<NonZeroU32>,
    embedding_dimensions: Option<NonZeroU32>,
    #[serde(default)]
    synonyms: Vec<Vec<String>>,
    capabilities: Option<Vec<Capability>>,
    remote_host: Option<String>,
    remote_model: Option<String>,
    #[serde(default)]
    load_ms: u64,
    #[serde(default)]
    loaded: bool,
    keep_alive_ms: Option<u64>,
    #[serde(default)]
    on_cancel: OnCancel,
    pull: Option<PullSettings>,
}

/// The most dimensions of a vector.
pub(crate) const DIMENSIONS_MAX: u32 = 8192;

impl TryFrom<Written> for ModelSettings {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let defaults = Self::named(&written.name);
        if written.name.trim().is_empty() {
            return Err("a model has a name: name = \"qwen3:4b\"".to_owned());
        }
        let dimensions = written.embedding_dimensions.unwrap_or(defaults.embedding_dimensions);
        if dimensions.get() > DIMENSIONS_MAX {
            return Err(format!(
                "embedding_dimensions = {dimensions} is more than {DIMENSIONS_MAX}"
            ));
        }
        let keep_alive = match written.keep_alive_ms {
            Some(milliseconds) => wait("keep_alive_ms", milliseconds)?,
            None => defaults.keep_alive,
        };
        Ok(Self {
            family: written.family.unwrap_or(defaults.family),
            parameter_size: written.parameter_size.unwrap_or(defaults.parameter_size),
            quantization: written.quantization.unwrap_or(defaults.quantization),
            size_bytes: written.size_bytes.unwrap_or(defaults.size_bytes),
            context_length: written.context_length.unwrap_or(defaults.context_length),
            embedding_dimensions: dimensions,
            synonyms: Synonyms::new(&written.synonyms),
            capabilities: written.capabilities.unwrap_or(defaults.capabilities),
            remote_host: written.remote_host,
            remote_model: written.remote_model,
            load: wait("load_ms", written.load_ms)?,
            loaded: written.loaded,
            keep_alive,
            on_cancel: written.on_cancel,
            pull: written.pull,
            name: written.name,
        })
    }
}

impl ModelSettings {
    /// What a model is of which only the name is said.
    pub(crate) fn named(name: &str) -> Self {
        use Capability::{Completion, Embedding, Thinking, Tools, Vision};
        const CONTEXT_LENGTH: NonZeroU32 = NonZeroU32::new(32_768).expect("it is not zero");
        const DIMENSIONS: NonZeroU32 = NonZeroU32::new(256).expect("it is not zero");
        Self {
            name: name.to_owned(),
            family: "scripted".to_owned(),
            parameter_size: "0B".to_owned(),
            quantization: "none".to_owned(),
            size_bytes: 1024,
            context_length: CONTEXT_LENGTH,
            embedding_dimensions: DIMENSIONS,
            synonyms: Synonyms::default(),
            capabilities: vec![Completion, Tools, Thinking, Vision, Embedding],
            remote_host: None,
            remote_model: None,
            load: Duration::ZERO,
            loaded: false,
            keep_alive: Duration::from_secs(5 * 60),
            on_cancel: OnCancel::default(),
            pull: None,
        }
    }

    pub(crate) fn can(&self, capability: Capability) -> bool {
        self.capabilities.contains(&capability)
    }
}
