//! `grep`.

use std::collections::VecDeque;

use regex::bytes::Regex;

use crate::commands::Invocation;
use crate::commands::arguments::Arguments;
use crate::commands::walk::Walk;
use crate::expression::{Options, Syntax, compile};
use crate::files::Kind;
use crate::halt::{Halt, Ran};
use crate::pattern::Pattern;
use crate::stream::Input;

const LONG: &[(&str, char)] = &[
    ("after-context", 'A'),
    ("basic-regexp", 'G'),
    ("before-context", 'B'),
    ("color", '\u{e003}'),
    ("context", 'C'),
    ("count", 'c'),
    ("exclude", '\u{e001}'),
    ("exclude-dir", '\u{e002}'),
    ("extended-regexp", 'E'),
    ("file", 'f'),
    ("files-with-matches", 'l'),
    ("files-without-match", 'L'),
    ("fixed-strings", 'F'),
    ("ignore-case", 'i'),
    ("include", '\u{e000}'),
    ("invert-match", 'v'),
    ("line-number", 'n'),
    ("line-regexp", 'x'),
    ("max-count", 'm'),
    ("no-filename", 'h'),
    ("no-messages", 's'),
    ("only-matching", 'o'),
    ("quiet", 'q'),
    ("recursive", 'r'),
    ("regexp", 'e'),
    ("text", 'a'),
    ("with-filename", 'H'),
    ("word-regexp", 'w'),
];

/// Short letters, and private ones for options that have only a long name.
const LETTERS: &str = "EFGPivwxnHhclLoqsrRaIA:B:C:m:e:f:\u{e000}:\u{e001}:\u{e002}:\u{e003}";

pub(super) fn grep(call: &mut Invocation<'_>) -> Ran {
    run(call, None)
}

pub(super) fn egrep(call: &mut Invocation<'_>) -> Ran {
    run(call, Some(Syntax::Extended))
}

pub(super) fn fgrep(call: &mut Invocation<'_>) -> Ran {
    run(call, Some(Syntax::Fixed))
}

struct Search {
    expressions: Vec<Regex>,
    inverted: bool,
    names: bool,
    numbers: bool,
    before: usize,
    after: usize,
    most: usize,
    output: OutputKind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum OutputKind {
    Lines,
    Matches,
    Count,
    FilesWith,
    FilesWithout,
    Nothing,
}

fn run(call: &mut Invocation<'_>, syntax: Option<Syntax>) -> Ran {
    let arguments = Arguments::parse(&with_context(call.arguments), LETTERS, LONG)?;
    let (patterns, paths) = patterns(call, &arguments)?;
    let syntax = syntax.unwrap_or(match arguments.last_of("EFGP") {
        Some('E' | 'P') => Syntax::Extended,
        Some('F') => Syntax::Fixed,
        _ => Syntax::Basic,
    });
    let options = Options {
        ignores_case: arguments.has('i'),
        whole_lines: arguments.has('x'),
        whole_words: arguments.has('w'),
        many_lines: false,
    };
    let lines = patterns.iter().flat_map(|pattern| pattern.split('\n'));
    let expressions = lines.map(|pattern| compile(pattern, syntax, options));
    let recursive = arguments.has('r') || arguments.has('R');
    let context = arguments.number('C')?.unwrap_or(0);
    let search = Search {
        expressions: expressions.collect::<Result<_, _>>()?,
        inverted: arguments.has('v'),
        names: arguments.last_of("Hh").map_or(paths.len() > 1 || recursive, |letter| letter == 'H'),
        numbers: arguments.has('n'),
        before: arguments.number('B')?.unwrap_or(context),
        after: arguments.number('A')?.unwrap_or(context),
        most: arguments.number('m')?.unwrap_or(usize::MAX),
        output: match () {
            () if arguments.has('q') => OutputKind::Nothing,
            () if arguments.has('l') => OutputKind::FilesWith,
            () if arguments.has('L') => OutputKind::FilesWithout,
            () if arguments.has('c') => OutputKind::Count,
            () if arguments.has('o') => OutputKind::Matches,
            () => OutputKind::Lines,
        },
    };
    let (mut found, mut status) = (false, 0);
    // Where no path was named, none is shown.
    let from_here = paths.is_empty();
    let paths = match (recursive, from_here) {
        (true, true) => vec![".".to_owned()],
        (false, true) => vec!["-".to_owned()],
        _ => paths,
    };
    for path in &paths {
        let result = match recursive && path != "-" {
            true => search_tree(call, &search, path, &arguments, from_here),
            false => search_file(call, &search, path),
        };
        match result {
            Ok(any) => found |= any,
            Err(Halt::Fault(_)) if arguments.has('s') => status = 2,
            Err(halt) => {
                call.shell.reported(call.name, halt)?;
                status = 2;
            }
        }
        if found && search.output == OutputKind::Nothing {
            return Ok(0);
        }
    }
    Ok(if status == 0 { i32::from(!found) } else { status })
}

/// `-3` is `-C 3`.
fn with_context(arguments: &[String]) -> Vec<String> {
    let spelled = |argument: &String| match argument.strip_prefix('-') {
        Some(digits) if super::arguments::is_digits(digits) => format!("-C{digits}"),
        _ => argument.clone(),
    };
    arguments.iter().map(spelled).collect()
}

fn patterns(
    call: &Invocation<'_>,
    arguments: &Arguments,
) -> Result<(Vec<String>, Vec<String>), Halt> {
    let mut patterns: Vec<String> = arguments.values('e').map(str::to_owned).collect();
    for path in arguments.values('f') {
        let bytes = call.open(path)?.rest()?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        patterns.extend(text.lines().map(str::to_owned));
    }
    if arguments.has('e') || arguments.has('f') {
        return Ok((patterns, arguments.operands.clone()));
    }
    match arguments.operands.split_first() {
        Some((pattern, paths)) => Ok((vec![pattern.clone()], paths.to_vec())),
        None => Err(Halt::usage("a pattern is missing")),
    }
}

fn search_tree(
    call: &mut Invocation<'_>,
    search: &Search,
    path: &str,
    arguments: &Arguments,
    from_here: bool,
) -> Result<bool, Halt> {
    let globs = |letter| arguments.values(letter).map(Pattern::new).collect::<Vec<_>>();
    let (only, without, without_directories) =
        (globs('\u{e000}'), globs('\u{e001}'), globs('\u{e002}'));
    let mut walk = Walk::begin(call, path)?;
    let (mut found, mut status) = (false, 0);
    while let Some(step) = walk.next(call, &mut status)? {
        let name = step.path.rsplit('/').next().unwrap_or_default();
        let any = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(name));
        match step.kind {
            Kind::Directory if !step.is_after && step.depth > 0 && any(&without_directories) => {
                walk.skip(&step);
            }
            Kind::File if (only.is_empty() || any(&only)) && !any(&without) => {
                let shown = if from_here { step.path.strip_prefix("./") } else { None };
                match search_file(call, search, shown.unwrap_or(&step.path)) {
                    Ok(any) => found |= any,
                    Err(halt) => drop(call.shell.reported(call.name, halt)?),
                }
                if found && search.output == OutputKind::Nothing {
                    return Ok(true);
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

fn search_file(call: &mut Invocation<'_>, search: &Search, path: &str) -> Result<bool, Halt> {
    let input = call.open(path)?;
    let name = if path == "-" { "(standard input)" } else { path };
    let prefix = if search.names { name } else { "" };
    let count = search.lines(call, &input, prefix)?;
    match search.output {
        OutputKind::FilesWith if count > 0 => call.line(name)?,
        OutputKind::FilesWithout if count == 0 => call.line(name)?,
        OutputKind::Count if search.names => call.line(&format!("{name}:{count}"))?,
        OutputKind::Count => call.line(&count.to_string())?,
        _ => {}
    }
    Ok(count > 0)
}

impl Search {
    fn matches(&self, line: &[u8]) -> bool {
        self.expressions.iter().any(|expression| expression.is_match(line)) != self.inverted
    }

    /// Goes through a stream and shows what it is to show; gives how many lines matched.
    fn lines(&self, call: &Invocation<'_>, input: &Input, name: &str) -> Result<usize, Halt> {
        let (mut count, mut number) = (0, 0);
        let mut before: VecDeque<(usize, Vec<u8>)> = VecDeque::new();
        let (mut after, mut last_shown, mut held) = (0, 0, 0);
        let shows = self.output == OutputKind::Lines;
        let has_context = self.before > 0 || self.after > 0;
        while let Some(mut line) = input.line()? {
            number += 1;
            if line.last() == Some(&b'\n') {
                line.pop();
            }
            if count >= self.most || !self.matches(&line) {
                if after > 0 && shows {
                    after -= 1;
                    last_shown = number;
                    self.show(call, name, number, '-', &line)?;
                } else if count >= self.most {
                    break;
                } else if self.before > 0 && shows {
                    held += line.len();
                    before.push_back((number, line));
                    if before.len() > self.before
                        && let Some((_, gone)) = before.pop_front()
                    {
                        held -= gone.len();
                    }
                    call.bounded(held)?;
                }
                continue;
            }
            count += 1;
            match self.output {
                OutputKind::Lines => {
                    let first = before.front().map_or(number, |(number, _)| *number);
                    if has_context && last_shown > 0 && first > last_shown + 1 {
                        call.line("--")?;
                    }
                    held = 0;
                    for (number, line) in before.drain(..) {
                        self.show(call, name, number, '-', &line)?;
                    }
                    self.show(call, name, number, ':', &line)?;
                    (after, last_shown) = (self.after, number);
                }
                OutputKind::Matches if !self.inverted => {
                    self.show_matches(call, name, number, &line)?;
                }
                OutputKind::Count | OutputKind::Matches => {}
                OutputKind::FilesWith | OutputKind::FilesWithout | OutputKind::Nothing => break,
            }
        }
        Ok(count)
    }

    fn show(
        &self,
        call: &Invocation<'_>,
        name: &str,
        number: usize,
        mark: char,
        line: &[u8],
    ) -> Result<(), Halt> {
        let mut shown = Vec::with_capacity(line.len() + 16);
        if self.names {
            shown.extend_from_slice(format!("{name}{mark}").as_bytes());
        }
        if self.numbers {
            shown.extend_from_slice(format!("{number}{mark}").as_bytes());
        }
        shown.extend_from_slice(line);
        shown.push(b'\n');
        call.write(&shown)
    }

    fn show_matches(
        &self,
        call: &Invocation<'_>,
        name: &str,
        number: usize,
        line: &[u8],
    ) -> Result<(), Halt> {
        let mut matches: Vec<(usize, usize)> = Vec::new();
        for expression in &self.expressions {
            let found = expression.find_iter(line).filter(|found| !found.is_empty());
            matches.extend(found.map(|found| (found.start(), found.end())));
        }
        matches.sort_by_key(|(start, end)| (*start, std::cmp::Reverse(*end)));
        let mut from = 0;
        for (start, end) in matches {
            if start >= from {
                self.show(call, name, number, ':', &line[start..end])?;
                from = end;
            }
        }
        Ok(())
    }
}
