//! A watched directory: its handle, what of it is looked at, and how.
//!
//! The invariant: below the handle, a path is walked name by name and no link is followed.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use cap_fs_ext::DirExt;
use cap_std::ambient_authority;
use cap_std::fs::{Dir, MetadataExt};
use foreshore_domain::integrity::{EntryPath, RootName, RootPolicy};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::error::OpenError;
use crate::respond::RestoreRate;

/// As many links as the kernel follows in one path.
const LINKS_MAX: usize = 40;

/// What to watch and how.
#[derive(Clone, Debug)]
pub struct RootConfig {
    /// Its name in records.
    pub name: RootName,
    /// Where it is on the host.
    pub path: PathBuf,
    /// What is done about changes from outside.
    pub policy: RootPolicy,
    /// If there are any: these alone are looked at, with what is below them and the directories
    /// that lead to them.
    pub only: Vec<EntryPath>,
    /// Globs of paths, relative to the root, that are not looked at, nor what is below them.
    /// `*` does not cross a `/`; `**` does.
    pub ignore: Vec<String>,
    /// The most entries that are looked at. A scan beyond it fails and says so.
    pub entries_max: u64,
    /// Bounds on single entries.
    pub look: LookLimits,
    /// Where `quarantine` moves files; not within the root.
    pub quarantine: Option<PathBuf>,
    /// How often `restore` puts a file back before it only alerts.
    pub restore_rate: RestoreRate,
}

impl RootConfig {
    /// A root with the usual bounds that records and does nothing else.
    pub fn new(name: RootName, path: impl Into<PathBuf>) -> Self {
        Self {
            name,
            path: path.into(),
            policy: RootPolicy::Record,
            only: Vec::new(),
            ignore: Vec::new(),
            entries_max: 200_000,
            look: LookLimits::default(),
            quarantine: None,
            restore_rate: RestoreRate::default(),
        }
    }
}

/// Bounds on single entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LookLimits {
    /// A larger file is not hashed: a change of its size, times or inode is its change.
    pub hash_max_bytes: u64,
    /// A larger file is hashed and not kept: it cannot be put back.
    pub keep_max_bytes: u64,
    /// How many names a path may have. What lies deeper is not looked at, and a scan says so.
    pub depth_max: usize,
}

impl Default for LookLimits {
    fn default() -> Self {
        Self { hash_max_bytes: 256 << 20, keep_max_bytes: 8 << 20, depth_max: 128 }
    }
}

/// A root with its directory open.
pub(crate) struct Root {
    pub(crate) config: RootConfig,
    pub(crate) quarantine: Option<Dir>,
    ignored: GlobSet,
    directory: RwLock<Arc<Dir>>,
}

impl Root {
    pub(crate) fn open(config: RootConfig) -> Result<Self, OpenError> {
        let ignored = ignored(&config.ignore)?;
        let directory = RwLock::new(Arc::new(open_ambient(&config.path)?));
        if config.policy == RootPolicy::Quarantine && config.quarantine.is_none() {
            return Err(OpenError::NoQuarantine { root: config.name });
        }
        let quarantine = config.quarantine.as_deref().map(|path| {
            let real = |path: &Path| {
                let failed = |source| OpenError::Directory { path: path.to_owned(), source };
                path.canonicalize().map_err(failed)
            };
            if real(path)?.starts_with(real(&config.path)?) {
                let (quarantine, root) = (path.to_owned(), config.path.clone());
                return Err(OpenError::QuarantineWithin { quarantine, root });
            }
            open_ambient(path)
        });
        let quarantine = quarantine.transpose()?;
        Ok(Self { config, quarantine, ignored, directory })
    }

    pub(crate) fn name(&self) -> &RootName {
        &self.config.name
    }

    /// The handle of the root.
    pub(crate) fn top(&self) -> Arc<Dir> {
        Arc::clone(&self.directory.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The handle of a directory.
    pub(crate) fn directory(&self, path: &EntryPath) -> io::Result<Arc<Dir>> {
        let mut directory = self.top();
        for name in path.names() {
            directory = Arc::new(directory.open_dir_nofollow(OsStr::from_bytes(name))?);
        }
        Ok(directory)
    }

    /// The path that the kernel comes to along links, if it stays in this root; `last` says
    /// whether a link at the end counts. For names in announcements alone: nothing is opened
    /// this way.
    pub(crate) fn resolved(&self, path: &EntryPath, last: bool) -> EntryPath {
        let whole = |path: &EntryPath| {
            path.split().is_none_or(|(parent, _)| self.directory(&parent).is_ok())
        };
        if !last && whole(path) {
            return path.clone();
        }
        self.walked(path, last).unwrap_or_else(|| path.clone())
    }

    fn walked(&self, path: &EntryPath, last: bool) -> Option<EntryPath> {
        let mut names: VecDeque<Vec<u8>> = path.names().map(<[u8]>::to_vec).collect();
        let mut walked = EntryPath::root();
        let mut links = 0;
        while let Some(name) = names.pop_front() {
            match name.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    walked = walked.split()?.0;
                    continue;
                }
                _ => {}
            }
            let link = if last || !names.is_empty() {
                let directory = self.directory(&walked).ok();
                directory.and_then(|dir| dir.read_link_contents(OsStr::from_bytes(&name)).ok())
            } else {
                None
            };
            let Some(target) = link else {
                walked = walked.join(&name).ok()?;
                continue;
            };
            links += 1;
            if links > LINKS_MAX || target.is_absolute() {
                return None;
            }
            for part in target.as_os_str().as_bytes().rsplit(|byte| *byte == b'/') {
                names.push_front(part.to_vec());
            }
        }
        Some(walked)
    }

    /// Whether a path is looked at.
    pub(crate) fn covers(&self, path: &EntryPath) -> bool {
        let near = |only: &EntryPath| path == only || path.is_below(only) || only.is_below(path);
        if !self.config.only.is_empty() && !path.is_root() && !self.config.only.iter().any(near) {
            return false;
        }
        if self.ignored.is_empty() {
            return true;
        }
        let mut end = 0;
        path.names().all(|name| {
            end += name.len() + usize::from(end > 0);
            let whole = path.as_bytes().get(..end).unwrap_or_default();
            !self.ignored.is_match(OsStr::from_bytes(whole))
        })
    }

    /// Whether the handle still is what the path of the root leads to.
    pub(crate) fn is_in_place(&self) -> bool {
        let handle = self.top().dir_metadata();
        let there = std::fs::metadata(&self.config.path);
        match (handle, there) {
            (Ok(handle), Ok(there)) => {
                use std::os::unix::fs::MetadataExt as _;
                (handle.dev(), handle.ino()) == (there.dev(), there.ino())
            }
            _ => false,
        }
    }

    /// Opens the directory anew, after it was replaced.
    pub(crate) fn reopen(&self) -> Result<(), OpenError> {
        let directory = open_ambient(&self.config.path)?;
        *self.directory.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(directory);
        Ok(())
    }
}

/// Whether a failure to reach a path means that nothing is there: a directory on the way is
/// gone, or is something else now.
pub(crate) fn is_absence(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let absent = [Errno::NOENT, Errno::NOTDIR, Errno::LOOP];
    error.kind() == io::ErrorKind::NotFound
        || error.raw_os_error().is_some_and(|raw| absent.iter().any(|e| e.raw_os_error() == raw))
}

fn open_ambient(path: &Path) -> Result<Dir, OpenError> {
    Dir::open_ambient_dir(path, ambient_authority())
        .map_err(|source| OpenError::Directory { path: path.to_owned(), source })
}

fn ignored(patterns: &[String]) -> Result<GlobSet, OpenError> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let failed = |error: globset::Error| OpenError::Pattern {
            pattern: pattern.clone(),
            message: error.kind().to_string(),
        };
        set.add(GlobBuilder::new(pattern).literal_separator(true).build().map_err(failed)?);
    }
    let pattern = patterns.join(", ");
    set.build().map_err(|error| OpenError::Pattern { pattern, message: error.to_string() })
}
