//! `cat`, `head`, `tail`, `tac`, `nl`, `rev` and `wc`.

use std::collections::VecDeque;

use crate::commands::Invocation;
use crate::commands::arguments::{Arguments, number};
use crate::halt::{Halt, Ran};
use crate::stream::Input;

/// Hands everything that is left of a stream to standard output.
fn pass_on(call: &Invocation<'_>, input: &Input) -> Result<(), Halt> {
    let mut buffer = vec![0; 32 << 10];
    loop {
        match input.some(&mut buffer)? {
            0 => return Ok(()),
            count => call.write(&buffer[..count])?,
        }
    }
}

pub(super) fn cat(call: &mut Invocation<'_>) -> Ran {
    let arguments = Arguments::parse(
        call.arguments,
        "nbsAEuvT",
        &[("number", 'n'), ("number-nonblank", 'b'), ("squeeze-blank", 's'), ("show-all", 'A')],
    )?;
    let numbers_all = arguments.has('n') && !arguments.has('b');
    let shows_ends = arguments.has('A') || arguments.has('E');
    let shows_tabs = arguments.has('A') || arguments.has('T');
    let by_line =
        numbers_all || arguments.has('b') || arguments.has('s') || shows_ends || shows_tabs;
    let (mut next, mut was_empty) = (1_u64, false);
    call.each_input(&arguments.operands, |call, _, input| {
        if !by_line {
            return pass_on(call, input);
        }
        while let Some(line) = input.line()? {
            let is_empty = line == b"\n";
            if arguments.has('s') && is_empty && was_empty {
                continue;
            }
            was_empty = is_empty;
            let mut shown = Vec::new();
            if numbers_all || arguments.has('b') && !is_empty {
                shown.extend_from_slice(format!("{next:6}\t").as_bytes());
                next += 1;
            }
            for byte in &line {
                match byte {
                    b'\n' if shows_ends => shown.extend_from_slice(b"$\n"),
                    b'\t' if shows_tabs => shown.extend_from_slice(b"^I"),
                    byte => shown.push(*byte),
                }
            }
            call.write(&shown)?;
        }
        Ok(())
    })
}

/// `-5` is `-n 5`.
fn with_count(arguments: &[String]) -> Vec<String> {
    let mut is_value = false;
    let spelled = |argument: &String| {
        let was_value = std::mem::replace(&mut is_value, argument == "-n" || argument == "-c");
        match argument.strip_prefix('-') {
            Some(digits) if !was_value && super::arguments::is_digits(digits) => {
                format!("-n{digits}")
            }
            _ => argument.clone(),
        }
    };
    arguments.iter().map(spelled).collect()
}

/// Writes what stands above each of several files.
fn heading(
    call: &Invocation<'_>,
    arguments: &Arguments,
    path: &str,
    first: &mut bool,
) -> Result<(), Halt> {
    let several = arguments.operands.len() > 1 || arguments.has('v');
    if several && !arguments.has('q') {
        let gap = if std::mem::take(first) { "" } else { "\n" };
        let name = if path == "-" { "standard input" } else { path };
        call.line(&format!("{gap}==> {name} <=="))?;
    }
    Ok(())
}

const COUNTS: &[(&str, char)] = &[("lines", 'n'), ("bytes", 'c'), ("quiet", 'q'), ("verbose", 'v')];

pub(super) fn head(call: &mut Invocation<'_>) -> Ran {
    let arguments = Arguments::parse(&with_count(call.arguments), "n:c:qv", COUNTS)?;
    let (text, by_bytes) = match (arguments.value('c'), arguments.value('n')) {
        (Some(bytes), _) => (bytes, true),
        (None, lines) => (lines.unwrap_or("10"), false),
    };
    let (from_end, count) = match text.strip_prefix('-') {
        Some(text) => (true, number(text)?),
        None => (false, number(text)?),
    };
    let mut first = true;
    call.each_input(&arguments.operands, |call, path, input| {
        heading(call, &arguments, path, &mut first)?;
        if by_bytes {
            return head_bytes(call, input, count, from_end);
        }
        if !from_end {
            for _ in 0..count {
                let Some(line) = input.line()? else { break };
                call.write(&line)?;
            }
            return Ok(());
        }
        let (mut held, mut bytes) = (VecDeque::new(), 0);
        while let Some(line) = input.line()? {
            bytes += line.len();
            held.push_back(line);
            if held.len() > count
                && let Some(line) = held.pop_front()
            {
                bytes -= line.len();
                call.write(&line)?;
            }
            call.bounded(bytes)?;
        }
        Ok(())
    })
}

fn head_bytes(
    call: &Invocation<'_>,
    input: &Input,
    count: usize,
    from_end: bool,
) -> Result<(), Halt> {
    if from_end {
        let all = input.rest()?;
        return call.write(&all[..all.len().saturating_sub(count)]);
    }
    let mut left = count;
    let mut buffer = vec![0; count.min(32 << 10)];
    while left > 0 {
        let room = left.min(buffer.len());
        match input.some(&mut buffer[..room])? {
            0 => break,
            read => {
                call.write(&buffer[..read])?;
                left -= read;
            }
        }
    }
    Ok(())
}

pub(super) fn tail(call: &mut Invocation<'_>) -> Ran {
    let arguments = Arguments::parse(&with_count(call.arguments), "n:c:qvfF", COUNTS)?;
    if arguments.has('f') || arguments.has('F') {
        return Err(Halt::usage("-f would wait for ever: a call ends; look again instead"));
    }
    let (text, by_bytes) = match (arguments.value('c'), arguments.value('n')) {
        (Some(bytes), _) => (bytes, true),
        (None, lines) => (lines.unwrap_or("10"), false),
    };
    let (from_start, count) = match text.strip_prefix('+') {
        Some(text) => (true, number(text)?),
        None => (false, number(text.strip_prefix('-').unwrap_or(text))?),
    };
    let mut first = true;
    call.each_input(&arguments.operands, |call, path, input| {
        heading(call, &arguments, path, &mut first)?;
        match (by_bytes, from_start) {
            (true, true) => {
                let all = input.rest()?;
                call.write(all.get(count.saturating_sub(1)..).unwrap_or_default())
            }
            (true, false) => {
                let all = input.rest()?;
                call.write(&all[all.len().saturating_sub(count)..])
            }
            (false, true) => {
                for _ in 1..count {
                    if input.line()?.is_none() {
                        break;
                    }
                }
                pass_on(call, input)
            }
            (false, false) => last_lines(call, input, count),
        }
    })
}

fn last_lines(call: &Invocation<'_>, input: &Input, count: usize) -> Result<(), Halt> {
    let (mut held, mut bytes) = (VecDeque::new(), 0);
    while let Some(line) = input.line()? {
        bytes += line.len();
        held.push_back(line);
        if held.len() > count
            && let Some(gone) = held.pop_front()
        {
            bytes -= gone.len();
        }
        call.bounded(bytes)?;
    }
    held.iter().try_for_each(|line| call.write(line))
}

pub(super) fn backwards(call: &mut Invocation<'_>) -> Ran {
    let arguments = Arguments::parse(call.arguments, "", &[])?;
    call.each_input(&arguments.operands, |call, _, input| {
        let all = input.rest()?;
        let lines: Vec<&[u8]> = all.split_inclusive(|byte| *byte == b'\n').collect();
        lines.iter().rev().try_for_each(|line| call.write(line))
    })
}

pub(super) fn reverse(call: &mut Invocation<'_>) -> Ran {
    let arguments = Arguments::parse(call.arguments, "", &[])?;
    call.each_input(&arguments.operands, |call, _, input| {
        while let Some(line) = input.line()? {
            let text = String::from_utf8_lossy(&line);
            let (text, end) = match text.strip_suffix('\n') {
                Some(text) => (text, "\n"),
                None => (&*text, ""),
            };
            let reversed: String = text.chars().rev().collect();
            call.write(format!("{reversed}{end}").as_bytes())?;
        }
        Ok(())
    })
}

pub(super) fn number_lines(call: &mut Invocation<'_>) -> Ran {
    let arguments = Arguments::parse(call.arguments, "b:w:s:v:", &[("body-numbering", 'b')])?;
    let all = match arguments.value('b') {
        None | Some("t") => false,
        Some("a") => true,
        Some(style) => return Err(Halt::usage(format!("the style {style:?} is not known"))),
    };
    let width = arguments.number('w')?.unwrap_or(6).min(100);
    let separator = arguments.value('s').unwrap_or("\t").to_owned();
    let mut next = arguments.number('v')?.unwrap_or(1);
    call.each_input(&arguments.operands, |call, _, input| {
        while let Some(line) = input.line()? {
            if line == b"\n" && !all {
                call.write(format!("{:width$}\n", "", width = width + separator.len()).as_bytes())?;
                continue;
            }
            call.write(format!("{next:width$}{separator}").as_bytes())?;
            call.write(&line)?;
            next += 1;
        }
        Ok(())
    })
}

/// What `wc` counts.
#[derive(Clone, Copy, Default)]
struct Counts {
    lines: usize,
    words: usize,
    chars: usize,
    bytes: usize,
}

impl Counts {
    fn add(&mut self, line: &[u8]) {
        self.lines += usize::from(line.ends_with(b"\n"));
        self.bytes += line.len();
        let is_space = |byte: &u8| byte.is_ascii_whitespace() || *byte == 11;
        self.words += line.split(is_space).filter(|word| !word.is_empty()).count();
        // Each character of UTF-8 has one byte that does not go on from another.
        self.chars += line.iter().filter(|byte| **byte & 0xc0 != 0x80).count();
    }
}

pub(super) fn count(call: &mut Invocation<'_>) -> Ran {
    let long = &[("lines", 'l'), ("words", 'w'), ("bytes", 'c'), ("chars", 'm')];
    let arguments = Arguments::parse(call.arguments, "lwcm", long)?;
    let chosen = |letter| arguments.has(letter);
    let by_default = !"lwcm".chars().any(chosen);
    let (mut total, mut rows) = (Counts::default(), Vec::new());
    let status = call.each_input(&arguments.operands, |_, path, input| {
        let mut counts = Counts::default();
        while let Some(line) = input.line()? {
            counts.add(&line);
        }
        total.lines += counts.lines;
        total.words += counts.words;
        total.chars += counts.chars;
        total.bytes += counts.bytes;
        rows.push((counts, path.to_owned()));
        Ok(())
    })?;
    if arguments.operands.len() > 1 {
        rows.push((total, "total".to_owned()));
    }
    let columns = |counts: &Counts| {
        [
            (chosen('l') || by_default, counts.lines),
            (chosen('w') || by_default, counts.words),
            (chosen('m'), counts.chars),
            (chosen('c') || by_default, counts.bytes),
        ]
        .into_iter()
        .filter_map(|(is_shown, count)| is_shown.then_some(count))
        .collect::<Vec<_>>()
    };
    // As wide as the largest; with nothing but a number there is nothing to align.
    let is_single = rows.len() == 1 && columns(&total).len() == 1;
    let from_input = arguments.operands.is_empty() || arguments.operands == ["-"];
    let width = match () {
        () if is_single => 1,
        () if from_input => 7,
        () => total.bytes.to_string().len(),
    };
    for (counts, path) in &rows {
        let numbers: Vec<_> =
            columns(counts).iter().map(|count| format!("{count:width$}")).collect();
        let name = if arguments.operands.is_empty() { String::new() } else { format!(" {path}") };
        call.line(&format!("{}{name}", numbers.join(" ")))?;
    }
    Ok(status)
}
