//! Ranking by words: BM25, over the live documents of one namespace.
//!
//! Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond",
//! Foundations and Trends in Information Retrieval 3(4), 2009, equations 3.3 and 3.15, with
//! k1 = 1.2 and b = 0.75; the idf has one added under its logarithm, so that a word of more
//! than half of all documents still counts for something.
//!
//! ```text
//! score(d)  = sum over the query's words t of idf(t) * tf * (k1 + 1) / (tf + k1 * (1 - b + b * |d| / avgdl))
//! idf(t)    = ln(1 + (N - n(t) + 0.5) / (n(t) + 0.5))
//! ```
//!
//! Dead documents count for nothing, in N, n(t) and avgdl too. Those past their time count in
//! these until they are swept, and are never hits.

use super::super::super::codec::{Readable, after, count, index, narrow};
use super::super::super::{ViewError, storage};
use super::super::MALFORMED;
use super::super::space::{Space, prefix};
use super::documents::{BLOCK, DEAD, DocRow, number_at_end};
use super::inverted::term_prefix;
use super::postings::Postings;
use super::words::Terms;

const K1: f64 = 1.2;
const B: f64 = 0.75;

/// The rows of a namespace's documents, close together in memory: the documents of a block
/// that is gone take no place.
pub(in super::super) struct Docs {
    /// Where the rows of each block start; [`GONE`] for none.
    starts: Vec<u32>,
    pub(super) rows: Vec<DocRow>,
    pub(super) numbers: Vec<u32>,
    /// The lengths of the rows once more, by themselves: they are looked up for each posting.
    lengths: Vec<u16>,
}

const GONE: u32 = u32::MAX;
/// So many documents have room from the start, and no count on disk makes it more.
const ROOM_MAX: usize = 1 << 20;

impl Docs {
    pub(in super::super) fn load(rows: &impl Readable, space: &Space) -> Result<Self, ViewError> {
        let blocks = index(space.totals.next_doc.div_ceil(BLOCK));
        // Growing by doubling would copy megabytes; more than twice the live ones is rare.
        let room = index(space.totals.next_doc.min(space.totals.docs.saturating_mul(2)));
        let room = room.min(blocks * index(BLOCK)).min(ROOM_MAX);
        let mut docs = Self {
            starts: vec![GONE; blocks],
            rows: Vec::with_capacity(room),
            numbers: Vec::with_capacity(room),
            lengths: Vec::with_capacity(room),
        };
        let start = prefix(b'd', space.id);
        for row in rows.range::<&[u8]>(&*start..&*after(&start)).map_err(storage)? {
            let (key, bytes) = row.map_err(storage)?;
            let block = number_at_end(key.value())?;
            *docs.starts.get_mut(index(block)).ok_or(MALFORMED)? = count(docs.rows.len());
            let from = docs.rows.len();
            docs.rows.extend(DocRow::each(bytes.value()));
            let new = docs.rows.get(from..).unwrap_or_default();
            docs.lengths.extend(new.iter().map(|row| row.length));
            docs.numbers.extend((block * BLOCK..).take(new.len()));
        }
        Ok(docs)
    }

    /// Where the row of a document is, and its length, if it is live.
    #[inline]
    pub(in super::super) fn at(&self, doc: u32) -> Option<(usize, u16)> {
        let start = *self.starts.get(index(doc / BLOCK))?;
        let at = index(start.saturating_add(doc % BLOCK));
        let length = *self.lengths.get(at)?;
        (length != DEAD).then_some((at, length))
    }
}

/// Calls `each` with the live documents that have each of some terms in order: the term's
/// place, the document's place in `docs`, its length, and how often it has the term. The
/// documents of a term come one after the other.
pub(super) fn postings(
    rows: &impl Readable,
    space: &Space,
    docs: &Docs,
    terms: &[Vec<u8>],
    mut each: impl FnMut(usize, usize, u16, u32),
) -> Result<(), ViewError> {
    let mut waiting = vec![Vec::new(); terms.len()];
    let start = prefix(b't', space.id);
    for row in rows.range::<&[u8]>(&*start..&*after(&start)).map_err(storage)? {
        let (key, bytes) = row.map_err(storage)?;
        let doc = number_at_end(key.value())?;
        for (term, times) in Terms::each(bytes.value()) {
            if let Ok(n) = terms.binary_search_by(|wanted| wanted.as_slice().cmp(term))
                && let Some(waiting) = waiting.get_mut(n)
            {
                waiting.push((doc, times));
            }
        }
    }
    for (n, (term, waiting)) in terms.iter().zip(waiting).enumerate() {
        let mut posting = |(doc, times)| {
            if let Some((at, length)) = docs.at(doc) {
                each(n, at, length, times);
            }
        };
        let start = term_prefix(space.id, term);
        for row in rows.range::<&[u8]>(&*start..&*after(&start)).map_err(storage)? {
            let (key, bytes) = row.map_err(storage)?;
            Postings::new(number_at_end(key.value())?, bytes.value()).for_each(&mut posting);
        }
        waiting.into_iter().for_each(posting);
    }
    Ok(())
}

/// The score of each document, by its place in `docs`; 0 for those that have no term.
pub(super) fn scores(
    rows: &impl Readable,
    space: &Space,
    docs: &Docs,
    terms: &[Vec<u8>],
) -> Result<Vec<f32>, ViewError> {
    let all = f64::from(space.totals.docs);
    let words = u32::try_from(space.totals.words).map_or(f64::from(u32::MAX), f64::from);
    let per_length = narrow(K1 * B / (words / all.max(1.0)).max(1e-9));
    let (at_no_length, numerator) = (narrow(K1 * (1.0 - B)), narrow(K1 + 1.0));
    // All of the formula but the idf, which is known when the term's documents are counted.
    let mut parts: Vec<Vec<(u32, f32)>> = vec![Vec::new(); terms.len()];
    postings(rows, space, docs, terms, |term, at, length, times| {
        // A value holds fewer words than 65,536.
        let times = f32::from(u16::try_from(times).unwrap_or(u16::MAX));
        let norm = at_no_length + per_length * f32::from(length);
        if let Some(parts) = parts.get_mut(term) {
            parts.push((count(at), times * numerator / (times + norm)));
        }
    })?;
    let mut scores = vec![0.0_f32; docs.rows.len()];
    for parts in parts {
        let with = u32::try_from(parts.len()).map_or(f64::from(u32::MAX), f64::from);
        let idf = narrow((1.0 + (all - with + 0.5) / (with + 0.5)).ln());
        for (at, part) in parts {
            if let Some(score) = scores.get_mut(index(at)) {
                *score += idf * part;
            }
        }
    }
    Ok(scores)
}
