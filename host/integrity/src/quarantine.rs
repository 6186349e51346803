//! Moves what somebody put into a root out of it, where only the owner of this process reaches
//! it: the directory of the quarantine gets mode 0700, and what is in it is reached through it
//! alone, whatever its own mode. A directory stays; what is in it is moved, entry by entry.
//!
//! Across file systems a file is copied after it left its place, and removed once the copy is
//! on disk: it is always in one of the two.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;

use cap_fs_ext::{FollowSymlinks, OpenOptionsFollowExt};
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt, Permissions, PermissionsExt};
use foreshore_domain::integrity::{Author, Change, ChangeKind, EntryPath, EntryState, HostAct};

use crate::batch::Batch;
use crate::error::PutError;
use crate::judge::WatchedRoot;
use crate::look::hash_of;
use crate::place::sync;
use crate::respond::Report;

impl WatchedRoot {
    /// Moves what a change from outside left out of the root.
    pub(crate) fn isolate(&self, change: &Change) -> Vec<Change> {
        let movable = change.after.as_ref().is_some_and(|state| !state.is_directory());
        if !movable {
            self.observer.report(self.name(), Report::Alert(Box::new(change.clone())));
            return Vec::new();
        }
        let path = change.path.clone();
        match self.quarantine(&path) {
            Ok((to, changes)) => {
                self.observer.report(self.name(), Report::Quarantined { path, to });
                changes
            }
            Err(error) => {
                self.observer.report(self.name(), Report::NotQuarantined { path, error });
                self.observer.report(self.name(), Report::Alert(Box::new(change.clone())));
                Vec::new()
            }
        }
    }

    fn quarantine(&self, path: &EntryPath) -> Result<(std::path::PathBuf, Vec<Change>), PutError> {
        let failed = |action: &'static str| {
            let path = path.clone();
            move |source| PutError::File { action, path, source }
        };
        let missing = || io::Error::new(io::ErrorKind::NotFound, "no quarantine is configured");
        let quarantine = self.root.quarantine.as_ref();
        let quarantine = quarantine.ok_or_else(missing).map_err(failed("isolate"))?;
        let (parent, name) = path
            .split()
            .ok_or_else(|| io::Error::other("it is the root itself"))
            .map_err(failed("isolate"))?;
        let parent = self.root.directory(&parent).map_err(failed("reach"))?;
        let to = move_out(&parent, OsStr::from_bytes(name), quarantine, path)
            .map_err(failed("isolate"))?;
        let mut batch = Batch::default();
        let before: Option<EntryState> = self.ledger.known(self.name(), path)?;
        if before.is_some() {
            batch.push(Change {
                root: self.name().clone(),
                path: path.clone(),
                kind: ChangeKind::Deleted,
                before,
                after: None,
                author: Author::Host(HostAct::Quarantine),
            });
        }
        let changes = self.record(batch)?;
        // Whoever put it there may have put another there since.
        self.suspects.add(path.clone());
        let directory = self.root.config.quarantine.clone().unwrap_or_default();
        Ok((directory.join(to), changes))
    }
}

fn move_out(dir: &Dir, name: &OsStr, to: &Dir, path: &EntryPath) -> io::Result<OsString> {
    to.set_permissions(".", Permissions::from_mode(0o700))?;
    let hash = hash_of(path.as_bytes()).to_string();
    let stem = hash.get(7..23).unwrap_or_default().to_owned();
    for number in 0..u32::MAX {
        let target = OsString::from(format!("{stem}-{number}"));
        // Takes the name, so that nothing in quarantine is ever overwritten.
        let taken =
            to.open_with(&target, OpenOptions::new().write(true).create_new(true).mode(0o600));
        match taken {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(error),
        }
        let moved = match dir.rename(name, to, &target) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                copy_out(dir, name, to, &target)
            }
            moved => moved,
        };
        if let Err(error) = moved {
            let _ = to.remove_file(&target);
            return Err(error);
        }
        sync(to)?;
        sync(dir)?;
        return Ok(target);
    }
    Err(io::ErrorKind::StorageFull.into())
}

fn copy_out(dir: &Dir, name: &OsStr, to: &Dir, target: &OsStr) -> io::Result<()> {
    if !dir.symlink_metadata(name)?.is_file() {
        // A link, a FIFO or a socket holds nothing: its record says all of it.
        return dir.remove_file(name);
    }
    let aside = OsString::from(format!(".foreshore-{}-aside", target.display()));
    dir.rename(name, dir, &aside)?;
    let copied = (|| {
        let mut from =
            dir.open_with(&aside, OpenOptions::new().read(true).follow(FollowSymlinks::No))?;
        let mut into = to.open_with(target, OpenOptions::new().write(true).truncate(true))?;
        io::copy(&mut from, &mut into)?;
        into.sync_all()
    })();
    match copied {
        Ok(()) => dir.remove_file(&aside),
        Err(error) => {
            dir.rename(&aside, dir, name)?;
            Err(error)
        }
    }
}
