//! The way from a mount to the watched root that it lies in: what calls change is recorded as
//! theirs.
//!
//! A mount may be the directory of a root or lie below it; of roots within each other, the
//! innermost one that holds the whole mount hears of its changes. Deliberately absent: making
//! changes, which the runtime does through the handle of the mount.
//!
//! The invariant: nothing is announced before the root has its baseline, or all that was there
//! before would be taken for news.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use foreshore_domain::grant::Mount;
use foreshore_domain::integrity::{Author, EntryPath};
use foreshore_domain::ports::{
    ChangeNotRecorded, FileChanges, FileEdit, FileWriting, NameChange, Perform, WatchedMount,
};
use foreshore_integrity::{Ledger, WatchedRoot, Writing};

/// How long the first changes of a call wait for a baseline.
const BASELINE_WAIT_MAX: Duration = Duration::from_secs(5);
/// How often they look whether it is there.
const BASELINE_LOOK: Duration = Duration::from_millis(20);

/// Finds the watched roots of mounts.
pub(crate) struct Announcements {
    roots: Vec<(PathBuf, Arc<Root>)>,
}

struct Root {
    watched: Arc<WatchedRoot>,
    ledger: Arc<dyn Ledger>,
    is_baselined: AtomicBool,
}

impl Announcements {
    /// To these roots, each with its directory, all of one ledger.
    pub(crate) fn new(roots: Vec<(PathBuf, Arc<WatchedRoot>)>, ledger: &Arc<dyn Ledger>) -> Self {
        let root = |(path, watched): (PathBuf, _)| {
            let (ledger, is_baselined) = (Arc::clone(ledger), AtomicBool::new(false));
            (path, Arc::new(Root { watched, ledger, is_baselined }))
        };
        Self { roots: roots.into_iter().map(root).collect() }
    }
}

impl FileChanges for Announcements {
    fn of(&self, mount: &Mount) -> Option<Arc<dyn WatchedMount>> {
        let host = mount.host.canonicalize().ok()?;
        let holding = self.roots.iter().filter_map(|(path, root)| {
            let below = host.strip_prefix(path.canonicalize().ok()?).ok()?;
            // The longer what is left, the further out is the root.
            Some((below.components().count(), below.to_owned(), root))
        });
        let (_, below, root) = holding.min_by_key(|(depth, ..)| *depth)?;
        let prefix = EntryPath::from_bytes(below.as_os_str().as_encoded_bytes()).ok()?;
        Some(Arc::new(MountInRoot { root: Arc::clone(root), prefix }))
    }
}

impl Root {
    fn await_baseline(&self) -> Result<(), ChangeNotRecorded> {
        let name = self.watched.name();
        let started = Instant::now();
        while !self.is_baselined.load(Ordering::Acquire) {
            if self.ledger.is_baselined(name).map_err(|error| not_recorded(&error))? {
                self.is_baselined.store(true, Ordering::Release);
            } else if started.elapsed() < BASELINE_WAIT_MAX {
                std::thread::sleep(BASELINE_LOOK);
            } else {
                let message = format!("the first scan of {name} is not over");
                return Err(ChangeNotRecorded { message });
            }
        }
        Ok(())
    }
}

/// A mount, and where in a root it lies.
struct MountInRoot {
    root: Arc<Root>,
    prefix: EntryPath,
}

impl MountInRoot {
    /// A path of the mount as one of the root.
    fn at(&self, path: &EntryPath) -> EntryPath {
        path.moved(&EntryPath::root(), &self.prefix).unwrap_or_else(|| self.prefix.clone())
    }
}

impl WatchedMount for MountInRoot {
    fn change(
        &self,
        author: &Author,
        change: &NameChange,
        perform: Perform<'_>,
    ) -> Result<io::Result<()>, ChangeNotRecorded> {
        self.root.await_baseline()?;
        let watched = &self.root.watched;
        match change {
            NameChange::CreateDirectory { path } => {
                watched.create_directory(author, &self.at(path), perform)
            }
            NameChange::CreateSymlink { path, target } => {
                watched.create_symlink(author, &self.at(path), target, perform)
            }
            NameChange::CreateLink { of, path } => {
                watched.create_link(author, &self.at(of), &self.at(path), perform)
            }
            NameChange::Remove { path } => watched.remove(author, &self.at(path), perform),
            NameChange::Rename { from, to } => {
                watched.rename(author, &self.at(from), &self.at(to), perform)
            }
        }
        .map_err(|error| not_recorded(&error))
    }

    fn open_for_writing(
        &self,
        author: &Author,
        path: &EntryPath,
        truncate: bool,
        open: Perform<'_>,
    ) -> Result<io::Result<Box<dyn FileWriting>>, ChangeNotRecorded> {
        self.root.await_baseline()?;
        let opened = self
            .root
            .watched
            .open_for_writing(author.clone(), &self.at(path), truncate, open)
            .map_err(|error| not_recorded(&error))?;
        Ok(opened.map(|(writing, ())| -> Box<dyn FileWriting> { Box::new(OpenFile(writing)) }))
    }
}

/// A file that a call has open for writing.
struct OpenFile(Writing);

impl FileWriting for OpenFile {
    fn edit(
        &self,
        edit: &FileEdit<'_>,
        perform: Perform<'_>,
    ) -> Result<io::Result<()>, ChangeNotRecorded> {
        match *edit {
            FileEdit::Write { offset, bytes } => self.0.write_at(offset, bytes, perform),
            FileEdit::Append { bytes } => self.0.append(bytes, perform),
            FileEdit::Resize { size_bytes } => self.0.resize(size_bytes, perform),
        }
        .map_err(|error| not_recorded(&error))
    }
}

fn not_recorded(error: &impl std::fmt::Display) -> ChangeNotRecorded {
    ChangeNotRecorded { message: error.to_string() }
}
