//! The mounts of a component, opened once when it is linked.
//!
//! The invariant: all mounts of one host directory, whichever component has them, share one
//! count of what the directory holds.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::ops::Deref;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use cap_primitives::ambient_authority;
use cap_primitives::fs::open_ambient_dir;
use foreshore_domain::grant::{Access, Grant, Mount};
use foreshore_domain::ports::{FileChanges, WatchedMount};

use wasmtime_wasi::filesystem::{Dir, FsPerms, OpenMode};

use super::quota::{Exhausted, Growth, Lease, Quota, Usage};
use crate::error::LinkError;

/// What the directories of a host hold, as long as any component has them mounted.
#[derive(Clone, Default)]
pub(crate) struct MountTable(Arc<Mutex<HashMap<DirectoryId, Weak<Usage>>>>);

/// Device and inode.
type DirectoryId = (u64, u64);

impl MountTable {
    fn usage(&self, directory: &File) -> io::Result<Arc<Usage>> {
        let metadata = directory.metadata()?;
        // A std mutex: nothing awaits while it is held.
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = table.entry((metadata.dev(), metadata.ino())).or_default();
        if let Some(usage) = slot.upgrade() {
            return Ok(usage);
        }
        let usage = Arc::new(Usage::default());
        *slot = Arc::downgrade(&usage);
        table.retain(|_, usage| usage.strong_count() > 0);
        Ok(usage)
    }
}

/// The mounts of one component. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Mounts(Arc<[Arc<OpenMount>]>);

impl Mounts {
    /// No mounts.
    pub(crate) fn none() -> Self {
        Self(Arc::new([]))
    }

    /// Opens every mount of a grant.
    ///
    /// # Errors
    /// A directory that is not there, is not a directory, or may not be opened.
    pub(crate) fn open(
        grant: &Grant,
        table: &MountTable,
        changes: Option<&dyn FileChanges>,
    ) -> Result<Self, LinkError> {
        let open = |mount| {
            OpenMount::open(mount, table, changes)
                .map(Arc::new)
                .map_err(|source| LinkError::Mount { host: mount.host.clone(), source })
        };
        grant.mounts.iter().map(open).collect::<Result<_, _>>().map(Self)
    }
}

impl Deref for Mounts {
    type Target = [Arc<OpenMount>];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// A mount with its directory open.
pub(crate) struct OpenMount {
    mount: Mount,
    directory: Dir,
    usage: Arc<Usage>,
    watched: Option<Arc<dyn WatchedMount>>,
}

impl OpenMount {
    fn open(
        mount: &Mount,
        table: &MountTable,
        changes: Option<&dyn FileChanges>,
    ) -> io::Result<Self> {
        let directory = open_ambient_dir(&mount.host, ambient_authority())?;
        let usage = table.usage(&directory)?;
        let (perms, mode) = permissions(mount.access);
        let directory = Dir::new(directory, perms, mode, false);
        let watched = match mount.access {
            Access::ReadOnly => None,
            Access::ReadWrite => changes.and_then(|changes| changes.of(mount)),
        };
        Ok(Self { mount: mount.clone(), directory, usage, watched })
    }

    pub(super) fn mount(&self) -> &Mount {
        &self.mount
    }

    pub(super) fn guest_path(&self) -> &str {
        self.mount.guest.as_str()
    }

    pub(super) fn access(&self) -> Access {
        self.mount.access
    }

    pub(super) fn directory(&self) -> &Dir {
        &self.directory
    }

    /// Where changes are announced; `None` if nobody watches this mount.
    pub(super) fn watched(&self) -> Option<&Arc<dyn WatchedMount>> {
        self.watched.as_ref()
    }

    /// Counts what the directory holds, unless that was done before.
    pub(super) async fn count_once(&self) -> io::Result<()> {
        self.usage.count_once(&self.directory.dir, self.quota().entries_max).await
    }

    /// Takes room for a growth before it happens.
    ///
    /// # Errors
    /// The quota is used up, also after a recount.
    pub(super) fn reserve(&self, growth: Growth) -> Result<(), Exhausted> {
        self.usage.reserve(&self.directory.dir, self.quota(), growth)
    }

    /// Gives room back that was reserved for nothing, or is no longer used.
    pub(super) fn release(&self, growth: Growth) {
        self.usage.release(growth);
    }

    /// Notes that one name of a file is gone. Its bytes count on while somebody has it open.
    pub(super) fn removed(&self, inode: u64, bytes: u64, last_name: bool) {
        self.usage.removed(inode, bytes, last_name);
    }

    /// Notes that a file is open. Only a mount that can be changed needs to know.
    pub(super) fn lease(&self, inode: u64) -> Option<Arc<Lease>> {
        (self.mount.access == Access::ReadWrite).then(|| Usage::lease(&self.usage, inode))
    }

    fn quota(&self) -> Quota {
        Quota { bytes_max: self.mount.bytes_max.get(), entries_max: self.mount.entries_max.get() }
    }
}

/// What wasmtime-wasi is told of an access.
pub(super) fn permissions(access: Access) -> (FsPerms, OpenMode) {
    match access {
        Access::ReadOnly => (FsPerms::ReadOnly, OpenMode::READ),
        Access::ReadWrite => (FsPerms::ReadWrite, OpenMode::READ | OpenMode::WRITE),
    }
}
