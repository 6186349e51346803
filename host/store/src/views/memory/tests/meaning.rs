//! Search by vectors held to cosines of all of them, with and without the cache, and the
//! fusion of both methods to its formula.

use std::collections::BTreeMap;

use foreshore_domain::memory::{Embedding, ModelName};
use proptest::prelude::*;

use super::properties::cases;
use super::search::Numbers;
use super::*;

pub(super) fn embedding(numbers: &mut Numbers, columns: usize) -> Embedding {
    // None is zero: a vector of nothing but zeros is not one.
    let mut number = || f32::from(u16::try_from(numbers.below(2_000)).expect("small")) - 999.5;
    let vector = (0..columns).map(|_| number()).collect();
    let model = ModelName::parse("m").expect("valid");
    Embedding::new(model, vector).expect("valid")
}

fn put_vector(fixture: &mut Fixture, key: &str, text: &str, embedding: &Embedding) {
    let embedding = serde_json::to_string(embedding).expect("serializes");
    let rest = format!(r#""value":{{"inline":"{text}"}},"embedding":{embedding}"#);
    // Long ago, so that all weigh the same.
    fixture.put(1, key, &rest);
}

const NOW: u64 = 1 << 60;

fn keys(found: &Found) -> Vec<(String, f32)> {
    found.hits.iter().map(|hit| (hit.key.clone(), hit.score)).collect()
}

/// The records by cosine, best first.
fn by_cosine(vectors: &BTreeMap<String, Embedding>, query: &Embedding) -> Vec<(String, f64)> {
    let cosine = |embedding: &Embedding| -> f64 {
        let pairs = embedding.vector().iter().zip(query.vector());
        pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    let mut all: Vec<(String, f64)> =
        vectors.iter().map(|(key, embedding)| (key.clone(), cosine(embedding))).collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1));
    all.retain(|(_, cosine)| *cosine > 0.0);
    all
}

proptest! {
    #![proptest_config(cases(6))]

    #[test]
    fn the_nearest_vectors_are_found_with_and_without_the_cache(
        seed: u64,
        columns in 1..40_usize,
        keys_max in 1..300_u64,
    ) {
        let mut numbers = Numbers(seed);
        let mut fixture = Fixture::new();
        let mut vectors = BTreeMap::new();
        let (reads, cache) = (ReadCache::new(0), VectorCache::new(1 << 20));
        for round in 0..6 {
            for _ in 0..100 {
                let key = format!("k{}", numbers.below(keys_max));
                if numbers.below(5) == 0 {
                    fixture.delete(1, &key);
                    vectors.remove(&key);
                } else {
                    let embedding = embedding(&mut numbers, columns);
                    put_vector(&mut fixture, &key, "word", &embedding);
                    vectors.insert(key, embedding);
                }
            }
            let query = embedding(&mut numbers, columns);
            let expected = by_cosine(&vectors, &query);
            let query = Query { embedding: Some(&query), limit: 10, ..Query::default() };
            let slow = fixture.reader("t", NOW).search("n", &query).expect("readable");
            let reader = fixture.reader("t", NOW).with_caches(&reads, &cache).expect("readable");
            let fast = reader.search("n", &query).expect("readable");
            prop_assert_eq!(keys(&slow), keys(&fast));
            prop_assert_eq!(slow.method, if vectors.is_empty() { Method::Lexical } else { Method::Hybrid });
            prop_assert_eq!(slow.hits.len(), expected.len().min(10), "round {}", round);
            for (hit, (_, cosine)) in slow.hits.iter().zip(&expected) {
                // Equal cosines may change places.
                let found = expected.iter().find(|(key, _)| *key == hit.key).expect("above zero");
                prop_assert!((found.1 - cosine).abs() < 1e-5, "{} {}", found.1, cosine);
            }
            prop_assert!(cache.bytes() <= 1 << 20);
        }
    }
}

#[test]
fn vectors_that_rounding_cannot_tell_apart_are_told_apart() {
    let mut numbers = Numbers(5);
    let mut fixture = Fixture::new();
    let (reads, cache) = (ReadCache::new(0), VectorCache::new(1 << 20));
    let (base, query) = (embedding(&mut numbers, 64), embedding(&mut numbers, 64));
    let mut vectors = BTreeMap::new();
    for n in 0..1_000 {
        let mut tilt =
            || (f32::from(u16::try_from(numbers.below(201)).expect("small")) - 100.0) * 1e-7;
        let near = |(a, b): (&f32, &f32)| a + b + tilt();
        let vector = base.vector().iter().zip(query.vector()).map(near).collect();
        let embedding = Embedding::new(base.model().clone(), vector).expect("valid");
        put_vector(&mut fixture, &format!("k{n}"), "word", &embedding);
        vectors.insert(format!("k{n}"), embedding);
    }
    let expected = by_cosine(&vectors, &query);
    let reader = fixture.reader("t", NOW).with_caches(&reads, &cache).expect("readable");
    let query = Query { embedding: Some(&query), limit: 10, ..Query::default() };
    let found = reader.search("n", &query).expect("readable");
    assert_eq!(found.hits.len(), 10);
    for (hit, (_, best)) in found.hits.iter().zip(&expected) {
        let (_, cosine) = expected.iter().find(|(key, _)| *key == hit.key).expect("there");
        // What 32 bits cannot tell apart may change places.
        assert!((cosine - best).abs() < 4e-7, "{} has {cosine}, not {best}", hit.key);
    }
}

#[test]
fn words_and_vectors_are_fused_by_rank() {
    let mut fixture = Fixture::new();
    let along = |x: f32, y: f32| {
        Embedding::new(ModelName::parse("m").expect("valid"), vec![x, y]).expect("valid")
    };
    put_vector(&mut fixture, "both", "fox", &along(0.9, 0.1));
    put_vector(&mut fixture, "near", "other", &along(1.0, 0.0));
    put_vector(&mut fixture, "word", "fox fox", &along(-1.0, 0.0));
    put_vector(&mut fixture, "neither", "other", &along(-1.0, 0.0));
    let reader = fixture.reader("t", NOW);
    let query = along(1.0, 0.0);
    let query = Query { text: "fox", embedding: Some(&query), limit: 10, ..Query::default() };
    let found = reader.search("n", &query).expect("readable");
    assert_eq!(found.method, Method::Hybrid);
    // By words: word, both. By meaning: near, both. Of equals the newer comes first.
    let expected = [("both", 2.0 / 62.0), ("word", 1.0 / 61.0), ("near", 1.0 / 61.0)];
    for ((key, score), expected) in keys(&found).iter().zip(expected) {
        assert_eq!(key, expected.0);
        assert!((score - expected.1).abs() < 1e-6);
    }
    assert_eq!(found.hits.len(), 3);
}

#[test]
fn an_answer_says_when_it_is_of_words_alone() {
    let mut fixture = Fixture::new();
    fixture.put(1, "a", r#""value":{"inline":"fox"}"#);
    let mut numbers = Numbers(1);
    put_vector(&mut fixture, "b", "fox", &embedding(&mut numbers, 4));
    let model = ModelName::parse("another").expect("valid");
    let stranger = Embedding::new(model, vec![1.0; 4]).expect("valid");
    let reader = fixture.reader("t", NOW);
    for embedding in [None, Some(&stranger)] {
        let query = Query { text: "fox", embedding, limit: 10, ..Query::default() };
        let found = reader.search("n", &query).expect("readable");
        assert_eq!((found.method, found.hits.len()), (Method::Lexical, 2));
    }
}

#[test]
fn a_cleared_view_leaves_no_vector_in_the_cache() {
    let mut fixture = Fixture::new();
    let mut numbers = Numbers(1);
    let (reads, cache) = (ReadCache::new(0), VectorCache::new(1 << 20));
    let query = embedding(&mut numbers, 4);
    put_vector(&mut fixture, "before", "word", &query);
    let search = |fixture: &Fixture| {
        let reader = fixture.reader("t", NOW).with_caches(&reads, &cache).expect("readable");
        let query = Query { embedding: Some(&query), limit: 10, ..Query::default() };
        let found = reader.search("n", &query).expect("readable");
        found.hits.into_iter().map(|hit| hit.key).collect::<Vec<_>>()
    };
    assert_eq!(search(&fixture), ["before"]);
    let transaction = fixture.database.begin_write().expect("a transaction");
    clear(&transaction).expect("cleared");
    transaction.commit().expect("commits");
    put_vector(&mut fixture, "another", "word", &embedding(&mut numbers, 4));
    put_vector(&mut fixture, "after", "word", &query);
    assert_eq!(search(&fixture).first().map(String::as_str), Some("after"));
}

#[test]
fn vectors_that_were_replaced_leave_the_cache_too() {
    let mut fixture = Fixture::new();
    let mut numbers = Numbers(9);
    let (reads, cache) = (ReadCache::new(0), VectorCache::new(1 << 20));
    let query = embedding(&mut numbers, 8);
    let search = |reader: MemoryReader<'_>| {
        let query = Query { embedding: Some(&query), limit: 10, ..Query::default() };
        keys(&reader.search("n", &query).expect("readable"))
    };
    let cached = |fixture: &Fixture, at: &redb::ReadTransaction| {
        let reader = MemoryReader::open(at, "t", NOW).expect("opens");
        let found = search(reader.with_caches(&reads, &cache).expect("readable"));
        assert_eq!(found, search(MemoryReader::open(at, "t", NOW).expect("opens")));
        assert!(fixture.seq > 0 && found.len() <= 10);
    };
    put_vector(&mut fixture, "k0", "word", &query);
    let early = fixture.database.begin_read().expect("a transaction");
    cached(&fixture, &early);
    for n in 0..2_000 {
        let embedding = embedding(&mut numbers, 8);
        put_vector(&mut fixture, &format!("k{}", n % 20), "word", &embedding);
        if n % 50 == 0 {
            cached(&fixture, &fixture.database.begin_read().expect("a transaction"));
        }
    }
    let most = 2 * (20 + 3 * 128) + 512;
    assert!(cache.bytes() < most * (8 * 2 + 4), "{}", cache.bytes());
    // A reader of long ago finds what was there then, though the cache has dropped it.
    cached(&fixture, &early);
}
