//! What finds records: an index of words, written with them, and its queries.
//!
//! Deliberately absent: embedding texts, which a model does elsewhere. The invariant: **what
//! is found is what can be read**: a deleted, replaced or expired version is never a hit.

mod documents;
mod inverted;
mod lexical;
mod matrix;
mod postings;
mod rank;
mod snippet;
mod vectors;
mod words;

use std::collections::BTreeSet;
use std::sync::Arc;

use foreshore_domain::memory::Embedding;

pub(super) use documents::{Document, Totals, Vector, add, remove};
pub use matrix::VectorCache;
pub use snippet::{SNIPPET_MAX, Snippet};
pub use words::text_of_json;

use super::super::ViewError;
use super::super::codec::Readable;
use super::MALFORMED;
use super::cache::Sight;
use super::record::Version;
use super::space::Space;
use lexical::Docs;
use rank::{Gate, Ranked};

/// The most hits of one answer.
pub const HITS_MAX: usize = 100;
/// The most different words of a query that count.
pub const QUERY_WORDS_MAX: usize = 32;
/// How far down each method's list is fused.
const FUSED_MAX: usize = 200;
/// The longest text of a query that is read, in bytes.
const QUERY_TEXT_MAX: usize = 4 << 10;

/// What to look for.
#[derive(Clone, Debug, Default)]
pub struct Query<'a> {
    /// Words, any of which a hit has; the first [`QUERY_WORDS_MAX`] different ones count. With
    /// no word in it, what the filters let through is ranked by importance and recency alone.
    pub text: &'a str,
    /// What the text means to a model, if one could be asked: records that have a vector of
    /// the same model are found by it as well.
    pub embedding: Option<&'a Embedding>,
    /// A hit has all of them.
    pub tags: &'a [&'a str],
    /// A hit was written then or later, in milliseconds since 1970.
    pub since_unix_ms: Option<u64>,
    /// At most so many hits, and at most [`HITS_MAX`].
    pub limit: usize,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Best first.
    pub hits: Vec<Hit>,
    /// How.
    pub method: Method,
}

/// How hits were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// By words alone: the query has no vector, or no record one of its model.
    Lexical,
    /// By words and vectors.
    Hybrid,
}

/// A record that was found.
#[derive(Clone, Debug)]
pub struct Hit {
    /// Its key.
    pub key: String,
    /// Its latest version.
    pub version: Arc<Version>,
    /// Higher is better; comparable within one answer only.
    pub score: f32,
    /// Why.
    pub snippet: Snippet,
}

pub(super) fn search(
    rows: &impl Readable,
    space: &Space,
    query: &Query<'_>,
    now_unix_ms: u64,
    cache: Option<(&VectorCache, Sight)>,
) -> Result<Found, ViewError> {
    let docs = Docs::load(rows, space)?;
    let words = query_words(query.text);
    let tagged = tagged(rows, space, &docs, query.tags)?;
    let since_unix_ms = query.since_unix_ms.unwrap_or(0);
    let gate = Gate { now_unix_ms, since_unix_ms, tagged };
    let limit = query.limit.min(HITS_MAX);
    let by_words = |limit| -> Result<Vec<Ranked>, ViewError> {
        let scores = if words.is_empty() {
            vec![1.0; docs.rows.len()]
        } else {
            let terms: Vec<Vec<u8>> = words.iter().map(|word| words::word_term(word)).collect();
            lexical::scores(rows, space, &docs, &terms)?
        };
        Ok(rank::best(&docs, &scores, &gate, limit))
    };
    let by_meaning = match query.embedding {
        Some(query) => vectors::best(rows, space, &docs, &gate, query, cache, FUSED_MAX)?,
        None => None,
    };
    let (best, method) = match by_meaning {
        None => (by_words(limit)?, Method::Lexical),
        // Without words the weight alone says nothing beside a meaning.
        Some(list) if words.is_empty() => (rank::fuse([Vec::new(), list], limit), Method::Hybrid),
        Some(list) => (rank::fuse([by_words(FUSED_MAX)?, list], limit), Method::Hybrid),
    };
    let hits: Result<Vec<Hit>, ViewError> =
        best.into_iter().map(|ranked| hit(rows, space.id, ranked, &words)).collect();
    Ok(Found { hits: hits?, method })
}

fn query_words(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (_, word) in words::words(&text[..text.floor_char_boundary(QUERY_TEXT_MAX)]) {
        if found.len() >= QUERY_WORDS_MAX {
            break;
        }
        found.insert(word.into_owned());
    }
    found
}

/// By place, the documents that have all of the tags.
fn tagged(
    rows: &impl Readable,
    space: &Space,
    docs: &Docs,
    tags: &[&str],
) -> Result<Option<Vec<bool>>, ViewError> {
    let wanted: BTreeSet<&str> = tags.iter().copied().collect();
    if wanted.is_empty() {
        return Ok(None);
    }
    let terms: Vec<Vec<u8>> = wanted.iter().map(|tag| words::tag_term(tag)).collect();
    let mut has = vec![0_usize; docs.rows.len()];
    // A document has a tag once, so whoever has all has as many.
    lexical::postings(rows, space, docs, &terms, |_, at, _, _| {
        if let Some(has) = has.get_mut(at) {
            *has += 1;
        }
    })?;
    Ok(Some(has.into_iter().map(|has| has == terms.len()).collect()))
}

fn hit(
    rows: &impl Readable,
    space: u32,
    ranked: Ranked,
    words: &BTreeSet<String>,
) -> Result<Hit, ViewError> {
    let (key, number) = documents::name_of(rows, space, ranked.doc)?;
    let version = Version::load(rows, space, &key, number)?.ok_or(MALFORMED)?;
    let entry = version.entry().ok_or(MALFORMED)?;
    let snippet = snippet::snippet(&words::text_of(&entry.value), words);
    Ok(Hit { key, version: Arc::new(version), score: ranked.score, snippet })
}
