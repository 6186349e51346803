//! Random histories: the view holds to the model, and to itself however it was made.

use foreshore_domain::memory::Relation;
use proptest::prelude::*;

use super::model::{Edge, Model, Was};
use super::*;

#[derive(Clone, Debug)]
enum Step {
    Put { key: u8, value: u16, ttl_s: Option<u8> },
    Delete { key: u8 },
    Sweep,
    Relate { edge: (u8, u8, u8) },
    Unrelate { edge: (u8, u8, u8) },
    Wait { ms: u16 },
}

fn step() -> impl Strategy<Value = Step> {
    let edge = || (0..7_u8, 0..2_u8, 0..7_u8);
    prop_oneof![
        6 => (0..6_u8, any::<u16>(), prop::option::weighted(0.4, 1..5_u8))
            .prop_map(|(key, value, ttl_s)| Step::Put { key, value, ttl_s }),
        2 => (0..6_u8).prop_map(|key| Step::Delete { key }),
        1 => Just(Step::Sweep),
        3 => edge().prop_map(|edge| Step::Relate { edge }),
        1 => edge().prop_map(|edge| Step::Unrelate { edge }),
        2 => (0..2_000_u16).prop_map(|ms| Step::Wait { ms }),
    ]
}

/// A view, its model, and what both were told.
struct Run {
    fixture: Fixture,
    model: Model,
    history: Vec<Recorded>,
    now: u64,
    cache: ReadCache,
    vectors: VectorCache,
}

/// An event as the journal would hold it.
#[derive(Clone, Debug)]
struct Recorded {
    at_unix_ms: u64,
    tenant: String,
    kind: &'static str,
    json: String,
}

impl Run {
    /// Takes the steps, and compares after each.
    fn new(steps: &[Step]) -> Self {
        let (fixture, model) = (Fixture::new(), Model::default());
        let (cache, vectors) = (ReadCache::new(5_000), VectorCache::new(0));
        let history = Vec::new();
        let mut run = Self { fixture, model, history, now: 1_000, cache, vectors };
        for step in steps {
            let (before, then) = (run.fixture.database.begin_read().expect("begins"), run.now);
            run.step(step);
            compare(&run.fixture, &run.model, run.now);
            run.compare_cached(&before, then);
            run.compare_cached(&run.fixture.database.begin_read().expect("begins"), run.now);
        }
        run
    }

    fn record(&mut self, tenant: &str, kind: &'static str, json: String) -> Receipt {
        let receipt = self.fixture.apply(self.now, tenant, kind, &json);
        if let Some(touched) = receipt.touched {
            self.cache.changed(touched, self.fixture.seq);
        }
        let tenant = tenant.to_owned();
        self.history.push(Recorded { at_unix_ms: self.now, tenant, kind, json });
        receipt
    }

    /// Whoever reads through the cache reads what they would without it, from before the last
    /// step as from now.
    fn compare_cached(&self, transaction: &redb::ReadTransaction, now: u64) {
        let reader = || MemoryReader::open(transaction, "t", now).expect("opens");
        let cached = reader().with_caches(&self.cache, &self.vectors).expect("readable");
        let latest = self.fixture.reader("t", self.now);
        for key in (0..7).map(|n| format!("k{n}")) {
            let expected = reader().get("n", &key).expect("readable");
            assert_eq!(cached.get("n", &key).expect("readable"), expected);
            if let Some(version) = self.cache.latest("t", "n", &key, self.now) {
                assert_eq!(latest.get("n", &key).expect("readable"), Some(version));
            }
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Put { key, value, ttl_s } => self.put(&format!("k{key}"), *value, *ttl_s),
            Step::Delete { key } => {
                let json = format!(r#"{{"namespace":"n","key":"k{key}","origin":"person"}}"#);
                let changed = self.model.delete(&format!("k{key}"));
                assert_eq!(self.record("t", kind::DELETED, json).changed, changed);
            }
            Step::Sweep => {
                for due in self.fixture.reader("any", self.now).due(1_000).expect("readable") {
                    // The other tenant's records have no end.
                    assert!(!self.model.is_swept(due.event.key.as_str(), due.event.version));
                    self.model.sweep(due.event.key.as_str(), due.event.version);
                    let json = serde_json::to_string(&due.event).expect("serializes");
                    assert!(self.record(&due.tenant, kind::EXPIRED, json).changed);
                }
            }
            Step::Relate { edge: (subject, predicate, object) }
            | Step::Unrelate { edge: (subject, predicate, object) } => {
                let edge = [format!("k{subject}"), format!("p{predicate}"), format!("k{object}")];
                let [subject, predicate, object] = edge;
                let relation = format!(
                    r#"{{"subject":"{subject}","predicate":"{predicate}","object":"{object}"}}"#
                );
                let json =
                    format!(r#"{{"namespace":"n","relation":{relation},"origin":"person"}}"#);
                let edge: Edge = (subject, predicate, object);
                let (kind, changed) = match step {
                    Step::Relate { .. } => (kind::RELATED, self.model.edges.insert(edge)),
                    _ => (kind::UNRELATED, self.model.edges.remove(&edge)),
                };
                assert_eq!(self.record("t", kind, json).changed, changed);
            }
            Step::Wait { ms } => self.now += u64::from(*ms),
        }
    }

    fn put(&mut self, key: &str, value: u16, ttl_s: Option<u8>) {
        let ttl = ttl_s.map_or(String::new(), |ttl_s| format!(",\"ttl_s\":{ttl_s}"));
        let start = format!(r#"{{"namespace":"n","key":"{key}","origin":"tool:x""#);
        let expires = ttl_s.map(|ttl_s| self.now + u64::from(ttl_s) * 1_000);
        let version = self.model.put(key, &value.to_string(), expires);
        let json = format!(r#"{start},"value":{{"inline":{value}}}{ttl}}}"#);
        assert_eq!(self.record("t", kind::PUT, json).version, version);
        // Another tenant's record of the same name is another record.
        self.record("other", kind::PUT, format!(r#"{start},"value":{{"inline":null}}}}"#));
    }
}

fn compare(fixture: &Fixture, model: &Model, now: u64) {
    let reader = fixture.reader("t", now);
    let mut usage = Usage::default();
    for key in (0..7).map(|n| format!("k{n}")) {
        let expected = model.get(&key, now);
        let found = reader.get("n", &key).expect("readable");
        let found = found.as_ref().map(|version| (version.version, json(version)));
        assert_eq!(found, expected.map(|(version, value)| (version, value.to_owned())));
        assert_eq!(fixture.check(now, &key), expected.map_or(0, |(version, _)| version));
        compare_versions(&reader, model, &key, now);
        let neighbours = reader.neighbours("n", &key, 1_000).expect("readable");
        assert_eq!(
            neighbours.iter().map(|related| edge(&related.relation)).collect::<Vec<_>>(),
            model.neighbours(&key)
        );
        add_usage(&mut usage, model, &key);
    }
    usage.relations = wide(model.edges.len());
    assert_eq!(reader.usage("n").expect("readable"), usage);
    let listed = reader.list("n", "k", None, 1_000).expect("readable").keys;
    let there: Vec<String> =
        model.records.keys().filter(|key| model.get(key, now).is_some()).cloned().collect();
    assert_eq!(listed, there);
}

fn compare_versions(reader: &MemoryReader<'_>, model: &Model, key: &str, now: u64) {
    let versions = reader.versions("n", key, 1_000).expect("readable");
    let expected = model.versions(key, now, 100);
    assert_eq!(versions.len(), expected.len(), "{key}");
    for (version, (number, was)) in versions.iter().zip(expected) {
        assert_eq!(version.version, number);
        match (&version.state, was) {
            (State::Written(_), Was::Written { value, .. }) => assert_eq!(json(version), *value),
            (State::Deleted { .. }, Was::Deleted) | (State::Expired, Was::Expired) => {}
            (state, was) => panic!("{state:?} was {was:?}"),
        }
    }
}

/// Counts know no clock: what is past its time counts until it is swept.
fn add_usage(usage: &mut Usage, model: &Model, key: &str) {
    let bytes = |was: &Was| match was {
        Was::Written { value, .. } => wide(key.len() + value.len()),
        _ => wide(key.len()),
    };
    let kept = model.versions(key, 0, 100);
    usage.versions += wide(kept.len());
    usage.versions_bytes += kept.iter().map(|(_, was)| bytes(was)).sum::<u64>();
    if let Some(was @ Was::Written { .. }) = model.records.get(key).and_then(|v| v.last()) {
        usage.entries += 1;
        usage.bytes += bytes(was);
    }
}

fn compare_paths(run: &Run) {
    let reader = run.fixture.reader("t", run.now);
    for (from, to) in [("k0", "k1"), ("k0", "k5"), ("k3", "k2"), ("k6", "k6")] {
        let found = reader.paths("n", from, to).expect("readable");
        let expected = run.model.paths(from, to, graph::PATH_RELATIONS_MAX);
        let found: Vec<Vec<Edge>> =
            found.paths.iter().map(|path| path.iter().map(edge).collect()).collect();
        assert_eq!(found.len(), expected.len().min(graph::PATHS_MAX));
        assert!(found.iter().all(|path| expected.contains(path)), "{found:?} of {expected:?}");
    }
}

fn edge(relation: &Relation) -> Edge {
    let text = |part: &dyn std::fmt::Display| part.to_string();
    (text(&relation.subject), text(&relation.predicate), text(&relation.object))
}

/// Applies a history in transactions of so many events each.
fn rebuild(fixture: &Fixture, history: &[Recorded], group: usize) {
    let transaction = fixture.database.begin_write().expect("a transaction");
    clear(&transaction).expect("cleared");
    transaction.commit().expect("commits");
    let numbered: Vec<_> = (1_u64..).zip(history).collect();
    for events in numbered.chunks(group) {
        let transaction = fixture.database.begin_write().expect("a transaction");
        for (seq, recorded) in events {
            let event = EventRef {
                seq: *seq,
                at_unix_ms: recorded.at_unix_ms,
                tenant: &recorded.tenant,
                stream: "memory/n",
                kind: recorded.kind,
                payload: recorded.json.as_bytes(),
            };
            apply(&transaction, &event, &mut Vec::new()).expect("applies");
        }
        transaction.commit().expect("commits");
    }
}

/// How many cases: `FORESHORE_CASES`, or the given number.
pub(super) fn cases(default: u32) -> ProptestConfig {
    let cases = std::env::var("FORESHORE_CASES").ok().and_then(|n| n.parse().ok());
    ProptestConfig { cases: cases.unwrap_or(default), ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn after_every_step_the_view_is_what_the_model_says(
        steps in prop::collection::vec(step(), 1..40),
    ) {
        compare_paths(&Run::new(&steps));
    }

    #[test]
    fn the_same_events_give_the_same_rows_in_whatever_transactions_they_come(
        steps in prop::collection::vec(step(), 1..60),
        group in 1..20_usize,
    ) {
        let run = Run::new(&steps);
        let live = run.fixture.dump();
        let fresh = Fixture::new();
        rebuild(&fresh, &run.history, group);
        prop_assert!(fresh.dump() == live);
        rebuild(&run.fixture, &run.history, group);
        prop_assert!(run.fixture.dump() == live);
    }
}
