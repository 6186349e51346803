//! Every operation on the disk may fail, and the power may go at any of them: no acknowledged
//! event is lost, nothing panics, and what is left verifies.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foreshore_domain::conversation::{Conversation, ConversationCreated, Fact, Name, Title};
use foreshore_domain::event::{EventKind, NewEvent, Stream, Tenant};
use redb::Database;

use super::disk::Disk;
use super::entries::on;
use super::event;
use crate::commit::{Blob, Commit, Condition};
use crate::db::Opener;
use crate::error::{AppendError, OpenError};
use crate::facts::{Health, JournalConfig};
use crate::journal::{Journal, Place};
use crate::reserve::{RESERVE_BYTES, Reserve};
use crate::start::Medium;

/// Entries made in each run.
const ENTRIES: u64 = 6;

fn open(disk: &Disk) -> Result<Journal, OpenError> {
    let place = Place { open: opener(disk), medium: Medium::Other, reserve: None, seals: None };
    Journal::start(Path::new("disk"), place, &JournalConfig::default(), |_| {})
}

pub(super) fn opener(disk: &Disk) -> Opener {
    let disk = disk.clone();
    Arc::new(move || Database::builder().create_with_backend(disk.clone()))
}

/// Makes entries and gives back what was acknowledged: number and payload. Every other one has
/// three events, a condition and a blob.
async fn append_some(journal: &Journal, label: &str) -> Vec<(u64, String)> {
    let mut acknowledged = Vec::new();
    for n in 0..ENTRIES {
        if n % 2 == 0 {
            let payload = format!("{label}-{n}");
            if let Ok(appended) = journal.append(event(&payload)).await {
                acknowledged.push((appended.seq, payload));
            }
            continue;
        }
        let blob = Blob::new(format!("{label}{n}").repeat(300));
        let payload = super::entries::file_change(&[blob.digest()]).to_string();
        let root = || Stream::Root("home".to_owned());
        let head = journal.read_stream(&Tenant::DEFAULT, &root(), 1, usize::MAX);
        let seq = head.ok().and_then(|events| events.last().map(|e| e.seq)).unwrap_or(0);
        let commit = Commit {
            events: vec![
                on(root(), EventKind::FileChanged, &payload),
                conversation(label, n),
                event("second"),
            ],
            conditions: vec![Condition::StreamAt { tenant: Tenant::DEFAULT, stream: root(), seq }],
            blobs: vec![blob],
        };
        if let Ok(committed) = journal.commit(commit).await {
            acknowledged.push((committed.first_seq, payload));
            acknowledged.push((committed.last_seq, "second".to_owned()));
        }
    }
    acknowledged
}

/// A conversation begins: rows in several tables, and words to be found by.
fn conversation(label: &str, n: u64) -> NewEvent {
    let created = ConversationCreated {
        conversation: Conversation::parse(format!("{label}-{n}")).expect("a conversation"),
        agent: Name::parse("assistant").expect("a name"),
        title: Title::cut(&format!("{label} the {n}th")),
        forked_from: None,
        delegated_by: None,
    };
    created.event(1_000, Tenant::DEFAULT)
}

/// All that was acknowledged is there, in its place, and the whole chain verifies.
fn assert_kept(journal: &Journal, acknowledged: &[(u64, String)], when: &str) {
    journal.verify().unwrap_or_else(|error| panic!("{when}: {error}"));
    for (seq, payload) in acknowledged {
        let events = journal.read(*seq, 1).unwrap_or_else(|error| panic!("{when}: {error}"));
        let found = events.first().map(|e| (e.seq, String::from_utf8_lossy(&e.payload)));
        assert_eq!(found, Some((*seq, payload.as_str().into())), "{when}");
    }
    for event in journal.read(1, usize::MAX).expect("readable") {
        for digest in crate::blobs::named(&event.kind, &event.payload) {
            let blob = journal.blob(&digest).unwrap_or_else(|error| panic!("{when}: {error}"));
            assert!(blob.is_some(), "{when}: event {} names a blob that is gone", event.seq);
        }
    }
}

/// The views are what the events make of them.
async fn assert_views(journal: &Journal, when: &str) {
    let checked = journal.check().await;
    checked.unwrap_or_else(|error| panic!("{when}: {error}"));
}

/// xorshift64: a crash image must be the same in each run of the tests.
pub(super) fn random(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state >> 16
    }
}

/// How many operations a run takes when nothing fails: opening, and all.
async fn operations() -> (u64, u64) {
    let disk = Disk::default();
    let journal = open(&disk).expect("opens");
    let opening = disk.operations();
    append_some(&journal, "before").await;
    let all = disk.operations();
    assert!(all > opening + ENTRIES, "a commit is more than one operation");
    (opening, all)
}

#[tokio::test]
async fn the_power_may_go_at_any_operation() {
    let (opening, all) = operations().await;
    // `FORESHORE_CRASH_IMAGES` says how many; a few for each operation without it.
    let wanted = std::env::var("FORESHORE_CRASH_IMAGES").ok().and_then(|n| n.parse().ok());
    let each = wanted.unwrap_or(0_u64).div_ceil(all).max(4);
    let mut images = 0;
    for at in 0..all {
        let disk = Disk::default();
        disk.fail_after(at, u64::MAX);
        let acknowledged = match open(&disk) {
            Ok(journal) => append_some(&journal, "run").await,
            Err(_) => {
                assert!(at < opening, "it opened, and then it did not");
                Vec::new()
            }
        };
        for seed in 0..each {
            let when = format!("crash at operation {at}, image {seed}");
            let left = disk.crashed(&mut random(at * 1_000 + seed));
            match open(&left) {
                Ok(journal) => {
                    assert_kept(&journal, &acknowledged, &when);
                    assert_views(&journal, &when).await;
                    let more = append_some(&journal, "more").await;
                    assert_eq!(more.len(), 9, "{when}: it does not go on");
                    assert_kept(&journal, &more, &when);
                }
                // A file that was never made whole has acknowledged nothing.
                Err(error) => assert!(acknowledged.is_empty() && at < opening, "{when}: {error}"),
            }
            images += 1;
        }
    }
    assert!(images > 100, "only {images} images");
    println!("{images} crash images: nothing acknowledged was lost");
}

#[tokio::test]
async fn after_any_failed_operation_the_journal_comes_back_by_itself() {
    let (opening, all) = operations().await;
    let mut refused = 0;
    for at in opening..all {
        for failing in [1, 3] {
            let when = format!("{failing} failures at operation {at}");
            let disk = Disk::default();
            let journal = open(&disk).expect("opens");
            disk.fail_after(at - opening, failing);
            journal.append_soon(event("soon 0"));
            let mut acknowledged = append_some(&journal, "before").await;
            // redb may do without the operation that failed, and notice it with the next commit.
            refused += u64::from(acknowledged.len() < 9);
            journal.append_soon(event("soon 1"));
            let started = Instant::now();
            let seq = loop {
                match journal.append(event("back")).await {
                    Ok(appended) => break appended.seq,
                    Err(error) => assert!(started.elapsed().as_secs() < 20, "{when}: {error}"),
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            };
            acknowledged.push((seq, "back".to_owned()));
            let after = append_some(&journal, "after").await;
            assert_eq!(after.len(), 9, "{when}: it came back and failed again");
            acknowledged.extend(after);
            assert_kept(&journal, &acknowledged, &when);
            assert_views(&journal, &when).await;
            let all = journal.read(1, usize::MAX).expect("readable");
            for soon in ["soon 0", "soon 1"] {
                let times = all.iter().filter(|e| e.payload == soon.as_bytes()).count();
                assert_eq!(times, 1, "{when}: what nobody waits for is kept, and written once");
            }
            let count = |kind: &str| all.iter().filter(|e| e.kind == kind).count();
            assert_eq!(count("journal.read_only"), count("journal.recovered"), "{when}");
        }
    }
    assert!(refused > all - opening, "only {refused} runs saw a failure");
}

#[tokio::test]
async fn while_it_is_out_of_order_every_append_is_refused_at_once() {
    let disk = Disk::default();
    let journal = open(&disk).expect("opens");
    journal.append(event("good")).await.expect("appended");
    disk.fail_after(0, u64::MAX);
    let first = journal.append(event("in doubt")).await;
    assert!(matches!(first, Err(AppendError::Write { .. })), "{first:?}");
    let before = Instant::now();
    let next = journal.append(event("refused")).await;
    assert!(matches!(next, Err(AppendError::Failed { .. })), "{next:?}");
    assert!(before.elapsed() < Duration::from_millis(40));
    assert!(matches!(journal.health(), Health::Failed { .. }));
    // Nobody waits for a disk that does not come back, not even whoever closes.
    journal.append_soon(event("lost"));
    tokio::time::timeout(Duration::from_secs(20), journal.close()).await.expect("closes");
}

#[tokio::test]
async fn a_full_disk_is_recorded_refuses_at_once_and_ends_when_there_is_room_again() {
    let place = tempfile::tempdir().expect("a directory");
    let path = place.path().join("journal.reserve");
    let disk = Disk::default();
    let (full, to_give) = (disk.clone(), disk.clone());
    let make = move |path: &Path| match full.is_full() {
        true => Err(std::io::ErrorKind::StorageFull.into()),
        false => std::fs::write(path, vec![1; usize::try_from(RESERVE_BYTES).expect("small")]),
    };
    let open_disk = opener(&disk);
    let reserve_path = path.clone();
    // What the reserve gives up is room for the database.
    let open: Opener = Arc::new(move || {
        if to_give.is_full() && !reserve_path.exists() {
            to_give.leave_room(usize::try_from(RESERVE_BYTES).expect("small"));
        }
        open_disk()
    });
    let reserve = Some(Reserve::at(path.clone(), Box::new(make)));
    let place = Place { open, medium: Medium::Other, reserve, seals: None };
    let config = JournalConfig::default();
    let journal = Journal::start(Path::new("disk"), place, &config, |_| {}).expect("opens");
    journal.append(event("good")).await.expect("appended");
    let started = Instant::now();
    while !std::fs::metadata(&path).is_ok_and(|found| found.len() == RESERVE_BYTES) {
        assert!(started.elapsed().as_secs() < 10, "the reserve was never made");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    disk.leave_room(0);
    let mut n = 0;
    let failed = loop {
        n += 1;
        match journal.append(event("x".repeat(60 << 10))).await {
            Ok(_) => assert!(n < 1_000, "the disk is never full"),
            Err(error) => break error,
        }
    };
    assert!(matches!(failed, AppendError::Write { .. }), "{failed:?}");
    // The record of it lands in what the reserve gave up, while the disk is still full.
    let started = Instant::now();
    let kinds = || {
        let events = journal.read(1, usize::MAX).unwrap_or_default();
        events.into_iter().map(|event| event.kind).collect::<Vec<_>>()
    };
    while !kinds().iter().any(|kind| kind == "journal.read_only") {
        assert!(started.elapsed().as_secs() < 10, "the event never landed");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!path.exists(), "the reserve was not given up");
    assert!(matches!(journal.health(), Health::Failed { .. }));
    let before = Instant::now();
    let refused = journal.append(event("refused")).await;
    assert!(matches!(refused, Err(AppendError::Failed { .. })), "{refused:?}");
    assert!(before.elapsed() < Duration::from_millis(10), "{:?}", before.elapsed());
    journal.append_soon(event("held"));
    disk.make_room();
    let started = Instant::now();
    while journal.append(event("back")).await.is_err() {
        assert!(started.elapsed() < Duration::from_secs(5), "it did not come back in time");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(path.exists(), "the reserve was not made again");
    let kinds = kinds();
    let at = |kind: &str| kinds.iter().position(|found| found == kind).expect("recorded");
    assert!(at("journal.read_only") < at("journal.recovered"));
    let events = journal.read(1, usize::MAX).expect("readable");
    assert_eq!(events.iter().filter(|event| event.payload == b"held").count(), 1);
    journal.verify().expect("verifies");
}

/// On a real disk: `FORESHORE_SMALL_DISK` names a directory on a file system of a few dozen MiB,
/// as `mount -t tmpfs -o size=48m` makes one.
#[tokio::test]
#[ignore = "needs a small file system"]
async fn a_small_file_system_fills_up_and_is_recovered_from() {
    let Ok(place) = std::env::var("FORESHORE_SMALL_DISK") else { return };
    let path = Path::new(&place).join("journal.redb");
    let filler = Path::new(&place).join("filler");
    let journal = Journal::open(&path, &JournalConfig::default()).expect("opens");
    let started = Instant::now();
    while !path.with_extension("reserve").exists() {
        assert!(started.elapsed().as_secs() < 10, "the reserve was never made");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    journal.flush().await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut left = std::fs::File::create(&filler).expect("made");
    while std::io::Write::write_all(&mut left, &[1; 4096]).is_ok() {}
    drop(left);
    let mut acknowledged = Vec::new();
    let failed = loop {
        let payload = "x".repeat(30 << 10);
        match journal.append(event(&payload)).await {
            Ok(appended) => acknowledged.push((appended.seq, payload)),
            Err(error) => break error,
        }
    };
    println!("{} events, then: {failed}", acknowledged.len());
    let started = Instant::now();
    while !journal
        .read(1, usize::MAX)
        .is_ok_and(|events| events.iter().any(|event| event.kind == "journal.read_only"))
    {
        assert!(started.elapsed().as_secs() < 10, "the event never landed");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!("the event of it landed after {:?}", started.elapsed());
    let before = Instant::now();
    journal.append(event("refused")).await.expect_err("still full");
    println!("refused in {:?}", before.elapsed());
    std::fs::remove_file(&filler).expect("removed");
    let started = Instant::now();
    while journal.append(event("back")).await.is_err() {
        assert!(started.elapsed() < Duration::from_secs(5), "it did not come back in time");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!("back after {:?}", started.elapsed());
    assert_kept(&journal, &acknowledged, "after a full disk");
    assert_views(&journal, "after a full disk").await;
    journal.close().await;
}
