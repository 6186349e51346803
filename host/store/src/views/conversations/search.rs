//! Conversations by what was said in them, and by their titles.

use foreshore_domain::conversation::Conversation;
use redb::WriteTransaction;

use super::super::memory::texts::{self, HIDDEN, Text};
use super::super::memory::{Hit, Snippet};
use super::super::{EventRef, ViewError, storage};
use super::rows::{ConversationEntry, TurnEntry};
use super::{MALFORMED, WORDS};

/// A place where words were found.
#[derive(Clone, Debug)]
pub struct ConversationHit {
    /// In which conversation.
    pub conversation: Conversation,
    /// Where in it.
    pub found_in: FoundIn,
    /// Why.
    pub snippet: Snippet,
    /// Higher is better; comparable within one answer only.
    pub score: f32,
}

/// Where in a conversation words were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FoundIn {
    /// In its title.
    Title,
    /// In the message of this turn.
    Message(u64),
    /// In the reply of this turn.
    Reply(u64),
}

impl FoundIn {
    /// The name under which a text stands. No conversation's id has a control character.
    fn name(self, conversation: &Conversation) -> String {
        match self {
            Self::Title => format!("{HIDDEN}{conversation}{HIDDEN}t"),
            Self::Message(number) => format!("{HIDDEN}{conversation}{HIDDEN}m{number}"),
            Self::Reply(number) => format!("{HIDDEN}{conversation}{HIDDEN}r{number}"),
        }
    }

    fn parse(name: &str) -> Option<(Conversation, Self)> {
        let (conversation, place) = name.strip_prefix(HIDDEN)?.split_once(HIDDEN)?;
        let number = || place.get(1..)?.parse().ok();
        let place = match place.as_bytes().first()? {
            b't' => Self::Title,
            b'm' => Self::Message(number()?),
            b'r' => Self::Reply(number()?),
            _ => return None,
        };
        Some((Conversation::parse(conversation).ok()?, place))
    }
}

impl ConversationHit {
    pub(super) fn of(hit: Hit) -> Result<Self, ViewError> {
        let (conversation, found_in) = FoundIn::parse(&hit.key).ok_or(MALFORMED)?;
        Ok(Self { conversation, found_in, snippet: hit.snippet, score: hit.score })
    }
}

/// The texts that are found, being changed by an event.
pub(super) struct Texts<'t, 'e> {
    transaction: &'t WriteTransaction,
    event: &'e EventRef<'e>,
}

impl<'t, 'e> Texts<'t, 'e> {
    pub(super) fn new(transaction: &'t WriteTransaction, event: &'e EventRef<'e>) -> Self {
        Self { transaction, event }
    }

    /// Replaces the title that was there, if any.
    pub(super) fn set_title(
        &self,
        entry: &ConversationEntry,
        title: Option<&str>,
    ) -> Result<(), ViewError> {
        let name = FoundIn::Title.name(&entry.conversation);
        let mut rows = self.transaction.open_table(WORDS).map_err(storage)?;
        texts::remove(&mut rows, self.event, &name)?;
        let Some(text) = title else { return Ok(()) };
        let text = Text { name: &name, text, tag: entry.agent.as_str() };
        texts::add(&mut rows, self.event, &text)
    }

    pub(super) fn add_message(&self, turn: &TurnEntry) -> Result<(), ViewError> {
        self.add(turn, FoundIn::Message(turn.number), turn.message.excerpt.as_str())
    }

    pub(super) fn add_reply(&self, turn: &TurnEntry) -> Result<(), ViewError> {
        let reply = turn.reply.as_ref().map_or("", |reply| reply.excerpt.as_str());
        self.add(turn, FoundIn::Reply(turn.number), reply)
    }

    pub(super) fn remove(&self, turn: &TurnEntry) -> Result<(), ViewError> {
        let mut rows = self.transaction.open_table(WORDS).map_err(storage)?;
        for found_in in [FoundIn::Message(turn.number), FoundIn::Reply(turn.number)] {
            texts::remove(&mut rows, self.event, &found_in.name(&turn.conversation))?;
        }
        Ok(())
    }

    fn add(&self, turn: &TurnEntry, found_in: FoundIn, text: &str) -> Result<(), ViewError> {
        if text.is_empty() {
            return Ok(());
        }
        let name = found_in.name(&turn.conversation);
        let mut rows = self.transaction.open_table(WORDS).map_err(storage)?;
        let text = Text { name: &name, text, tag: turn.agent.as_str() };
        texts::add(&mut rows, self.event, &text)
    }
}
