//! Why something about an approval was not done.

use foreshore_domain::approval::ApprovalState;
use foreshore_domain::id::ApprovalId;
use foreshore_store::{AppendError, ReadError, ViewError};

/// Something about an approval was not done.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApprovalFault {
    /// There is none of this id in the tenant.
    #[error("there is no approval {approval}")]
    NotFound {
        /// What was asked for.
        approval: ApprovalId,
    },
    /// It was decided before.
    #[error("{approval} is {} already", .state.as_str())]
    Closed {
        /// Which.
        approval: ApprovalId,
        /// What it has come to.
        state: ApprovalState,
    },
    /// Whoever decides may not.
    #[error("{approval} is not yours to decide: {message}")]
    NotPermitted {
        /// Which.
        approval: ApprovalId,
        /// Who may.
        message: String,
    },
    /// It is not what the decider saw any more.
    #[error("{approval} has changed since you looked: its binding is {binding} now")]
    Changed {
        /// Which.
        approval: ApprovalId,
        /// What it is for now.
        binding: String,
    },
    /// What was sent cannot be.
    #[error("{message}")]
    Invalid {
        /// Where (RFC 6901).
        pointer: &'static str,
        /// What is wrong, and what would be right.
        message: String,
    },
    /// Too many change it at once.
    #[error("{approval} is being changed by others; try again")]
    Contended {
        /// Which.
        approval: ApprovalId,
    },
    /// The journal takes nothing now.
    #[error("nothing can be recorded now: {message}")]
    ReadOnly {
        /// What the store said.
        message: String,
    },
    /// The journal cannot be read or written.
    #[error("{message}")]
    Store {
        /// What it said.
        message: String,
    },
}

impl ApprovalFault {
    pub(super) fn not_permitted(approval: ApprovalId) -> Self {
        let message = "it takes the permission approvals.decide".to_owned();
        Self::NotPermitted { approval, message }
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "not_found",
            Self::Closed { .. } => "approval_closed",
            Self::NotPermitted { .. } => "approval_not_permitted",
            Self::Changed { .. } => "approval_changed",
            Self::Invalid { .. } => "invalid_body",
            Self::Contended { .. } => "contended",
            Self::ReadOnly { .. } => "store_read_only",
            Self::Store { .. } => "host_error",
        }
    }
}

impl From<AppendError> for ApprovalFault {
    fn from(error: AppendError) -> Self {
        let message = error.to_string();
        match error {
            AppendError::Failed { .. } | AppendError::Write { .. } => Self::ReadOnly { message },
            _ => Self::Store { message },
        }
    }
}

impl From<ReadError> for ApprovalFault {
    fn from(error: ReadError) -> Self {
        Self::Store { message: error.to_string() }
    }
}

impl From<ViewError> for ApprovalFault {
    fn from(error: ViewError) -> Self {
        Self::Store { message: error.to_string() }
    }
}
