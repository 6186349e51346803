//! `xargs`, with the commands of this shell.

use crate::commands::Invocation;
use crate::commands::arguments::Grammar;
use crate::halt::{Halt, Ran};
use crate::shell::Stream;
use crate::stream::Input;

/// How many arguments one call gets where nothing is said.
const ARGUMENTS_MAX: usize = 10_000;

pub(super) fn xargs(call: &mut Invocation<'_>) -> Ran {
    let long = &[
        ("null", '0'),
        ("no-run-if-empty", 'r'),
        ("max-args", 'n'),
        ("max-lines", 'L'),
        ("delimiter", 'd'),
        ("max-procs", 'P'),
    ];
    let grammar = Grammar { letters: "0rtn:L:I:d:P:", long, stops_at_operand: true };
    let arguments = grammar.parse(call.arguments)?;
    let bytes = call.open("-")?.rest()?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let by_line = arguments.has('I') || arguments.has('L');
    let delimiter = match arguments.value('d') {
        _ if arguments.has('0') => Some('\0'),
        Some("\\n") => Some('\n'),
        Some("\\t") => Some('\t'),
        Some(text) => text.chars().next(),
        None if by_line => Some('\n'),
        None => None,
    };
    let items = match delimiter {
        Some(delimiter) => {
            let items = text.strip_suffix(delimiter).unwrap_or(&text).split(delimiter);
            let items = items.map(|item| if by_line { item.trim_start() } else { item });
            items.filter(|item| !(by_line && item.is_empty())).map(str::to_owned).collect()
        }
        None => words(&text)?,
    };
    let items: Vec<String> = if text.is_empty() { Vec::new() } else { items };
    let echo = ["echo".to_owned()];
    let command = if arguments.operands.is_empty() { &echo } else { arguments.operands.as_slice() };
    let mut worst = 0;
    if let Some(mark) = arguments.value('I') {
        let marks: usize = command.iter().map(|word| word.matches(mark).count()).sum();
        for item in &items {
            call.bounded(marks.saturating_mul(item.len()))?;
            let replaced: Vec<String> =
                command.iter().map(|word| word.replace(mark, item)).collect();
            worst = worst.max(run(call, &replaced)?);
        }
        return Ok(worst);
    }
    if items.is_empty() {
        return if arguments.has('r') { Ok(0) } else { run(call, command).map(outcome) };
    }
    let most = arguments.number('n')?.or(arguments.number('L')?).unwrap_or(ARGUMENTS_MAX);
    if most == 0 {
        return Err(Halt::usage("-n 0 would never end"));
    }
    for chunk in items.chunks(most) {
        let words: Vec<String> = command.iter().chain(chunk).cloned().collect();
        worst = worst.max(run(call, &words)?);
    }
    Ok(worst)
}

/// What xargs makes of the status of a command.
fn outcome(status: i32) -> i32 {
    match status {
        0 => 0,
        126 | 127 => status,
        _ => 123,
    }
}

/// Runs the command with nothing to read, for what there was is its arguments.
fn run(call: &mut Invocation<'_>, words: &[String]) -> Ran {
    call.shell.step()?;
    let Some((name, arguments)) = words.split_first() else { return Ok(0) };
    let input = call.shell.streams.input();
    call.shell.streams.set(0, Some(Stream::In(Input::bytes(Vec::new()))));
    let result = call.shell.subshell(|shell| shell.invoke(name, arguments));
    call.shell.streams.set(0, Some(Stream::In(input)));
    result.map(outcome)
}

/// Words between blanks, with quotes and backslashes.
fn words(text: &str) -> Result<Vec<String>, Halt> {
    let (mut words, mut current) = (Vec::new(), None::<String>);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\n' => words.extend(current.take()),
            '\\' => current.get_or_insert_default().extend(chars.next()),
            '\'' | '"' => {
                let word = current.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some(next) if next == c => break,
                        Some('\n') | None => {
                            return Err(Halt::fail(format!(
                                "a {c} in what is read is not closed; see -0 and -d"
                            )));
                        }
                        Some(next) => word.push(next),
                    }
                }
            }
            c => current.get_or_insert_default().push(c),
        }
    }
    words.extend(current);
    Ok(words)
}
