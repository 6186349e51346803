//! A server of models: what all kinds of it can do, in one vocabulary.
//!
//! The kinds are a closed set: one enum, one `match` per question. Deliberately absent: whether
//! a server may be asked (breaker, queue), and what follows from its failing; that is the lane's
//! and the chain's.

mod json;
pub(crate) mod ollama;
pub(crate) mod openai;
mod said;

use std::time::Duration;

use bytes::Bytes;
use foreshore_domain::inference::{
    ChatRequest, EmbedRequest, FinishReason, ModelDetails, ToolCall, ToolSpec,
};

use crate::config::{BackendConfig, BackendKind, BrokerConfig, Timeouts};
use crate::failure::Failure;
use crate::lane::Runner;
use ollama::Ollama;
use openai::OpenAi;

/// A server.
pub(crate) struct Backend {
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) kind: BackendKind,
    pub(crate) concurrency: u32,
    pub(crate) timeouts: Timeouts,
    pub(crate) wire: Wire,
}

/// What it speaks.
pub(crate) enum Wire {
    Ollama(Ollama),
    OpenAi(OpenAi),
}

/// What of a chat goes over the wire: the request as it was made, and what the broker decided.
pub(crate) struct WireChat<'a> {
    /// As the backend names it.
    pub(crate) model: &'a str,
    pub(crate) request: &'a ChatRequest,
    /// Those that may be asked for.
    pub(crate) tools: &'a [ToolSpec],
    pub(crate) runner: &'a Runner,
    pub(crate) facts: &'a Facts,
}

/// What is asked for vectors.
pub(crate) struct WireEmbed<'a> {
    pub(crate) model: &'a str,
    pub(crate) request: &'a EmbedRequest,
    pub(crate) runner: &'a Runner,
}

/// What a server says of a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Facts {
    pub(crate) details: ModelDetails,
    pub(crate) context_length: Option<u32>,
    /// `None` where the server does not say what a model can do.
    pub(crate) capabilities: Option<Vec<String>>,
}

impl Facts {
    pub(crate) fn can(&self, capability: &str) -> bool {
        self.capabilities.as_ref().is_some_and(|all| all.iter().any(|one| one == capability))
    }

    /// It is known that it cannot.
    pub(crate) fn cannot(&self, capability: &str) -> bool {
        self.capabilities.is_some() && !self.can(capability)
    }
}

/// A piece of an answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Piece {
    Text(String),
    Thinking(String),
    ToolCall(ToolCall),
    /// The answer is whole.
    Done(Done),
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) finish: FinishReason,
    pub(crate) input_tokens: u64,
    pub(crate) output_tokens: u64,
    /// By the server's own account.
    pub(crate) duration_ms: Option<u64>,
}

/// An answer that is coming in.
pub(crate) enum ChatStream {
    Ollama(ollama::ChatStream),
    OpenAi(openai::ChatStream),
}

impl ChatStream {
    /// The next pieces, at least one; `None` if the answer ended without saying that it was
    /// whole.
    ///
    /// # Errors
    /// [`Failure`].
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<Piece>>, Failure> {
        match self {
            Self::Ollama(stream) => stream.next().await,
            Self::OpenAi(stream) => stream.next().await,
        }
    }

    /// Makes the connection ready for the next request.
    pub(crate) async fn finish(self) {
        match self {
            Self::Ollama(stream) => stream.finish().await,
            Self::OpenAi(stream) => stream.finish().await,
        }
    }
}

/// Vectors as they came.
pub(crate) struct Vectors {
    pub(crate) vectors: Vec<Vec<f32>>,
    pub(crate) input_tokens: u64,
    pub(crate) duration_ms: Option<u64>,
}

/// Limits on what a server may send.
#[derive(Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) line_max_bytes: usize,
    pub(crate) answer_max_bytes: usize,
}

/// How much longer than connecting the answer to a simple question may take.
const QUICK_FACTOR: u32 = 5;

impl Backend {
    pub(crate) fn new(config: &BackendConfig, all: &BrokerConfig) -> Self {
        let timeouts = config.timeouts.over(all.timeouts);
        let sizes =
            Sizes { line_max_bytes: all.line_max_bytes, answer_max_bytes: all.answer_max_bytes };
        let connect = Duration::from_millis(timeouts.connect_ms);
        Self {
            name: config.name.clone(),
            url: config.url.to_string(),
            kind: config.kind,
            concurrency: config.concurrency(),
            timeouts,
            wire: match config.kind {
                BackendKind::Ollama => Wire::Ollama(Ollama::new(config, connect, sizes)),
                BackendKind::OpenAi => Wire::OpenAi(OpenAi::new(config, connect, sizes)),
            },
        }
    }

    /// How long a question that costs nothing may take.
    pub(crate) fn quick(&self) -> Duration {
        Duration::from_millis(self.timeouts.connect_ms) * QUICK_FACTOR
    }

    /// Does it answer at all? Costs nothing.
    ///
    /// # Errors
    /// [`Failure`].
    pub(crate) async fn ping(&self) -> Result<(), Failure> {
        let asked = async {
            match &self.wire {
                Wire::Ollama(ollama) => ollama.version().await.map(drop),
                Wire::OpenAi(openai) => openai.models().await.map(drop),
            }
        };
        self.quickly(asked).await
    }

    /// A question that costs nothing, with its limit.
    ///
    /// # Errors
    /// [`Failure`].
    pub(crate) async fn quickly<T>(
        &self,
        asked: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let limit = self.quick();
        match tokio::time::timeout(limit, asked).await {
            Ok(answer) => answer,
            Err(_) => Err(Failure::Connection {
                message: format!("no answer to a simple question in {} ms", limit.as_millis()),
            }),
        }
    }

    /// What it says of a model.
    ///
    /// # Errors
    /// [`Failure::NotFound`] and the others.
    pub(crate) async fn facts(&self, model: &str) -> Result<Facts, Failure> {
        match &self.wire {
            Wire::Ollama(ollama) => self.quickly(ollama.show(model)).await,
            // There is no such question; whether it has the model, it says when it is asked.
            Wire::OpenAi(_) => Ok(Facts::default()),
        }
    }

    /// Is a model in memory? `None` where that cannot be found out.
    ///
    /// # Errors
    /// [`Failure`].
    pub(crate) async fn has_loaded(&self, model: &str) -> Result<Option<bool>, Failure> {
        match &self.wire {
            Wire::Ollama(ollama) => {
                let running = self.quickly(ollama.running()).await?;
                Ok(Some(running.iter().any(|one| ollama::is_same_model(&one.name, model))))
            }
            Wire::OpenAi(_) => Ok(None),
        }
    }

    /// Gets a model into memory, where that can be asked for. The time is bounded by the caller.
    ///
    /// # Errors
    /// [`Failure`].
    pub(crate) async fn load(&self, model: &str, runner: &Runner) -> Result<(), Failure> {
        match &self.wire {
            Wire::Ollama(ollama) => ollama.load(model, runner).await,
            Wire::OpenAi(_) => Ok(()),
        }
    }

    /// Asks, and waits for the head of the answer. The time is bounded by the caller.
    ///
    /// # Errors
    /// [`Failure`].
    pub(crate) async fn chat(&self, chat: &WireChat<'_>) -> Result<ChatStream, Failure> {
        match &self.wire {
            Wire::Ollama(ollama) => ollama.chat(chat).await.map(ChatStream::Ollama),
            Wire::OpenAi(openai) => openai.chat(chat).await.map(ChatStream::OpenAi),
        }
    }

    /// Asks for vectors. The time is bounded by the caller.
    ///
    /// # Errors
    /// [`Failure`].
    pub(crate) async fn embed(&self, embed: &WireEmbed<'_>) -> Result<Vectors, Failure> {
        match &self.wire {
            Wire::Ollama(ollama) => ollama.embed(embed).await,
            Wire::OpenAi(openai) => openai.embed(embed).await,
        }
    }
}

/// An id for a call whose server gave none.
pub(crate) fn new_call_id() -> String {
    format!("call_{}", uuid::Uuid::now_v7().simple())
}

/// Reads a line of JSON.
///
/// # Errors
/// [`Failure::Answer`]: what came is no such thing.
pub(crate) fn parsed<T: serde::de::DeserializeOwned>(line: &Bytes) -> Result<T, Failure> {
    serde_json::from_slice(line).map_err(|error| Failure::Answer {
        message: format!(
            "what it sent cannot be understood ({error}): {}",
            crate::failure::excerpt(&String::from_utf8_lossy(&line[..line.len().min(200)]))
        ),
    })
}
