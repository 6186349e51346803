//! From the terms of documents to the documents of terms, and back out of them: the rows of
//! postings, changed for many documents at once.

use std::collections::BTreeMap;

use super::super::super::codec::{Readable, Rows, after};
use super::super::super::{ViewError, storage};
use super::super::MALFORMED;
use super::super::space::{Space, prefix};
use super::documents::{insert, number_at_end, remove_row};
use super::postings::{CHUNK_MAX, Chunk, Postings};
use super::words::Terms;

/// Turns the terms that wait into postings.
pub(super) fn flush(rows: &mut Rows<'_>, space: u32) -> Result<(), ViewError> {
    for (term, docs) in take_terms(rows, b't', space)? {
        let term_prefix = term_prefix(space, &term);
        let mut chunk = match last_chunk(rows, &term_prefix, u32::MAX)? {
            Some(chunk) if chunk.count < CHUNK_MAX => chunk,
            _ => Chunk::new(docs[0].0),
        };
        for (doc, times) in docs {
            if chunk.count >= CHUNK_MAX {
                let full = std::mem::replace(&mut chunk, Chunk::new(doc));
                insert(rows, &chunk_key(&term_prefix, full.first), &full.finish())?;
            }
            chunk.push(doc, times);
        }
        insert(rows, &chunk_key(&term_prefix, chunk.first), &chunk.finish())?;
    }
    Ok(())
}

/// Takes the dead documents out of the postings.
pub(super) fn purge(rows: &mut Rows<'_>, space: &mut Space) -> Result<(), ViewError> {
    for (term, docs) in take_terms(rows, b'g', space.id)? {
        let term_prefix = term_prefix(space.id, &term);
        let mut dead: Vec<u32> = docs.into_iter().map(|(doc, _)| doc).collect();
        while let Some(last) = dead.last() {
            let old = last_chunk(rows, &term_prefix, *last)?.ok_or(MALFORMED)?;
            let here = dead.split_off(dead.partition_point(|doc| *doc < old.first));
            let first = old.first;
            let bytes = old.finish();
            let mut left =
                Postings::new(first, &bytes).filter(|(doc, _)| here.binary_search(doc).is_err());
            let next = left.next();
            if next.is_none_or(|(doc, _)| doc != first) {
                remove_row(rows, &chunk_key(&term_prefix, first))?;
            }
            if let Some((doc, times)) = next {
                let mut chunk = Chunk::new(doc);
                chunk.push(doc, times);
                left.for_each(|(doc, times)| chunk.push(doc, times));
                insert(rows, &chunk_key(&term_prefix, doc), &chunk.finish())?;
            }
        }
    }
    space.totals.graves = 0;
    space.totals.grave_terms = 0;
    Ok(())
}

type Inverted = BTreeMap<Vec<u8>, Vec<(u32, u32)>>;

/// Takes the rows of one kind away and turns them around: which documents each term is in.
fn take_terms(rows: &mut Rows<'_>, kind: u8, space: u32) -> Result<Inverted, ViewError> {
    let mut inverted = Inverted::new();
    let start = prefix(kind, space);
    let mut taken = Vec::new();
    for row in
        redb::ReadableTable::range::<&[u8]>(rows, &*start..&*after(&start)).map_err(storage)?
    {
        let (key, bytes) = row.map_err(storage)?;
        let doc = number_at_end(key.value())?;
        for (term, times) in Terms::each(bytes.value()) {
            inverted.entry(term.to_vec()).or_default().push((doc, times));
        }
        taken.push(key.value().to_vec());
    }
    for key in taken {
        remove_row(rows, &key)?;
    }
    Ok(inverted)
}

/// The last chunk that starts at or before a document.
fn last_chunk(
    rows: &impl Readable,
    term_prefix: &[u8],
    doc: u32,
) -> Result<Option<Chunk>, ViewError> {
    let end = chunk_key(term_prefix, doc);
    let mut range = rows.range::<&[u8]>(term_prefix..=&*end).map_err(storage)?;
    let Some(row) = range.next_back() else { return Ok(None) };
    let (key, bytes) = row.map_err(storage)?;
    let first = number_at_end(key.value())?;
    Chunk::read(first, bytes.value()).ok_or(MALFORMED).map(Some)
}

/// The start of the keys of a term's chunks.
pub(super) fn term_prefix(space: u32, term: &[u8]) -> Vec<u8> {
    let mut key = prefix(b'p', space);
    key.extend_from_slice(term);
    // No term has a zero byte, so no term's chunks are among another's.
    key.push(0);
    key
}

fn chunk_key(term_prefix: &[u8], first: u32) -> Vec<u8> {
    [term_prefix, &first.to_be_bytes()].concat()
}
