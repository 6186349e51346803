//! The journal as a whole: order, group commit, closing, tampering, bounds. What happens when
//! the disk fails is in `crash`.

mod archive;
mod crash;
mod disk;
mod entries;
mod flips;
mod large;
mod measure;
mod seals;
mod upkeep;
pub(crate) mod views;

use std::path::Path;
use std::time::Duration;

use foreshore_domain::event::{EventKind, NewEvent, Stream, Tenant};
use redb::{Database, ReadableDatabase, TableDefinition};

use crate::error::{AppendError, CorruptError, OpenError, ReadError};
use crate::facts::{Health, JournalConfig};
use crate::journal::{EVENT_MAX_BYTES, Journal};

fn event(payload: impl std::fmt::Display) -> NewEvent {
    NewEvent {
        at_unix_ms: 1_000,
        tenant: Tenant::DEFAULT,
        stream: Stream::Host,
        kind: EventKind::CallCompleted,
        payload: payload.to_string().into_bytes(),
    }
}

fn payloads(journal: &Journal) -> Vec<String> {
    let events = journal.read(1, usize::MAX).expect("readable");
    events.into_iter().map(|e| String::from_utf8(e.payload).expect("text")).collect()
}

fn in_memory(config: &JournalConfig) -> Journal {
    Journal::in_memory(config).expect("opens")
}

#[tokio::test]
async fn what_is_acknowledged_can_be_read_under_its_number() {
    let journal = in_memory(&JournalConfig::default());
    for n in 1..=5_u64 {
        assert_eq!(journal.append(event(n)).await.expect("appended").seq, n);
    }
    let events = journal.read(2, 3).expect("readable");
    assert_eq!(events.iter().map(|e| e.seq).collect::<Vec<_>>(), [2, 3, 4]);
    assert_eq!(events[0].payload, b"2");
    assert_eq!(events[0].kind, "call.completed");
    assert_eq!(events[1].previous_hash, events[0].hash);
    assert!(journal.read(6, 10).expect("readable").is_empty());
    let verified = journal.verify().expect("verifies");
    assert_eq!((verified.events, verified.tip), (5, journal.tip()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_appends_keep_each_callers_order_and_share_commits() {
    let journal = in_memory(&JournalConfig::default());
    let (callers, each) = (16_u64, 50_u64);
    let tasks: Vec<_> = (0..callers)
        .map(|caller| {
            let journal = journal.clone();
            tokio::spawn(async move {
                let mut last = 0;
                for n in 0..each {
                    if n % 3 == 0 {
                        journal.append_soon(event(format_args!("{caller}:soon:{n}")));
                    }
                    let seq = journal.append(event(format!("{caller}:{n}"))).await;
                    let seq = seq.expect("appended").seq;
                    assert!(seq > last);
                    last = seq;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no panic");
    }
    let all = payloads(&journal);
    for caller in 0..callers {
        let own: Vec<_> = all.iter().filter(|p| p.starts_with(&format!("{caller}:"))).collect();
        let mut expected = Vec::new();
        for n in 0..each {
            if n % 3 == 0 {
                expected.push(format!("{caller}:soon:{n}"));
            }
            expected.push(format!("{caller}:{n}"));
        }
        assert_eq!(own, expected.iter().collect::<Vec<_>>());
    }
    let verified = journal.verify().expect("verifies");
    assert!(verified.frames < verified.events, "no two events shared a commit");
}

#[tokio::test]
async fn soon_is_within_the_delay_and_nobody_has_to_ask() {
    let journal = in_memory(&JournalConfig::default());
    journal.append_soon(event("soon"));
    journal.append_soon_with(|| event("made later"));
    let started = std::time::Instant::now();
    while journal.tip().seq < 2 {
        assert!(started.elapsed() < Duration::from_secs(5), "it never came");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(payloads(&journal), ["soon", "made later"]);
    assert_eq!(journal.verify().expect("verifies").frames, 1, "one commit for both");
}

#[tokio::test]
async fn a_flush_waits_for_what_nobody_waits_for() {
    let delay = JournalConfig { soon_delay: Duration::from_secs(3_600), ..Default::default() };
    let journal = in_memory(&delay);
    journal.append_soon(event("soon"));
    journal.flush().await;
    assert_eq!(journal.tip().seq, 1);
}

#[tokio::test]
async fn a_full_queue_drops_and_the_journal_says_how_many() {
    let config = JournalConfig {
        soon_max: 10,
        soon_delay: Duration::from_secs(3_600),
        ..JournalConfig::default()
    };
    let journal = in_memory(&config);
    for n in 0..25 {
        journal.append_soon(event(n));
    }
    journal.flush().await;
    let events = journal.read(1, 100).expect("readable");
    assert_eq!(events.len(), 11);
    assert_eq!(events[10].kind, "journal.dropped");
    assert_eq!(events[10].payload, b"{\"dropped\":15}");
    assert_eq!(events[10].at_unix_ms, 1_000);
}

#[tokio::test]
async fn an_event_that_cannot_be_made_or_is_too_large_is_counted_and_harms_no_other() {
    let journal = in_memory(&JournalConfig::default());
    let large = "x".repeat(EVENT_MAX_BYTES + 1);
    assert!(matches!(
        journal.append(event(&large)).await,
        Err(AppendError::TooLarge { max_bytes: EVENT_MAX_BYTES, .. })
    ));
    journal.append_soon(event(&large));
    journal.append_soon_with(|| panic!("cannot be made"));
    journal.append_soon(event("good"));
    journal.flush().await;
    assert_eq!(payloads(&journal), ["good", "{\"dropped\":2}"]);
    assert_eq!(journal.health(), Health::Open);
}

#[tokio::test]
async fn closing_writes_what_is_queued_and_takes_nothing_more() {
    let place = tempfile::tempdir().expect("a directory");
    let path = place.path().join("journal.redb");
    let slow = JournalConfig { soon_delay: Duration::from_secs(3_600), ..Default::default() };
    let journal = Journal::open(&path, &slow).expect("opens");
    let other = journal.clone();
    journal.append_soon(event("queued"));
    journal.close().await;
    assert!(matches!(other.append(event("late")).await, Err(AppendError::Closed)));
    assert!(matches!(other.read(1, 1), Err(ReadError::NotOpen)));
    assert_eq!(other.health(), Health::Closed);
    // Closed means that the file is free, even while handles are left.
    let again = Journal::open(&path, &slow).expect("opens again");
    assert_eq!(payloads(&again), ["queued"]);
    again.append_soon(event("dropped with its handle"));
    drop(again);
    let again = Journal::open(&path, &slow).expect("opens again");
    assert_eq!(payloads(&again), ["queued", "dropped with its handle"]);
    assert_eq!(again.append(event("next")).await.expect("appended").seq, 3);
}

#[test]
fn one_journal_has_one_writer_and_only_its_owner_reads_the_file() {
    let place = tempfile::tempdir().expect("a directory");
    let path = place.path().join("journal.redb");
    let _journal = Journal::open(&path, &JournalConfig::default()).expect("opens");
    let second = Journal::open(&path, &JournalConfig::default());
    assert!(matches!(second.err(), Some(OpenError::InUse { .. })));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

const FRAMES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("journal_frames_v1");

/// A journal of three frames, with one event each.
async fn three_frames(path: &Path) {
    let journal = Journal::open(path, &JournalConfig::default()).expect("opens");
    for n in 1..=3 {
        journal.append(event(format_args!("event {n}"))).await.expect("appended");
    }
    journal.close().await;
}

/// Changes the file as somebody would who can write it and knows redb.
fn tamper(path: &Path, change: impl FnOnce(&mut redb::Table<'_, u64, &'static [u8]>)) {
    let database = Database::open(path).expect("opens");
    let transaction = database.begin_write().expect("a transaction");
    change(&mut transaction.open_table(FRAMES).expect("the table"));
    transaction.commit().expect("committed");
}

fn frame(path: &Path, seq: u64) -> Vec<u8> {
    let database = Database::open(path).expect("opens");
    let transaction = database.begin_read().expect("a transaction");
    let table = transaction.open_table(FRAMES).expect("the table");
    table.get(seq).expect("readable").expect("there").value().to_vec()
}

fn verification(path: &Path) -> Option<CorruptError> {
    let journal = match Journal::open(path, &JournalConfig::default()) {
        Ok(journal) => journal,
        Err(OpenError::Corrupt { error, .. }) => return Some(error),
        Err(error) => panic!("{error}"),
    };
    match journal.verify() {
        Ok(_) => None,
        Err(ReadError::Corrupt(error)) => Some(error),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn an_edited_removed_swapped_or_inserted_event_does_not_verify() {
    let place = tempfile::tempdir().expect("a directory");
    let fresh = place.path().join("fresh.redb");
    three_frames(&fresh).await;
    assert_eq!(verification(&fresh), None);
    let frames: Vec<Vec<u8>> = (1..=3).map(|seq| frame(&fresh, seq)).collect();
    let edited = |seq: usize| {
        let mut frame = frames[seq - 1].clone();
        let at = frame.len() - 33;
        frame[at] ^= 1;
        frame
    };
    type Changes = Vec<(u64, Option<Vec<u8>>)>;
    let cases: [(&str, Changes, CorruptError); 6] = [
        ("edited", vec![(2, Some(edited(2)))], CorruptError::Changed { seq: 2 }),
        ("edited at the end", vec![(3, Some(edited(3)))], CorruptError::Changed { seq: 3 }),
        ("removed", vec![(2, None)], CorruptError::Missing { from: 2, to: 2 }),
        ("removed first", vec![(1, None)], CorruptError::Missing { from: 1, to: 1 }),
        (
            "swapped",
            vec![(1, Some(frames[1].clone())), (2, Some(frames[0].clone()))],
            // Opening looks at the last two frames and finds the second of the swapped ones.
            CorruptError::Changed { seq: 2 },
        ),
        ("inserted", vec![(4, Some(frames[2].clone()))], CorruptError::Changed { seq: 4 }),
    ];
    for (name, changes, expected) in cases {
        let path = place.path().join(format!("{name}.redb"));
        for file in ["redb", "key", "checkpoints.jsonl"] {
            let copy = path.with_extension(file);
            std::fs::copy(fresh.with_extension(file), copy).expect("copied");
        }
        tamper(&path, |table| {
            for (seq, frame) in changes {
                match frame {
                    Some(frame) => drop(table.insert(seq, &*frame).expect("inserted")),
                    None => drop(table.remove(seq).expect("removed")),
                }
            }
        });
        assert_eq!(verification(&path), Some(expected), "{name}");
    }
}

#[tokio::test]
async fn a_journal_whose_end_does_not_verify_is_not_opened() {
    let place = tempfile::tempdir().expect("a directory");
    let path = place.path().join("journal.redb");
    three_frames(&path).await;
    tamper(&path, |table| drop(table.insert(3, &[1_u8, 2, 3][..]).expect("inserted")));
    let error = Journal::open(&path, &JournalConfig::default()).err();
    assert!(matches!(
        error,
        Some(OpenError::Corrupt { error: CorruptError::Malformed { seq: 3, .. }, .. })
    ));
}
