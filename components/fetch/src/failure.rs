//! Why a request gave no answer.
//!
//! An answer with any status is an answer: only what kept it from arriving is here.

use foreshore_sdk::Error;

/// Why a request gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The arguments are at fault.
    #[error("{message}")]
    Invalid { pointer: String, message: String },
    /// The host refused, or the request failed on its way.
    #[error("{0}")]
    Transport(Error),
    /// A redirect from https to http would send in the clear what was asked for under cover.
    #[error("{from} redirects to {to}: a redirect from https to http is not followed")]
    Downgrade { from: String, to: String },
    /// A redirect that leads nowhere a request can go.
    #[error("{from} redirects to {location:?}, which is no http or https address")]
    BadRedirect { from: String, location: String },
    /// More redirects than allowed.
    #[error("more than {max} redirects; the last led to {last}")]
    TooManyRedirects { max: u32, last: String },
    /// The body is not in the form that was asked for.
    #[error("{url} (status {status}): {message}")]
    Form { url: String, status: u16, message: String },
}

impl Failure {
    pub(crate) fn invalid(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid { pointer: pointer.into(), message: message.into() }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Invalid { pointer, message } => Self::invalid(pointer, message),
            Failure::Transport(error) => error,
            failure => Self::failed(failure.to_string()),
        }
    }
}
