//! Puts a state back in its place: all of it, or the place holds what it held.
//!
//! A file or link is made under another name in the same directory, brought to disk, and renamed
//! over the place, so that nobody ever sees half of it.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use cap_fs_ext::DirExt;
use cap_std::fs::{Dir, MetadataExt, OpenOptions, OpenOptionsExt};
use foreshore_domain::blob::BlobDigest;
use foreshore_domain::integrity::{EntryKind, EntryPath, EntryState, unescape};
use rustix::fs::{Gid, Mode, Uid, fchmod, fchown};

use crate::error::PutError;
use crate::judge::WatchedRoot;
use crate::root::is_absence;
use crate::xattrs;

/// What was kept of a state.
pub(crate) struct Kept {
    bytes: Bytes,
    xattrs: Bytes,
}

/// Numbers the names that files have before they are in place.
static NEXT: AtomicU64 = AtomicU64::new(0);

impl WatchedRoot {
    /// Makes `path` hold `wanted`, or nothing.
    pub(crate) fn place(
        &self,
        path: &EntryPath,
        wanted: Option<&EntryState>,
    ) -> Result<(), PutError> {
        self.place_as(&std::process::id().to_string(), path, wanted)
    }

    /// The same, with names for what is not in place yet that whoever `tag`s them finds again.
    pub(crate) fn place_as(
        &self,
        tag: &str,
        path: &EntryPath,
        wanted: Option<&EntryState>,
    ) -> Result<(), PutError> {
        let kept = wanted.map(|state| self.kept(path, state)).transpose()?;
        let failed = |action: &'static str| {
            let path = path.clone();
            move |source| PutError::File { action, path, source }
        };
        let Some((parent, name)) = path.split() else {
            let (Some(state), Some(kept)) = (wanted, kept) else { return Ok(()) };
            return dress(&self.root.top(), state, &kept).map_err(failed("restore"));
        };
        let name = OsStr::from_bytes(name);
        let parent = match self.root.directory(&parent) {
            Ok(parent) => parent,
            Err(error) if wanted.is_none() && is_absence(&error) => return Ok(()),
            Err(error) => return Err(failed("reach")(error)),
        };
        match (wanted, kept) {
            (Some(state), Some(kept)) => {
                put(&parent, name, state, &kept, tag).map_err(failed("write"))?;
            }
            _ => remove(&parent, name).map_err(failed("remove"))?,
        }
        sync(&parent).map_err(failed("sync the directory of"))
    }

    /// Whether a state can be put back, and what of it is kept.
    pub(crate) fn kept(&self, path: &EntryPath, state: &EntryState) -> Result<Kept, PutError> {
        let version = |digest: Option<BlobDigest>| match digest {
            None => Ok(Bytes::new()),
            Some(digest) => self.ledger.version(digest)?.ok_or_else(|| PutError::VersionGone {
                path: path.clone(),
                hash: digest.to_string(),
            }),
        };
        let not_kept = |what| PutError::NotKept { path: path.clone(), what };
        let bytes = match &state.kind {
            EntryKind::File { hash: None } => return Err(not_kept("a file too large to be kept")),
            EntryKind::File { hash } => version(*hash)?,
            EntryKind::Directory | EntryKind::Symlink { .. } => Bytes::new(),
            EntryKind::Fifo => return Err(not_kept("a FIFO")),
            EntryKind::Socket => return Err(not_kept("a socket")),
            EntryKind::Device => return Err(not_kept("a device")),
        };
        Ok(Kept { bytes, xattrs: version(state.xattrs)? })
    }
}

fn put(dir: &Dir, name: &OsStr, state: &EntryState, kept: &Kept, tag: &str) -> io::Result<()> {
    let there = match dir.symlink_metadata(name) {
        Ok(metadata) => Some(metadata),
        Err(error) if is_absence(&error) => None,
        Err(error) => return Err(error),
    };
    let is_directory = there.as_ref().is_some_and(cap_std::fs::Metadata::is_dir);
    if state.is_directory() {
        if !is_directory {
            if there.is_some() {
                dir.remove_file(name)?;
            }
            dir.create_dir(name)?;
        }
        return dress(&dir.open_dir_nofollow(name)?, state, kept);
    }
    let temporary = match &state.kind {
        EntryKind::Symlink { target, .. } => make_link(dir, target, tag)?,
        _ => make_file(dir, state, kept, tag)?,
    };
    let placed = if is_directory { dir.remove_dir(name) } else { Ok(()) }
        .and_then(|()| dir.rename(&temporary, dir, name));
    if placed.is_err() {
        let _ = dir.remove_file(&temporary);
    }
    placed
}

fn make_file(dir: &Dir, state: &EntryState, kept: &Kept, tag: &str) -> io::Result<OsString> {
    let (temporary, mut file) = fresh(tag, |name| {
        dir.open_with(name, OpenOptions::new().write(true).create_new(true).mode(0o600))
    })?;
    let made = file.write_all(&kept.bytes).and_then(|()| {
        let metadata = file.metadata()?;
        give(&file, (metadata.uid(), metadata.gid()), state)?;
        xattrs::write(&file, &kept.xattrs)?;
        // Last: a change of owner takes bits away.
        fchmod(&file, Mode::from_raw_mode(state.mode))?;
        file.sync_all()
    });
    match made {
        Ok(()) => Ok(temporary),
        Err(error) => {
            let _ = dir.remove_file(&temporary);
            Err(error)
        }
    }
}

fn make_link(dir: &Dir, target: &str, tag: &str) -> io::Result<OsString> {
    let target = unescape(target).map(OsString::from_vec);
    let target = target.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
    fresh(tag, |name| dir.symlink_contents(&target, name)).map(|(temporary, ())| temporary)
}

/// Makes something under a name that nothing has.
fn fresh<T>(tag: &str, make: impl Fn(&OsStr) -> io::Result<T>) -> io::Result<(OsString, T)> {
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = OsString::from(format!(".foreshore-{tag}-{number}"));
        match make(&name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made.map(|made| (name, made)),
        }
    }
}

/// Gives a directory its attributes, owner and mode.
fn dress(dir: &Dir, state: &EntryState, kept: &Kept) -> io::Result<()> {
    let handle = dir.open(".")?;
    let metadata = handle.metadata()?;
    give(&handle, (metadata.uid(), metadata.gid()), state)?;
    xattrs::write(&handle, &kept.xattrs)?;
    fchmod(&handle, Mode::from_raw_mode(state.mode))?;
    handle.sync_all()
}

fn give(file: &cap_std::fs::File, owner: (u32, u32), state: &EntryState) -> io::Result<()> {
    if owner != state.owner {
        let (user, group) = state.owner;
        fchown(file, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))?;
    }
    Ok(())
}

fn remove(dir: &Dir, name: &OsStr) -> io::Result<()> {
    let removed = match dir.symlink_metadata(name) {
        Ok(metadata) if metadata.is_dir() => dir.remove_dir(name),
        Ok(_) => dir.remove_file(name),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if is_absence(&error) => Ok(()),
        removed => removed,
    }
}

/// Brings the names of a directory to disk.
pub(crate) fn sync(dir: &Dir) -> io::Result<()> {
    dir.open(".")?.sync_all()
}
