//! Values of memory that are blobs: kept as long as a version needs them, and no longer.

use foreshore_domain::event::{EventKind, NewEvent, Stream};
use serde_json::json;

use super::entries::on;
use super::in_memory;
use super::views::dump;
use crate::commit::{Blob, Commit};
use crate::error::AppendError;
use crate::facts::JournalConfig;
use crate::journal::Journal;
use crate::views::memory::VERSIONS_KEPT;

fn memory(kind: EventKind, payload: &serde_json::Value) -> NewEvent {
    on(Stream::Memory("notes".to_owned()), kind, payload)
}

/// A record whose value is a blob; it expires one second after the time of [`on`].
fn put(key: &str, value: &Blob) -> Commit {
    let reference = json!({
        "digest": value.digest(), "size_bytes": value.bytes().len(), "json_type": "string",
        "text": "the start of it",
    });
    let payload = json!({
        "namespace": "notes", "key": key, "value": { "blob": reference }, "origin": "person",
        "ttl_s": 1, "blobs": [value.digest()],
    });
    let events = vec![memory(EventKind::MemoryPut, &payload)];
    Commit { events, blobs: vec![value.clone()], ..Commit::default() }
}

fn value(n: u64) -> Blob {
    Blob::new(json!(format!("value {n} {}", "x".repeat(60_000))).to_string().into_bytes())
}

async fn assert_kept(journal: &Journal, kept: &[(&Blob, bool)]) {
    for (blob, is_kept) in kept {
        assert_eq!(journal.has_blob(&blob.digest()).expect("readable"), *is_kept);
    }
    journal.check().await.expect("passes its check");
    let live = dump(journal);
    journal.rebuild(|_| {}).await.expect("rebuilt");
    assert_eq!(dump(journal), live);
}

#[tokio::test]
async fn a_blob_stays_while_a_version_holds_it_and_goes_with_the_last() {
    let journal = in_memory(&JournalConfig::default());
    let (shared, old) = (value(1), value(2));
    journal.commit(put("other", &shared)).await.expect("committed");
    journal.commit(put("k", &shared)).await.expect("committed");
    journal.commit(put("k", &old)).await.expect("committed");
    let gone = json!({ "namespace": "notes", "key": "k", "origin": "person" });
    let deleted = vec![memory(EventKind::MemoryDeleted, &gone)];
    journal.commit(Commit { events: deleted, ..Commit::default() }).await.expect("committed");
    // A deletion is a version, and those before it can be read.
    assert_kept(&journal, &[(&shared, true), (&old, true)]).await;

    for n in 0..VERSIONS_KEPT - 2 {
        journal.commit(put("k", &value(100 + n))).await.expect("committed");
    }
    assert_kept(&journal, &[(&shared, true), (&old, true), (&value(100), true)]).await;
    journal.commit(put("k", &value(7))).await.expect("committed");
    assert_kept(&journal, &[(&shared, true), (&old, false), (&value(7), true)]).await;

    let expired = json!({ "namespace": "notes", "key": "other", "version": 1 });
    let expired = NewEvent { at_unix_ms: 9_000, ..memory(EventKind::MemoryExpired, &expired) };
    journal
        .commit(Commit { events: vec![expired.clone(), expired], ..Commit::default() })
        .await
        .expect("committed");
    assert_kept(&journal, &[(&shared, false), (&value(7), true)]).await;
}

#[tokio::test]
async fn a_record_names_the_blob_of_its_value_and_no_other() {
    let journal = in_memory(&JournalConfig::default());
    let (held, other) = (value(1), value(2));
    let good = put("k", &held);
    for blobs in [vec![held.digest(), other.digest()], vec![other.digest()], vec![]] {
        let mut payload: serde_json::Value =
            serde_json::from_slice(&good.events[0].payload).expect("JSON");
        payload["blobs"] = json!(blobs);
        let named = [&held, &other].into_iter().filter(|blob| blobs.contains(&blob.digest()));
        let bad = Commit {
            events: vec![memory(EventKind::MemoryPut, &payload)],
            blobs: named.cloned().collect(),
            ..Commit::default()
        };
        let refused = journal.commit(bad).await;
        let Err(AppendError::Invalid { message, .. }) = refused else { panic!("{refused:?}") };
        assert!(message.contains("its blobs are not that of its value"), "{message}");
    }
    journal.commit(good).await.expect("committed");
    assert_kept(&journal, &[(&held, true), (&other, false)]).await;
}
