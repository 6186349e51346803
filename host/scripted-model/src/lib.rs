//! A model server that answers by rules from a file.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod api;
mod body;
mod clock;
mod document;
mod embedding;
mod playing;
mod prompt;
mod record;
mod reply;
mod script;
mod server;
mod shelf;

pub use embedding::embed;
pub use record::{Outcome, Recorded};
pub use script::{Format, Script, ScriptError};
pub use server::ScriptedServer;
