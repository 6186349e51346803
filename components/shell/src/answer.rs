//! One call: from its arguments to what it gives back.
//!
//! A denial becomes the call's own error if the script ended in failure, so that the caller is told
//! the grant; a script that went on and succeeded says on its standard error what was denied. What
//! is written never exceeds `STDOUT_MAX_BYTES` and `STDERR_MAX_BYTES`.

use std::time::SystemTime;

use schemars::JsonSchema;
use serde::Serialize;

use crate::Arguments;
use crate::fault::{Denial, Reason};
use crate::files::{Files, Kind, Links};
use crate::halt::{Halt, Stop};
use crate::shell::{Shell, Streams, Variable};
use crate::stream::{Input, Output};
use crate::syntax::{is_name, parse};

const STDOUT_MAX_BYTES: usize = 256 << 10;
const STDERR_MAX_BYTES: usize = 32 << 10;

/// What a script gave.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Answer {
    /// What it wrote, as text: bytes that are no UTF-8 are shown as U+FFFD.
    pub(crate) stdout: String,
    /// What it wrote to standard error.
    pub(crate) stderr: String,
    /// The exit status of the last command.
    pub(crate) status: i32,
    /// Where it ended.
    pub(crate) directory: String,
    /// Some of what it wrote was cut.
    pub(crate) truncated: bool,
}

/// Why there is no answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    Denied(Denial),
    Invalid {
        pointer: &'static str,
        message: String,
    },
    /// A bound ended it; the message has the end of what it wrote.
    Stopped {
        message: String,
    },
}

pub(crate) fn answer(
    arguments: &Arguments,
    files: Files,
    clock: fn() -> SystemTime,
) -> Result<Answer, Failure> {
    let invalid = |pointer, message: String| Failure::Invalid { pointer, message };
    let script =
        parse(&arguments.command).map_err(|error| invalid("/command", error.to_string()))?;
    let input = Input::bytes(arguments.stdin.clone().unwrap_or_default().into_bytes());
    let (output, errors) = (Output::cut_at(STDOUT_MAX_BYTES), Output::cut_at(STDERR_MAX_BYTES));
    let mut shell = Shell::new(files, Streams::new(input, output.clone(), errors.clone()), clock);
    if let Some(directory) = &arguments.directory {
        start_in(&mut shell, directory)?;
    }
    for (name, value) in &arguments.variables {
        if !is_name(name) {
            return Err(invalid("/variables", format!("{name:?} is no name of a variable")));
        }
        shell.scope.variables.insert(name.clone(), Variable::exported(value));
    }
    let result = shell.run(&script);
    let ((stdout, stdout_cut), (stderr, stderr_cut)) = (output.take(), errors.take());
    let (stdout, stdout_cut) = text(&stdout, STDOUT_MAX_BYTES, stdout_cut);
    let (stderr, stderr_cut) = text(&stderr, STDERR_MAX_BYTES, stderr_cut);
    let status = match result {
        Ok(status) => status,
        Err(Halt::Stop(stop @ Stop::Looks { .. })) => {
            return Err(invalid("/command", stop.to_string()));
        }
        Err(Halt::Stop(stop)) => {
            let message = format!("{stop}{}", shown_end(&stdout, &stderr));
            return Err(Failure::Stopped { message });
        }
        // `run` lets nothing else out.
        Err(_) => 1,
    };
    if let Some(denial) = shell.denial.take_if(|_| status != 0) {
        return Err(Failure::Denied(denial));
    }
    let truncated = stdout_cut || stderr_cut;
    Ok(Answer { stdout, stderr, status, directory: shell.scope.directory, truncated })
}

fn start_in(shell: &mut Shell, directory: &str) -> Result<(), Failure> {
    let invalid = |message| Failure::Invalid { pointer: "/directory", message };
    if !directory.starts_with('/') {
        return Err(invalid(format!("{directory:?} is not absolute: write /MOUNT/…")));
    }
    let full = crate::mounts::absolute("/", directory);
    match shell.files.facts(&full, Links::Follow) {
        Ok(facts) if facts.kind == Kind::Directory => shell
            .enter(full)
            .map_err(|_| invalid(format!("{directory} cannot be the working directory"))),
        Ok(_) => Err(invalid(format!("{directory} is no directory"))),
        Err(Reason::Denied(denial)) => Err(Failure::Denied(denial)),
        Err(reason) => Err(invalid(reason.at(directory).to_string())),
    }
}

/// Bytes as text of at most so many bytes.
fn text(bytes: &[u8], max: usize, was_cut: bool) -> (String, bool) {
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    if text.len() <= max {
        return (text, was_cut);
    }
    text.truncate(text.floor_char_boundary(max));
    (text, true)
}

/// The end of what was written before a bound ended the script.
fn shown_end(stdout: &str, stderr: &str) -> String {
    const SHOWN_MAX_BYTES: usize = 2_000;
    let end = |text: &str| {
        let from = text.floor_char_boundary(text.len().saturating_sub(SHOWN_MAX_BYTES));
        text[from..].trim_end().to_owned()
    };
    let mut shown = String::new();
    for (name, text) in [("stdout", end(stdout)), ("stderr", end(stderr))] {
        if !text.is_empty() {
            shown.push_str(&format!("\n[end of {name}]\n{text}"));
        }
    }
    shown
}

impl Answer {
    /// For a reader: what was written, then what is worth knowing about it.
    pub(crate) fn text(&self) -> String {
        let mut text = self.stdout.clone();
        let mut section = |content: &str| {
            if !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
            text.push_str(content);
        };
        if !self.stderr.is_empty() {
            section(&format!("[stderr]\n{}", self.stderr));
        }
        if self.truncated {
            section("[cut: more was written; use head, tail or grep, or write to a file]\n");
        }
        if self.status != 0 {
            section(&format!("[status {}]\n", self.status));
        }
        text
    }
}
