//! What waits for people: questions of agents, and calls that a rule asks about.

use foreshore_control::store::approvals::{ApprovalEntry, VoteEntry};
use foreshore_domain::approval::{ApprovalRequested, Scope, Vote};
use foreshore_domain::conversation::{Decision, QuestionAsked, QuestionKind};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Something that waits, or waited, for people.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Approval)]
pub(crate) struct ApprovalSchema<'a> {
    /// `ask_` for an agent's question or `apr_` for a call that a rule asks about, and 32 hex
    /// digits.
    pub(crate) id: String,
    /// `call`: a rule asks about a call of a tool; `approve`: an agent asks for something to be
    /// allowed; `ask`: an agent asks for something to be answered.
    pub(crate) kind: &'static str,
    /// The turn that waits; none where a client called a tool itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) turn_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) conversation: Option<&'a str>,
    /// What is to be done, or what is asked.
    pub(crate) message: String,
    /// What a person needs to decide.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub(crate) details: Option<&'a RawValue>,
    /// JSON Schema of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub(crate) schema: Option<&'a RawValue>,
    /// Milliseconds since 1970; then it is refused.
    pub(crate) expires_at_unix_ms: u64,
    /// `pending`, `approved`, `denied`, `expired` or `cancelled`; a question is also `answered` or
    /// `declined`, a call also `used` once it began, or `revoked`.
    pub(crate) state: &'static str,
    /// Who decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) decided_by: Option<&'a str>,
    /// The call, where a rule asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) call: Option<ApprovalCallSchema<'a>>,
}

/// A call that a rule asks about.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = ApprovalCall)]
pub(crate) struct ApprovalCallSchema<'a> {
    /// `files.write`
    tool: &'a str,
    /// Name and version of the component.
    component: &'a str,
    /// SHA-256 of the component.
    digest: String,
    /// As they will be used: JSON in its canonical form.
    #[schema(value_type = Object)]
    arguments: Option<&'a RawValue>,
    /// As they were asked for, where somebody has changed them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    arguments_before: Option<&'a RawValue>,
    /// Who changed them.
    #[serde(skip_serializing_if = "Option::is_none")]
    edited_by: Option<&'a str>,
    /// Who asks: a principal, or `agent:NAME`.
    subject: &'a str,
    /// SHA-256 of all that the approval is good for.
    binding: String,
    /// `low`, `medium`, `high` or `critical`
    risk: &'static str,
    /// Why the rule asks.
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
    /// Roles of which an approver has one; any where there are none.
    approvers: Vec<&'a str>,
    /// How many must agree.
    quorum: u32,
    /// What was said.
    votes: Vec<VoteSchema<'a>>,
    /// `conversation` or `always`, where it lasts beyond this call.
    #[serde(skip_serializing_if = "Option::is_none")]
    standing: Option<&'static str>,
    /// The call that it was used by.
    #[serde(skip_serializing_if = "Option::is_none")]
    used_by: Option<String>,
    /// Who took it back.
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_by: Option<&'a str>,
}

/// What somebody said.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Vote)]
struct VoteSchema<'a> {
    /// `approve` or `deny`
    decision: &'static str,
    by: &'a str,
    /// `once`, `conversation` or `always`
    scope: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    at_unix_ms: u64,
}

impl<'a> From<&'a VoteEntry> for VoteSchema<'a> {
    fn from(vote: &'a VoteEntry) -> Self {
        Self {
            decision: match vote.vote {
                Vote::Approve => "approve",
                Vote::Deny => "deny",
            },
            by: vote.by.as_str(),
            scope: vote.scope.as_str(),
            reason: vote.reason.as_ref().map(|reason| reason.as_str()),
            at_unix_ms: vote.at_unix_ms,
        }
    }
}

fn raw(text: &str) -> Option<&RawValue> {
    serde_json::from_str(text).ok()
}

impl<'a> ApprovalSchema<'a> {
    pub(crate) fn new(asked: &'a QuestionAsked, decided: Option<(&Decision, &'a str)>) -> Self {
        let (kind, details, schema) = match &asked.kind {
            QuestionKind::Approve { details } => ("approve", raw(details.as_str()), None),
            QuestionKind::Ask { schema } => ("ask", None, raw(schema.as_str())),
        };
        Self {
            id: asked.question.to_string(),
            kind,
            turn_id: Some(asked.turn.to_string()),
            conversation: Some(asked.conversation.as_str()),
            message: asked.message.as_str().to_owned(),
            details,
            schema,
            expires_at_unix_ms: asked.expires_at_unix_ms,
            state: decided.map_or("pending", |(decision, _)| decision_word(decision)),
            decided_by: decided.map(|(_, by)| by),
            call: None,
        }
    }

    /// A call that waits.
    pub(crate) fn requested(asked: &'a ApprovalRequested) -> Self {
        let terms = &asked.terms;
        let call = ApprovalCallSchema {
            tool: &asked.tool,
            component: &asked.component,
            digest: asked.digest.to_string(),
            arguments: raw(asked.arguments.as_str()),
            arguments_before: None,
            edited_by: None,
            subject: &asked.subject,
            binding: asked.binding.to_string(),
            risk: terms.risk.as_str(),
            reason: &terms.reason,
            approvers: terms.approvers.iter().map(|role| role.as_str()).collect(),
            quorum: terms.quorum.get(),
            votes: Vec::new(),
            standing: None,
            used_by: None,
            revoked_by: None,
        };
        let origin = asked.origin.as_ref();
        Self {
            id: asked.approval.to_string(),
            kind: "call",
            turn_id: origin.map(|origin| origin.turn.to_string()),
            conversation: origin.map(|origin| origin.conversation.as_str()),
            message: format!("{} calls {}", asked.subject, asked.tool),
            details: raw(asked.arguments.as_str()),
            schema: None,
            expires_at_unix_ms: asked.expires_at_unix_ms,
            state: "pending",
            decided_by: None,
            call: Some(call),
        }
    }

    /// A call, and what became of it.
    pub(crate) fn entry(entry: &'a ApprovalEntry) -> Self {
        let mut schema = Self::requested(&entry.requested);
        schema.state = entry.state.as_str();
        schema.details = raw(entry.arguments().as_str());
        if entry.closed_seq.is_some() {
            schema.decided_by = entry.votes.last().map(|vote| vote.by.as_str());
        }
        if let Some(call) = &mut schema.call {
            call.arguments = raw(entry.arguments().as_str());
            if let Some(edited) = &entry.edited {
                call.arguments_before = raw(entry.requested.arguments.as_str());
                call.edited_by = Some(edited.by.as_str());
                call.binding.clone_from(&edited.binding);
            }
            call.votes = entry.votes.iter().map(VoteSchema::from).collect();
            call.standing = entry.standing.as_ref().map(|standing| standing.scope.as_str());
            call.used_by = entry.used_by.map(|call| call.to_string());
            call.revoked_by = entry.revoked_by.as_ref().map(|by| by.as_str());
        }
        schema
    }
}

pub(crate) fn decision_word(decision: &Decision) -> &'static str {
    match decision {
        Decision::Approved => "approved",
        Decision::Denied => "denied",
        Decision::Accepted(_) => "answered",
        Decision::Declined => "declined",
        Decision::Cancelled => "cancelled",
        Decision::Expired => "expired",
    }
}

/// What waits for people.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Approvals)]
pub(crate) struct ApprovalsSchema<'a> {
    pub(crate) approvals: Vec<ApprovalSchema<'a>>,
}

/// What a person decides.
#[derive(Deserialize, utoipa::ToSchema)]
#[schema(as = Decision)]
#[serde(deny_unknown_fields)]
pub(crate) struct DecisionSchema {
    /// `approve` or `deny`; to a question, `answer` or `decline`.
    pub(crate) decision: String,
    /// The answer, as the question's schema says.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub(crate) answer: Option<Box<RawValue>>,
    /// Of a call: `once`, `conversation` for calls of this shape in the same conversation as well,
    /// or `always`.
    #[serde(default)]
    pub(crate) scope: Option<ScopeSchema>,
    /// Of a call: other arguments, to which the yes is.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub(crate) arguments: Option<serde_json::Value>,
    /// Of a call: why.
    #[serde(default)]
    pub(crate) reason: Option<String>,
    /// Of a call: the `binding` that was seen; another one is refused.
    #[serde(default)]
    pub(crate) binding: Option<String>,
}

impl DecisionSchema {
    /// Whether it says something that only a call takes.
    pub(crate) fn is_of_a_call(&self) -> bool {
        self.scope.is_some()
            || self.arguments.is_some()
            || self.reason.is_some()
            || self.binding.is_some()
    }
}

/// What a yes is good for.
#[derive(Clone, Copy, Deserialize, utoipa::ToSchema)]
#[schema(as = Scope)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ScopeSchema {
    /// This call.
    Once,
    /// Calls of this shape in this conversation as well.
    Conversation,
    /// Calls of this shape as well, until it is revoked.
    Always,
}

impl From<ScopeSchema> for Scope {
    fn from(scope: ScopeSchema) -> Self {
        match scope {
            ScopeSchema::Once => Self::Once,
            ScopeSchema::Conversation => Self::Conversation,
            ScopeSchema::Always => Self::Always,
        }
    }
}

/// A call that waits for a person.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = ApprovalRequired)]
pub(crate) struct ApprovalRequiredSchema {
    /// To be sent as `Foreshore-Approval` with the same call, once it is approved.
    pub(crate) approval_id: String,
    /// Where it is read what became of it.
    pub(crate) status_url: String,
    /// `pending`.
    pub(crate) state: &'static str,
    /// Milliseconds since 1970; then it is refused.
    pub(crate) expires_at_unix_ms: u64,
}
