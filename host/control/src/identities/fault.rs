//! Why a credential does not count, or was not made.

use foreshore_store::{AppendError, ReadError, ViewError};

/// A credential does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthFault {
    /// It is no credential at all.
    #[error("the credential is malformed")]
    Malformed,
    /// Nobody was given it.
    #[error("the credential is not known here")]
    Unknown,
    /// It has ended.
    #[error("the credential has expired")]
    Expired,
    /// It was taken back.
    #[error("the credential was revoked")]
    Revoked,
    /// A refresh token that had been used: its whole line is revoked.
    #[error("the refresh token was used before: all tokens of its line are revoked now")]
    Reused,
}

impl AuthFault {
    /// The stable code, for records. Who shows it is told no more than that it does not count.
    pub fn code(self) -> &'static str {
        match self {
            Self::Malformed => "credential_malformed",
            Self::Unknown => "credential_unknown",
            Self::Expired => "credential_expired",
            Self::Revoked => "credential_revoked",
            Self::Reused => "refresh_token_reused",
        }
    }
}

/// A credential was not made or ended.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityFault {
    /// What was asked for cannot be.
    #[error("{message}")]
    Invalid {
        /// Where (RFC 6901).
        pointer: &'static str,
        /// What is wrong, and what would be right.
        message: String,
    },
    /// Nobody gives what they do not have.
    #[error("a credential cannot give more than who makes it has: {what}")]
    Exceeds {
        /// What is too much.
        what: String,
    },
    /// It is not there.
    #[error("there is no credential \"{id}\"")]
    NotFound {
        /// What was asked for.
        id: String,
    },
    /// A refresh token does not count.
    #[error(transparent)]
    Refresh(#[from] AuthFault),
    /// There are too many.
    #[error(
        "there are {max} credentials, the most there may be: revoke some; those that ended are forgotten 30 days later"
    )]
    Full {
        /// The most there may be.
        max: usize,
    },
    /// Others change it all the time.
    #[error("the credential changes too fast; try again")]
    Contended,
    /// The store takes nothing now.
    #[error("the store is read-only until the disk takes writes again: {message}")]
    ReadOnly {
        /// What the disk or the store said.
        message: String,
    },
    /// The system has no random numbers.
    #[error("the system gave no random numbers: {0}")]
    Random(String),
    /// The store failed.
    #[error("{message}")]
    Store {
        /// How; for the operator's log.
        message: String,
    },
}

impl IdentityFault {
    pub(super) fn malformed() -> Self {
        let message = "a credential's row is malformed: run `foreshore store rebuild`".to_owned();
        Self::Store { message }
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "invalid_credential",
            Self::Exceeds { .. } => "credential_exceeds_issuer",
            Self::NotFound { .. } => "unknown_credential",
            Self::Refresh(fault) => fault.code(),
            Self::Full { .. } => "credentials_full",
            Self::Contended => "credential_contended",
            Self::ReadOnly { .. } => "store_read_only",
            Self::Random(_) | Self::Store { .. } => "host_error",
        }
    }
}

impl From<ReadError> for IdentityFault {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::NotOpen => Self::ReadOnly { message: error.to_string() },
            error => Self::Store { message: error.to_string() },
        }
    }
}

impl From<ViewError> for IdentityFault {
    fn from(error: ViewError) -> Self {
        Self::Store { message: error.to_string() }
    }
}

impl From<AppendError> for IdentityFault {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Failed { message } | AppendError::Write { message } => {
                Self::ReadOnly { message }
            }
            error => Self::Store { message: error.to_string() },
        }
    }
}
