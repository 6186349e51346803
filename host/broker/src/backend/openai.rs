//! Servers that speak OpenAI's chat completions: llama.cpp, vLLM, LM Studio, and OpenAI's own.
//!
//! Deliberately absent: the other APIs of that family, and whether a model is in memory, which
//! none of them tells.

mod chat;
mod request;
mod wire;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::{Sizes, Vectors, WireChat, WireEmbed, parsed};
use crate::backend::said::checked;
use crate::config::BackendConfig;
use crate::failure::Failure;
use crate::http_client::{Answer, Ask, HttpClient};
pub(crate) use chat::ChatStream;

/// A server.
pub(crate) struct OpenAi {
    client: HttpClient,
    connect: Duration,
    sizes: Sizes,
    /// It refuses `max_tokens`, as OpenAI does for newer models; most others know nothing else.
    wants_max_completion_tokens: AtomicBool,
}

impl OpenAi {
    pub(super) fn new(config: &BackendConfig, connect: Duration, sizes: Sizes) -> Self {
        let client = HttpClient::new(config);
        Self { client, connect, sizes, wants_max_completion_tokens: AtomicBool::new(false) }
    }

    async fn ask(&self, ask: Ask) -> Result<Answer, Failure> {
        checked(self.client.send(ask, self.connect).await?).await
    }

    /// The names of its models.
    pub(crate) async fn models(&self) -> Result<Vec<String>, Failure> {
        let answer = self.ask(Ask::get("/models")).await?;
        let list: wire::Models = parsed(&answer.body.whole(self.sizes.answer_max_bytes).await?)?;
        Ok(list.data.into_iter().map(|model| model.id).collect())
    }

    /// Asks, and waits for the head of the answer.
    pub(crate) async fn chat(&self, chat: &WireChat<'_>) -> Result<ChatStream, Failure> {
        let mut body = request::body(chat)?;
        if let Some(tokens) = chat.request.sampling.max_tokens {
            body[self.max_tokens_field()] = json!(tokens);
        }
        let answer = match self.ask(Ask::post("/chat/completions", &body)).await {
            Err(Failure::Rejected { message }) if self.is_about_max_tokens(&body, &message) => {
                self.wants_max_completion_tokens.store(true, Ordering::Relaxed);
                body["max_completion_tokens"] = body["max_tokens"].take();
                if let Some(fields) = body.as_object_mut() {
                    fields.remove("max_tokens");
                }
                self.ask(Ask::post("/chat/completions", &body)).await?
            }
            answer => answer?,
        };
        Ok(ChatStream::new(answer.body.lines(self.sizes.line_max_bytes)))
    }

    fn max_tokens_field(&self) -> &'static str {
        match self.wants_max_completion_tokens.load(Ordering::Relaxed) {
            true => "max_completion_tokens",
            false => "max_tokens",
        }
    }

    fn is_about_max_tokens(&self, body: &Value, message: &str) -> bool {
        body.get("max_tokens").is_some() && message.contains("max_completion_tokens")
    }

    /// Vectors for texts.
    pub(crate) async fn embed(&self, embed: &WireEmbed<'_>) -> Result<Vectors, Failure> {
        let mut body = json!({ "model": embed.model, "input": embed.request.texts });
        if let Some(dimensions) = embed.request.dimensions {
            body["dimensions"] = json!(dimensions);
        }
        let answer = self.ask(Ask::post("/embeddings", &body)).await?;
        let embedded: wire::Embedded =
            parsed(&answer.body.whole(self.sizes.answer_max_bytes).await?)?;
        let mut data = embedded.data;
        data.sort_by_key(|vector| vector.index);
        Ok(Vectors {
            vectors: data.into_iter().map(|vector| vector.embedding).collect(),
            input_tokens: embedded.usage.unwrap_or_default().prompt_tokens,
            duration_ms: None,
        })
    }
}
