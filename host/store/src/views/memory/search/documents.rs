//! The index as it is written: each version that can be found is a *document*, numbered from 0
//! in its namespace, and a newer version is another document.
//!
//! ```text
//! d space block          -> 128 documents' rows: when, until when, how important, how long
//! k space doc            -> version:u64 | key
//! v space model doc      -> its vector
//! t space doc            -> its terms, until they are in the postings
//! p space term 0 first   -> a chunk of postings
//! g space doc            -> terms of a dead document that postings still name
//! s space block          -> nothing: the block is to be emptied
//! ```
//!
//! Writing a record touches a handful of rows. When enough terms wait they are turned into
//! postings; when enough documents are dead their postings go; when a block has few live
//! documents left they are numbered again, one with each removal, until the block can go. Each
//! happens by counts alone, so the same events give the same rows; and by counts of documents
//! *and* of terms, so that no record, however many different words it has, holds up the writer
//! for long.

use redb::ReadableTable as _;

use super::super::super::codec::{Fields, Readable, Rows, after, index, wide};
use super::super::super::{ViewError, storage};
use super::super::MALFORMED;
use super::super::head::Head;
use super::super::record::Version;
use super::super::space::{Space, prefix};
use super::inverted::{flush, purge};
use super::words::Terms;

/// The documents of a block.
pub(super) const BLOCK: u32 = 128;
/// A full block with as few live documents is to be emptied.
const SPARSE: usize = 8;
/// So many documents wait until they are put into the postings, or taken out of them, at once.
const WAITING_MAX: u32 = 128;
/// So many terms of documents do.
const WAITING_TERMS_MAX: u32 = 8_192;
/// So many documents can be numbered, since postings double the numbers.
const DOCS_MAX: u32 = u32::MAX >> 1;
const ROW_BYTES: usize = 22;
/// The length of a dead document.
pub(super) const DEAD: u16 = u16::MAX;

/// What ranking knows of a document without reading its record.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct DocRow {
    pub(in super::super) written_at_unix_ms: u64,
    /// 0 for never.
    pub(in super::super) expires_at_unix_ms: u64,
    pub(in super::super) importance: f32,
    pub(in super::super) length: u16,
}

/// What the index adds up to, in the namespace's row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Totals {
    /// The number of the next document.
    pub(in super::super) next_doc: u32,
    /// The first document that is not in the postings yet.
    pub(in super::super) tail_from: u32,
    /// How many terms those have that are not.
    pub(in super::super) tail_terms: u32,
    /// Dead documents that postings still name.
    pub(in super::super) graves: u32,
    /// How many terms they have.
    pub(in super::super) grave_terms: u32,
    /// Blocks to be emptied.
    pub(in super::super) sparse: u32,
    /// Live documents.
    pub(in super::super) docs: u32,
    /// Their words.
    pub(in super::super) words: u64,
}

/// A vector's bytes, and the number of the model it is of.
pub(in super::super) struct Vector {
    pub(in super::super) model: u32,
    pub(in super::super) bytes: Vec<u8>,
}

/// A document to be found.
pub(in super::super) struct Document<'a> {
    pub(in super::super) key: &'a str,
    pub(in super::super) version: &'a Version,
    pub(in super::super) vector: Option<Vector>,
}

impl Document<'_> {
    fn terms(&self) -> Result<Terms, ViewError> {
        let entry = self.version.entry().ok_or(MALFORMED)?;
        Ok(Terms::of(self.key, &entry.value, &entry.tags))
    }
}

/// Adds a document and gives its number.
pub(in super::super) fn add(
    rows: &mut Rows<'_>,
    space: &mut Space,
    document: &Document<'_>,
) -> Result<u32, ViewError> {
    let terms = document.terms()?;
    add_with(rows, space, document, &terms)
}

fn add_with(
    rows: &mut Rows<'_>,
    space: &mut Space,
    document: &Document<'_>,
    terms: &Terms,
) -> Result<u32, ViewError> {
    let doc = space.totals.next_doc;
    if doc >= DOCS_MAX {
        return Err(ViewError::Full { namespace: space.name().to_owned() });
    }
    let entry = document.version.entry().ok_or(MALFORMED)?;
    let row = DocRow {
        written_at_unix_ms: document.version.written_at_unix_ms,
        expires_at_unix_ms: entry.expires_at_unix_ms.unwrap_or(0),
        importance: entry.importance.get(),
        length: terms.length,
    };
    let block_key = doc_key(b'd', space.id, doc / BLOCK);
    let mut block = read_row(rows, &block_key)?;
    row.encode(&mut block);
    insert(rows, &block_key, &block)?;
    let name = [&document.version.version.to_le_bytes(), document.key.as_bytes()].concat();
    insert(rows, &doc_key(b'k', space.id, doc), &name)?;
    insert(rows, &doc_key(b't', space.id, doc), &terms.encode())?;
    if let Some(vector) = &document.vector {
        insert(rows, &vector_key(space.id, vector.model, doc), &vector.bytes)?;
    }
    let totals = &mut space.totals;
    totals.next_doc += 1;
    totals.docs += 1;
    totals.words += u64::from(terms.length);
    totals.tail_terms += terms.count();
    if totals.next_doc - totals.tail_from >= WAITING_MAX || totals.tail_terms >= WAITING_TERMS_MAX {
        flush(rows, space.id)?;
        space.totals.tail_from = space.totals.next_doc;
        space.totals.tail_terms = 0;
    }
    if space.totals.next_doc.is_multiple_of(BLOCK) {
        look_at(rows, space, doc / BLOCK)?;
    }
    Ok(doc)
}

/// Takes a document away, and what that makes worth tidying up.
pub(in super::super) fn remove(
    rows: &mut Rows<'_>,
    space: &mut Space,
    doc: u32,
    document: &Document<'_>,
) -> Result<(), ViewError> {
    bury(rows, space, doc, document, None)?;
    look_at(rows, space, doc / BLOCK)?;
    if space.totals.sparse == 0 {
        return Ok(());
    }
    let start = prefix(b's', space.id);
    let block = match rows.range::<&[u8]>(&*start..&*after(&start)).map_err(storage)?.next() {
        Some(row) => number_at_end(row.map_err(storage)?.0.value())?,
        None => return Err(MALFORMED),
    };
    if let Some(doc) = live_docs(rows, space, block)?.first() {
        renumber(rows, space, *doc)?;
    }
    look_at(rows, space, block)
}

fn bury(
    rows: &mut Rows<'_>,
    space: &mut Space,
    doc: u32,
    document: &Document<'_>,
    terms: Option<&Terms>,
) -> Result<(), ViewError> {
    let block_key = doc_key(b'd', space.id, doc / BLOCK);
    let mut block = read_row(rows, &block_key)?;
    let at = index(doc % BLOCK) * ROW_BYTES;
    let bytes = block.get_mut(at..at + ROW_BYTES).ok_or(MALFORMED)?;
    let row = DocRow::decode(bytes).ok_or(MALFORMED)?;
    bytes[ROW_BYTES - 2..].copy_from_slice(&DEAD.to_le_bytes());
    insert(rows, &block_key, &block)?;
    remove_row(rows, &doc_key(b'k', space.id, doc))?;
    if let Some(vector) = &document.vector {
        remove_row(rows, &vector_key(space.id, vector.model, doc))?;
    }
    let totals = &mut space.totals;
    totals.docs = totals.docs.checked_sub(1).ok_or(MALFORMED)?;
    totals.words = totals.words.checked_sub(u64::from(row.length)).ok_or(MALFORMED)?;
    if doc >= totals.tail_from {
        let waiting = rows.remove(&*doc_key(b't', space.id, doc)).map_err(storage)?;
        let terms = Terms::count_of(waiting.ok_or(MALFORMED)?.value());
        totals.tail_terms = totals.tail_terms.checked_sub(terms).ok_or(MALFORMED)?;
        return Ok(());
    }
    let made;
    let terms = match terms {
        Some(terms) => terms,
        None => {
            made = document.terms()?;
            &made
        }
    };
    totals.graves += 1;
    totals.grave_terms += terms.count();
    let full = totals.graves >= WAITING_MAX || totals.grave_terms >= WAITING_TERMS_MAX;
    insert(rows, &doc_key(b'g', space.id, doc), &terms.encode())?;
    if full { purge(rows, space) } else { Ok(()) }
}

/// Notes a full block that has few live documents, and drops one that has none: what there is
/// to scan stays in proportion to what is alive.
fn look_at(rows: &mut Rows<'_>, space: &mut Space, block: u32) -> Result<(), ViewError> {
    if block >= space.totals.next_doc / BLOCK {
        return Ok(());
    }
    let sparse = doc_key(b's', space.id, block);
    match live_docs(rows, space, block)?.len() {
        0 => {
            remove_row(rows, &doc_key(b'd', space.id, block))?;
            if rows.remove(&*sparse).map_err(storage)?.is_some() {
                space.totals.sparse = space.totals.sparse.checked_sub(1).ok_or(MALFORMED)?;
            }
        }
        1..=SPARSE if rows.insert(&*sparse, &[][..]).map_err(storage)?.is_none() => {
            space.totals.sparse += 1;
        }
        _ => {}
    }
    Ok(())
}

/// How many documents from a number on are live.
pub(in super::super) fn live_from(
    rows: &impl Readable,
    space: &Space,
    first: u32,
) -> Result<u64, ViewError> {
    let (start, end) = (doc_key(b'd', space.id, first / BLOCK), after(&prefix(b'd', space.id)));
    let mut live = 0;
    for row in rows.range::<&[u8]>(&*start..&*end).map_err(storage)? {
        let (key, bytes) = row.map_err(storage)?;
        let docs = (number_at_end(key.value())? * BLOCK..).zip(DocRow::each(bytes.value()));
        live += wide(docs.filter(|(doc, row)| *doc >= first && row.is_live()).count());
    }
    Ok(live)
}

fn live_docs(rows: &impl Readable, space: &Space, block: u32) -> Result<Vec<u32>, ViewError> {
    let bytes = read_row(rows, &doc_key(b'd', space.id, block))?;
    let docs = (block * BLOCK..).zip(DocRow::each(&bytes));
    Ok(docs.filter_map(|(doc, row)| row.is_live().then_some(doc)).collect())
}

/// Gives a document the next number.
fn renumber(rows: &mut Rows<'_>, space: &mut Space, doc: u32) -> Result<(), ViewError> {
    let (key, number) = name_of(rows, space.id, doc)?;
    let version = Version::load(rows, space.id, &key, number)?.ok_or(MALFORMED)?;
    let mut head = Head::load(rows, space.id, &key)?.ok_or(MALFORMED)?;
    let live = head.live.as_mut().ok_or(MALFORMED)?;
    let vector = read_vector(rows, space.id, live.model, doc)?;
    let document = Document { key: &key, version: &version, vector };
    let terms = document.terms()?;
    bury(rows, space, doc, &document, Some(&terms))?;
    live.doc = add_with(rows, space, &document, &terms)?;
    head.store(rows, space.id, &key)
}

impl DocRow {
    fn encode(&self, block: &mut Vec<u8>) {
        block.extend_from_slice(&self.written_at_unix_ms.to_le_bytes());
        block.extend_from_slice(&self.expires_at_unix_ms.to_le_bytes());
        block.extend_from_slice(&self.importance.to_le_bytes());
        block.extend_from_slice(&self.length.to_le_bytes());
    }

    #[inline]
    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        Some(Self {
            written_at_unix_ms: fields.u64()?,
            expires_at_unix_ms: fields.u64()?,
            importance: fields.f32()?,
            length: fields.u16()?,
        })
    }

    /// The rows of a block.
    pub(super) fn each(block: &[u8]) -> impl Iterator<Item = Self> {
        let (rows, _) = block.as_chunks::<ROW_BYTES>();
        rows.iter().filter_map(|row| Self::decode(row.as_slice()))
    }

    pub(super) fn is_live(&self) -> bool {
        self.length != DEAD
    }
}

/// The key and version of a live document.
pub(super) fn name_of(
    rows: &impl Readable,
    space: u32,
    doc: u32,
) -> Result<(String, u64), ViewError> {
    let row = rows.get(&*doc_key(b'k', space, doc)).map_err(storage)?.ok_or(MALFORMED)?;
    let mut fields = Fields(row.value());
    let version = fields.u64().ok_or(MALFORMED)?;
    let key = std::str::from_utf8(fields.0).map_err(|_| MALFORMED)?;
    Ok((key.to_owned(), version))
}

/// The vector of a document; `model` 0 is none.
pub(in super::super) fn read_vector(
    rows: &impl Readable,
    space: u32,
    model: u32,
    doc: u32,
) -> Result<Option<Vector>, ViewError> {
    if model == 0 {
        return Ok(None);
    }
    let row = rows.get(&*vector_key(space, model, doc)).map_err(storage)?.ok_or(MALFORMED)?;
    Ok(Some(Vector { model, bytes: row.value().to_vec() }))
}

pub(in super::super) fn number_at_end(key: &[u8]) -> Result<u32, ViewError> {
    key.last_chunk().map(|bytes| u32::from_be_bytes(*bytes)).ok_or(MALFORMED)
}

pub(in super::super) fn doc_key(kind: u8, space: u32, number: u32) -> Vec<u8> {
    let mut key = prefix(kind, space);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

pub(in super::super) fn vector_key(space: u32, model: u32, doc: u32) -> Vec<u8> {
    let mut key = doc_key(b'v', space, model);
    key.extend_from_slice(&doc.to_be_bytes());
    key
}

fn read_row(rows: &impl Readable, key: &[u8]) -> Result<Vec<u8>, ViewError> {
    Ok(rows.get(key).map_err(storage)?.map(|row| row.value().to_vec()).unwrap_or_default())
}

pub(super) fn insert(rows: &mut Rows<'_>, key: &[u8], value: &[u8]) -> Result<(), ViewError> {
    rows.insert(key, value).map(drop).map_err(storage)
}

pub(super) fn remove_row(rows: &mut Rows<'_>, key: &[u8]) -> Result<(), ViewError> {
    rows.remove(key).map(drop).map_err(storage)
}
