//! The rows of the view, and their keys.

use foreshore_domain::agent::{Finish, TurnBudget};
use foreshore_domain::conversation::{
    Conversation, Excerpt, ForkedFrom, Name, Payload, Served, SummaryText, Title, TurnEnd,
    TurnFailure, TurnUsage, Until,
};
use foreshore_domain::id::TurnId;
use foreshore_domain::identity::AskedBy;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::super::codec::{Readable, Rows, put_part};
use super::super::{ViewError, storage};
use super::MALFORMED;

/// A conversation, without its turns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConversationEntry {
    /// Its id.
    pub conversation: Conversation,
    /// The agent that it is with.
    pub agent: Name,
    /// What a person calls it.
    pub title: Option<Title>,
    /// When it began, in milliseconds since 1970.
    pub created_at_unix_ms: u64,
    /// When a turn was taken or ended, or it was changed, last.
    pub updated_at_unix_ms: u64,
    /// The event by which that happened: conversations are listed in this order.
    pub updated_seq: u64,
    /// How many turns it has, those that have not ended included.
    pub turns: u64,
    /// How many of them have not ended.
    pub open_turns: u64,
    /// Whether it is out of the way.
    pub archived: bool,
    /// Where its first turns come from.
    pub forked_from: Option<ForkedFrom>,
    /// The turn that began it, if no person did.
    pub delegated_by: Option<TurnId>,
    /// Of the last message or reply.
    pub last_excerpt: Excerpt,
}

/// A turn: what it was asked, and what it answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnEntry {
    /// Its id. That of a fork's turns is the turn that was copied.
    pub turn: TurnId,
    /// In which conversation.
    pub conversation: Conversation,
    /// Its place there, from 0.
    pub number: u64,
    /// Who answers.
    pub agent: Name,
    /// JSON of a list of `Content`.
    pub message: Payload,
    /// What was said before it, where the caller keeps the conversation: JSON of a list of
    /// `inference::Message`.
    pub history: Option<Payload>,
    /// JSON.
    pub parameters: Option<Payload>,
    /// What the caller lets it use.
    pub budget: Option<TurnBudget>,
    /// The turn that asked for it, if no person did.
    pub delegated_by: Option<TurnId>,
    /// On whose behalf; the host's own if absent.
    #[serde(default)]
    pub asked_by: Option<AskedBy>,
    /// What it is at.
    pub state: TurnState,
    /// When its message was taken, in milliseconds since 1970.
    pub queued_at_unix_ms: u64,
    /// When it ran for the first time.
    pub began_at_unix_ms: Option<u64>,
    /// When it ended.
    pub ended_at_unix_ms: Option<u64>,
    /// The event by which it ended; 0 before that.
    pub ended_seq: u64,
    /// The component that ran: `assistant@0.1.0`.
    pub component: Option<Name>,
    /// JSON of a list of `Content`.
    pub reply: Option<Payload>,
    /// Why it ended with a reply.
    pub finish: Option<Finish>,
    /// Why it failed.
    pub error: Option<TurnFailure>,
    /// What it used.
    pub usage: TurnUsage,
    /// What answered last.
    pub served_by: Option<Served>,
}

impl TurnEntry {
    /// Everything in it that may be in a blob.
    pub(super) fn payloads(&self) -> impl Iterator<Item = &Payload> {
        [&self.message].into_iter().chain(&self.history).chain(&self.parameters).chain(&self.reply)
    }
}

/// What a turn is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TurnState {
    /// It has not begun.
    Queued,
    /// It runs, or ran when the host went down.
    Running,
    /// It takes no memory until then.
    Waiting(Until),
    /// It is over.
    Ended(TurnEnd),
}

/// A turn that has not ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenTurn {
    /// Its id.
    pub turn: TurnId,
    /// In which conversation.
    pub conversation: Conversation,
    /// Its place there.
    pub number: u64,
    /// Who answers.
    pub agent: Name,
    /// Never [`TurnState::Ended`].
    pub state: TurnState,
    /// When its message was taken, in milliseconds since 1970.
    pub queued_at_unix_ms: u64,
    /// When it ran for the first time.
    pub began_at_unix_ms: Option<u64>,
    /// The component that runs.
    pub component: Option<Name>,
}

/// The rolling summary of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// What it says.
    pub text: SummaryText,
    /// The last turn that it covers.
    pub through_turn: u64,
    /// When it was made, in milliseconds since 1970.
    pub at_unix_ms: u64,
}

/// What listing needs to know of a conversation to pass over it.
#[derive(Serialize, Deserialize)]
pub(super) struct Listed {
    pub(super) conversation: Conversation,
    pub(super) agent: Name,
    pub(super) archived: bool,
}

/// Where a turn is.
#[derive(Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) conversation: Conversation,
    pub(super) number: u64,
}

pub(super) fn read<T: DeserializeOwned>(
    rows: &impl Readable,
    key: &[u8],
) -> Result<Option<T>, ViewError> {
    let row = rows.get(key).map_err(storage)?;
    row.map(|row| parse(row.value())).transpose()
}

pub(super) fn parse<T: DeserializeOwned>(row: &[u8]) -> Result<T, ViewError> {
    serde_json::from_slice(row).map_err(|_| MALFORMED)
}

pub(super) fn write(
    rows: &mut Rows<'_>,
    key: &[u8],
    row: &impl Serialize,
) -> Result<(), ViewError> {
    let bytes = serde_json::to_vec(row).map_err(|_| MALFORMED)?;
    rows.insert(key, &*bytes).map(drop).map_err(storage)
}

pub(super) fn remove(rows: &mut Rows<'_>, key: &[u8]) -> Result<(), ViewError> {
    rows.remove(key).map(drop).map_err(storage)
}

/// A letter and a tenant.
pub(super) fn of_tenant(kind: u8, tenant: &str) -> Vec<u8> {
    let mut key = vec![kind];
    put_part(&mut key, tenant.as_bytes());
    key
}

/// A letter, a tenant and a conversation.
pub(super) fn of(kind: u8, tenant: &str, conversation: &Conversation) -> Vec<u8> {
    let mut key = of_tenant(kind, tenant);
    put_part(&mut key, conversation.as_str().as_bytes());
    key
}

pub(super) fn numbered(
    kind: u8,
    tenant: &str,
    conversation: &Conversation,
    number: u64,
) -> Vec<u8> {
    let mut key = of(kind, tenant, conversation);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

pub(super) fn of_turn(kind: u8, tenant: &str, turn: TurnId) -> Vec<u8> {
    let mut key = of_tenant(kind, tenant);
    key.extend_from_slice(turn.to_string().as_bytes());
    key
}

pub(super) fn listed_key(tenant: &str, seq: u64) -> Vec<u8> {
    let mut key = of_tenant(b'l', tenant);
    key.extend_from_slice(&seq.to_be_bytes());
    key
}
