//! `cp` and `mv`.

use std::io;

use crate::commands::Invocation;
use crate::commands::arguments::Arguments;
use crate::commands::changing::remove_tree;
use crate::commands::walk::{Walk, joined};
use crate::fault::Reason;
use crate::files::{Kind, Links, Writing};
use crate::halt::{Halt, Ran};

/// Sources, and where each goes.
fn pairs(call: &Invocation<'_>, arguments: &Arguments) -> Result<Vec<(String, String)>, Halt> {
    let (sources, target) = match (arguments.value('t'), arguments.operands.split_last()) {
        (Some(target), Some(_)) => (arguments.operands.as_slice(), target),
        (None, Some((target, sources))) if !sources.is_empty() => (sources, target.as_str()),
        _ => return Err(Halt::usage("needs a source and a target")),
    };
    let is_directory = call.shell.files.kind(&call.shell.absolute(target)) == Some(Kind::Directory);
    if (sources.len() > 1 || target.ends_with('/')) && !is_directory {
        return Err(Reason::NotDirectory.at(target).into());
    }
    let place = |source: &String| {
        let name = source.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let to = if is_directory && !arguments.has('T') {
            joined(target, name)
        } else {
            target.to_owned()
        };
        (source.clone(), to)
    };
    Ok(sources.iter().map(place).collect())
}

/// The source is the target, or holds it.
fn is_within(call: &Invocation<'_>, from: &str, to: &str) -> bool {
    let (from, to) = (call.shell.absolute(from), call.shell.absolute(to));
    to == from || to.strip_prefix(&from).is_some_and(|rest| rest.starts_with('/'))
}

pub(super) fn copy(call: &mut Invocation<'_>) -> Ran {
    let long = &[
        ("recursive", 'r'),
        ("archive", 'a'),
        ("no-clobber", 'n'),
        ("force", 'f'),
        ("target-directory", 't'),
        ("no-target-directory", 'T'),
        ("verbose", 'v'),
        ("preserve", 'p'),
    ];
    let arguments = Arguments::parse(call.arguments, "rRanfvpt:T", long)?;
    let recursive = "rRa".chars().any(|letter| arguments.has(letter));
    let mut status = 0;
    for (from, to) in pairs(call, &arguments)? {
        if arguments.has('n') && call.shell.files.kind(&call.shell.absolute(&to)).is_some() {
            continue;
        }
        let result = if is_within(call, &from, &to) {
            Err(Halt::fail(format!("{from} cannot be copied onto or into itself, {to}")))
        } else {
            match call.shell.at(&from, |files, path| files.facts(path, Links::Follow)) {
                Ok(facts) if facts.kind != Kind::Directory => {
                    copy_file(call, &from, &to).map(|()| 0)
                }
                Ok(_) if recursive => copy_tree(call, &from, &to),
                Ok(_) => Err(Halt::fail(format!("{from} is a directory: say -r"))),
                Err(fault) => Err(fault.into()),
            }
        };
        match result {
            Ok(own) => status = status.max(own),
            Err(halt) => status = call.shell.reported(call.name, halt)?,
        }
    }
    Ok(status)
}

fn copy_file(call: &Invocation<'_>, from: &str, to: &str) -> Result<(), Halt> {
    let mut source = call.shell.at(from, |files, path| files.open(path))?;
    let mut target = call.shell.at(to, |files, path| files.create(path, Writing::Replace))?;
    io::copy(&mut source, &mut target)
        .map_err(|error| Reason::from_io(&error, &call.shell.absolute(to)).at(to))?;
    Ok(())
}

fn copy_tree(call: &mut Invocation<'_>, from: &str, to: &str) -> Ran {
    let mut status = 0;
    let mut walk = Walk::begin(call, from)?;
    while let Some(step) = walk.next(call, &mut status)? {
        let below = step.path[from.len()..].trim_start_matches('/');
        let place = if below.is_empty() { to.to_owned() } else { joined(to, below) };
        let result = match step.kind {
            Kind::Directory if step.is_after => Ok(()),
            Kind::Directory => match call.shell.files.kind(&call.shell.absolute(&place)) {
                Some(Kind::Directory) => Ok(()),
                _ => call
                    .shell
                    .at(&place, |files, path| files.make_directory(path))
                    .map_err(Halt::from),
            },
            Kind::File => copy_file(call, &step.path, &place),
            Kind::Link | Kind::Other => {
                Err(Halt::fail(format!("{}: is no file, and was left out", step.path)))
            }
        };
        if let Err(halt) = result {
            status = call.shell.reported(call.name, halt)?;
            if step.kind == Kind::Directory {
                walk.skip(&step);
            }
        }
    }
    Ok(status)
}

pub(super) fn rename(call: &mut Invocation<'_>) -> Ran {
    let long = &[
        ("no-clobber", 'n'),
        ("force", 'f'),
        ("target-directory", 't'),
        ("no-target-directory", 'T'),
        ("verbose", 'v'),
    ];
    let arguments = Arguments::parse(call.arguments, "nfvt:T", long)?;
    let mut status = 0;
    for (from, to) in pairs(call, &arguments)? {
        if arguments.has('n') && call.shell.files.kind(&call.shell.absolute(&to)).is_some() {
            continue;
        }
        if let Err(halt) = rename_one(call, &from, &to) {
            status = call.shell.reported(call.name, halt)?;
        }
    }
    Ok(status)
}

fn rename_one(call: &mut Invocation<'_>, from: &str, to: &str) -> Result<(), Halt> {
    let facts = call.shell.at(from, |files, path| files.facts(path, Links::Show))?;
    if is_within(call, from, to) {
        return Err(Halt::fail(format!("{from} cannot be moved onto or into itself, {to}")));
    }
    let target = call.shell.at(to, |files, path| files.facts(path, Links::Show)).ok();
    if target.is_some_and(|target| target.kind == Kind::Directory && facts.kind != Kind::Directory)
    {
        return Err(Reason::IsDirectory.at(to).into());
    }
    let (full_from, full_to) = (call.shell.absolute(from), call.shell.absolute(to));
    let renamed = call.shell.files.rename(&full_from, &full_to).map_err(|reason| {
        let path = match &reason {
            Reason::Denied(denial) if denial.path == full_from => from,
            Reason::NotFound | Reason::Mount | Reason::LooksOnly => from,
            _ => to,
        };
        reason.at(path)
    })?;
    if renamed {
        return Ok(());
    }
    // Another mount: a rename does not reach there, a copy does.
    if facts.kind != Kind::Directory {
        copy_file(call, from, to)?;
        return Ok(call.shell.at(from, |files, path| files.remove_file(path))?);
    }
    match copy_tree(call, from, to)? {
        0 => remove_tree(call, from).map(drop),
        _ => Err(Halt::fail(format!("{from} was not copied whole, and stays"))),
    }
}
