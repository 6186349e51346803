//! Entries of several events: whole or not at all, with conditions and blobs.

use foreshore_domain::event::{EventKind, NewEvent, Stream, Tenant};

use super::{event, in_memory, payloads};
use crate::commit::{Blob, COMMIT_EVENTS_MAX, Commit, Condition};
use crate::error::AppendError;
use crate::facts::JournalConfig;
use crate::journal::Journal;

pub(super) fn on(stream: Stream, kind: EventKind, payload: impl std::fmt::Display) -> NewEvent {
    NewEvent {
        at_unix_ms: 1_000,
        tenant: Tenant::DEFAULT,
        stream,
        kind,
        payload: payload.to_string().into_bytes(),
    }
}

fn conversation(payload: &str) -> NewEvent {
    on(Stream::Conversation("c".to_owned()), EventKind::CallCompleted, payload)
}

fn at(seq: u64) -> Condition {
    let stream = Stream::Conversation("c".to_owned());
    Condition::StreamAt { tenant: Tenant::DEFAULT, stream, seq }
}

fn entry(events: Vec<NewEvent>, conditions: Vec<Condition>) -> Commit {
    Commit { events, conditions, blobs: Vec::new() }
}

#[tokio::test]
async fn an_entry_is_recorded_whole_under_numbers_that_follow_one_another() {
    let journal = in_memory(&JournalConfig::default());
    journal.append(event("before")).await.expect("appended");
    let events = vec![event("a"), conversation("b"), event("c")];
    let committed = journal.commit(entry(events, vec![at(0)])).await.expect("committed");
    assert_eq!((committed.first_seq, committed.last_seq), (2, 4));
    assert_eq!(committed.receipts.len(), 3);
    assert_eq!(payloads(&journal), ["before", "a", "b", "c"]);
}

#[tokio::test]
async fn a_stream_that_has_moved_is_a_conflict_that_says_to_where() {
    let journal = in_memory(&JournalConfig::default());
    journal.commit(entry(vec![conversation("one")], vec![at(0)])).await.expect("committed");
    let late = journal.commit(entry(vec![conversation("two")], vec![at(0)])).await;
    let Err(AppendError::Conflict(conflict)) = late else { panic!("{late:?}") };
    assert_eq!((conflict.expected, conflict.actual), (0, 1));
    assert_eq!(
        AppendError::Conflict(conflict).to_string(),
        "the stream \"conversation/c\" ends at event 1, not at 0"
    );
    journal.commit(entry(vec![conversation("two")], vec![at(1)])).await.expect("committed");
    assert_eq!(payloads(&journal), ["one", "two"]);
    // Another tenant's conversation of the same name is another stream.
    let other = Tenant::parse("other").expect("a tenant");
    let mut theirs = conversation("theirs");
    theirs.tenant = other.clone();
    let stream = Stream::Conversation("c".to_owned());
    let unmoved = Condition::StreamAt { tenant: other.clone(), stream: stream.clone(), seq: 0 };
    assert_eq!(journal.stream_head(&other, &stream).expect("readable"), 0);
    journal.commit(entry(vec![theirs], vec![unmoved])).await.expect("committed");
    assert_eq!(journal.stream_head(&other, &stream).expect("readable"), 3);
    assert_eq!(journal.stream_head(&Tenant::DEFAULT, &stream).expect("readable"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_writers_that_expect_the_same_head_one_wins_and_no_other_is_harmed() {
    let journal = in_memory(&JournalConfig::default());
    let (rounds, writers) = (20_usize, 16_usize);
    for round in 0..rounds {
        let head = heads(&journal);
        let tasks: Vec<_> = (0..writers)
            .map(|n| {
                let journal = journal.clone();
                tokio::spawn(async move {
                    let bystander = journal.append(event(format_args!("{round}:{n}")));
                    let contended = journal.commit(entry(vec![conversation("x")], vec![at(head)]));
                    let (bystander, contended) = tokio::join!(bystander, contended);
                    bystander.expect("an append without condition is recorded");
                    contended.is_ok()
                })
            })
            .collect();
        let mut winners = 0;
        for task in tasks {
            winners += usize::from(task.await.expect("no panic"));
        }
        assert_eq!(winners, 1);
    }
    let events = journal.verify().expect("verifies").events;
    assert_eq!(events, u64::try_from(rounds * (writers + 1)).expect("small"));
}

fn heads(journal: &Journal) -> u64 {
    let stream = Stream::Conversation("c".to_owned());
    let events = journal.read_stream(&Tenant::DEFAULT, &stream, 1, usize::MAX);
    events.expect("readable").last().map_or(0, |event| event.seq)
}

#[tokio::test]
async fn a_stream_is_read_without_the_rest_of_the_journal() {
    let journal = in_memory(&JournalConfig::default());
    for n in 0..5 {
        journal.append(event(n)).await.expect("appended");
        journal.append(conversation(&format!("c{n}"))).await.expect("appended");
    }
    let stream = Stream::Conversation("c".to_owned());
    let events = journal.read_stream(&Tenant::DEFAULT, &stream, 3, 2).expect("readable");
    assert_eq!(events.iter().map(|event| event.seq).collect::<Vec<_>>(), [4, 6]);
    assert_eq!(events[0].payload, b"c1");
}

#[tokio::test]
async fn entries_out_of_bounds_are_refused_before_anything_is_queued() {
    let journal = in_memory(&JournalConfig::default());
    let none = journal.commit(Commit::default()).await;
    assert!(matches!(none, Err(AppendError::Count { count: 0, .. })), "{none:?}");
    let many = entry(vec![event("x"); COMMIT_EVENTS_MAX + 1], Vec::new());
    assert!(matches!(journal.commit(many).await, Err(AppendError::Count { .. })));
    let large = entry(vec![event("x".repeat(64 << 10)); 65], Vec::new());
    assert!(matches!(journal.commit(large).await, Err(AppendError::TooLarge { .. })));
    let host = Condition::StreamAt { tenant: Tenant::DEFAULT, stream: Stream::Host, seq: 0 };
    let unguarded = journal.commit(entry(vec![event("x")], vec![host])).await;
    assert!(matches!(unguarded, Err(AppendError::Unguarded { .. })), "{unguarded:?}");
    assert_eq!(journal.tip().seq, 0);
}

/// The payload of a change to a file that names blobs.
pub(super) fn file_change(blobs: &[foreshore_domain::blob::BlobDigest]) -> serde_json::Value {
    serde_json::json!({
        "change": {
            "root": "home",
            "path": "note.txt",
            "kind": "created",
            "before": null,
            "after": null,
            "author": "outside",
        },
        "blobs": blobs,
    })
}

fn naming(blobs: &[&Blob]) -> NewEvent {
    let digests: Vec<_> = blobs.iter().map(|blob| blob.digest()).collect();
    let payload = file_change(&digests);
    on(Stream::Root("home".to_owned()), EventKind::FileChanged, payload)
}

fn released(blob: &Blob) -> NewEvent {
    let payload = file_change(&[blob.digest()]);
    on(Stream::Root("home".to_owned()), EventKind::BlobReleased, payload)
}

async fn store(journal: &Journal, event: NewEvent, blobs: &[&Blob]) -> Result<(), AppendError> {
    let blobs = blobs.iter().copied().cloned().collect();
    journal.commit(Commit { events: vec![event], conditions: Vec::new(), blobs }).await.map(drop)
}

#[tokio::test]
async fn a_blob_lives_as_long_as_an_event_needs_it() {
    let journal = in_memory(&JournalConfig::default());
    let (text, noise) = (Blob::new("text ".repeat(10_000)), Blob::new(vec![7; 3]));
    store(&journal, naming(&[&text, &noise]), &[&text, &noise]).await.expect("stored");
    // The second event names it without handing it over again.
    store(&journal, naming(&[&text]), &[]).await.expect("stored");
    let bytes = |blob: &Blob| journal.blob(&blob.digest()).expect("readable");
    assert_eq!(bytes(&text).as_deref(), Some("text ".repeat(10_000).as_bytes()));
    assert_eq!(bytes(&noise), Some(vec![7; 3]));
    store(&journal, released(&text), &[]).await.expect("released");
    assert!(bytes(&text).is_some(), "one event still needs it");
    store(&journal, released(&text), &[]).await.expect("released");
    assert_eq!(bytes(&text), None);
    assert!(bytes(&noise).is_some());
    let again = store(&journal, released(&text), &[]).await;
    assert!(matches!(again, Err(AppendError::Invalid { kind: "blob.released", .. })), "{again:?}");
}

#[tokio::test]
async fn no_event_is_recorded_that_names_a_blob_which_is_not_stored() {
    let journal = in_memory(&JournalConfig::default());
    let blob = Blob::new("bytes");
    let unknown = store(&journal, naming(&[&blob]), &[]).await;
    assert!(matches!(unknown, Err(AppendError::BlobUnknown { .. })), "{unknown:?}");
    let not_named = store(&journal, event("{}"), &[&blob]).await;
    assert!(matches!(not_named, Err(AppendError::BlobNotNamed { .. })), "{not_named:?}");
    let large = Blob::new(vec![0; crate::BLOB_MAX_BYTES + 1]);
    let too_large = store(&journal, naming(&[&large]), &[&large]).await;
    assert!(matches!(too_large, Err(AppendError::TooLarge { .. })), "{too_large:?}");
    assert_eq!(journal.tip().seq, 0);
    assert_eq!(journal.blob(&blob.digest()).expect("readable"), None);
}

#[tokio::test]
async fn an_entry_that_a_view_refuses_leaves_no_trace_and_the_others_alone() {
    let slow =
        JournalConfig { soon_delay: std::time::Duration::from_secs(60), ..Default::default() };
    let journal = in_memory(&slow);
    let (blob, other) = (Blob::new("bytes"), Blob::new("never stored"));
    // All in one group: two that are good, around one that fails at its last event.
    journal.append_soon(event("before"));
    let bad = Commit {
        events: vec![event("trace"), naming(&[&blob]), released(&other)],
        conditions: Vec::new(),
        blobs: vec![blob.clone()],
    };
    let (bad, good) = tokio::join!(journal.commit(bad), journal.append(event("after")));
    assert!(matches!(bad, Err(AppendError::Invalid { .. })), "{bad:?}");
    good.expect("appended");
    assert_eq!(payloads(&journal), ["before", "after"]);
    assert_eq!(journal.blob(&blob.digest()).expect("readable"), None);
    journal.verify().expect("verifies");
}
