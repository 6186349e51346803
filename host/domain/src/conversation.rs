//! What conversations, turns, questions and budgets keep: the payloads of their events, each
//! part valid by type.
//!
//! Every payload names what it is about, since views go by the payload; [`Fact::event`] makes
//! the event, so that kind, stream and list of blobs cannot disagree with it. Deliberately
//! absent: what a state means for a turn that runs (`control`), and how anything is stored or
//! found. The invariant: **a payload that deserializes holds to every bound named here.**

mod budget;
mod error;
mod fact;
mod payload;
mod question;
mod text;
mod turn;

use serde::{Deserialize, Serialize};

use crate::id::TurnId;
pub use crate::memory::Conversation;
pub use budget::{BudgetScope, BudgetSpent, BudgetWindow, SCOPES_MAX};
pub use error::ConversationError;
pub use fact::Fact;
pub use payload::{Body, PAYLOAD_INLINE_MAX_BYTES, Payload};
pub use question::{Decision, QuestionAnswered, QuestionAsked, QuestionKind};
pub use text::{Line, Text};
pub use turn::{
    EffectDigest, IntendedCall, MemoryReach, Seed, Served, TurnEffect, TurnEnd, TurnEnded,
    TurnFailure, TurnIntended, TurnNote, TurnPhase, TurnQueued, TurnResumed, TurnSettings,
    TurnStarted, TurnToolResult, TurnUsage, TurnWaiting, Until,
};

/// What a person calls a conversation.
pub type Title = Line<256>;
/// A name from the configuration or a component: of an agent, a model, a tool, a phase.
pub type Name = Line<255>;
/// Plain text of a message, for lists and search.
pub type Excerpt = Text<2_048>;
/// What a rolling summary says.
pub type SummaryText = Text<16_384>;
/// What a person or a log is told.
pub type MessageText = Text<4_096>;

/// The most turns that a fork copies.
pub const FORK_TURNS_MAX: u64 = 10_000;

/// The kinds of event that conversations follow.
pub mod kind {
    /// [`super::ConversationCreated`].
    pub const CREATED: &str = "conversation.created";
    /// [`super::ConversationChanged`].
    pub const CHANGED: &str = "conversation.changed";
    /// [`super::ConversationDeleted`].
    pub const DELETED: &str = "conversation.deleted";
    /// [`super::ConversationSummarized`].
    pub const SUMMARIZED: &str = "conversation.summarized";
    /// [`super::TurnQueued`].
    pub const QUEUED: &str = "turn.queued";
    /// [`super::TurnStarted`].
    pub const STARTED: &str = "turn.started";
    /// [`super::TurnResumed`].
    pub const RESUMED: &str = "turn.resumed";
    /// [`super::TurnWaiting`].
    pub const WAITING: &str = "turn.waiting";
    /// [`super::TurnIntended`].
    pub const INTENDED: &str = "turn.intended";
    /// [`super::TurnEffect`].
    pub const EFFECT: &str = "turn.effect";
    /// [`super::TurnToolResult`].
    pub const TOOL_RESULT: &str = "turn.tool_result";
    /// [`super::TurnPhase`].
    pub const PHASE: &str = "turn.phase";
    /// [`super::TurnNote`].
    pub const NOTE: &str = "turn.note";
    /// [`super::TurnEnded`].
    pub const ENDED: &str = "turn.ended";
    /// [`super::QuestionAsked`].
    pub const ASKED: &str = "question.asked";
    /// [`super::QuestionAnswered`].
    pub const ANSWERED: &str = "question.answered";
    /// [`super::BudgetSpent`].
    pub const SPENT: &str = "budget.spent";
}

/// `conversation.created`: a conversation begins, empty or with the turns of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConversationCreated {
    /// Its id.
    pub conversation: Conversation,
    /// The agent that it is with.
    pub agent: Name,
    /// What a person calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Title>,
    /// Where its first turns come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forked_from: Option<ForkedFrom>,
    /// The turn that began it, if no person did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegated_by: Option<TurnId>,
}

/// A place in another conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForkedFrom {
    /// Which.
    pub conversation: Conversation,
    /// The last turn that is taken over; all up to it have ended.
    pub through_turn: u64,
}

/// `conversation.changed`: what is left out stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConversationChanged {
    /// Which.
    pub conversation: Conversation,
    /// Its new title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Title>,
    /// Whether it is out of the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archived: Option<bool>,
}

/// `conversation.deleted`: its turns, variables and blobs go. No turn of it is open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConversationDeleted {
    /// Which.
    pub conversation: Conversation,
}

/// `conversation.summarized`: the rolling summary is replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConversationSummarized {
    /// Of which.
    pub conversation: Conversation,
    /// What it says.
    pub text: SummaryText,
    /// The last turn that it covers.
    pub through_turn: u64,
}

#[cfg(test)]
mod tests;
