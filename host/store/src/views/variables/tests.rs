use std::collections::BTreeMap;

use proptest::prelude::*;
use redb::backends::InMemoryBackend;
use redb::{Database, ReadableDatabase as _};

use super::*;

struct Fixture {
    database: Database,
    seq: u64,
}

impl Fixture {
    fn new() -> Self {
        let database = Database::builder().create_with_backend(InMemoryBackend::new());
        Self { database: database.expect("a database"), seq: 0 }
    }

    fn set(&mut self, tenant: &str, conversation: &str, name: &str, json: &str) -> u64 {
        let payload = format!(
            r#"{{"conversation":"{conversation}","name":"{name}","value":{{"inline":{json}}}}}"#
        );
        self.seq += 1;
        let transaction = self.database.begin_write().expect("a transaction");
        let event = EventRef {
            seq: self.seq,
            at_unix_ms: 5,
            tenant,
            stream: "conversation/c",
            kind: KIND_SET,
            payload: payload.as_bytes(),
        };
        let mut references = BlobReferences::default();
        let receipt = apply(&transaction, &event, &mut references).expect("applies");
        transaction.commit().expect("commits");
        let read = self.reader(tenant, conversation).get(name, None).expect("readable");
        assert_eq!(read.map(|variable| variable.version), Some(receipt.version));
        receipt.version
    }

    fn reader(&self, tenant: &str, conversation: &str) -> VariablesReader {
        let transaction = self.database.begin_read().expect("a transaction");
        VariablesReader::open(&transaction, tenant, conversation).expect("opens")
    }
}

fn json(variable: Option<Variable>) -> Option<String> {
    variable.map(|variable| match variable.value {
        ValueRef::Inline(json) => json.as_str().to_owned(),
        ValueRef::Blob(blob) => panic!("{blob:?}"),
    })
}

#[test]
fn the_index_says_what_a_variable_is_without_its_value() {
    let mut fixture = Fixture::new();
    let long = "é".repeat(200);
    for (name, value, json_type, first_line) in [
        ("a", r#""two\nlines""#, JsonType::String, "two"),
        ("b", "{\n \"x\": 1}", JsonType::Object, "{"),
        ("c", "[1,2]", JsonType::Array, "[1,2]"),
        ("d", "-1.5e3", JsonType::Number, "-1.5e3"),
        ("e", "false", JsonType::Boolean, "false"),
        ("f", "null", JsonType::Null, "null"),
        ("g", &format!("\"{long}\""), JsonType::String, &long[..240]),
    ] {
        fixture.set("t", "c", name, value);
        let index = fixture.reader("t", "c").index().expect("readable");
        let last = index.last().expect("there");
        assert_eq!((last.name.as_str(), last.json_type), (name, json_type));
        assert_eq!(last.first_line, first_line);
        assert_eq!(last.size_bytes, codec::wide(value.len()));
        assert_eq!(last.version, 1);
    }
}

#[test]
fn one_conversation_sees_nothing_of_another() {
    let mut fixture = Fixture::new();
    fixture.set("t", "c", "a", "1");
    for (tenant, conversation) in [("t", "d"), ("u", "c"), ("", "tc"), ("tc", ""), ("t", "")] {
        let reader = fixture.reader(tenant, conversation);
        assert_eq!(reader.index().expect("readable"), []);
        assert_eq!(reader.get("a", None).expect("readable"), None);
        assert_eq!(reader.usage().expect("readable"), VariableUsage::default());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn variables_and_their_versions_are_those_that_were_set(
        sets in prop::collection::vec((0..3_u8, 0..3_u8, any::<u32>()), 1..250),
    ) {
        let mut fixture = Fixture::new();
        let mut model: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
        for (conversation, name, value) in sets {
            let (conversation, name) = (format!("c{conversation}"), format!("v{name}"));
            let versions = model.entry((conversation.clone(), name.clone())).or_default();
            versions.push(value.to_string());
            let version = fixture.set("t", &conversation, &name, &value.to_string());
            prop_assert_eq!(version, codec::wide(versions.len()));
        }
        for conversation in ["c0", "c1", "c2"] {
            let reader = fixture.reader("t", conversation);
            let of = model.iter().filter(|((c, _), _)| c == conversation);
            let mut usage = VariableUsage::default();
            let mut names = Vec::new();
            for ((_, name), versions) in of {
                names.push((name.clone(), codec::wide(versions.len())));
                prop_assert_eq!(json(reader.get(name, None).expect("readable")), versions.last().cloned());
                usage.names += 1;
                let newest = versions.iter().rev().take(7).cloned();
                let listed = reader.versions(name, 7).expect("readable");
                prop_assert_eq!(
                    listed.into_iter().filter_map(|variable| json(Some(variable))).collect::<Vec<_>>(),
                    newest.collect::<Vec<_>>()
                );
                for (n, value) in (1_u64..).zip(versions) {
                    let kept = n + VERSIONS_KEPT > codec::wide(versions.len());
                    let found = json(reader.get(name, Some(n)).expect("readable"));
                    prop_assert_eq!(found, kept.then(|| value.clone()));
                    if kept {
                        usage.versions += 1;
                        usage.bytes += codec::wide(value.len());
                    }
                }
            }
            prop_assert_eq!(reader.usage().expect("readable"), usage);
            let index = reader.index().expect("readable");
            prop_assert_eq!(index.into_iter().map(|v| (v.name, v.version)).collect::<Vec<_>>(), names);
        }
    }
}

#[test]
fn every_kept_version_is_listed_and_no_older_one() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.reader("t", "c").versions("a", 9).expect("readable"), []);
    for n in 0..VERSIONS_KEPT + 5 {
        fixture.set("t", "c", "a", &n.to_string());
    }
    let versions = fixture.reader("t", "c").versions("a", usize::MAX).expect("readable");
    assert_eq!(codec::wide(versions.len()), VERSIONS_KEPT);
    assert_eq!(versions.last().map(|variable| variable.version), Some(6));
}

#[test]
fn a_copy_has_each_variable_as_it_stood_then_and_counts_for_itself() {
    let mut fixture = Fixture::new();
    for (name, value) in [("a", "1"), ("b", "[2]"), ("a", "3"), ("new", "4")] {
        fixture.set("t", "c", name, value);
    }
    let write = fixture.database.begin_write().expect("a transaction");
    let event = EventRef {
        seq: 9,
        at_unix_ms: 7,
        tenant: "t",
        stream: "conversation/d",
        kind: "conversation.created",
        payload: b"",
    };
    let mut references = BlobReferences::default();
    copy(&write, &event, "c", "d", 2, &mut references).expect("copied");
    write.commit().expect("committed");
    let reader = fixture.reader("t", "d");
    let index = reader.index().expect("readable");
    let index: Vec<_> = index.iter().map(|entry| (entry.name.as_str(), entry.version)).collect();
    assert_eq!(index, [("a", 1), ("b", 1)]);
    assert_eq!(json(reader.get("a", None).expect("readable")).as_deref(), Some("1"));
    let usage = reader.usage().expect("readable");
    assert_eq!(usage, VariableUsage { names: 2, versions: 2, bytes: 4 });
    // A fork goes on by itself.
    assert_eq!(fixture.set("t", "d", "a", "5"), 2);
    let write = fixture.database.begin_write().expect("a transaction");
    forget(&write, &event, "c", &mut references).expect("forgotten");
    write.commit().expect("committed");
    let gone = fixture.reader("t", "c");
    assert_eq!(gone.index().expect("readable"), []);
    assert_eq!(gone.get("a", Some(1)).expect("readable"), None);
    assert_eq!(gone.usage().expect("readable"), VariableUsage::default());
    assert_eq!(fixture.reader("t", "d").index().expect("readable").len(), 2);
}
