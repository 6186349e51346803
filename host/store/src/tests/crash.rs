//! Every operation on the disk may fail, and the power may go at any of them: no acknowledged
//! event is lost, nothing panics, and what is left verifies.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redb::Database;

use super::disk::Disk;
use super::event;
use crate::error::{AppendError, OpenError};
use crate::journal::{Health, Journal, JournalConfig, Place};

/// Appends made in each run.
const APPENDS: u64 = 6;

fn open(disk: &Disk) -> Result<Journal, OpenError> {
    let disk = disk.clone();
    let open = move || Database::builder().create_with_backend(disk.clone());
    let place = Place { open: Arc::new(open), reserve: None, seals: None };
    Journal::start(Path::new("disk"), place, &JournalConfig::default(), |_| {})
}

/// Appends and gives back what was acknowledged: number and payload.
async fn append_some(journal: &Journal, label: &str) -> Vec<(u64, String)> {
    let mut acknowledged = Vec::new();
    for n in 0..APPENDS {
        let payload = format!("{label}-{n}");
        if let Ok(appended) = journal.append(event(&payload)).await {
            acknowledged.push((appended.seq, payload));
        }
    }
    acknowledged
}

/// All that was acknowledged is there, in its place, and the whole chain verifies.
fn assert_kept(journal: &Journal, acknowledged: &[(u64, String)], when: &str) {
    journal.verify().unwrap_or_else(|error| panic!("{when}: {error}"));
    for (seq, payload) in acknowledged {
        let events = journal.read(*seq, 1).unwrap_or_else(|error| panic!("{when}: {error}"));
        let found = events.first().map(|e| (e.seq, String::from_utf8_lossy(&e.payload)));
        assert_eq!(found, Some((*seq, payload.as_str().into())), "{when}");
    }
}

/// xorshift64: a crash image must be the same in each run of the tests.
fn random(seed: u64) -> impl FnMut() -> u64 {
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
    assert!(all > opening + APPENDS, "a commit is more than one operation");
    (opening, all)
}

#[tokio::test]
async fn the_power_may_go_at_any_operation() {
    let (opening, all) = operations().await;
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
        for seed in 0..8 {
            let when = format!("crash at operation {at}, image {seed}");
            let left = disk.crashed(&mut random(at * 1_000 + seed));
            match open(&left) {
                Ok(journal) => {
                    assert_kept(&journal, &acknowledged, &when);
                    let more = append_some(&journal, "more").await;
                    assert_eq!(more.len(), 6, "{when}: it does not go on");
                    assert_kept(&journal, &more, &when);
                }
                // A file that was never made whole has acknowledged nothing.
                Err(error) => assert!(acknowledged.is_empty() && at < opening, "{when}: {error}"),
            }
            images += 1;
        }
    }
    assert!(images > 100, "only {images} images");
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
            let mut acknowledged = append_some(&journal, "before").await;
            // redb may do without the operation that failed, and notice it with the next commit.
            refused += u64::from(acknowledged.len() < 6);
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
            assert_eq!(after.len(), 6, "{when}: it came back and failed again");
            acknowledged.extend(after);
            assert_kept(&journal, &acknowledged, &when);
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
