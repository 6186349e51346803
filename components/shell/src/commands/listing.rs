//! `ls` and `du`.

use crate::calendar::Moment;
use crate::commands::Invocation;
use crate::commands::arguments::Arguments;
use crate::commands::walk::{Walk, joined};
use crate::files::{Facts, Kind, Links};
use crate::halt::{Halt, Ran};
use crate::mounts::Access;

/// A row of a listing.
struct Row {
    name: String,
    path: String,
    facts: Facts,
}

pub(super) fn ls(call: &mut Invocation<'_>) -> Ran {
    let long = &[
        ("all", 'a'),
        ("almost-all", 'A'),
        ("recursive", 'R'),
        ("human-readable", 'h'),
        ("directory", 'd'),
        ("reverse", 'r'),
        ("classify", 'F'),
        ("color", 'G'),
    ];
    let arguments = Arguments::parse(call.arguments, "aAlR1hdrStFGpiCxno", long)?;
    let here = [".".to_owned()];
    let paths = if arguments.operands.is_empty() { &here } else { arguments.operands.as_slice() };
    let (mut rows, mut directories, mut status) = (Vec::new(), Vec::new(), 0);
    for path in paths {
        match call.shell.at(path, |files, path| files.facts(path, Links::Follow)) {
            Ok(facts) if facts.kind == Kind::Directory && !arguments.has('d') => {
                directories.push(path.clone());
            }
            Ok(facts) => rows.push(Row { name: path.clone(), path: path.clone(), facts }),
            Err(fault) => {
                call.report(&fault)?;
                status = 2;
            }
        }
    }
    let has_files = !rows.is_empty();
    show(call, rows, &arguments)?;
    // What was named comes in order; with -r alone, backwards.
    directories.sort();
    if arguments.has('r') {
        directories.reverse();
    }
    let headings = has_files || paths.len() > 1 || arguments.has('R');
    let mut is_first = !has_files;
    for directory in directories {
        status = status.max(list_tree(call, &directory, &arguments, headings, &mut is_first)?);
    }
    Ok(status)
}

fn list_tree(
    call: &mut Invocation<'_>,
    directory: &str,
    arguments: &Arguments,
    headings: bool,
    is_first: &mut bool,
) -> Ran {
    if !arguments.has('R') {
        return list_directory(call, directory, arguments, headings, is_first);
    }
    let mut status = 0;
    let mut walk = Walk::begin(call, directory)?;
    // A link to a directory that was named is walked as what it leads to.
    while let Some(step) = walk.next(call, &mut status)? {
        if step.kind != Kind::Directory || step.is_after {
            continue;
        }
        let name = step.path.rsplit('/').next().unwrap_or_default();
        let is_hidden = step.depth > 0 && name.starts_with('.');
        if is_hidden && !arguments.has('a') && !arguments.has('A') {
            walk.skip(&step);
            continue;
        }
        status = status.max(list_directory(call, &step.path, arguments, headings, is_first)?);
    }
    Ok(status)
}

fn list_directory(
    call: &mut Invocation<'_>,
    directory: &str,
    arguments: &Arguments,
    headings: bool,
    is_first: &mut bool,
) -> Ran {
    let entries = match call.shell.at(directory, |files, path| files.list(path)) {
        Ok(entries) => entries,
        Err(fault) => {
            call.report(&fault)?;
            return Ok(2);
        }
    };
    if headings {
        let gap = if *is_first { "" } else { "\n" };
        call.line(&format!("{gap}{directory}:"))?;
    }
    *is_first = false;
    let shows_hidden = arguments.has('a') || arguments.has('A');
    let own = if arguments.has('a') { vec![".".to_owned(), "..".to_owned()] } else { Vec::new() };
    let names = entries.into_iter().map(|entry| entry.name);
    let names = names.filter(|name| shows_hidden || !name.starts_with('.'));
    let (mut rows, mut status) = (Vec::new(), 0);
    for name in own.into_iter().chain(names) {
        let path = joined(directory, &name);
        match call.shell.at(&path, |files, path| files.facts(path, Links::Show)) {
            Ok(facts) => rows.push(Row { name, path, facts }),
            // Above a mount there is nothing to see.
            Err(_) if name == ".." => {}
            Err(fault) => {
                call.report(&fault)?;
                status = 1;
            }
        }
    }
    show(call, rows, arguments)?;
    Ok(status)
}

fn show(call: &mut Invocation<'_>, mut rows: Vec<Row>, arguments: &Arguments) -> Result<(), Halt> {
    rows.sort_by(|left, right| left.name.cmp(&right.name));
    match arguments.last_of("St") {
        Some('S') => rows.sort_by_key(|row| std::cmp::Reverse(row.facts.bytes)),
        Some(_) => rows.sort_by_key(|row| std::cmp::Reverse(row.facts.modified)),
        None => {}
    }
    if arguments.has('r') {
        rows.reverse();
    }
    let size = |facts: &Facts| match arguments.has('h') {
        true => human(facts.bytes),
        false => facts.bytes.to_string(),
    };
    let is_long = arguments.has('l') || arguments.has('n') || arguments.has('o');
    let width = rows.iter().map(|row| size(&row.facts).len()).max().unwrap_or(0);
    for row in &rows {
        let mark = match row.facts.kind {
            Kind::Directory if arguments.has('F') || arguments.has('p') => "/",
            Kind::Link if arguments.has('F') => "@",
            _ => "",
        };
        if !is_long {
            call.line(&format!("{}{mark}", row.name))?;
            continue;
        }
        let letters = letters(&row.facts);
        let time = row.facts.modified.map(Moment::from);
        let time = time.map_or("-".to_owned(), |time| time.formatted("%Y-%m-%d %H:%M"));
        let target = match row.facts.kind {
            Kind::Link => match call.shell.at(&row.path, |files, path| files.link(path)) {
                Ok(target) => format!(" -> {target}"),
                Err(_) => String::new(),
            },
            _ => String::new(),
        };
        call.line(&format!(
            "{letters} {:>width$} {time:>16} {}{mark}{target}",
            size(&row.facts),
            row.name
        ))?;
    }
    Ok(())
}

/// The kind, and what the grant allows: permissions of the host have no meaning for a guest.
pub(super) fn letters(facts: &Facts) -> String {
    let access = match facts.access {
        Access::ReadOnly => "r-",
        Access::ReadWrite => "rw",
    };
    format!("{}{access}", facts.kind.letter())
}

/// A size with the unit that leaves it short.
pub(super) fn human(bytes: u64) -> String {
    if bytes < 1024 {
        return bytes.to_string();
    }
    // In tenths, rounded up as coreutils does.
    let mut unit = 1_u64;
    for letter in ["K", "M", "G", "T", "P"] {
        unit *= 1024;
        let tenths = (u128::from(bytes) * 10).div_ceil(u128::from(unit));
        if tenths < 100 {
            return format!("{}.{}{letter}", tenths / 10, tenths % 10);
        }
        let whole = bytes.div_ceil(unit);
        if whole < 1024 || letter == "P" {
            return format!("{whole}{letter}");
        }
    }
    bytes.to_string()
}

pub(super) fn du(call: &mut Invocation<'_>) -> Ran {
    let long = &[("summarize", 's'), ("human-readable", 'h'), ("all", 'a'), ("max-depth", 'd')];
    let arguments = Arguments::parse(call.arguments, "shabckd:", long)?;
    let deepest = if arguments.has('s') { Some(0) } else { arguments.number('d')? };
    let here = [".".to_owned()];
    let paths = if arguments.operands.is_empty() { &here } else { arguments.operands.as_slice() };
    let size = |bytes: u64| match () {
        () if arguments.has('h') => human(bytes),
        () if arguments.has('b') => bytes.to_string(),
        () => bytes.div_ceil(1024).to_string(),
    };
    let (mut status, mut total) = (0, 0);
    for path in paths {
        let mut walk = match Walk::begin(call, path) {
            Ok(walk) => walk,
            Err(halt) => {
                status = call.shell.reported(call.name, halt)?;
                continue;
            }
        };
        // For each directory on the way, what was found in it.
        let mut sums = vec![0_u64];
        while let Some(step) = walk.next(call, &mut status)? {
            let is_shown = deepest.is_none_or(|deepest| step.depth <= deepest);
            if step.kind == Kind::Directory && !step.is_after {
                sums.push(0);
                continue;
            }
            let (bytes, is_directory) = match step.kind {
                Kind::Directory => (sums.pop().unwrap_or(0), true),
                _ => {
                    let facts = call.shell.at(&step.path, |f, path| f.facts(path, Links::Show));
                    (facts.map_or(0, |facts| facts.bytes), false)
                }
            };
            if let Some(sum) = sums.last_mut() {
                *sum += bytes;
            }
            if is_shown && (is_directory || arguments.has('a') || step.depth == 0) {
                call.line(&format!("{}\t{}", size(bytes), step.path))?;
            }
        }
        total += sums.first().copied().unwrap_or(0);
    }
    if arguments.has('c') {
        call.line(&format!("{}\ttotal", size(total)))?;
    }
    Ok(status)
}
