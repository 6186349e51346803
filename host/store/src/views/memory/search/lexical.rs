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

use super::super::super::codec::{Readable, after, index, narrow};
use super::super::super::{ViewError, storage};
use super::super::MALFORMED;
use super::super::space::{Space, prefix};
use super::documents::{BLOCK, DocRow, number_at_end};
use super::inverted::term_prefix;
use super::postings::Postings;
use super::words::Terms;

const K1: f64 = 1.2;
const B: f64 = 0.75;

/// The rows of a namespace's documents, close together in memory: the documents of a block
/// that is gone take no place.
pub(super) struct Docs {
    /// Where the rows of each block start.
    starts: Vec<Option<usize>>,
    pub(super) rows: Vec<DocRow>,
    pub(super) numbers: Vec<u32>,
}

impl Docs {
    pub(super) fn load(rows: &impl Readable, space: &Space) -> Result<Self, ViewError> {
        let blocks = index(space.totals.next_doc.div_ceil(BLOCK));
        let mut docs = Self { starts: vec![None; blocks], rows: Vec::new(), numbers: Vec::new() };
        let start = prefix(b'd', space.id);
        for row in rows.range::<&[u8]>(&*start..&*after(&start)).map_err(storage)? {
            let (key, bytes) = row.map_err(storage)?;
            let block = number_at_end(key.value())?;
            *docs.starts.get_mut(index(block)).ok_or(MALFORMED)? = Some(docs.rows.len());
            for (doc, row) in (block * BLOCK..).zip(DocRow::each(bytes.value())) {
                docs.numbers.push(doc);
                docs.rows.push(row);
            }
        }
        Ok(docs)
    }

    /// Where the row of a document is, if it is live.
    #[inline]
    pub(super) fn at(&self, doc: u32) -> Option<usize> {
        let at = (*self.starts.get(index(doc / BLOCK))?)? + index(doc % BLOCK);
        self.rows.get(at).is_some_and(DocRow::is_live).then_some(at)
    }
}

/// The live documents that have each of some terms in order, by their place in `docs`, and how
/// often.
pub(super) fn postings(
    rows: &impl Readable,
    space: &Space,
    docs: &Docs,
    terms: &[Vec<u8>],
) -> Result<Vec<Vec<(usize, u32)>>, ViewError> {
    let mut found = vec![Vec::new(); terms.len()];
    for (term, found) in terms.iter().zip(&mut found) {
        let start = term_prefix(space.id, term);
        for row in rows.range::<&[u8]>(&*start..&*after(&start)).map_err(storage)? {
            let (key, bytes) = row.map_err(storage)?;
            let postings = Postings::new(number_at_end(key.value())?, bytes.value());
            found.extend(postings.filter_map(|(doc, times)| Some((docs.at(doc)?, times))));
        }
    }
    let start = prefix(b't', space.id);
    for row in rows.range::<&[u8]>(&*start..&*after(&start)).map_err(storage)? {
        let (key, bytes) = row.map_err(storage)?;
        let Some(at) = docs.at(number_at_end(key.value())?) else { continue };
        for (term, times) in Terms::each(bytes.value()) {
            if let Ok(n) = terms.binary_search_by(|wanted| wanted.as_slice().cmp(term))
                && let Some(found) = found.get_mut(n)
            {
                found.push((at, times));
            }
        }
    }
    Ok(found)
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
    let mut scores = vec![0.0_f32; docs.rows.len()];
    for postings in postings(rows, space, docs, terms)? {
        let with = u32::try_from(postings.len()).map_or(f64::from(u32::MAX), f64::from);
        let idf = narrow((1.0 + (all - with + 0.5) / (with + 0.5)).ln());
        for (at, times) in postings {
            // A value holds fewer words than 65,536.
            let times = f32::from(u16::try_from(times).unwrap_or(u16::MAX));
            if let (Some(row), Some(score)) = (docs.rows.get(at), scores.get_mut(at)) {
                let norm = at_no_length + per_length * f32::from(row.length);
                *score += idf * times * numerator / (times + norm);
            }
        }
    }
    Ok(scores)
}
