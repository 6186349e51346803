//! The key and the file of checkpoints beside the database, and what they hold the journal to.
//!
//! For `journal.redb`: `journal.key` (the secret key in hex, readable by its owner alone, made
//! with the journal) and `journal.checkpoints.jsonl` (one checkpoint a line, the newest last).
//! What was recorded after the newest checkpoint is not held to anything outside the database:
//! that is at most [`SealEvery`]. Whoever can read the key can rewrite the journal: copies of
//! checkpoints on other machines hold against that too.

use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use tokio::sync::watch;

use crate::checkpoint::{Checkpoint, is_anchored, sign_anchor};
use crate::db::Db;
use crate::error::{ReadError, SealError};
use crate::facts::{Tip, Verified};
use crate::frames::Frames;
use crate::journal::frames_of;
use crate::meta::{self, Anchor, Identity, Meta};
use crate::seal_files::{SealFiles, random, unreadable};

/// How often the chain is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealEvery {
    /// At the latest after this many events.
    pub events: u64,
    /// At the latest this long after an event.
    pub time: Duration,
}

/// After a checkpoint could not be written.
const RETRY: Duration = Duration::from_secs(5);

/// Whether the journal is held to its checkpoints when it is opened.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opening {
    Held,
    /// An operator takes it as it is.
    Accepted,
}

/// Signs the chain, on the writer thread.
pub(crate) struct Seals {
    files: SealFiles,
    key: SigningKey,
    every: SealEvery,
    newest: Checkpoint,
    due: Option<Instant>,
    /// Where whoever wants to know learns of each.
    pub(crate) published: watch::Sender<Option<Checkpoint>>,
}

impl Seals {
    /// Holds a journal to its newest checkpoint; makes key and first checkpoint for a new one.
    pub(crate) fn open(
        files: SealFiles,
        every: SealEvery,
        db: &Db,
        (tip, at_unix_ms): (Tip, u64),
        opening: Opening,
    ) -> Result<Self, ReadError> {
        let Meta { identity, base, anchor, .. } = Meta::read(&db.begin_read()?)?;
        let accepted = opening == Opening::Accepted;
        let key = match (files.key()?, &identity) {
            (Some(key), _) => key,
            (None, Some(_)) if !accepted => return Err(SealError::KeyMissing.into()),
            (None, _) => files.make_key()?,
        };
        let public_key = key.verifying_key().to_bytes();
        if !accepted && identity.as_ref().is_some_and(|known| known.public_key != public_key) {
            return Err(SealError::OtherKey.into());
        }
        if base.seq > 0 && !accepted {
            let journal_id = identity.as_ref().map_or([0; 16], |known| known.journal_id);
            let key = key.verifying_key();
            if !anchor.is_some_and(|anchor| is_anchored(&key, &journal_id, base, &anchor)) {
                return Err(SealError::NotAnchored { seq: base.seq }.into());
            }
        }
        let newest = match files.newest() {
            Err(_) if accepted => None,
            newest => newest?,
        };
        let newest = match newest {
            Some(newest) if !accepted => {
                hold(db, tip, &newest, &public_key, identity.as_ref())?;
                newest
            }
            None if identity.is_some() && !accepted => {
                return Err(SealError::CheckpointsMissing.into());
            }
            before => {
                let journal_id = match (&identity, &before) {
                    (Some(identity), _) => identity.journal_id,
                    (None, Some(before)) => before.journal_id,
                    (None, None) => {
                        let mut id = [0; 16];
                        random(&mut id)?;
                        id
                    }
                };
                let epoch = before.map_or(0, |before| before.epoch).saturating_add(1);
                let first = Checkpoint::sign(&key, journal_id, epoch, tip, at_unix_ms);
                files.append(&first).map_err(|error| unreadable(&files.checkpoints, &error))?;
                first
            }
        };
        let now = Identity { journal_id: newest.journal_id, public_key };
        if identity.as_ref() != Some(&now) {
            let write = || {
                let txn = db.begin_write()?;
                meta::set_identity(&txn, &now)?;
                txn.commit().map_err(redb::Error::from)
            };
            write().map_err(crate::db::storage)?;
        }
        if accepted && base.seq > 0 {
            // Taken as it is, with what it continues; the key may be another one now.
            let anchor = sign_anchor(&key, &newest.journal_id, base, at_unix_ms);
            let write = || {
                let txn = db.begin_write()?;
                meta::set_base(&txn, base, &anchor)?;
                txn.commit().map_err(redb::Error::from)
            };
            write().map_err(crate::db::storage)?;
        }
        if let Err(error) = files.thin(base.seq) {
            tracing::warn!(%error, "the file of checkpoints could not be thinned");
        }
        let published = watch::Sender::new(Some(newest));
        let mut seals = Self { files, key, every, newest, due: None, published };
        seals.note(tip);
        Ok(seals)
    }

    /// Holds a database that was opened again to what was sealed by this process.
    pub(crate) fn hold_again(&self, db: &Db, tip: Tip) -> Result<(), ReadError> {
        hold(db, tip, &self.newest, &self.newest.key, None)
    }

    /// When the chain is to be signed next.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Hears of the chain's new end.
    pub(crate) fn note(&mut self, tip: Tip) {
        if tip.seq == self.newest.seq {
            return;
        }
        if tip.seq.saturating_sub(self.newest.seq) >= self.every.events {
            self.due = Some(self.due.map_or_else(Instant::now, |due| due.min(Instant::now())));
        } else if self.due.is_none() {
            self.due = Some(Instant::now() + self.every.time);
        }
    }

    /// Signs the chain's end; `true` if there is a new checkpoint. One that cannot be written is
    /// tried again.
    pub(crate) fn seal(&mut self, tip: Tip, at_unix_ms: u64) -> bool {
        self.due = None;
        if tip.seq == self.newest.seq {
            return false;
        }
        let Checkpoint { journal_id, epoch, .. } = self.newest;
        let checkpoint = Checkpoint::sign(&self.key, journal_id, epoch, tip, at_unix_ms);
        match self.files.append(&checkpoint) {
            Ok(()) => {
                self.newest = checkpoint;
                self.published.send_replace(Some(checkpoint));
                true
            }
            Err(error) => {
                tracing::error!(%error, seq = tip.seq, "a checkpoint could not be written");
                self.due = Some(Instant::now() + RETRY);
                false
            }
        }
    }

    /// Signs that what came up to `base` is archived, and adds a checkpoint of there; the newest
    /// one stays the last of the file.
    pub(crate) fn anchor(&mut self, base: Tip, at_unix_ms: u64) -> std::io::Result<Anchor> {
        let Checkpoint { journal_id, epoch, .. } = self.newest;
        if base.seq > self.newest.seq {
            return Err(std::io::Error::other("its events are not signed yet"));
        }
        self.files.append(&Checkpoint::sign(&self.key, journal_id, epoch, base, at_unix_ms))?;
        self.files.append(&self.newest)?;
        Ok(sign_anchor(&self.key, &journal_id, base, at_unix_ms))
    }

    pub(crate) fn newest(&self) -> &Checkpoint {
        &self.newest
    }

    pub(crate) fn files(&self) -> &SealFiles {
        &self.files
    }
}

/// Holds a database to a checkpoint.
pub(crate) fn hold(
    db: &Db,
    tip: Tip,
    checkpoint: &Checkpoint,
    public_key: &[u8; 32],
    identity: Option<&Identity>,
) -> Result<(), ReadError> {
    let seq = checkpoint.seq;
    if checkpoint.key != *public_key || !checkpoint.is_signed() {
        return Err(SealError::Forged { seq }.into());
    }
    if identity.is_some_and(|known| known.journal_id != checkpoint.journal_id) {
        return Err(SealError::OtherJournal { seq }.into());
    }
    let read = db.begin_read()?;
    if tip.seq < seq {
        // A file whose tail was cut knows of checkpoints past its end; an older one does not.
        let sealed = Meta::read(&read)?.sealed_seq;
        return Err(match sealed > tip.seq {
            true => SealError::Cut { seq, tip: tip.seq },
            false => SealError::Older { seq, tip: tip.seq },
        }
        .into());
    }
    match frames_of(&read)?.hash_at(seq)? {
        Some(hash) if hash == checkpoint.hash => Ok(()),
        _ => Err(SealError::Rewritten { seq }.into()),
    }
}

/// Holds every event to the chain, and the chain to checkpoints.
pub(crate) fn verify<'a>(
    frames: &Frames,
    checkpoints: impl Iterator<Item = &'a Checkpoint>,
    identity: Option<&Identity>,
) -> Result<Verified, ReadError> {
    let mut ascending: Vec<&Checkpoint> = checkpoints.collect();
    ascending.sort_unstable_by_key(|checkpoint| checkpoint.seq);
    let mut matched = 0;
    let base = frames.base();
    let mut left = ascending.iter().copied().peekable();
    for checkpoint in &ascending {
        let seq = checkpoint.seq;
        if identity.is_some_and(|known| known.journal_id != checkpoint.journal_id) {
            return Err(SealError::OtherJournal { seq }.into());
        }
        let own_key = identity.is_none_or(|known| known.public_key == checkpoint.key);
        if !own_key || !checkpoint.is_signed() {
            return Err(SealError::Forged { seq }.into());
        }
    }
    // What is in an archive is verified there.
    while left.next_if(|checkpoint| checkpoint.seq < base.seq).is_some() {}
    while let Some(checkpoint) = left.next_if(|checkpoint| checkpoint.seq == base.seq) {
        matched += 1;
        if checkpoint.hash != base.hash {
            return Err(SealError::Rewritten { seq: base.seq }.into());
        }
    }
    let mut verified = frames.verify(|frame| {
        while let Some(checkpoint) = left.next_if(|checkpoint| checkpoint.seq <= frame.tip().seq) {
            matched += 1;
            if frame.hash_at(checkpoint.seq) != Some(checkpoint.hash) {
                return Err(SealError::Rewritten { seq: checkpoint.seq }.into());
            }
        }
        Ok(())
    })?;
    if let Some(checkpoint) = left.next_back() {
        return Err(SealError::Cut { seq: checkpoint.seq, tip: verified.tip.seq }.into());
    }
    verified.checkpoints = matched;
    Ok(verified)
}
