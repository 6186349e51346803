//! Opening: only regular files and directories, never blocking, never emptied before it is
//! known what they are.

use std::fs::File;
use std::io;
use std::path::Path;

use cap_fs_ext::{OpenOptionsFollowExt, OpenOptionsSyncExt};
use cap_primitives::fs::{FollowSymlinks, Metadata, OpenOptions};
use foreshore_domain::effect::FileChangeKind;
use rustix::io::Errno;
use wasmtime_wasi::filesystem::OpenMode;
use wasmtime_wasi::p2::bindings::filesystem::types::{DescriptorFlags, ErrorCode, OpenFlags};

use super::metadata::inode;
use super::mounts::OpenMount;
use super::quota::{Exhausted, Growth};

/// How a guest wants something opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    create: Create,
    truncate: bool,
    directory_only: bool,
    mode: OpenMode,
    follow: FollowSymlinks,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Create {
    Never,
    IfMissing,
    Always,
}

/// What opening came to.
pub(super) enum Opening {
    Directory(File),
    File {
        handle: File,
        inode: u64,
    },
    /// A FIFO, socket or device.
    Neither,
    /// There is no room for one more entry.
    Full(Exhausted),
}

impl Open {
    /// # Errors
    /// Flags that contradict each other, or that are not supported.
    pub(super) fn new(
        open: OpenFlags,
        flags: DescriptorFlags,
        follow: FollowSymlinks,
    ) -> Result<Self, ErrorCode> {
        let synchronous = DescriptorFlags::FILE_INTEGRITY_SYNC
            | DescriptorFlags::DATA_INTEGRITY_SYNC
            | DescriptorFlags::REQUESTED_WRITE_SYNC;
        if flags.intersects(synchronous) {
            return Err(ErrorCode::Unsupported);
        }
        let making = OpenFlags::CREATE | OpenFlags::EXCLUSIVE | OpenFlags::TRUNCATE;
        let directory_only = open.contains(OpenFlags::DIRECTORY);
        if directory_only && open.intersects(making) {
            return Err(ErrorCode::Invalid);
        }
        let create = match (open.contains(OpenFlags::CREATE), open.contains(OpenFlags::EXCLUSIVE)) {
            (false, _) => Create::Never,
            (true, false) => Create::IfMissing,
            (true, true) => Create::Always,
        };
        let truncate = open.contains(OpenFlags::TRUNCATE);
        let mut mode = OpenMode::empty();
        if flags.contains(DescriptorFlags::WRITE) || create != Create::Never || truncate {
            mode |= OpenMode::WRITE;
        }
        if flags.contains(DescriptorFlags::READ) || mode.is_empty() {
            mode |= OpenMode::READ;
        }
        Ok(Self { create, truncate, directory_only, mode, follow })
    }

    /// The change that the door has to let through first; `None` if it only reads.
    pub(super) fn change(&self) -> Option<FileChangeKind> {
        self.mode.contains(OpenMode::WRITE).then(|| FileChangeKind::Write {
            create: self.create != Create::Never,
            truncate: self.truncate,
        })
    }

    /// Whether what is there is emptied.
    pub(super) fn truncates(&self) -> bool {
        self.truncate
    }

    pub(super) fn mode(&self) -> OpenMode {
        self.mode
    }

    /// # Errors
    /// Those of the system; cap-std's own where the path leads out of `directory`.
    pub(super) fn open(
        &self,
        directory: &File,
        path: &str,
        mount: &OpenMount,
    ) -> io::Result<Opening> {
        match self.handle(directory, Path::new(path), mount) {
            Ok(Ok(handle)) => self.checked(handle, mount),
            Ok(Err(full)) => Ok(Opening::Full(full)),
            // What a socket answers, and a FIFO that nobody reads.
            Err(error) if error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => {
                Ok(Opening::Neither)
            }
            Err(error) => Err(error),
        }
    }

    /// The outer error is the system's, the inner the quota's.
    fn handle(
        &self,
        directory: &File,
        path: &Path,
        mount: &OpenMount,
    ) -> io::Result<Result<File, Exhausted>> {
        let existing = |_| self.open_existing(directory, path).map(Ok);
        match self.create {
            Create::Always => self.create_new(directory, path, mount),
            Create::Never => existing(()),
            Create::IfMissing => match existing(()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    match self.create_new(directory, path, mount) {
                        // Somebody else made it in between.
                        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => existing(()),
                        made => made,
                    }
                }
                found => found,
            },
        }
    }

    fn checked(&self, handle: File, mount: &OpenMount) -> io::Result<Opening> {
        let metadata = Metadata::from_file(&handle)?;
        if metadata.is_dir() {
            return Ok(Opening::Directory(handle));
        }
        if !metadata.is_file() {
            return Ok(Opening::Neither);
        }
        if self.directory_only {
            return Err(Errno::NOTDIR.into());
        }
        if self.truncate {
            handle.set_len(0)?;
            mount.release(Growth::of_file(inode(&metadata), metadata.len()));
        }
        Ok(Opening::File { handle, inode: inode(&metadata) })
    }

    fn open_existing(&self, directory: &File, path: &Path) -> io::Result<File> {
        cap_primitives::fs::open(directory, path, &self.options())
    }

    fn create_new(
        &self,
        directory: &File,
        path: &Path,
        mount: &OpenMount,
    ) -> io::Result<Result<File, Exhausted>> {
        if let Err(full) = mount.reserve(Growth::ENTRY) {
            return Ok(Err(full));
        }
        cap_primitives::fs::open(directory, path, self.options().create_new(true))
            .inspect_err(|_| mount.release(Growth::ENTRY))
            .map(Ok)
    }

    /// Never `O_TRUNC`, and never waiting for the other end of a FIFO.
    fn options(&self) -> OpenOptions {
        let mut options = OpenOptions::new();
        options
            .read(self.mode.contains(OpenMode::READ))
            .write(self.mode.contains(OpenMode::WRITE))
            .follow(self.follow)
            .nonblock(true);
        options
    }
}
