//! Retention: old events leave the database for a file, and the chain goes on from there.
//!
//! The file is an export (see `export`). What is left continues an *anchor*: the last archived
//! event's number and hash, signed with a context of its own, so that a checkpoint cannot be
//! passed off as one. Views keep what they made of archived events; making them again takes the
//! archives, and says which file is absent. Blobs stay. The order is that of what must not be
//! lost: the file is on disk before anything is removed, and the removal, the anchor and the
//! event that tells of it are one transaction.

use std::fs::File;
use std::io::{BufReader, BufWriter, ErrorKind, Read};
use std::path::{Path, PathBuf};

use foreshore_domain::event::EventKind;
use redb::WriteTransaction;
use serde::{Deserialize, Serialize};

use crate::checkpoint::hex;
use crate::error::{ReadError, RebuildError};
use crate::export::{END, ExportError, Exported, MAGIC, export};
use crate::facts::Tip;
use crate::frame::{Chain, Hash, parse_body};
use crate::frames::FRAMES;
use crate::group::{Request, Stop};
use crate::journal::Journal;
use crate::meta;
use crate::start::sync_parent;
use crate::views::EventRef;
use crate::writer::{Writer, host_event};

/// More than any event has: a length that was changed must not take memory.
const BODY_MAX_BYTES: usize = 1 << 20;
const CACHE_BYTES: usize = 1 << 20;

/// Events that left the database, as it remembers them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Archive {
    /// Where they went.
    pub path: PathBuf,
    /// The first of them.
    pub first_seq: u64,
    /// The last of them.
    pub last_seq: u64,
    /// The chain's value after the last.
    pub hash: Hash,
}

/// Events were not archived.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// There is a file of that name.
    #[error("{path:?} is there already: name a file that is not")]
    Exists {
        /// Which.
        path: PathBuf,
    },
    /// No commit lies before the number.
    #[error("no whole commit in the database lies before event {before_seq}")]
    Nothing {
        /// The number that was given.
        before_seq: u64,
    },
    /// A journal in memory has no key to sign an anchor with.
    #[error("a journal in memory has nothing to archive")]
    InMemory,
    /// The events could not be read or written to the file.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The file could not be written.
    #[error("{path:?} could not be written: {message}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        message: String,
    },
    /// The file is written, and the events are still in the database too.
    #[error("the archive was written, but the journal could not be shortened: {message}")]
    Commit {
        /// What redb or the system said.
        message: String,
    },
}

impl From<ReadError> for ArchiveError {
    fn from(error: ReadError) -> Self {
        Self::Export(error.into())
    }
}

impl Journal {
    /// Moves the commits that lie wholly before event `before_seq` into a new file, signs what
    /// the rest continues, and records it. The room in the database is used again; giving it
    /// back to the disk takes [`Journal::compact`].
    ///
    /// # Errors
    /// [`ArchiveError`]; the database is as it was then.
    pub async fn archive(
        &self,
        before_seq: u64,
        to: &Path,
        at_unix_ms: u64,
    ) -> Result<Archive, ArchiveError> {
        let Some(to_seq) = before_seq.checked_sub(1) else {
            return Err(ArchiveError::Nothing { before_seq });
        };
        let journal = self.clone();
        let path = std::path::absolute(to).map_err(|error| file_failed(to, &error))?;
        let written = path.clone();
        let exported = tokio::task::spawn_blocking(move || {
            journal.reading(|read| write_file(&written, |file| export(read, to_seq, file)))
        });
        let exported = exported.await.map_err(|_| ReadError::NotOpen)??;
        let Exported { first_seq, events, tip } = exported;
        let archive = Archive { path, first_seq, last_seq: tip.seq, hash: tip.hash };
        if events == 0 {
            let _ = std::fs::remove_file(&archive.path);
            return Err(ArchiveError::Nothing { before_seq });
        }
        let shorten = move |writer: &mut Writer| shorten(writer, &archive, at_unix_ms);
        self.on_writer(shorten).await.unwrap_or(Err(ReadError::NotOpen.into()))
    }

    /// The archives that hold the events before those of the database, oldest first.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn archives(&self) -> Result<Vec<Archive>, ReadError> {
        self.reading(|read| Ok(meta::Meta::read(read)?.archives))
    }
}

fn write_file(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> Result<Exported, ExportError>,
) -> Result<Exported, ArchiveError> {
    if path.exists() {
        return Err(ArchiveError::Exists { path: path.to_owned() });
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part = path.with_file_name(name);
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let place = || -> Result<Exported, ArchiveError> {
        let failed = |error: &std::io::Error| file_failed(path, error);
        let file = options.open(&part).map_err(|error| failed(&error))?;
        let mut file = BufWriter::with_capacity(CACHE_BYTES, file);
        let exported = write(&mut file)?;
        let file = file.into_inner().map_err(|error| failed(error.error()))?;
        file.sync_all().map_err(|error| failed(&error))?;
        std::fs::rename(&part, path).map_err(|error| failed(&error))?;
        sync_parent(path).map_err(|error| failed(&error))?;
        Ok(exported)
    };
    let placed = place();
    if placed.is_err() {
        let _ = std::fs::remove_file(&part);
    }
    placed
}

/// Takes archived frames out of the database, on the writer thread.
fn shorten(
    writer: &mut Writer,
    archive: &Archive,
    at_unix_ms: u64,
) -> Result<Archive, ArchiveError> {
    let tip = Tip { seq: archive.last_seq, hash: archive.hash };
    let commit_failed = |message: String| ArchiveError::Commit { message };
    let end = writer.shared.tip();
    writer.seal(end);
    let Some(seals) = &mut writer.seals else { return Err(ArchiveError::InMemory) };
    // Whoever verifies without the archive needs a checkpoint where the rest begins.
    let anchor =
        seals.anchor(tip, at_unix_ms).map_err(|error| file_failed(&archive.path, &error))?;
    let payload = serde_json::json!({
        "first_seq": archive.first_seq,
        "last_seq": archive.last_seq,
        "hash": hex(&archive.hash),
        "file": archive.path.file_name().unwrap_or_default().to_string_lossy(),
    });
    let event = host_event(at_unix_ms, EventKind::JournalArchived, payload.to_string().into());
    let also = |txn: &WriteTransaction| {
        txn.open_table(FRAMES)?.retain_in(..=tip.seq, |_, _| false)?;
        meta::set_base(txn, tip, &anchor)?;
        meta::add_archive(txn, archive)
    };
    match writer.write_group_and(&[Request::Event(event)], &also) {
        Ok(written) => {
            writer.shared.set_tip(written.tip);
            Ok(archive.clone())
        }
        Err(Stop::Refused { error, .. }) => Err(commit_failed(error.to_string())),
        Err(Stop::Storage(trouble) | Stop::InDoubt { trouble, .. }) => {
            Err(commit_failed(trouble.message))
        }
    }
}

fn file_failed(path: &Path, error: &std::io::Error) -> ArchiveError {
    ArchiveError::File { path: path.to_owned(), message: error.to_string() }
}

/// Shows the events of an archive, each held to the chain, and the last to what the database
/// remembers.
pub(crate) fn walk(
    archive: &Archive,
    mut visit: impl FnMut(&EventRef<'_>) -> Result<(), RebuildError>,
) -> Result<(), RebuildError> {
    let absent = |error: &std::io::Error| RebuildError::Archive {
        path: archive.path.clone(),
        message: match error.kind() {
            ErrorKind::UnexpectedEof => "it is cut short".to_owned(),
            _ => error.to_string(),
        },
    };
    let wrong = |message: &str| RebuildError::Archive {
        path: archive.path.clone(),
        message: message.to_owned(),
    };
    let file = File::open(&archive.path).map_err(|error| absent(&error))?;
    let mut file = BufReader::with_capacity(CACHE_BYTES, file);
    let mut next = |bytes: &mut [u8]| file.read_exact(bytes).map_err(|error| absent(&error));
    let (mut magic, mut journal_id, mut number, mut hash) =
        ([0; MAGIC.len()], [0; 16], [0; 8], [0; 32]);
    next(&mut magic)?;
    next(&mut journal_id)?;
    next(&mut number)?;
    next(&mut hash)?;
    if magic != *MAGIC || u64::from_le_bytes(number) != archive.first_seq {
        return Err(wrong("it is not the archive that was written"));
    }
    let mut chain = Chain::new();
    let mut body = Vec::new();
    let mut seq = archive.first_seq;
    loop {
        let mut length = [0; 4];
        next(&mut length)?;
        let length = u32::from_le_bytes(length);
        if length == END {
            break;
        }
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > BODY_MAX_BYTES {
            return Err(wrong("it is damaged"));
        }
        body.resize(length, 0);
        next(&mut body)?;
        let mut said = [0; 32];
        next(&mut said)?;
        hash = chain.next(&hash, seq, &body);
        let event = parse_body(seq, &body).ok_or_else(|| wrong("it is damaged"))?;
        if said != hash {
            return Err(wrong("it is damaged"));
        }
        visit(&event)?;
        seq += 1;
    }
    match (seq - 1, hash) == (archive.last_seq, archive.hash) {
        true => Ok(()),
        false => Err(wrong("it does not end where the journal goes on")),
    }
}
