//! `uniq` and `comm`.

use std::cmp::Ordering;

use crate::commands::Invocation;
use crate::commands::arguments::Arguments;
use crate::files::Writing;
use crate::halt::{Halt, Ran};

pub(super) fn uniq(call: &mut Invocation<'_>) -> Ran {
    let long = &[("count", 'c'), ("repeated", 'd'), ("unique", 'u'), ("ignore-case", 'i')];
    let arguments = Arguments::parse(call.arguments, "cduif:s:w:", long)?;
    let (fields, chars) =
        (arguments.number('f')?.unwrap_or(0), arguments.number('s')?.unwrap_or(0));
    let most = arguments.number('w')?.unwrap_or(usize::MAX);
    let key = |line: &[u8]| {
        let text = String::from_utf8_lossy(line);
        let mut rest = &*text;
        for _ in 0..fields {
            rest = rest.trim_start_matches([' ', '\t']);
            rest = &rest[rest.find([' ', '\t']).unwrap_or(rest.len())..];
        }
        let kept: String = rest.chars().skip(chars).take(most).collect();
        if arguments.has('i') { kept.to_lowercase() } else { kept }
    };
    let (input, output) = match arguments.operands.as_slice() {
        [] => (call.open("-")?, None),
        [input] => (call.open(input)?, None),
        [input, output] => (call.open(input)?, Some(call.shell.create(output, Writing::Replace)?)),
        _ => return Err(Halt::usage("too many files")),
    };
    let write = |call: &Invocation<'_>, count: usize, line: &[u8]| {
        let is_shown = match (arguments.has('d'), arguments.has('u')) {
            (true, false) => count > 1,
            (false, true) => count == 1,
            (true, true) => false,
            (false, false) => true,
        };
        if !is_shown {
            return Ok(());
        }
        let mut shown = Vec::new();
        if arguments.has('c') {
            shown.extend_from_slice(format!("{count:7} ").as_bytes());
        }
        shown.extend_from_slice(line);
        shown.push(b'\n');
        match &output {
            Some(output) => Ok(output.write(&shown)?),
            None => call.write(&shown),
        }
    };
    let mut current: Option<(String, Vec<u8>, usize)> = None;
    while let Some(mut line) = input.line()? {
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        let own = key(&line);
        match &mut current {
            Some((key, _, count)) if *key == own => *count += 1,
            _ => {
                if let Some((_, line, count)) = current.replace((own, line, 1)) {
                    write(call, count, &line)?;
                }
            }
        }
    }
    if let Some((_, line, count)) = current {
        write(call, count, &line)?;
    }
    if let Some(output) = output {
        output.flush()?;
    }
    Ok(0)
}

pub(super) fn comm(call: &mut Invocation<'_>) -> Ran {
    let arguments = Arguments::parse(call.arguments, "123", &[])?;
    let [left, right] = arguments.operands.as_slice() else {
        return Err(Halt::usage("needs two files"));
    };
    let (left, right) = (call.open(left)?, call.open(right)?);
    let shown = |column: char| !arguments.has(column);
    let tabs = |columns: &str| "\t".repeat(columns.chars().filter(|c| shown(*c)).count());
    let complete = |line: Option<Vec<u8>>| {
        line.map(|mut line| {
            if line.last() != Some(&b'\n') {
                line.push(b'\n');
            }
            line
        })
    };
    let (mut own, mut other) = (complete(left.line()?), complete(right.line()?));
    loop {
        let ordering = match (&own, &other) {
            (None, None) => return Ok(0),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(own), Some(other)) => own.cmp(other),
        };
        let (column, prefix) = match ordering {
            Ordering::Less => ('1', String::new()),
            Ordering::Greater => ('2', tabs("1")),
            Ordering::Equal => ('3', tabs("12")),
        };
        let line = if ordering.is_gt() { &other } else { &own };
        if shown(column) {
            call.write(prefix.as_bytes())?;
            call.write(line.as_deref().unwrap_or_default())?;
        }
        if ordering.is_le() {
            own = complete(left.line()?);
        }
        if ordering.is_ge() {
            other = complete(right.line()?);
        }
    }
}
