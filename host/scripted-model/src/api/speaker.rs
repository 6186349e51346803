//! Chunks and ends of replies as each face writes them.

use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;
use tokio::time::{Duration, Instant};

use super::errors::openai_shape;
use super::{ollama, openai};
use crate::prompt::{self, Prompt};
use crate::reply::{Chunk, Reply};

/// Through which door a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Face {
    Chat,
    Generate,
    OpenAi,
}

impl Face {
    pub(crate) fn of(path: &str) -> Self {
        match path {
            "/v1/chat/completions" => Self::OpenAi,
            "/api/generate" => Self::Generate,
            _ => Self::Chat,
        }
    }

    pub(crate) fn prompt(self, body: &Value) -> Result<Prompt, String> {
        if body.is_null() {
            return Err("missing request body".to_owned());
        }
        match self {
            Self::Chat => prompt::ollama::chat(body),
            Self::Generate => prompt::ollama::generate(body),
            Self::OpenAi => prompt::openai::chat(body),
        }
    }
}

/// When what happened.
pub(crate) struct Times {
    /// The request was there.
    pub(crate) began: Instant,
    /// How long the load took.
    pub(crate) load: Duration,
    /// How long the prompt took to be read.
    pub(crate) prompt: Duration,
    /// It was the request's turn.
    pub(crate) spoke: Instant,
}

/// One voice: what all lines of a reply share.
pub(crate) struct Speaker {
    pub(crate) face: Face,
    pub(crate) model: String,
    pub(crate) number: u64,
    /// Seconds since 1970; chunks of one reply share it.
    pub(crate) created: u64,
    pub(crate) include_usage: bool,
}

impl Speaker {
    pub(crate) fn new(face: Face, prompt: &Prompt, number: u64) -> Self {
        Self {
            face,
            model: prompt.model.clone(),
            number,
            created: crate::clock::since_1970().as_secs(),
            include_usage: prompt.include_usage,
        }
    }

    pub(crate) fn content_type(&self) -> &'static str {
        match self.face {
            Face::OpenAi => "text/event-stream",
            Face::Chat | Face::Generate => "application/x-ndjson",
        }
    }

    /// The lines of one chunk.
    pub(crate) fn chunk(&self, chunk: &Chunk, first: bool, padding: usize) -> Vec<Bytes> {
        let documents = match self.face {
            Face::OpenAi => openai::chunk(self, chunk, first),
            Face::Chat | Face::Generate => ollama::chunk(self, chunk),
        };
        let mut documents = documents.into_iter();
        let padded = documents.next().map(|mut document| {
            if padding > 0 {
                document["padding"] = Value::String("x".repeat(padding));
            }
            document
        });
        padded.into_iter().chain(documents).map(|document| self.line(&document)).collect()
    }

    /// The lines that end a reply.
    pub(crate) fn closing(&self, reply: &Reply, times: &Times) -> Vec<Bytes> {
        match self.face {
            Face::OpenAi => {
                let documents = openai::closing(self, reply);
                let mut lines: Vec<_> = documents.iter().map(|it| self.line(it)).collect();
                lines.push(Bytes::from_static(b"data: [DONE]\n\n"));
                lines
            }
            Face::Chat | Face::Generate => vec![self.line(&ollama::closing(self, reply, times))],
        }
    }

    /// All of a reply as one document.
    pub(crate) fn whole(&self, reply: &Reply, times: &Times) -> Value {
        match self.face {
            Face::OpenAi => openai::whole(self, reply),
            Face::Chat | Face::Generate => ollama::whole(self, reply, times),
        }
    }

    /// An error in the middle.
    pub(crate) fn error(&self, message: &str) -> Bytes {
        match self.face {
            Face::OpenAi => self.line(&openai_shape(StatusCode::INTERNAL_SERVER_ERROR, message)),
            Face::Chat | Face::Generate => self.line(&serde_json::json!({ "error": message })),
        }
    }

    pub(crate) fn garbage(&self, garbage: &str) -> Bytes {
        match self.face {
            Face::OpenAi => Bytes::from(format!("data: {garbage}\n")),
            Face::Chat | Face::Generate => Bytes::from(garbage.to_owned()),
        }
    }

    fn line(&self, document: &Value) -> Bytes {
        match self.face {
            Face::OpenAi => Bytes::from(format!("data: {document}\n\n")),
            Face::Chat | Face::Generate => Bytes::from(format!("{document}\n")),
        }
    }
}
