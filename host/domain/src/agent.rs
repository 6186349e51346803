//! Agents and their turns: what an agent is, what a turn is given, what it may use, and what it
//! gives back.
//!
//! Deliberately absent: what an agent asks of the host (`effect`), and how a turn is recorded
//! and run again (`control`).

mod policy;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::id::TurnId;
use crate::memory::Conversation;
use crate::outcome::Content;
pub use policy::{AgentPolicy, ToolPattern, ToolPatternError, TurnBudget};

/// An agent as its component describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentDefinition {
    /// The name its author gave it.
    pub name: String,
    /// For people.
    pub title: Option<String>,
    /// For people and models.
    pub description: String,
    /// JSON Schema of a turn's parameters, if it takes any.
    pub parameters_schema: Option<serde_json::Value>,
}

/// What an agent is given for one turn.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Turn {
    /// In which conversation.
    pub conversation: Conversation,
    /// 0 for the first of it.
    pub number: u64,
    /// What the person said.
    pub message: Vec<Content>,
    /// JSON that matches the agent's schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Box<RawValue>>,
}

/// What an agent answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reply {
    /// What it says.
    pub message: Vec<Content>,
    /// Why it ended.
    pub finish: Finish,
}

/// Why a turn ended with a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finish {
    /// It answered.
    Stop,
    /// A budget ended it; the reply is what there was by then.
    Budget,
    /// It gave up, and the reply says why.
    GaveUp,
}

impl Finish {
    /// The name in records and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Budget => "budget",
            Self::GaveUp => "gave-up",
        }
    }
}

/// The turn that a call is. The clocks and random numbers of the guest come from here, so that
/// the same component on the same record runs the same way.
#[derive(Debug)]
pub struct TurnContext {
    /// Which.
    pub turn: TurnId,
    /// In which conversation.
    pub conversation: Conversation,
    /// 0 for the first of it.
    pub number: u64,
    /// Which agent: its name in the configuration.
    pub agent: Arc<str>,
    /// What all random numbers follow from.
    pub seed: [u8; 32],
    /// When the turn began, in milliseconds since 1970: what the monotonic clock counts from.
    pub began_at_unix_ms: u64,
    /// How much longer this run may take, all waiting included.
    pub wall: Duration,
    clock_unix_ms: AtomicU64,
}

impl TurnContext {
    /// A turn whose clock shows its beginning.
    pub fn new(
        turn: TurnId,
        conversation: Conversation,
        number: u64,
        agent: Arc<str>,
        seed: [u8; 32],
        began_at_unix_ms: u64,
        wall: Duration,
    ) -> Self {
        let clock_unix_ms = AtomicU64::new(began_at_unix_ms);
        Self { turn, conversation, number, agent, seed, began_at_unix_ms, wall, clock_unix_ms }
    }

    /// The time that the guest is shown: that of the last effect, in milliseconds since 1970.
    pub fn now_unix_ms(&self) -> u64 {
        self.clock_unix_ms.load(Ordering::Relaxed)
    }

    /// Moves the clock on to the time of an effect. It never goes back.
    pub fn advance_to(&self, at_unix_ms: u64) {
        self.clock_unix_ms.fetch_max(at_unix_ms, Ordering::Relaxed);
    }
}
