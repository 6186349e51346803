//! Ollama, by its own API (`docs/api.md` of `ollama/ollama`).
//!
//! Its `/v1` is not used: it ignores limits and choices of tools, and loses errors in
//! mid-stream. Deliberately absent: limits in time (a cold model sends nothing for minutes, not
//! even a head; the lane knows which limit holds when) and options from callers.

mod chat;
mod manage;
mod wire;

use std::time::Duration;

use foreshore_domain::inference::RunningModel;
use serde_json::{Value, json};

use super::{Facts, Sizes, Vectors, WireEmbed, parsed};
use crate::backend::said::checked;
use crate::config::BackendConfig;
use crate::failure::Failure;
use crate::http_client::{Answer, Ask, HttpClient};
use crate::lane::Runner;
pub(crate) use chat::ChatStream;
pub use manage::Progress;

/// A server.
pub(crate) struct Ollama {
    client: HttpClient,
    backend: String,
    connect: Duration,
    sizes: Sizes,
}

/// A model of its list.
pub(crate) struct Listed {
    pub(crate) name: String,
    pub(crate) facts: Facts,
}

impl Ollama {
    pub(super) fn new(config: &BackendConfig, connect: Duration, sizes: Sizes) -> Self {
        let client = HttpClient::new(config);
        Self { client, backend: config.name.clone(), connect, sizes }
    }

    async fn ask(&self, ask: Ask) -> Result<Answer, Failure> {
        checked(self.client.send(ask, self.connect).await?).await
    }

    async fn ask_for<T: serde::de::DeserializeOwned>(&self, ask: Ask) -> Result<T, Failure> {
        let answer = self.ask(ask).await?;
        parsed(&answer.body.whole(self.sizes.answer_max_bytes).await?)
    }

    /// Its version.
    pub(crate) async fn version(&self) -> Result<String, Failure> {
        let version: wire::Version = self.ask_for(Ask::get("/api/version")).await?;
        Ok(version.version)
    }

    /// The models that it has.
    pub(crate) async fn models(&self) -> Result<Vec<Listed>, Failure> {
        let tags: wire::Tags = self.ask_for(Ask::get("/api/tags")).await?;
        Ok(tags.models.into_iter().map(wire::Tag::listed).collect())
    }

    /// The models that it has in memory.
    pub(crate) async fn running(&self) -> Result<Vec<RunningModel>, Failure> {
        let running: wire::Running = self.ask_for(Ask::get("/api/ps")).await?;
        Ok(running.models.into_iter().map(|one| one.named(&self.backend)).collect())
    }

    /// What it says of a model.
    pub(crate) async fn show(&self, model: &str) -> Result<Facts, Failure> {
        let ask = Ask::post("/api/show", &json!({ "model": model }));
        let shown: wire::Shown = self.ask_for(ask).await?;
        Ok(shown.facts())
    }

    /// Gets a model into memory.
    pub(crate) async fn load(&self, model: &str, runner: &Runner) -> Result<(), Failure> {
        let mut body = json!({ "model": model, "messages": [], "stream": false });
        with_runner(&mut body, runner, Value::Object(serde_json::Map::new()));
        let loaded: wire::ChatLine = self.ask_for(Ask::post("/api/chat", &body)).await?;
        match loaded.error {
            Some(message) => Err(Failure::Answer { message }),
            None => Ok(()),
        }
    }

    /// Vectors for texts.
    pub(crate) async fn embed(&self, embed: &WireEmbed<'_>) -> Result<Vectors, Failure> {
        let request = embed.request;
        let mut body = json!({ "model": embed.model, "input": request.texts, "truncate": false });
        if let Some(dimensions) = request.dimensions {
            body["dimensions"] = json!(dimensions);
        }
        with_runner(&mut body, embed.runner, Value::Object(serde_json::Map::new()));
        let embedded: wire::Embedded = self.ask_for(Ask::post("/api/embed", &body)).await?;
        Ok(Vectors {
            vectors: embedded.embeddings,
            input_tokens: embedded.prompt_eval_count,
            duration_ms: embedded.total_duration.map(wire::ms_of_ns),
        })
    }
}

/// Adds what the operator pinned, to what the caller may choose.
fn with_runner(body: &mut Value, runner: &Runner, mut options: Value) {
    let pinned = &runner.options;
    let numbers = [
        ("num_ctx", runner.num_ctx.map(|value| json!(value))),
        ("num_batch", pinned.num_batch.map(|value| json!(value))),
        ("num_gpu", pinned.num_gpu.map(|value| json!(value))),
        ("main_gpu", pinned.main_gpu.map(|value| json!(value))),
        ("num_thread", pinned.num_thread.map(|value| json!(value))),
        ("use_mmap", pinned.use_mmap.map(|value| json!(value))),
    ];
    for (name, value) in numbers {
        if let Some(value) = value {
            options[name] = value;
        }
    }
    body["options"] = options;
    if let Some(keep_alive) = &pinned.keep_alive {
        body["keep_alive"] = match keep_alive.parse::<i64>() {
            Ok(seconds) => json!(seconds),
            Err(_) => json!(keep_alive),
        };
    }
}

/// `llama3` and `llama3:latest` are one model.
pub(crate) fn is_same_model(one: &str, other: &str) -> bool {
    fn tagged(name: &str) -> (&str, &str) {
        let last = name.rfind('/').map_or(0, |at| at + 1);
        match name[last..].rfind(':') {
            Some(at) => (&name[..last + at], &name[last + at + 1..]),
            None => (name, "latest"),
        }
    }
    let ((name, tag), (other, other_tag)) = (tagged(one), tagged(other));
    name.eq_ignore_ascii_case(other) && tag.eq_ignore_ascii_case(other_tag)
}

/// A name by which Ollama runs a model elsewhere.
pub(crate) fn is_cloud_name(model: &str) -> bool {
    let model = model.to_ascii_lowercase();
    model.ends_with(":cloud") || model.ends_with("-cloud")
}

#[cfg(test)]
mod tests;
