//! `read`.

use crate::commands::Invocation;
use crate::commands::arguments::Grammar;
use crate::halt::{Halt, Ran};
use crate::syntax::is_name;

/// A character of the line, and whether a backslash made it no separator.
type Character = (char, bool);

pub(super) fn read(call: &mut Invocation<'_>) -> Ran {
    let grammar = Grammar { letters: "rd:p:", long: &[], stops_at_operand: true };
    let arguments = grammar.parse(call.arguments)?;
    let names = match arguments.operands.as_slice() {
        [] => vec!["REPLY".to_owned()],
        names => names.to_vec(),
    };
    if let Some(name) = names.iter().find(|name| !is_name(name)) {
        return Err(Halt::fail(format!("{name:?} is no name of a variable")));
    }
    if let Some(prompt) = arguments.value('p') {
        call.shell.streams.write(2, prompt.as_bytes())?;
    }
    let end = arguments.value('d').map_or(b'\n', |text| text.bytes().next().unwrap_or(0));
    let (line, is_complete) = read_line(call, end, !arguments.has('r'))?;
    let separators = call.shell.variable("IFS").unwrap_or(" \t\n").to_owned();
    let mut rest = line.as_slice();
    for (index, name) in names.iter().enumerate() {
        let is_last = index + 1 == names.len();
        let value = if is_last && names.len() == 1 && arguments.operands.is_empty() {
            rest.iter().map(|(c, _)| c).collect()
        } else {
            take_field(&mut rest, &separators, is_last)
        };
        call.shell.set(name, value)?;
    }
    Ok(i32::from(!is_complete))
}

/// A line, with the lines that a backslash joins to it, and whether it had an end.
fn read_line(
    call: &Invocation<'_>,
    end: u8,
    escapes: bool,
) -> Result<(Vec<Character>, bool), Halt> {
    let input = call.shell.streams.input();
    let mut line = Vec::new();
    loop {
        let Some(mut bytes) = input.until(end)? else { return Ok((line, false)) };
        let is_complete = bytes.last() == Some(&end);
        if is_complete {
            bytes.pop();
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let mut chars = text.chars();
        let mut goes_on = false;
        while let Some(c) = chars.next() {
            match c {
                '\\' if escapes => match chars.next() {
                    Some(escaped) => line.push((escaped, true)),
                    None => goes_on = is_complete,
                },
                c => line.push((c, false)),
            }
        }
        if !goes_on {
            return Ok((line, is_complete));
        }
    }
}

/// The next field; the last takes all that is left, without the blanks around it.
fn take_field(rest: &mut &[Character], separators: &str, is_last: bool) -> String {
    let is_separator = |(c, escaped): &Character| !escaped && separators.contains(*c);
    let is_blank = |character: &Character| is_separator(character) && " \t\n".contains(character.0);
    let skip = |rest: &mut &[Character]| {
        let blanks = rest.iter().take_while(|character| is_blank(character)).count();
        *rest = &rest[blanks..];
    };
    skip(rest);
    let mut field = *rest;
    let length = rest.iter().position(is_separator);
    match length {
        Some(length) => {
            field = &rest[..length];
            let mut after = &rest[length..];
            skip(&mut after);
            if after.first().is_some_and(|c| is_separator(c) && !is_blank(c)) {
                after = &after[1..];
                skip(&mut after);
            }
            if is_last && !after.is_empty() {
                field = *rest;
                *rest = &[];
            } else {
                *rest = after;
            }
        }
        None => *rest = &[],
    }
    let blanks = field.iter().rev().take_while(|character| is_blank(character)).count();
    field[..field.len() - blanks].iter().map(|(c, _)| c).collect()
}
