//! `wasi:cli`: the environment, standard streams and exit of a program.
//!
//! Environment variables are granted by `Grant::env`; there are no arguments and standard
//! input is at its end. Standard output and standard error become log lines, of level info
//! and warn: they are for the author, never part of the result. A line costs the host at most
//! `log_line_max_bytes`, however long it is.

use std::sync::Arc;

use bytes::Bytes;
use foreshore_domain::outcome::LogLevel;
use wasmtime::Result;
use wasmtime::component::{HasSelf, Linker, Resource};
use wasmtime_wasi::p2::bindings::cli::{
    environment, exit, stderr, stdin, stdout, terminal_input, terminal_output, terminal_stderr,
    terminal_stdin, terminal_stdout,
};
use wasmtime_wasi::p2::pipe::ClosedInputStream;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, OutputStream, Pollable, StreamResult};
use wasmtime_wasi_io::async_trait;

use crate::state::{CallScope, State};

/// The guest ended itself, which a tool does not do.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("it called exit with code {code} instead of returning")]
pub(crate) struct Exited {
    code: u8,
}

pub(crate) fn link(linker: &mut Linker<State>) -> Result<()> {
    environment::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    link_streams(linker)
}

/// Everything but the environment.
pub(crate) fn link_streams(linker: &mut Linker<State>) -> Result<()> {
    exit::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    stdin::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    stdout::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    stderr::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    terminal_input::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    terminal_output::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    terminal_stdin::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    terminal_stdout::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    terminal_stderr::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

/// One of the standard streams, as lines of the log.
struct LineWriter {
    scope: Arc<CallScope>,
    stream: StandardStream,
    /// The line so far, never longer than a line may be.
    line: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum StandardStream {
    Output,
    Error,
}

impl LineWriter {
    /// What a guest may write at once.
    const CHUNK_MAX_BYTES: usize = 64 << 10;

    fn stream(scope: &Arc<CallScope>, stream: StandardStream) -> DynOutputStream {
        Box::new(Self { scope: Arc::clone(scope), stream, line: Vec::new() })
    }

    fn push(&mut self, bytes: &[u8]) {
        let room = self.scope.transcript.line_max_bytes().saturating_sub(self.line.len());
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let level = match self.stream {
            StandardStream::Output => LogLevel::Info,
            StandardStream::Error => {
                let words = super::log::escaped_line(&line, line.len());
                self.scope.transcript.keep_last_words(&words);
                LogLevel::Warn
            }
        };
        if !line.is_empty() {
            self.scope.log(level, &line);
        }
    }
}

impl Drop for LineWriter {
    /// A last line without an end is still a line.
    fn drop(&mut self) {
        if !self.line.is_empty() {
            self.end_line();
        }
    }
}

impl OutputStream for LineWriter {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let mut lines = bytes.split(|byte| *byte == b'\n');
        if let Some(first) = lines.next() {
            self.push(first);
        }
        for line in lines {
            self.end_line();
            self.push(line);
        }
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(Self::CHUNK_MAX_BYTES)
    }
}

#[async_trait]
impl Pollable for LineWriter {
    async fn ready(&mut self) {}
}

impl environment::Host for State {
    fn get_environment(&mut self) -> Result<Vec<(String, String)>> {
        let granted = &self.scope.context.grant.env;
        Ok(granted.iter().map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    fn get_arguments(&mut self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn initial_cwd(&mut self) -> Result<Option<String>> {
        Ok(None)
    }
}

impl exit::Host for State {
    fn exit(&mut self, status: std::result::Result<(), ()>) -> Result<()> {
        Err(Exited { code: u8::from(status.is_err()) }.into())
    }

    fn exit_with_code(&mut self, code: u8) -> Result<()> {
        Err(Exited { code }.into())
    }
}

impl stdin::Host for State {
    fn get_stdin(&mut self) -> Result<Resource<DynInputStream>> {
        let stream: DynInputStream = Box::new(ClosedInputStream);
        Ok(self.table.push(stream)?)
    }
}

impl stdout::Host for State {
    fn get_stdout(&mut self) -> Result<Resource<DynOutputStream>> {
        Ok(self.table.push(LineWriter::stream(&self.scope, StandardStream::Output))?)
    }
}

impl stderr::Host for State {
    fn get_stderr(&mut self) -> Result<Resource<DynOutputStream>> {
        Ok(self.table.push(LineWriter::stream(&self.scope, StandardStream::Error))?)
    }
}

// None of the streams is a terminal, so no terminal is ever handed out.

impl terminal_input::Host for State {}

impl terminal_input::HostTerminalInput for State {
    fn drop(&mut self, terminal: Resource<terminal_input::TerminalInput>) -> Result<()> {
        self.table.delete(terminal)?;
        Ok(())
    }
}

impl terminal_output::Host for State {}

impl terminal_output::HostTerminalOutput for State {
    fn drop(&mut self, terminal: Resource<terminal_output::TerminalOutput>) -> Result<()> {
        self.table.delete(terminal)?;
        Ok(())
    }
}

impl terminal_stdin::Host for State {
    fn get_terminal_stdin(&mut self) -> Result<Option<Resource<terminal_stdin::TerminalInput>>> {
        Ok(None)
    }
}

impl terminal_stdout::Host for State {
    fn get_terminal_stdout(&mut self) -> Result<Option<Resource<terminal_stdout::TerminalOutput>>> {
        Ok(None)
    }
}

impl terminal_stderr::Host for State {
    fn get_terminal_stderr(&mut self) -> Result<Option<Resource<terminal_stderr::TerminalOutput>>> {
        Ok(None)
    }
}
