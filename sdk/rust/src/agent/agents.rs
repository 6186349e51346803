//! Have other agents do a part of the work, in conversations of their own and with no more than
//! this agent may.

use serde::Serialize;

use super::ask;
use super::bindings::foreshore::agents::agents as wit;
use crate::Error;
use crate::agent::Reply;
use crate::bindings::foreshore::types::types::Content;

pub use wit::{Attenuation, Available};

/// The agents that this one may delegate to.
pub fn list() -> Vec<Available> {
    ask(|host| host.agents())
}

/// Has another agent take a turn, and waits for its reply.
///
/// # Errors
/// [`Error::Denied`] where it is not granted or too deep, [`Error::Exhausted`] for a budget, and
/// whatever the other agent's turn failed with.
pub fn delegate<T: Serialize + ?Sized>(
    agent: &str,
    message: impl Into<String>,
    parameters: Option<&T>,
    limits: &Attenuation,
) -> Result<Reply, Error> {
    let parameters = parameters.map(serde_json::to_string).transpose()?;
    let message = [Content::text(message)];
    ask(|host| host.delegate(agent, &message, parameters.as_deref(), limits))
}

/// All that this agent may do itself.
#[allow(clippy::derivable_impls, reason = "the type is generated")]
impl Default for Attenuation {
    fn default() -> Self {
        Self {
            tools: None,
            namespaces: None,
            max_tokens: None,
            max_tool_calls: None,
            deadline_ms: None,
        }
    }
}
