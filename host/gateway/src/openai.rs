//! OpenAI's wire format: chat completions, embeddings and the list of models, as its own clients
//! speak it (OpenAI API reference, version 1).
//!
//! Pure translation: what a request asks for in the domain's words, and the domain's answers in
//! OpenAI's. Unknown fields are ignored, as clients are newer than any list; a known field whose
//! value cannot be honoured is refused by name, never dropped. Deliberately absent: HTTP, agents
//! and models, which `api/openai.rs` brings together.

mod answer;
mod embeddings;
mod error;
mod message;
mod models;
mod request;

pub(crate) use answer::{Chunks, Head, completion};
pub(crate) use embeddings::{EmbeddingsAsked, embeddings};
pub(crate) use error::OpenAiError;
pub(crate) use models::{ListedModel, model, models};
pub(crate) use request::chat;
