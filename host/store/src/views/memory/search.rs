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
mod source;
mod vectors;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use foreshore_domain::memory::Embedding;

pub(super) use documents::{
    Document, Totals, Vector, add, doc_key, live_from, number_at_end, remove, vector_key,
};
pub(super) use lexical::Docs;
pub use matrix::VectorCache;
pub use snippet::{SNIPPET_MAX, Snippet};
pub(super) use words::text_of;
pub use words::text_of_json;

use super::super::ViewError;
use super::super::codec::{ReadRows, Readable};
use super::MALFORMED;
use super::cache::Sight;
use super::record::Version;
use super::space::Space;
use rank::{Gate, Ranked};
use source::Source;

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

/// What found a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FoundBy {
    /// Its words; without a word in the query, its tags and its time.
    Words,
    /// Its meaning.
    Meaning,
    /// Both.
    Both,
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
    /// What found it.
    pub found_by: FoundBy,
    /// Why.
    pub snippet: Snippet,
}

/// Where vectors are looked for, beside the view itself.
#[derive(Clone, Copy, Default)]
pub(super) struct Vectors<'a> {
    /// Those that were read before.
    pub(super) cache: Option<(&'a VectorCache, Sight)>,
    /// Those that the model in use made.
    pub(super) meanings: Option<&'a ReadRows>,
}

pub(super) fn search(
    rows: &impl Readable,
    space: &Space,
    query: &Query<'_>,
    now_unix_ms: u64,
    vectors: Vectors<'_>,
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
        Some(query) => {
            let sources = Source::of(rows, vectors.meanings, space, query)?;
            let cache = vectors.cache;
            vectors::best(&sources, space, &docs, &gate, query, cache, FUSED_MAX)?
        }
        None => None,
    };
    let Some(by_meaning) = by_meaning else {
        let best = by_words(limit)?.into_iter().map(|ranked| (ranked, FoundBy::Words));
        let hits: Result<Vec<Hit>, ViewError> =
            best.map(|found| hit(rows, space.id, found, &words)).collect();
        return Ok(Found { hits: hits?, method: Method::Lexical });
    };
    // Without words the weight alone says nothing beside a meaning.
    let by_words = if words.is_empty() { Vec::new() } else { by_words(FUSED_MAX)? };
    let found_by = found_by(&by_words, &by_meaning);
    let hits: Result<Vec<Hit>, ViewError> = rank::fuse([by_words, by_meaning], limit)
        .into_iter()
        .map(|ranked| {
            let by = found_by.get(&ranked.doc).copied().unwrap_or(FoundBy::Both);
            hit(rows, space.id, (ranked, by), &words)
        })
        .collect();
    Ok(Found { hits: hits?, method: Method::Hybrid })
}

/// What found each document of two lists.
fn found_by(by_words: &[Ranked], by_meaning: &[Ranked]) -> BTreeMap<u32, FoundBy> {
    let mut found_by: BTreeMap<u32, FoundBy> =
        by_words.iter().map(|ranked| (ranked.doc, FoundBy::Words)).collect();
    for ranked in by_meaning {
        let by = found_by.entry(ranked.doc).or_insert(FoundBy::Meaning);
        if *by == FoundBy::Words {
            *by = FoundBy::Both;
        }
    }
    found_by
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
    (ranked, found_by): (Ranked, FoundBy),
    words: &BTreeSet<String>,
) -> Result<Hit, ViewError> {
    let (key, number) = documents::name_of(rows, space, ranked.doc)?;
    let version = Version::load(rows, space, &key, number)?.ok_or(MALFORMED)?;
    let entry = version.entry().ok_or(MALFORMED)?;
    let snippet = snippet::snippet(&words::text_of(&entry.value), words);
    Ok(Hit { key, version: Arc::new(version), score: ranked.score, found_by, snippet })
}
