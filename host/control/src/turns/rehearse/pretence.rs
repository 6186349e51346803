//! What a rehearsal makes of effects that are not on record.

use foreshore_domain::effect::{AgentEffect, AgentError, AgentOutcome, Remembered, ToolRequest};

use super::super::step::Outcome;

pub(super) fn is_inference(effect: &AgentEffect) -> bool {
    matches!(effect, AgentEffect::Infer { .. } | AgentEffect::InferAll(_) | AgentEffect::Embed(_))
}

/// Whether two calls are of one tool with equal arguments, however they are written.
pub(super) fn same_call(one: &ToolRequest, other: &ToolRequest) -> bool {
    let value =
        |request: &ToolRequest| serde_json::from_str::<serde_json::Value>(&request.arguments).ok();
    one.name == other.name
        && (one.arguments == other.arguments
            || value(one).is_some_and(|arguments| Some(arguments) == value(other)))
}

/// What an agent is told of an effect that is neither on record nor done.
pub(super) fn as_if(effect: &AgentEffect) -> Outcome {
    let not_here = |what: &str| Err(AgentError::NotFound(format!("{what} on record")));
    match effect {
        AgentEffect::SetVariable { .. } => Ok(AgentOutcome::VariableSet(1)),
        AgentEffect::Remember(_) => Ok(AgentOutcome::Remembered(Remembered::Version(1))),
        AgentEffect::SetSummary { .. } | AgentEffect::Emit { .. } | AgentEffect::WakeAt { .. } => {
            Ok(AgentOutcome::Done)
        }
        AgentEffect::Ask { .. } | AgentEffect::Approve { .. } => {
            Err(AgentError::Refused("nobody is asked in a replay".to_owned()))
        }
        AgentEffect::Delegate(delegation) => not_here(&format!("turn of {}", delegation.agent)),
        AgentEffect::SecretExists { .. } => Ok(AgentOutcome::Secret(false)),
        AgentEffect::Variables => Ok(AgentOutcome::Variables(Vec::new())),
        AgentEffect::Summary => Ok(AgentOutcome::Summary(None)),
        AgentEffect::RecentMessages { .. } => Ok(AgentOutcome::Messages(Vec::new())),
        AgentEffect::Tools => Ok(AgentOutcome::Tools(Vec::new())),
        AgentEffect::Agents => Ok(AgentOutcome::Agents(Vec::new())),
        AgentEffect::Models => Ok(AgentOutcome::Models(Vec::new())),
        other => not_here(other.kind()),
    }
}
