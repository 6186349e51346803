//! Why an attempt on one model of one backend came to nothing, and what follows from it.
//!
//! Here alone is written down what counts against a breaker and what is tried again. A backend
//! is not to blame for a bad request, a model it does not have, a full queue, or for being slow.

use foreshore_domain::inference::{InferenceError, TimedOut};
use http::StatusCode;

use crate::http_client::{BodyError, HttpError};

/// What of a server's words is repeated.
const MESSAGE_MAX_CHARS: usize = 500;

/// Why an attempt came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No connection, or it broke before the answer began.
    Connection { message: String },
    /// No connection in time.
    ConnectTimedOut { limit_ms: u64 },
    /// It answered with a failure of its own, or with what cannot be understood.
    Answer { message: String },
    /// It does not let us in: the operator's key is wrong, or missing.
    Denied { message: String },
    /// It has too much to do.
    Busy { message: String, retry_after_ms: Option<u64> },
    /// It does not have the model.
    NotFound,
    /// The request is at fault.
    Rejected { message: String },
    /// The model calls no tools, and was shown some.
    NoTools { message: String },
    /// The request is too long for the model.
    ContextTooLong { message: String },
    /// The model runs elsewhere.
    Remote { host: String },
    /// It took too long. `hangs` if the server does not answer a simple question either.
    TimedOut { what: TimedOut, limit_ms: u64, hangs: bool },
    /// It broke off after the answer had begun.
    BrokeOff { message: String, partial: String },
    /// Our own queue for it is full.
    Queue { reason: String, retry_after_ms: u64 },
    /// Its breaker is open.
    Open { retry_in_ms: u64 },
}

/// What a failure says about the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It works.
    Healthy,
    /// It does not.
    Broken,
    /// Nothing.
    Unknown,
}

/// What to do after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Tell the caller: another would say the same, or the answer has begun.
    Tell,
    /// Another backend or model may do; this one will not.
    Elsewhere,
    /// The same may do a little later.
    Again,
}

impl Failure {
    pub(crate) fn verdict(&self) -> Verdict {
        match self {
            Self::Connection { .. }
            | Self::ConnectTimedOut { .. }
            | Self::Answer { .. }
            | Self::Denied { .. }
            | Self::BrokeOff { .. }
            | Self::TimedOut { what: TimedOut::Gap, .. }
            | Self::TimedOut { hangs: true, .. } => Verdict::Broken,
            Self::NotFound
            | Self::Rejected { .. }
            | Self::NoTools { .. }
            | Self::ContextTooLong { .. } => Verdict::Healthy,
            Self::Busy { .. }
            | Self::Remote { .. }
            | Self::TimedOut { .. }
            | Self::Queue { .. }
            | Self::Open { .. } => Verdict::Unknown,
        }
    }

    pub(crate) fn next(&self) -> Next {
        match self {
            Self::Connection { .. } | Self::Answer { .. } | Self::Busy { .. } => Next::Again,
            Self::ConnectTimedOut { .. }
            | Self::Denied { .. }
            | Self::NotFound
            | Self::Remote { .. }
            | Self::Queue { .. }
            | Self::Open { .. } => Next::Elsewhere,
            Self::TimedOut { what: TimedOut::Gap | TimedOut::Total, .. } => Next::Tell,
            Self::TimedOut { .. } => Next::Elsewhere,
            Self::Rejected { .. }
            | Self::NoTools { .. }
            | Self::ContextTooLong { .. }
            | Self::BrokeOff { .. } => Next::Tell,
        }
    }

    /// The server could not be reached: whether it is back can be found out at no cost.
    pub(crate) fn is_connection(&self) -> bool {
        matches!(self, Self::Connection { .. } | Self::ConnectTimedOut { .. })
    }

    /// From a status that is not 2xx, with what the body says.
    pub(crate) fn of_status(status: StatusCode, said: &str, retry_after_ms: Option<u64>) -> Self {
        let message = match said.is_empty() {
            true => format!("it answered {status}"),
            false => excerpt(said),
        };
        match status.as_u16() {
            404 => Self::NotFound,
            401 | 403 => Self::Denied { message: denied(status, &message) },
            429 | 503 => Self::Busy { message, retry_after_ms },
            400..=499 if tells_of_context(said) => Self::ContextTooLong { message },
            400..=499 if tells_of_tools(said) => Self::NoTools { message },
            400..=499 => Self::Rejected { message },
            _ if tells_of_context(said) => Self::ContextTooLong { message },
            _ => Self::Answer { message },
        }
    }

    /// For the caller.
    pub(crate) fn into_error(self, backend: &str, model: &str) -> InferenceError {
        let (backend, model) = (backend.to_owned(), model.to_owned());
        match self {
            Self::Connection { message } | Self::Answer { message } | Self::Denied { message } => {
                InferenceError::Failed { backend, message }
            }
            Self::ConnectTimedOut { limit_ms } => {
                InferenceError::TimedOut { backend, what: TimedOut::Connect, limit_ms }
            }
            Self::Busy { message, retry_after_ms } => InferenceError::Overloaded {
                reason: format!("{backend} is busy: {message}"),
                retry_after_ms: retry_after_ms.unwrap_or(BUSY_RETRY_AFTER_MS),
            },
            Self::NotFound => InferenceError::ModelNotFound { model, known: Vec::new() },
            Self::Rejected { message } => InferenceError::Invalid { message },
            Self::NoTools { message } => InferenceError::NoTools { model, message },
            Self::ContextTooLong { message } => InferenceError::ContextTooLong { model, message },
            Self::Remote { host } => InferenceError::RemoteModel { model, host },
            Self::TimedOut { what, limit_ms, .. } => {
                InferenceError::TimedOut { backend, what, limit_ms }
            }
            Self::BrokeOff { message, partial } => {
                InferenceError::BrokeOff { backend, message, partial }
            }
            Self::Queue { reason, retry_after_ms } => {
                InferenceError::Overloaded { reason, retry_after_ms }
            }
            Self::Open { retry_in_ms } => InferenceError::Unavailable {
                model,
                reason: format!("{backend} has failed too often"),
                retry_after_ms: Some(retry_in_ms),
            },
        }
    }
}

/// When to come back to a server that is busy and does not say.
pub(crate) const BUSY_RETRY_AFTER_MS: u64 = 2_000;

impl From<HttpError> for Failure {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::ConnectTimedOut { limit_ms, .. } => Self::ConnectTimedOut { limit_ms },
            HttpError::Connect { .. } | HttpError::Broken { .. } => {
                Self::Connection { message: error.to_string() }
            }
        }
    }
}

impl From<BodyError> for Failure {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Broken(_) => Self::Connection { message: error.to_string() },
            BodyError::LineTooLong { .. } | BodyError::TooLarge { .. } => {
                Self::Answer { message: error.to_string() }
            }
        }
    }
}

fn denied(status: StatusCode, message: &str) -> String {
    match status {
        StatusCode::UNAUTHORIZED => format!("{message} (is its api_key right?)"),
        _ => format!("{message} (does its url name the host as the server expects it?)"),
    }
}

/// Servers have no code for it in common; these words are in what they say.
pub(crate) fn tells_of_context(message: &str) -> bool {
    let message = message.to_lowercase();
    let about = ["exceed", "length", "too long", "limit", "window", "size"];
    message.contains("context") && about.iter().any(|word| message.contains(word))
}

/// Nor for this: Ollama's, vLLM's and llama.cpp's words.
fn tells_of_tools(message: &str) -> bool {
    const WORDS: [&str; 3] = ["support tool", "tool choice requires", "tools param requires"];
    let message = message.to_lowercase();
    WORDS.iter().any(|words| message.contains(words))
}

/// The beginning of what a server said.
pub(crate) fn excerpt(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().nth(MESSAGE_MAX_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
