//! `wasi:io`: streams and waiting, counted.
//!
//! Needs no grant: a stream is got from another capability. Each operation counts against
//! `host_operations_max`, also one that moves nothing: a guest pays a few units of fuel for a
//! write of nothing, the host hundreds of nanoseconds. The work is wasmtime-wasi-io's.

use foreshore_domain::call::FiredLimit;
use wasmtime::Result;
use wasmtime::component::{HasSelf, Linker, Resource};
use wasmtime_wasi_io::bindings::wasi::io::{error, poll, streams};
use wasmtime_wasi_io::poll::DynPollable;
use wasmtime_wasi_io::streams::{DynInputStream, DynOutputStream, StreamError, StreamResult};

use crate::limiter::{LimitFired, count};
use crate::state::State;

pub(crate) fn link(linker: &mut Linker<State>) -> Result<()> {
    error::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    poll::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    streams::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

impl State {
    fn count_stream_operation(&self) -> StreamResult<()> {
        self.scope.count_operation().map_err(|fired| StreamError::Trap(fired.into()))
    }

    /// What a guest may hand over at once, so that a stream need not hold more.
    fn check_size(&self, bytes: &[u8]) -> StreamResult<()> {
        let allowed = self.scope.context.limits.hostcall_max_bytes.get();
        if count(bytes.len()) <= allowed {
            return Ok(());
        }
        Err(StreamError::Trap(LimitFired { limit: FiredLimit::HostCall, allowed }.into()))
    }
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
        streams::Host::convert_stream_error(&mut self.table, error)
    }
}

impl streams::HostInputStream for State {
    async fn drop(&mut self, stream: Resource<DynInputStream>) -> Result<()> {
        streams::HostInputStream::drop(&mut self.table, stream).await
    }

    fn read(&mut self, stream: Resource<DynInputStream>, length: u64) -> StreamResult<Vec<u8>> {
        self.count_stream_operation()?;
        streams::HostInputStream::read(&mut self.table, stream, length)
    }

    async fn blocking_read(
        &mut self,
        stream: Resource<DynInputStream>,
        length: u64,
    ) -> StreamResult<Vec<u8>> {
        self.count_stream_operation()?;
        streams::HostInputStream::blocking_read(&mut self.table, stream, length).await
    }

    fn skip(&mut self, stream: Resource<DynInputStream>, length: u64) -> StreamResult<u64> {
        self.count_stream_operation()?;
        streams::HostInputStream::skip(&mut self.table, stream, length)
    }

    async fn blocking_skip(
        &mut self,
        stream: Resource<DynInputStream>,
        length: u64,
    ) -> StreamResult<u64> {
        self.count_stream_operation()?;
        streams::HostInputStream::blocking_skip(&mut self.table, stream, length).await
    }

    fn subscribe(&mut self, stream: Resource<DynInputStream>) -> Result<Resource<DynPollable>> {
        self.scope.count_operation()?;
        streams::HostInputStream::subscribe(&mut self.table, stream)
    }
}

impl streams::HostOutputStream for State {
    async fn drop(&mut self, stream: Resource<DynOutputStream>) -> Result<()> {
        streams::HostOutputStream::drop(&mut self.table, stream).await
    }

    fn check_write(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<u64> {
        self.count_stream_operation()?;
        streams::HostOutputStream::check_write(&mut self.table, stream)
    }

    fn write(&mut self, stream: Resource<DynOutputStream>, bytes: Vec<u8>) -> StreamResult<()> {
        self.count_stream_operation()?;
        self.check_size(&bytes)?;
        streams::HostOutputStream::write(&mut self.table, stream, bytes)
    }

    fn subscribe(&mut self, stream: Resource<DynOutputStream>) -> Result<Resource<DynPollable>> {
        self.scope.count_operation()?;
        streams::HostOutputStream::subscribe(&mut self.table, stream)
    }

    async fn blocking_write_and_flush(
        &mut self,
        stream: Resource<DynOutputStream>,
        bytes: Vec<u8>,
    ) -> StreamResult<()> {
        self.count_stream_operation()?;
        streams::HostOutputStream::blocking_write_and_flush(&mut self.table, stream, bytes).await
    }

    async fn blocking_write_zeroes_and_flush(
        &mut self,
        stream: Resource<DynOutputStream>,
        length: u64,
    ) -> StreamResult<()> {
        self.count_stream_operation()?;
        streams::HostOutputStream::blocking_write_zeroes_and_flush(&mut self.table, stream, length)
            .await
    }

    fn write_zeroes(&mut self, stream: Resource<DynOutputStream>, length: u64) -> StreamResult<()> {
        self.count_stream_operation()?;
        streams::HostOutputStream::write_zeroes(&mut self.table, stream, length)
    }

    fn flush(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<()> {
        self.count_stream_operation()?;
        streams::HostOutputStream::flush(&mut self.table, stream)
    }

    async fn blocking_flush(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<()> {
        self.count_stream_operation()?;
        streams::HostOutputStream::blocking_flush(&mut self.table, stream).await
    }

    fn splice(
        &mut self,
        destination: Resource<DynOutputStream>,
        source: Resource<DynInputStream>,
        length: u64,
    ) -> StreamResult<u64> {
        self.count_stream_operation()?;
        streams::HostOutputStream::splice(&mut self.table, destination, source, length)
    }

    async fn blocking_splice(
        &mut self,
        destination: Resource<DynOutputStream>,
        source: Resource<DynInputStream>,
        length: u64,
    ) -> StreamResult<u64> {
        self.count_stream_operation()?;
        streams::HostOutputStream::blocking_splice(&mut self.table, destination, source, length)
            .await
    }
}
