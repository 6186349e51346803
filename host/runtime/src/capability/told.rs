//! What a guest is told when the door does not do what it asked: the error of the contract.
//!
//! The invariant: **an interruption is never told.** It ends the guest where it stands.

use foreshore_domain::call::Interruption;
use foreshore_domain::effect::{AgentError, BudgetKind, EffectError, MemoryRefusal};
use wasmtime::Result;

use crate::bindings::types;
use crate::state::CallScope;

/// What a guest is given, or the error that it is told.
pub(crate) type Answer<T> = std::result::Result<T, types::Error>;

impl CallScope {
    /// What the door answered, in the contract's words.
    ///
    /// # Errors
    /// The guest is stopped here: the turn was interrupted, or what it did is not on record, so
    /// that it cannot go on.
    pub(crate) fn answer<T>(
        &self,
        performed: std::result::Result<T, EffectError>,
    ) -> Result<Answer<T>> {
        let error = match performed {
            Ok(given) => return Ok(Ok(given)),
            Err(error) => error,
        };
        Ok(Err(match error {
            EffectError::Interrupted(interruption) => return Err(interruption.into()),
            EffectError::NotRecorded(message) if self.context.turn.is_some() => {
                return Err(Interruption::NotRecorded { message }.into());
            }
            EffectError::Denied(denial) => types::Error::Denied(types::Denial {
                code: denial.code.as_str().to_owned(),
                subject: denial.subject,
            }),
            EffectError::Memory(refusal) => memory_refusal(refusal),
            EffectError::Agent(error) => agent_error(error),
            error => types::Error::Failed(error.to_string()),
        }))
    }
}

/// The error of an agent's effect, in the contract's words.
pub(crate) fn agent_error(error: AgentError) -> types::Error {
    match error {
        AgentError::Denied { code, subject, .. } => {
            types::Error::Denied(types::Denial { code, subject })
        }
        AgentError::Refused(message) => types::Error::Refused(message),
        AgentError::Invalid { pointer, message } => invalid(pointer, message),
        AgentError::NotFound(name) => types::Error::NotFound(name),
        AgentError::Exhausted(budget) => types::Error::Exhausted(match budget {
            BudgetKind::Fuel => types::Budget::Fuel,
            BudgetKind::Time => types::Budget::Time,
            BudgetKind::Memory => types::Budget::Memory,
            BudgetKind::Bytes => types::Budget::Bytes,
            BudgetKind::Tokens => types::Budget::Tokens,
            BudgetKind::Calls => types::Budget::Calls,
            BudgetKind::Cost => types::Budget::Cost,
        }),
        AgentError::Unavailable(after_ms) => types::Error::Unavailable(after_ms),
        AgentError::UnknownOutcome(what) => types::Error::UnknownOutcome(what),
        AgentError::Failed(message) => types::Error::Failed(message),
    }
}

fn memory_refusal(refusal: MemoryRefusal) -> types::Error {
    match refusal {
        conflict @ MemoryRefusal::Conflict { .. } => {
            invalid("/expected-version", conflict.to_string())
        }
        MemoryRefusal::Invalid(message) => invalid("", message),
        MemoryRefusal::Exhausted(_) => types::Error::Exhausted(types::Budget::Bytes),
        MemoryRefusal::Unavailable => types::Error::Unavailable(None),
        refusal => types::Error::Failed(refusal.to_string()),
    }
}

/// What was asked is at fault.
pub(crate) fn invalid(pointer: impl Into<String>, message: impl Into<String>) -> types::Error {
    let (pointer, message) = (pointer.into(), message.into());
    types::Error::Invalid(types::InvalidInput { pointer, message })
}
