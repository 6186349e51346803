//! Why a secret was not set, or cannot be used.

use foreshore_secrets::{KeyringError, PlaceError, ScanError, SealError};
use foreshore_store::{AppendError, ReadError, ViewError};

/// A secret was not set, removed or opened. No text of it holds a value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretFault {
    /// The value or the name cannot be.
    #[error("{message}")]
    Invalid {
        /// What is wrong, and what would be right.
        message: String,
    },
    /// It is not there.
    #[error("there is no secret \"{name}\"")]
    NotFound {
        /// What was asked for.
        name: String,
    },
    /// There are too many.
    #[error("there are {max} secrets, the most there may be: remove some")]
    Full {
        /// The most there may be.
        max: usize,
    },
    /// There is something to open and nothing to open it with.
    #[error(
        "{secrets} secrets are kept, and the key that opens them is not here: put DATA/secrets.key back, or give it with FORESHORE_SECRETS_KEY_FILE"
    )]
    NoKey {
        /// How many.
        secrets: usize,
    },
    /// One does not open.
    #[error("the secret \"{name}\" cannot be opened: {source}")]
    Sealed {
        /// Which.
        name: String,
        /// Why.
        source: SealError,
    },
    /// The key cannot be read or kept.
    #[error(transparent)]
    Place(#[from] PlaceError),
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

impl SecretFault {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "invalid_secret",
            Self::NotFound { .. } => "unknown_secret",
            Self::Full { .. } => "secrets_full",
            Self::NoKey { .. } | Self::Sealed { .. } | Self::Place(_) => "secrets_key_unusable",
            Self::ReadOnly { .. } => "store_read_only",
            Self::Store { .. } => "host_error",
        }
    }
}

impl From<ScanError> for SecretFault {
    fn from(error: ScanError) -> Self {
        Self::Invalid { message: error.to_string() }
    }
}

impl From<SealError> for SecretFault {
    fn from(error: SealError) -> Self {
        Self::Store { message: format!("a secret was not sealed: {error}") }
    }
}

impl From<KeyringError> for SecretFault {
    fn from(error: KeyringError) -> Self {
        Self::Place(error.into())
    }
}

impl From<ReadError> for SecretFault {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::NotOpen => Self::ReadOnly { message: error.to_string() },
            error => Self::Store { message: error.to_string() },
        }
    }
}

impl From<ViewError> for SecretFault {
    fn from(error: ViewError) -> Self {
        Self::Store { message: error.to_string() }
    }
}

impl From<AppendError> for SecretFault {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Failed { message } | AppendError::Write { message } => {
                Self::ReadOnly { message }
            }
            error => Self::Store { message: error.to_string() },
        }
    }
}
