//! Where conversations begin, with turns of another or none, and where they end.

use foreshore_domain::blob::BlobDigest;
use foreshore_domain::conversation::{
    ConversationCreated, ConversationDeleted, Excerpt, FORK_TURNS_MAX, ForkedFrom, Payload,
};
use redb::ReadableTable as _;

use super::super::blob_references::BlobReferences;
use super::super::codec::{Fields, after};
use super::super::{ViewError, storage, variables};
use super::MALFORMED;
use super::rows::{
    ConversationEntry, Place, Summary, TurnEntry, TurnState, listed_key, numbered, of, of_turn,
    read, remove, write,
};
use super::write::{Tables, count};

pub(super) fn create(
    tables: &mut Tables<'_, '_>,
    created: ConversationCreated,
    references: &mut BlobReferences,
) -> Result<(), ViewError> {
    let tenant = tables.event.tenant;
    let key = of(b'c', tenant, &created.conversation);
    if read::<ConversationEntry>(&tables.rows, &key)?.is_some() {
        let conversation = &created.conversation;
        return tables.refused(format_args!("there is a conversation {conversation} already"));
    }
    let mut entry = ConversationEntry {
        conversation: created.conversation,
        agent: created.agent,
        title: created.title,
        created_at_unix_ms: tables.event.at_unix_ms,
        updated_at_unix_ms: tables.event.at_unix_ms,
        updated_seq: tables.event.seq,
        turns: 0,
        open_turns: 0,
        archived: false,
        forked_from: created.forked_from,
        delegated_by: created.delegated_by,
        last_excerpt: Excerpt::default(),
    };
    tables.texts.set_title(&entry, entry.title.as_ref().map(|title| title.as_str()))?;
    if let Some(from) = entry.forked_from.clone() {
        copy(tables, &from, &mut entry, references)?;
    }
    tables.touch(entry)
}

fn copy(
    tables: &mut Tables<'_, '_>,
    from: &ForkedFrom,
    entry: &mut ConversationEntry,
    references: &mut BlobReferences,
) -> Result<(), ViewError> {
    let tenant = tables.event.tenant;
    let source = tables.entry(&from.conversation)?;
    if from.through_turn >= source.turns {
        let turns = source.turns;
        return tables.refused(format_args!("{} has {turns} turns", from.conversation));
    }
    if from.through_turn >= FORK_TURNS_MAX {
        return tables.refused(format_args!("a fork takes at most {FORK_TURNS_MAX} turns over"));
    }
    let mut ended_seq = 0;
    for number in 0..=from.through_turn {
        let turn: Option<TurnEntry> =
            read(&tables.rows, &numbered(b't', tenant, &from.conversation, number))?;
        let mut turn = turn.ok_or(MALFORMED)?;
        if !matches!(turn.state, TurnState::Ended(_)) {
            return tables.refused(format_args!("turn {number} has not ended"));
        }
        turn.conversation = entry.conversation.clone();
        ended_seq = ended_seq.max(turn.ended_seq);
        let mut digests: Vec<BlobDigest> = turn.payloads().filter_map(Payload::digest).collect();
        digests.sort_unstable();
        digests.dedup();
        for digest in digests {
            references.hold(tables.transaction, &digest)?;
            let mut key = numbered(b'b', tenant, &turn.conversation, number);
            key.extend_from_slice(digest.as_bytes());
            count(&mut tables.rows, &key)?;
        }
        tables.texts.add_message(&turn)?;
        tables.texts.add_reply(&turn)?;
        for payload in [Some(&turn.message), turn.reply.as_ref()].into_iter().flatten() {
            if !payload.excerpt.is_empty() {
                entry.last_excerpt = payload.excerpt.clone();
            }
        }
        tables.write_turn(&turn)?;
    }
    entry.turns = from.through_turn + 1;
    let summary: Option<Summary> = read(&tables.rows, &of(b's', tenant, &from.conversation))?;
    if let Some(summary) = summary.filter(|summary| summary.through_turn <= from.through_turn) {
        write(&mut tables.rows, &of(b's', tenant, &entry.conversation), &summary)?;
    }
    let (from, to) = (from.conversation.as_str(), entry.conversation.as_str());
    variables::copy(tables.transaction, tables.event, from, to, ended_seq, references)
}

pub(super) fn delete(
    tables: &mut Tables<'_, '_>,
    deleted: &ConversationDeleted,
    references: &mut BlobReferences,
) -> Result<(), ViewError> {
    let tenant = tables.event.tenant;
    let entry = tables.entry(&deleted.conversation)?;
    if entry.open_turns > 0 {
        let open = entry.open_turns;
        return tables
            .refused(format_args!("{open} turns of it have not ended: cancel them first"));
    }
    tables.texts.set_title(&entry, None)?;
    for number in 0..entry.turns {
        let key = numbered(b't', tenant, &entry.conversation, number);
        let turn: TurnEntry = read(&tables.rows, &key)?.ok_or(MALFORMED)?;
        tables.texts.remove(&turn)?;
        // A copied turn is found where it was made.
        let place = of_turn(b'i', tenant, turn.turn);
        let is_here = read::<Place>(&tables.rows, &place)?
            .is_some_and(|place| place.conversation == entry.conversation);
        if is_here {
            remove(&mut tables.rows, &place)?;
        }
        remove(&mut tables.rows, &key)?;
    }
    for (key, times) in held(tables, &of(b'b', tenant, &entry.conversation))? {
        let digest = key.last_chunk::<32>().ok_or(MALFORMED)?;
        let digest = BlobDigest::from_bytes(*digest);
        references.release(tables.transaction, tables.event, &digest, times)?;
        remove(&mut tables.rows, &key)?;
    }
    remove(&mut tables.rows, &of(b's', tenant, &entry.conversation))?;
    remove(&mut tables.rows, &listed_key(tenant, entry.updated_seq))?;
    remove(&mut tables.rows, &of(b'c', tenant, &entry.conversation))?;
    let conversation = entry.conversation.as_str();
    variables::forget(tables.transaction, tables.event, conversation, references)
}

/// The keys of what counts a conversation's blobs, each with its count.
fn held(tables: &Tables<'_, '_>, prefix: &[u8]) -> Result<Vec<(Vec<u8>, u64)>, ViewError> {
    let range = tables.rows.range::<&[u8]>(prefix..&*after(prefix)).map_err(storage)?;
    range
        .map(|row| {
            let (key, row) = row.map_err(storage)?;
            let times = Fields(row.value()).u64().ok_or(MALFORMED)?;
            Ok((key.value().to_vec(), times))
        })
        .collect()
}
