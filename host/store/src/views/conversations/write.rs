//! What events do to conversations and turns.

use std::fmt;

use foreshore_domain::conversation::{
    Conversation, ConversationChanged, ConversationSummarized, Excerpt, Payload, TurnEnded,
    TurnQueued, TurnResumed, TurnStarted, TurnWaiting,
};
use foreshore_domain::id::TurnId;
use redb::{ReadableTable as _, WriteTransaction};
use serde::Deserialize;

use super::super::codec::{Fields, Rows};
use super::super::{EventRef, ViewError, payload, storage};
use super::rows::{
    ConversationEntry, Listed, OpenTurn, Place, Summary, TurnEntry, TurnState, listed_key,
    numbered, of, of_turn, read, remove, write,
};
use super::search::Texts;
use super::{MALFORMED, TABLE};
use crate::blobs;

/// The tables, and the event that changes them.
pub(super) struct Tables<'t, 'e> {
    pub(super) transaction: &'t WriteTransaction,
    pub(super) event: &'e EventRef<'e>,
    pub(super) rows: Rows<'t>,
    pub(super) texts: Texts<'t, 'e>,
}

/// All that is read of what a turn did.
#[derive(Deserialize)]
struct OfTurn {
    turn: TurnId,
}

/// Counts the blobs of what a turn did for its conversation.
pub(super) fn record(
    transaction: &WriteTransaction,
    event: &EventRef<'_>,
) -> Result<(), ViewError> {
    let digests = blobs::named(event.kind, event.payload);
    if digests.is_empty() {
        return Ok(());
    }
    let of: OfTurn = payload(event)?;
    let mut rows = transaction.open_table(TABLE).map_err(storage)?;
    let place: Option<Place> = read(&rows, &of_turn(b'i', event.tenant, of.turn))?;
    let place = place.ok_or_else(|| {
        ViewError::payload(event, &format_args!("there is no turn {:?}", of.turn))
    })?;
    for digest in digests {
        let mut key = numbered(b'b', event.tenant, &place.conversation, place.number);
        key.extend_from_slice(digest.as_bytes());
        count(&mut rows, &key)?;
    }
    Ok(())
}

/// Counts a blob once more.
pub(super) fn count(rows: &mut Rows<'_>, key: &[u8]) -> Result<(), ViewError> {
    let before = match rows.get(key).map_err(storage)? {
        Some(row) => Fields(row.value()).u64().ok_or(MALFORMED)?,
        None => 0,
    };
    rows.insert(key, &(before + 1).to_le_bytes()[..]).map(drop).map_err(storage)
}

impl<'t, 'e> Tables<'t, 'e> {
    pub(super) fn open(
        transaction: &'t WriteTransaction,
        event: &'e EventRef<'e>,
    ) -> Result<Self, ViewError> {
        let rows = transaction.open_table(TABLE).map_err(storage)?;
        Ok(Self { transaction, event, rows, texts: Texts::new(transaction, event) })
    }

    pub(super) fn refused<T>(&self, message: impl fmt::Display) -> Result<T, ViewError> {
        Err(ViewError::payload(self.event, &message))
    }

    pub(super) fn entry(
        &self,
        conversation: &Conversation,
    ) -> Result<ConversationEntry, ViewError> {
        match read(&self.rows, &of(b'c', self.event.tenant, conversation))? {
            Some(entry) => Ok(entry),
            None => self.refused(format_args!("there is no conversation {conversation}")),
        }
    }

    /// Writes a conversation's row and puts it at the end of the list.
    pub(super) fn touch(&mut self, mut entry: ConversationEntry) -> Result<(), ViewError> {
        let EventRef { tenant, seq, at_unix_ms, .. } = *self.event;
        remove(&mut self.rows, &listed_key(tenant, entry.updated_seq))?;
        (entry.updated_seq, entry.updated_at_unix_ms) = (seq, at_unix_ms);
        write(&mut self.rows, &of(b'c', tenant, &entry.conversation), &entry)?;
        let ConversationEntry { conversation, agent, archived, .. } = entry;
        write(&mut self.rows, &listed_key(tenant, seq), &Listed { conversation, agent, archived })
    }

    pub(super) fn change(&mut self, changed: ConversationChanged) -> Result<(), ViewError> {
        let mut entry = self.entry(&changed.conversation)?;
        if let Some(title) = changed.title {
            self.texts.set_title(&entry, Some(title.as_str()))?;
            entry.title = Some(title);
        }
        entry.archived = changed.archived.unwrap_or(entry.archived);
        self.touch(entry)
    }

    pub(super) fn summarize(&mut self, summary: ConversationSummarized) -> Result<(), ViewError> {
        let entry = self.entry(&summary.conversation)?;
        let ConversationSummarized { text, through_turn, .. } = summary;
        let row = Summary { text, through_turn, at_unix_ms: self.event.at_unix_ms };
        write(&mut self.rows, &of(b's', self.event.tenant, &entry.conversation), &row)
    }

    pub(super) fn queue(&mut self, queued: TurnQueued) -> Result<(), ViewError> {
        let mut entry = self.entry(&queued.conversation)?;
        let tenant = self.event.tenant;
        if entry.turns != queued.number {
            let turns = entry.turns;
            return self.refused(format_args!("the next turn of the conversation is {turns}"));
        }
        let place_key = of_turn(b'i', tenant, queued.turn);
        if read::<Place>(&self.rows, &place_key)?.is_some() {
            return self.refused(format_args!("there is a turn {} already", queued.turn));
        }
        let turn = TurnEntry {
            turn: queued.turn,
            conversation: queued.conversation,
            number: queued.number,
            agent: queued.agent,
            message: queued.message,
            history: queued.history,
            parameters: queued.parameters,
            budget: queued.budget,
            delegated_by: queued.delegated_by,
            asked_by: queued.asked_by,
            state: TurnState::Queued,
            queued_at_unix_ms: self.event.at_unix_ms,
            began_at_unix_ms: None,
            ended_at_unix_ms: None,
            ended_seq: 0,
            component: None,
            reply: None,
            finish: None,
            error: None,
            usage: Default::default(),
            served_by: None,
        };
        let open = OpenTurn {
            turn: turn.turn,
            conversation: turn.conversation.clone(),
            number: turn.number,
            agent: turn.agent.clone(),
            state: turn.state,
            queued_at_unix_ms: turn.queued_at_unix_ms,
            began_at_unix_ms: None,
            component: None,
        };
        let place = Place { conversation: turn.conversation.clone(), number: turn.number };
        write(&mut self.rows, &place_key, &place)?;
        write(&mut self.rows, &of_turn(b'o', tenant, turn.turn), &open)?;
        self.hold(
            &turn.conversation,
            turn.number,
            [&turn.message].into_iter().chain(&turn.history).chain(&turn.parameters),
        )?;
        self.texts.add_message(&turn)?;
        entry.turns += 1;
        entry.open_turns += 1;
        keep_excerpt(&mut entry, &turn.message.excerpt);
        self.write_turn(&turn)?;
        self.touch(entry)
    }

    pub(super) fn start(&mut self, started: TurnStarted) -> Result<(), ViewError> {
        self.change_open(started.turn, |open| {
            open.state = TurnState::Running;
            open.began_at_unix_ms = Some(started.began_at_unix_ms);
            open.component = Some(started.component);
        })
    }

    pub(super) fn resume(&mut self, resumed: TurnResumed) -> Result<(), ViewError> {
        self.change_open(resumed.turn, |open| open.state = TurnState::Running)
    }

    pub(super) fn wait(&mut self, waiting: TurnWaiting) -> Result<(), ViewError> {
        self.change_open(waiting.turn, |open| open.state = TurnState::Waiting(waiting.until))
    }

    pub(super) fn end(&mut self, ended: TurnEnded) -> Result<(), ViewError> {
        let tenant = self.event.tenant;
        let open = self.open_turn(ended.turn)?;
        if (&open.conversation, open.number) != (&ended.conversation, ended.number) {
            let (conversation, number) = (open.conversation, open.number);
            return self.refused(format_args!("it is turn {number} of {conversation}"));
        }
        let mut entry = self.entry(&ended.conversation)?;
        let turn: Option<TurnEntry> =
            read(&self.rows, &numbered(b't', tenant, &ended.conversation, ended.number))?;
        let turn = TurnEntry {
            state: TurnState::Ended(ended.end),
            began_at_unix_ms: open.began_at_unix_ms,
            component: open.component,
            ended_at_unix_ms: Some(self.event.at_unix_ms),
            ended_seq: self.event.seq,
            reply: ended.reply,
            finish: ended.finish,
            error: ended.error,
            usage: ended.usage,
            served_by: ended.served_by,
            ..turn.ok_or(MALFORMED)?
        };
        remove(&mut self.rows, &of_turn(b'o', tenant, turn.turn))?;
        self.hold(&turn.conversation, turn.number, &turn.reply)?;
        self.texts.add_reply(&turn)?;
        entry.open_turns = entry.open_turns.checked_sub(1).ok_or(MALFORMED)?;
        if let Some(reply) = &turn.reply {
            keep_excerpt(&mut entry, &reply.excerpt);
        }
        self.write_turn(&turn)?;
        self.touch(entry)
    }

    pub(super) fn write_turn(&mut self, turn: &TurnEntry) -> Result<(), ViewError> {
        let key = numbered(b't', self.event.tenant, &turn.conversation, turn.number);
        write(&mut self.rows, &key, turn)
    }

    /// Counts the blobs that the event names for a turn; they must be those of its payloads.
    fn hold<'p>(
        &mut self,
        conversation: &Conversation,
        number: u64,
        payloads: impl IntoIterator<Item = &'p Payload>,
    ) -> Result<(), ViewError> {
        let named = blobs::named(self.event.kind, self.event.payload);
        let needed = payloads.into_iter().filter_map(Payload::digest).collect();
        if named != needed {
            return self.refused("its list of blobs is not that of its payloads");
        }
        for digest in named {
            let mut key = numbered(b'b', self.event.tenant, conversation, number);
            key.extend_from_slice(digest.as_bytes());
            count(&mut self.rows, &key)?;
        }
        Ok(())
    }

    fn open_turn(&self, turn: TurnId) -> Result<OpenTurn, ViewError> {
        match read(&self.rows, &of_turn(b'o', self.event.tenant, turn))? {
            Some(open) => Ok(open),
            None => self.refused(format_args!("there is no open turn {turn}")),
        }
    }

    fn change_open(
        &mut self,
        turn: TurnId,
        change: impl FnOnce(&mut OpenTurn),
    ) -> Result<(), ViewError> {
        let mut open = self.open_turn(turn)?;
        change(&mut open);
        write(&mut self.rows, &of_turn(b'o', self.event.tenant, turn), &open)
    }
}

fn keep_excerpt(entry: &mut ConversationEntry, excerpt: &Excerpt) {
    if !excerpt.is_empty() {
        entry.last_excerpt = excerpt.clone();
    }
}
