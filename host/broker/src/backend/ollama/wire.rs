//! What Ollama writes, as it writes it (`api/types.go`). Fields that are not needed are not
//! read, and all that may be absent may be absent.

use std::collections::HashMap;

use foreshore_domain::inference::{ModelDetails, RunningModel};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::Listed;
use crate::backend::Facts;

#[derive(Deserialize)]
pub(super) struct Version {
    pub(super) version: String,
}

#[derive(Deserialize)]
pub(super) struct Tags {
    #[serde(default, deserialize_with = "null_as_default")]
    pub(super) models: Vec<Tag>,
}

#[derive(Deserialize)]
pub(super) struct Tag {
    name: String,
    #[serde(default)]
    digest: String,
    size: Option<u64>,
    modified_at: Option<String>,
    remote_host: Option<String>,
    capabilities: Option<Vec<String>>,
    context_length: Option<u32>,
    #[serde(default, deserialize_with = "null_as_default")]
    details: Details,
}

#[derive(Default, Deserialize)]
struct Details {
    #[serde(default)]
    family: String,
    #[serde(default)]
    parameter_size: String,
    #[serde(default)]
    quantization_level: String,
}

impl Tag {
    pub(super) fn listed(self) -> Listed {
        let facts = Facts {
            details: ModelDetails {
                digest: self.digest,
                size_bytes: self.size,
                modified_at: self.modified_at,
                family: self.details.family,
                parameter_size: self.details.parameter_size,
                quantization: self.details.quantization_level,
                remote_host: self.remote_host.filter(|host| !host.is_empty()),
            },
            context_length: self.context_length,
            capabilities: self.capabilities,
        };
        Listed { name: self.name, facts }
    }
}

#[derive(Deserialize)]
pub(super) struct Running {
    #[serde(default, deserialize_with = "null_as_default")]
    pub(super) models: Vec<RunningOne>,
}

#[derive(Deserialize)]
pub(super) struct RunningOne {
    name: String,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    size_vram: u64,
    expires_at: Option<String>,
}

impl RunningOne {
    pub(super) fn named(self, backend: &str) -> RunningModel {
        RunningModel {
            name: self.name,
            backend: backend.to_owned(),
            size_bytes: self.size,
            size_vram_bytes: self.size_vram,
            expires_at: self.expires_at,
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Shown {
    #[serde(default, deserialize_with = "null_as_default")]
    details: Details,
    #[serde(default, deserialize_with = "null_as_default")]
    model_info: HashMap<String, Value>,
    capabilities: Option<Vec<String>>,
    modified_at: Option<String>,
    remote_host: Option<String>,
}

impl Shown {
    pub(super) fn facts(self) -> Facts {
        // The key is `ARCHITECTURE.context_length`.
        let context = self.model_info.iter().find(|(key, _)| key.ends_with(".context_length"));
        let context = context.and_then(|(_, value)| value.as_u64());
        Facts {
            details: ModelDetails {
                modified_at: self.modified_at,
                family: self.details.family,
                parameter_size: self.details.parameter_size,
                quantization: self.details.quantization_level,
                remote_host: self.remote_host.filter(|host| !host.is_empty()),
                ..ModelDetails::default()
            },
            context_length: context.and_then(|tokens| u32::try_from(tokens).ok()),
            capabilities: self.capabilities,
        }
    }
}

/// A line of a chat's answer, or all of one that is not streamed.
#[derive(Deserialize)]
pub(super) struct ChatLine {
    pub(super) error: Option<String>,
    pub(super) message: Option<Said>,
    #[serde(default)]
    pub(super) done: bool,
    pub(super) done_reason: Option<String>,
    #[serde(default)]
    pub(super) prompt_eval_count: u64,
    #[serde(default)]
    pub(super) eval_count: u64,
    pub(super) total_duration: Option<u64>,
    pub(super) remote_host: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Said {
    #[serde(default)]
    pub(super) content: String,
    #[serde(default, deserialize_with = "null_as_default")]
    pub(super) thinking: String,
    #[serde(default, deserialize_with = "null_as_default")]
    pub(super) tool_calls: Vec<Called>,
}

#[derive(Deserialize)]
pub(super) struct Called {
    #[serde(default)]
    pub(super) id: String,
    pub(super) function: Function,
}

#[derive(Deserialize)]
pub(super) struct Function {
    pub(super) name: String,
    #[serde(default)]
    pub(super) arguments: Value,
}

#[derive(Deserialize)]
pub(super) struct Embedded {
    #[serde(default, deserialize_with = "null_as_default")]
    pub(super) embeddings: Vec<Vec<f32>>,
    #[serde(default)]
    pub(super) prompt_eval_count: u64,
    pub(super) total_duration: Option<u64>,
}

/// A line of the progress of long work.
#[derive(Deserialize)]
pub(super) struct ProgressLine {
    pub(super) error: Option<String>,
    #[serde(default)]
    pub(super) status: String,
    pub(super) digest: Option<String>,
    pub(super) total: Option<u64>,
    pub(super) completed: Option<u64>,
}

/// Go writes empty lists and structures as `null`.
fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Its durations are in nanoseconds.
pub(super) fn ms_of_ns(ns: u64) -> u64 {
    ns / 1_000_000
}
