//! What is recorded, as an event: kind, stream and list of blobs follow from the payload.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{
    BudgetSpent, ConversationChanged, ConversationCreated, ConversationDeleted,
    ConversationSummarized, Payload, QuestionAnswered, QuestionAsked, TurnEffect, TurnEnded,
    TurnIntended, TurnNote, TurnPhase, TurnQueued, TurnResumed, TurnStarted, TurnToolResult,
    TurnWaiting,
};
use crate::blob::BlobDigest;
use crate::event::{EventKind, NewEvent, Stream, Tenant};

/// A payload of one kind of event.
pub trait Fact: Serialize + DeserializeOwned {
    /// Its kind.
    const KIND: EventKind;

    /// The aggregate that it belongs to.
    fn stream(&self) -> Stream;

    /// Writes down which blobs it needs. Nothing to do for what never needs one.
    fn name_blobs(&mut self) {}

    /// The event that records it.
    fn event(mut self, at_unix_ms: u64, tenant: Tenant) -> NewEvent {
        self.name_blobs();
        let payload = serde_json::to_vec(&self)
            .expect("invariant: names of members are text, and JSON in it was checked");
        NewEvent { at_unix_ms, tenant, stream: self.stream(), kind: Self::KIND, payload }
    }
}

fn digests<'a>(payloads: impl IntoIterator<Item = &'a Payload>) -> Vec<BlobDigest> {
    let mut digests: Vec<_> = payloads.into_iter().filter_map(Payload::digest).collect();
    digests.sort_unstable();
    digests.dedup();
    digests
}

macro_rules! facts {
    ($($name:ident: $kind:ident, $stream:ident($($id:ident)?)
        $(, blobs $of:expr)?;)+) => {$(
        impl Fact for $name {
            const KIND: EventKind = EventKind::$kind;

            fn stream(&self) -> Stream {
                stream!($stream self $($id)?)
            }

            $(fn name_blobs(&mut self) {
                let payloads: fn(&Self) -> Vec<Option<&Payload>> = $of;
                self.blobs = digests(payloads(self).into_iter().flatten());
            })?
        }
    )+};
}

macro_rules! stream {
    (Conversation $self:ident $id:ident) => {
        Stream::Conversation($self.$id.as_str().to_owned())
    };
    (Host $self:ident) => {
        Stream::Host
    };
    ($stream:ident $self:ident $id:ident) => {
        Stream::$stream($self.$id)
    };
}

facts! {
    ConversationCreated: ConversationCreated, Conversation(conversation);
    ConversationChanged: ConversationChanged, Conversation(conversation);
    ConversationDeleted: ConversationDeleted, Conversation(conversation);
    ConversationSummarized: ConversationSummarized, Conversation(conversation);
    TurnQueued: TurnQueued, Conversation(conversation),
        blobs |fact| vec![Some(&fact.message), fact.history.as_ref(), fact.parameters.as_ref()];
    TurnStarted: TurnStarted, Turn(turn);
    TurnResumed: TurnResumed, Turn(turn);
    TurnWaiting: TurnWaiting, Turn(turn);
    TurnIntended: TurnIntended, Turn(turn);
    TurnEffect: TurnEffect, Turn(turn),
        blobs |fact| vec![Some(&fact.request), Some(&fact.outcome)];
    TurnToolResult: TurnToolResult, Turn(turn), blobs |fact| vec![Some(&fact.outcome)];
    TurnPhase: TurnPhase, Turn(turn);
    TurnNote: TurnNote, Turn(turn), blobs |fact| vec![Some(&fact.payload)];
    TurnEnded: TurnEnded, Conversation(conversation),
        blobs |fact| vec![fact.reply.as_ref()];
    QuestionAsked: QuestionAsked, Question(question);
    QuestionAnswered: QuestionAnswered, Question(question);
    BudgetSpent: BudgetSpent, Host();
}
