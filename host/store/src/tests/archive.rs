//! Old events leave the database, and nothing that is known is lost with them.

use std::path::PathBuf;

use super::entries::on;
use super::views::dump;
use super::{event, tamper};
use crate::archive::ArchiveError;
use crate::commit::{Blob, Commit};
use crate::error::{OpenError, ReadError, RebuildError, SealError};
use crate::facts::JournalConfig;
use crate::journal::Journal;
use foreshore_domain::event::{EventKind, Stream, Tenant};

async fn filled(place: &tempfile::TempDir) -> (Journal, PathBuf) {
    let path = place.path().join("journal.redb");
    let journal = Journal::open(&path, &JournalConfig::default()).expect("opens");
    for n in 0..15_u8 {
        journal.append(event(n)).await.expect("appended");
        let blob = Blob::new(vec![n % 4; 2_000]);
        let payload = super::entries::file_change(&[blob.digest()]);
        let changed = on(Stream::Root("home".to_owned()), EventKind::FileChanged, payload);
        let commit = Commit { events: vec![changed], conditions: Vec::new(), blobs: vec![blob] };
        journal.commit(commit).await.expect("committed");
    }
    (journal, path)
}

#[tokio::test]
async fn the_chain_goes_on_from_a_signed_anchor_and_views_and_blobs_stay() {
    let place = tempfile::tempdir().expect("a directory");
    let (journal, path) = filled(&place).await;
    let views = dump(&journal);
    let (first, second) = (place.path().join("1.archive"), place.path().join("2.archive"));
    let archive = journal.archive(11, &first, 7).await.expect("archived");
    assert_eq!((archive.first_seq, archive.last_seq), (1, 10));
    assert_eq!(journal.tip().seq, 31, "and the event that tells of it");
    assert!(matches!(journal.read(10, 1), Err(ReadError::Archived { to: 10 })));
    assert_eq!(journal.read(11, 1).expect("readable")[0].seq, 11);
    let again = journal.archive(21, &second, 8).await.expect("archived");
    assert_eq!((again.first_seq, again.last_seq), (11, 20));
    let third = place.path().join("3.archive");
    let none = journal.archive(21, &third, 9).await;
    assert!(matches!(none, Err(ArchiveError::Nothing { before_seq: 21 })), "{none:?}");
    assert!(!third.exists());
    let exists = journal.archive(25, &first, 9).await;
    assert!(matches!(exists, Err(ArchiveError::Exists { .. })), "{exists:?}");
    journal.close().await;

    let journal = Journal::open(&path, &JournalConfig::default()).expect("opens");
    let verified = journal.verify().expect("verifies");
    assert_eq!((verified.events, verified.tip.seq), (12, 32));
    assert_eq!(dump(&journal), views, "the views still know what was archived");
    let events = journal.read_stream(&Tenant::DEFAULT, &Stream::Root("home".into()), 21, 99);
    assert_eq!(events.expect("readable").len(), 5);
    journal.check().await.expect("passes its check");
    journal.rebuild(|_| {}).await.expect("rebuilt");
    assert_eq!(dump(&journal), views);
    journal.append(event("goes on")).await.expect("appended");
    assert_eq!(journal.archives().expect("readable"), [archive, again]);
}

#[tokio::test]
async fn rebuilding_without_an_archive_says_which_file_and_clears_nothing() {
    let place = tempfile::tempdir().expect("a directory");
    let (journal, _) = filled(&place).await;
    let views = dump(&journal);
    let file = place.path().join("1.archive");
    journal.archive(11, &file, 7).await.expect("archived");
    let mut bytes = std::fs::read(&file).expect("there");
    std::fs::remove_file(&file).expect("removed");
    let absent = journal.rebuild(|_| {}).await.expect_err("no archive");
    assert!(matches!(&absent, RebuildError::Archive { path, .. } if *path == file), "{absent}");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, &bytes).expect("written");
    let damaged = journal.rebuild(|_| {}).await.expect_err("a damaged archive");
    assert!(damaged.to_string().ends_with("it is damaged"), "{damaged}");
    assert_eq!(dump(&journal), views);
}

#[tokio::test]
async fn events_that_were_removed_at_the_start_are_not_taken_for_archived() {
    let place = tempfile::tempdir().expect("a directory");
    let (journal, path) = filled(&place).await;
    let checkpoint = journal.seal().await.expect("sealed").expect("in a file");
    journal.append(event("after")).await.expect("appended");
    journal.close().await;
    tamper(&path, |table| table.retain(|seq, _| seq > checkpoint.seq).expect("removed"));
    let database = redb::Database::open(&path).expect("opens");
    let txn = database.begin_write().expect("a transaction");
    let base = crate::Tip { seq: checkpoint.seq, hash: checkpoint.hash };
    // The best that can be had without the key: a signature of the same event, as a checkpoint.
    let anchor =
        crate::meta::Anchor { at_unix_ms: checkpoint.at_unix_ms, signature: checkpoint.signature };
    crate::meta::set_base(&txn, base, &anchor).expect("written");
    txn.commit().expect("committed");
    drop(database);
    let error = Journal::open(&path, &JournalConfig::default()).err();
    let Some(OpenError::Seal { error, .. }) = error else { panic!("{error:?}") };
    assert_eq!(error, SealError::NotAnchored { seq: checkpoint.seq });
}

#[tokio::test]
async fn a_journal_of_before_there_were_views_is_brought_up_to_date_and_a_copy_is_kept() {
    let place = tempfile::tempdir().expect("a directory");
    let path = place.path().join("journal.redb");
    let mut frame = crate::frame::FrameWriter::new(1, [0; 32]);
    frame.push(&on(Stream::Component("files".into()), EventKind::ComponentLoaded, "{}"));
    let (bytes, hash) = frame.finish();
    let database = redb::Database::create(&path).expect("made");
    let txn = database.begin_write().expect("a transaction");
    crate::frames::insert(&txn, 1, &bytes).expect("inserted");
    txn.commit().expect("committed");
    drop(database);
    let old = std::fs::read(&path).expect("there");
    let journal = Journal::open(&path, &JournalConfig::default()).expect("opens");
    assert_eq!(journal.tip(), crate::Tip { seq: 1, hash });
    let stream = Stream::Component("files".into());
    let loaded = journal.read_stream(&Tenant::DEFAULT, &stream, 1, 9).expect("readable");
    assert_eq!(loaded.len(), 1, "the views know what was recorded before there were any");
    journal.check().await.expect("passes its check");
    assert_eq!(journal.verify().expect("verifies").checkpoints, 1);
    journal.close().await;
    let copy = place.path().join("journal.schema-1.redb");
    assert_eq!(std::fs::read(&copy).expect("a copy").len(), old.len());

    let mark = |schema| {
        let database = redb::Database::open(&path).expect("opens");
        let txn = database.begin_write().expect("a transaction");
        crate::meta::set_schema(&txn, schema).expect("written");
        txn.commit().expect("committed");
    };
    // Views of an older form are made anew, not added to.
    mark(2);
    let journal = Journal::open(&path, &JournalConfig::default()).expect("opens");
    journal.check().await.expect("passes its check");
    journal.close().await;
    assert!(place.path().join("journal.schema-2.redb").is_file());

    mark(99);
    let newer = Journal::open(&path, &JournalConfig::default()).err();
    assert!(matches!(newer, Some(OpenError::Newer { found: 99, known: 3, .. })), "{newer:?}");
}
