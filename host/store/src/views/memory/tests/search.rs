//! Search held to BM25 as one would write it down, through everything the index does to itself.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::properties::cases;
use super::*;

/// A stream of numbers that looks random and is the same each time.
pub(super) struct Numbers(pub(super) u64);

impl Numbers {
    pub(super) fn below(&mut self, end: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

#[derive(Clone, Debug)]
struct Doc {
    words: Vec<String>,
    tags: Vec<String>,
    importance: f64,
    written: u64,
    expires: u64,
}

/// The records that are there, as a plain map.
type Plain = BTreeMap<String, Doc>;

/// BM25 with its weight, written down from its formulas and nothing else.
fn naive(plain: &Plain, wanted: &BTreeSet<String>, now: u64) -> BTreeMap<String, f64> {
    let count = |n: usize| f64::from(u32::try_from(n).expect("few"));
    let all = count(plain.len());
    let average = plain.values().map(|doc| count(doc.words.len())).sum::<f64>() / all;
    let mut scores = BTreeMap::new();
    for (key, doc) in plain {
        let mut score = 0.0;
        for word in wanted {
            let times = count(doc.words.iter().filter(|w| *w == word).count());
            let with = count(plain.values().filter(|doc| doc.words.contains(word)).count());
            let idf = (1.0 + (all - with + 0.5) / (with + 0.5)).ln();
            let norm = 1.2 * (1.0 - 0.75 + 0.75 * count(doc.words.len()) / average);
            score += idf * times * 2.2 / (times + norm);
        }
        let days =
            f64::from(u32::try_from((now - doc.written) / 60_000).expect("recent")) / 1_440.0;
        let weight = (1.0 + 0.2 * doc.importance) * (1.0 + 0.2 * (-days / 30.0).exp2());
        if score > 0.0 && (doc.expires == 0 || doc.expires > now) {
            scores.insert(key.clone(), score * weight);
        }
    }
    scores
}

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// Puts and deletes at random and keeps the plain map beside the view.
struct Churn {
    fixture: Fixture,
    plain: Plain,
    numbers: Numbers,
    now: u64,
    history: Vec<(u64, &'static str, String)>,
}

impl Churn {
    fn new(seed: u64) -> Self {
        let (fixture, numbers) = (Fixture::new(), Numbers(seed));
        Self { fixture, plain: Plain::new(), numbers, now: DAY_MS, history: Vec::new() }
    }

    fn event(&mut self, keys: u64) -> (u64, &'static str, String) {
        self.now += self.numbers.below(DAY_MS / 50);
        let key = format!("k{}", self.numbers.below(keys));
        if self.numbers.below(6) == 0 {
            self.plain.remove(&key);
            let json = format!(r#"{{"namespace":"n","key":"{key}","origin":"person"}}"#);
            return (self.now, kind::DELETED, json);
        }
        // Low numbers come more often than high ones, as words do.
        let word = |numbers: &mut Numbers| {
            let end = 1 + numbers.below(60);
            format!("w{}", numbers.below(end))
        };
        let length = 1 + self.numbers.below(12);
        let words: Vec<String> = (0..length).map(|_| word(&mut self.numbers)).collect();
        let text = words.join(" ");
        let tags: Vec<String> = ["red", "blue"]
            .into_iter()
            .filter(|_| self.numbers.below(3) == 0)
            .map(str::to_owned)
            .collect();
        let quarters = u32::try_from(self.numbers.below(5)).expect("small");
        let (importance, ttl) = (f64::from(quarters) / 4.0, self.numbers.below(8) == 0);
        let json = format!(
            r#"{{"namespace":"n","key":"{key}","origin":"person","value":{{"inline":"{text}"}},"tags":{tags:?},"importance":{importance}{}}}"#,
            if ttl { r#","ttl_s":86400"# } else { "" }
        );
        let words = words.into_iter().chain(tags.iter().cloned()).chain([key.clone()]).collect();
        let expires = if ttl { self.now + DAY_MS } else { 0 };
        self.plain.insert(key, Doc { words, tags, importance, written: self.now, expires });
        (self.now, kind::PUT, json)
    }

    fn run(&mut self, events: usize, keys: u64) {
        let transaction = self.fixture.database.begin_write().expect("a transaction");
        for _ in 0..events {
            let (at_unix_ms, kind, json) = self.event(keys);
            self.fixture.seq += 1;
            let (seq, tenant, stream, payload) =
                (self.fixture.seq, "t", "memory/n", json.as_bytes());
            apply(
                &transaction,
                &EventRef { seq, at_unix_ms, tenant, stream, kind, payload },
                &mut Vec::new(),
            )
            .expect("applies");
            self.history.push((at_unix_ms, kind, json));
        }
        transaction.commit().expect("commits");
    }

    fn compare(&mut self) {
        let reader = self.fixture.reader("t", self.now);
        for _ in 0..8 {
            let wanted: BTreeSet<String> = (0..1 + self.numbers.below(4))
                .map(|_| format!("w{}", self.numbers.below(60)))
                .collect();
            let text = wanted.iter().cloned().collect::<Vec<_>>().join(", ").to_uppercase();
            let mut scores = naive(&self.plain, &wanted, self.now);
            let tag =
                ["red", "blue", "none"][usize::try_from(self.numbers.below(3)).expect("small")];
            let tags = if self.numbers.below(2) == 0 { &[][..] } else { &[tag][..] };
            let since = self.now - self.numbers.below(4 * DAY_MS).min(self.now);
            scores.retain(|key, _| {
                let doc = &self.plain[key];
                tags.iter().all(|tag| doc.tags.iter().any(|t| t == tag)) && doc.written >= since
            });
            let query = Query {
                text: &text,
                tags,
                since_unix_ms: Some(since),
                limit: 20,
                ..Query::default()
            };
            let found = reader.search("n", &query).expect("readable");
            assert_eq!(found.method, Method::Lexical);
            let mut best: Vec<f64> = scores.values().copied().collect();
            best.sort_by(|a, b| b.total_cmp(a));
            assert_eq!(found.hits.len(), best.len().min(20));
            for (hit, best) in found.hits.iter().zip(best) {
                let expected = scores[&hit.key];
                let off = (f64::from(hit.score) - expected).abs();
                assert!(off < 1e-4, "{} scored {} and not {expected}", hit.key, hit.score);
                assert!((expected - best).abs() < 1e-4, "{} is not the best", hit.key);
                assert!(!hit.snippet.matches.is_empty());
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(6))]

    #[test]
    fn the_best_hits_and_their_scores_are_those_of_the_formula(seed: u64, keys in 1..400_u64) {
        let mut churn = Churn::new(seed);
        for _ in 0..5 {
            churn.run(300, keys);
            churn.compare();
        }
    }

    #[test]
    fn an_index_made_again_has_the_same_rows(seed: u64, keys in 1..200_u64, group in 1..300_usize) {
        let mut churn = Churn::new(seed);
        churn.run(1_500, keys);
        let live = churn.fixture.dump();
        let again = Fixture::new();
        let numbered: Vec<_> = (1_u64..).zip(&churn.history).collect();
        for events in numbered.chunks(group) {
            let transaction = again.database.begin_write().expect("a transaction");
            for (seq, (at_unix_ms, kind, json)) in events {
                let (tenant, stream, payload) = ("t", "memory/n", json.as_bytes());
                let (seq, at_unix_ms) = (*seq, *at_unix_ms);
                apply(&transaction, &EventRef { seq, at_unix_ms, tenant, stream, kind, payload }, &mut Vec::new())
                    .expect("applies");
            }
            transaction.commit().expect("commits");
        }
        prop_assert!(again.dump() == live);
    }
}

#[test]
fn an_index_stays_in_proportion_to_what_is_alive() {
    let mut churn = Churn::new(7);
    churn.run(500, 50);
    let small = churn.fixture.dump();
    let rows = |dump: &[u8]| dump.len();
    for _ in 0..10 {
        churn.run(1_000, 50);
    }
    churn.compare();
    // A hundred versions of each record are kept, and nothing else grows.
    let large = churn.fixture.dump();
    assert!(rows(&large) < rows(&small) * 14, "{} and {}", rows(&small), rows(&large));
    for kind in [b'd', b'k', b't', b'g', b's'] {
        assert!(count(&churn.fixture, kind) < 300, "{}", char::from(kind));
    }
    let postings = postings_of(&churn.fixture);
    assert!(postings < (50 + 2 * 128) * 20, "{postings} postings of 50 documents");
    // Most of what was written once and then stays is in blocks of those that came and went.
    for n in 0..100 {
        churn.fixture.put(churn.now, &format!("once {n}"), r#""value":{"inline":1}"#);
        churn.run(200, 50);
    }
    let blocks = count(&churn.fixture, b'd');
    assert!(blocks < 16, "{blocks} blocks for 150 documents");
}

/// How many rows of a kind there are.
fn count(fixture: &Fixture, kind: u8) -> usize {
    let transaction = fixture.database.begin_read().expect("a transaction");
    let table = codec::open(&transaction, TABLE).expect("readable").expect("there");
    redb::ReadableTable::range::<&[u8]>(&table, &[kind][..]..&[kind + 1][..])
        .expect("readable")
        .count()
}

/// How many postings there are, those of dead documents too.
fn postings_of(fixture: &Fixture) -> u64 {
    let transaction = fixture.database.begin_read().expect("a transaction");
    let table = codec::open(&transaction, TABLE).expect("readable").expect("there");
    let chunks = redb::ReadableTable::range::<&[u8]>(&table, &b"p"[..]..&b"q"[..]);
    let count = |row: &[u8]| u64::from(u16::from_le_bytes([row[4], row[5]]));
    chunks.expect("readable").map(|row| count(row.expect("readable").1.value())).sum()
}

#[test]
fn nothing_that_cannot_be_read_is_found() {
    let mut fixture = Fixture::new();
    fixture.put(1_000, "a", r#""value":{"inline":"secret old"}"#);
    fixture.put(1_000, "a", r#""value":{"inline":"new"}"#);
    fixture.put(1_000, "b", r#""value":{"inline":"secret brief"},"ttl_s":1"#);
    fixture.put(1_000, "c", r#""value":{"inline":"secret gone"}"#);
    fixture.delete(1_000, "c");
    let keys = |tenant, namespace, now| -> Vec<String> {
        let query = Query { text: "secret", limit: 10, ..Query::default() };
        let found = fixture.reader(tenant, now).search(namespace, &query).expect("readable");
        found.hits.into_iter().map(|hit| hit.key).collect()
    };
    assert_eq!(keys("t", "n", 1_999), ["b"]);
    assert_eq!(keys("t", "n", 2_000), [""; 0]);
    assert_eq!(keys("u", "n", 1_999), [""; 0]);
    assert_eq!(keys("t", "m", 1_999), [""; 0]);
}

#[test]
fn a_query_without_words_gives_what_the_filters_let_through() {
    let mut fixture = Fixture::new();
    fixture.put(1_000, "a", r#""value":{"inline":1},"tags":["x"]"#);
    fixture.put(1_000, "b", r#""value":{"inline":2},"tags":["x","y"],"importance":1"#);
    fixture.put(9_000, "c", r#""value":{"inline":3}"#);
    let reader = fixture.reader("t", 10_000);
    let keys = |query: &Query<'_>| -> Vec<String> {
        let found = reader.search("n", query).expect("readable");
        found.hits.into_iter().map(|hit| hit.key).collect()
    };
    assert_eq!(keys(&Query { tags: &["x"], limit: 10, ..Query::default() }), ["b", "a"]);
    assert_eq!(keys(&Query { tags: &["y", "x"], limit: 10, ..Query::default() }), ["b"]);
    assert_eq!(keys(&Query { text: "?!", limit: 1, ..Query::default() }), ["b"]);
    assert_eq!(keys(&Query { since_unix_ms: Some(9_000), limit: 9, ..Query::default() }), ["c"]);
    assert_eq!(keys(&Query { limit: 0, ..Query::default() }), [""; 0]);
}

#[test]
fn records_of_very_many_words_do_not_wait_for_each_other_and_are_found() {
    let mut fixture = Fixture::new();
    for n in 0..12 {
        let words: Vec<String> = (0..3_000).map(|word| format!("w{n}x{word}")).collect();
        fixture.put(1, &format!("k{n}"), &format!(r#""value":{{"inline":"{}"}}"#, words.join(" ")));
        assert!(count(&fixture, b't') < 6, "their terms wait");
    }
    for n in 0..12 {
        fixture.put(2, &format!("k{n}"), r#""value":{"inline":"short"}"#);
        assert!(count(&fixture, b'g') < 6, "their terms wait");
    }
    fixture.put(
        3,
        "long",
        &format!(r#""value":{{"inline":"{}"}}"#, "first ".repeat(5_000) + "last"),
    );
    let reader = fixture.reader("t", 4);
    let hits = |text| {
        let query = Query { text, limit: 20, ..Query::default() };
        reader.search("n", &query).expect("readable").hits.len()
    };
    assert_eq!((hits("w7x2999"), hits("short"), hits("last"), hits("k7")), (0, 12, 1, 1));
}

#[test]
fn a_record_is_found_by_so_many_different_words_and_no_more() {
    let mut fixture = Fixture::new();
    let words: Vec<String> = (0..5_000).map(|word| format!("w{word}")).collect();
    let rest = format!(r#""value":{{"inline":"{} w1"}},"tags":["tagged"]"#, words.join(" "));
    fixture.put(1, "key", &rest);
    let reader = fixture.reader("t", 2);
    let hits = |text, tags| {
        let query = Query { text, tags, limit: 20, ..Query::default() };
        reader.search("n", &query).expect("readable").hits.len()
    };
    assert_eq!((hits("w1", &[][..]), hits("w4000", &[]), hits("w4999", &[])), (1, 1, 0));
    assert_eq!((hits("key", &[]), hits("tagged", &[]), hits("w1", &["tagged"])), (1, 1, 1));
}
