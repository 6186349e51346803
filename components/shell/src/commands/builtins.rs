//! Commands that are about the script itself.

use crate::commands::{Invocation, find, not_found};
use crate::fault::Reason;
use crate::files::{Kind, Links};
use crate::halt::{Halt, Ran};
use crate::syntax::parse;

pub(super) fn succeed(_: &mut Invocation<'_>) -> Ran {
    Ok(0)
}

pub(super) fn fail(_: &mut Invocation<'_>) -> Ran {
    Ok(1)
}

pub(super) fn change_directory(call: &mut Invocation<'_>) -> Ran {
    let operands = match call.arguments.split_first() {
        Some((first, rest)) if first == "--" => rest,
        _ => call.arguments,
    };
    let target = match operands {
        [] => call.shell.files.start(),
        [target] if target == "-" => match call.shell.variable("OLDPWD") {
            Some(old) => old.to_owned(),
            None => return Err(Halt::fail("there is no directory to go back to")),
        },
        [target] => target.clone(),
        _ => return Err(Halt::fail("too many arguments")),
    };
    let facts = call.shell.at(&target, |files, path| files.facts(path, Links::Follow))?;
    if facts.kind != Kind::Directory {
        return Err(Reason::NotDirectory.at(&target).into());
    }
    let directory = call.shell.absolute(&target);
    if operands.first().is_some_and(|operand| operand == "-") {
        call.line(&directory)?;
    }
    call.shell.enter(directory)?;
    Ok(0)
}

pub(super) fn print_directory(call: &mut Invocation<'_>) -> Ran {
    call.line(&call.shell.scope.directory)?;
    Ok(0)
}

fn status(call: &Invocation<'_>) -> Result<i32, Halt> {
    match call.arguments {
        [] => Ok(call.shell.status),
        [text, ..] => match text.parse::<i64>() {
            // A status is a byte.
            Ok(status) => Ok(i32::try_from(status & 0xff).unwrap_or_default()),
            Err(_) => Err(Halt::usage(format!("{text:?} is no status"))),
        },
    }
}

pub(super) fn exit(call: &mut Invocation<'_>) -> Ran {
    Err(Halt::Exit(status(call)?))
}

pub(super) fn leave_function(call: &mut Invocation<'_>) -> Ran {
    Err(Halt::Return(status(call)?))
}

/// How many loops to leave, at most as many as there are.
fn loops(call: &Invocation<'_>) -> Result<Option<u32>, Halt> {
    let count = match call.arguments {
        [] => 1,
        [text, ..] => match text.parse() {
            Ok(count) if count > 0 => count,
            _ => return Err(Halt::usage(format!("{text:?} is no number of loops"))),
        },
    };
    let around = call.shell.scope.loops;
    Ok((around > 0).then(|| count.min(around)))
}

pub(super) fn leave_loop(call: &mut Invocation<'_>) -> Ran {
    loops(call)?.map_or(Ok(0), |count| Err(Halt::Break(count)))
}

pub(super) fn next_round(call: &mut Invocation<'_>) -> Ran {
    loops(call)?.map_or(Ok(0), |count| Err(Halt::Continue(count)))
}

pub(super) fn shift(call: &mut Invocation<'_>) -> Ran {
    let count = match call.arguments {
        [] => 1,
        [text, ..] => super::arguments::number(text)?,
    };
    let positional = &mut call.shell.scope.positional;
    if count > positional.len() {
        return Err(Halt::fail(format!("there are no {count} arguments")));
    }
    positional.drain(..count);
    Ok(0)
}

pub(super) fn eval(call: &mut Invocation<'_>) -> Ran {
    let text = call.arguments.join(" ");
    run_text(call, &text)
}

pub(super) fn source(call: &mut Invocation<'_>) -> Ran {
    let [path, ..] = call.arguments else {
        return Err(Halt::usage("a file is missing"));
    };
    let bytes = call.open(path)?.rest()?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    match run_text(call, &text) {
        Err(Halt::Return(status)) => Ok(status),
        result => result,
    }
}

fn run_text(call: &mut Invocation<'_>, text: &str) -> Ran {
    let script = parse(text).map_err(|error| Halt::usage(error.to_string()))?;
    call.shell.nested(&script)
}

pub(super) fn command(call: &mut Invocation<'_>) -> Ran {
    match call.arguments {
        [] => Ok(0),
        [option, names @ ..] if option == "-v" || option == "-V" => {
            let mut status = 0;
            for name in names {
                let is_known =
                    call.shell.scope.functions.contains_key(name) || find(name).is_some();
                if is_known {
                    call.line(name)?;
                } else {
                    status = 1;
                }
            }
            Ok(status)
        }
        [name, arguments @ ..] => call.shell.invoke_command(name, arguments),
    }
}

pub(super) fn kind_of(call: &mut Invocation<'_>) -> Ran {
    let mut status = 0;
    for name in call.arguments {
        if call.shell.scope.functions.contains_key(name) {
            call.line(&format!("{name} is a function"))?;
        } else if find(name).is_some() {
            call.line(&format!("{name} is a command of this shell"))?;
        } else {
            let message = format!("{name}: {}", not_found(name));
            call.complain(&message)?;
            status = 1;
        }
    }
    Ok(status)
}
