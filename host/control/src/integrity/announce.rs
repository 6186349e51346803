//! The way from a mount to the watched roots: what calls change is recorded as theirs.
//!
//! A mount may be the directory of a root, lie below it, or hold roots; a change outside of all
//! roots is made and not recorded. What moves into a root from elsewhere has no author there,
//! since nothing is known of it. Deliberately absent: roots that look at single files alone,
//! which are the host's own, and making changes, which the runtime does through the handle of
//! the mount.
//!
//! The invariant: nothing is announced before the root has its baseline, or all that was there
//! before would be taken for news.

use std::io;
use std::path::{Path, PathBuf};
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
    /// To these roots, each with its directory, none within another, all of one ledger.
    pub(crate) fn new(roots: Vec<(PathBuf, Arc<WatchedRoot>)>, ledger: &Arc<dyn Ledger>) -> Self {
        let root = |(path, watched): (PathBuf, _)| {
            let (ledger, is_baselined) = (Arc::clone(ledger), AtomicBool::new(false));
            (path, Arc::new(Root { watched, ledger, is_baselined }))
        };
        let whole = roots.into_iter().filter(|(_, watched)| watched.is_whole());
        Self { roots: whole.map(root).collect() }
    }
}

impl FileChanges for Announcements {
    fn of(&self, mount: &Mount) -> Option<Arc<dyn WatchedMount>> {
        let host = mount.host.canonicalize().ok()?;
        let entry = |below: &Path| EntryPath::from_bytes(below.as_os_str().as_encoded_bytes()).ok();
        let mut places = Vec::new();
        for (path, root) in &self.roots {
            let Ok(path) = path.canonicalize() else { continue };
            let (at, prefix) = if let Ok(below) = host.strip_prefix(&path) {
                (EntryPath::root(), entry(below)?)
            } else if let Ok(below) = path.strip_prefix(&host) {
                (entry(below)?, EntryPath::root())
            } else {
                continue;
            };
            places.push(RootInMount { root: Arc::clone(root), at, prefix });
        }
        (!places.is_empty()).then(|| -> Arc<dyn WatchedMount> { Arc::new(Roots(places)) })
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

/// A root and a mount of which one lies in the other.
struct RootInMount {
    root: Arc<Root>,
    /// Where in the mount the root begins.
    at: EntryPath,
    /// Where in the root the mount begins.
    prefix: EntryPath,
}

/// The roots of one mount.
struct Roots(Vec<RootInMount>);

impl Roots {
    /// The root of a path of the mount, and the path there, once the root has its baseline.
    fn find(
        &self,
        path: &EntryPath,
    ) -> Result<Option<(&Arc<WatchedRoot>, EntryPath)>, ChangeNotRecorded> {
        for RootInMount { root, at, prefix } in &self.0 {
            let within = if path == at { Some(prefix.clone()) } else { path.moved(at, prefix) };
            if let Some(within) = within {
                root.await_baseline()?;
                return Ok(Some((&root.watched, within)));
            }
        }
        Ok(None)
    }
}

impl WatchedMount for Roots {
    fn change(
        &self,
        author: &Author,
        change: &NameChange,
        perform: Perform<'_>,
    ) -> Result<io::Result<()>, ChangeNotRecorded> {
        let (path, other) = match change {
            NameChange::CreateDirectory { path }
            | NameChange::CreateSymlink { path, .. }
            | NameChange::Remove { path } => (path, None),
            NameChange::CreateLink { of, path } => (path, Some(of)),
            NameChange::Rename { from, to } => (from, Some(to)),
        };
        let other = other.map(|other| self.find(other)).transpose()?.flatten();
        let Some((watched, path)) = self.find(path)? else { return Ok(perform()) };
        let other = other.filter(|(root, _)| Arc::ptr_eq(root, watched)).map(|(_, path)| path);
        match (change, other) {
            (NameChange::CreateDirectory { .. }, _) => {
                watched.create_directory(author, &path, perform)
            }
            (NameChange::CreateSymlink { target, .. }, _) => {
                watched.create_symlink(author, &path, target, perform)
            }
            (NameChange::CreateLink { .. }, Some(of)) => {
                watched.create_link(author, &of, &path, perform)
            }
            // Another name of a file that no root of this one knows.
            (NameChange::CreateLink { .. }, None) => return Ok(perform()),
            (NameChange::Rename { .. }, Some(to)) => watched.rename(author, &path, &to, perform),
            // Out of the root.
            (NameChange::Rename { .. }, None) | (NameChange::Remove { .. }, _) => {
                watched.remove(author, &path, perform)
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
        let Some((watched, path)) = self.find(path)? else {
            return Ok(open().map(|()| -> Box<dyn FileWriting> { Box::new(Unwatched) }));
        };
        let opened = watched
            .open_for_writing(author.clone(), &path, truncate, open)
            .map_err(|error| not_recorded(&error))?;
        Ok(opened.map(|(writing, ())| -> Box<dyn FileWriting> { Box::new(OpenFile(writing)) }))
    }
}

/// A file of the mount that lies in no root.
struct Unwatched;

impl FileWriting for Unwatched {
    fn edit(
        &self,
        _: &FileEdit<'_>,
        perform: Perform<'_>,
    ) -> Result<io::Result<()>, ChangeNotRecorded> {
        Ok(perform())
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
