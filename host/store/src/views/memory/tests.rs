//! Memory held to a plain model of it, and the rules that no model shows.

mod meaning;
mod measure;
mod model;
mod properties;
mod search;
mod trouble;

use redb::backends::InMemoryBackend;
use redb::{Database, ReadableDatabase as _};

use super::super::codec::wide;
use super::*;

/// A database with the view in it, and events numbered as the journal would.
pub(super) struct Fixture {
    pub(super) database: Database,
    pub(super) seq: u64,
    /// Blobs of versions that are no longer kept.
    pub(super) released: Vec<BlobDigest>,
}

impl Fixture {
    pub(super) fn new() -> Self {
        let database = Database::builder().create_with_backend(InMemoryBackend::new());
        Self { database: database.expect("a database"), seq: 0, released: Vec::new() }
    }

    /// Applies one event in a transaction of its own.
    pub(super) fn apply(
        &mut self,
        at_unix_ms: u64,
        tenant: &str,
        kind: &str,
        json: &str,
    ) -> Receipt {
        self.seq += 1;
        let transaction = self.database.begin_write().expect("a transaction");
        let (stream, payload) = ("memory/any", json.as_bytes());
        let event = EventRef { seq: self.seq, at_unix_ms, tenant, stream, kind, payload };
        let receipt = apply(&transaction, &event, &mut self.released).expect("applies");
        transaction.commit().expect("commits");
        receipt
    }

    pub(super) fn put(&mut self, at_unix_ms: u64, key: &str, rest: &str) -> u64 {
        let json = format!(r#"{{"namespace":"n","key":"{key}","origin":"person",{rest}}}"#);
        self.apply(at_unix_ms, "t", kind::PUT, &json).version
    }

    pub(super) fn delete(&mut self, at_unix_ms: u64, key: &str) -> Receipt {
        let json = format!(r#"{{"namespace":"n","key":"{key}","origin":"agent:a"}}"#);
        self.apply(at_unix_ms, "t", kind::DELETED, &json)
    }

    fn relate(&mut self, kind: &str, subject: &str, predicate: &str, object: &str) -> Receipt {
        let relation =
            format!(r#"{{"subject":"{subject}","predicate":"{predicate}","object":"{object}"}}"#);
        let json = format!(r#"{{"namespace":"n","relation":{relation},"origin":"person"}}"#);
        self.apply(1, "t", kind, &json)
    }

    pub(super) fn reader(&self, tenant: &str, now_unix_ms: u64) -> MemoryReader<'static> {
        let transaction = self.database.begin_read().expect("a transaction");
        MemoryReader::open(&transaction, tenant, now_unix_ms).expect("opens")
    }

    fn check(&self, now_unix_ms: u64, key: &str) -> u64 {
        let transaction = self.database.begin_write().expect("a transaction");
        check(&transaction, "t", "n", key, now_unix_ms).expect("readable")
    }

    pub(super) fn dump(&self) -> Vec<u8> {
        dump(&self.database.begin_read().expect("a transaction")).expect("readable")
    }
}

fn value(reader: &MemoryReader<'_>, key: &str) -> Option<String> {
    reader.get("n", key).expect("readable").map(|version| json(&version))
}

fn json(version: &Version) -> String {
    match &version.entry().expect("written").value {
        foreshore_domain::memory::ValueRef::Inline(json) => json.as_str().to_owned(),
        blob => panic!("{blob:?}"),
    }
}

#[test]
fn versions_go_on_over_a_deletion_and_the_old_ones_stay() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.put(10, "k", r#""value":{"inline":1}"#), 1);
    assert_eq!(fixture.delete(20, "k").version, 2);
    assert!(!fixture.delete(25, "k").changed);
    assert_eq!(fixture.check(30, "k"), 0);
    assert_eq!(value(&fixture.reader("t", 30), "k"), None);
    assert_eq!(fixture.put(30, "k", r#""value":{"inline":3}"#), 3);
    assert_eq!(fixture.check(30, "k"), 3);

    let reader = fixture.reader("t", 40);
    assert_eq!(value(&reader, "k").as_deref(), Some("3"));
    let versions = reader.versions("n", "k", 10).expect("readable");
    assert_eq!(versions.iter().map(|v| v.version).collect::<Vec<_>>(), [3, 2, 1]);
    assert!(
        matches!(&versions[1].state, State::Deleted { origin } if origin.to_string() == "agent:a")
    );
    assert_eq!(json(&versions[2]), "1");
    let first = reader.version("n", "k", 1).expect("readable").expect("kept");
    assert_eq!((first.seq, first.written_at_unix_ms), (1, 10));
    assert_eq!(reader.versions("n", "k", 2).expect("readable").len(), 2);
}

#[test]
fn a_record_is_hidden_the_moment_it_expires_and_its_value_goes_with_the_sweep() {
    let mut fixture = Fixture::new();
    fixture.put(1_000, "k", r#""value":{"inline":"old"}"#);
    fixture.put(1_000, "k", r#""value":{"inline":"brief"},"ttl_s":2"#);
    assert_eq!(value(&fixture.reader("t", 2_999), "k").as_deref(), Some("\"brief\""));
    assert!(fixture.reader("t", 2_999).due(9).expect("readable").is_empty());

    let late = fixture.reader("t", 3_000);
    assert_eq!(value(&late, "k"), None);
    assert_eq!(late.list("n", "", None, 9).expect("readable").keys, [""; 0]);
    assert_eq!(late.version("n", "k", 2).expect("readable"), None);
    assert_eq!(late.versions("n", "k", 9).expect("readable").len(), 1);
    assert_eq!((fixture.check(2_999, "k"), fixture.check(3_000, "k")), (2, 0));

    let due = late.due(9).expect("readable");
    let [due] = &due[..] else { panic!("one is due: {due:?}") };
    let event = serde_json::to_string(&due.event).expect("serializes");
    assert_eq!(event, r#"{"namespace":"n","key":"k","version":2}"#);
    assert!(!fixture.apply(2_999, &due.tenant, kind::EXPIRED, &event).changed);
    assert_eq!(fixture.apply(3_000, &due.tenant, kind::EXPIRED, &event).version, 3);
    assert!(!fixture.apply(3_001, &due.tenant, kind::EXPIRED, &event).changed);
    let swept = fixture.reader("t", 0);
    assert!(swept.due(9).expect("readable").is_empty());
    assert_eq!(swept.version("n", "k", 2).expect("readable"), None);
    let versions = swept.versions("n", "k", 9).expect("readable");
    assert_eq!(versions.iter().map(|v| v.version).collect::<Vec<_>>(), [3, 1]);
    assert_eq!(versions[0].state, State::Expired);
    assert!(!fixture.dump().windows(5).any(|bytes| bytes == b"brief"));
}

#[test]
fn only_so_many_versions_are_kept_and_the_oldest_go() {
    let mut fixture = Fixture::new();
    for n in 1..=VERSIONS_KEPT + 5 {
        assert_eq!(fixture.put(n, "k", &format!(r#""value":{{"inline":{n}}},"ttl_s":1"#)), n);
    }
    let reader = fixture.reader("t", 0);
    let versions = reader.versions("n", "k", 1_000).expect("readable");
    assert_eq!(versions.len(), 100);
    assert_eq!(versions.last().map(|v| v.version), Some(6));
    assert_eq!(reader.usage("n").expect("readable").versions, 100);
    let reader = fixture.reader("t", u64::MAX - 1);
    assert_eq!(reader.due(1_000).expect("readable").len(), 100);
}

#[test]
fn one_tenant_sees_nothing_of_another() {
    let mut fixture = Fixture::new();
    fixture.put(1, "k", r#""value":{"inline":"ours"}"#);
    fixture.relate(kind::RELATED, "a", "knows", "b");
    for stranger in ["u", "", "tt", "t\u{0}n"] {
        let reader = fixture.reader(stranger, 1);
        assert_eq!(reader.get("n", "k").expect("readable"), None);
        assert_eq!(reader.list("n", "", None, 9).expect("readable"), Keys::default());
        assert!(reader.versions("n", "k", 9).expect("readable").is_empty());
        assert!(reader.neighbours("n", "a", 9).expect("readable").is_empty());
        assert!(reader.namespaces().expect("readable").is_empty());
        assert_eq!(reader.usage("n").expect("readable"), Usage::default());
    }
    assert_eq!(fixture.reader("t", 1).namespaces().expect("readable").len(), 1);
}

#[test]
fn keys_are_listed_in_pages_that_neither_skip_nor_repeat() {
    let mut fixture = Fixture::new();
    for key in ["b", "a/2", "a/1", "a", "a/10", "ä"] {
        fixture.put(1, key, r#""value":{"inline":0}"#);
    }
    fixture.delete(2, "a/10");
    let reader = fixture.reader("t", 3);
    let all = reader.list("n", "", None, 9).expect("readable");
    assert_eq!(
        (all.keys, all.next_after),
        (["a", "a/1", "a/2", "b", "ä"].map(String::from).to_vec(), None)
    );
    let first = reader.list("n", "a", None, 2).expect("readable");
    assert_eq!((first.keys.len(), first.next_after.as_deref()), (2, Some("a/1")));
    let second = reader.list("n", "a", first.next_after.as_deref(), 2).expect("readable");
    assert_eq!((second.keys, second.next_after), (vec!["a/2".to_owned()], None));
    assert!(reader.list("n", "a", Some("z"), 2).expect("readable").keys.is_empty());
    assert_eq!(reader.list("n", "b", Some("a"), 2).expect("readable").keys, ["b"]);
}

#[test]
fn an_event_that_does_not_parse_or_is_of_another_kind_is_refused() {
    let fixture = Fixture::new();
    let transaction = fixture.database.begin_write().expect("a transaction");
    let refusal = |kind, payload| {
        let (tenant, stream) = ("t", "memory/n");
        let event = EventRef { seq: 7, at_unix_ms: 1, tenant, stream, kind, payload };
        apply(&transaction, &event, &mut Vec::new()).expect_err("refused").to_string()
    };
    assert_eq!(
        refusal("call.completed", b"{}"),
        "event 7 is of the kind \"call.completed\", which this view does not follow"
    );
    let error = refusal(kind::PUT, br#"{"namespace":"N"}"#);
    assert!(error.starts_with("event 7 is not a valid memory.put: namespace \"N\""), "{error}");
}

#[test]
fn a_relation_says_who_made_it_from_either_end() {
    let mut fixture = Fixture::new();
    let json = r#"{"namespace":"n","relation":{"subject":"a","predicate":"knows","object":"b"},"origin":"tool:fetch"}"#;
    fixture.apply(7, "t", kind::RELATED, json);
    // Saying it again changes nothing: the first word stands.
    fixture.apply(9, "t", kind::RELATED, &json.replace("tool:fetch", "person"));
    for end in ["a", "b"] {
        let found = fixture.reader("t", 10).neighbours("n", end, 9).expect("readable");
        let [related] = &found[..] else { panic!("one: {found:?}") };
        assert_eq!((related.seq, related.related_at_unix_ms), (1, 7));
        assert_eq!(related.origin.to_string(), "tool:fetch");
        assert_eq!(related.relation.object.as_str(), "b");
    }
}

#[test]
fn paths_are_the_shortest_and_say_when_there_may_be_more() {
    let mut fixture = Fixture::new();
    for (subject, object) in
        [("a", "b"), ("c", "b"), ("c", "d"), ("d", "e"), ("e", "f"), ("a", "x"), ("x", "c")]
    {
        assert!(fixture.relate(kind::RELATED, subject, "r", object).changed);
        assert!(!fixture.relate(kind::RELATED, subject, "r", object).changed);
    }
    let keys = |from: &str, to: &str| -> Vec<String> {
        let paths = fixture.reader("t", 1).paths("n", from, to).expect("readable");
        assert!(paths.complete);
        let line = |path: &Vec<foreshore_domain::memory::Relation>| {
            path.iter().map(|r| format!("{}{}", r.subject, r.object)).collect::<Vec<_>>().join(" ")
        };
        paths.paths.iter().map(line).collect()
    };
    assert_eq!(keys("a", "c"), ["ab cb", "ax xc"]);
    assert_eq!(keys("a", "e"), ["ab cb cd de", "ax xc cd de"]);
    assert_eq!(keys("e", "a"), ["de cd cb ab", "de cd xc ax"]);
    assert_eq!(keys("a", "f"), [""; 0], "five relations away");
    assert_eq!(keys("a", "a"), [""; 0]);
    assert_eq!(keys("a", "nowhere"), [""; 0]);
    assert!(fixture.relate(kind::UNRELATED, "a", "r", "b").changed);
    assert!(!fixture.relate(kind::UNRELATED, "a", "r", "b").changed);
    let paths = fixture.reader("t", 1).paths("n", "a", "c").expect("readable");
    assert_eq!(paths.paths.len(), 1);
}

#[test]
fn a_search_for_paths_reads_so_much_and_no_more() {
    let mut fixture = Fixture::new();
    let transaction = fixture.database.begin_write().expect("a transaction");
    for n in 0..graph::PATH_READS_MAX + 1 {
        let relation = format!(r#"{{"subject":"hub","predicate":"r","object":"{n}"}}"#);
        let json = format!(r#"{{"namespace":"n","relation":{relation},"origin":"person"}}"#);
        let event = EventRef {
            seq: 1,
            at_unix_ms: 1,
            tenant: "t",
            stream: "memory/n",
            kind: kind::RELATED,
            payload: json.as_bytes(),
        };
        apply(&transaction, &event, &mut Vec::new()).expect("applies");
    }
    transaction.commit().expect("commits");
    fixture.seq = 1;
    let paths = fixture.reader("t", 1).paths("n", "hub", "nowhere").expect("readable");
    assert_eq!(paths, Paths { paths: Vec::new(), complete: false });
}

#[test]
fn a_cached_record_is_given_again_until_an_event_touches_it() {
    let mut fixture = Fixture::new();
    let (cache, vectors) = (ReadCache::new(1 << 20), VectorCache::new(0));
    fixture.put(1, "k", r#""value":{"inline":1},"ttl_s":10"#);
    let read = |fixture: &Fixture, now| {
        let reader = fixture.reader("t", now).with_caches(&cache, &vectors).expect("readable");
        value(&reader, "k")
    };
    assert_eq!(read(&fixture, 2).as_deref(), Some("1"));
    assert_eq!(read(&fixture, 2).as_deref(), Some("1"));
    assert_eq!((cache.stats().hits, cache.stats().misses), (1, 1));
    // Time hides it, in the cache as in the table.
    assert_eq!(read(&fixture, 10_001), None);

    let before = fixture.reader("t", 2).with_caches(&cache, &vectors).expect("readable");
    let receipt = fixture.apply(
        3,
        "t",
        kind::PUT,
        r#"{"namespace":"n","key":"k","origin":"person","value":{"inline":2}}"#,
    );
    assert!(cache.latest("t", "n", "k", 4).is_some());
    cache.changed(receipt.touched.expect("a key"), fixture.seq);
    assert!(cache.latest("t", "n", "k", 4).is_none());
    // A reader of the moment before sees what was there, and leaves no trace of it.
    assert_eq!(value(&before, "k").as_deref(), Some("1"));
    assert_eq!(read(&fixture, 4).as_deref(), Some("2"));
    assert_eq!(read(&fixture, 4).as_deref(), Some("2"));
    assert_eq!(value(&before, "k").as_deref(), Some("1"));
    assert_eq!(cache.latest("t", "n", "k", 4).map(|version| json(&version)).as_deref(), Some("2"));
    assert!(cache.latest("u", "n", "k", 4).is_none());
    let transaction = fixture.database.begin_write().expect("a transaction");
    clear(&transaction).expect("cleared");
    transaction.commit().expect("commits");
    assert_eq!(read(&fixture, 4), None);
}

#[test]
fn the_cache_stays_within_its_bytes() {
    let mut fixture = Fixture::new();
    let (cache, vectors) = (ReadCache::new(100 << 10), VectorCache::new(0));
    let long = "x".repeat(4_000);
    for n in 0..100 {
        fixture.put(1, &n.to_string(), &format!(r#""value":{{"inline":"{long}"}}"#));
    }
    let reader = fixture.reader("t", 2).with_caches(&cache, &vectors).expect("readable");
    for _ in 0..3 {
        for n in 0..100 {
            assert!(value(&reader, &n.to_string()).is_some());
        }
    }
    let stats = cache.stats();
    assert!(stats.bytes <= 100 << 10 && stats.entries > 15, "{stats:?}");
}
