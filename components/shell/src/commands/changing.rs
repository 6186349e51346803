//! `mkdir`, `rmdir`, `rm`, `touch` and `tee`.

use crate::commands::Invocation;
use crate::commands::arguments::Arguments;
use crate::commands::walk::Walk;
use crate::fault::Reason;
use crate::files::{Kind, Links, Writing};
use crate::halt::{Halt, Ran};

fn at_least_one(arguments: &Arguments) -> Result<(), Halt> {
    if arguments.operands.is_empty() { Err(Halt::usage("a path is missing")) } else { Ok(()) }
}

pub(super) fn make_directory(call: &mut Invocation<'_>) -> Ran {
    let arguments =
        Arguments::parse(call.arguments, "pvm:", &[("parents", 'p'), ("verbose", 'v')])?;
    at_least_one(&arguments)?;
    let mut status = 0;
    for path in &arguments.operands {
        let result = match arguments.has('p') {
            true => make_all(call, path),
            false => Ok(call.shell.at(path, |files, path| files.make_directory(path))?),
        };
        if let Err(halt) = result {
            status = call.shell.reported(call.name, halt)?;
        }
    }
    Ok(status)
}

/// Makes a directory and those above it that are missing.
fn make_all(call: &Invocation<'_>, path: &str) -> Result<(), Halt> {
    let full = call.shell.absolute(path);
    let mut missing = Vec::new();
    let mut at = full.as_str();
    loop {
        match call.shell.files.facts(at, Links::Follow) {
            Ok(facts) if facts.kind == Kind::Directory => break,
            Ok(_) => return Err(Reason::NotDirectory.at(path).into()),
            Err(Reason::NotFound) => missing.push(at.to_owned()),
            Err(reason) => return Err(reason.at(path).into()),
        }
        match at.rsplit_once('/') {
            Some((parent, _)) if !parent.is_empty() => at = parent,
            _ => break,
        }
    }
    for directory in missing.iter().rev() {
        call.shell.files.make_directory(directory).map_err(|reason| reason.at(path))?;
    }
    // Where nothing is missing a script that only looks would not be told.
    if missing.is_empty() {
        match call.shell.files.change(&full) {
            Err(Reason::LooksOnly) => return Err(Reason::LooksOnly.at(path).into()),
            _ => return Ok(()),
        }
    }
    Ok(())
}

pub(super) fn remove_directory(call: &mut Invocation<'_>) -> Ran {
    let arguments = Arguments::parse(call.arguments, "", &[])?;
    at_least_one(&arguments)?;
    let mut status = 0;
    for path in &arguments.operands {
        if let Err(fault) = call.shell.at(path, |files, path| files.remove_directory(path)) {
            call.report(&fault)?;
            status = 1;
        }
    }
    Ok(status)
}

pub(super) fn remove(call: &mut Invocation<'_>) -> Ran {
    let long = &[("recursive", 'r'), ("force", 'f'), ("dir", 'd'), ("verbose", 'v')];
    let arguments = Arguments::parse(call.arguments, "rRfdvi", long)?;
    if !arguments.has('f') {
        at_least_one(&arguments)?;
    }
    let recursive = arguments.has('r') || arguments.has('R');
    let mut status = 0;
    for path in &arguments.operands {
        let facts = call.shell.at(path, |files, path| files.facts(path, Links::Show));
        let result = match facts {
            Err(fault) if fault.reason == Reason::NotFound && arguments.has('f') => {
                call.shell.at(path, |files, path| files.change(path).map(drop))
            }
            Err(fault) => Err(fault),
            Ok(facts) if facts.kind == Kind::Directory && recursive => {
                status = status.max(remove_tree(call, path)?);
                Ok(())
            }
            Ok(facts) if facts.kind == Kind::Directory && arguments.has('d') => {
                call.shell.at(path, |files, path| files.remove_directory(path))
            }
            Ok(facts) if facts.kind == Kind::Directory => Err(Reason::IsDirectory.at(path)),
            Ok(_) => call.shell.at(path, |files, path| files.remove_file(path)),
        };
        if let Err(fault) = result {
            call.report(&fault)?;
            status = 1;
        }
    }
    Ok(status)
}

/// Removes a directory with everything in it; links are removed, not what they lead to.
pub(super) fn remove_tree(call: &mut Invocation<'_>, path: &str) -> Ran {
    // Before anything is removed: a mount itself stays, and so does all that is in it.
    call.shell.at(path, |files, path| files.change(path).map(drop))?;
    let mut status = 0;
    let mut walk = Walk::begin(call, path)?;
    while let Some(step) = walk.next(call, &mut status)? {
        let result = match step.kind {
            Kind::Directory if !step.is_after => Ok(()),
            Kind::Directory => call.shell.at(&step.path, |f, path| f.remove_directory(path)),
            _ => call.shell.at(&step.path, |files, path| files.remove_file(path)),
        };
        if let Err(fault) = result {
            call.report(&fault)?;
            status = 1;
        }
    }
    Ok(status)
}

pub(super) fn touch(call: &mut Invocation<'_>) -> Ran {
    let long = &[("no-create", 'c'), ("date", 'd')];
    let arguments = Arguments::parse(call.arguments, "camd:", long)?;
    at_least_one(&arguments)?;
    let time = match arguments.value('d') {
        None => (call.shell.clock)(),
        Some(text) => match crate::calendar::Moment::parsed(text) {
            Some(moment) => moment.time(),
            None => return Err(Halt::fail(format!("{text:?} is no date"))),
        },
    };
    let mut status = 0;
    for path in &arguments.operands {
        let result = match call.shell.at(path, |files, path| files.facts(path, Links::Follow)) {
            Err(fault) if fault.reason == Reason::NotFound && arguments.has('c') => Ok(()),
            Err(fault) if fault.reason == Reason::NotFound => {
                call.shell.at(path, |files, path| files.create(path, Writing::Append).map(drop))
            }
            Err(fault) => Err(fault),
            Ok(_) => Ok(()),
        };
        let dated =
            result.and_then(|()| match call.shell.at(path, |f, p| f.facts(p, Links::Follow)) {
                Ok(_) => call.shell.at(path, |files, path| files.set_modified(path, time)),
                Err(_) => Ok(()),
            });
        if let Err(fault) = dated {
            call.report(&fault)?;
            status = 1;
        }
    }
    Ok(status)
}

pub(super) fn tee(call: &mut Invocation<'_>) -> Ran {
    let arguments = Arguments::parse(call.arguments, "a", &[("append", 'a')])?;
    let writing = if arguments.has('a') { Writing::Append } else { Writing::Replace };
    let (mut outputs, mut status) = (Vec::new(), 0);
    for path in &arguments.operands {
        if path == "/dev/null" {
            continue;
        }
        match call.shell.create(path, writing) {
            Ok(output) => outputs.push(output),
            Err(halt) => status = call.shell.reported(call.name, halt)?,
        }
    }
    let input = call.open("-")?;
    let mut buffer = vec![0; 32 << 10];
    loop {
        let count = input.some(&mut buffer)?;
        if count == 0 {
            break;
        }
        call.write(&buffer[..count])?;
        for output in &outputs {
            output.write(&buffer[..count])?;
        }
    }
    for output in &outputs {
        output.flush()?;
    }
    Ok(status)
}
