//! `basename`, `dirname` and `realpath`: paths as texts.

use crate::commands::Invocation;
use crate::commands::arguments::Arguments;
use crate::halt::{Halt, Ran};

pub(super) fn basename(call: &mut Invocation<'_>) -> Ran {
    let arguments = Arguments::parse(call.arguments, "as:", &[("suffix", 's'), ("multiple", 'a')])?;
    let several = arguments.has('a') || arguments.has('s');
    let (paths, suffix) = match arguments.operands.as_slice() {
        [] => return Err(Halt::usage("a path is missing")),
        paths if several => (paths, arguments.value('s')),
        [path] => (std::slice::from_ref(path), None),
        [path, suffix] => (std::slice::from_ref(path), Some(suffix.as_str())),
        _ => return Err(Halt::usage("too many arguments")),
    };
    for path in paths {
        let trimmed = path.trim_end_matches('/');
        let name = match trimmed.rsplit('/').next().unwrap_or_default() {
            "" if path.starts_with('/') => "/",
            name => name,
        };
        let cut = suffix.and_then(|suffix| name.strip_suffix(suffix));
        call.line(cut.filter(|cut| !cut.is_empty()).unwrap_or(name))?;
    }
    Ok(0)
}

pub(super) fn dirname(call: &mut Invocation<'_>) -> Ran {
    let arguments = Arguments::parse(call.arguments, "", &[])?;
    if arguments.operands.is_empty() {
        return Err(Halt::usage("a path is missing"));
    }
    for path in &arguments.operands {
        let directory = match path.trim_end_matches('/').rsplit_once('/') {
            Some((directory, _)) => match directory.trim_end_matches('/') {
                "" => "/",
                directory => directory,
            },
            None if path.starts_with('/') => "/",
            None => ".",
        };
        call.line(directory)?;
    }
    Ok(0)
}

/// By the text alone: what links lead to is not looked up.
pub(super) fn real_path(call: &mut Invocation<'_>) -> Ran {
    let arguments = Arguments::parse(call.arguments, "msqe", &[])?;
    for path in &arguments.operands {
        call.line(&call.shell.absolute(path))?;
    }
    Ok(0)
}
