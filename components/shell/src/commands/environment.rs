//! Variables, settings and arguments of the script.

use crate::commands::Invocation;
use crate::halt::{Halt, Ran};
use crate::syntax::is_name;

fn split(argument: &str) -> Result<(&str, Option<&str>), Halt> {
    let (name, value) = match argument.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (argument, None),
    };
    if is_name(name) {
        Ok((name, value))
    } else {
        Err(Halt::fail(format!("{name:?} is no name of a variable")))
    }
}

pub(super) fn export(call: &mut Invocation<'_>) -> Ran {
    let arguments = call.arguments.iter().filter(|argument| *argument != "-p");
    let mut any = false;
    for argument in arguments {
        any = true;
        let (name, value) = split(argument)?;
        if let Some(value) = value {
            call.shell.set(name, value.to_owned())?;
        }
        if let Some(variable) = call.shell.scope.variables.get_mut(name) {
            variable.exported = true;
        }
    }
    if !any {
        for (name, variable) in &call.shell.scope.variables {
            if variable.exported {
                call.line(&format!("export {name}={}", quoted(&variable.value)))?;
            }
        }
    }
    Ok(0)
}

/// The text as the shell would read it again.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

pub(super) fn local(call: &mut Invocation<'_>) -> Ran {
    if call.shell.scope.locals.is_empty() {
        return Err(Halt::fail("is for functions"));
    }
    for argument in call.arguments {
        let (name, value) = split(argument)?;
        let before = call.shell.scope.variables.get(name).cloned();
        if let Some(locals) = call.shell.scope.locals.last_mut() {
            locals.push((name.to_owned(), before));
        }
        call.shell.set(name, value.unwrap_or_default().to_owned())?;
    }
    Ok(0)
}

pub(super) fn unset(call: &mut Invocation<'_>) -> Ran {
    let (functions, names) = match call.arguments.split_first() {
        Some((option, names)) if option == "-f" => (true, names),
        Some((option, names)) if option == "-v" => (false, names),
        _ => (false, call.arguments),
    };
    for name in names {
        let was_variable = !functions && call.shell.scope.variables.remove(name).is_some();
        if !was_variable {
            call.shell.scope.functions.remove(name);
        }
    }
    Ok(0)
}

pub(super) fn set(call: &mut Invocation<'_>) -> Ran {
    if call.arguments.is_empty() {
        for (name, variable) in &call.shell.scope.variables {
            call.line(&format!("{name}={}", quoted(&variable.value)))?;
        }
        return Ok(0);
    }
    let mut rest = call.arguments.iter();
    while let Some(argument) = rest.next() {
        let is_on = argument.starts_with('-');
        let letters = match argument.as_str() {
            "--" => {
                call.shell.scope.positional = rest.cloned().collect();
                break;
            }
            argument if argument.len() > 1 && argument.starts_with(['-', '+']) => &argument[1..],
            _ => {
                let arguments = std::iter::once(argument).chain(rest);
                call.shell.scope.positional = arguments.cloned().collect();
                break;
            }
        };
        let settings = &mut call.shell.scope.settings;
        for letter in letters.chars() {
            let name = match letter {
                'e' => "errexit",
                'u' => "nounset",
                'f' => "noglob",
                'x' => "xtrace",
                'o' => rest.next().map_or("", String::as_str),
                _ => return Err(Halt::usage(format!("the setting -{letter} is not known"))),
            };
            let setting = match name {
                "errexit" => &mut settings.exit_on_failure,
                "nounset" => &mut settings.refuse_unset,
                "noglob" => &mut settings.keep_patterns,
                "xtrace" => &mut settings.trace,
                "pipefail" => &mut settings.fail_with_any,
                name => return Err(Halt::usage(format!("the setting {name:?} is not known"))),
            };
            *setting = is_on;
        }
    }
    Ok(0)
}

pub(super) fn print_environment(call: &mut Invocation<'_>) -> Ran {
    if call.arguments.is_empty() {
        return print_all(call);
    }
    let mut status = 0;
    for name in call.arguments {
        match call.shell.scope.variables.get(name).filter(|variable| variable.exported) {
            Some(variable) => call.line(&variable.value)?,
            None => status = 1,
        }
    }
    Ok(status)
}

fn print_all(call: &Invocation<'_>) -> Ran {
    for (name, variable) in &call.shell.scope.variables {
        if variable.exported {
            call.line(&format!("{name}={}", variable.value))?;
        }
    }
    Ok(0)
}

pub(super) fn env(call: &mut Invocation<'_>) -> Ran {
    let is_assignment =
        |argument: &&String| argument.split_once('=').is_some_and(|(name, _)| is_name(name));
    let count = call.arguments.iter().take_while(is_assignment).count();
    let (assignments, command) = call.arguments.split_at(count);
    if command.first().is_some_and(|first| first.starts_with('-')) {
        return Err(Halt::usage("options are not known; write [NAME=VALUE]… [COMMAND]"));
    }
    let mut assigned = Vec::new();
    for argument in assignments {
        let (name, value) = split(argument)?;
        assigned.push((name.to_owned(), value.unwrap_or_default().to_owned()));
    }
    call.shell.subshell(|shell| {
        for (name, value) in assigned {
            shell.set(&name, value)?;
            shell.scope.variables.entry(name).or_default().exported = true;
        }
        match command.split_first() {
            Some((name, arguments)) => shell.invoke(name, arguments),
            None => print_all(&Invocation { shell, name: "env", arguments: &[] }),
        }
    })
}
