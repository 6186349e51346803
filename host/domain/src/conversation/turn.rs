//! The payloads of turns.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::error::ConversationError;
use super::{MessageText, Name, Payload};
use crate::agent::{Finish, ToolPattern, TurnBudget};
use crate::blob::BlobDigest;
use crate::id::{ApprovalId, CallId, QuestionId, TurnId};
use crate::identity::AskedBy;
use crate::inference::{ServedBy, Step};
use crate::memory::{Conversation, JsonText};

/// `turn.queued`: a message was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TurnQueued {
    /// The turn that will answer it.
    pub turn: TurnId,
    /// In which conversation.
    pub conversation: Conversation,
    /// How many turns the conversation had before it.
    pub number: u64,
    /// Who is to answer.
    pub agent: Name,
    /// JSON of a list of `Content`.
    pub message: Payload,
    /// What was said before it, where the caller keeps the conversation: JSON of a list of
    /// `inference::Message`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<Payload>,
    /// JSON that matches the agent's schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Payload>,
    /// What the caller lets it use; never more than the agent may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<TurnBudget>,
    /// The turn that asked for it, if no person did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegated_by: Option<TurnId>,
    /// On whose behalf; the host's own if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_by: Option<AskedBy>,
    /// The blobs that it needs; [`super::Fact::event`] fills it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blobs: Vec<BlobDigest>,
}

/// `turn.started`: all that it takes to run the turn again the same way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TurnStarted {
    /// Which.
    pub turn: TurnId,
    /// `assistant@0.1.0`.
    pub component: Name,
    /// Of the component's bytes: `sha256:…`.
    pub digest: Name,
    /// What all random numbers follow from.
    pub seed: Seed,
    /// When it began, in milliseconds since 1970.
    pub began_at_unix_ms: u64,
    /// What the agent might reach and use then.
    pub settings: TurnSettings,
}

/// What an agent may reach and use in a turn.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TurnSettings {
    /// The model it asks where it names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<Name>,
    /// The models it may name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<Name>,
    /// The tools it may call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<ToolPattern>,
    /// The agents it may delegate to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<Name>,
    /// The namespaces of memory it may reach.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub memory: Vec<MemoryReach>,
    /// What it may use.
    #[serde(default)]
    pub budget: TurnBudget,
    /// Its parameters, the defaults of the configuration included: a JSON object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<JsonText>,
}

/// Namespaces of memory that an agent may reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemoryReach {
    /// `notes`, `team-*`, to read.
    ReadOnly(Name),
    /// The same, to read and write.
    ReadWrite(Name),
}

/// `turn.resumed`: it runs again on its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TurnResumed {
    /// Which.
    pub turn: TurnId,
    /// How many effects were on record.
    pub effects: u64,
}

/// `turn.waiting`: it takes no memory until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TurnWaiting {
    /// Which.
    pub turn: TurnId,
    /// The number of the effect that waits.
    pub number: u64,
    /// What for.
    pub until: Until,
}

/// What a turn waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Until {
    /// A person's answer.
    Question(QuestionId),
    /// A time, in milliseconds since 1970.
    AtUnixMs(u64),
    /// The end of a turn that it delegated to.
    Turn(TurnId),
    /// What people decide of a call, since a rule asks them.
    Approval(ApprovalId),
}

/// `turn.intended`: it is about to do something that changes something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TurnIntended {
    /// Which.
    pub turn: TurnId,
    /// The number of the effect, from 0.
    pub number: u64,
    /// `call-tools`.
    pub effect: Name,
    /// Of its kind and JSON.
    pub digest: EffectDigest,
    /// The calls it is about to make, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<IntendedCall>,
    /// The turn it is about to delegate to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegated_to: Option<TurnId>,
}

/// A call whose id was made before it began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntendedCall {
    /// Its id.
    pub call_id: CallId,
    /// `files.write`, as the agent wrote it and as far as there is room.
    pub tool: Name,
    /// What it waits for, where a rule asks people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalId>,
}

/// `turn.effect`: what it asked for, and was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TurnEffect {
    /// Which turn.
    pub turn: TurnId,
    /// The number of the effect, from 0.
    pub number: u64,
    /// `infer`.
    pub effect: Name,
    /// Of its kind and JSON.
    pub digest: EffectDigest,
    /// JSON of the `AgentEffect`.
    pub request: Payload,
    /// JSON of the `Result<AgentOutcome, AgentError>`.
    pub outcome: Payload,
    /// The time that the guest's clocks show after it, in milliseconds since 1970.
    pub at_unix_ms: u64,
    /// The blobs that it needs; [`super::Fact::event`] fills it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blobs: Vec<BlobDigest>,
}

/// `turn.tool_result`: one of several calls of an effect has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TurnToolResult {
    /// Which turn.
    pub turn: TurnId,
    /// The number of the effect.
    pub number: u64,
    /// Which of its calls, from 0.
    pub index: u32,
    /// The call's id.
    pub call_id: CallId,
    /// JSON of the `Result<ToolResult, AgentError>`.
    pub outcome: Payload,
    /// The blobs that it needs; [`super::Fact::event`] fills it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blobs: Vec<BlobDigest>,
}

/// `turn.phase`: the agent says what it does now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TurnPhase {
    /// Which turn.
    pub turn: TurnId,
    /// `planning`, `executing`.
    pub phase: Name,
    /// About it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<MessageText>,
}

/// `turn.note`: the agent put an event on the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TurnNote {
    /// Which turn.
    pub turn: TurnId,
    /// The agent's own name for it.
    pub note: Name,
    /// Its JSON.
    pub payload: Payload,
    /// The blobs that it needs; [`super::Fact::event`] fills it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blobs: Vec<BlobDigest>,
}

/// `turn.ended`: it is over, and the next of its conversation may run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TurnEnded {
    /// Which.
    pub turn: TurnId,
    /// In which conversation.
    pub conversation: Conversation,
    /// Its place there.
    pub number: u64,
    /// How.
    pub end: TurnEnd,
    /// JSON of a list of `Content`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<Payload>,
    /// Why it ended with a reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish: Option<Finish>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<TurnFailure>,
    /// What it used.
    #[serde(default)]
    pub usage: TurnUsage,
    /// The model server and model that answered last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served_by: Option<Served>,
    /// The blobs that it needs; [`super::Fact::event`] fills it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blobs: Vec<BlobDigest>,
}

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TurnEnd {
    /// With a reply.
    Completed,
    /// With an error.
    Failed,
    /// Because somebody said so.
    Cancelled,
}

/// Why a turn failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TurnFailure {
    /// A stable name.
    pub code: Name,
    /// For people.
    pub message: MessageText,
}

/// What a turn used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TurnUsage {
    /// Tokens that models read.
    pub input_tokens: u64,
    /// Tokens that models wrote.
    pub output_tokens: u64,
    /// In millionths of the operator's currency.
    pub cost_micros: u64,
    /// Answers of models.
    pub model_calls: u64,
    /// Calls of tools.
    pub tool_calls: u64,
    /// Rounds of the agent's loop.
    pub iterations: u64,
    /// Fuel that the agent's own code took.
    pub fuel: u64,
    /// From its start to its end, waiting for people left out.
    pub wall_ms: u64,
}

/// Who answered: [`ServedBy`] in names that fit an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Served {
    /// The backend's name in the configuration.
    pub backend: Name,
    /// The model, as the backend names it.
    pub model: Name,
    /// Which step of the fallback chain.
    pub step: Step,
}

impl From<&ServedBy> for Served {
    fn from(by: &ServedBy) -> Self {
        let name = |text: &str| {
            Name::cut(text).or_else(|| Name::cut("-")).expect("invariant: a dash is a name")
        };
        Self { backend: name(&by.backend), model: name(&by.model), step: by.step }
    }
}

macro_rules! hex32 {
    ($($(#[doc = $doc:literal])+ $name:ident: $what:literal;)+) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// From its bytes.
            pub fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// Its bytes.
            pub fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&crate::blob::Hex(&self.0))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                let bytes = crate::blob::from_hex(&text);
                bytes.map(Self).ok_or(ConversationError::Hex { what: $what })
                    .map_err(serde::de::Error::custom)
            }
        }
    )+};
}

hex32! {
    /// What the random numbers of a turn follow from: 32 bytes, 64 hex digits in lower case.
    Seed: "a seed";
    /// BLAKE3 of an effect's kind and JSON: 64 hex digits in lower case.
    EffectDigest: "a digest of an effect";
}
