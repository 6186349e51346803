//! `sed`: its script is read in `parse` and run in `run`.

mod parse;
mod run;
mod substitute;

use regex::bytes::Regex;

use crate::commands::Invocation;
use crate::commands::arguments::Arguments;
use crate::expression::Syntax;
use crate::files::Writing;
use crate::halt::{Halt, Ran};

/// A line, or the lines between two, at which a command applies.
#[derive(Clone, Debug)]
enum Address {
    Line(usize),
    /// `FIRST~STEP`
    Step(usize, usize),
    Last,
    /// `None` is the last expression that was used.
    Match(Option<Regex>),
    /// `ADDRESS,+N`
    Further(usize),
}

#[derive(Debug)]
struct Command {
    from: Option<Address>,
    to: Option<Address>,
    /// `!`
    negated: bool,
    action: Action,
}

#[derive(Debug)]
enum Action {
    /// Runs what follows, up to the command of this index.
    Block {
        end: usize,
    },
    End,
    Label,
    /// Goes on at the command of this index; past the last one, at the end.
    Branch {
        to: String,
        when: Branching,
    },
    Substitute(Substitution),
    Translate(Vec<char>, Vec<char>),
    Append(String),
    Insert(String),
    Change(String),
    Delete,
    DeleteFirstLine,
    Print,
    PrintFirstLine,
    LineNumber,
    Next,
    AppendNext,
    Quit {
        status: i32,
        prints: bool,
    },
    Hold {
        appends: bool,
    },
    Get {
        appends: bool,
    },
    Exchange,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Branching {
    Always,
    /// `t`: after a substitution that was made.
    Substituted,
    /// `T`
    NotSubstituted,
}

#[derive(Debug)]
struct Substitution {
    expression: Option<Regex>,
    replacement: Vec<Replacement>,
    /// From which match on.
    occurrence: usize,
    all: bool,
    prints: bool,
}

#[derive(Clone, Debug)]
enum Replacement {
    Text(String),
    /// `&` is 0.
    Group(usize),
    /// `\U`, `\L`, `\u`, `\l` and `\E`.
    Case(char),
}

/// A script that can be run.
#[derive(Debug)]
struct Script {
    commands: Vec<Command>,
    labels: Vec<(String, usize)>,
}

pub(super) fn sed(call: &mut Invocation<'_>) -> Ran {
    let long = &[
        ("quiet", 'n'),
        ("silent", 'n'),
        ("regexp-extended", 'E'),
        ("in-place", 'i'),
        ("separate", 's'),
        ("expression", 'e'),
        ("file", 'f'),
    ];
    let arguments = Arguments::parse(call.arguments, "nErise:f:z", long)?;
    let mut texts: Vec<String> = arguments.values('e').map(str::to_owned).collect();
    for path in arguments.values('f') {
        let bytes = call.open(path)?.rest()?;
        texts.push(String::from_utf8_lossy(&bytes).into_owned());
    }
    let mut paths = arguments.operands.as_slice();
    if texts.is_empty() {
        let Some((script, rest)) = paths.split_first() else {
            return Err(Halt::usage("a script is missing"));
        };
        texts.push(script.clone());
        paths = rest;
    }
    let syntax = match arguments.has('E') || arguments.has('r') {
        true => Syntax::Extended,
        false => Syntax::Basic,
    };
    let script = parse::script(&texts.join("\n"), syntax)?;
    let quiet = arguments.has('n');
    if !arguments.has('i') && !arguments.has('s') {
        let mut inputs = Vec::new();
        let status = call.each_input(paths, |_, _, input| {
            inputs.push(input.clone());
            Ok(())
        })?;
        let ended = run::run(call, &script, inputs, quiet, None)?;
        return Ok(ended.max(status));
    }
    let mut status = 0;
    for path in paths {
        match one_file(call, &script, path, quiet, arguments.has('i')) {
            Ok(ended) => status = status.max(ended),
            Err(halt) => status = call.shell.reported(call.name, halt)?,
        }
    }
    Ok(status)
}

fn one_file(
    call: &mut Invocation<'_>,
    script: &Script,
    path: &str,
    quiet: bool,
    in_place: bool,
) -> Ran {
    if !in_place {
        let input = call.open(path)?;
        return run::run(call, script, vec![input], quiet, None);
    }
    // Before anything is read: what cannot be changed is refused as that.
    call.shell.at(path, |files, path| files.change(path).map(drop))?;
    let input = call.open(path)?;
    let mut edited = Vec::new();
    let status = run::run(call, script, vec![input], quiet, Some(&mut edited))?;
    let output = call.shell.create(path, Writing::Replace)?;
    output.write(&edited)?;
    output.flush()?;
    Ok(status)
}
