//! What else than the words says how good a hit is, and the best of many.
//!
//! Each method's score is multiplied by
//!
//! ```text
//! weight = (1 + 0.2 * importance) * (1 + 0.2 * 2^(-age / 30 days))
//! ```
//!
//! so a record that matters and is new counts for 1.44 times one that is neither: enough to
//! order near equals, too little to bring up what does not match.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use super::super::super::codec::narrow;
use super::super::head::is_past;
use super::documents::DocRow;
use super::lexical::Docs;

const IMPORTANCE_SHARE: f32 = 0.2;
const RECENCY_SHARE: f32 = 0.2;
const HALF_LIFE_MINUTES: f64 = 30.0 * 24.0 * 60.0;
/// The most a weight can be.
const WEIGHT_MAX: f32 = (1.0 + IMPORTANCE_SHARE) * (1.0 + RECENCY_SHARE);

/// Which documents may be hits, and what they weigh.
pub(super) struct Gate {
    pub(super) now_unix_ms: u64,
    pub(super) since_unix_ms: u64,
    /// By place, those that have all tags; `None` without tags.
    pub(super) tagged: Option<Vec<bool>>,
}

impl Gate {
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

/// The best `limit` of the documents whose score, by place, is above zero, best first.
pub(super) fn best(docs: &Docs, scores: &[f32], gate: &Gate, limit: usize) -> Vec<Ranked> {
    let mut heap: BinaryHeap<Reverse<Ranked>> = BinaryHeap::with_capacity(limit + 1);
    let mut least = 0.0_f32;
    let places = docs.rows.iter().zip(&docs.numbers).zip(scores).enumerate();
    for (at, ((row, doc), score)) in places {
        // Most documents end here: no weight could bring them among the best.
        if *score <= 0.0 || score * WEIGHT_MAX < least || !gate.lets_through(at, row) {
            continue;
        }
        heap.push(Reverse(Ranked { score: score * gate.weight(row), doc: *doc }));
        if heap.len() > limit {
            heap.pop();
            least = heap.peek().map_or(0.0, |ranked| ranked.0.score);
        }
    }
    heap.into_sorted_vec().into_iter().map(|ranked| ranked.0).collect()
}
