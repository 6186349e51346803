//! Why a model did not answer.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::BudgetExhausted;

/// Why a model did not answer. Each has one code, and one mapping to every surface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum InferenceError {
    /// The request itself is at fault.
    #[error("{message}")]
    Invalid {
        /// What is wrong with it.
        message: String,
    },
    /// What the request holds does not fit the model's context; nothing was cut off.
    #[error("the request does not fit the context of {model}: {message}")]
    ContextTooLong {
        /// Which model.
        model: String,
        /// What its server said.
        message: String,
    },
    /// The model calls no tools, and the request has some.
    #[error("{model} calls no tools: {message}")]
    NoTools {
        /// Which model.
        model: String,
        /// What its server said.
        message: String,
    },
    /// No backend has the model.
    #[error("no model is called \"{model}\"{}", hint(.known))]
    ModelNotFound {
        /// What was asked for.
        model: String,
        /// Names there are, nearest first, a few.
        known: Vec<String>,
    },
    /// The model would leave the edge, and that is not allowed.
    #[error("{model} runs at {host}, not here; `[inference] allow_remote_models = true` allows it")]
    RemoteModel {
        /// What was asked for.
        model: String,
        /// Where it runs.
        host: String,
    },
    /// Every backend of every step of the fallback chain is out of order.
    #[error("no backend answers for {model}: {reason}")]
    Unavailable {
        /// What was asked for.
        model: String,
        /// Each backend with its reason, in one line.
        reason: String,
        /// When to come back, if known, in milliseconds.
        retry_after_ms: Option<u64>,
    },
    /// Too many wait for a model.
    #[error("{reason}; try again in {retry_after_ms} ms")]
    Overloaded {
        /// What is full.
        reason: String,
        /// When to come back, in milliseconds.
        retry_after_ms: u64,
    },
    /// A budget would be overspent: nothing was asked of a model.
    #[error(transparent)]
    BudgetExhausted(BudgetExhausted),
    /// It took too long.
    #[error("{backend}: {what} took longer than {limit_ms} ms")]
    TimedOut {
        /// Which backend.
        backend: String,
        /// Of which step.
        what: TimedOut,
        /// How long it might take.
        limit_ms: u64,
    },
    /// The answer broke off after it had begun.
    #[error("{backend} broke off in the middle of the answer: {message}")]
    BrokeOff {
        /// Which backend.
        backend: String,
        /// What it said, or what happened.
        message: String,
        /// What had come until then.
        partial: String,
    },
    /// The answer does not match the format that was asked for, nor did a second try.
    #[error("{model} did not answer in the format that was asked for: {message}")]
    BadFormat {
        /// Which model.
        model: String,
        /// What is wrong.
        message: String,
    },
    /// Whoever asked went away.
    #[error("the caller went away")]
    Cancelled,
    /// The backend failed.
    #[error("{backend}: {message}")]
    Failed {
        /// Which.
        backend: String,
        /// What it said.
        message: String,
    },
}

/// The steps of a request to a model, each with a limit of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimedOut {
    /// Being connected.
    Connect,
    /// Waiting for a turn.
    Queue,
    /// Getting the model into memory.
    Load,
    /// Waiting for the first piece of the answer of a model that is in memory.
    FirstToken,
    /// Waiting for the next piece.
    Gap,
    /// All of it.
    Total,
}

impl std::fmt::Display for TimedOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Connect => "connecting",
            Self::Queue => "waiting for a turn",
            Self::Load => "loading the model",
            Self::FirstToken => "the first token",
            Self::Gap => "the next token",
            Self::Total => "the whole answer",
        })
    }
}

impl InferenceError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "inference_invalid",
            Self::ContextTooLong { .. } => "context_too_long",
            Self::NoTools { .. } => "tools_unsupported",
            Self::ModelNotFound { .. } => "model_not_found",
            Self::RemoteModel { .. } => "remote_model_denied",
            Self::Unavailable { .. } => "inference_unavailable",
            Self::Overloaded { .. } => "inference_overloaded",
            Self::BudgetExhausted(_) => "budget_exhausted",
            Self::TimedOut { .. } => "inference_timed_out",
            Self::BrokeOff { .. } => "inference_broke_off",
            Self::BadFormat { .. } => "bad_format",
            Self::Cancelled => "cancelled",
            Self::Failed { .. } => "inference_failed",
        }
    }

    /// When to come back, if that is known.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unavailable { retry_after_ms, .. } => retry_after_ms.map(Duration::from_millis),
            Self::Overloaded { retry_after_ms, .. } => Some(Duration::from_millis(*retry_after_ms)),
            Self::BudgetExhausted(budget) => budget.retry_after_ms.map(Duration::from_millis),
            _ => None,
        }
    }
}

fn hint(known: &[String]) -> String {
    if known.is_empty() {
        return "; no backend has any".to_owned();
    }
    format!("; there are {}", known.join(", "))
}
