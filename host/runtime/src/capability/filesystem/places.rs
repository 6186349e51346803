//! Where in a mount a path leads, in the words of who watches the mount.
//!
//! The kernel says where the directory of the guest's descriptor is by now, whatever it was
//! called when it was opened. For names alone: nothing is opened by what is found here.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use foreshore_domain::integrity::EntryPath;
use rustix::io::Errno;

/// A path that a guest gave, and the directory from where it leads.
pub(super) struct Place {
    pub(super) directory: Arc<File>,
    pub(super) path: String,
}

impl Place {
    /// The path from the directory of the mount.
    ///
    /// # Errors
    /// The directory is no longer in the mount, or a name holds a NUL.
    pub(super) fn entry(&self, mount: &Arc<File>) -> io::Result<EntryPath> {
        let mut entry = EntryPath::root();
        if !Arc::ptr_eq(&self.directory, mount) {
            let (directory, mount) = (location(&self.directory)?, location(mount)?);
            let below = directory.strip_prefix(mount).map_err(|_| Errno::STALE)?;
            entry = joined(entry, below)?;
        }
        joined(entry, &self.climbed())
    }

    /// The path without `..`, which after a link leads elsewhere than its text says.
    fn climbed(&self) -> PathBuf {
        let path = Path::new(&self.path);
        if !path.components().any(|part| part == Component::ParentDir) {
            return path.to_owned();
        }
        let resolved = |path: &Path| {
            let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
            cap_primitives::fs::canonicalize(&self.directory, path)
        };
        let climbed = match (path.parent(), path.file_name()) {
            // The last name itself may be that of a link, which is not followed here.
            (Some(parent), Some(name)) => resolved(parent).map(|parent| parent.join(name)),
            _ => resolved(path),
        };
        // What does not resolve is not changed either.
        climbed.unwrap_or_else(|_| path.to_owned())
    }
}

/// The text of `..` counts where nothing better is known.
fn joined(mut entry: EntryPath, path: &Path) -> io::Result<EntryPath> {
    for part in path.components() {
        match part {
            Component::Normal(name) => {
                entry = entry.join(name.as_bytes()).map_err(|_| Errno::INVAL)?;
            }
            Component::ParentDir => {
                entry = entry.split().map_or_else(EntryPath::root, |(parent, _)| parent);
            }
            Component::Prefix(_) | Component::RootDir | Component::CurDir => {}
        }
    }
    Ok(entry)
}

fn location(directory: &File) -> io::Result<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{}", directory.as_raw_fd()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path) -> Arc<File> {
        Arc::new(File::open(path).expect("opens"))
    }

    #[test]
    fn a_place_is_where_the_kernel_finds_it_and_not_what_its_text_says() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name);
        std::fs::create_dir_all(at("mount/a/b")).expect("made");
        std::os::unix::fs::symlink("a/b", at("mount/link")).expect("linked");
        let (mount, below) = (open(&at("mount")), open(&at("mount/a")));
        let entry = |directory: &Arc<File>, path: &str| {
            let place = Place { directory: Arc::clone(directory), path: path.to_owned() };
            place.entry(&mount).map(|entry| entry.to_string())
        };
        assert_eq!(entry(&mount, "./x//y/").expect("a place"), "x/y");
        assert_eq!(entry(&mount, "link/../x").expect("a place"), "a/x", "not x");
        assert_eq!(entry(&mount, "link/x").expect("a place"), "link/x");
        assert_eq!(entry(&below, "b/x").expect("a place"), "a/b/x");
        std::fs::rename(at("mount/a"), at("mount/z")).expect("renamed");
        assert_eq!(entry(&below, "x").expect("a place"), "z/x");
        std::fs::rename(at("mount/z"), at("gone")).expect("renamed");
        assert!(entry(&below, "x").is_err(), "it is not in the mount");
        assert!(entry(&mount, "a\0b").is_err());
    }
}
