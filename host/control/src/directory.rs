//! The components directory: what lies there, and how a file is put there or taken away.
//!
//! Everything goes through one directory handle (cap-std), so neither a name nor a symbolic
//! link leads out of it. Deliberately absent: what the files mean; see `components`. The
//! invariant: a file of ours appears under its name whole or not at all.

use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use cap_std::ambient_authority;
use cap_std::fs::{Dir, Metadata, OpenOptions};
use cap_std::time::SystemTime;

/// The ending of a file that holds a component.
const ENDING: &str = ".wasm";

/// The directory. Cheap to clone; its calls block.
#[derive(Clone)]
pub(crate) struct Directory {
    path: Arc<Path>,
    dir: Arc<Dir>,
    temporary_files: Arc<AtomicU64>,
}

/// Tells two states of a file apart without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    size_bytes: u64,
    modified: Option<SystemTime>,
    #[cfg(unix)]
    inode: u64,
    #[cfg(unix)]
    changed: (i64, i64),
}

impl Directory {
    /// Opens the directory, or makes it.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Dir::create_ambient_dir_all(path, ambient_authority())?;
        // Absolute, for the watcher and for whoever reads where a component came from.
        let path = path.canonicalize()?;
        let dir = Dir::open_ambient_dir(&path, ambient_authority())?;
        Ok(Self {
            path: path.into(),
            dir: Arc::new(dir),
            temporary_files: Arc::new(AtomicU64::new(0)),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where a file of this name is.
    pub(crate) fn path_of(&self, file: &str) -> PathBuf {
        self.path.join(file)
    }

    /// All files that may hold a component, in no order. Hidden files are not looked at: they
    /// are what copies in progress are called.
    pub(crate) fn list(&self) -> io::Result<Vec<(String, Stamp)>> {
        let mut files = Vec::new();
        for entry in self.dir.entries()? {
            let Ok(name) = entry?.file_name().into_string() else { continue };
            if !is_component_file(&name) {
                continue;
            }
            // Gone since, a directory, or a link that leads out: not a component's file.
            if let Ok(metadata) = self.dir.metadata(&name)
                && metadata.is_file()
            {
                files.push((name, Stamp::of(&metadata)));
            }
        }
        Ok(files)
    }

    /// The state of one file.
    pub(crate) fn stamp(&self, file: &str) -> io::Result<Stamp> {
        self.dir.metadata(file).map(|metadata| Stamp::of(&metadata))
    }

    /// What a file holds, cut one byte past `max_bytes` so that the loader sees it is too large.
    pub(crate) fn read(&self, file: &str, max_bytes: u64) -> io::Result<Bytes> {
        let file = self.dir.open(file)?;
        let mut bytes = Vec::new();
        file.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
        Ok(bytes.into())
    }

    /// Puts a file in place, on disk when this returns.
    pub(crate) fn write(&self, file: &str, bytes: &[u8]) -> io::Result<Stamp> {
        let number = self.temporary_files.fetch_add(1, Ordering::Relaxed);
        let temporary = format!(".{file}.{}.{number}.part", std::process::id());
        let written = self.write_and_rename(&temporary, file, bytes);
        if written.is_err() {
            // Nothing more can be done about it; hidden files are never loaded.
            let _ = self.dir.remove_file(&temporary);
        }
        written?;
        self.stamp(file)
    }

    fn write_and_rename(&self, temporary: &str, file: &str, bytes: &[u8]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        let mut part = self.dir.open_with(temporary, &options)?;
        part.write_all(bytes)?;
        part.sync_all()?;
        self.dir.rename(temporary, &self.dir, file)?;
        self.sync()
    }

    /// Takes a file away; one that is not there is away already.
    pub(crate) fn remove(&self, file: &str) -> io::Result<()> {
        match self.dir.remove_file(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => self.sync(),
        }
    }

    /// A name is on disk when its directory is.
    fn sync(&self) -> io::Result<()> {
        self.dir.open(".")?.sync_all()
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        use cap_std::fs::MetadataExt as _;
        Self {
            size_bytes: metadata.len(),
            modified: metadata.modified().ok(),
            #[cfg(unix)]
            inode: metadata.ino(),
            // Moves even where a copy has set the time of modification back.
            #[cfg(unix)]
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

pub(crate) fn is_component_file(name: &str) -> bool {
    name.ends_with(ENDING) && !name.starts_with('.')
}

/// `hello@0.1.0` of `hello@0.1.0.wasm`.
pub(crate) fn stem(file: &str) -> &str {
    file.strip_suffix(ENDING).unwrap_or(file)
}

/// `hello@0.1.0.wasm` of `hello@0.1.0`.
pub(crate) fn file_of(stem: &impl std::fmt::Display) -> String {
    format!("{stem}{ENDING}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> (tempfile::TempDir, Directory) {
        let place = tempfile::tempdir().expect("a directory");
        let directory = Directory::open(&place.path().join("made")).expect("made and opened");
        (place, directory)
    }

    #[test]
    fn a_file_is_written_whole_and_leaves_nothing_else_behind() {
        let (_place, directory) = directory();
        let first = directory.write("a.wasm", b"one").expect("written");
        let second = directory.write("a.wasm", b"two").expect("replaced");
        assert_ne!(first, second);
        assert_eq!(directory.list().expect("listed"), [("a.wasm".to_owned(), second)]);
        assert_eq!(directory.read("a.wasm", 100).expect("read"), "two");
        assert_eq!(std::fs::read_dir(directory.path()).expect("a directory").count(), 1);
        directory.remove("a.wasm").expect("removed");
        directory.remove("a.wasm").expect("away already");
        assert!(directory.list().expect("listed").is_empty());
    }

    #[test]
    fn only_plain_files_with_the_ending_are_seen() {
        let (place, directory) = directory();
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at(".a.wasm"), "hidden").expect("written");
        std::fs::write(at("a.txt"), "text").expect("written");
        std::fs::create_dir(at("d.wasm")).expect("made");
        std::fs::write(place.path().join("out.wasm"), "outside").expect("written");
        #[cfg(unix)]
        std::os::unix::fs::symlink("../out.wasm", at("link.wasm")).expect("linked");
        assert!(directory.list().expect("listed").is_empty());
        #[cfg(unix)]
        assert!(directory.read("link.wasm", 100).is_err(), "a link led out of the directory");
    }

    #[test]
    fn a_name_that_leads_out_is_refused() {
        let (_place, directory) = directory();
        assert!(directory.read("../out.wasm", 100).is_err());
        assert!(directory.remove("../out.wasm").is_err());
    }

    #[test]
    fn a_large_file_is_read_one_byte_past_the_limit() {
        let (_place, directory) = directory();
        directory.write("a.wasm", &[7; 100]).expect("written");
        assert_eq!(directory.read("a.wasm", 10).expect("read").len(), 11);
    }
}
