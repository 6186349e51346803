//! `help`: what there is, for whoever writes the script.

use crate::commands::{COMMANDS, Invocation, find, not_found};
use crate::halt::Ran;

const GRAMMAR: &str = "\
A POSIX-like shell in a sandbox: no host processes, no network, files only in the mounts (ls /).
Pipes, redirections (< > >> 2> 2>&1 &> << <<<), && || ! ; ( ) { }, if for while until case,
functions, $(..) $((..)) ${x:-y} ${x#p} ${x%p} ${x/p/r} ${x:1:2}, globs, {a,b}, [[ ]], set -eufx.
Not here: background jobs, arrays, process substitution, back-references in patterns, awk.

";

pub(super) fn help(call: &mut Invocation<'_>) -> Ran {
    if call.arguments.is_empty() {
        call.write(GRAMMAR.as_bytes())?;
        for command in COMMANDS {
            call.line(&format!("{} {}", command.name, command.usage))?;
        }
        return Ok(0);
    }
    let mut status = 0;
    for name in call.arguments {
        match find(name) {
            Some(command) => call.line(&format!("{} {}", command.name, command.usage))?,
            None => {
                call.complain(&format!("{name}: {}", not_found(name)))?;
                status = 1;
            }
        }
    }
    Ok(status)
}
