//! The variables of the turn's conversation. A new version and the effect that made it are one
//! commit, so there is never a doubt whether it was set.

use foreshore_domain::effect::{AgentError, AgentOutcome, VariableEntry};
use foreshore_domain::event::Stream;
use foreshore_domain::memory::VariableName;
use foreshore_store::Condition;
use serde_json::value::RawValue;

use super::invalid;
use crate::conversations::{ConversationFault, VariableRead};
use crate::turns::live::Live;
use crate::turns::step::Done;

impl Live {
    pub(super) fn variables(&self) -> Done {
        let listed = self.turns.conversations().variables(&self.conversation);
        let entries = listed.map(|all| {
            let entries = all.into_iter().map(|one| VariableEntry {
                name: one.name,
                version: one.version,
                json_type: one.json_type,
                size_bytes: one.size_bytes,
                first_line: one.first_line,
            });
            AgentOutcome::Variables(entries.collect())
        });
        Done::read(entries.map_err(told))
    }

    pub(super) fn variable(&self, name: &VariableName, version: Option<u64>) -> Done {
        let found = self.turns.conversations().variable(&self.conversation, name, version);
        Done::read(match found {
            Ok(Some(VariableRead { json, .. })) => match RawValue::from_string(json) {
                Ok(json) => Ok(AgentOutcome::Variable(json)),
                Err(error) => Err(AgentError::Failed(error.to_string())),
            },
            Ok(None) => Err(AgentError::NotFound(format!("variable {name}"))),
            Err(fault) => Err(told(fault)),
        })
    }

    pub(super) fn set_variable(&self, name: &VariableName, value: &RawValue) -> Done {
        let stream = Stream::Conversation(self.conversation.as_str().to_owned());
        let conversations = self.turns.conversations();
        let prepared = self.turns.head(&stream).and_then(|seq| {
            let set = conversations.prepare_set(&self.conversation, name, value.get())?;
            Ok((seq, set))
        });
        match prepared {
            Err(fault) => Done::read(Err(told(fault))),
            Ok((seq, (entry, version))) => {
                let condition = Condition::StreamAt { tenant: self.turns.tenant(), stream, seq };
                let outcome = Ok(AgentOutcome::VariableSet(version));
                Done { entry, conditions: vec![condition], ..Done::durable(outcome) }
            }
        }
    }
}

/// Why a conversation did not do what it was asked, in an agent's words.
pub(super) fn told(fault: ConversationFault) -> AgentError {
    let text = fault.to_string();
    match fault {
        ConversationFault::Invalid { .. } => invalid("", text),
        ConversationFault::NotFound { .. } => AgentError::NotFound(text),
        ConversationFault::Exhausted { .. } => {
            AgentError::Exhausted(foreshore_domain::effect::BudgetKind::Bytes)
        }
        ConversationFault::ReadOnly { .. } => AgentError::Unavailable(None),
        _ => {
            tracing::error!(error = %text, "a conversation failed an agent");
            AgentError::Failed("the store failed".to_owned())
        }
    }
}
