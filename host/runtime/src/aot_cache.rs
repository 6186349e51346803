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
    /// What the component says of its agent.
    Description,
}

impl EntryKind {
    fn extension(self) -> &'static str {
        match self {
            Self::Artifact => "cwasm",
            Self::Definitions => "tools",
            Self::Description => "agent",
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
    /// What is there, as far as this process knows: listing the directory on each store would
    /// cost more than the store.
    held_bytes: AtomicU64,
    /// Numbers the files written aside.
    aside: AtomicU64,
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
        let (held_bytes, aside) = (AtomicU64::new(0), AtomicU64::new(0));
        let cache = Self { directory, key, engine, max_bytes, held_bytes, aside };
        cache.shrink();
        Ok(cache)
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
        let number = self.aside.fetch_add(1, Ordering::Relaxed);
        let aside = self.directory.join(format!(".aside-{}-{number}", std::process::id()));
        let written = self
            .write(&aside, kind, digest, payload)
            .and_then(|()| fs::rename(&aside, self.path(kind, digest)));
        if written.is_err() {
            let _ = fs::remove_file(&aside);
        }
        let added = length(payload).saturating_add(FOOTER_BYTES);
        let held = self.held_bytes.fetch_add(added, Ordering::Relaxed).saturating_add(added);
        if held > self.max_bytes {
            self.shrink();
        }
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
        let length = length(payload);
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
            EntryKind::Description => 2,
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
        mac.update_reader((&mut file).take(payload_bytes))?;
        let mut footer = Vec::new();
        (&mut file).take(FOOTER_BYTES).read_to_end(&mut footer)?;
        let Some((length, rest)) = footer.split_first_chunk::<8>() else { return Ok(None) };
        let Some((found, magic)) = rest.split_first_chunk::<32>() else { return Ok(None) };
        // `blake3::Hash` compares in constant time.
        let holds = *length == payload_bytes.to_le_bytes()
            && magic == MAGIC
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
        self.held_bytes.store(total, Ordering::Relaxed);
    }
}

fn length(payload: &[u8]) -> u64 {
    u64::try_from(payload.len()).unwrap_or(u64::MAX)
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
        // No two openings share a file, in this process or another.
        static OPENINGS: AtomicU64 = AtomicU64::new(0);
        let number = OPENINGS.fetch_add(1, Ordering::Relaxed);
        let aside = self.directory.join(format!(".key-{}-{number}", std::process::id()));
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const ENGINE: EngineHash = EngineHash::from_bytes([7; 32]);
    const OTHER_ENGINE: EngineHash = EngineHash::from_bytes([8; 32]);

    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            Self(tempfile::tempdir().expect("a directory"))
        }

        fn path(&self) -> PathBuf {
            self.0.path().join("cache")
        }

        fn open(&self, engine: EngineHash) -> AotCache {
            AotCache::open(&self.path(), engine, 1 << 20).expect("a cache")
        }
    }

    fn digest(n: u8) -> Digest {
        Digest::of(&[n])
    }

    fn load(cache: &AotCache, kind: EntryKind, digest: &Digest) -> Option<Vec<u8>> {
        cache.load(kind, digest).map(|entry| entry.read().expect("readable"))
    }

    #[test]
    fn what_was_stored_is_loaded_even_by_the_next_process() {
        let place = Place::new();
        let payload: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
        for payload in [&payload[..], b""] {
            let stored = place.open(ENGINE).store(EntryKind::Artifact, &digest(1), payload);
            stored.expect("stored");
            let found = load(&place.open(ENGINE), EntryKind::Artifact, &digest(1));
            assert_eq!(found.as_deref(), Some(payload));
        }
        assert_eq!(load(&place.open(ENGINE), EntryKind::Artifact, &digest(2)), None);
        assert_eq!(load(&place.open(ENGINE), EntryKind::Definitions, &digest(1)), None);
    }

    #[test]
    fn an_entry_with_any_byte_changed_is_a_miss() {
        let place = Place::new();
        let cache = place.open(ENGINE);
        let path = cache.path(EntryKind::Artifact, &digest(1));
        let payload: Vec<u8> = (0..=255).cycle().take(300).collect();
        cache.store(EntryKind::Artifact, &digest(1), &payload).expect("stored");
        let good = fs::read(&path).expect("readable");
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            replace(&path, &bad);
            assert_eq!(load(&cache, EntryKind::Artifact, &digest(1)), None, "byte {at}");
            assert!(!path.exists(), "a bad entry is removed");
        }
        replace(&path, &good);
        assert_eq!(load(&cache, EntryKind::Artifact, &digest(1)), Some(payload));
    }

    #[test]
    fn an_entry_that_is_cut_or_longer_is_a_miss() {
        let place = Place::new();
        let cache = place.open(ENGINE);
        let path = cache.path(EntryKind::Artifact, &digest(1));
        cache.store(EntryKind::Artifact, &digest(1), &[1; 100]).expect("stored");
        let good = fs::read(&path).expect("readable");
        for end in 0..good.len() {
            replace(&path, &good[..end]);
            assert_eq!(load(&cache, EntryKind::Artifact, &digest(1)), None, "{end} bytes");
        }
        for more in [&b"\0"[..], &good] {
            replace(&path, &[&good, more].concat());
            assert_eq!(load(&cache, EntryKind::Artifact, &digest(1)), None);
        }
    }

    #[test]
    fn an_entry_in_the_place_of_another_is_a_miss() {
        let place = Place::new();
        let cache = place.open(ENGINE);
        for n in [1, 2] {
            cache.store(EntryKind::Artifact, &digest(n), &[n; 100]).expect("stored");
        }
        cache.store(EntryKind::Definitions, &digest(1), &[3; 100]).expect("stored");
        let path = |kind, n| cache.path(kind, &digest(n));
        let read = |kind, n| fs::read(path(kind, n)).expect("readable");
        let (one, two) = (read(EntryKind::Artifact, 1), read(EntryKind::Artifact, 2));
        let definitions = read(EntryKind::Definitions, 1);
        replace(&path(EntryKind::Artifact, 1), &two);
        replace(&path(EntryKind::Artifact, 2), &one);
        for n in [1, 2] {
            assert_eq!(load(&cache, EntryKind::Artifact, &digest(n)), None, "swapped {n}");
        }
        replace(&path(EntryKind::Artifact, 1), &definitions);
        assert_eq!(load(&cache, EntryKind::Artifact, &digest(1)), None, "of another kind");
    }

    #[test]
    fn an_entry_of_another_engine_or_another_key_is_a_miss() {
        let (place, elsewhere) = (Place::new(), Place::new());
        let (cache, foreign) = (place.open(ENGINE), elsewhere.open(ENGINE));
        let other = place.open(OTHER_ENGINE);
        other.store(EntryKind::Artifact, &digest(1), b"code").expect("stored");
        assert_eq!(load(&cache, EntryKind::Artifact, &digest(1)), None);
        let entry = fs::read(other.path(EntryKind::Artifact, &digest(1))).expect("readable");
        replace(&cache.path(EntryKind::Artifact, &digest(1)), &entry);
        assert_eq!(load(&cache, EntryKind::Artifact, &digest(1)), None, "renamed");

        foreign.store(EntryKind::Artifact, &digest(2), b"code").expect("stored");
        let entry = fs::read(foreign.path(EntryKind::Artifact, &digest(2))).expect("readable");
        replace(&cache.path(EntryKind::Artifact, &digest(2)), &entry);
        assert_eq!(load(&cache, EntryKind::Artifact, &digest(2)), None, "made with another key");
    }

    #[test]
    fn key_and_directory_are_for_the_host_alone() {
        let place = Place::new();
        let mode = |path: &Path| fs::metadata(path).expect("there").mode() & 0o777;
        let cache = place.open(ENGINE);
        let key = place.path().join(KEY_FILE);
        assert_eq!((mode(&place.path()), mode(&key)), (0o700, 0o600));
        cache.store(EntryKind::Artifact, &digest(1), b"code").expect("stored");
        assert_eq!(mode(&cache.path(EntryKind::Artifact, &digest(1))), 0o400);

        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o777)).expect("set");
        assert_eq!(place.open(ENGINE).key, cache.key);
        assert_eq!(mode(&place.path()), 0o700, "an open directory is closed");
    }

    #[test]
    fn a_key_that_was_open_to_others_or_cut_is_replaced_and_its_entries_are_misses() {
        let place = Place::new();
        let spoil: [&dyn Fn(&Path); 2] = [
            &|key| fs::set_permissions(key, fs::Permissions::from_mode(0o644)).expect("set"),
            &|key| fs::write(key, [0; 31]).expect("written"),
        ];
        for spoil in spoil {
            let before = place.open(ENGINE);
            before.store(EntryKind::Artifact, &digest(1), b"code").expect("stored");
            spoil(&place.path().join(KEY_FILE));
            let after = place.open(ENGINE);
            assert_ne!(before.key, after.key);
            assert_eq!(load(&after, EntryKind::Artifact, &digest(1)), None);
        }
    }

    #[test]
    fn processes_that_start_together_agree_on_the_key() {
        let place = Place::new();
        let keys: Vec<[u8; 32]> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| place.open(ENGINE).key)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    }

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let place = Place::new();
        let cache = AotCache::open(&place.path(), ENGINE, 3_500).expect("a cache");
        for n in 0..3 {
            cache.store(EntryKind::Artifact, &digest(n), &[n; 1_000]).expect("stored");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        assert!(load(&cache, EntryKind::Artifact, &digest(0)).is_some(), "and is used");
        cache.store(EntryKind::Artifact, &digest(3), &[3; 1_000]).expect("stored");
        let left: Vec<u8> =
            (0..4).filter(|n| load(&cache, EntryKind::Artifact, &digest(*n)).is_some()).collect();
        assert_eq!(left, [0, 2, 3]);
        assert!(place.path().join(KEY_FILE).exists());
    }

    #[test]
    fn a_verified_entry_stays_what_it_was_when_its_name_moves_on() {
        let place = Place::new();
        let cache = place.open(ENGINE);
        cache.store(EntryKind::Artifact, &digest(1), b"first").expect("stored");
        let entry = cache.load(EntryKind::Artifact, &digest(1)).expect("there");
        cache.store(EntryKind::Artifact, &digest(1), b"other").expect("stored");
        let found = fs::read(entry.path_to_open_file()).expect("readable");
        assert!(found.starts_with(b"first"));
    }

    /// Puts bytes where an entry was, as somebody with access to the directory could.
    fn replace(path: &Path, bytes: &[u8]) {
        let _ = fs::remove_file(path);
        fs::write(path, bytes).expect("written");
    }
}
