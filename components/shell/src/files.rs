//! The files of the mounts, by guest paths in full.
//!
//! The one way of the shell to the file system. Each function that changes something begins with
//! `change`, so the invariant holds in one place: a `Looks` changes nothing, whatever the script
//! says, and a read-only mount is refused before anything is tried.

use std::fs::{self, File, FileTimes, Metadata, OpenOptions};
use std::io;
use std::time::SystemTime;

use crate::fault::{DenialCode, Reason};
use crate::mounts::{Access, Mounts, Place, Spot};

/// What a script may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Runs,
    Looks,
}

/// The files that a script can reach.
#[derive(Debug)]
pub(crate) struct Files {
    mounts: Mounts,
    mode: Mode,
}

/// What is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    Link,
    Other,
}

/// What is known of a path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    pub(crate) kind: Kind,
    pub(crate) bytes: u64,
    /// `None` for a directory above the mounts.
    pub(crate) modified: Option<SystemTime>,
    pub(crate) access: Access,
}

/// A name in a directory. A link is shown as one.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

/// How a file is opened for writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writing {
    Replace,
    Append,
}

/// Whether a link is looked through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Links {
    Follow,
    Show,
}

impl Files {
    pub(crate) fn new(mounts: Mounts, mode: Mode) -> Self {
        Self { mounts, mode }
    }

    pub(crate) fn start(&self) -> String {
        self.mounts.start()
    }

    pub(crate) fn facts(&self, path: &str, links: Links) -> Result<Facts, Reason> {
        let place = match self.mounts.resolve(path)? {
            Spot::Place(place) => place,
            Spot::Above => {
                let access = Access::ReadOnly;
                return Ok(Facts { kind: Kind::Directory, bytes: 0, modified: None, access });
            }
        };
        let metadata = match links {
            Links::Follow => fs::metadata(&place.location),
            Links::Show => fs::symlink_metadata(&place.location),
        };
        let metadata = metadata.map_err(|error| Reason::from_io(&error, path))?;
        Ok(Facts {
            kind: Kind::of(&metadata),
            bytes: metadata.len(),
            modified: metadata.modified().ok(),
            access: place.access,
        })
    }

    /// What is there, links looked through; `None` if it cannot be reached.
    pub(crate) fn kind(&self, path: &str) -> Option<Kind> {
        self.facts(path, Links::Follow).ok().map(|facts| facts.kind)
    }

    /// The names in a directory, sorted by their bytes, without `.` and `..`.
    pub(crate) fn list(&self, path: &str) -> Result<Vec<Entry>, Reason> {
        let mut entries: Vec<Entry> = Vec::new();
        if let Spot::Place(place) = self.mounts.resolve(path)? {
            let failed = |error: io::Error| Reason::from_io(&error, path);
            for entry in fs::read_dir(&place.location).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let kind = entry.file_type().map_or(Kind::Other, Kind::from);
                entries
                    .push(Entry { name: entry.file_name().to_string_lossy().into_owned(), kind });
            }
        }
        for name in self.mounts.names_below(path) {
            if !entries.iter().any(|entry| entry.name == name) {
                entries.push(Entry { name, kind: Kind::Directory });
            }
        }
        entries.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(entries)
    }

    pub(crate) fn open(&self, path: &str) -> Result<File, Reason> {
        let Spot::Place(place) = self.mounts.resolve(path)? else {
            return Err(Reason::IsDirectory);
        };
        let failed = |error: io::Error| Reason::from_io(&error, path);
        let file = File::open(&place.location).map_err(failed)?;
        // A directory opens and cannot be read.
        if file.metadata().map_err(failed)?.is_dir() {
            return Err(Reason::IsDirectory);
        }
        Ok(file)
    }

    pub(crate) fn create(&self, path: &str, writing: Writing) -> Result<File, Reason> {
        let place = self.change(path)?;
        if self.kind(path) == Some(Kind::Directory) {
            return Err(Reason::IsDirectory);
        }
        let mut options = OpenOptions::new();
        options.create(true);
        match writing {
            Writing::Replace => options.write(true).truncate(true),
            Writing::Append => options.append(true),
        };
        options.open(&place.location).map_err(|error| Reason::from_io(&error, path))
    }

    pub(crate) fn make_directory(&self, path: &str) -> Result<(), Reason> {
        let place = match self.change(path) {
            Err(Reason::Mount) => return Err(Reason::Exists),
            place => place?,
        };
        fs::create_dir(&place.location).map_err(|error| Reason::from_io(&error, path))
    }

    pub(crate) fn remove_directory(&self, path: &str) -> Result<(), Reason> {
        let place = self.change(path)?;
        fs::remove_dir(&place.location).map_err(|error| Reason::from_io(&error, path))
    }

    pub(crate) fn remove_file(&self, path: &str) -> Result<(), Reason> {
        let place = self.change(path)?;
        fs::remove_file(&place.location).map_err(|error| Reason::from_io(&error, path))
    }

    /// Renames within a mount; `Ok(false)` if the two lie on different file systems.
    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<bool, Reason> {
        let (from_place, to_place) = (self.change(from)?, self.change(to)?);
        match fs::rename(&from_place.location, &to_place.location) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let missing = self.facts(from, Links::Show).is_err();
                Err(Reason::from_io(&error, if missing { from } else { to }))
            }
            Err(error) => Err(Reason::from_io(&error, to)),
        }
    }

    /// Sets when a file was changed last.
    pub(crate) fn set_modified(&self, path: &str, time: SystemTime) -> Result<(), Reason> {
        let place = self.change(path)?;
        let times = FileTimes::new().set_modified(time).set_accessed(time);
        File::open(&place.location)
            .and_then(|file| file.set_times(times))
            .map_err(|error| Reason::from_io(&error, path))
    }

    /// Where a link leads, as its text says.
    pub(crate) fn link(&self, path: &str) -> Result<String, Reason> {
        let Spot::Place(place) = self.mounts.resolve(path)? else {
            return Err(Reason::IsDirectory);
        };
        let target =
            fs::read_link(&place.location).map_err(|error| Reason::from_io(&error, path))?;
        Ok(target.to_string_lossy().into_owned())
    }

    /// The place to change something at.
    pub(crate) fn change(&self, path: &str) -> Result<Place, Reason> {
        if self.mode == Mode::Looks {
            return Err(Reason::LooksOnly);
        }
        match self.mounts.resolve(path)? {
            Spot::Above => Err(Reason::Mount),
            Spot::Place(place) if place.is_mount => Err(Reason::Mount),
            Spot::Place(place) if place.access == Access::ReadOnly => {
                Err(Reason::denied(DenialCode::ReadOnly, path))
            }
            Spot::Place(place) => Ok(place),
        }
    }
}

impl Kind {
    fn of(metadata: &Metadata) -> Self {
        Self::from(metadata.file_type())
    }

    pub(crate) fn letter(self) -> char {
        match self {
            Self::File => '-',
            Self::Directory => 'd',
            Self::Link => 'l',
            Self::Other => '?',
        }
    }
}

impl From<fs::FileType> for Kind {
    fn from(kind: fs::FileType) -> Self {
        match kind {
            kind if kind.is_file() => Self::File,
            kind if kind.is_dir() => Self::Directory,
            kind if kind.is_symlink() => Self::Link,
            _ => Self::Other,
        }
    }
}
