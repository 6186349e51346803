//! The facts that the journal keeps.
//!
//! Deliberately absent: payload types (each belongs to whoever writes the kind) and sequence
//! numbers, which only the journal gives. The invariant: **no two streams have the same text**,
//! since the kind comes first and holds no `/`, and the rest is the name as it is.

use std::fmt;
use std::sync::Arc;

/// A fact to be recorded. The journal gives it a sequence number and a hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// When, in milliseconds since 1970.
    pub at_unix_ms: u64,
    /// Whose.
    pub tenant: Tenant,
    /// One aggregate: `call/<id>`, `component/<name>`.
    pub stream: Stream,
    /// What happened: `call.completed`.
    pub kind: EventKind,
    /// JSON.
    pub payload: Vec<u8>,
}

/// Whose data something is: `[a-z0-9][a-z0-9._-]{0,63}`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tenant(Name);

#[derive(Clone)]
enum Name {
    /// So that the usual tenant costs nothing.
    Default,
    Shared(Arc<str>),
}

/// A text that is no tenant's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a tenant: use 1 to 64 of a-z, 0-9, '.', '_' and '-', a letter or digit first"
)]
pub struct TenantError {
    text: String,
}

impl Tenant {
    /// The one tenant of a host that has no others.
    pub const DEFAULT: Self = Self(Name::Default);
    /// Its name.
    pub const DEFAULT_NAME: &str = "default";

    /// Reads a tenant's name.
    ///
    /// # Errors
    /// [`TenantError`]: it is not of the form above.
    pub fn parse(text: &str) -> Result<Self, TenantError> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = text.as_bytes();
        let well_formed = bytes.len() <= 64
            && bytes.first().is_some_and(|first| plain(*first))
            && bytes.iter().all(|byte| plain(*byte) || b"._-".contains(byte));
        if !well_formed {
            let text = text.chars().take(64).collect();
            return Err(TenantError { text });
        }
        Ok(match text {
            "default" => Self::DEFAULT,
            text => Self(Name::Shared(text.into())),
        })
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl Name {
    fn as_str(&self) -> &str {
        match self {
            Self::Default => "default",
            Self::Shared(name) => name,
        }
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Name {}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl std::hash::Hash for Name {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl Default for Tenant {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// Which aggregate an event belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stream {
    /// One call.
    Call(crate::id::CallId),
    /// One component, over all of its versions.
    Component(String),
    /// One namespace of memory records.
    Memory(String),
    /// One conversation.
    Conversation(String),
    /// One watched directory.
    Root(String),
    /// One turn of an agent: what it did.
    Turn(crate::id::TurnId),
    /// One question to a person.
    Question(crate::id::QuestionId),
    /// One API key, or one line of refresh tokens.
    Credential(crate::id::KeyId),
    /// One secret.
    Secret(String),
    /// One request for approval by rule.
    Approval(crate::id::ApprovalId),
    /// The host itself.
    Host,
}

impl Stream {
    /// Whether writers may ask that it has not moved. Calls are many, short and written once;
    /// the host's stream has no state that two writers could disagree on.
    pub fn is_guarded(&self) -> bool {
        match self {
            Self::Call(_) | Self::Host => false,
            Self::Component(_)
            | Self::Memory(_)
            | Self::Conversation(_)
            | Self::Root(_)
            | Self::Turn(_)
            | Self::Question(_)
            | Self::Credential(_)
            | Self::Secret(_)
            | Self::Approval(_) => true,
        }
    }

    /// [`Self::is_guarded`] of a stream as it is written in the journal.
    pub fn is_guarded_text(stream: &str) -> bool {
        stream.split_once('/').is_some_and(|(kind, _)| {
            matches!(
                kind,
                "component"
                    | "memory"
                    | "conversation"
                    | "root"
                    | "turn"
                    | "question"
                    | "credential"
                    | "secret"
                    | "approval"
            )
        })
    }

    /// How many bytes of it somebody else chose.
    pub fn name_bytes(&self) -> usize {
        match self {
            Self::Component(name)
            | Self::Memory(name)
            | Self::Conversation(name)
            | Self::Root(name)
            | Self::Secret(name) => name.len(),
            Self::Call(_)
            | Self::Turn(_)
            | Self::Question(_)
            | Self::Credential(_)
            | Self::Approval(_)
            | Self::Host => 0,
        }
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(id) => write!(f, "call/{id}"),
            Self::Component(name) => write!(f, "component/{name}"),
            Self::Memory(namespace) => write!(f, "memory/{namespace}"),
            Self::Conversation(id) => write!(f, "conversation/{id}"),
            Self::Root(name) => write!(f, "root/{name}"),
            Self::Turn(id) => write!(f, "turn/{id}"),
            Self::Question(id) => write!(f, "question/{id}"),
            Self::Credential(id) => write!(f, "credential/{id}"),
            Self::Secret(name) => write!(f, "secret/{name}"),
            Self::Approval(id) => write!(f, "approval/{id}"),
            Self::Host => f.write_str("host"),
        }
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// A call with side effects is about to run.
    CallStarted,
    /// A call ran to its end, well or not.
    CallCompleted,
    /// A side effect is about to happen.
    EffectIntended,
    /// A side effect happened, or failed.
    EffectPerformed,
    /// Policy said no.
    EffectDenied,
    /// A component can be called.
    ComponentLoaded,
    /// A component cannot be called, and why.
    ComponentRefused,
    /// A component is gone.
    ComponentRemoved,
    /// The host is up.
    HostStarted,
    /// The host went down in order.
    HostStopped,
    /// A memory record has a new version.
    MemoryPut,
    /// A memory record was deleted; its versions are kept.
    MemoryDeleted,
    /// Two memory records were related.
    MemoryRelated,
    /// A relation of two memory records was taken back.
    MemoryUnrelated,
    /// Memory records reached the end of their time.
    MemoryExpired,
    /// A variable of a conversation has a new version.
    VariableSet,
    /// A conversation was begun, anew or from a turn of another.
    ConversationCreated,
    /// A conversation was renamed, archived or taken back.
    ConversationChanged,
    /// A conversation was deleted.
    ConversationDeleted,
    /// A conversation has a new rolling summary.
    ConversationSummarized,
    /// A message was taken for an agent.
    TurnQueued,
    /// A turn runs for the first time.
    TurnStarted,
    /// A turn runs again on its record.
    TurnResumed,
    /// A turn waits for a person or a time, and takes no memory.
    TurnWaiting,
    /// A turn is about to do something that changes something.
    TurnIntended,
    /// A turn asked for something, and was given this.
    TurnEffect,
    /// One of several tools that a turn called has ended.
    TurnToolResult,
    /// A turn is in another phase.
    TurnPhase,
    /// An agent put an event on the record.
    TurnNote,
    /// A turn ended, well or not.
    TurnEnded,
    /// A person is asked.
    QuestionAsked,
    /// A person answered, or nobody did in time.
    QuestionAnswered,
    /// A call waits for a person, since a rule says so.
    ApprovalRequested,
    /// Somebody said yes or no to it.
    ApprovalVoted,
    /// It is decided.
    ApprovalClosed,
    /// The call that was approved begins.
    ApprovalUsed,
    /// An approval was taken back.
    ApprovalRevoked,
    /// Tokens and money were spent.
    BudgetSpent,
    /// An API key was made.
    KeyIssued,
    /// An API key counts no longer.
    KeyRevoked,
    /// Somebody was given an access token and a refresh token.
    TokensStarted,
    /// A refresh token was used, and replaced.
    TokensRotated,
    /// No token of a line counts any longer.
    TokensRevoked,
    /// A request was refused for who asks.
    RequestRefused,
    /// A secret has a value.
    SecretSet,
    /// A secret has no value any more.
    SecretRemoved,
    /// The value of a secret is sealed with another key.
    SecretResealed,
    /// A file of a watched directory was taken as it is.
    FileBaselined,
    /// A file of a watched directory changed.
    FileChanged,
    /// What is known of files of a watched directory is good.
    FileApproved,
    /// Versions of files are no longer kept.
    FileDropped,
    /// What a call changed in files is about to be undone.
    FileUndoPlanned,
    /// What a call changed in files was undone, or could not be.
    FileUndone,
    /// Blobs are needed no more by events that named them.
    BlobReleased,
    /// Events were lost that nobody waited for; the payload says how many.
    EventsDropped,
    /// The journal could not write and took nothing new.
    JournalReadOnly,
    /// The journal can write again.
    JournalRecovered,
    /// Events before a number were moved to an archive file.
    JournalArchived,
    /// An operator took the journal as it is after a restore.
    JournalAccepted,
}

impl EventKind {
    /// Every kind.
    pub const ALL: &[Self] = &[
        Self::CallStarted,
        Self::CallCompleted,
        Self::EffectIntended,
        Self::EffectPerformed,
        Self::EffectDenied,
        Self::ComponentLoaded,
        Self::ComponentRefused,
        Self::ComponentRemoved,
        Self::HostStarted,
        Self::HostStopped,
        Self::MemoryPut,
        Self::MemoryDeleted,
        Self::MemoryRelated,
        Self::MemoryUnrelated,
        Self::MemoryExpired,
        Self::VariableSet,
        Self::ConversationCreated,
        Self::ConversationChanged,
        Self::ConversationDeleted,
        Self::ConversationSummarized,
        Self::TurnQueued,
        Self::TurnStarted,
        Self::TurnResumed,
        Self::TurnWaiting,
        Self::TurnIntended,
        Self::TurnEffect,
        Self::TurnToolResult,
        Self::TurnPhase,
        Self::TurnNote,
        Self::TurnEnded,
        Self::QuestionAsked,
        Self::QuestionAnswered,
        Self::ApprovalRequested,
        Self::ApprovalVoted,
        Self::ApprovalClosed,
        Self::ApprovalUsed,
        Self::ApprovalRevoked,
        Self::BudgetSpent,
        Self::KeyIssued,
        Self::KeyRevoked,
        Self::TokensStarted,
        Self::TokensRotated,
        Self::TokensRevoked,
        Self::RequestRefused,
        Self::SecretSet,
        Self::SecretRemoved,
        Self::SecretResealed,
        Self::FileBaselined,
        Self::FileChanged,
        Self::FileApproved,
        Self::FileDropped,
        Self::FileUndoPlanned,
        Self::FileUndone,
        Self::BlobReleased,
        Self::EventsDropped,
        Self::JournalReadOnly,
        Self::JournalRecovered,
        Self::JournalArchived,
        Self::JournalAccepted,
    ];

    /// The name in the journal.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CallStarted => "call.started",
            Self::CallCompleted => "call.completed",
            Self::EffectIntended => "effect.intended",
            Self::EffectPerformed => "effect.performed",
            Self::EffectDenied => "effect.denied",
            Self::ComponentLoaded => "component.loaded",
            Self::ComponentRefused => "component.refused",
            Self::ComponentRemoved => "component.removed",
            Self::HostStarted => "host.started",
            Self::HostStopped => "host.stopped",
            Self::MemoryPut => "memory.put",
            Self::MemoryDeleted => "memory.deleted",
            Self::MemoryRelated => "memory.related",
            Self::MemoryUnrelated => "memory.unrelated",
            Self::MemoryExpired => "memory.expired",
            Self::VariableSet => "variable.set",
            Self::ConversationCreated => "conversation.created",
            Self::ConversationChanged => "conversation.changed",
            Self::ConversationDeleted => "conversation.deleted",
            Self::ConversationSummarized => "conversation.summarized",
            Self::TurnQueued => "turn.queued",
            Self::TurnStarted => "turn.started",
            Self::TurnResumed => "turn.resumed",
            Self::TurnWaiting => "turn.waiting",
            Self::TurnIntended => "turn.intended",
            Self::TurnEffect => "turn.effect",
            Self::TurnToolResult => "turn.tool_result",
            Self::TurnPhase => "turn.phase",
            Self::TurnNote => "turn.note",
            Self::TurnEnded => "turn.ended",
            Self::QuestionAsked => "question.asked",
            Self::QuestionAnswered => "question.answered",
            Self::ApprovalRequested => "approval.requested",
            Self::ApprovalVoted => "approval.voted",
            Self::ApprovalClosed => "approval.closed",
            Self::ApprovalUsed => "approval.used",
            Self::ApprovalRevoked => "approval.revoked",
            Self::BudgetSpent => "budget.spent",
            Self::KeyIssued => "key.issued",
            Self::KeyRevoked => "key.revoked",
            Self::TokensStarted => "tokens.started",
            Self::TokensRotated => "tokens.rotated",
            Self::TokensRevoked => "tokens.revoked",
            Self::RequestRefused => "request.refused",
            Self::SecretSet => "secret.set",
            Self::SecretRemoved => "secret.removed",
            Self::SecretResealed => "secret.resealed",
            Self::FileBaselined => "file.baselined",
            Self::FileChanged => "file.changed",
            Self::FileApproved => "file.approved",
            Self::FileDropped => "file.dropped",
            Self::FileUndoPlanned => "file.undo_planned",
            Self::FileUndone => "file.undone",
            Self::BlobReleased => "blob.released",
            Self::EventsDropped => "journal.dropped",
            Self::JournalReadOnly => "journal.read_only",
            Self::JournalRecovered => "journal.recovered",
            Self::JournalArchived => "journal.archived",
            Self::JournalAccepted => "journal.accepted",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_is_a_short_plain_name() {
        for good in ["default", "a", "0", "team-1.eu_west", &"x".repeat(64)] {
            assert_eq!(Tenant::parse(good).map(|t| t.to_string()).as_deref(), Ok(good));
        }
        for bad in ["", "-a", "A", "a/b", "a b", "é", &"x".repeat(65)] {
            assert!(Tenant::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Tenant::parse("default"), Ok(Tenant::DEFAULT));
    }

    #[test]
    fn streams_say_in_their_text_whether_they_are_guarded() {
        let streams = [
            Stream::Call(crate::id::CallId::new(1)),
            Stream::Component("files".to_owned()),
            Stream::Memory("notes".to_owned()),
            Stream::Conversation("c1".to_owned()),
            Stream::Root("home".to_owned()),
            Stream::Turn(crate::id::TurnId::new(1)),
            Stream::Question(crate::id::QuestionId::new(1)),
            Stream::Secret("api-key".to_owned()),
            Stream::Approval(crate::id::ApprovalId::new(1)),
            Stream::Host,
        ];
        for stream in streams {
            assert_eq!(Stream::is_guarded_text(&stream.to_string()), stream.is_guarded());
        }
        // A name that holds a slash stays a name.
        assert_eq!(Stream::Root("memory/x".to_owned()).to_string(), "root/memory/x");
    }

    #[test]
    fn no_two_kinds_share_a_name() {
        let mut names: Vec<_> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), EventKind::ALL.len());
    }
}
