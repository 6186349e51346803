//! The handlers, one file per noun. A handler reads what it needs from the request, asks
//! `control`, and writes the answer; it decides nothing.

pub(crate) mod agents;
pub(crate) mod budgets;
pub(crate) mod calls;
pub(crate) mod components;
pub(crate) mod concurrency;
pub(crate) mod conversations;
pub(crate) mod events;
pub(crate) mod files;
pub(crate) mod graph;
pub(crate) mod health;
pub(crate) mod identity;
pub(crate) mod journal;
pub(crate) mod limits;
pub(crate) mod memory;
pub(crate) mod models;
pub(crate) mod ollama;
pub(crate) mod openai;
pub(crate) mod replay;
pub(crate) mod secrets;
pub(crate) mod store;
pub(crate) mod tools;
pub(crate) mod turns;
