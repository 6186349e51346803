//! Ollama's wire format, so that `OLLAMA_HOST` can point here (Ollama API reference, `api/types.go`).
//!
//! Pure translation, as in [`crate::openai`]. A caller's runner options (`num_ctx`, `num_gpu`,
//! and so on) are not passed on: each other value would load the model anew for everybody, so
//! they are the operator's to set. Deliberately absent: HTTP, agents and models, which
//! `api/ollama.rs` brings together.

mod answer;
mod list;
mod request;

pub(crate) use answer::{Lines, Timings, embedded, failure};
pub(crate) use list::{Listed, running, show, tags};
pub(crate) use request::{Asked, EmbedAsked, chat, embed, generate, name};

/// A request that cannot be honoured: 400 with this text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unusable(pub(crate) String);
