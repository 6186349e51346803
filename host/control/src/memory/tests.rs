//! Quotas and large values, over a journal in memory.

use foreshore_store::JournalConfig;
use foreshore_store::memory::State;

use super::*;

const TENANT: Tenant = Tenant::DEFAULT;

fn memory(quotas: Quotas) -> Memory {
    let journal = Journal::in_memory(&JournalConfig::default()).expect("opens");
    Memory { quotas, ..Memory::new(journal) }
}

fn namespace() -> Namespace {
    Namespace::parse("notes").expect("a namespace")
}

fn key(text: &str) -> Key {
    Key::parse(text).expect("a key")
}

fn put(name: &str, value: String) -> Put {
    Put {
        namespace: namespace(),
        key: key(name),
        value: JsonText::parse_of_any_size(value).expect("JSON"),
        tags: Tags::default(),
        importance: Importance::default(),
        ttl: None,
        origin: Origin::Person,
        embedding: None,
        expected_version: None,
    }
}

fn relation(object: &str) -> Relation {
    let predicate = foreshore_domain::memory::Predicate::parse("is").expect("a predicate");
    Relation { subject: key("a"), predicate, object: key(object) }
}

fn exhausted(fault: MemoryFault, wanted: &str) {
    assert_eq!(fault.code(), "memory_quota_exhausted");
    let text = format!("namespace \"notes\" has its {wanted}; delete what is not needed");
    assert_eq!(fault.to_string(), text);
}

#[tokio::test]
async fn a_full_namespace_takes_what_does_not_grow_it_and_says_which_bound_the_rest_meets() {
    let memory = memory(Quotas { records: 2, bytes: 100, relations: 1 });
    for name in ["a", "b"] {
        assert_eq!(memory.put(&TENANT, put(name, "1".to_owned())).await.expect("put"), 1);
    }
    let third = memory.put(&TENANT, put("c", "1".to_owned())).await.expect_err("a third");
    exhausted(third, "2 records");
    assert_eq!(memory.put(&TENANT, put("a", "2".to_owned())).await.expect("written over"), 2);
    memory.delete(&TENANT, namespace(), key("b"), Origin::Person, None).await.expect("deleted");
    memory.put(&TENANT, put("c", "1".to_owned())).await.expect("in its place");

    // Versions that are kept count, so writing over grows the bytes.
    let long = format!("\"{}\"", "x".repeat(90));
    exhausted(memory.put(&TENANT, put("a", long)).await.expect_err("large"), "100 bytes");
    memory.put(&TENANT, put("a", "3".to_owned())).await.expect("small");

    let relate = |object| memory.relate(&TENANT, namespace(), relation(object), Origin::Person);
    assert!(relate("b").await.expect("related"));
    assert!(!relate("b").await.expect("it is there already"));
    exhausted(relate("c").await.expect_err("a second"), "1 relations");
}

#[tokio::test]
async fn a_value_too_large_for_an_event_is_kept_found_by_its_start_and_read_whole() {
    let memory = memory(Quotas::default());
    let words = "\\u0001lighthouse \\\" ".to_owned() + &"tide ".repeat(200_000);
    let text = format!("{{\"text\": \"{words} kelp\"}}");
    assert!(text.len() > 1_000_000);
    assert_eq!(memory.put(&TENANT, put("large", text.clone())).await.expect("put"), 1);
    assert_eq!(memory.put(&TENANT, put("large", "\"small\"".to_owned())).await.expect("put"), 2);
    let first = memory.get(&TENANT, &namespace(), &key("large"), Some(1)).expect("readable");
    let first = first.expect("kept");
    let State::Written(entry) = &first.state else { panic!("{first:?}") };
    assert_eq!(entry.value.size_bytes(), u64::try_from(text.len()).expect("small"));
    assert_eq!(memory.value(&first).expect("readable").expect("there").as_str(), text);

    memory.put(&TENANT, put("large", text.clone())).await.expect("put");
    let found = async |words: &str| {
        let search = Search { text: words.to_owned(), limit: 5, ..Search::default() };
        let found = memory.search(&TENANT, &namespace(), search).await.expect("searched");
        assert_eq!(found.degraded, None, "nothing is missing where no model embeds memory");
        found.hits.len()
    };
    let both = (found("lighthouse").await, found("kelp").await);
    assert_eq!(both, (1, 0), "search reads the start");
    let usage = &memory.namespaces(&TENANT).expect("readable")[0].1;
    assert!(usage.versions_bytes > 2_000_000, "{usage:?}");
    memory.journal.check().await.expect("passes its check");

    let larger = format!("\"{}\"", "x".repeat(VALUE_MAX_BYTES));
    let fault = memory.put(&TENANT, put("larger", larger)).await.expect_err("too large");
    assert_eq!(fault.code(), "memory_too_large");
}

#[tokio::test]
async fn a_value_leaves_room_for_its_embedding() {
    let memory = memory(Quotas::default());
    let model = foreshore_domain::memory::ModelName::parse("m").expect("a name");
    let embedding = Embedding::new(model, vec![1.0; 4_096]).expect("an embedding");
    for bytes in [20_000, 40_000, 48_000, 60_000] {
        let value = format!("\"{}\"", "\\\"".repeat(bytes / 2));
        let with = Put { embedding: Some(embedding.clone()), ..put("k", value.clone()) };
        memory.put(&TENANT, with).await.unwrap_or_else(|fault| panic!("{bytes}: {fault}"));
        let there = memory.get(&TENANT, &namespace(), &key("k"), None).expect("readable");
        let there = memory.value(&there.expect("there")).expect("readable");
        assert_eq!(there.expect("there").as_str(), value);
    }
}
