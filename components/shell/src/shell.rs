//! The state of a script that runs, and the bounds it runs in.
//!
//! One `Shell` runs one script: nothing of it outlives the call. The invariant: every command
//! counts against `STEPS_MAX` and every level of nesting against `DEPTH_MAX`, so that a hostile
//! script ends with a message and never with a trap of this component.

mod arithmetic;
mod condition;
mod execute;
mod expand;
mod fields;
mod parameter;
mod pathnames;
mod redirect;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use crate::fault::{Denial, Fault, Reason};
use crate::files::Files;
use crate::halt::{Halt, Stop};
use crate::mounts::absolute;
use crate::stream::{Input, Output};
use crate::syntax::Command;

/// How many commands a script may run.
pub(crate) const STEPS_MAX: u32 = 100_000;

/// How deep commands, functions and substitutions may nest while they run.
const DEPTH_MAX: usize = 100;

/// How long a variable's value, and a word, may be.
const TEXT_MAX_BYTES: usize = 1 << 20;

/// A script's state.
pub(crate) struct Shell {
    pub(crate) files: Files,
    pub(crate) scope: Scope,
    pub(crate) streams: Streams,
    /// `$?`
    pub(crate) status: i32,
    /// The first thing that policy refused.
    pub(crate) denial: Option<Denial>,
    pub(crate) clock: fn() -> SystemTime,
    /// How long the script has slept.
    pub(crate) slept: Duration,
    steps: u32,
    depth: usize,
    /// How many places around this one look at the status, so that `set -e` does not.
    checked: u32,
    /// The status of the last substitution of a command.
    substituted: Option<i32>,
}

/// What a subshell has of its own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    pub(crate) variables: BTreeMap<String, Variable>,
    pub(crate) functions: BTreeMap<String, Rc<Command>>,
    /// `$1`, `$2`, …
    pub(crate) positional: Vec<String>,
    pub(crate) settings: Settings,
    /// The working directory, in full.
    pub(crate) directory: String,
    /// How many loops stand around this place.
    pub(crate) loops: u32,
    /// For each function that runs, what its `local` variables were before.
    pub(crate) locals: Vec<Vec<(String, Option<Variable>)>>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Variable {
    pub(crate) value: String,
    pub(crate) exported: bool,
}

/// What `set` sets.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Settings {
    /// `-e`
    pub(crate) exit_on_failure: bool,
    /// `-u`
    pub(crate) refuse_unset: bool,
    /// `-f`
    pub(crate) keep_patterns: bool,
    /// `-o pipefail`
    pub(crate) fail_with_any: bool,
    /// `-x`
    pub(crate) trace: bool,
}

/// What a descriptor stands for.
#[derive(Clone, Debug)]
pub(crate) enum Stream {
    In(Input),
    Out(Output),
}

/// The descriptors 0 to 9.
#[derive(Clone, Debug, Default)]
pub(crate) struct Streams([Option<Stream>; 10]);

impl Streams {
    pub(crate) fn new(input: Input, output: Output, errors: Output) -> Self {
        let mut streams = Self::default();
        streams.0[0] = Some(Stream::In(input));
        streams.0[1] = Some(Stream::Out(output));
        streams.0[2] = Some(Stream::Out(errors));
        streams
    }

    pub(crate) fn set(&mut self, descriptor: usize, stream: Option<Stream>) {
        if let Some(slot) = self.0.get_mut(descriptor) {
            *slot = stream;
        }
    }

    pub(crate) fn find(&self, descriptor: usize) -> Option<&Stream> {
        self.0.get(descriptor).and_then(Option::as_ref)
    }

    pub(crate) fn outputs(&self) -> impl Iterator<Item = &Output> {
        self.0.iter().filter_map(|stream| match stream {
            Some(Stream::Out(output)) => Some(output),
            _ => None,
        })
    }

    /// Where standard input comes from; empty if it is closed.
    pub(crate) fn input(&self) -> Input {
        match self.find(0) {
            Some(Stream::In(input)) => input.clone(),
            _ => Input::bytes(Vec::new()),
        }
    }

    pub(crate) fn write(&self, descriptor: usize, data: &[u8]) -> Result<(), Halt> {
        match self.find(descriptor) {
            Some(Stream::Out(output)) => Ok(output.write(data)?),
            _ if descriptor == 2 => Ok(()),
            _ => Err(Halt::fail("write error: the output is closed")),
        }
    }
}

impl Shell {
    pub(crate) fn new(files: Files, streams: Streams, clock: fn() -> SystemTime) -> Self {
        let directory = files.start();
        let mut shell = Self {
            files,
            scope: Scope { directory: directory.clone(), ..Scope::default() },
            streams,
            status: 0,
            denial: None,
            clock,
            slept: Duration::ZERO,
            steps: 0,
            depth: 0,
            checked: 0,
            substituted: None,
        };
        shell.scope.variables.insert("IFS".to_owned(), Variable::local(" \t\n"));
        shell.scope.variables.insert("PWD".to_owned(), Variable::exported(&directory));
        shell
    }

    /// Counts one command.
    pub(crate) fn step(&mut self) -> Result<(), Halt> {
        self.steps += 1;
        if self.steps > STEPS_MAX { Err(Halt::Stop(Stop::Steps(STEPS_MAX))) } else { Ok(()) }
    }

    /// Runs something one level deeper.
    fn deeper<T>(&mut self, run: impl FnOnce(&mut Self) -> Result<T, Halt>) -> Result<T, Halt> {
        if self.depth >= DEPTH_MAX {
            return Err(Halt::Stop(Stop::Depth(DEPTH_MAX)));
        }
        self.depth += 1;
        let result = run(self);
        self.depth -= 1;
        result
    }

    /// The path in full, from the working directory.
    pub(crate) fn absolute(&self, path: &str) -> String {
        absolute(&self.scope.directory, path)
    }

    /// Does something with a path in full; a failure names the path as the script wrote it.
    pub(crate) fn at<T>(
        &self,
        path: &str,
        action: impl FnOnce(&Files, &str) -> Result<T, Reason>,
    ) -> Result<T, Fault> {
        if path.is_empty() {
            return Err(Reason::NotFound.at("''"));
        }
        action(&self.files, &self.absolute(path)).map_err(|reason| reason.at(path))
    }

    /// Writes a line to standard error.
    pub(crate) fn complain(&mut self, message: &str) -> Result<(), Halt> {
        self.streams.write(2, format!("{message}\n").as_bytes())
    }

    /// Writes why a path was in the way to standard error, and remembers a denial.
    pub(crate) fn report(&mut self, command: &str, fault: &Fault) -> Result<(), Halt> {
        match &fault.reason {
            Reason::LooksOnly => {
                let (command, path) = (command.to_owned(), fault.path.clone());
                return Err(Halt::Stop(Stop::Looks { command, path }));
            }
            Reason::Denied(denial) => {
                self.denial.get_or_insert_with(|| denial.clone());
            }
            _ => {}
        }
        self.complain(&format!("{command}: {fault}"))
    }

    /// A failure of a command as its status, once it is reported; the rest goes on up.
    pub(crate) fn reported(&mut self, command: &str, halt: Halt) -> Result<i32, Halt> {
        match halt {
            Halt::Fail { status, message } => {
                self.complain(&format!("{command}: {message}"))?;
                Ok(status)
            }
            Halt::Fault(fault) => {
                self.report(command, &fault)?;
                Ok(1)
            }
            halt => Err(halt),
        }
    }

    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.scope.variables.get(name).map(|variable| variable.value.as_str())
    }

    pub(crate) fn set(&mut self, name: &str, value: String) -> Result<(), Halt> {
        if value.len() > TEXT_MAX_BYTES {
            return Err(Halt::Stop(Stop::Text(TEXT_MAX_BYTES)));
        }
        self.scope.variables.entry(name.to_owned()).or_default().value = value;
        Ok(())
    }

    pub(crate) fn enter(&mut self, directory: String) -> Result<(), Halt> {
        let old = std::mem::replace(&mut self.scope.directory, directory.clone());
        self.set("OLDPWD", old)?;
        self.set("PWD", directory)
    }
}

impl Variable {
    fn local(value: &str) -> Self {
        Self { value: value.to_owned(), exported: false }
    }

    pub(crate) fn exported(value: &str) -> Self {
        Self { value: value.to_owned(), exported: true }
    }
}

impl Settings {
    /// `$-`
    pub(crate) fn letters(self) -> String {
        let all = [
            (self.exit_on_failure, 'e'),
            (self.keep_patterns, 'f'),
            (self.refuse_unset, 'u'),
            (self.trace, 'x'),
        ];
        all.iter().filter(|(is_set, _)| *is_set).map(|(_, letter)| letter).collect()
    }
}
