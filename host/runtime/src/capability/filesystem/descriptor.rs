//! Operations on open files and directories.
//!
//! The order of every change: the operation is counted, the mount and the door say yes, the
//! quota has room, and only then is it made.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use cap_primitives::fs::{FollowSymlinks, Metadata, MetadataExt};
use foreshore_domain::effect::FileChangeKind;
use foreshore_domain::ports::FileEdit;
use wasmtime::component::Resource;
use wasmtime_wasi::filesystem::{
    Descriptor, Dir, File as WasiFile, OpenMode, WasiFilesystemCtx, WasiFilesystemCtxView,
};
use wasmtime_wasi::p2::bindings::filesystem::types::{
    Advice, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry, DirectoryEntryStream,
    ErrorCode, Filesize, HostDescriptor, HostDirectoryEntryStream, MetadataHashValue, NewTimestamp,
    OpenFlags, PathFlags,
};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, FsError, FsResult};

use super::Opened;
use super::changes::Change;
use super::metadata::{counted_bytes, identity_hash, inode, stat_of, system_time, time_spec};
use super::mounts::permissions;
use super::open::{Open, Opening};
use super::places::Place;
use super::quota::Growth;
use super::streams::{FileReader, FileWriter, WriteAt, read_at, write};
use crate::limiter::{count, size};
use crate::state::{CallScope, State};

impl State {
    /// A regular file that is open, how, and where it belongs.
    fn file(&self, descriptor: &Resource<Descriptor>) -> FsResult<(Opened, WasiFile)> {
        let opened = self.opened(descriptor)?;
        match self.table.get(descriptor)? {
            Descriptor::File(file) => Ok((opened, file.clone())),
            Descriptor::Dir(_) => Err(ErrorCode::BadDescriptor.into()),
        }
    }

    /// The same, for a change of its content.
    fn writable_file(&self, descriptor: &Resource<Descriptor>) -> FsResult<(Opened, Arc<File>)> {
        let (opened, file) = self.file(descriptor)?;
        self.scope.may_write(&opened, "")?;
        if file.open_mode.contains(OpenMode::WRITE) {
            Ok((opened, file.file))
        } else {
            Err(ErrorCode::BadDescriptor.into())
        }
    }

    fn writer(
        &mut self,
        descriptor: &Resource<Descriptor>,
        at: WriteAt,
    ) -> FsResult<Resource<DynOutputStream>> {
        let (opened, file) = self.writable_file(descriptor)?;
        let (scope, announces) = (Arc::clone(&self.scope), opened.writing.is_some());
        let writer: DynOutputStream = Box::new(FileWriter { scope, file, at, opened });
        let stream = self.table.push(writer)?;
        if announces {
            self.files.announcing.insert(stream.rep());
        }
        Ok(stream)
    }

    /// The file or directory behind a descriptor.
    fn handle(&self, descriptor: &Resource<Descriptor>) -> FsResult<(Opened, Arc<File>)> {
        let opened = self.opened(descriptor)?;
        let handle = match self.table.get(descriptor)? {
            Descriptor::File(file) => &file.file,
            Descriptor::Dir(directory) => &directory.dir,
        };
        Ok((opened, Arc::clone(handle)))
    }

    /// Two directories of one mount, for an operation on both.
    fn directories(
        &self,
        first: &Resource<Descriptor>,
        first_path: &str,
        second: &Resource<Descriptor>,
        second_path: &str,
    ) -> FsResult<(Opened, Arc<File>, Opened, Arc<File>)> {
        let (first, first_directory) = self.directory(first)?;
        let (second, second_directory) = self.directory(second)?;
        self.scope.may_write(&first, first_path)?;
        self.scope.may_write(&second, second_path)?;
        // Each mount has a quota and a grant of its own: between mounts a file is copied.
        if !Arc::ptr_eq(&first.mount, &second.mount) {
            return Err(ErrorCode::CrossDevice.into());
        }
        Ok((first, first_directory, second, second_directory))
    }

    fn descriptor(
        &mut self,
        opened: Opened,
        descriptor: Descriptor,
    ) -> FsResult<Resource<Descriptor>> {
        let resource = self.table.push(descriptor)?;
        self.files.opened.insert(resource.rep(), opened);
        Ok(resource)
    }

    /// Runs one of the few operations that wasmtime-wasi does as well as we could.
    fn delegate<'a>(&'a mut self, context: &'a mut WasiFilesystemCtx) -> WasiFilesystemCtxView<'a> {
        WasiFilesystemCtxView { ctx: context, table: &mut self.table }
    }
}

impl CallScope {
    /// Does one piece of file work on this thread, and lets others have it now and then.
    async fn work<T>(
        &self,
        opened: &Opened,
        path: &str,
        work: impl FnOnce() -> io::Result<T>,
    ) -> FsResult<T> {
        let done = self.timed(work);
        self.breathe().await;
        done.map_err(|error| self.failed(opened, path, &error).into())
    }

    /// Takes room for what a change adds.
    pub(super) fn reserve(&self, opened: &Opened, path: &str, growth: Growth) -> FsResult<()> {
        self.timed(|| opened.mount.reserve(growth)).map_err(|exhausted| {
            self.deny_quota(opened, path, exhausted);
            ErrorCode::Quota.into()
        })
    }

    async fn metadata(
        &self,
        opened: &Opened,
        directory: &File,
        path: &str,
        follow: FollowSymlinks,
    ) -> FsResult<Metadata> {
        self.work(opened, path, || cap_primitives::fs::stat(directory, Path::new(path), follow))
            .await
    }
}

impl HostDescriptor for State {
    fn read_via_stream(
        &mut self,
        descriptor: Resource<Descriptor>,
        offset: Filesize,
    ) -> FsResult<Resource<DynInputStream>> {
        let opened = self.opened(&descriptor)?;
        let file = match self.table.get(&descriptor)? {
            Descriptor::File(file) => Arc::clone(&file.file),
            Descriptor::Dir(_) => return Err(ErrorCode::IsDirectory.into()),
        };
        let scope = Arc::clone(&self.scope);
        let reader: DynInputStream =
            Box::new(FileReader { scope, file, position: offset, _opened: opened });
        Ok(self.table.push(reader)?)
    }

    fn write_via_stream(
        &mut self,
        descriptor: Resource<Descriptor>,
        offset: Filesize,
    ) -> FsResult<Resource<DynOutputStream>> {
        self.writer(&descriptor, WriteAt::Position(offset))
    }

    fn append_via_stream(
        &mut self,
        descriptor: Resource<Descriptor>,
    ) -> FsResult<Resource<DynOutputStream>> {
        self.writer(&descriptor, WriteAt::End)
    }

    async fn advise(
        &mut self,
        descriptor: Resource<Descriptor>,
        offset: Filesize,
        length: Filesize,
        advice: Advice,
    ) -> FsResult<()> {
        self.file(&descriptor)?;
        let mut context = WasiFilesystemCtx::default();
        self.delegate(&mut context).advise(descriptor, offset, length, advice).await
    }

    async fn sync_data(&mut self, descriptor: Resource<Descriptor>) -> FsResult<()> {
        let (_, handle) = self.handle(&descriptor)?;
        off_thread(move || handle.sync_data()).await
    }

    async fn sync(&mut self, descriptor: Resource<Descriptor>) -> FsResult<()> {
        let (_, handle) = self.handle(&descriptor)?;
        off_thread(move || handle.sync_all()).await
    }

    async fn get_flags(&mut self, descriptor: Resource<Descriptor>) -> FsResult<DescriptorFlags> {
        self.opened(&descriptor)?;
        let (mode, write) = match self.table.get(&descriptor)? {
            Descriptor::File(file) => (file.open_mode, DescriptorFlags::WRITE),
            Descriptor::Dir(directory) => (directory.open_mode, DescriptorFlags::MUTATE_DIRECTORY),
        };
        let mut flags = DescriptorFlags::empty();
        if mode.contains(OpenMode::READ) {
            flags |= DescriptorFlags::READ;
        }
        if mode.contains(OpenMode::WRITE) {
            flags |= write;
        }
        Ok(flags)
    }

    async fn get_type(&mut self, descriptor: Resource<Descriptor>) -> FsResult<DescriptorType> {
        self.opened(&descriptor)?;
        // Nothing else is ever opened.
        Ok(match self.table.get(&descriptor)? {
            Descriptor::File(_) => DescriptorType::RegularFile,
            Descriptor::Dir(_) => DescriptorType::Directory,
        })
    }

    async fn set_size(
        &mut self,
        descriptor: Resource<Descriptor>,
        size_bytes: Filesize,
    ) -> FsResult<()> {
        let (opened, file) = self.writable_file(&descriptor)?;
        self.scope.may_change(&opened, "", FileChangeKind::Resize { size_bytes }).await?;
        let metadata = self.scope.work(&opened, "", || Metadata::from_file(&file)).await?;
        let growth = Growth::of_file(inode(&metadata), size_bytes.saturating_sub(metadata.len()));
        self.scope.reserve(&opened, "", growth)?;
        let resize = move |_: &CallScope, opened: &Opened| {
            let edit = FileEdit::Resize { size_bytes };
            opened.edit(&edit, &mut || file.set_len(size_bytes))
        };
        if let Err(error) = self.scope.edit(&opened, resize).await? {
            opened.mount.release(growth);
            return Err(self.scope.failed(&opened, "", &error).into());
        }
        opened
            .mount
            .release(Growth::of_file(inode(&metadata), metadata.len().saturating_sub(size_bytes)));
        Ok(())
    }

    async fn set_times(
        &mut self,
        descriptor: Resource<Descriptor>,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FsResult<()> {
        let (opened, handle) = self.handle(&descriptor)?;
        self.scope.may_change(&opened, "", FileChangeKind::SetTimes).await?;
        let mut times = std::fs::FileTimes::new();
        if let Some(accessed) = system_time(accessed)? {
            times = times.set_accessed(accessed);
        }
        if let Some(modified) = system_time(modified)? {
            times = times.set_modified(modified);
        }
        self.scope.work(&opened, "", || handle.set_times(times)).await
    }

    async fn read(
        &mut self,
        descriptor: Resource<Descriptor>,
        length: Filesize,
        offset: Filesize,
    ) -> FsResult<(Vec<u8>, bool)> {
        let (opened, file) = self.file(&descriptor)?;
        let bytes =
            self.scope.work(&opened, "", || read_at(&file.file, size(length), offset)).await?;
        let at_end = bytes.is_empty() && length > 0;
        Ok((bytes.into(), at_end))
    }

    async fn write(
        &mut self,
        descriptor: Resource<Descriptor>,
        bytes: Vec<u8>,
        offset: Filesize,
    ) -> FsResult<Filesize> {
        let (opened, file) = self.writable_file(&descriptor)?;
        let at = WriteAt::Position(offset);
        let length = count(bytes.len());
        let write =
            move |scope: &CallScope, opened: &Opened| write(scope, opened, &file, &bytes, at);
        match self.scope.edit(&opened, write).await? {
            Ok(()) => Ok(length),
            Err(error) => Err(match error.downcast_ref::<io::Error>() {
                Some(error) => ErrorCode::from(error),
                None => ErrorCode::Quota,
            }
            .into()),
        }
    }

    async fn read_directory(
        &mut self,
        descriptor: Resource<Descriptor>,
    ) -> FsResult<Resource<DirectoryEntryStream>> {
        self.directory(&descriptor)?;
        // A directory may hold any number of entries: wasmtime-wasi reads them off this thread.
        let mut context = WasiFilesystemCtx::default();
        self.delegate(&mut context).read_directory(descriptor).await
    }

    async fn create_directory_at(
        &mut self,
        descriptor: Resource<Descriptor>,
        path: String,
    ) -> FsResult<()> {
        let (opened, directory) = self.directory(&descriptor)?;
        self.scope.may_change(&opened, &path, FileChangeKind::CreateDirectory).await?;
        let change = Change::CreateDirectory(Place { directory, path });
        self.scope.change_names(&opened, change, Some(Growth::ENTRY)).await
    }

    async fn stat(&mut self, descriptor: Resource<Descriptor>) -> FsResult<DescriptorStat> {
        let (opened, handle) = self.handle(&descriptor)?;
        let metadata = self.scope.work(&opened, "", || Metadata::from_file(&handle)).await?;
        Ok(stat_of(&metadata))
    }

    async fn stat_at(
        &mut self,
        descriptor: Resource<Descriptor>,
        flags: PathFlags,
        path: String,
    ) -> FsResult<DescriptorStat> {
        let (opened, directory) = self.directory(&descriptor)?;
        let metadata = self.scope.metadata(&opened, &directory, &path, follow(flags)).await?;
        Ok(stat_of(&metadata))
    }

    async fn set_times_at(
        &mut self,
        descriptor: Resource<Descriptor>,
        flags: PathFlags,
        path: String,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FsResult<()> {
        let (opened, directory) = self.directory(&descriptor)?;
        self.scope.may_change(&opened, &path, FileChangeKind::SetTimes).await?;
        let (accessed, modified) = (time_spec(accessed)?, time_spec(modified)?);
        let set = match follow(flags) {
            FollowSymlinks::Yes => cap_primitives::fs::set_times,
            FollowSymlinks::No => cap_primitives::fs::set_times_nofollow,
        };
        self.scope
            .work(&opened, &path, || set(&directory, Path::new(&path), accessed, modified))
            .await
    }

    async fn link_at(
        &mut self,
        old: Resource<Descriptor>,
        old_flags: PathFlags,
        old_path: String,
        new: Resource<Descriptor>,
        new_path: String,
    ) -> FsResult<()> {
        let (old, old_directory, new, new_directory) =
            self.directories(&old, &old_path, &new, &new_path)?;
        if old_flags.contains(PathFlags::SYMLINK_FOLLOW) {
            return Err(ErrorCode::Invalid.into());
        }
        let kind = FileChangeKind::Link { to: new.join(&new_path) };
        self.scope.may_change(&old, &old_path, kind).await?;
        let metadata =
            self.scope.metadata(&old, &old_directory, &old_path, FollowSymlinks::No).await?;
        // Each name counts with the bytes behind it, as in the walk.
        let growth =
            Growth { entries: 1, ..Growth::of_file(inode(&metadata), counted_bytes(&metadata)) };
        let change = Change::Link {
            of: Place { directory: old_directory, path: old_path },
            at: Place { directory: new_directory, path: new_path },
        };
        self.scope.change_names(&new, change, Some(growth)).await
    }

    async fn open_at(
        &mut self,
        descriptor: Resource<Descriptor>,
        path_flags: PathFlags,
        path: String,
        open_flags: OpenFlags,
        flags: DescriptorFlags,
    ) -> FsResult<Resource<Descriptor>> {
        let (opened, directory) = self.directory(&descriptor)?;
        let open = Open::new(open_flags, flags, follow(path_flags))?;
        if let Some(change) = open.change() {
            self.scope.may_change(&opened, &path, change).await?;
        }
        let place = Place { directory, path: path.clone() };
        let opening = self.scope.open(&opened, place, open).await?;
        let opened_as = |lease, writing| Opened {
            mount: Arc::clone(&opened.mount),
            path: opened.join(&path).into(),
            _lease: lease,
            writing,
        };
        let (perms, _) = permissions(opened.mount.access());
        match opening {
            Ok((Opening::Directory(handle), _)) => {
                let (_, mode) = permissions(opened.mount.access());
                let directory = Dir::new(handle, perms, mode, false);
                self.descriptor(opened_as(None, None), Descriptor::Dir(directory))
            }
            Ok((Opening::File { handle, inode }, writing)) => {
                let lease = opened.mount.lease(inode);
                let file = WasiFile::new(handle, perms, open.mode(), true);
                self.descriptor(opened_as(lease, writing), Descriptor::File(file))
            }
            Ok((Opening::Neither, _)) => Err(self.scope.deny_type(&opened, &path).into()),
            Ok((Opening::Full(exhausted), _)) => {
                self.scope.deny_quota(&opened, &path, exhausted);
                Err(ErrorCode::Quota.into())
            }
            Err(error) => Err(self.scope.failed(&opened, &path, &error).into()),
        }
    }

    async fn readlink_at(
        &mut self,
        descriptor: Resource<Descriptor>,
        path: String,
    ) -> FsResult<String> {
        let (opened, directory) = self.directory(&descriptor)?;
        let target = self
            .scope
            .work(&opened, &path, || cap_primitives::fs::read_link(&directory, Path::new(&path)))
            .await?;
        target.into_os_string().into_string().map_err(|_| ErrorCode::IllegalByteSequence.into())
    }

    async fn remove_directory_at(
        &mut self,
        descriptor: Resource<Descriptor>,
        path: String,
    ) -> FsResult<()> {
        let (opened, directory) = self.directory(&descriptor)?;
        self.scope.may_change(&opened, &path, FileChangeKind::RemoveDirectory).await?;
        let change = Change::RemoveDirectory(Place { directory, path });
        self.scope.change_names(&opened, change, None).await?;
        opened.mount.release(Growth::ENTRY);
        Ok(())
    }

    async fn rename_at(
        &mut self,
        old: Resource<Descriptor>,
        old_path: String,
        new: Resource<Descriptor>,
        new_path: String,
    ) -> FsResult<()> {
        let (old, old_directory, new, new_directory) =
            self.directories(&old, &old_path, &new, &new_path)?;
        let kind = FileChangeKind::Rename { to: new.join(&new_path) };
        self.scope.may_change(&old, &old_path, kind).await?;
        let moved =
            self.scope.metadata(&old, &old_directory, &old_path, FollowSymlinks::No).await?;
        let replaced =
            cap_primitives::fs::stat(&new_directory, Path::new(&new_path), FollowSymlinks::No)
                .ok()
                // Renaming one name of a file to another of its names does nothing.
                .filter(|replaced| inode(replaced) != inode(&moved));
        let change = Change::Rename {
            from: Place { directory: old_directory, path: old_path },
            to: Place { directory: new_directory, path: new_path },
        };
        self.scope.change_names(&old, change, None).await?;
        if let Some(replaced) = replaced {
            note_removed(&new, &replaced);
        }
        Ok(())
    }

    async fn symlink_at(
        &mut self,
        descriptor: Resource<Descriptor>,
        target: String,
        path: String,
    ) -> FsResult<()> {
        let (opened, directory) = self.directory(&descriptor)?;
        let kind = FileChangeKind::Symlink { target: target.clone() };
        self.scope.may_change(&opened, &path, kind).await?;
        self.scope.may_point(&opened, &path, &target)?;
        let change = Change::Symlink { at: Place { directory, path }, target };
        self.scope.change_names(&opened, change, Some(Growth::ENTRY)).await
    }

    async fn unlink_file_at(
        &mut self,
        descriptor: Resource<Descriptor>,
        path: String,
    ) -> FsResult<()> {
        let (opened, directory) = self.directory(&descriptor)?;
        self.scope.may_change(&opened, &path, FileChangeKind::RemoveFile).await?;
        let removed = self.scope.metadata(&opened, &directory, &path, FollowSymlinks::No).await?;
        let change = Change::RemoveFile(Place { directory, path });
        self.scope.change_names(&opened, change, None).await?;
        note_removed(&opened, &removed);
        Ok(())
    }

    async fn is_same_object(
        &mut self,
        first: Resource<Descriptor>,
        second: Resource<Descriptor>,
    ) -> wasmtime::Result<bool> {
        let identity = |(_, handle): (Opened, Arc<File>)| {
            Metadata::from_file(&handle).map(|metadata| identity_hash(&metadata)).ok()
        };
        let first = self.handle(&first).ok().and_then(identity);
        let second = self.handle(&second).ok().and_then(identity);
        Ok(first.is_some_and(|first| {
            second.is_some_and(|second| (first.lower, first.upper) == (second.lower, second.upper))
        }))
    }

    async fn metadata_hash(
        &mut self,
        descriptor: Resource<Descriptor>,
    ) -> FsResult<MetadataHashValue> {
        let (opened, handle) = self.handle(&descriptor)?;
        let metadata = self.scope.work(&opened, "", || Metadata::from_file(&handle)).await?;
        Ok(identity_hash(&metadata))
    }

    async fn metadata_hash_at(
        &mut self,
        descriptor: Resource<Descriptor>,
        flags: PathFlags,
        path: String,
    ) -> FsResult<MetadataHashValue> {
        let (opened, directory) = self.directory(&descriptor)?;
        let metadata = self.scope.metadata(&opened, &directory, &path, follow(flags)).await?;
        Ok(identity_hash(&metadata))
    }

    fn drop(&mut self, descriptor: Resource<Descriptor>) -> wasmtime::Result<()> {
        self.files.opened.remove(&descriptor.rep());
        self.table.delete(descriptor)?;
        Ok(())
    }
}

impl HostDirectoryEntryStream for State {
    async fn read_directory_entry(
        &mut self,
        stream: Resource<DirectoryEntryStream>,
    ) -> FsResult<Option<DirectoryEntry>> {
        self.scope.count_operation().map_err(FsError::trap)?;
        let mut context = WasiFilesystemCtx::default();
        self.delegate(&mut context).read_directory_entry(stream).await
    }

    fn drop(&mut self, stream: Resource<DirectoryEntryStream>) -> wasmtime::Result<()> {
        self.table.delete(stream)?;
        Ok(())
    }
}

/// Work that may take long and touches the disk: not on the thread of the guests.
async fn off_thread(work: impl FnOnce() -> io::Result<()> + Send + 'static) -> FsResult<()> {
    let done = tokio::task::spawn_blocking(work).await.map_err(FsError::trap)?;
    Ok(done?)
}

fn follow(flags: PathFlags) -> FollowSymlinks {
    if flags.contains(PathFlags::SYMLINK_FOLLOW) { FollowSymlinks::Yes } else { FollowSymlinks::No }
}

fn note_removed(opened: &Opened, removed: &Metadata) {
    opened.mount.removed(inode(removed), counted_bytes(removed), removed.nlink() <= 1);
}
