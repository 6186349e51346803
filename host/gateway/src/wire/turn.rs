//! Turns of agents: what is asked, what they say on the way, and how they end.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use foreshore_control::conversations::SaidTurn;
use foreshore_control::store::conversations::TurnState;
use foreshore_control::turns::{Ended, TurnEvent, TurnUpdate};
use foreshore_domain::agent::TurnBudget;
use foreshore_domain::conversation::{QuestionKind, Served, TurnEnd, TurnUsage, Until};
use foreshore_domain::effect::AgentError;
use foreshore_domain::outcome::{Content, ContentBody};
use serde::Serialize;
use serde_json::value::RawValue;

use super::approval::{ApprovalSchema, decision_word};
use super::content::ContentSchema;

/// A message for an agent.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[schema(as = NewTurn)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewTurnSchema {
    /// The conversation to go on in; a new one if left out.
    #[serde(default)]
    pub(crate) conversation: Option<String>,
    /// A text, or a list of parts: `{"type": "text", "text": ...}`,
    /// `{"type": "image", "mime_type": ..., "data": base64}`.
    #[schema(value_type = Object)]
    pub(crate) message: MessageSchema,
    /// As the agent's schema says.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub(crate) parameters: Option<Box<RawValue>>,
    /// What the turn may use; never more than the configuration lets it.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub(crate) budget: Option<Box<RawValue>>,
}

/// Reads what a turn may use.
///
/// # Errors
/// A JSON Pointer (RFC 6901) to the part at fault, and what is wrong with it.
pub(crate) fn turn_budget(given: &RawValue) -> Result<TurnBudget, (String, String)> {
    let error = match serde_json::from_str::<TurnBudget>(given.get()) {
        Ok(budget) => return Ok(budget),
        Err(error) => error.to_string(),
    };
    // The first of its members that is at fault by itself.
    let members: BTreeMap<String, &RawValue> =
        serde_json::from_str(given.get()).unwrap_or_default();
    let at_fault = members.into_iter().find_map(|(name, value)| {
        let alone = serde_json::to_string(&BTreeMap::from([(&name, value)])).ok()?;
        let error = serde_json::from_str::<TurnBudget>(&alone).err()?;
        let name = name.replace('~', "~0").replace('/', "~1");
        Some((format!("/budget/{name}"), error.to_string()))
    });
    Err(at_fault.unwrap_or_else(|| ("/budget".to_owned(), error)))
}

/// A message: a text, or parts.
#[derive(serde::Deserialize)]
#[serde(untagged)]
pub(crate) enum MessageSchema {
    Text(String),
    Parts(Vec<PartSchema>),
}

/// One part of a message.
#[derive(serde::Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum PartSchema {
    Text { text: String },
    Image { mime_type: String, data: String },
}

/// How a turn ended, or what it is at.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Turn)]
pub(crate) struct TurnSchema<'a> {
    /// `turn_` and 32 hex digits.
    turn_id: String,
    /// In which conversation.
    conversation: &'a str,
    /// Its place there, from 0.
    number: u64,
    /// `queued`, `running`, `waiting`, `completed`, `failed` or `cancelled`.
    state: &'static str,
    /// What was said, where the turn is read again.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<ReplySchema<'a>>,
    /// What the agent answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    reply: Option<ReplySchema<'a>>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<TurnErrorSchema<'a>>,
    usage: TurnUsageSchema,
    /// Answers of models and calls of tools together.
    steps: u64,
    /// The model that answered last.
    #[serde(skip_serializing_if = "Option::is_none")]
    served_by: Option<ServedBySchema<'a>>,
}

/// Who answered.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = ServedBy)]
pub(crate) struct ServedBySchema<'a> {
    backend: &'a str,
    model: &'a str,
    /// `primary`, `fallback`, `cache` or `local`.
    step: &'static str,
}

/// What somebody said.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Said)]
pub(crate) struct ReplySchema<'a> {
    /// All of its text.
    text: String,
    /// Its parts.
    #[schema(value_type = Vec<ContentSchema<'static>>)]
    content: Vec<ContentSchema<'a>>,
    /// `stop`, `budget` or `gave-up`: why the agent ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    finish: Option<&'static str>,
}

/// Why a turn failed.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = TurnError)]
pub(crate) struct TurnErrorSchema<'a> {
    /// Stable.
    pub(super) code: &'a str,
    pub(super) message: &'a str,
}

/// What a turn used.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = TurnUsage)]
pub(crate) struct TurnUsageSchema {
    /// Tokens that models read.
    input_tokens: u64,
    /// Tokens that models wrote.
    output_tokens: u64,
    /// In millionths of the operator's currency.
    cost_micros: u64,
    /// Answers of models.
    model_calls: u64,
    /// Calls of tools.
    tool_calls: u64,
    /// Rounds of the agent's loop.
    iterations: u64,
    /// Instructions of the agent's own code, in wasmtime's fuel.
    fuel: u64,
    /// From its start to its end, waiting for people left out.
    wall_ms: u64,
}

impl From<TurnUsage> for TurnUsageSchema {
    fn from(usage: TurnUsage) -> Self {
        let TurnUsage {
            input_tokens,
            output_tokens,
            cost_micros,
            model_calls,
            tool_calls,
            iterations,
            fuel,
            wall_ms,
        } = usage;
        Self {
            input_tokens,
            output_tokens,
            cost_micros,
            model_calls,
            tool_calls,
            iterations,
            fuel,
            wall_ms,
        }
    }
}

/// All text of a message, in order.
pub(crate) fn text_of(content: &[Content]) -> String {
    let mut text = String::new();
    for part in content {
        match &part.body {
            ContentBody::Text(more) => text.push_str(more),
            // Writing to a string cannot fail.
            ContentBody::Json(json) => {
                let _ = write!(text, "{}", json.get());
            }
            ContentBody::Image(_) | ContentBody::Audio(_) | ContentBody::Resource(_) => {}
        }
    }
    text
}

pub(super) fn said<'a>(content: &'a [Content], finish: Option<&'static str>) -> ReplySchema<'a> {
    ReplySchema {
        text: text_of(content),
        content: content.iter().map(ContentSchema::from).collect(),
        finish,
    }
}

fn served(by: &Served) -> ServedBySchema<'_> {
    let (backend, model) = (by.backend.as_str(), by.model.as_str());
    ServedBySchema { backend, model, step: by.step.as_str() }
}

fn state_word(state: TurnState) -> &'static str {
    match state {
        TurnState::Queued => "queued",
        TurnState::Running => "running",
        TurnState::Waiting(_) => "waiting",
        TurnState::Ended(end) => end_word(end),
    }
}

fn steps(usage: &TurnUsage) -> u64 {
    usage.model_calls.saturating_add(usage.tool_calls)
}

impl<'a> From<&'a Ended> for TurnSchema<'a> {
    fn from(ended: &'a Ended) -> Self {
        Self {
            turn_id: ended.turn.to_string(),
            conversation: ended.conversation.as_str(),
            number: ended.number,
            state: end_word(ended.end),
            message: None,
            reply: (ended.end == TurnEnd::Completed)
                .then(|| said(&ended.reply, ended.finish.map(|finish| finish.as_str()))),
            error: ended.error.as_ref().map(|(code, message)| TurnErrorSchema { code, message }),
            usage: ended.usage.into(),
            steps: steps(&ended.usage),
            served_by: ended.served_by.as_ref().map(served),
        }
    }
}

impl<'a> From<&'a SaidTurn> for TurnSchema<'a> {
    fn from(turn: &'a SaidTurn) -> Self {
        let entry = &turn.entry;
        Self {
            turn_id: entry.turn.to_string(),
            conversation: entry.conversation.as_str(),
            number: entry.number,
            state: state_word(entry.state),
            message: Some(said(&turn.message, None)),
            reply: entry
                .reply
                .is_some()
                .then(|| said(&turn.reply, entry.finish.map(|finish| finish.as_str()))),
            error: entry.error.as_ref().map(|error| TurnErrorSchema {
                code: error.code.as_str(),
                message: error.message.as_str(),
            }),
            usage: entry.usage.into(),
            steps: steps(&entry.usage),
            served_by: entry.served_by.as_ref().map(served),
        }
    }
}

/// The name of an ending.
pub(crate) fn end_word(end: TurnEnd) -> &'static str {
    match end {
        TurnEnd::Completed => "completed",
        TurnEnd::Failed => "failed",
        TurnEnd::Cancelled => "cancelled",
    }
}

/// A turn that was taken and has not ended: the answer to `Prefer: respond-async`.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = TakenTurn)]
pub(crate) struct TakenTurnSchema<'a> {
    pub(crate) turn_id: String,
    pub(crate) conversation: &'a str,
    pub(crate) number: u64,
    /// `queued`.
    pub(crate) state: &'static str,
    /// Where its state is read.
    pub(crate) status_url: String,
}

/// The name of an update, and its data as JSON.
pub(crate) fn update(update: &TurnUpdate) -> (&'static str, serde_json::Value) {
    use serde_json::json;
    let turn = update.turn.to_string();
    match &update.event {
        TurnEvent::Queued { conversation, number, agent } => (
            "turn.queued",
            json!({"turn_id": turn, "conversation": conversation.as_str(), "number": number, "agent": agent}),
        ),
        TurnEvent::Started { component } => {
            ("turn.started", json!({"turn_id": turn, "component": component}))
        }
        TurnEvent::Resumed { effects } => {
            ("turn.resumed", json!({"turn_id": turn, "effects": effects}))
        }
        TurnEvent::MessageDelta(text) => ("message.delta", json!({"turn_id": turn, "text": text})),
        TurnEvent::ThinkingDelta(text) => {
            ("thinking.delta", json!({"turn_id": turn, "text": text}))
        }
        TurnEvent::Phase { name, message } => {
            ("turn.phase", json!({"turn_id": turn, "name": name, "message": message}))
        }
        TurnEvent::ToolCall { number, index, call_id, tool } => (
            "tool.call",
            json!({"turn_id": turn, "effect": number, "index": index, "call_id": call_id.to_string(), "tool": tool}),
        ),
        TurnEvent::ToolResult { number, index, tool, arguments, result } => {
            ("tool.result", tool_result(&turn, (*number, *index), tool, arguments, result))
        }
        TurnEvent::Inferred { served_by, finish, usage, thinking } => {
            let mut answered =
                json!({"turn_id": turn, "served_by": served_by, "finish": finish, "usage": usage});
            if let Some(thinking) = thinking {
                answered["thinking"] = thinking.as_str().into();
            }
            ("model.answered", answered)
        }
        TurnEvent::Delegated { to } => {
            ("turn.delegated", json!({"turn_id": turn, "to": to.to_string()}))
        }
        TurnEvent::Question(asked) => {
            let name = match asked.kind {
                QuestionKind::Approve { .. } => "approval.required",
                QuestionKind::Ask { .. } => "question.asked",
            };
            (name, value(&ApprovalSchema::new(asked, None)))
        }
        TurnEvent::Answered { question, decision } => (
            "approval.decided",
            json!({"turn_id": turn, "id": question.to_string(), "state": decision_word(decision)}),
        ),
        TurnEvent::ApprovalRequested(asked) => {
            ("approval.required", value(&ApprovalSchema::requested(asked)))
        }
        TurnEvent::ApprovalClosed(closed) => (
            "approval.decided",
            json!({"turn_id": turn, "id": closed.approval.to_string(), "state": closed.state.as_str()}),
        ),
        TurnEvent::Waiting { until } => {
            ("turn.waiting", json!({"turn_id": turn, "until": waits(until)}))
        }
        TurnEvent::Note { kind, payload } => {
            let payload: serde_json::Value = serde_json::from_str(payload).unwrap_or_default();
            ("turn.note", json!({"turn_id": turn, "kind": kind, "payload": payload}))
        }
        TurnEvent::Ended(ended) => {
            let name = match ended.end {
                TurnEnd::Completed => "turn.completed",
                TurnEnd::Failed | TurnEnd::Cancelled => "error",
            };
            (name, value(&TurnSchema::from(&**ended)))
        }
        TurnEvent::Lagged { missed } => {
            ("stream.lagged", json!({"turn_id": turn, "missed": missed}))
        }
        _ => ("turn.note", json!({"turn_id": turn})),
    }
}

fn tool_result(
    turn: &str,
    (number, index): (u64, u32),
    tool: &str,
    arguments: &str,
    result: &Result<foreshore_domain::outcome::ToolResult, AgentError>,
) -> serde_json::Value {
    let arguments: serde_json::Value =
        serde_json::from_str(arguments).unwrap_or_else(|_| arguments.into());
    let mut said = serde_json::json!({
        "turn_id": turn, "effect": number, "index": index, "tool": tool, "arguments": arguments,
    });
    match result {
        Ok(result) => {
            said["is_error"] = result.is_error.into();
            said["text"] = text_of(&result.content).into();
        }
        Err(error) => {
            said["is_error"] = true.into();
            said["error"] = error.to_string().into();
        }
    }
    said
}

fn waits(until: &Until) -> serde_json::Value {
    match until {
        Until::Question(question) => serde_json::json!({"approval": question.to_string()}),
        Until::Approval(approval) => serde_json::json!({"approval": approval.to_string()}),
        Until::AtUnixMs(at) => serde_json::json!({"at_unix_ms": at}),
        Until::Turn(turn) => serde_json::json!({"turn_id": turn.to_string()}),
    }
}

fn value(schema: &impl Serialize) -> serde_json::Value {
    serde_json::to_value(schema).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_budget_is_pointed_at() {
        for (given, pointer, says) in [
            (r#"{"tokens": 0}"#, "/budget/tokens", "nonzero"),
            (r#"{"wall_ms": 5, "tokens": "many"}"#, "/budget/tokens", "invalid type"),
            (r#"{"tokns": 5}"#, "/budget/tokns", "unknown field"),
            (r#"{"a/b~": 5}"#, "/budget/a~1b~0", "unknown field"),
            ("5", "/budget", "invalid type"),
        ] {
            let given = RawValue::from_string(given.to_owned()).expect("JSON");
            let (at, message) = turn_budget(&given).expect_err("it is at fault");
            assert_eq!(at, pointer, "{given}");
            assert!(message.contains(says), "{message}");
        }
        let given = RawValue::from_string(r#"{"tokens": 5}"#.to_owned()).expect("JSON");
        assert_eq!(turn_budget(&given).map(|budget| budget.tokens.get()), Ok(5));
    }
}
