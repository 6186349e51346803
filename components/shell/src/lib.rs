//! `shell`: command lines over granted mounts, in the sandbox.
//!
//! The functions here are the tools as a model sees them; the grammar, the interpreter and the
//! commands are in the modules, which know no host and are tested as plain Rust. No process of the
//! host is ever started: each command is a function of this component. The invariant: a tool that
//! is marked read-only changes nothing, which `files::Files` sees to in one place.

mod answer;
mod calendar;
#[cfg(test)]
mod cases;
mod commands;
mod escapes;
mod expression;
mod fault;
mod files;
mod halt;
#[cfg_attr(
    not(any(test, target_os = "wasi")),
    allow(dead_code, reason = "mounts exist in the sandbox and in tests")
)]
mod mounts;
mod pattern;
#[cfg(test)]
mod sandbox;
mod shell;
mod stream;
mod syntax;

use std::collections::BTreeMap;
use std::time::SystemTime;

use foreshore_sdk::{Error, Rendered, tool};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::answer::{Answer, Failure};
use crate::fault::Denial;
use crate::files::{Files, Mode};
use crate::mounts::Mounts;

/// Arguments of `run` and `look`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// The command line, or a script of many lines.
    #[schemars(length(min = 1, max = 262144))]
    command: String,
    /// Where it starts: the path of a directory in a mount. Without it, the only mount, or / where
    /// there are several. Each call starts afresh: pass on the "directory" of the last result to
    /// go on from there.
    directory: Option<String>,
    /// What it reads from standard input.
    stdin: Option<String>,
    /// Variables that are set before it starts, and exported.
    #[serde(default)]
    variables: BTreeMap<String, String>,
}

/// Run a command line in a POSIX-like shell inside the sandbox. Files are those of the granted
/// mounts (`ls /` shows them); there are no host processes and no network. It has pipes,
/// redirections, here-documents, globs, variables, $(..), $((..)), && || !, if, for, while, case,
/// functions, [[ ]]; and ls cat head tail grep sed sort uniq wc cut tr find xargs tee diff cp mv rm
/// mkdir touch printf test date du stat seq paste comm and more (`help` lists them). No awk, no
/// background jobs, no arrays.
///
/// Gives stdout, stderr, the exit status and the directory it ended in; a status that is not 0 is
/// no failure of the tool. Output beyond 256 KiB is cut, and "truncated" says so. To look without
/// changing anything, use look.
///
/// Example: {"command": "grep -rn TODO --include='*.rs' . | sort | head -20", "directory": "/data"}
#[tool(title = "Run a command line", destructive)]
fn run(arguments: Arguments) -> Result<Rendered<Answer>, Error> {
    answered(&arguments, Mode::Runs)
}

/// Look at files with a command line: the same shell as run, in which nothing can be changed.
/// Redirections to files, mkdir, cp, mv, rm, tee, touch and sed -i end it with an error that says
/// so; > /dev/null is fine.
///
/// Example: {"command": "cd src && ls -l && wc -l *.rs | sort -n | tail -5", "directory": "/data"}
#[tool(title = "Look with a command line", read_only, idempotent)]
fn look(arguments: Arguments) -> Result<Rendered<Answer>, Error> {
    answered(&arguments, Mode::Looks)
}

foreshore_sdk::export!(run, look);

fn answered(arguments: &Arguments, mode: Mode) -> Result<Rendered<Answer>, Error> {
    let answer = answer::answer(arguments, Files::new(Mounts::granted(), mode), now)?;
    let text = answer.text();
    Ok(Rendered::new(answer, text))
}

/// The guest's clock, as coarse or as still as the grant has it.
#[allow(clippy::disallowed_methods, reason = "a guest reads the clock that its grant gives it")]
fn now() -> SystemTime {
    SystemTime::now()
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Denied(Denial { code, path }) => Self::denied(code.name(), path),
            Failure::Invalid { pointer, message } => Self::invalid(pointer, message),
            Failure::Stopped { message } => Self::failed(message),
        }
    }
}
