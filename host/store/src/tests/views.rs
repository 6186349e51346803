//! Views made again from the journal are the views that are there, whatever happened.

use foreshore_domain::event::{EventKind, NewEvent, Stream, Tenant};
use foreshore_domain::memory::{
    Conversation, Importance, JsonText, Key, MemoryDeleted, MemoryPut, MemoryRelated, Namespace,
    Origin, Predicate, Relation, Tags, ValueRef, VariableName,
};
use foreshore_domain::variables::VariableSet;
use proptest::prelude::*;

use super::entries::on;
use super::{event, in_memory};
use crate::commit::{Blob, Commit, Condition};
use crate::facts::JournalConfig;
use crate::journal::Journal;
use crate::{rebuild, views};

pub(crate) fn dump(journal: &Journal) -> String {
    let read = journal.db().expect("open").begin_read().expect("readable");
    let dumps = views::dump(&read).expect("readable");
    let mut bytes: Vec<u8> = dumps.into_iter().flat_map(|(_, bytes)| bytes).collect();
    let stored = crate::blobs::check(&read).expect("blobs hold");
    bytes.extend_from_slice(format!("{stored:?}\n").as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

/// One thing that a host might record.
#[derive(Clone, Debug)]
enum Step {
    Call,
    Message { stream: u8, tenant: bool, expects: Option<u64> },
    File { blobs: Vec<u8> },
    Release { blob: u8 },
    Remember { key: u8, word: u8, expects: Option<u64> },
    Forget { key: u8 },
    Relate { from: u8, to: u8 },
    Set { name: u8, word: u8 },
    Several(Vec<Step>),
}

fn step() -> impl Strategy<Value = Step> {
    let one = prop_oneof![
        Just(Step::Call),
        (0..4_u8, any::<bool>(), proptest::option::of(0..30_u64))
            .prop_map(|(stream, tenant, expects)| Step::Message { stream, tenant, expects }),
        proptest::collection::vec(0..6_u8, 1..3).prop_map(|blobs| Step::File { blobs }),
        (0..6_u8).prop_map(|blob| Step::Release { blob }),
        (0..4_u8, any::<u8>(), proptest::option::of(0..4_u64))
            .prop_map(|(key, word, expects)| Step::Remember { key, word, expects }),
        (0..4_u8).prop_map(|key| Step::Forget { key }),
        (0..4_u8, 0..4_u8).prop_map(|(from, to)| Step::Relate { from, to }),
        (0..3_u8, any::<u8>()).prop_map(|(name, word)| Step::Set { name, word }),
    ];
    one.prop_recursive(1, 6, 4, |one| proptest::collection::vec(one, 1..5).prop_map(Step::Several))
}

fn blob(n: u8) -> Blob {
    Blob::new(vec![n; 100 * usize::from(n)])
}

fn namespace() -> Namespace {
    Namespace::parse("notes").expect("a namespace")
}

fn words(word: u8) -> ValueRef {
    ValueRef::Inline(JsonText::parse(format!("\"the word {word} again\"")).expect("JSON"))
}

fn memory(kind: EventKind, payload: &impl serde::Serialize) -> NewEvent {
    let payload = serde_json::to_string(payload).expect("JSON");
    on(Stream::Memory("notes".to_owned()), kind, &payload)
}

fn add(commit: &mut Commit, step: &Step) {
    let event: NewEvent = match step {
        Step::Call => event("{}"),
        Step::Message { stream, tenant, expects } => {
            let stream = Stream::Conversation(format!("c{stream}"));
            let tenant = if *tenant { "other" } else { "default" };
            let tenant = Tenant::parse(tenant).expect("a tenant");
            if let Some(seq) = *expects {
                let (tenant, stream) = (tenant.clone(), stream.clone());
                commit.conditions.push(Condition::StreamAt { tenant, stream, seq });
            }
            NewEvent { tenant, ..on(stream, EventKind::CallCompleted, "{}") }
        }
        Step::File { blobs } => {
            let blobs: Vec<Blob> = blobs.iter().copied().map(blob).collect();
            let digests: Vec<_> = blobs.iter().map(Blob::digest).collect();
            commit.blobs.extend(blobs);
            let payload = super::entries::file_change(&digests);
            on(Stream::Root("home".to_owned()), EventKind::FileChanged, payload)
        }
        Step::Release { blob: n } => {
            let payload = super::entries::file_change(&[blob(*n).digest()]);
            on(Stream::Host, EventKind::BlobReleased, payload)
        }
        Step::Remember { key, word, expects } => {
            let key = Key::parse(format!("k{key}")).expect("a key");
            if let Some(version) = *expects {
                let (namespace, key) = (namespace(), key.clone());
                let (tenant, now_unix_ms) = (Tenant::DEFAULT, 0);
                let condition =
                    Condition::RecordVersion { tenant, namespace, key, now_unix_ms, version };
                commit.conditions.push(condition);
            }
            let put = MemoryPut {
                namespace: namespace(),
                key,
                value: words(*word),
                tags: Tags::parse([format!("t{}", word % 3)]).expect("tags"),
                importance: Importance::default(),
                ttl_s: None,
                origin: Origin::Person,
                embedding: None,
                blobs: Vec::new(),
            };
            memory(EventKind::MemoryPut, &put)
        }
        Step::Forget { key } => {
            let key = Key::parse(format!("k{key}")).expect("a key");
            let deleted = MemoryDeleted { namespace: namespace(), key, origin: Origin::Person };
            memory(EventKind::MemoryDeleted, &deleted)
        }
        Step::Relate { from, to } => {
            let key = |n: u8| Key::parse(format!("k{n}")).expect("a key");
            let predicate = Predicate::parse("knows").expect("a predicate");
            let relation = Relation { subject: key(*from), predicate, object: key(*to) };
            let related =
                MemoryRelated { namespace: namespace(), relation, origin: Origin::Person };
            memory(EventKind::MemoryRelated, &related)
        }
        Step::Set { name, word } => {
            let set = VariableSet {
                conversation: Conversation::parse("c0").expect("a conversation"),
                name: VariableName::parse(format!("v{name}")).expect("a name"),
                value: words(*word),
                blobs: Vec::new(),
            };
            let payload = serde_json::to_string(&set).expect("JSON");
            on(Stream::Conversation("c0".to_owned()), EventKind::VariableSet, &payload)
        }
        Step::Several(steps) => return steps.iter().for_each(|step| add(commit, step)),
    };
    commit.events.push(event);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn rebuilt_views_are_the_live_ones(
        steps in proptest::collection::vec(step(), 1..40),
        at_once in 1..8_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let journal = in_memory(&JournalConfig::default());
            for group in steps.chunks(at_once) {
                let tasks: Vec<_> = group.iter().map(|step| {
                    let mut commit = Commit::default();
                    add(&mut commit, step);
                    let journal = journal.clone();
                    // Refusals and conflicts are part of a history: they leave no trace.
                    tokio::spawn(async move { journal.commit(commit).await.is_ok() })
                }).collect();
                for task in tasks {
                    task.await.expect("no panic");
                }
            }
            let live = dump(&journal);
            journal.rebuild(|_| {}).await.expect("rebuilt");
            assert_eq!(dump(&journal), live);
            journal.check().await.expect("passes its check");
        });
    }
}

#[tokio::test]
async fn a_rebuild_that_was_cut_short_is_finished_by_the_next_opening() {
    let place = tempfile::tempdir().expect("a directory");
    let path = place.path().join("journal.redb");
    let journal = Journal::open(&path, &JournalConfig::default()).expect("opens");
    for n in 0..25_u8 {
        let mut commit = Commit::default();
        add(&mut commit, &Step::File { blobs: vec![n % 6] });
        journal.commit(commit).await.expect("committed");
    }
    let live = dump(&journal);
    // As a process leaves it that ends after it cleared the views.
    let db = journal.db().expect("open");
    let txn = db.begin_write().expect("a transaction");
    views::clear(&txn).expect("cleared");
    crate::meta::set_rebuilt_to(&txn, Some(0)).expect("marked");
    txn.commit().expect("committed");
    assert_ne!(dump(&journal), live);
    drop(db);
    journal.close().await;
    let mut progress = Vec::new();
    let journal =
        Journal::open_with(&path, &JournalConfig::default(), |p| progress.push(p)).expect("opens");
    assert_eq!(progress, [rebuild::Progress { seq: 25, last_seq: 25 }]);
    assert_eq!(dump(&journal), live);
}
