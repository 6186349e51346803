//! The one place where a call changes a mount.
//!
//! Where nobody watches the mount, a change is made on the guest's own thread. Where somebody
//! does, it is announced under the name of the call and made within the announcement; that may
//! wait for others and for a disk, so it has a thread of its own. A change that cannot be
//! recorded is not made, and the guest gets an I/O error. Deliberately absent: times of files,
//! which are not watched, and reading.
//!
//! The invariant: what a call did to a watched mount is recorded before the call has ended,
//! however it ends.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use cap_primitives::fs::DirOptions;
use foreshore_domain::ports::{ChangeNotRecorded, FileEdit, FileWriting, NameChange, Perform};
use rustix::io::Errno;
use wasmtime_wasi::p2::FsResult;

use super::Opened;
use super::open::{Open, Opening};
use super::places::Place;
use super::quota::Growth;
use crate::state::{CallScope, Unfinished};

/// A change to the names of a mount.
pub(super) enum Change {
    CreateDirectory(Place),
    Symlink { at: Place, target: String },
    Link { of: Place, at: Place },
    RemoveFile(Place),
    RemoveDirectory(Place),
    Rename { from: Place, to: Place },
}

impl Change {
    /// The path that a failure is about.
    fn subject(&self) -> &str {
        match self {
            Self::CreateDirectory(place)
            | Self::RemoveFile(place)
            | Self::RemoveDirectory(place)
            | Self::Symlink { at: place, .. }
            | Self::Link { at: place, .. }
            | Self::Rename { from: place, .. } => &place.path,
        }
    }

    fn make(&self) -> io::Result<()> {
        use cap_primitives::fs;
        match self {
            Self::CreateDirectory(Place { directory, path }) => {
                fs::create_dir(directory, Path::new(path), &DirOptions::new())
            }
            Self::Symlink { at: Place { directory, path }, target } => {
                fs::symlink(Path::new(target), directory, Path::new(path))
            }
            Self::Link { of, at } => fs::hard_link(
                &of.directory,
                Path::new(&of.path),
                &at.directory,
                Path::new(&at.path),
            ),
            Self::RemoveFile(Place { directory, path }) => {
                fs::remove_file(directory, Path::new(path))
            }
            Self::RemoveDirectory(Place { directory, path }) => {
                fs::remove_dir(directory, Path::new(path))
            }
            Self::Rename { from, to } => fs::rename(
                &from.directory,
                Path::new(&from.path),
                &to.directory,
                Path::new(&to.path),
            ),
        }
    }

    /// The same in the words of who watches.
    fn announced(&self, mount: &Arc<File>) -> io::Result<NameChange> {
        Ok(match self {
            Self::CreateDirectory(place) => {
                NameChange::CreateDirectory { path: place.entry(mount)? }
            }
            Self::Symlink { at, target } => NameChange::CreateSymlink {
                path: at.entry(mount)?,
                target: target.clone().into_bytes(),
            },
            Self::Link { of, at } => {
                NameChange::CreateLink { of: of.entry(mount)?, path: at.entry(mount)? }
            }
            Self::RemoveFile(place) | Self::RemoveDirectory(place) => {
                NameChange::Remove { path: place.entry(mount)? }
            }
            Self::Rename { from, to } => {
                NameChange::Rename { from: from.entry(mount)?, to: to.entry(mount)? }
            }
        })
    }
}

impl CallScope {
    /// Makes a change of names, once there is room for what it adds.
    pub(super) async fn change_names(
        &self,
        opened: &Opened,
        change: Change,
        growth: Option<Growth>,
    ) -> FsResult<()> {
        if let Some(growth) = growth {
            self.reserve(opened, change.subject(), growth)?;
        }
        let (made, result, change) = if let Some(watched) = opened.mount.watched() {
            let (watched, mount) = (Arc::clone(watched), Arc::clone(&opened.mount));
            let author = self.author().clone();
            self.off_thread(move || {
                let mut made = false;
                let result = change.announced(&mount.directory().dir).and_then(|announced| {
                    recorded(watched.change(&author, &announced, &mut || {
                        change.make().inspect(|()| made = true)
                    }))
                });
                (made, result, change)
            })
            .await?
        } else {
            let result = self.timed(|| change.make());
            self.breathe().await;
            (result.is_ok(), result, change)
        };
        if let (false, Some(growth)) = (made, growth) {
            opened.mount.release(growth);
        }
        result.map_err(|error| self.failed(opened, change.subject(), &error).into())
    }

    /// Opens something; for a file that is to be written in a watched mount, gives also what
    /// its edits go through. The outer error is a trap.
    pub(super) async fn open(
        &self,
        opened: &Opened,
        place: Place,
        open: Open,
    ) -> FsResult<io::Result<(Opening, Option<Arc<Authored>>)>> {
        let watched = opened.mount.watched().filter(|_| open.change().is_some());
        let Some(watched) = watched else {
            let opening = self.timed(|| open.open(&place.directory, &place.path, &opened.mount));
            self.breathe().await;
            return Ok(opening.map(|opening| (opening, None)));
        };
        let (watched, mount) = (Arc::clone(watched), Arc::clone(&opened.mount));
        let (author, unfinished) = (self.author().clone(), self.unfinished());
        self.off_thread(move || {
            let mut opening = None;
            let path = place.entry(&mount.directory().dir)?;
            let mut perform = || {
                let done = open.open(&place.directory, &place.path, &mount)?;
                let is_file = matches!(done, Opening::File { .. });
                opening = Some(done);
                // Of what is no file, nothing is to be written.
                if is_file { Ok(()) } else { Err(Errno::PERM.into()) }
            };
            let writing = watched.open_for_writing(&author, &path, open.truncates(), &mut perform);
            match (recorded(writing), opening) {
                (Ok(writing), Some(opening)) => {
                    Ok((opening, Some(Arc::new(Authored::new(writing, unfinished)))))
                }
                (_, Some(opening)) if !matches!(opening, Opening::File { .. }) => {
                    Ok((opening, None))
                }
                (Err(error), _) => Err(error),
                (Ok(_), None) => Err(Errno::IO.into()),
            }
        })
        .await
    }

    /// Edits an open file: on this thread, unless the edit is announced.
    pub(super) async fn edit<T: Send + 'static>(
        self: &Arc<Self>,
        opened: &Opened,
        edit: impl FnOnce(&Self, &Opened) -> T + Send + 'static,
    ) -> FsResult<T> {
        if opened.writing.is_some() {
            let (scope, opened) = (Arc::clone(self), opened.clone());
            return self.off_thread(move || edit(&scope, &opened)).await;
        }
        let done = self.timed(|| edit(self, opened));
        self.breathe().await;
        Ok(done)
    }

    /// Work that may wait for others: not on a thread of the guests. It goes on if the call is
    /// stopped, and the call does not end before it.
    async fn off_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> FsResult<T> {
        let unfinished = self.unfinished();
        let work = move || {
            let done = work();
            drop(unfinished);
            done
        };
        tokio::task::spawn_blocking(work).await.map_err(wasmtime_wasi::p2::FsError::trap)
    }
}

impl Opened {
    /// Makes an edit, announced if the file is watched.
    pub(super) fn edit(&self, edit: &FileEdit<'_>, perform: Perform<'_>) -> io::Result<()> {
        match self.writing.as_ref().and_then(|authored| authored.writing.as_ref()) {
            Some(writing) => recorded(writing.edit(edit, perform)),
            None => perform(),
        }
    }
}

/// A file of a watched mount that a call has open for writing. When the last descriptor or
/// stream of it is dropped, what was written is recorded, on a thread of its own.
pub(super) struct Authored {
    /// Always there until the drop.
    writing: Option<Box<dyn FileWriting>>,
    unfinished: Unfinished,
}

impl Authored {
    fn new(writing: Box<dyn FileWriting>, unfinished: Unfinished) -> Self {
        Self { writing: Some(writing), unfinished }
    }
}

impl Drop for Authored {
    fn drop(&mut self) {
        let (writing, unfinished) = (self.writing.take(), self.unfinished.clone());
        let close = move || {
            drop(writing);
            drop(unfinished);
        };
        match tokio::runtime::Handle::try_current() {
            Ok(handle) => drop(handle.spawn_blocking(close)),
            Err(_) => close(),
        }
    }
}

/// What the guest gets for a change that could not be recorded says nothing about the host; the
/// operator's log says why.
fn recorded<T>(announced: Result<io::Result<T>, ChangeNotRecorded>) -> io::Result<T> {
    announced.unwrap_or_else(|error| {
        tracing::warn!(%error, "a change of a call is refused");
        Err(Errno::IO.into())
    })
}
