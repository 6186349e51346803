//! What a hash chain alone does not see: cut tails, older files, rewrites.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{FRAMES, event, tamper};
use crate::checkpoint::Checkpoint;
use crate::error::{OpenError, ReadError, SealError};
use crate::facts::JournalConfig;
use crate::frame::FrameWriter;
use crate::journal::Journal;
use crate::seals::SealEvery;

fn open(path: &Path) -> Result<Journal, OpenError> {
    Journal::open(path, &JournalConfig::default())
}

fn seal_error(path: &Path) -> SealError {
    match open(path) {
        Err(OpenError::Seal { error, .. }) => error,
        Err(error) => panic!("{error}"),
        Ok(journal) => match journal.verify() {
            Err(ReadError::Seal(error)) => error,
            other => panic!("{other:?}"),
        },
    }
}

async fn append(journal: &Journal, count: u64) {
    for n in 0..count {
        journal.append(event(n)).await.expect("appended");
    }
}

/// A closed journal of ten events, sealed at 4 and 10.
async fn sealed(place: &tempfile::TempDir) -> PathBuf {
    let path = place.path().join("journal.redb");
    let journal = open(&path).expect("opens");
    append(&journal, 4).await;
    assert_eq!(journal.seal().await.expect("sealed").expect("in a file").seq, 4);
    append(&journal, 6).await;
    let verified = journal.verify().expect("verifies");
    assert_eq!((verified.events, verified.checkpoints), (10, 2));
    journal.close().await;
    path
}

fn checkpoints(path: &Path) -> Vec<Checkpoint> {
    let text = std::fs::read_to_string(path.with_extension("checkpoints.jsonl")).expect("there");
    text.lines().map(|line| Checkpoint::parse(line).expect("a checkpoint")).collect()
}

#[tokio::test]
async fn closing_signs_the_end_and_opening_holds_to_it() {
    let place = tempfile::tempdir().expect("a directory");
    let path = sealed(&place).await;
    let seqs: Vec<u64> = checkpoints(&path).iter().map(|c| c.seq).collect();
    assert_eq!(seqs, [0, 4, 10]);
    let journal = open(&path).expect("opens");
    let kept = checkpoints(&path);
    assert_eq!(journal.verify_with(&kept).expect("verifies").checkpoints, 6);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(path.with_extension("key")).expect("there").permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
    }
}

#[tokio::test]
async fn a_tail_that_was_cut_is_found_and_told_from_an_older_file() {
    let place = tempfile::tempdir().expect("a directory");
    let path = sealed(&place).await;
    tamper(&path, |table| drop(table.remove(10).expect("removed")));
    assert_eq!(seal_error(&path), SealError::Cut { seq: 10, tip: 9 });

    let place = tempfile::tempdir().expect("a directory");
    let path = sealed(&place).await;
    let old = place.path().join("old");
    std::fs::copy(&path, &old).expect("copied");
    let journal = open(&path).expect("opens");
    append(&journal, 5).await;
    journal.close().await;
    std::fs::copy(&old, &path).expect("put back");
    assert_eq!(seal_error(&path), SealError::Older { seq: 15, tip: 10 });
    // Even a database that is gone altogether is missed.
    std::fs::remove_file(&path).expect("removed");
    assert_eq!(seal_error(&path), SealError::Older { seq: 15, tip: 0 });
}

/// Writes all frames anew, in a chain that holds, with one event changed.
fn rewrite(path: &Path, count: u64, changed: u64) {
    tamper(path, |table| {
        let mut hash = [0; 32];
        for seq in 1..=count {
            let mut frame = FrameWriter::new(seq, hash);
            let payload = if seq == changed { "forged".to_owned() } else { (seq - 1).to_string() };
            frame.push(&event(payload));
            let (bytes, next) = frame.finish();
            table.insert(seq, &*bytes).expect("inserted");
            hash = next;
        }
    });
}

#[tokio::test]
async fn a_rewrite_without_the_key_is_found_and_so_is_one_with_another_key() {
    let place = tempfile::tempdir().expect("a directory");
    let path = sealed(&place).await;
    rewrite(&path, 10, 2);
    assert_eq!(seal_error(&path), SealError::Rewritten { seq: 10 });
    // With events added, so that the chain is longer than what was signed.
    rewrite(&path, 12, 2);
    assert_eq!(seal_error(&path), SealError::Rewritten { seq: 10 });

    let journal = Journal::in_memory(&JournalConfig::default()).expect("opens");
    journal.append(event("x")).await.expect("appended");
    let stranger = ed25519_dalek::SigningKey::from_bytes(&[5; 32]);
    let own = checkpoints(&path)[0];
    let tip = journal.tip();
    let forged = Checkpoint::sign(&stranger, own.journal_id, own.epoch, tip, 1);
    let file = path.with_extension("checkpoints.jsonl");
    std::fs::write(&file, format!("{}\n", forged.to_line())).expect("written");
    assert_eq!(seal_error(&path), SealError::Forged { seq: 1 });
    std::fs::write(path.with_extension("key"), "05".repeat(32)).expect("written");
    assert_eq!(seal_error(&path), SealError::OtherKey);
}

#[tokio::test]
async fn a_missing_key_or_checkpoint_file_is_not_made_again_in_silence() {
    let place = tempfile::tempdir().expect("a directory");
    let path = sealed(&place).await;
    let (key, file) = (path.with_extension("key"), path.with_extension("checkpoints.jsonl"));
    let kept = std::fs::read(&key).expect("there");
    std::fs::remove_file(&key).expect("removed");
    assert_eq!(seal_error(&path), SealError::KeyMissing);
    std::fs::write(&key, kept).expect("put back");
    let kept = std::fs::read(&file).expect("there");
    std::fs::remove_file(&file).expect("removed");
    assert_eq!(seal_error(&path), SealError::CheckpointsMissing);
    // A line that a crash cut short is not a forgery.
    let mut torn = kept.clone();
    torn.extend_from_slice(&kept[..40]);
    std::fs::write(&file, &torn).expect("written");
    let journal = open(&path).expect("opens");
    append(&journal, 1).await;
    journal.close().await;
    assert_eq!(checkpoints(&path).last().expect("a checkpoint").seq, 11);
    open(&path).expect("opens").verify().expect("verifies");
}

#[tokio::test]
async fn an_operator_can_accept_what_was_restored_and_that_is_recorded() {
    let place = tempfile::tempdir().expect("a directory");
    let path = sealed(&place).await;
    tamper(&path, |table| drop(table.remove(10).expect("removed")));
    let config = JournalConfig::default();
    let journal = Journal::accept(&path, &config, 5, "restored").await.expect("accepted");
    assert_eq!(journal.tip().seq, 10);
    journal.close().await;
    let journal = open(&path).expect("opens");
    let last = journal.read(10, 1).expect("readable").remove(0);
    assert_eq!(last.kind, "journal.accepted");
    assert_eq!(last.payload, br#"{"from_seq":9,"reason":"restored"}"#);
    let epochs: Vec<_> = checkpoints(&path).iter().map(|c| (c.epoch, c.seq)).collect();
    assert_eq!(epochs, [(1, 0), (1, 4), (1, 10), (2, 9), (2, 10)]);
    journal.verify().expect("verifies");
}

#[tokio::test]
async fn the_chain_is_signed_after_so_many_events_or_so_much_time() {
    let place = tempfile::tempdir().expect("a directory");
    let path = place.path().join("journal.redb");
    let seal_every = SealEvery { events: 3, time: Duration::from_secs(3_600) };
    let config = JournalConfig { seal_every, ..JournalConfig::default() };
    let journal = Journal::open(&path, &config).expect("opens");
    let mut published = journal.checkpoints().expect("in a file");
    published.mark_unchanged();
    append(&journal, 3).await;
    published.changed().await.expect("open");
    assert_eq!(published.borrow().expect("a checkpoint").seq, 3);
    journal.close().await;

    let seal_every = SealEvery { events: 1_000, time: Duration::from_millis(20) };
    let config = JournalConfig { seal_every, ..JournalConfig::default() };
    let journal = Journal::open(&path, &config).expect("opens");
    let mut published = journal.checkpoints().expect("in a file");
    published.mark_unchanged();
    append(&journal, 1).await;
    let next = tokio::time::timeout(Duration::from_secs(10), published.changed()).await;
    next.expect("in time").expect("open");
    assert_eq!(published.borrow().expect("a checkpoint").seq, 4);
}

#[tokio::test]
async fn a_file_of_checkpoints_does_not_grow_for_ever() {
    let place = tempfile::tempdir().expect("a directory");
    let path = place.path().join("journal.redb");
    let journal = open(&path).expect("opens");
    append(&journal, 10).await;
    let archive = place.path().join("1.archive");
    journal.archive(6, &archive, 1).await.expect("archived");
    append(&journal, 1).await;
    journal.close().await;
    let file = path.with_extension("checkpoints.jsonl");
    let mut text = std::fs::read_to_string(&file).expect("there");
    let newest = format!("{}\n", text.lines().last().expect("a checkpoint"));
    while text.len() <= 1 << 20 {
        text.push_str(&newest);
    }
    std::fs::write(&file, text).expect("written");
    let journal = open(&path).expect("opens");
    let kept = checkpoints(&path);
    assert_eq!(kept.len(), 1_441);
    assert_eq!(kept[0].seq, 5, "what an export of the rest starts from");
    assert_eq!(journal.verify().expect("verifies").checkpoints, 1_441);
}

#[test]
fn the_frames_table_is_the_one_that_is_tampered_with() {
    assert_eq!(redb::TableHandle::name(&FRAMES), redb::TableHandle::name(&crate::frames::FRAMES));
}
