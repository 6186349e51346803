//! What else than the words says how good a hit is, and the best of many.
//!
//! Each method's score is multiplied by
//!
//! ```text
//! weight = (1 + 0.2 * importance) * (1 + 0.2 * 2^(-age / 30 days))
//! ```
//!
//! so a record that matters and is new counts for 1.44 times one that is neither: enough to
//! order near equals, too little to bring up what does not match. Fused lists are fused by
//! rank, after that.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap};

use super::super::super::codec::narrow;
use super::super::head::is_past;
use super::documents::DocRow;
use super::lexical::Docs;

const IMPORTANCE_SHARE: f32 = 0.2;
const RECENCY_SHARE: f32 = 0.2;
const HALF_LIFE_MINUTES: f64 = 30.0 * 24.0 * 60.0;
/// What a rank counts for where lists are fused.
const RANK_OFFSET: f32 = 60.0;

/// Which documents may be hits, and what they weigh.
pub(super) struct Gate {
    pub(super) now_unix_ms: u64,
    pub(super) since_unix_ms: u64,
    /// By place, those that have all tags; `None` without tags.
    pub(super) tagged: Option<Vec<bool>>,
}

impl Gate {
    /// The most a weight can be.
    pub(super) const WEIGHT_MAX: f32 = (1.0 + IMPORTANCE_SHARE) * (1.0 + RECENCY_SHARE);

    pub(super) fn lets_through(&self, at: usize, row: &DocRow) -> bool {
        row.is_live()
            && !is_past(row.expires_at_unix_ms, self.now_unix_ms)
            && row.written_at_unix_ms >= self.since_unix_ms
            && self.tagged.as_ref().is_none_or(|tagged| tagged.get(at).copied().unwrap_or(false))
    }

    pub(super) fn weight(&self, row: &DocRow) -> f32 {
        let age_minutes = self.now_unix_ms.saturating_sub(row.written_at_unix_ms) / 60_000;
        let age = u32::try_from(age_minutes).map_or(f64::INFINITY, f64::from) / HALF_LIFE_MINUTES;
        let recency = narrow((-age).exp2());
        (1.0 + IMPORTANCE_SHARE * row.importance) * (1.0 + RECENCY_SHARE * recency)
    }
}

/// A candidate. Better is greater; of equals, the newer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ranked {
    pub(super) score: f32,
    pub(super) doc: u32,
}

impl Eq for Ranked {}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then(self.doc.cmp(&other.doc))
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The best of what is pushed.
pub(super) struct Best {
    limit: usize,
    heap: BinaryHeap<Reverse<Ranked>>,
}

impl Best {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, heap: BinaryHeap::with_capacity(limit + 1) }
    }

    pub(super) fn push(&mut self, ranked: Ranked) {
        self.heap.push(Reverse(ranked));
        if self.heap.len() > self.limit {
            self.heap.pop();
        }
    }

    /// What a score must reach to be among them.
    pub(super) fn least(&self) -> f32 {
        match self.heap.peek() {
            Some(ranked) if self.heap.len() >= self.limit => ranked.0.score,
            _ => 0.0,
        }
    }

    /// Best first.
    pub(super) fn into_sorted(self) -> Vec<Ranked> {
        self.heap.into_sorted_vec().into_iter().map(|ranked| ranked.0).collect()
    }
}

/// The best `limit` of the documents whose score, by place, is above zero, best first.
pub(super) fn best(docs: &Docs, scores: &[f32], gate: &Gate, limit: usize) -> Vec<Ranked> {
    let mut best = Best::new(limit);
    let places = docs.rows.iter().zip(&docs.numbers).zip(scores).enumerate();
    for (at, ((row, doc), score)) in places {
        // Most documents end here: no weight could bring them among the best.
        if *score <= 0.0 || score * Gate::WEIGHT_MAX < best.least() || !gate.lets_through(at, row) {
            continue;
        }
        best.push(Ranked { score: score * gate.weight(row), doc: *doc });
    }
    best.into_sorted()
}

/// The best `limit` of several lists, by reciprocal rank fusion: a document's score is the sum
/// of 1 / (60 + its rank), from 1, over the lists that have it.
///
/// Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and individual
/// Rank Learning Methods", SIGIR 2009.
pub(super) fn fuse(lists: [Vec<Ranked>; 2], limit: usize) -> Vec<Ranked> {
    let mut scores: BTreeMap<u32, f32> = BTreeMap::new();
    for list in lists {
        let mut rank = RANK_OFFSET;
        for ranked in list {
            rank += 1.0;
            *scores.entry(ranked.doc).or_default() += 1.0 / rank;
        }
    }
    let mut best = Best::new(limit);
    for (doc, score) in scores {
        best.push(Ranked { score, doc });
    }
    best.into_sorted()
}
