//! `diff`.
//!
//! By Myers' algorithm (An O(ND) Difference Algorithm, 1986) on lines, without what both files
//! have at their beginning and end. Files that differ in more than `EDITS_MAX` lines are shown as
//! replaced as a whole from there on: true, and not the shortest way to say it.

use crate::calendar::Moment;
use crate::commands::Invocation;
use crate::commands::arguments::Arguments;
use crate::commands::walk::joined;
use crate::files::{Kind, Links};
use crate::halt::{Halt, Ran};

const EDITS_MAX: usize = 2_000;

/// A run of lines that differ: ranges of the old and of the new file, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Change {
    old: (usize, usize),
    new: (usize, usize),
}

pub(super) fn diff(call: &mut Invocation<'_>) -> Ran {
    let long = &[
        ("unified", 'u'),
        ("brief", 'q'),
        ("recursive", 'r'),
        ("ignore-case", 'i'),
        ("ignore-all-space", 'w'),
        ("ignore-space-change", 'b'),
        ("report-identical-files", 's'),
        ("new-file", 'N'),
        ("color", 'p'),
    ];
    let arguments = Arguments::parse(call.arguments, "uU:qriwbsNap", long)?;
    let [old, new] = arguments.operands.as_slice() else {
        return Err(Halt::usage("needs two files"));
    };
    let is_directory =
        |path: &String| call.shell.files.kind(&call.shell.absolute(path)) == Some(Kind::Directory);
    let failed = |call: &mut Invocation<'_>, halt| {
        call.shell.reported(call.name, halt)?;
        Ok(2)
    };
    let name = |path: &String| path.rsplit('/').next().unwrap_or_default().to_owned();
    let (old, new) = match (is_directory(old), is_directory(new)) {
        (true, true) => return directories(call, old, new, &arguments),
        (true, false) => (joined(old, &name(new)), new.clone()),
        (false, true) => (old.clone(), joined(new, &name(old))),
        (false, false) => (old.clone(), new.clone()),
    };
    files(call, &old, &new, &arguments).or_else(|halt| failed(call, halt))
}

/// Compares the files of two directories, name by name.
fn directories(call: &mut Invocation<'_>, old: &str, new: &str, arguments: &Arguments) -> Ran {
    let mut pending = vec![(old.to_owned(), new.to_owned())];
    let mut status = 0;
    while let Some((old, new)) = pending.pop() {
        call.shell.step()?;
        let own = call.shell.at(&old, |files, path| files.list(path))?;
        let other = call.shell.at(&new, |files, path| files.list(path))?;
        let mut names: Vec<_> = own.iter().chain(&other).map(|entry| &entry.name).collect();
        names.sort();
        names.dedup();
        for name in names {
            let find = |entries: &[crate::files::Entry]| {
                entries.iter().find(|entry| entry.name == *name).map(|entry| entry.kind)
            };
            let (old_path, new_path) = (joined(&old, name), joined(&new, name));
            match (find(&own), find(&other)) {
                (Some(Kind::Directory), Some(Kind::Directory)) => {
                    if arguments.has('r') {
                        pending.insert(0, (old_path, new_path));
                    } else {
                        call.line(&format!("Common subdirectories: {old_path} and {new_path}"))?;
                    }
                }
                (Some(_), Some(_)) => {
                    let shown = format!("diff {} {old_path} {new_path}", letters(arguments));
                    status =
                        status.max(compare(call, &old_path, &new_path, arguments, Some(&shown))?);
                }
                (Some(_), None) => {
                    call.line(&format!("Only in {old}: {name}"))?;
                    status = status.max(1);
                }
                _ => {
                    call.line(&format!("Only in {new}: {name}"))?;
                    status = status.max(1);
                }
            }
        }
    }
    Ok(status)
}

fn letters(arguments: &Arguments) -> String {
    let given = "ruqiwb".chars().filter(|letter| arguments.has(*letter));
    format!("-{}", given.collect::<String>())
}

fn files(call: &mut Invocation<'_>, old: &str, new: &str, arguments: &Arguments) -> Ran {
    compare(call, old, new, arguments, None)
}

fn compare(
    call: &mut Invocation<'_>,
    old: &str,
    new: &str,
    arguments: &Arguments,
    heading: Option<&str>,
) -> Ran {
    let (old_bytes, new_bytes) = (call.open(old)?.rest()?, call.open(new)?.rest()?);
    let is_binary = |bytes: &[u8]| bytes.iter().take(8_000).any(|byte| *byte == 0);
    if arguments.has('q') || is_binary(&old_bytes) || is_binary(&new_bytes) {
        if old_bytes == new_bytes {
            return same(call, old, new, arguments);
        }
        let kind = if arguments.has('q') { "Files" } else { "Binary files" };
        call.line(&format!("{kind} {old} and {new} differ"))?;
        return Ok(1);
    }
    let (old_lines, new_lines) = (lines(&old_bytes), lines(&new_bytes));
    let key = |line: &&[u8]| {
        let mut key = line.to_vec();
        if arguments.has('i') {
            key.make_ascii_lowercase();
        }
        if arguments.has('w') {
            key.retain(|byte| !byte.is_ascii_whitespace());
        } else if arguments.has('b') {
            let words = key.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
            key = words.collect::<Vec<_>>().join(&b' ');
        }
        key
    };
    let old_keys: Vec<_> = old_lines.iter().map(key).collect();
    let new_keys: Vec<_> = new_lines.iter().map(key).collect();
    let changes = changes(&old_keys, &new_keys);
    if changes.is_empty() {
        return same(call, old, new, arguments);
    }
    if let Some(heading) = heading {
        call.line(heading)?;
    }
    let context = match arguments.number('U')? {
        Some(context) => Some(context),
        None => arguments.has('u').then_some(3),
    };
    match context {
        Some(context) => {
            let headings = [("---", old), ("+++", new)];
            for (mark, path) in headings {
                let time = modified(call, path);
                call.line(&format!("{mark} {path}\t{time}"))?;
            }
            unified(call, &old_lines, &new_lines, &changes, context)?;
        }
        None => normal(call, &old_lines, &new_lines, &changes)?,
    }
    Ok(1)
}

fn same(call: &Invocation<'_>, old: &str, new: &str, arguments: &Arguments) -> Ran {
    if arguments.has('s') {
        call.line(&format!("Files {old} and {new} are identical"))?;
    }
    Ok(0)
}

fn modified(call: &Invocation<'_>, path: &str) -> String {
    let facts = call.shell.at(path, |files, path| files.facts(path, Links::Follow)).ok();
    let time = facts.and_then(|facts| facts.modified).unwrap_or_else(call.shell.clock);
    Moment::from(time).formatted("%Y-%m-%d %H:%M:%S.%N %z")
}

/// Lines with their ends, so that a missing one at the end of a file is a difference.
fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.split_inclusive(|byte| *byte == b'\n').collect()
}

fn changes(old: &[Vec<u8>], new: &[Vec<u8>]) -> Vec<Change> {
    let start = old.iter().zip(new).take_while(|(old, new)| old == new).count();
    let (old_rest, new_rest) = (&old[start..], &new[start..]);
    let same = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(old, new)| old == new);
    let end = same.count();
    let (old_rest, new_rest) =
        (&old_rest[..old_rest.len() - end], &new_rest[..new_rest.len() - end]);
    if old_rest.is_empty() && new_rest.is_empty() {
        return Vec::new();
    }
    let whole =
        Change { old: (start, start + old_rest.len()), new: (start, start + new_rest.len()) };
    let Some(matches) = matches(old_rest, new_rest) else { return vec![whole] };
    let (mut changes, mut at) = (Vec::new(), (0, 0));
    for (old_at, new_at) in matches.into_iter().chain([(old_rest.len(), new_rest.len())]) {
        if (old_at, new_at) != at {
            changes.push(Change {
                old: (start + at.0, start + old_at),
                new: (start + at.1, start + new_at),
            });
        }
        at = (old_at + 1, new_at + 1);
    }
    changes
}

/// The pairs of lines that stay, in order; `None` if there are too many edits to look for them.
fn matches(old: &[Vec<u8>], new: &[Vec<u8>]) -> Option<Vec<(usize, usize)>> {
    let most = (old.len() + new.len()).min(EDITS_MAX);
    let offset = most + 1;
    // For each diagonal, how far along the old file the furthest path with so many edits is.
    let mut furthest = vec![0_usize; 2 * offset + 1];
    let mut trace = Vec::new();
    for edits in 0..=most {
        trace.push(furthest[offset - edits..=offset + edits].to_vec());
        for diagonal in (offset - edits..=offset + edits).step_by(2) {
            let down = diagonal == offset - edits
                || diagonal != offset + edits && furthest[diagonal - 1] < furthest[diagonal + 1];
            let mut x = if down { furthest[diagonal + 1] } else { furthest[diagonal - 1] + 1 };
            let Some(mut y) = (x + offset).checked_sub(diagonal) else { continue };
            while x < old.len() && y < new.len() && old[x] == new[y] {
                x += 1;
                y += 1;
            }
            furthest[diagonal] = x;
            if x >= old.len() && y >= new.len() {
                return Some(traced(&trace, old.len(), new.len(), offset));
            }
        }
    }
    None
}

/// Back along the path that reached the end.
fn traced(trace: &[Vec<usize>], old: usize, new: usize, offset: usize) -> Vec<(usize, usize)> {
    let (mut x, mut y) = (old, new);
    let mut pairs = Vec::new();
    for (edits, before) in trace.iter().enumerate().rev() {
        let diagonal = x + offset - y;
        let at = |diagonal: usize| before.get(diagonal + edits - offset).copied().unwrap_or(0);
        if edits == 0 {
            while x > 0 && y > 0 {
                x -= 1;
                y -= 1;
                pairs.push((x, y));
            }
            break;
        }
        let down = diagonal == offset - edits
            || diagonal != offset + edits && at(diagonal - 1) < at(diagonal + 1);
        let previous = if down { diagonal + 1 } else { diagonal - 1 };
        let previous_x = at(previous);
        let previous_y = previous_x + offset - previous;
        while x > previous_x && y > previous_y {
            x -= 1;
            y -= 1;
            pairs.push((x, y));
        }
        (x, y) = (previous_x, previous_y);
    }
    pairs.reverse();
    pairs
}

fn show_lines(call: &Invocation<'_>, mark: &str, lines: &[&[u8]]) -> Result<(), Halt> {
    for line in lines {
        call.write(mark.as_bytes())?;
        call.write(line)?;
        if !line.ends_with(b"\n") {
            call.write(b"\n\\ No newline at end of file\n")?;
        }
    }
    Ok(())
}

fn normal(
    call: &Invocation<'_>,
    old: &[&[u8]],
    new: &[&[u8]],
    changes: &[Change],
) -> Result<(), Halt> {
    // An empty range stands behind the line that it follows.
    let range = |(from, to): (usize, usize)| match to - from {
        0 => from.to_string(),
        1 => to.to_string(),
        _ => format!("{},{to}", from + 1),
    };
    for change in changes {
        let letter = match (change.old.0 == change.old.1, change.new.0 == change.new.1) {
            (true, _) => 'a',
            (_, true) => 'd',
            _ => 'c',
        };
        call.line(&format!("{}{letter}{}", range(change.old), range(change.new)))?;
        show_lines(call, "< ", &old[change.old.0..change.old.1])?;
        if letter == 'c' {
            call.line("---")?;
        }
        show_lines(call, "> ", &new[change.new.0..change.new.1])?;
    }
    Ok(())
}

fn unified(
    call: &Invocation<'_>,
    old: &[&[u8]],
    new: &[&[u8]],
    changes: &[Change],
    context: usize,
) -> Result<(), Halt> {
    let mut rest = changes;
    while let Some(first) = rest.first() {
        // Changes whose context meets are one hunk.
        let gap = |pair: &[Change]| pair[1].old.0 - pair[0].old.1 > context.saturating_mul(2);
        let count = rest.windows(2).position(gap).map_or(rest.len(), |at| at + 1);
        let (hunk, after) = rest.split_at(count);
        rest = after;
        let last = hunk.last().unwrap_or(first);
        let before = context.min(first.old.0);
        let behind = context.min(old.len() - last.old.1);
        let old_range = (first.old.0 - before, last.old.1 + behind);
        let new_range = (first.new.0 - before, last.new.1 + behind);
        let shown = |(from, to): (usize, usize)| match to - from {
            0 => format!("{from},0"),
            1 => to.to_string(),
            count => format!("{},{count}", from + 1),
        };
        call.line(&format!("@@ -{} +{} @@", shown(old_range), shown(new_range)))?;
        let mut at = old_range.0;
        for change in hunk {
            show_lines(call, " ", &old[at..change.old.0])?;
            show_lines(call, "-", &old[change.old.0..change.old.1])?;
            show_lines(call, "+", &new[change.new.0..change.new.1])?;
            at = change.old.1;
        }
        show_lines(call, " ", &old[at..old_range.1])?;
    }
    Ok(())
}
