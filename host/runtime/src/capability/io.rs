//! `wasi:io`: streams and waiting, counted.
//!
//! Needs no grant: a stream is got from another capability. Each operation counts against
//! `host_operations_max`, also one that moves nothing: a guest pays a few units of fuel for a
//! write of nothing, the host hundreds of nanoseconds. The work is wasmtime-wasi-io's.

use foreshore_domain::call::FiredLimit;
use wasmtime::Result;
use wasmtime::component::{HasSelf, Linker, Resource};
use wasmtime_wasi_io::bindings::wasi::io::{error, poll, streams as wasi};
use wasmtime_wasi_io::poll::DynPollable;
use wasmtime_wasi_io::streams::{DynInputStream, DynOutputStream, StreamError, StreamResult};

use crate::bindings::asynchronous::streams;
use crate::limiter::{LimitFired, count, size};
use crate::state::{CallScope, State};

pub(crate) fn link(linker: &mut Linker<State>) -> Result<()> {
    error::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    poll::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    streams::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

impl CallScope {
    /// What comes before each operation: it is counted, and a guest that kept the thread busy
    /// gives it to others.
    async fn begin(&self, bytes: usize) -> StreamResult<()> {
        trapped(self.count_operation())?;
        self.copied(bytes);
        self.breathe().await;
        let allowed = self.context.limits.hostcall_max_bytes.get();
        if count(bytes) > allowed {
            return trapped(Err(LimitFired { limit: FiredLimit::HostCall, allowed }));
        }
        Ok(())
    }
}

fn trapped(checked: Result<(), LimitFired>) -> StreamResult<()> {
    checked.map_err(|fired| StreamError::Trap(fired.into()))
}

impl error::Host for State {}

impl error::HostError for State {
    fn drop(&mut self, error: Resource<error::Error>) -> Result<()> {
        error::HostError::drop(&mut self.table, error)
    }

    fn to_debug_string(&mut self, error: Resource<error::Error>) -> Result<String> {
        // Not the debug form: that could tell a guest about the host's paths and sources.
        Ok(self.table.get(&error)?.to_string())
    }
}

impl poll::Host for State {
    async fn poll(&mut self, pollables: Vec<Resource<DynPollable>>) -> Result<Vec<u32>> {
        self.scope.count_operations(count(pollables.len()).max(1))?;
        poll::Host::poll(&mut self.table, pollables).await
    }
}

impl poll::HostPollable for State {
    async fn block(&mut self, pollable: Resource<DynPollable>) -> Result<()> {
        self.scope.count_operation()?;
        poll::HostPollable::block(&mut self.table, pollable).await
    }

    async fn ready(&mut self, pollable: Resource<DynPollable>) -> Result<bool> {
        self.scope.count_operation()?;
        poll::HostPollable::ready(&mut self.table, pollable).await
    }

    fn drop(&mut self, pollable: Resource<DynPollable>) -> Result<()> {
        poll::HostPollable::drop(&mut self.table, pollable)
    }
}

impl streams::Host for State {
    fn convert_stream_error(&mut self, error: StreamError) -> Result<streams::StreamError> {
        match error {
            StreamError::Closed => Ok(streams::StreamError::Closed),
            StreamError::LastOperationFailed(error) => {
                Ok(streams::StreamError::LastOperationFailed(self.table.push(error)?))
            }
            StreamError::Trap(error) => Err(error),
        }
    }
}

impl streams::HostInputStream for State {
    async fn drop(&mut self, stream: Resource<DynInputStream>) -> Result<()> {
        wasi::HostInputStream::drop(&mut self.table, stream).await
    }

    async fn read(
        &mut self,
        stream: Resource<DynInputStream>,
        length: u64,
    ) -> StreamResult<Vec<u8>> {
        self.scope.begin(0).await?;
        wasi::HostInputStream::read(&mut self.table, stream, length)
    }

    async fn blocking_read(
        &mut self,
        stream: Resource<DynInputStream>,
        length: u64,
    ) -> StreamResult<Vec<u8>> {
        self.scope.begin(0).await?;
        wasi::HostInputStream::blocking_read(&mut self.table, stream, length).await
    }

    async fn skip(&mut self, stream: Resource<DynInputStream>, length: u64) -> StreamResult<u64> {
        self.scope.begin(0).await?;
        wasi::HostInputStream::skip(&mut self.table, stream, length)
    }

    async fn blocking_skip(
        &mut self,
        stream: Resource<DynInputStream>,
        length: u64,
    ) -> StreamResult<u64> {
        self.scope.begin(0).await?;
        wasi::HostInputStream::blocking_skip(&mut self.table, stream, length).await
    }

    async fn subscribe(
        &mut self,
        stream: Resource<DynInputStream>,
    ) -> Result<Resource<DynPollable>> {
        self.scope.count_operation()?;
        wasi::HostInputStream::subscribe(&mut self.table, stream)
    }
}

impl streams::HostOutputStream for State {
    async fn drop(&mut self, stream: Resource<DynOutputStream>) -> Result<()> {
        self.files.stream_dropped(stream.rep());
        wasi::HostOutputStream::drop(&mut self.table, stream).await
    }

    async fn check_write(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<u64> {
        self.scope.begin(0).await?;
        wasi::HostOutputStream::check_write(&mut self.table, stream)
    }

    async fn write(
        &mut self,
        stream: Resource<DynOutputStream>,
        bytes: Vec<u8>,
    ) -> StreamResult<()> {
        self.scope.begin(bytes.len()).await?;
        if self.files.announces(stream.rep()) {
            return self.table.get_mut(&stream)?.blocking_write_and_flush(bytes.into()).await;
        }
        wasi::HostOutputStream::write(&mut self.table, stream, bytes)
    }

    async fn subscribe(
        &mut self,
        stream: Resource<DynOutputStream>,
    ) -> Result<Resource<DynPollable>> {
        self.scope.count_operation()?;
        wasi::HostOutputStream::subscribe(&mut self.table, stream)
    }

    async fn blocking_write_and_flush(
        &mut self,
        stream: Resource<DynOutputStream>,
        bytes: Vec<u8>,
    ) -> StreamResult<()> {
        self.scope.begin(bytes.len()).await?;
        wasi::HostOutputStream::blocking_write_and_flush(&mut self.table, stream, bytes).await
    }

    async fn blocking_write_zeroes_and_flush(
        &mut self,
        stream: Resource<DynOutputStream>,
        length: u64,
    ) -> StreamResult<()> {
        self.scope.begin(0).await?;
        wasi::HostOutputStream::blocking_write_zeroes_and_flush(&mut self.table, stream, length)
            .await
    }

    async fn write_zeroes(
        &mut self,
        stream: Resource<DynOutputStream>,
        length: u64,
    ) -> StreamResult<()> {
        self.scope.begin(0).await?;
        if self.files.announces(stream.rep()) {
            let stream = self.table.get_mut(&stream)?;
            if size(length) > stream.check_write()? {
                return Err(StreamError::trap("more zeros than check-write allows"));
            }
            return stream.blocking_write_and_flush(vec![0; size(length)].into()).await;
        }
        wasi::HostOutputStream::write_zeroes(&mut self.table, stream, length)
    }

    async fn flush(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<()> {
        self.scope.begin(0).await?;
        wasi::HostOutputStream::flush(&mut self.table, stream)
    }

    async fn blocking_flush(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<()> {
        self.scope.begin(0).await?;
        wasi::HostOutputStream::blocking_flush(&mut self.table, stream).await
    }

    async fn splice(
        &mut self,
        destination: Resource<DynOutputStream>,
        source: Resource<DynInputStream>,
        length: u64,
    ) -> StreamResult<u64> {
        self.scope.begin(0).await?;
        if self.files.announces(destination.rep()) {
            let permit = self.table.get_mut(&destination)?.check_write()?;
            let bytes = self.table.get_mut(&source)?.read(size(length).min(permit))?;
            let length = count(bytes.len());
            self.table.get_mut(&destination)?.blocking_write_and_flush(bytes).await?;
            return Ok(length);
        }
        wasi::HostOutputStream::splice(&mut self.table, destination, source, length)
    }

    async fn blocking_splice(
        &mut self,
        destination: Resource<DynOutputStream>,
        source: Resource<DynInputStream>,
        length: u64,
    ) -> StreamResult<u64> {
        self.scope.begin(0).await?;
        wasi::HostOutputStream::blocking_splice(&mut self.table, destination, source, length).await
    }
}
