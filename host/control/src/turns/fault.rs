//! Why a turn was not taken, not answered, not cancelled.

use std::time::Duration;

use foreshore_domain::conversation::Conversation;
use foreshore_domain::id::{QuestionId, TurnId};
use foreshore_domain::inference::BudgetExhausted;
use foreshore_store::AppendError;

use crate::conversations::ConversationFault;

/// A turn was not taken. Nothing of it is on record.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TurnFault {
    /// No agent has this name.
    #[error("no agent is called \"{agent}\"; configure it as [agents.{agent}]{}", also(.known))]
    UnknownAgent {
        /// What was asked for.
        agent: String,
        /// The names there are, a few.
        known: Vec<String>,
    },
    /// Whoever asks may not ask it.
    #[error("agent \"{agent}\" is not among those that the credential may ask")]
    NotPermitted {
        /// What was asked for.
        agent: String,
    },
    /// Its component cannot be run.
    #[error("agent \"{agent}\" cannot run: {message}")]
    AgentUnavailable {
        /// Which.
        agent: String,
        /// Why not.
        message: String,
    },
    /// What was sent is at fault.
    #[error("{message} (at \"{pointer}\")")]
    Invalid {
        /// JSON Pointer (RFC 6901) to the part at fault.
        pointer: String,
        /// What is wrong.
        message: String,
    },
    /// No conversation has this id.
    #[error("there is no conversation \"{conversation}\"")]
    UnknownConversation {
        /// What was asked for.
        conversation: Conversation,
    },
    /// The conversation is with another agent.
    #[error("conversation \"{conversation}\" is with agent \"{agent}\": begin another, or fork it")]
    OtherAgent {
        /// Which.
        conversation: Conversation,
        /// Whose it is.
        agent: String,
    },
    /// Too many turns wait.
    #[error(
        "{waiting} turns of the conversation wait already; try again in {} ms",
        .retry_after.as_millis()
    )]
    Overloaded {
        /// How many.
        waiting: usize,
        /// When to come back.
        retry_after: Duration,
    },
    /// A budget for models is used up.
    #[error(transparent)]
    BudgetExhausted(BudgetExhausted),
    /// The host is going down and takes nothing new.
    #[error("the host is shutting down")]
    ShuttingDown,
    /// The store takes nothing now.
    #[error("the store is read-only until the disk takes writes again: {message}")]
    ReadOnly {
        /// What the disk or the store said.
        message: String,
    },
    /// The store failed.
    #[error("{message}")]
    Store {
        /// How; for the operator's log.
        message: String,
    },
}

impl TurnFault {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownAgent { .. } => "unknown_agent",
            Self::NotPermitted { .. } => "agent_not_permitted",
            Self::AgentUnavailable { .. } => "agent_unavailable",
            Self::Invalid { .. } => "invalid_turn",
            Self::UnknownConversation { .. } => "unknown_conversation",
            Self::OtherAgent { .. } => "conversation_of_another_agent",
            Self::Overloaded { .. } => "overloaded",
            Self::BudgetExhausted(_) => "budget_exhausted",
            Self::ShuttingDown => "shutting_down",
            Self::ReadOnly { .. } => "store_read_only",
            Self::Store { .. } => "host_error",
        }
    }
}

impl From<AppendError> for TurnFault {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Failed { message } | AppendError::Write { message } => {
                Self::ReadOnly { message }
            }
            AppendError::Closed => Self::ShuttingDown,
            error => Self::Store { message: error.to_string() },
        }
    }
}

impl From<ConversationFault> for TurnFault {
    fn from(fault: ConversationFault) -> Self {
        match fault {
            ConversationFault::ReadOnly { message } => Self::ReadOnly { message },
            fault => Self::Store { message: fault.to_string() },
        }
    }
}

/// A question was not answered.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerFault {
    /// There is no such question.
    #[error("there is no question {question}")]
    NotFound {
        /// Which.
        question: QuestionId,
    },
    /// It is closed: answered, expired, or its turn is over.
    #[error("question {question} is closed: {how}")]
    Closed {
        /// Which.
        question: QuestionId,
        /// How.
        how: &'static str,
    },
    /// The answer does not fit the question.
    #[error("question {question}: {message}")]
    Invalid {
        /// Which.
        question: QuestionId,
        /// What would fit.
        message: String,
    },
    /// The store takes nothing now, or failed.
    #[error("the answer could not be recorded: {message}")]
    Store {
        /// What the store said.
        message: String,
    },
}

impl AnswerFault {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "unknown_question",
            Self::Closed { .. } => "question_closed",
            Self::Invalid { .. } => "invalid_answer",
            Self::Store { .. } => "store_read_only",
        }
    }
}

/// A turn was not cancelled.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CancelFault {
    /// There is no such turn.
    #[error("there is no turn {turn}")]
    NotFound {
        /// Which.
        turn: TurnId,
    },
    /// It is over.
    #[error("turn {turn} has ended")]
    Ended {
        /// Which.
        turn: TurnId,
    },
    /// The store takes nothing now, or failed.
    #[error("the end of the turn could not be recorded: {message}")]
    Store {
        /// What the store said.
        message: String,
    },
}

impl CancelFault {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "unknown_turn",
            Self::Ended { .. } => "turn_ended",
            Self::Store { .. } => "store_read_only",
        }
    }
}

fn also(known: &[String]) -> String {
    if known.is_empty() { String::new() } else { format!("; there are {}", known.join(", ")) }
}
