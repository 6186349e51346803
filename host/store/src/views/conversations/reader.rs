//! What reads conversations: one tenant's, as they stood at one moment.

use foreshore_domain::conversation::Conversation;
use foreshore_domain::id::TurnId;

use super::super::codec::{self, Fields, ReadRows, after};
use super::super::memory::texts;
use super::super::{ViewError, storage};
use super::rows::{
    ConversationEntry, Listed, OpenTurn, Place, Summary, TurnEntry, listed_key, numbered, of,
    of_tenant, of_turn, parse, read,
};
use super::search::ConversationHit;
use super::{MALFORMED, TABLE, WORDS};

/// The most conversations that one page looks at: a filter that few pass gives short pages.
pub const CONVERSATIONS_LOOKED_AT: usize = 10_000;

/// Reads one tenant's conversations as they stood when the transaction began. Every function
/// can fail with [`ViewError::Storage`] and [`ViewError::Malformed`].
pub struct ConversationsReader {
    rows: Option<ReadRows>,
    words: Option<ReadRows>,
    tenant: String,
}

/// Which conversations are listed. What is left out lets all through.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConversationFilter<'a> {
    /// Those with this agent.
    pub agent: Option<&'a str>,
    /// Those that are out of the way, or those that are not.
    pub archived: Option<bool>,
    /// Only those that a turn of an agent began, or no turn did.
    pub delegated: Option<bool>,
}

/// A page of conversations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConversationPage {
    /// The one updated last comes first.
    pub conversations: Vec<ConversationEntry>,
    /// What to ask for the next page with; `None` at the end.
    pub next_before: Option<u64>,
}

/// Which turns of a conversation are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnOrder {
    /// From this number on, the first of them first.
    From(u64),
    /// Before this number, the last of them first.
    Before(u64),
}

impl ConversationsReader {
    /// The conversations of a tenant.
    ///
    /// # Errors
    /// [`ViewError::Storage`].
    pub fn open(transaction: &redb::ReadTransaction, tenant: &str) -> Result<Self, ViewError> {
        let rows = codec::open(transaction, TABLE)?;
        let words = codec::open(transaction, WORDS)?;
        Ok(Self { rows, words, tenant: tenant.to_owned() })
    }

    /// At most `limit` conversations, from the one updated last on; `before` is that of the
    /// page before.
    ///
    /// # Errors
    /// See [`ConversationsReader`].
    pub fn list(
        &self,
        filter: ConversationFilter<'_>,
        before: Option<u64>,
        limit: usize,
    ) -> Result<ConversationPage, ViewError> {
        let mut page = ConversationPage::default();
        let Some(rows) = &self.rows else { return Ok(page) };
        let start = of_tenant(b'l', &self.tenant);
        let end = match before {
            Some(seq) => listed_key(&self.tenant, seq),
            None => after(&start),
        };
        let mut last = None;
        for (n, row) in rows.range::<&[u8]>(&*start..&*end).map_err(storage)?.rev().enumerate() {
            if page.conversations.len() >= limit || n >= CONVERSATIONS_LOOKED_AT {
                page.next_before = last;
                break;
            }
            let (key, row) = row.map_err(storage)?;
            last = key.value().last_chunk().map(|bytes| u64::from_be_bytes(*bytes));
            let listed: Listed = parse(row.value())?;
            let passes = filter.agent.is_none_or(|agent| agent == listed.agent.as_str())
                && filter.archived.is_none_or(|archived| archived == listed.archived);
            if !passes {
                continue;
            }
            let entry = self.get(&listed.conversation)?.ok_or(MALFORMED)?;
            if filter.delegated.is_none_or(|delegated| delegated == entry.delegated_by.is_some()) {
                page.conversations.push(entry);
            }
        }
        Ok(page)
    }

    /// A conversation, if it is there.
    ///
    /// # Errors
    /// See [`ConversationsReader`].
    pub fn get(&self, conversation: &Conversation) -> Result<Option<ConversationEntry>, ViewError> {
        let Some(rows) = &self.rows else { return Ok(None) };
        read(rows, &of(b'c', &self.tenant, conversation))
    }

    /// At most `limit` turns of a conversation.
    ///
    /// # Errors
    /// See [`ConversationsReader`].
    pub fn turns(
        &self,
        conversation: &Conversation,
        order: TurnOrder,
        limit: usize,
    ) -> Result<Vec<TurnEntry>, ViewError> {
        let Some(rows) = &self.rows else { return Ok(Vec::new()) };
        let key = |number| numbered(b't', &self.tenant, conversation, number);
        let turn = |row: &[u8]| self.as_it_is(parse(row)?);
        match order {
            TurnOrder::From(number) => {
                let range = rows.range::<&[u8]>(&*key(number)..=&*key(u64::MAX));
                let range = range.map_err(storage)?.take(limit);
                range.map(|row| turn(row.map_err(storage)?.1.value())).collect()
            }
            TurnOrder::Before(number) => {
                let range = rows.range::<&[u8]>(&*key(0)..&*key(number));
                let range = range.map_err(storage)?.rev().take(limit);
                range.map(|row| turn(row.map_err(storage)?.1.value())).collect()
            }
        }
    }

    /// A turn, where it was made: not its copies.
    ///
    /// # Errors
    /// See [`ConversationsReader`].
    pub fn turn(&self, turn: TurnId) -> Result<Option<TurnEntry>, ViewError> {
        let Some(rows) = &self.rows else { return Ok(None) };
        let place: Option<Place> = read(rows, &of_turn(b'i', &self.tenant, turn))?;
        let Some(place) = place else { return Ok(None) };
        let key = numbered(b't', &self.tenant, &place.conversation, place.number);
        let turn = read(rows, &key)?.ok_or(MALFORMED)?;
        self.as_it_is(turn).map(Some)
    }

    /// What an open turn is at is in a row of its own, since it changes often.
    fn as_it_is(&self, mut turn: TurnEntry) -> Result<TurnEntry, ViewError> {
        if turn.ended_seq == 0
            && let Some(rows) = &self.rows
        {
            let open: Option<OpenTurn> = read(rows, &of_turn(b'o', &self.tenant, turn.turn))?;
            let open = open.ok_or(MALFORMED)?;
            turn.state = open.state;
            turn.began_at_unix_ms = open.began_at_unix_ms;
            turn.component = open.component;
        }
        Ok(turn)
    }

    /// The rolling summary of a conversation, if it has one.
    ///
    /// # Errors
    /// See [`ConversationsReader`].
    pub fn summary(&self, conversation: &Conversation) -> Result<Option<Summary>, ViewError> {
        let Some(rows) = &self.rows else { return Ok(None) };
        read(rows, &of(b's', &self.tenant, conversation))
    }

    /// At most `limit` places where any of the words was said, best first; of turns of one agent
    /// only, if it is given.
    ///
    /// # Errors
    /// See [`ConversationsReader`].
    pub fn search(
        &self,
        words: &str,
        agent: Option<&str>,
        limit: usize,
        now_unix_ms: u64,
    ) -> Result<Vec<ConversationHit>, ViewError> {
        let Some(rows) = &self.words else { return Ok(Vec::new()) };
        let hits = texts::find(rows, &self.tenant, (words, agent), limit, now_unix_ms)?;
        hits.into_iter().map(ConversationHit::of).collect()
    }
}

/// Every turn that has not ended, of every tenant, with the tenant; a tenant's oldest first.
pub(crate) fn open_turns(
    transaction: &redb::ReadTransaction,
) -> Result<Vec<(String, OpenTurn)>, ViewError> {
    let Some(rows) = codec::open(transaction, TABLE)? else { return Ok(Vec::new()) };
    let range = rows.range::<&[u8]>(&b"o"[..]..&b"p"[..]).map_err(storage)?;
    range
        .map(|row| {
            let (key, row) = row.map_err(storage)?;
            let tenant = key.value().get(1..).and_then(|key| Fields(key).text());
            Ok((tenant.ok_or(MALFORMED)?.to_owned(), parse(row.value())?))
        })
        .collect()
}
