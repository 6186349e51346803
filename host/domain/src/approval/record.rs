//! What is recorded of approvals.

use serde::{Deserialize, Serialize};

use super::{Nonce, Terms};
use crate::conversation::{Conversation, MessageText, Name};
use crate::event::{EventKind, NewEvent, Stream, Tenant};
use crate::id::{ApprovalId, CallId, Digest, TurnId};
use crate::memory::JsonText;

/// The most that the arguments of a call have, in their canonical form, that a person decides: more
/// than this nobody reads.
pub const ARGUMENTS_MAX_BYTES: usize = 24 << 10;

/// The kinds of events about approvals, as the journal names them.
pub mod kind {
    use crate::event::EventKind;

    /// [`super::ApprovalRequested`].
    pub const REQUESTED: &str = "approval.requested";
    /// [`super::ApprovalVoted`].
    pub const VOTED: &str = "approval.voted";
    /// [`super::ApprovalClosed`].
    pub const CLOSED: &str = "approval.closed";
    /// [`super::ApprovalUsed`].
    pub const USED: &str = "approval.used";
    /// [`super::ApprovalRevoked`].
    pub const REVOKED: &str = "approval.revoked";

    /// All of them.
    pub const ALL: [EventKind; 5] = [
        EventKind::ApprovalRequested,
        EventKind::ApprovalVoted,
        EventKind::ApprovalClosed,
        EventKind::ApprovalUsed,
        EventKind::ApprovalRevoked,
    ];
}

/// A call waits for a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalRequested {
    /// Which.
    pub approval: ApprovalId,
    /// SHA-256 of what it is good for.
    #[serde(with = "digest")]
    pub binding: Digest,
    /// `files.write`.
    pub tool: String,
    /// `files@1.0.0`.
    pub component: String,
    /// Its bytes.
    #[serde(with = "digest")]
    pub digest: Digest,
    /// In their canonical form.
    pub arguments: JsonText,
    /// Of the rules and the component's grant.
    #[serde(with = "digest")]
    pub policy: Digest,
    /// Who asks: a principal, or `agent:NAME`.
    pub subject: String,
    /// Until when it can be decided and used, in milliseconds since 1970.
    pub expires_at_unix_ms: u64,
    /// Makes the binding differ from every other.
    pub nonce: Nonce,
    /// Who decides.
    pub terms: Terms,
    /// Where it comes from, if an agent asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

/// The turn that a call is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The agent's name in the configuration.
    pub agent: String,
    /// Which turn.
    pub turn: TurnId,
    /// In which conversation.
    pub conversation: Conversation,
    /// The number of the effect.
    pub number: u64,
}

/// What somebody said to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Vote {
    /// Yes.
    Approve,
    /// No.
    Deny,
}

/// What a yes is good for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// This call.
    #[default]
    Once,
    /// Calls of this shape in this conversation as well.
    Conversation,
    /// Calls of this shape as well, until it is revoked.
    Always,
}

impl Scope {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Once => "once",
            Self::Conversation => "conversation",
            Self::Always => "always",
        }
    }
}

/// Somebody said yes or no.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalVoted {
    /// To which request.
    pub approval: ApprovalId,
    /// What.
    pub vote: Vote,
    /// Who.
    pub by: Name,
    /// What a yes is good for.
    #[serde(default)]
    pub scope: Scope,
    /// Other arguments, to which the yes is; earlier votes count no longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited: Option<Edited>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<MessageText>,
}

/// Arguments that somebody put in place of those that were asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edited {
    /// In their canonical form.
    pub arguments: JsonText,
    /// SHA-256 of what the approval is good for now.
    #[serde(with = "digest")]
    pub binding: Digest,
}

/// What a request came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalState {
    /// It waits.
    #[default]
    Pending,
    /// It may be used.
    Approved,
    /// It may not.
    Denied,
    /// Nobody decided in time, which is a no.
    Expired,
    /// Whoever asked is gone.
    Cancelled,
    /// Its call was begun.
    Used,
    /// It was taken back.
    Revoked,
}

impl ApprovalState {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Used => "used",
            Self::Revoked => "revoked",
        }
    }
}

/// A request is decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalClosed {
    /// Which.
    pub approval: ApprovalId,
    /// How: approved, denied, expired or cancelled.
    pub state: ApprovalState,
    /// Calls of this shape are approved as well, in the scope that was agreed on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing: Option<Standing>,
}

/// What a lasting approval is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// How long.
    pub scope: Scope,
    /// Of the arguments, as [`super::shape`] gives it.
    #[serde(with = "digest")]
    pub shape: Digest,
}

/// The call that was approved begins: in one commit with its `call.started`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalUsed {
    /// Which.
    pub approval: ApprovalId,
    /// By which call.
    pub call: CallId,
}

/// An approval is taken back: a lasting one, or one that was not used yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalRevoked {
    /// Which.
    pub approval: ApprovalId,
    /// By whom.
    pub by: Name,
}

macro_rules! events {
    ($($name:ident;)+) => {$(
        impl $name {
            /// The event that records it.
            pub fn event(&self, at_unix_ms: u64, tenant: Tenant) -> NewEvent {
                let payload = serde_json::to_vec(self)
                    .expect("invariant: names of members are text, and JSON in it was checked");
                let (stream, kind) = (Stream::Approval(self.approval), EventKind::$name);
                NewEvent { at_unix_ms, tenant, stream, kind, payload }
            }
        }
    )+};
}

events! {
    ApprovalRequested;
    ApprovalVoted;
    ApprovalClosed;
    ApprovalUsed;
    ApprovalRevoked;
}

mod digest {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use crate::id::Digest;

    pub(super) fn serialize<S: Serializer>(digest: &Digest, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(digest)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Digest, D::Error> {
        let text = String::deserialize(from)?;
        Digest::parse(&text)
            .ok_or_else(|| serde::de::Error::custom("no digest of the form sha256:<64 hex digits>"))
    }
}
