//! Why a conversation did not do what was asked.

use foreshore_domain::conversation::Conversation;
use foreshore_domain::memory::MemoryError;
use foreshore_store::{AppendError, ReadError, ViewError};

use crate::turns::payload::KeptError;

/// A conversation did not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConversationFault {
    /// What was sent is at fault.
    #[error("{message}")]
    Invalid {
        /// What is wrong, and what would be right.
        message: String,
    },
    /// It is not there.
    #[error("there is no {what}")]
    NotFound {
        /// What was asked for: `conversation "x"`.
        what: String,
    },
    /// A turn of it has not ended.
    #[error("conversation \"{conversation}\" has {turns} open turns: cancel them, or wait")]
    Busy {
        /// Which.
        conversation: Conversation,
        /// How many.
        turns: u64,
    },
    /// It is full.
    #[error("conversation \"{conversation}\" has its {max} {what}")]
    Exhausted {
        /// Which.
        conversation: Conversation,
        /// Of what.
        what: &'static str,
        /// The most there may be.
        max: u64,
    },
    /// Others change it all the time.
    #[error("the conversation changes too fast; try again")]
    Contended,
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

impl ConversationFault {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "invalid_conversation",
            Self::NotFound { .. } => "unknown_conversation",
            Self::Busy { .. } => "conversation_busy",
            Self::Exhausted { .. } => "conversation_quota_exhausted",
            Self::Contended => "conversation_contended",
            Self::ReadOnly { .. } => "store_read_only",
            Self::Store { .. } => "host_error",
        }
    }
}

impl From<ReadError> for ConversationFault {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::NotOpen => Self::ReadOnly { message: error.to_string() },
            error => Self::Store { message: error.to_string() },
        }
    }
}

impl From<ViewError> for ConversationFault {
    fn from(error: ViewError) -> Self {
        Self::Store { message: error.to_string() }
    }
}

impl From<KeptError> for ConversationFault {
    fn from(error: KeptError) -> Self {
        Self::Store { message: error.to_string() }
    }
}

impl From<AppendError> for ConversationFault {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Failed { message } | AppendError::Write { message } => {
                Self::ReadOnly { message }
            }
            error => Self::Store { message: error.to_string() },
        }
    }
}

impl From<MemoryError> for ConversationFault {
    fn from(error: MemoryError) -> Self {
        Self::Invalid { message: error.to_string() }
    }
}
