//! `date`.

use crate::calendar::Moment;
use crate::commands::Invocation;
use crate::commands::arguments::Arguments;
use crate::files::Links;
use crate::halt::{Halt, Ran};

pub(super) fn date(call: &mut Invocation<'_>) -> Ran {
    let long = &[("utc", 'u'), ("date", 'd'), ("iso-8601", 'I'), ("reference", 'r')];
    let words: Vec<String> =
        call.arguments.iter().filter(|word| *word != "-Iseconds").cloned().collect();
    let with_seconds = words.len() < call.arguments.len();
    let arguments = Arguments::parse(&words, "ud:Ir:R", long)?;
    let moment = match (arguments.value('d'), arguments.value('r')) {
        (Some(text), _) => Moment::parsed(text).ok_or_else(|| {
            Halt::fail(format!("{text:?} is no date: write @SECONDS or YYYY-MM-DD[ HH:MM[:SS]]"))
        })?,
        (None, Some(path)) => {
            let facts = call.shell.at(path, |files, path| files.facts(path, Links::Follow))?;
            Moment::from(facts.modified.unwrap_or(std::time::UNIX_EPOCH))
        }
        (None, None) => Moment::from((call.shell.clock)()),
    };
    let format = match arguments.operands.as_slice() {
        [] if with_seconds => "%Y-%m-%dT%H:%M:%S+00:00",
        [] if arguments.has('I') => "%F",
        [] if arguments.has('R') => "%a, %d %b %Y %H:%M:%S %z",
        [] => "%a %b %e %H:%M:%S %Z %Y",
        [format] => match format.strip_prefix('+') {
            Some(format) => format,
            None => return Err(Halt::fail("the clock cannot be set; a format begins with +")),
        },
        _ => return Err(Halt::usage("too many arguments")),
    };
    call.line(&moment.formatted(format))?;
    Ok(0)
}
