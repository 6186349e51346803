//! How a past turn is run again, what comes of it, and why it cannot be.

use foreshore_domain::conversation::{TurnEnd, TurnUsage};
use foreshore_domain::effect::ToolRequest;
use foreshore_domain::id::TurnId;
use foreshore_domain::outcome::Content;
use foreshore_runtime::Component;
use serde_json::value::RawValue;

use super::super::payload::KeptError;
use crate::conversations::ConversationFault;

/// How a past turn is run again. The default: on its record, as it was.
#[derive(Clone, Debug, Default)]
pub struct ReplayOptions {
    /// This component instead of the agent's own.
    pub component: Option<ReplayComponent>,
    /// Every request goes to this model; means live inference.
    pub model: Option<String>,
    /// These parameters instead of the turn's: a JSON object.
    pub parameters: Option<Box<RawValue>>,
    /// This message instead of the turn's.
    pub message: Option<Vec<Content>>,
    /// Models are asked anew.
    pub live_inference: bool,
}

/// A component that a past turn is tried with.
#[derive(Clone, Debug)]
pub enum ReplayComponent {
    /// One that is served: its name, perhaps with a version.
    Named(String),
    /// One that is not, as [`crate::Control::try_load`] gives it.
    Loaded(Component),
}

/// A past turn and the same again, side by side.
#[derive(Clone, Debug)]
pub struct ReplayReport {
    /// As it was.
    pub recorded: ReplaySide,
    /// As it is now.
    pub replayed: ReplaySide,
    /// The first effect that is not the recorded one.
    pub divergence: Option<ReplayDivergence>,
    /// Calls that are not on record, and were not made.
    pub would_have_called: Vec<ToolRequest>,
}

/// Where two runs part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayDivergence {
    /// The number of the effect, from 0.
    pub number: u64,
    /// What is on record there; `None` past its end.
    pub recorded: Option<String>,
    /// What is asked for now; `None` where the turn ended.
    pub found: Option<String>,
}

/// One of the two.
#[derive(Clone, Debug)]
pub struct ReplaySide {
    /// The component that ran: `assistant@0.1.0`.
    pub component: String,
    /// What was asked, in order.
    pub steps: Vec<ReplayStep>,
    /// The tools that were called, in order.
    pub tools: Vec<String>,
    /// What was used.
    pub usage: TurnUsage,
    /// How it ended; `None` where it was stopped at the divergence, or has not ended.
    pub end: Option<TurnEnd>,
    /// The answer.
    pub reply: Vec<Content>,
    /// Code and message, where it failed.
    pub error: Option<(String, String)>,
}

/// One effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayStep {
    /// `infer`.
    pub kind: String,
    /// In one line.
    pub summary: String,
    /// Of its kind and JSON: equal digests are equal effects.
    pub digest: String,
}

/// A turn was not replayed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayFault {
    /// There is no such turn, or it never began.
    #[error("turn {turn} has no record")]
    NotFound {
        /// Which.
        turn: TurnId,
    },
    /// The component cannot be run.
    #[error("{message}")]
    Component {
        /// Why not.
        message: String,
    },
    /// The parameters do not match the agent's schema.
    #[error("{message} (at \"{pointer}\")")]
    Invalid {
        /// JSON Pointer (RFC 6901) to the part at fault.
        pointer: String,
        /// What is wrong.
        message: String,
    },
    /// The record cannot be read.
    #[error("the record cannot be read: {message}")]
    Store {
        /// Why not.
        message: String,
    },
}

impl ReplayFault {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "unknown_turn",
            Self::Component { .. } => "agent_unavailable",
            Self::Invalid { .. } => "invalid_turn",
            Self::Store { .. } => "host_error",
        }
    }
}

impl From<KeptError> for ReplayFault {
    fn from(error: KeptError) -> Self {
        Self::Store { message: error.to_string() }
    }
}

impl From<ConversationFault> for ReplayFault {
    fn from(fault: ConversationFault) -> Self {
        Self::Store { message: fault.to_string() }
    }
}
