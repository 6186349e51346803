//! Conversations: their turns, summaries and open turns, and what finds them.
//!
//! Two tables. That of the words is one of memory's indexes, see `texts`; the other has keys
//! that start with a letter for what the row is, and rows that are JSON:
//!
//! ```text
//! c tenant conversation                -> Head: whose, since when, how many turns
//! l tenant last-event                  -> Listed: the conversation that it was the last of
//! t tenant conversation number         -> TurnRow: message, and reply once it has ended
//! i tenant turn                        -> Place: its conversation and number
//! o tenant turn                        -> OpenTurn: it has not ended
//! s tenant conversation                -> Summary
//! b tenant conversation number digest  -> how often a turn's events name a blob
//! ```
//!
//! Deliberately absent: what turns did, which is in their streams. The invariants: a
//! conversation's blobs are needed exactly as often as its `b` rows say, so that deleting it
//! gives all of them back; and a fork shares no row with what it was taken from.

mod fork;
mod reader;
mod rows;
mod search;
mod write;

use foreshore_domain::conversation::kind;

use super::blob_references::BlobReferences;
use super::codec::{self, Definition};
use super::{EventRef, Receipt, ViewError, payload, storage};

pub(crate) use reader::open_turns;
pub use reader::{
    CONVERSATIONS_LOOKED_AT, ConversationFilter, ConversationPage, ConversationsReader, TurnOrder,
};
pub use rows::{ConversationEntry, OpenTurn, Summary, TurnEntry, TurnState};
pub use search::{ConversationHit, FoundIn};

const TABLE: Definition = Definition::new("conversations_v1");
const WORDS: Definition = Definition::new("conversation_words_v1");
const MALFORMED: ViewError = ViewError::Malformed { what: "conversations" };

/// Whether this view follows events of a kind.
pub(crate) fn follows(kind: &str) -> bool {
    matches!(
        kind,
        kind::CREATED
            | kind::CHANGED
            | kind::DELETED
            | kind::SUMMARIZED
            | kind::QUEUED
            | kind::STARTED
            | kind::RESUMED
            | kind::WAITING
            | kind::EFFECT
            | kind::TOOL_RESULT
            | kind::NOTE
            | kind::ENDED
    )
}

/// Follows the events of [`follows`].
pub(crate) fn apply(
    transaction: &redb::WriteTransaction,
    event: &EventRef<'_>,
    references: &mut BlobReferences,
) -> Result<Receipt, ViewError> {
    if matches!(event.kind, kind::EFFECT | kind::TOOL_RESULT | kind::NOTE) {
        // What a turn did stays in its stream; only the blobs of it are looked at.
        write::record(transaction, event)?;
        return Ok(Receipt::NONE);
    }
    let mut tables = write::Tables::open(transaction, event)?;
    match event.kind {
        kind::CREATED => fork::create(&mut tables, payload(event)?, references),
        kind::CHANGED => tables.change(payload(event)?),
        kind::DELETED => fork::delete(&mut tables, &payload(event)?, references),
        kind::SUMMARIZED => tables.summarize(payload(event)?),
        kind::QUEUED => tables.queue(payload(event)?),
        kind::STARTED => tables.start(payload(event)?),
        kind::RESUMED => tables.resume(payload(event)?),
        kind::WAITING => tables.wait(payload(event)?),
        kind::ENDED => tables.end(payload(event)?),
        _ => Err(ViewError::Kind { seq: event.seq, kind: event.kind.to_owned() }),
    }?;
    Ok(Receipt::NONE)
}

/// Takes every row away.
pub(crate) fn clear(transaction: &redb::WriteTransaction) -> Result<(), ViewError> {
    transaction.delete_table(WORDS).map_err(storage)?;
    transaction.delete_table(TABLE).map(drop).map_err(storage)
}

/// Every row, in order.
pub(crate) fn dump(transaction: &redb::ReadTransaction) -> Result<Vec<u8>, ViewError> {
    let mut bytes = codec::dump(transaction, TABLE, None)?;
    bytes.extend(codec::dump(transaction, WORDS, None)?);
    Ok(bytes)
}

#[cfg(test)]
mod tests;
