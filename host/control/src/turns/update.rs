//! What those who watch a turn are told.

use foreshore_domain::agent::Finish;
use foreshore_domain::approval::{ApprovalClosed, ApprovalRequested};
use foreshore_domain::conversation::{
    Conversation, Decision, QuestionAsked, Served, TurnEnd, TurnUsage, Until,
};
use foreshore_domain::effect::AgentError;
use foreshore_domain::id::{CallId, QuestionId, TurnId};
use foreshore_domain::inference::{FinishReason, ServedBy, TokenUsage};
use foreshore_domain::outcome::{Content, ToolResult};

/// One thing that happened in a turn.
#[derive(Clone, Debug)]
pub struct TurnUpdate {
    /// Its event's number in the journal, from which whoever lost the connection goes on.
    /// `None` for what is shown as it happens and not kept in that form: deltas, and what is
    /// kept a little later under a number of its own.
    pub id: Option<u64>,
    /// Of which turn.
    pub turn: TurnId,
    /// What.
    pub event: TurnEvent,
}

/// What happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TurnEvent {
    /// The message was taken.
    Queued {
        /// In which conversation.
        conversation: Conversation,
        /// The turn's place there, from 0.
        number: u64,
        /// Who is to answer.
        agent: String,
    },
    /// It runs for the first time.
    Started {
        /// `assistant@0.1.0`.
        component: String,
    },
    /// It runs again on its record.
    Resumed {
        /// How many effects were on record.
        effects: u64,
    },
    /// More of the answer. Live only.
    MessageDelta(String),
    /// More of what it thinks. Live only.
    ThinkingDelta(String),
    /// What the agent does now.
    Phase {
        /// `planning`, `executing`.
        name: String,
        /// One line about it.
        message: Option<String>,
    },
    /// A tool is called.
    ToolCall {
        /// The number of the effect.
        number: u64,
        /// Which of its calls, from 0.
        index: u32,
        /// The call's id.
        call_id: CallId,
        /// `component.tool`, as the agent wrote it.
        tool: String,
    },
    /// A tool answered.
    ToolResult {
        /// The number of the effect.
        number: u64,
        /// Which of its calls, from 0.
        index: u32,
        /// `component.tool`.
        tool: String,
        /// A JSON object as text, as the agent wrote it.
        arguments: String,
        /// What it gave, or why not.
        result: Result<ToolResult, AgentError>,
    },
    /// A model answered.
    Inferred {
        /// Who answered.
        served_by: ServedBy,
        /// Why it stopped.
        finish: FinishReason,
        /// What it cost.
        usage: TokenUsage,
        /// What it thought before, where it did.
        thinking: Option<String>,
    },
    /// Another agent was given work.
    Delegated {
        /// Its turn.
        to: TurnId,
    },
    /// A person is asked.
    Question(Box<QuestionAsked>),
    /// A question is closed.
    Answered {
        /// Which.
        question: QuestionId,
        /// How.
        decision: Decision,
    },
    /// A rule asks people about a call of a tool.
    ApprovalRequested(Box<ApprovalRequested>),
    /// Such a question is closed.
    ApprovalClosed(ApprovalClosed),
    /// It waits, and takes no memory.
    Waiting {
        /// What for.
        until: Until,
    },
    /// The agent put an event on the record.
    Note {
        /// The agent's own name for it.
        kind: String,
        /// JSON.
        payload: String,
    },
    /// It is over.
    Ended(Box<Ended>),
    /// Whoever watches was too slow and missed some deltas; what is recorded follows.
    Lagged {
        /// How many updates.
        missed: u64,
    },
}

/// How a turn ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The turn.
    pub turn: TurnId,
    /// In which conversation.
    pub conversation: Conversation,
    /// Its place there.
    pub number: u64,
    /// How.
    pub end: TurnEnd,
    /// The answer, where it completed.
    pub reply: Vec<Content>,
    /// Why it ended with an answer.
    pub finish: Option<Finish>,
    /// Code and message, where it failed or was cancelled.
    pub error: Option<(String, String)>,
    /// What it used.
    pub usage: TurnUsage,
    /// Who answered last.
    pub served_by: Option<Served>,
}
