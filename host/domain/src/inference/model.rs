//! Models as their servers describe them.

use serde::{Deserialize, Serialize};

/// A model that can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// The name to ask for.
    pub name: String,
    /// Where it runs; several where several backends have it.
    pub backends: Vec<String>,
    /// Most tokens of request and answer together, if known.
    pub context_length: Option<u32>,
    /// It can ask for tools.
    pub tools: bool,
    /// It can look at pictures.
    pub vision: bool,
    /// It can think before it answers.
    pub thinking: bool,
    /// It gives vectors.
    pub embedding: bool,
    /// What its server says of it.
    pub details: ModelDetails,
}

/// What a server says of a model. Empty or `None` where it does not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelDetails {
    /// Of the weights; the form is the server's.
    pub digest: String,
    /// On disk.
    pub size_bytes: Option<u64>,
    /// RFC 3339.
    pub modified_at: Option<String>,
    /// `llama`, `qwen2`.
    pub family: String,
    /// `8.0B`.
    pub parameter_size: String,
    /// `Q4_K_M`.
    pub quantization: String,
    /// It runs elsewhere, on this host: it leaves the edge.
    pub remote_host: Option<String>,
}

/// A model that a server has in memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunningModel {
    /// Its name.
    pub name: String,
    /// Where.
    pub backend: String,
    /// In memory.
    pub size_bytes: u64,
    /// Of that, in the memory of a GPU.
    pub size_vram_bytes: u64,
    /// RFC 3339: when it is unloaded if nobody asks it.
    pub expires_at: Option<String>,
}
