//! Files as streams. Every read and write is done when it is asked for, so nothing of a call
//! goes on after its end; a write first takes room from the quota of its mount.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use foreshore_domain::ports::FileEdit;
use rustix::io::{Errno, ReadWriteFlags, pwritev2};
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};
use wasmtime_wasi_io::async_trait;

use super::Opened;
use super::quota::Growth;
use crate::limiter::count;
use crate::state::CallScope;

/// The most that is read or written at once.
pub(super) const CHUNK_MAX_BYTES: usize = 64 << 10;

/// Reads a file from a position on.
pub(super) struct FileReader {
    pub(super) scope: Arc<CallScope>,
    pub(super) file: Arc<File>,
    pub(super) position: u64,
    /// Keeps the file counted while it is read.
    pub(super) _opened: Opened,
}

impl InputStream for FileReader {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        if size == 0 {
            return Ok(Bytes::new());
        }
        let bytes = self
            .scope
            .timed(|| read_at(&self.file, size, self.position))
            .map_err(|error| StreamError::LastOperationFailed(error.into()))?;
        if bytes.is_empty() {
            return Err(StreamError::Closed);
        }
        self.position = self.position.saturating_add(count(bytes.len()));
        Ok(bytes.freeze())
    }
}

#[async_trait]
impl Pollable for FileReader {
    async fn ready(&mut self) {
        self.scope.breathe().await;
    }
}

/// At most one chunk; less only at the end of the file or where the system gives less.
pub(super) fn read_at(file: &File, size: usize, position: u64) -> io::Result<BytesMut> {
    let mut bytes = BytesMut::zeroed(size.min(CHUNK_MAX_BYTES));
    loop {
        match file.read_at(&mut bytes, position) {
            Ok(length) => {
                bytes.truncate(length);
                return Ok(bytes);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Writes a file from a position on, or at its end.
pub(super) struct FileWriter {
    pub(super) scope: Arc<CallScope>,
    pub(super) file: Arc<File>,
    pub(super) at: WriteAt,
    pub(super) opened: Opened,
}

/// Where the next write goes.
#[derive(Clone, Copy)]
pub(super) enum WriteAt {
    Position(u64),
    End,
}

#[async_trait]
impl OutputStream for FileWriter {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let scope = Arc::clone(&self.scope);
        scope.timed(|| self.write_all(&bytes)).map_err(StreamError::LastOperationFailed)
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(CHUNK_MAX_BYTES)
    }

    /// Where the write is announced, it is made on a thread of its own.
    async fn blocking_write_and_flush(&mut self, bytes: Bytes) -> StreamResult<()> {
        let (file, at, length) = (Arc::clone(&self.file), self.at, bytes.len());
        let written = self
            .scope
            .edit(&self.opened, move |scope, opened| write(scope, opened, &file, &bytes, at))
            .await;
        match written {
            Ok(written) => written.map_err(StreamError::LastOperationFailed)?,
            Err(error) => return Err(StreamError::Trap(error.into())),
        }
        self.advance(length);
        Ok(())
    }
}

impl FileWriter {
    fn write_all(&mut self, bytes: &[u8]) -> wasmtime::Result<()> {
        write(&self.scope, &self.opened, &self.file, bytes, self.at)?;
        self.advance(bytes.len());
        Ok(())
    }

    fn advance(&mut self, length: usize) {
        if let WriteAt::Position(position) = &mut self.at {
            *position = position.saturating_add(count(length));
        }
    }
}

#[async_trait]
impl Pollable for FileWriter {
    async fn ready(&mut self) {
        self.scope.breathe().await;
    }
}

/// Writes all of `bytes` once the quota has room for what they add.
pub(super) fn write(
    scope: &CallScope,
    opened: &Opened,
    file: &File,
    bytes: &[u8],
    at: WriteAt,
) -> wasmtime::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    let metadata = file.metadata()?;
    let length = count(bytes.len());
    let growth = match at {
        WriteAt::Position(position) => {
            position.saturating_add(length).saturating_sub(metadata.len())
        }
        WriteAt::End => length,
    };
    let growth = Growth::of_file(metadata.ino(), growth);
    if let Err(exhausted) = opened.mount.reserve(growth) {
        scope.deny_quota(opened, "", exhausted);
        return Err(exhausted.into());
    }
    let written = match at {
        WriteAt::Position(offset) => opened
            .edit(&FileEdit::Write { offset, bytes }, &mut || file.write_all_at(bytes, offset)),
        WriteAt::End => opened.edit(&FileEdit::Append { bytes }, &mut || append_all(file, bytes)),
    };
    // How much of it was written before an error is not known; a recount will tell.
    written.inspect_err(|_| opened.mount.release(growth)).map_err(Into::into)
}

/// Each write goes to where the end is then, also if others append at the same time.
fn append_all(file: &File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match pwritev2(file, &[IoSlice::new(bytes)], 0, ReadWriteFlags::APPEND) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
