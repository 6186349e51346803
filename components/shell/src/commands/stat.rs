//! `stat`.

use crate::calendar::Moment;
use crate::commands::Invocation;
use crate::commands::arguments::Arguments;
use crate::commands::listing::letters;
use crate::escapes::{Style, unescape};
use crate::files::{Facts, Kind, Links};
use crate::halt::{Halt, Ran};

pub(super) fn stat(call: &mut Invocation<'_>) -> Ran {
    let long = &[("format", 'c'), ("printf", '\u{e000}'), ("dereference", 'L')];
    let arguments = Arguments::parse(call.arguments, "c:L\u{e000}:", long)?;
    if arguments.operands.is_empty() {
        return Err(Halt::usage("a path is missing"));
    }
    let links = if arguments.has('L') { Links::Follow } else { Links::Show };
    let mut status = 0;
    for path in &arguments.operands {
        let facts = match call.shell.at(path, |files, path| files.facts(path, links)) {
            Ok(facts) => facts,
            Err(fault) => {
                call.report(&fault)?;
                status = 1;
                continue;
            }
        };
        if let Some(format) = arguments.value('c') {
            call.line(&formatted(format, path, &facts)?)?;
        } else if let Some(format) = arguments.value('\u{e000}') {
            call.write(&unescape(&formatted(format, path, &facts)?, Style::Quoted).bytes)?;
        } else {
            call.line(&formatted(
                "  File: %n\n  Size: %s\t%F\nAccess: %A\nModify: %y",
                path,
                &facts,
            )?)?;
        }
    }
    Ok(status)
}

fn formatted(format: &str, path: &str, facts: &Facts) -> Result<String, Halt> {
    let time = facts.modified.map(Moment::from);
    let kind = match facts.kind {
        Kind::File if facts.bytes == 0 => "regular empty file",
        Kind::File => "regular file",
        Kind::Directory => "directory",
        Kind::Link => "symbolic link",
        Kind::Other => "other",
    };
    let mut shown = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            shown.push(c);
            continue;
        }
        let field = chars.next().unwrap_or('%');
        shown.push_str(&match field {
            'n' => path.to_owned(),
            'N' => format!("'{path}'"),
            's' => facts.bytes.to_string(),
            'F' => kind.to_owned(),
            'A' => letters(facts),
            'y' => time.map_or("-".to_owned(), |time| time.formatted("%Y-%m-%d %H:%M:%S.%N %z")),
            'Y' => time.map_or("-".to_owned(), |time| time.formatted("%s")),
            '%' => "%".to_owned(),
            other => return Err(Halt::usage(format!("%{other} is not known"))),
        });
    }
    Ok(shown)
}
