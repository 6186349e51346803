//! Compiled artifacts and definitions on disk, so that each component is compiled once.
//!
//! A file is the payload and, behind it, a footer: length, MAC, magic. The footer is at the end
//! because wasmtime maps the file and reads it from its start; it takes no notice of what
//! follows. The MAC (BLAKE3 keyed) covers the kind of entry, the component's digest, the
//! engine's hash and the payload, so an entry cannot be altered, renamed to another's place, or
//! used by another build. The key is 32 random bytes beside the entries, readable to the host's
//! user alone.
//!
//! Invariant: what `load` returns was stored by somebody who holds the key, under exactly the
//! digest and engine asked for. Everything else is a miss. Errors of the disk cost time, never
//! correctness.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use foreshore_domain::id::Digest;

use crate::engine_hash::EngineHash;

const MAGIC: [u8; 8] = *b"fs-aot-1";
const MAC_CONTEXT: &str = "foreshore aot cache entry 1";
const KEY_FILE: &str = "key";
const FOOTER_BYTES: u64 = 8 + 32 + 8;
/// Definitions and artifacts alike; a file beyond it is not ours.
const ENTRY_MAX_BYTES: u64 = 1 << 30;

/// What an entry holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryKind {
    /// Machine code.
    Artifact,
    /// What the component says of its tools.
    Definitions,
}

impl EntryKind {
    fn extension(self) -> &'static str {
        match self {
            Self::Artifact => "cwasm",
            Self::Definitions => "tools",
        }
    }
}

/// The cache could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// The directory, or the key in it, cannot be made or read.
    #[error("cache directory {}: {source}", .path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody else could put entries or a key there.
    #[error(
        "cache directory {}: {} belongs to another user; give it to the user that runs the host, or name another cache_directory",
        .directory.display(), .path.display()
    )]
    Foreign {
        /// The directory.
        directory: PathBuf,
        /// What belongs to somebody else.
        path: PathBuf,
    },
}

/// The cache.
pub(crate) struct AotCache {
    directory: PathBuf,
    key: [u8; 32],
    engine: EngineHash,
    max_bytes: u64,
    temporary: AtomicU64,
}

/// An entry whose MAC was checked, still open.
pub(crate) struct VerifiedEntry {
    file: File,
    payload_bytes: u64,
    #[cfg_attr(target_os = "linux", allow(dead_code, reason = "there, the open file has a path"))]
    path: PathBuf,
}

impl VerifiedEntry {
    /// A path that leads to this open file, whatever became of its name.
    pub(crate) fn path_to_open_file(&self) -> PathBuf {
        #[cfg(target_os = "linux")]
        {
            use std::os::fd::AsRawFd as _;
            format!("/proc/self/fd/{}", self.file.as_raw_fd()).into()
        }
        #[cfg(not(target_os = "linux"))]
        self.path.clone()
    }

    /// The payload, read into memory.
    pub(crate) fn read(mut self) -> io::Result<Vec<u8>> {
        let mut payload = Vec::new();
        self.file.seek(SeekFrom::Start(0))?;
        self.file.take(self.payload_bytes).read_to_end(&mut payload)?;
        Ok(payload)
    }
}

impl AotCache {
    /// Opens the cache, and makes its directory and key if they are missing.
    ///
    /// # Errors
    /// A directory or key that cannot be made, or that belongs to another user.
    pub(crate) fn open(
        directory: &Path,
        engine: EngineHash,
        max_bytes: u64,
    ) -> Result<Self, CacheError> {
        let io = |source| CacheError::Io { path: directory.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(io)?;
        own(directory, directory, 0o700)?;
        let key = Key { directory }.read_or_make()?;
        let directory = directory.to_owned();
        Ok(Self { directory, key, engine, max_bytes, temporary: AtomicU64::new(0) })
    }

    /// The entry, if there is one and its MAC holds. An entry that does not hold is removed.
    pub(crate) fn load(&self, kind: EntryKind, digest: &Digest) -> Option<VerifiedEntry> {
        let path = self.path(kind, digest);
        let file = File::open(&path).ok()?;
        match self.verify(kind, digest, file, &path) {
            Ok(Some(entry)) => {
                touch(&entry.file);
                Some(entry)
            }
            Ok(None) => {
                tracing::warn!(path = %path.display(), "a cache entry is corrupt or foreign; compiling again");
                let _ = fs::remove_file(&path);
                None
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a cache entry cannot be read");
                None
            }
        }
    }

    /// Stores an entry: written aside, then renamed into place.
    ///
    /// # Errors
    /// The disk's; the cache is as it was before.
    pub(crate) fn store(&self, kind: EntryKind, digest: &Digest, payload: &[u8]) -> io::Result<()> {
        let count = self.temporary.fetch_add(1, Ordering::Relaxed);
        let aside = self.directory.join(format!(".aside-{}-{count}", std::process::id()));
        let written = self
            .write(&aside, kind, digest, payload)
            .and_then(|()| fs::rename(&aside, self.path(kind, digest)));
        if written.is_err() {
            let _ = fs::remove_file(&aside);
        }
        self.shrink();
        written
    }

    fn path(&self, kind: EntryKind, digest: &Digest) -> PathBuf {
        let name = format!("{}-{}.{}", digest.hex(), self.engine.short_hex(), kind.extension());
        self.directory.join(name)
    }

    fn write(
        &self,
        path: &Path,
        kind: EntryKind,
        digest: &Digest,
        payload: &[u8],
    ) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o400).open(path)?;
        let length = u64::try_from(payload.len()).unwrap_or(u64::MAX);
        let mut mac = self.mac(kind, digest, length);
        mac.update(payload);
        file.write_all(payload)?;
        file.write_all(&length.to_le_bytes())?;
        file.write_all(mac.finalize().as_bytes())?;
        file.write_all(&MAGIC)
    }

    /// The MAC before any of the payload. Everything ahead of the payload has a fixed length.
    fn mac(&self, kind: EntryKind, digest: &Digest, length: u64) -> blake3::Hasher {
        let mut mac = blake3::Hasher::new_keyed(&self.key);
        mac.update(MAC_CONTEXT.as_bytes());
        mac.update(&[match kind {
            EntryKind::Artifact => 0,
            EntryKind::Definitions => 1,
        }]);
        mac.update(digest.as_bytes());
        mac.update(self.engine.as_bytes());
        mac.update(&length.to_le_bytes());
        mac
    }

    /// Reads through a small buffer: pages of the file do not become the host's memory.
    fn verify(
        &self,
        kind: EntryKind,
        digest: &Digest,
        mut file: File,
        path: &Path,
    ) -> io::Result<Option<VerifiedEntry>> {
        let size = file.metadata()?.len();
        let Some(payload_bytes) = size.checked_sub(FOOTER_BYTES) else { return Ok(None) };
        if size > ENTRY_MAX_BYTES {
            return Ok(None);
        }
        let mut mac = self.mac(kind, digest, payload_bytes);
        let read = mac.update_reader((&mut file).take(payload_bytes)).map(|_| ());
        read?;
        let mut footer = Vec::new();
        file.read_to_end(&mut footer)?;
        let mut expected = payload_bytes.to_le_bytes().to_vec();
        expected.extend_from_slice(&MAGIC);
        let Some((length, rest)) = footer.split_first_chunk::<8>() else { return Ok(None) };
        let Some((found, magic)) = rest.split_first_chunk::<32>() else { return Ok(None) };
        // `blake3::Hash` compares in constant time.
        let holds = *length == payload_bytes.to_le_bytes()
            && *magic == MAGIC
            && mac.finalize() == blake3::Hash::from_bytes(*found);
        Ok(holds.then(|| VerifiedEntry { file, payload_bytes, path: path.to_owned() }))
    }

    /// Removes the entries used longest ago until the rest fits. A mapped entry that is removed
    /// lives on until it is unmapped.
    fn shrink(&self) {
        let Ok(listing) = fs::read_dir(&self.directory) else { return };
        let mut entries: Vec<(SystemTime, u64, PathBuf)> = listing
            .filter_map(Result::ok)
            .filter(|entry| entry.file_name() != KEY_FILE)
            .filter_map(|entry| {
                let metadata = entry.metadata().ok().filter(fs::Metadata::is_file)?;
                Some((metadata.modified().ok()?, metadata.len(), entry.path()))
            })
            .collect();
        let mut total: u64 = entries.iter().map(|(_, size, _)| size).sum();
        entries.sort();
        for (_, size, path) in entries {
            if total <= self.max_bytes {
                break;
            }
            if fs::remove_file(path).is_ok() {
                total -= size;
            }
        }
    }
}

/// Marks an entry as used now, by the kernel's clock.
fn touch(file: &File) {
    let now = rustix::fs::Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
    let times = rustix::fs::Timestamps { last_access: now, last_modification: now };
    // An entry that cannot be touched is removed sooner, no more.
    let _ = rustix::fs::futimens(file, &times);
}

/// The key of the MACs, in its file.
struct Key<'a> {
    directory: &'a Path,
}

impl Key<'_> {
    /// A key that others could read, or of the wrong length, is replaced: its entries become
    /// misses.
    fn read_or_make(&self) -> Result<[u8; 32], CacheError> {
        let path = self.directory.join(KEY_FILE);
        if let Some(key) = self.read(&path)? {
            return Ok(key);
        }
        let io = |source| CacheError::Io { path: path.clone(), source };
        let aside = self.directory.join(format!(".key-{}", std::process::id()));
        let _ = fs::remove_file(&aside);
        let made = self.make(&aside).and_then(|()| match fs::hard_link(&aside, &path) {
            // Another process of the host was faster: its key is the key.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        });
        let _ = fs::remove_file(&aside);
        made.map_err(io)?;
        let gone = || io(io::Error::other("the key just made cannot be read"));
        self.read(&path)?.ok_or_else(gone)
    }

    fn read(&self, path: &Path) -> Result<Option<[u8; 32]>, CacheError> {
        let io = |source| CacheError::Io { path: path.to_owned(), source };
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(error)),
        };
        let metadata = file.metadata().map_err(io)?;
        if metadata.uid() != rustix::process::geteuid().as_raw() {
            let directory = self.directory.to_owned();
            return Err(CacheError::Foreign { directory, path: path.to_owned() });
        }
        let mut key = [0; 32];
        if metadata.mode() & 0o077 != 0 || metadata.len() != 32 {
            tracing::warn!(path = %path.display(), "the cache's key was open to others or cut; a new one is made");
            fs::remove_file(path).map_err(io)?;
            return Ok(None);
        }
        file.read_exact(&mut key).map_err(io)?;
        Ok(Some(key))
    }

    fn make(&self, path: &Path) -> io::Result<()> {
        let mut key = [0; 32];
        File::open("/dev/urandom")?.read_exact(&mut key)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(&key)?;
        file.sync_all()
    }
}

/// Takes a file or directory from the reach of other users, or refuses it.
fn own(directory: &Path, path: &Path, mode: u32) -> Result<(), CacheError> {
    use std::os::unix::fs::PermissionsExt as _;
    let io = |source| CacheError::Io { path: path.to_owned(), source };
    let metadata = fs::metadata(path).map_err(io)?;
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(CacheError::Foreign { directory: directory.to_owned(), path: path.to_owned() });
    }
    if metadata.mode() & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(io)?;
    }
    Ok(())
}
