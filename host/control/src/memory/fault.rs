//! Why memory did not do what was asked.

use foreshore_domain::memory::MemoryError;
use foreshore_store::{AppendError, Condition, ReadError};

/// Memory did not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryFault {
    /// It cannot be kept.
    #[error(transparent)]
    Invalid(#[from] MemoryError),
    /// It is too large as a whole.
    #[error(
        "a record of {bytes} bytes is refused: with its tags and embedding it may have {max_bytes}"
    )]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// How large it may be.
        max_bytes: usize,
    },
    /// Something else stands there.
    #[error("\"{key}\" has version {actual}, not {expected}; read it again and decide anew")]
    Conflict {
        /// Which record.
        key: String,
        /// What was expected.
        expected: u64,
        /// What is; 0 for none.
        actual: u64,
    },
    /// The namespace is full.
    #[error("namespace \"{namespace}\" has its {max} {what}; delete what is not needed")]
    Exhausted {
        /// Which.
        namespace: String,
        /// Of what.
        what: &'static str,
        /// The most there may be.
        max: u64,
    },
    /// The store takes nothing now.
    #[error("the store is read-only until the disk takes writes again: {message}")]
    ReadOnly {
        /// What the disk or redb said.
        message: String,
    },
    /// The store failed.
    #[error("{message}")]
    Store {
        /// How; for the operator's log.
        message: String,
    },
}

impl MemoryFault {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid_memory",
            Self::TooLarge { .. } => "memory_too_large",
            Self::Conflict { .. } => "version_conflict",
            Self::Exhausted { .. } => "memory_quota_exhausted",
            Self::ReadOnly { .. } => "store_read_only",
            Self::Store { .. } => "host_error",
        }
    }
}

impl From<AppendError> for MemoryFault {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::TooLarge { bytes, max_bytes } => Self::TooLarge { bytes, max_bytes },
            AppendError::Conflict(conflict) => {
                let key = match &conflict.condition {
                    Condition::RecordVersion { key, .. } => key.as_str().to_owned(),
                    _ => String::new(),
                };
                Self::Conflict { key, expected: conflict.expected, actual: conflict.actual }
            }
            AppendError::Failed { message } | AppendError::Write { message } => {
                Self::ReadOnly { message }
            }
            error => Self::Store { message: error.to_string() },
        }
    }
}

impl From<ReadError> for MemoryFault {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::NotOpen => Self::ReadOnly { message: error.to_string() },
            error => Self::Store { message: error.to_string() },
        }
    }
}

impl From<foreshore_store::ViewError> for MemoryFault {
    fn from(error: foreshore_store::ViewError) -> Self {
        Self::Store { message: error.to_string() }
    }
}
