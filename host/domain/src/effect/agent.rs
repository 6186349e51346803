//! What only an agent asks of the host, what it is given, and why it is not.
//!
//! All of it serializes: each effect of a turn is numbered, its digest and outcome are recorded,
//! and a turn that runs again is given what is on record. The digest is that of the JSON, so
//! **the order of fields and variants here is part of the record's format**.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::memory::{MemoryRead, MemoryWrite, Recalled, Remembered};
use crate::agent::Reply;
use crate::inference::{ChatRequest, Completion, EmbedRequest, Embeddings, Message, Model};
use crate::memory::{JsonType, VariableName};
use crate::outcome::{Content, ToolResult};

/// One thing an agent wants done.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AgentEffect {
    /// Ask a model: [`AgentOutcome::Inferred`].
    Infer {
        /// What.
        request: ChatRequest,
        /// Pass the tokens on to the reply as they come.
        stream_to_reply: bool,
    },
    /// Ask several at once: [`AgentOutcome::InferredAll`], in their order.
    InferAll(Vec<ChatRequest>),
    /// Turn texts into vectors: [`AgentOutcome::Embedded`].
    Embed(EmbedRequest),
    /// The models there are: [`AgentOutcome::Models`].
    Models,
    /// The tools there are: [`AgentOutcome::Tools`].
    Tools,
    /// Call several tools at once: [`AgentOutcome::Called`], in their order.
    CallTools(Vec<ToolRequest>),
    /// The agents there are: [`AgentOutcome::Agents`].
    Agents,
    /// Have another agent take a turn: [`AgentOutcome::Delegated`].
    Delegate(Delegation),
    /// Look something up in memory: [`AgentOutcome::Recalled`].
    Recall(MemoryRead),
    /// Change memory: [`AgentOutcome::Remembered`].
    Remember(MemoryWrite),
    /// What variables there are: [`AgentOutcome::Variables`].
    Variables,
    /// Read a variable: [`AgentOutcome::Variable`].
    GetVariable {
        /// Which.
        name: VariableName,
        /// The latest, if none is said.
        version: Option<u64>,
    },
    /// Set a variable: [`AgentOutcome::VariableSet`].
    SetVariable {
        /// Which.
        name: VariableName,
        /// To what.
        value: Box<RawValue>,
    },
    /// The last messages: [`AgentOutcome::Messages`].
    RecentMessages {
        /// At most so many.
        limit: u32,
    },
    /// The rolling summary: [`AgentOutcome::Summary`].
    Summary,
    /// Replace it: [`AgentOutcome::Done`].
    SetSummary {
        /// What it says.
        text: String,
        /// The last turn that it covers.
        through_turn: u64,
    },
    /// Ask the person a typed question: [`AgentOutcome::Answered`].
    Ask {
        /// What is asked and why.
        message: String,
        /// JSON Schema of a flat object.
        schema: Box<RawValue>,
    },
    /// Ask a person to allow something: [`AgentOutcome::Done`].
    Approve {
        /// What is to be done, in one line.
        action: String,
        /// What a person needs to decide.
        details: Box<RawValue>,
    },
    /// Put an event on the conversation's record: [`AgentOutcome::Done`].
    Emit {
        /// Which.
        kind: String,
        /// JSON.
        payload: Box<RawValue>,
    },
    /// Sleep: [`AgentOutcome::Done`].
    WakeAt {
        /// Until then, in milliseconds since 1970.
        at_unix_ms: u64,
    },
    /// What is left of the turn: [`AgentOutcome::Budget`].
    Budget,
    /// Count one round of the loop: [`AgentOutcome::Budget`].
    Iteration,
    /// Whether a secret is there; never its value: [`AgentOutcome::Secret`].
    SecretExists {
        /// Which.
        name: String,
    },
}

impl AgentEffect {
    /// The kinds, for tests that hold each to a granted and a denied case.
    pub const KINDS: &[&str] = &[
        "infer",
        "infer-all",
        "embed",
        "models",
        "tools",
        "call-tools",
        "agents",
        "delegate",
        "recall",
        "remember",
        "variables",
        "get-variable",
        "set-variable",
        "recent-messages",
        "summary",
        "set-summary",
        "ask",
        "approve",
        "emit",
        "wake-at",
        "budget",
        "iteration",
        "secret-exists",
    ];

    /// The name in records and metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Infer { .. } => "infer",
            Self::InferAll(_) => "infer-all",
            Self::Embed(_) => "embed",
            Self::Models => "models",
            Self::Tools => "tools",
            Self::CallTools(_) => "call-tools",
            Self::Agents => "agents",
            Self::Delegate(_) => "delegate",
            Self::Recall(_) => "recall",
            Self::Remember(_) => "remember",
            Self::Variables => "variables",
            Self::GetVariable { .. } => "get-variable",
            Self::SetVariable { .. } => "set-variable",
            Self::RecentMessages { .. } => "recent-messages",
            Self::Summary => "summary",
            Self::SetSummary { .. } => "set-summary",
            Self::Ask { .. } => "ask",
            Self::Approve { .. } => "approve",
            Self::Emit { .. } => "emit",
            Self::WakeAt { .. } => "wake-at",
            Self::Budget => "budget",
            Self::Iteration => "iteration",
            Self::SecretExists { .. } => "secret-exists",
        }
    }
}

/// A call of a tool, as an agent asks for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolRequest {
    /// `component.tool`.
    pub name: String,
    /// A JSON object, as text; whatever the agent wrote.
    pub arguments: String,
}

/// A turn of another agent, as an agent asks for it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delegation {
    /// Which agent.
    pub agent: String,
    /// What it is told.
    pub message: Vec<Content>,
    /// JSON that matches its schema.
    pub parameters: Option<Box<RawValue>>,
    /// What it may do: never more than the agent that asks.
    pub limits: Attenuation,
}

/// Less than one has oneself. `None` means all of that.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Attenuation {
    /// Tools: `component.tool`.
    pub tools: Option<Vec<String>>,
    /// Namespaces of memory.
    pub namespaces: Option<Vec<String>>,
    /// Tokens.
    pub tokens_max: Option<u64>,
    /// Calls of tools.
    pub tool_calls_max: Option<u64>,
    /// Milliseconds.
    pub deadline_ms: Option<u64>,
}

/// What an agent is given.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AgentOutcome {
    /// A model's answer.
    Inferred(Completion),
    /// The answers of several.
    InferredAll(Vec<Result<Completion, AgentError>>),
    /// Vectors.
    Embedded(Embeddings),
    /// Models.
    Models(Vec<Model>),
    /// Tools.
    Tools(Vec<AgentTool>),
    /// What each call gave.
    Called(Vec<Result<ToolResult, AgentError>>),
    /// Agents.
    Agents(Vec<OtherAgent>),
    /// The other agent's reply.
    Delegated(Reply),
    /// What memory holds.
    Recalled(Recalled),
    /// What was changed in memory.
    Remembered(Remembered),
    /// Variables by name.
    Variables(Vec<VariableEntry>),
    /// A variable's value.
    Variable(Box<RawValue>),
    /// The version that was written.
    VariableSet(u64),
    /// Messages, oldest first.
    Messages(Vec<Said>),
    /// The summary and the last turn that it covers, if there is one.
    Summary(Option<(String, u64)>),
    /// What the person did.
    Answered(Answer),
    /// What is left.
    Budget(Remaining),
    /// Whether it is there.
    Secret(bool),
    /// Done.
    Done,
}

/// A tool that an agent may call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentTool {
    /// `component.tool`.
    pub name: String,
    /// For models.
    pub description: String,
    /// JSON Schema of its arguments, as text.
    pub input_schema: String,
    /// Changes nothing outside the sandbox.
    pub read_only: bool,
    /// May destroy or overwrite what was there.
    pub destructive: bool,
    /// A second call with the same arguments changes nothing more.
    pub idempotent: bool,
    /// Reaches beyond the operator's machine.
    pub open_world: bool,
    /// A person is asked before it runs.
    pub needs_approval: bool,
}

/// An agent that another may delegate to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OtherAgent {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: String,
}

/// A variable, without its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VariableEntry {
    /// Its name.
    pub name: String,
    /// Which version, from 1.
    pub version: u64,
    /// What it is.
    pub json_type: JsonType,
    /// The size of its JSON.
    pub size_bytes: u64,
    /// At most 120 characters.
    pub first_line: String,
}

/// A message of the conversation and the turn that it was said in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Said {
    /// The number of the turn.
    pub turn: u64,
    /// What was said.
    pub message: Message,
}

/// What a person did with a question.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// They answered: a JSON object that matches the schema.
    Accepted(Box<RawValue>),
    /// They said no.
    Declined,
    /// They went away.
    Cancelled,
}

/// What is left of a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "as in `TurnBudget`")]
pub struct Remaining {
    pub tokens: u64,
    pub cost_micros: u64,
    pub tool_calls: u64,
    pub iterations: u64,
    pub wall_ms: u64,
}

/// More of the reply, while the agent works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplyPart {
    /// Of the answer.
    Text(String),
    /// Of what it thinks.
    Thinking(String),
    /// What it does now.
    Phase {
        /// `planning`, `executing`.
        name: String,
        /// One line about it.
        message: Option<String>,
    },
}

/// What was used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "as in `foreshore:types`")]
pub enum BudgetKind {
    Fuel,
    Time,
    Memory,
    Bytes,
    Tokens,
    Calls,
    Cost,
}

/// Why an agent did not get what it asked for: `error` of `foreshore:types`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum AgentError {
    /// Policy says no.
    #[error("{subject} is not granted ({code})")]
    Denied {
        /// The stable code.
        code: String,
        /// What was asked for.
        subject: String,
        /// The configuration that would allow it, for people: the agent is not shown it. Empty
        /// where nothing would.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        grant: String,
    },
    /// A person said no, or nobody answered in time.
    #[error("refused: {0}")]
    Refused(String),
    /// What was asked is at fault.
    #[error("{message} (at \"{pointer}\")")]
    Invalid {
        /// JSON Pointer (RFC 6901) to the part at fault; empty for the whole.
        pointer: String,
        /// What is wrong.
        message: String,
    },
    /// It does not exist.
    #[error("there is no {0}")]
    NotFound(String),
    /// A limit or budget is used up.
    #[error("used up: {0:?}")]
    Exhausted(BudgetKind),
    /// Try again, after so many milliseconds if known.
    #[error("not available now")]
    Unavailable(Option<u32>),
    /// A side effect may or may not have happened before a crash.
    #[error("it is not known whether this happened: {0}")]
    UnknownOutcome(String),
    /// The tool's or the model's own failure.
    #[error("{0}")]
    Failed(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_record_is_read_back_as_it_was() {
        let effects = [
            AgentEffect::CallTools(vec![ToolRequest {
                name: "files.read".to_owned(),
                arguments: r#"{ "path":"/a" }"#.to_owned(),
            }]),
            AgentEffect::SetVariable {
                name: VariableName::parse("plan").expect("a name"),
                value: RawValue::from_string(r#"{"b":1, "a":2}"#.to_owned()).expect("JSON"),
            },
            AgentEffect::Models,
        ];
        for effect in effects {
            let text = serde_json::to_string(&effect).expect("it serializes");
            let again: AgentEffect = serde_json::from_str(&text).expect("it deserializes");
            assert_eq!(serde_json::to_string(&again).expect("it serializes"), text);
            assert!(AgentEffect::KINDS.contains(&effect.kind()));
        }
        let outcome: Result<AgentOutcome, AgentError> = Ok(AgentOutcome::Called(vec![
            Ok(ToolResult { is_error: false, content: vec![Content::text("x")], structured: None }),
            Err(AgentError::UnknownOutcome("files.write".to_owned())),
        ]));
        let text = serde_json::to_string(&outcome).expect("it serializes");
        let again: Result<AgentOutcome, AgentError> =
            serde_json::from_str(&text).expect("it deserializes");
        assert_eq!(serde_json::to_string(&again).expect("it serializes"), text);
    }
}
