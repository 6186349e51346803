//! The key and the file of checkpoints beside the database, and what they hold the journal to.
//!
//! For `journal.redb`: `journal.key` (the secret key in hex, readable by its owner alone, made
//! with the journal) and `journal.checkpoints.jsonl` (one checkpoint a line, the newest last).
//! What was recorded after the newest checkpoint is not held to anything outside the database:
//! that is at most [`SealEvery`]. Whoever can read the key can rewrite the journal: copies of
//! checkpoints on other machines hold against that too.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use tokio::sync::watch;

use crate::checkpoint::{Checkpoint, hex, is_anchored, sign_anchor, unhex};
use crate::db::Db;
use crate::error::{ReadError, SealError};
use crate::facts::{Tip, Verified};
use crate::frames::Frames;
use crate::journal::frames_of;
use crate::meta::{self, Anchor, Identity, Meta};
use crate::start::sync_parent;

/// How often the chain is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealEvery {
    /// At the latest after this many events.
    pub events: u64,
    /// At the latest this long after an event.
    pub time: Duration,
}

/// The newest checkpoint is in the last part of its file.
const TAIL_BYTES: u64 = 8 << 10;
/// A file of checkpoints that is larger when it is opened is thinned,
const THIN_BYTES: u64 = 1 << 20;
/// to so many of the newest, about a day's.
const THIN_LINES: usize = 1_440;
/// After a checkpoint could not be written.
const RETRY: Duration = Duration::from_secs(5);

/// Where key and checkpoints are.
#[derive(Clone, Debug)]
pub(crate) struct SealFiles {
    key: PathBuf,
    checkpoints: PathBuf,
}

impl SealFiles {
    pub(crate) fn beside(database: &Path) -> Self {
        Self {
            key: database.with_extension("key"),
            checkpoints: database.with_extension("checkpoints.jsonl"),
        }
    }

    /// Every checkpoint of the newest epoch, oldest first, none of them verified.
    pub(crate) fn all(&self) -> Result<Vec<Checkpoint>, SealError> {
        let text = std::fs::read_to_string(&self.checkpoints)
            .map_err(|error| unreadable(&self.checkpoints, &error))?;
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let parse = |(at, line)| {
            Checkpoint::parse(line).map_err(|_| SealError::NotACheckpoint {
                path: self.checkpoints.clone(),
                line: at + 1,
            })
        };
        let all: Vec<_> = whole.lines().enumerate().map(parse).collect::<Result<_, _>>()?;
        let epoch = all.last().map_or(0, |last| last.epoch);
        Ok(all.into_iter().filter(|checkpoint| checkpoint.epoch == epoch).collect())
    }

    /// The newest checkpoint; `None` without a file or without a whole line in it. A line that
    /// was cut short, as by a crash, is taken away.
    fn newest(&self) -> Result<Option<Checkpoint>, SealError> {
        let failed = |error: &std::io::Error| unreadable(&self.checkpoints, error);
        let mut file = match File::options().read(true).write(true).open(&self.checkpoints) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(&error)),
        };
        let length = file.metadata().map_err(|error| failed(&error))?.len();
        let start = length.saturating_sub(TAIL_BYTES);
        let mut tail = Vec::new();
        file.seek(SeekFrom::Start(start)).map_err(|error| failed(&error))?;
        file.read_to_end(&mut tail).map_err(|error| failed(&error))?;
        let Some(end) = tail.iter().rposition(|byte| *byte == b'\n') else {
            file.set_len(start).map_err(|error| failed(&error))?;
            return Ok(None);
        };
        if end + 1 < tail.len() {
            let whole = start + u64::try_from(end + 1).unwrap_or(0);
            file.set_len(whole).map_err(|error| failed(&error))?;
        }
        let from = tail[..end].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let line = std::str::from_utf8(&tail[from..end]).ok();
        match line.map(Checkpoint::parse) {
            Some(Ok(checkpoint)) => Ok(Some(checkpoint)),
            _ => Err(SealError::NotACheckpoint { path: self.checkpoints.clone(), line: 0 }),
        }
    }

    fn append(&self, checkpoint: &Checkpoint) -> std::io::Result<()> {
        let is_new = !self.checkpoints.exists();
        let mut options = File::options();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&self.checkpoints)?;
        file.write_all(format!("{}\n", checkpoint.to_line()).as_bytes())?;
        file.sync_data()?;
        if is_new { sync_parent(&self.checkpoints) } else { Ok(()) }
    }

    /// Bounds the file: the newest checkpoints stay, and the one that an archive ends with. Each
    /// covers every event before it, so no event is held to less than before.
    fn thin(&self, base_seq: u64) -> std::io::Result<()> {
        if std::fs::metadata(&self.checkpoints)?.len() <= THIN_BYTES {
            return Ok(());
        }
        let text = std::fs::read_to_string(&self.checkpoints)?;
        let older = text.lines().count().saturating_sub(THIN_LINES);
        let is_base = |line| Checkpoint::parse(line).is_ok_and(|found| found.seq == base_seq);
        let mut kept = String::new();
        for (at, line) in text.lines().enumerate() {
            if at >= older || (base_seq > 0 && is_base(line)) {
                kept.push_str(line);
                kept.push('\n');
            }
        }
        let part = self.checkpoints.with_extension("jsonl.part");
        write_owned(&part, kept.as_bytes())?;
        std::fs::rename(&part, &self.checkpoints)?;
        sync_parent(&self.checkpoints)
    }

    fn key(&self) -> Result<Option<SigningKey>, SealError> {
        let text = match std::fs::read_to_string(&self.key) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(&self.key, &error)),
        };
        let bytes = unhex(text.trim_end()).ok_or(SealError::NotAKey { path: self.key.clone() })?;
        Ok(Some(SigningKey::from_bytes(&bytes)))
    }

    fn make_key(&self) -> Result<SigningKey, SealError> {
        let mut bytes = [0; 32];
        random(&mut bytes)?;
        let part = self.key.with_extension("key.part");
        let write = || {
            write_owned(&part, format!("{}\n", hex(&bytes)).as_bytes())?;
            std::fs::rename(&part, &self.key)?;
            sync_parent(&self.key)
        };
        write().map_err(|error| unreadable(&self.key, &error))?;
        Ok(SigningKey::from_bytes(&bytes))
    }
}

/// Writes a file that its owner alone can read.
fn write_owned(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn random(bytes: &mut [u8]) -> Result<(), SealError> {
    getrandom::fill(bytes).map_err(|error| SealError::Random { message: error.to_string() })
}

fn unreadable(path: &Path, error: &std::io::Error) -> SealError {
    SealError::File { path: path.to_owned(), message: error.to_string() }
}

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
