//! `assistant`: answers with the help of tools.
//!
//! It asks a model, runs the tools that the model wants, shows it what they gave, and does so until
//! there is an answer. The invariants:
//!
//! - What a model is asked fits its context, however long the conversation or the turn: old
//!   messages are in a summary, big values in variables, and both are named in the prompt.
//! - What tools, memory and variables hold reaches the model as data with a label, and never among
//!   its instructions.
//! - A call that was denied, refused or left in doubt is not made again in the same turn.
//! - Every way out is a reply that says how far it came, or an error that is not this agent's.
//!
//! Deliberately absent: anything that decides what may be done. The host does.

mod clock;
mod context;
mod message;
mod model;
mod names;
mod parameters;
mod protocol;
mod recollections;
mod repetition;
mod results;
mod steps;
mod summary;
mod text;
mod toolbox;
mod turn;

use foreshore_sdk::agent::{Reply, Turn};
use foreshore_sdk::{Error, agent};

use crate::parameters::Parameters;

/// Answer with the help of tools. It calls them in parallel where it can, tries another way where
/// one fails, keeps big results in variables of the conversation, recalls what memory holds, and
/// knows the whole conversation by its last messages and a summary. Works with models that call
/// tools and with models that do not.
#[agent(title = "Assistant")]
fn assistant(turn: Turn, parameters: Parameters) -> Result<Reply, Error> {
    turn::take(&turn, parameters)
}

foreshore_sdk::export_agent!(assistant);

#[cfg(test)]
mod tests;
