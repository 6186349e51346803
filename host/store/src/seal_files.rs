//! The files of key and checkpoints beside a database: how they are found, read and written.
//!
//! Deliberately absent: what they mean, which is in `seals`.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;

use crate::checkpoint::{Checkpoint, hex, unhex};
use crate::error::SealError;
use crate::start::sync_parent;

/// The newest checkpoint is in the last part of its file.
const TAIL_BYTES: u64 = 8 << 10;
/// A file of checkpoints that is larger when it is opened is thinned,
const THIN_BYTES: u64 = 1 << 20;
/// to so many of the newest, about a day's.
const THIN_LINES: usize = 1_440;
/// Where key and checkpoints are.
#[derive(Clone, Debug)]
pub(crate) struct SealFiles {
    key: PathBuf,
    pub(crate) checkpoints: PathBuf,
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
    pub(crate) fn newest(&self) -> Result<Option<Checkpoint>, SealError> {
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

    pub(crate) fn append(&self, checkpoint: &Checkpoint) -> std::io::Result<()> {
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
    pub(crate) fn thin(&self, base_seq: u64) -> std::io::Result<()> {
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

    pub(crate) fn key(&self) -> Result<Option<SigningKey>, SealError> {
        let text = match std::fs::read_to_string(&self.key) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(&self.key, &error)),
        };
        let bytes = unhex(text.trim_end()).ok_or(SealError::NotAKey { path: self.key.clone() })?;
        Ok(Some(SigningKey::from_bytes(&bytes)))
    }

    pub(crate) fn make_key(&self) -> Result<SigningKey, SealError> {
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

pub(crate) fn random(bytes: &mut [u8]) -> Result<(), SealError> {
    getrandom::fill(bytes).map_err(|error| SealError::Random { message: error.to_string() })
}

pub(crate) fn unreadable(path: &Path, error: &std::io::Error) -> SealError {
    SealError::File { path: path.to_owned(), message: error.to_string() }
}
