//! Looking at a journal, checking it and copying it.

use foreshore_domain::event::{EventKind, Stream, Tenant};

use super::entries::on;
use super::views::dump;
use super::{event, payloads};
use crate::commit::{Blob, Commit};
use crate::error::{OpenError, SealError};
use crate::facts::JournalConfig;
use crate::journal::Journal;
use crate::upkeep::{BackupError, CheckError};

async fn filled(path: &std::path::Path) -> Journal {
    let journal = Journal::open(path, &JournalConfig::default()).expect("opens");
    for n in 0..20_u8 {
        journal.append(event(n)).await.expect("appended");
        let blob = Blob::new(vec![n % 7; 5_000]);
        let payload = super::entries::file_change(&[blob.digest()]);
        let changed = on(Stream::Root("home".to_owned()), EventKind::FileChanged, payload);
        let commit = Commit { events: vec![changed], conditions: Vec::new(), blobs: vec![blob] };
        journal.commit(commit).await.expect("committed");
    }
    journal
}

#[tokio::test]
async fn a_backup_of_a_journal_that_goes_on_is_the_journal_of_one_moment() {
    let place = tempfile::tempdir().expect("a directory");
    let journal = filled(&place.path().join("journal.redb")).await;
    let (before, views) = (payloads(&journal), dump(&journal));
    let writer = tokio::spawn({
        let journal = journal.clone();
        async move {
            for _ in 0..50 {
                journal.append(event("meanwhile")).await.expect("appended");
            }
        }
    });
    let to = place.path().join("backup.redb");
    let tip = journal.backup(&to).await.expect("copied");
    writer.await.expect("no panic");
    assert!(matches!(journal.backup(&to).await, Err(BackupError::Exists { .. })));
    // The key is no part of a backup: whoever takes one into use does so in so many words.
    let opened = Journal::open(&to, &JournalConfig::default()).err();
    assert!(matches!(opened, Some(OpenError::Seal { error: SealError::KeyMissing, .. })));
    let copied = Journal::accept(&to, &JournalConfig::default(), 1, "restored").await;
    let copy = copied.expect("accepted");
    assert_eq!(copy.tip().seq, tip.seq + 1);
    assert_eq!(copy.hash_at(tip.seq).expect("readable"), Some(tip.hash));
    assert_eq!(payloads(&copy)[..before.len()], before[..]);
    assert_eq!(dump(&copy), views);
    copy.check().await.expect("passes its check");
    copy.append(event("goes on")).await.expect("appended");
}

#[tokio::test]
async fn a_view_that_was_changed_and_a_blob_that_was_lost_do_not_pass_the_check() {
    let place = tempfile::tempdir().expect("a directory");
    let journal = filled(&place.path().join("journal.redb")).await;
    let checked = journal.check().await.expect("passes its check");
    assert_eq!((checked.verified.events, checked.blobs), (40, 7));
    let stats = journal.stats().await.expect("readable");
    assert_eq!((stats.events, stats.frames, stats.blobs), (40, 40, 7));
    assert!(stats.stored_bytes > 0 && stats.allocated_bytes >= stats.stored_bytes);
    journal.compact().await.expect("compacted");
    let change = |table: redb::TableDefinition<'static, &'static [u8; 32], u64>| {
        let txn = journal.db().expect("open").begin_write().expect("a transaction");
        txn.open_table(table).expect("there").insert(&[1; 32], 9).expect("inserted");
        txn.commit().expect("committed");
    };
    change(redb::TableDefinition::new("view_blob_references_v1"));
    let error = journal.check().await.expect_err("a reference to nothing");
    assert!(matches!(error, CheckError::Blob { references: 9, stored: false, .. }), "{error}");
    journal.rebuild(|_| {}).await.expect("rebuilt");
    journal.check().await.expect("passes its check again");
}

#[tokio::test]
async fn a_restored_backup_goes_on_once_it_is_accepted() {
    let place = tempfile::tempdir().expect("a directory");
    let path = place.path().join("journal.redb");
    let journal = filled(&path).await;
    let backup = place.path().join("backup.redb");
    let tip = journal.backup(&backup).await.expect("copied");
    journal.append(event("lost with the disk")).await.expect("appended");
    journal.close().await;
    assert!(matches!(Journal::restore(&backup, &path), Err(BackupError::Exists { .. })));
    std::fs::remove_file(&path).expect("removed");
    assert_eq!(Journal::restore(&backup, &path).expect("restored"), tip);
    let config = JournalConfig::default();
    let opened = Journal::open(&path, &config).err();
    assert!(matches!(opened, Some(OpenError::Seal { error: SealError::Older { .. }, .. })));
    let journal = Journal::accept(&path, &config, 1, "restored").await.expect("accepted");
    journal.check().await.expect("passes its check");
    let missing = Journal::restore(&place.path().join("none"), &place.path().join("new"));
    assert!(matches!(missing, Err(BackupError::Open(OpenError::Storage { .. }))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_waits_for_who_still_reads() {
    let place = tempfile::tempdir().expect("a directory");
    let path = place.path().join("journal.redb");
    let journal = Journal::open(&path, &JournalConfig::default()).expect("opens");
    journal.append(event("one")).await.expect("appended");
    let reading = journal.clone();
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let reader = std::thread::spawn(move || {
        let memory = reading.memory(&Tenant::DEFAULT, 0).expect("readable");
        begun.send(()).expect("somebody waits");
        std::thread::sleep(std::time::Duration::from_millis(200));
        drop(memory);
    });
    has_begun.await.expect("the reader reads");
    journal.check().await.expect("passes once the reader is done");
    journal.compact().await.expect("compacts");
    reader.join().expect("no panic");
    assert_eq!(journal.read(1, 1).expect("readable").len(), 1);
}
