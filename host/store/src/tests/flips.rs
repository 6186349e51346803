//! Any bit of the file may flip: what is read is an error or the right thing, and never a panic.
//!
//! `FORESHORE_BIT_FLIPS` says how many are tried.

use std::path::Path;

use foreshore_domain::event::{EventKind, Stream, Tenant};

use super::crash::{opener, random};
use super::disk::Disk;
use super::entries::on;
use super::event;
use super::views::dump;
use crate::blobs;
use crate::commit::{Blob, Commit};
use crate::facts::JournalConfig;
use crate::frame::Event;
use crate::journal::{Journal, Place};
use crate::seal_files::SealFiles;
use crate::seals::Opening;
use crate::start::Medium;

fn open(disk: &Disk, files: &SealFiles) -> Result<Journal, crate::OpenError> {
    let seals = Some((files.clone(), Opening::Held));
    let place = Place { open: opener(disk), medium: Medium::Other, reserve: None, seals };
    Journal::start(Path::new("disk"), place, &JournalConfig::default(), |_| {})
}

async fn filled(disk: &Disk, files: &SealFiles) -> (Vec<Event>, String) {
    let journal = open(disk, files).expect("opens");
    for n in 0..12_u8 {
        journal.append(event(n)).await.expect("appended");
        let blob = Blob::new(vec![n % 5; 3_000]);
        let payload = super::entries::file_change(&[blob.digest()]);
        let changed = on(Stream::Root("home".to_owned()), EventKind::FileChanged, payload);
        let commit = Commit { events: vec![changed], conditions: Vec::new(), blobs: vec![blob] };
        journal.commit(commit).await.expect("committed");
    }
    let (events, views) = (journal.read(1, usize::MAX).expect("readable"), dump(&journal));
    journal.close().await;
    (events, views)
}

/// What a journal whose file is damaged gives out is right, as far as it gives out anything.
async fn assert_right(journal: &Journal, events: &[Event], views: &str, when: &str) -> bool {
    let mut noticed = false;
    for right in events {
        match journal.read(right.seq, 1) {
            Ok(found) => assert_eq!(found.first(), Some(right), "{when}"),
            Err(_) => noticed = true,
        }
        for digest in blobs::named(&right.kind, &right.payload) {
            match journal.blob(&digest) {
                Ok(Some(bytes)) => assert_eq!(blobs::digest(&bytes), digest, "{when}"),
                // A blob that is not found where an event names it is noticed by whoever asks.
                Ok(None) | Err(_) => noticed = true,
            }
        }
    }
    let root = Stream::Root("home".to_owned());
    match journal.read_stream(&Tenant::DEFAULT, &root, 1, usize::MAX) {
        Ok(found) => assert!(found.iter().all(|event| event.stream == "root/home"), "{when}"),
        Err(_) => noticed = true,
    }
    noticed |= journal.verify().is_err();
    match journal.check().await {
        Ok(_) => assert_eq!(dump(journal), views, "{when}: it passes its check"),
        Err(_) => noticed = true,
    }
    noticed
}

#[tokio::test]
async fn a_flipped_bit_gives_an_error_or_the_right_data() {
    let place = tempfile::tempdir().expect("a directory");
    let files = SealFiles::beside(&place.path().join("journal.redb"));
    let disk = Disk::default();
    let (events, views) = filled(&disk, &files).await;
    let good = disk.bytes();
    let flips = std::env::var("FORESHORE_BIT_FLIPS").ok().and_then(|n| n.parse().ok());
    let flips = flips.unwrap_or(150_u64);
    let in_use: Vec<usize> =
        (0..good.len()).filter(|at| good[*at..].iter().take(64).any(|byte| *byte != 0)).collect();
    let (mut refused, mut noticed) = (0, 0);
    for flip in 0..flips {
        let mut random = random(flip * 7_919 + 1);
        let mut bytes = good.clone();
        let at = in_use[usize::try_from(random()).expect("64 bits") % in_use.len()];
        let bit = random() % 8;
        bytes[at] ^= 1 << bit;
        let when = format!("bit {bit} of byte {at}");
        match open(&Disk::holding(bytes), &files) {
            Ok(journal) => {
                noticed += u64::from(assert_right(&journal, &events, &views, &when).await);
            }
            Err(_) => refused += 1,
        }
    }
    assert!(refused + noticed > 0, "no flip was noticed");
    println!("{flips} bits flipped: {refused} not opened, {noticed} noticed later, the rest right");
}
