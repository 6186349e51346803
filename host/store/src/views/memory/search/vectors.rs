//! Ranking by meaning: the cosine of the query's vector and each record's, over all of them.
//!
//! Exact, and fast by looking twice. The first look takes rounded numbers from memory. With
//! `x` and `q` of length 1, `x'` and `q'` their rounded ones, and `e` the most that rounding
//! can change a vector's length by (half a step in each of its columns: `e = STEP / 2 *
//! sqrt(columns)`),
//!
//! ```text
//! |x.q - x'.q'|  =  |x.(q - q') + (x - x').q'|  <=  e + e * (1 + e)
//! ```
//!
//! So a document whose rounded cosine plus that is below the least of the best minus that is
//! surely not among the best, and the second look, at the stored `f32`, is for the others
//! alone. Without the cache every document gets the second look.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use foreshore_domain::memory::Embedding;

use super::super::super::ViewError;
use super::super::super::codec::{Readable, narrow};
use super::super::cache::Sight;
use super::super::space::Space;
use super::lexical::Docs;
use super::matrix::{STEP, VectorCache, Which, quantize};
use super::rank::{Best, Gate, Ranked};
use super::source::Source;

/// The best `limit` documents by cosine times weight, best first, of those whose cosine is
/// above zero. `None` where there are no sources: no record of the namespace has a vector of the
/// query's model.
pub(super) fn best<R: Readable>(
    sources: &[Source<'_, R>],
    space: &Space,
    docs: &Docs,
    gate: &Gate,
    query: &Embedding,
    cache: Option<(&VectorCache, Sight)>,
    limit: usize,
) -> Result<Option<Vec<Ranked>>, ViewError> {
    if sources.is_empty() {
        return Ok(None);
    }
    let mut best = Best::new(limit);
    let mut look = |doc: u32, bytes: &[u8]| {
        if let Some((at, _)) = docs.at(doc)
            && let Some(row) = docs.rows.get(at)
            && gate.lets_through(at, row)
            && let Some(cosine) = cosine(query.vector(), bytes)
            && cosine > 0.0
        {
            best.push(Ranked { score: cosine * gate.weight(row), doc });
        }
    };
    let columns = query.vector().len();
    for source in sources {
        let parts = match cache {
            Some((cache, sight)) => {
                let generation = sight.generation;
                let which = Which { generation, space: space.id, source: source.id(), columns };
                cache.parts(source, docs, sight, which)?
            }
            None => None,
        };
        match parts {
            Some(parts) => {
                for doc in promising(docs, gate, query.vector(), &parts, limit) {
                    source.look(doc, |bytes| look(doc, bytes))?;
                }
            }
            None => source.each(0, &mut look)?,
        }
    }
    Ok(Some(best.into_sorted()))
}

/// The documents that may be among the best: the first look.
fn promising(
    docs: &Docs,
    gate: &Gate,
    query: &[f32],
    parts: &[std::sync::Arc<super::matrix::Part>],
    limit: usize,
) -> Vec<u32> {
    let columns = query.len();
    let query: Vec<i16> = query.iter().map(|number| quantize(*number)).collect();
    // A little more than the formula's, for the rounding of the `f32` in which it is used.
    let e = STEP / 2.0 * u32::try_from(columns).map_or(f64::INFINITY, f64::from).sqrt();
    let error = narrow(e * (2.0 + e) + 1e-5);
    let mut surely: BinaryHeap<Reverse<Ranked>> = BinaryHeap::new();
    let mut least = 0.0_f32;
    let mut maybe: Vec<Ranked> = Vec::new();
    for part in parts {
        for (doc, numbers) in part.docs.iter().zip(part.numbers.chunks_exact(columns)) {
            let cosine = narrow(f64::from(dot(&query, numbers)) * STEP * STEP);
            if cosine + error <= 0.0 || (cosine + error) * Gate::WEIGHT_MAX < least {
                continue;
            }
            let Some((at, _)) = docs.at(*doc) else { continue };
            let Some(row) = docs.rows.get(at).filter(|row| gate.lets_through(at, row)) else {
                continue;
            };
            let weight = gate.weight(row);
            let ranked = |score| Ranked { score, doc: *doc };
            maybe.push(ranked((cosine + error) * weight));
            surely.push(Reverse(ranked((cosine - error) * weight)));
            if surely.len() > limit {
                surely.pop();
                least = surely.peek().map_or(0.0, |ranked| ranked.0.score.max(0.0));
            }
        }
    }
    maybe.retain(|ranked| ranked.score >= least);
    maybe.into_iter().map(|ranked| ranked.doc).collect()
}

/// The sum of products, in a form that compilers turn into one instruction for eight of them.
fn dot(a: &[i16], b: &[i16]) -> i32 {
    a.iter().zip(b).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum()
}

/// The cosine with a stored vector of as many columns, in eight sums side by side.
fn cosine(query: &[f32], bytes: &[u8]) -> Option<f32> {
    let (numbers, []) = bytes.as_chunks::<4>() else { return None };
    if numbers.len() != query.len() {
        return None;
    }
    let ((a, a_rest), (b, b_rest)) = (query.as_chunks::<8>(), numbers.as_chunks::<8>());
    let mut sums = [0.0_f32; 8];
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * f32::from_le_bytes(*b);
        }
    }
    let rest = a_rest.iter().zip(b_rest).map(|(a, b)| a * f32::from_le_bytes(*b));
    Some(sums.into_iter().chain(rest).sum())
}
