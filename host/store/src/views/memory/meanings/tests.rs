//! Vectors of texts: asked for once, kept as long as a record has the text, and searched like
//! those that were given along.

use std::collections::BTreeMap;

use proptest::prelude::*;
use redb::ReadableDatabase as _;

use super::super::tests::Fixture;
use super::super::{FoundBy, MemoryReader, Method, Query, ReadCache, VectorCache, clear};
use super::*;

const NOW: u64 = 1 << 60;

fn model(name: &str) -> ModelName {
    ModelName::parse(name).expect("a name")
}

/// A model that knows a few words: each is a direction, and what it does not know is another.
fn embed(text: &str) -> Vec<f32> {
    let mut vector = vec![0.0_f32; 4];
    for word in text.split(' ') {
        let at = match word {
            "dog" | "hound" => 0,
            "boat" | "vessel" => 1,
            "rain" | "drizzle" => 2,
            _ => 3,
        };
        vector[at] += 1.0;
    }
    vector
}

fn write<T>(fixture: &Fixture, work: impl FnOnce(&redb::WriteTransaction) -> T) -> T {
    let transaction = fixture.database.begin_write().expect("a transaction");
    let done = work(&transaction);
    transaction.commit().expect("commits");
    done
}

fn begun(fixture: &Fixture) -> redb::ReadTransaction {
    fixture.database.begin_read().expect("a transaction")
}

fn next(fixture: &Fixture) -> Option<PendingMeanings> {
    pending(&begun(fixture), None).expect("readable")
}

fn texts(pending: &PendingMeanings) -> Vec<&str> {
    pending.texts.iter().map(|text| text.text.as_str()).collect()
}

fn vectors(pending: &PendingMeanings) -> BTreeMap<TextDigest, Made> {
    let made = |text: &PendingText| {
        let vector = Embedding::new(model("m"), embed(&text.text)).expect("valid");
        (text.digest, Made::Vector(vector))
    };
    pending.texts.iter().map(made).collect()
}

/// Embeds everything; gives back the texts that were asked for, in order.
fn embed_all(fixture: &Fixture) -> Vec<String> {
    let mut asked = Vec::new();
    while let Some(pending) = next(fixture) {
        asked.extend(texts(&pending).into_iter().map(str::to_owned));
        let made = vectors(&pending);
        let placed = write(fixture, |txn| place(txn, &pending, &made)).expect("written");
        assert!(matches!(placed, Placed::Documents(_)), "{placed:?}");
    }
    asked
}

fn sweep_all(fixture: &Fixture) {
    loop {
        let found = unneeded(&begun(fixture)).expect("readable");
        if found.is_empty() {
            return;
        }
        write(fixture, |txn| sweep(txn, &found)).expect("written");
    }
}

fn start(name: &str) -> Fixture {
    let fixture = Fixture::new();
    assert!(write(&fixture, |txn| use_model(txn, &model(name), false)).expect("written"));
    fixture
}

fn put(fixture: &mut Fixture, key: &str, text: &str) {
    fixture.put(1, key, &format!(r#""value":{{"inline":"{text}"}}"#));
}

fn kept(fixture: &Fixture, kind: u8) -> usize {
    let Some(rows) = open(&begun(fixture)).expect("readable") else { return 0 };
    rows.range::<&[u8]>(&[kind][..]..&[kind + 1][..]).expect("readable").count()
}

fn found(fixture: &Fixture, text: &str) -> Vec<(String, FoundBy)> {
    let read = begun(fixture);
    let reader = MemoryReader::open(&read, "t", NOW).expect("opens");
    let reader = reader.with_meanings(&read).expect("opens");
    let embedding = Embedding::new(model("m"), embed(text)).expect("valid");
    let query = Query { text, embedding: Some(&embedding), limit: 10, ..Query::default() };
    let found = reader.search("n", &query).expect("readable");
    found.hits.into_iter().map(|hit| (hit.key, hit.found_by)).collect()
}

fn status_of(fixture: &Fixture) -> (u64, u64, u64) {
    let status = status(&begun(fixture)).expect("readable");
    (status.done, status.records, status.refused)
}

#[test]
fn a_record_is_found_by_what_it_means_and_the_answer_says_so() {
    let mut fixture = start("m");
    put(&mut fixture, "a", "hound");
    put(&mut fixture, "b", "vessel");
    put(&mut fixture, "c", "dog");
    assert_eq!(status_of(&fixture), (0, 3, 0));
    assert_eq!(found(&fixture, "dog"), [("c".to_owned(), FoundBy::Words)]);
    embed_all(&fixture);
    assert_eq!(status_of(&fixture), (3, 3, 0));
    let expected = [("c".to_owned(), FoundBy::Both), ("a".to_owned(), FoundBy::Meaning)];
    assert_eq!(found(&fixture, "dog"), expected);
}

#[test]
fn equal_texts_are_embedded_once_whoever_has_them_and_however_often_they_are_written() {
    let mut fixture = start("m");
    put(&mut fixture, "a", "dog  and\\tboat");
    put(&mut fixture, "b", "  dog and boat ");
    assert_eq!(embed_all(&fixture), ["dog and boat"]);
    put(&mut fixture, "a", "dog and boat");
    put(&mut fixture, "c", "dog and boat");
    assert!(next(&fixture).is_some(), "there is something to place");
    assert_eq!(embed_all(&fixture), [""; 0]);
    assert_eq!(status_of(&fixture), (3, 3, 0));
    assert_eq!(kept(&fixture, b'v'), 1);
    assert_eq!(found(&fixture, "hound").len(), 3);
}

#[test]
fn vectors_go_with_the_last_record_that_needs_them() {
    let mut fixture = start("m");
    for (key, text) in [("a", "dog"), ("b", "dog"), ("c", "boat"), ("d", "rain")] {
        put(&mut fixture, key, text);
    }
    embed_all(&fixture);
    sweep_all(&fixture);
    assert_eq!((kept(&fixture, b'v'), kept(&fixture, b'd')), (3, 4));
    fixture.delete(1, "a");
    fixture.delete(1, "c");
    put(&mut fixture, "d", "drizzle");
    // The text of "d" is to be looked at first: nothing says yet that "rain" is not needed.
    sweep_all(&fixture);
    assert_eq!((kept(&fixture, b'v'), kept(&fixture, b'd')), (3, 1));
    embed_all(&fixture);
    sweep_all(&fixture);
    assert_eq!((kept(&fixture, b'v'), kept(&fixture, b'd')), (2, 2), "dog and drizzle");
    assert_eq!(kept(&fixture, b'n'), 2);
    assert_eq!(found(&fixture, "hound"), [("b".to_owned(), FoundBy::Meaning)]);
}

#[test]
fn a_view_that_is_made_anew_asks_for_nothing_again() {
    let mut fixture = start("m");
    put(&mut fixture, "a", "dog");
    put(&mut fixture, "b", "boat");
    embed_all(&fixture);
    write(&fixture, clear).expect("cleared");
    fixture.seq = 0;
    put(&mut fixture, "b", "boat");
    assert_eq!(status_of(&fixture), (0, 1, 0));
    assert_eq!(embed_all(&fixture), [""; 0]);
    assert_eq!(found(&fixture, "vessel"), [("b".to_owned(), FoundBy::Meaning)]);
    sweep_all(&fixture);
    assert_eq!(kept(&fixture, b'v'), 1, "what no record needs after it is gone");
}

#[test]
fn vectors_are_no_part_of_the_view() {
    let (mut with, mut without) = (start("m"), Fixture::new());
    for fixture in [&mut with, &mut without] {
        put(fixture, "a", "dog");
    }
    embed_all(&with);
    assert_eq!(with.dump(), without.dump());
}

#[test]
fn another_model_starts_from_nothing_and_the_same_one_goes_on() {
    let mut fixture = start("m");
    put(&mut fixture, "a", "dog");
    embed_all(&fixture);
    assert!(!write(&fixture, |txn| use_model(txn, &model("m"), false)).expect("written"));
    assert_eq!(kept(&fixture, b'v'), 1);
    assert!(write(&fixture, |txn| use_model(txn, &model("other"), false)).expect("written"));
    assert_eq!((kept(&fixture, b'v'), status_of(&fixture)), (0, (0, 1, 0)));
    assert!(found(&fixture, "hound").is_empty(), "a query of the old model finds nothing");
    assert!(write(&fixture, |txn| use_model(txn, &model("m"), false)).expect("written"));
    assert_eq!(embed_all(&fixture), ["dog"]);
    assert!(write(&fixture, |txn| use_model(txn, &model("m"), true)).expect("written"));
    assert_eq!(kept(&fixture, b'v'), 0);
    assert!(write(&fixture, forget).expect("written"));
    assert!(!write(&fixture, forget).expect("written"));
    assert!(next(&fixture).is_none());
    assert_eq!(status(&begun(&fixture)).expect("readable").model, None);
}

#[test]
fn what_was_read_of_another_state_is_not_placed() {
    let mut fixture = start("m");
    put(&mut fixture, "a", "dog");
    let old = next(&fixture).expect("one");
    let placed = |fixture: &Fixture| {
        let made = vectors(&old);
        write(fixture, |txn| place(txn, &old, &made)).expect("written")
    };
    write(&fixture, |txn| use_model(txn, &model("m"), true)).expect("written");
    assert_eq!(placed(&fixture), Placed::Stale);
    let fixture = {
        let mut fixture = start("m");
        put(&mut fixture, "a", "dog");
        write(&fixture, clear).expect("cleared");
        fixture
    };
    assert_eq!(placed(&fixture), Placed::Stale);
    assert_eq!(kept(&fixture, b'v'), 0);
}

#[test]
fn vectors_of_another_length_are_not_kept() {
    let mut fixture = start("m");
    put(&mut fixture, "a", "dog");
    embed_all(&fixture);
    put(&mut fixture, "b", "boat");
    let pending = next(&fixture).expect("one");
    let longer = Embedding::new(model("m"), vec![1.0; 5]).expect("valid");
    let made = pending.texts.iter().map(|text| (text.digest, Made::Vector(longer.clone())));
    let made = made.collect();
    let placed = write(&fixture, |txn| place(txn, &pending, &made)).expect("written");
    assert_eq!((placed, kept(&fixture, b'v')), (Placed::OtherLength { kept: 4 }, 1));
}

#[test]
fn what_came_before_the_model_went_away_is_kept_and_not_asked_for_again() {
    let mut fixture = start("m");
    for (key, text) in [("a", "dog"), ("b", "boat"), ("c", "rain")] {
        put(&mut fixture, key, text);
    }
    let pending = next(&fixture).expect("three");
    assert_eq!(texts(&pending), ["dog", "boat", "rain"]);
    let mut made = vectors(&pending);
    made.remove(&pending.texts[1].digest);
    let placed = write(&fixture, |txn| place(txn, &pending, &made)).expect("written");
    assert_eq!((placed, status_of(&fixture)), (Placed::Documents(1), (1, 3, 0)));
    sweep_all(&fixture);
    assert_eq!(embed_all(&fixture), ["boat"]);
    assert_eq!(found(&fixture, "drizzle").first().map(|hit| &*hit.0), Some("c"));
}

#[test]
fn a_text_that_the_model_refuses_is_counted_and_left_alone() {
    let mut fixture = start("m");
    put(&mut fixture, "a", "dog");
    put(&mut fixture, "b", "boat");
    let pending = next(&fixture).expect("two");
    let mut made = vectors(&pending);
    made.insert(pending.texts[0].digest, Made::Refused);
    write(&fixture, |txn| place(txn, &pending, &made)).expect("written");
    assert_eq!(status_of(&fixture), (2, 2, 1));
    assert!(next(&fixture).is_none());
    assert_eq!(found(&fixture, "hound vessel").len(), 1);
    fixture.delete(1, "a");
    sweep_all(&fixture);
    assert_eq!(status_of(&fixture), (1, 1, 0));
}

#[test]
fn what_has_no_text_or_a_vector_of_its_own_or_is_in_a_bucket_is_not_asked_for() {
    let mut fixture = start("m");
    fixture.put(1, "null", r#""value":{"inline":null}"#);
    let own = serde_json::to_string(&Embedding::new(model("m"), embed("dog")).expect("valid"));
    let own = own.expect("serializes");
    fixture.put(1, "own", &format!(r#""value":{{"inline":"given"}},"embedding":{own}"#));
    let bucket = r#"{"namespace":"kv.x","key":"k","origin":"person","value":{"inline":"dog"}}"#;
    fixture.apply(1, "t", foreshore_domain::memory::kind::PUT, bucket);
    put(&mut fixture, "text", "hound");
    assert_eq!(embed_all(&fixture), ["hound"]);
    assert_eq!(status_of(&fixture), (3, 3, 0));
    let keys: Vec<String> = found(&fixture, "dog").into_iter().map(|hit| hit.0).collect();
    assert_eq!(keys, ["text", "own"], "both kinds of vector are searched, the newer first");
}

#[test]
fn the_text_of_a_meaning_has_single_spaces_and_an_end() {
    assert_eq!(meaning_text("  a\n\tb  "), "a b");
    assert_eq!(meaning_text(" \n "), "");
    assert_eq!(meaning_text(&"é".repeat(MEANING_TEXT_MAX_BYTES)).len(), MEANING_TEXT_MAX_BYTES);
    assert_eq!(
        meaning_text(&"abc ".repeat(MEANING_TEXT_MAX_BYTES)).len(),
        MEANING_TEXT_MAX_BYTES - 1
    );
    let (text, m) = ("dog", model("m"));
    assert_eq!(TextDigest::of(&m, text), TextDigest::of(&m, text));
    assert_ne!(TextDigest::of(&m, text), TextDigest::of(&model("md"), "og"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    /// Whatever is written, deleted, embedded and swept in whatever order, what is found is what
    /// a look at every record's text finds, with and without the cache.
    #[test]
    fn the_nearest_texts_are_found_after_any_history(
        steps in prop::collection::vec((0..12_u8, 0..40_u8, 0..4_usize, 0..4_usize), 1..400),
    ) {
        const WORDS: [&str; 4] = ["dog", "vessel", "rain", "thing"];
        let mut fixture = start("m");
        let mut records: BTreeMap<String, String> = BTreeMap::new();
        let (reads, cache) = (ReadCache::new(0), VectorCache::new(1 << 20));
        for (step, key, first, second) in steps {
            let key = format!("k{key}");
            match step {
                0 => { embed_all(&fixture); }
                1 => sweep_all(&fixture),
                2 | 3 => {
                    fixture.delete(1, &key);
                    records.remove(&key);
                }
                _ => {
                    let text = format!("{} {}", WORDS[first], WORDS[second]);
                    put(&mut fixture, &key, &text);
                    records.insert(key, text);
                }
            }
            if step > 1 {
                continue;
            }
            embed_all(&fixture);
            let query = Embedding::new(model("m"), embed(WORDS[first])).expect("valid");
            let mut near: Vec<&String> = records
                .iter()
                .filter(|(_, text)| text.contains(WORDS[first]))
                .map(|(key, _)| key)
                .collect();
            near.sort();
            for cached in [true, false] {
                let read = begun(&fixture);
                let mut reader = MemoryReader::open(&read, "t", NOW).expect("opens");
                reader = reader.with_meanings(&read).expect("opens");
                if cached {
                    reader = reader.with_caches(&reads, &cache).expect("opens");
                }
                let query = Query { embedding: Some(&query), limit: 100, ..Query::default() };
                let found = reader.search("n", &query).expect("readable");
                let mut keys: Vec<String> = found.hits.into_iter().map(|hit| hit.key).collect();
                keys.sort();
                prop_assert_eq!(keys.iter().collect::<Vec<_>>(), near.clone(), "cached {}", cached);
                prop_assert!(records.is_empty() || found.method == Method::Hybrid);
            }
        }
        embed_all(&fixture);
        sweep_all(&fixture);
        let texts: std::collections::BTreeSet<&String> = records.values().collect();
        prop_assert_eq!(kept(&fixture, b'v'), texts.len());
        prop_assert_eq!(kept(&fixture, b'd'), records.len());
    }
}
