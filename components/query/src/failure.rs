//! Why a query gave no answer.

use foreshore_sdk::Error;

/// Why a query gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The arguments are at fault.
    #[error("{message}")]
    Invalid { pointer: &'static str, message: String },
    /// The data is not what it is said to be.
    #[error("{place}: {message}")]
    Data { place: String, message: String },
    /// The filter failed on an input.
    #[error("the filter failed on input {input}: {message}")]
    Run { input: u64, message: String },
    /// The file cannot be read; the error says whether for want of a grant.
    #[error("{0}")]
    File(Error),
}

impl Failure {
    pub(crate) fn invalid(pointer: &'static str, message: impl Into<String>) -> Self {
        Self::Invalid { pointer, message: message.into() }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Invalid { pointer, message } => Self::invalid(pointer, message),
            Failure::File(error) => error,
            failure => Self::failed(failure.to_string()),
        }
    }
}
