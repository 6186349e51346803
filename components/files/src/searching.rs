//! `search`: lines of files that match a regular expression.
//!
//! The expression is compiled once and run over whole files, never line by line: the regex
//! crate finds a literal in the pattern and skips to it. A pattern still matches within a
//! line unless `multiline` says otherwise. Time is the sandbox's to bound (the engine is
//! linear in the input); size is bounded here. The invariant: a result says how much was
//! looked at and whether that was all.

use std::fs::File;
use std::io::{self, Read};

use regex::bytes::{Regex, RegexBuilder};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::lines::Lines;
use crate::mounts::{Mounts, Place};
use crate::selection::Selection;
use crate::text;
use crate::walk::{Gitignore, Hidden, Kind, Walk, WalkOptions};

/// The compiled form of a pattern: `\w{1000}` and its like are refused.
const PATTERN_MAX_BYTES: usize = 2 << 20;
const LINE_CHARACTERS_MAX: usize = 400;
const FILES_PER_REPORT: u64 = 128;
/// What the fields of a match take in JSON beside its texts.
const MATCH_BYTES: usize = 80;

/// Arguments of `search`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SearchArguments {
    /// Absolute path of a directory or a file; `/` searches every mount.
    #[serde(default = "root")]
    path: String,
    /// A regular expression in the syntax of Rust's `regex` (like Perl's, without
    /// look-around and backreferences): `fn \w+_test\(`, `(?i)todo|fixme`.
    #[schemars(length(min = 1, max = 10000))]
    pattern: String,
    /// Take the pattern as plain text, not as a regular expression.
    #[serde(default)]
    literal: bool,
    /// Do not distinguish upper and lower case.
    #[serde(default)]
    ignore_case: bool,
    /// Let a match extend over several lines (`.` still stops at a line's end; `(?s)` lets
    /// it go on).
    #[serde(default)]
    multiline: bool,
    /// Search only files that match one of these globs. Without a slash a glob is matched
    /// against the name (`*.rs`), with a slash against the path relative to `path`
    /// (`src/**/*.rs`).
    #[serde(default)]
    #[schemars(length(max = 64))]
    include: Vec<String>,
    /// Pass over files and directories that match one of these globs, such as `target`.
    #[serde(default)]
    #[schemars(length(max = 64))]
    exclude: Vec<String>,
    /// How many lines to show before and after each match.
    #[serde(default)]
    #[schemars(range(min = 0, max = 20))]
    context: u32,
    /// The most matching lines to return; the search stops there.
    #[serde(default = "matches_default")]
    #[schemars(range(min = 1, max = 2000))]
    max_matches: u32,
    /// Files larger than this are passed over and counted.
    #[serde(default = "file_default")]
    #[schemars(range(min = 1, max = 8388608))]
    max_file_bytes: u64,
    /// Also search files and directories whose names start with a dot.
    #[serde(default)]
    hidden: bool,
    /// Pass over what `.gitignore` files name.
    #[serde(default = "yes")]
    gitignore: bool,
}

/// What was found.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct SearchResult {
    /// One for each line on which a match starts; sorted by path and line.
    pub(crate) matches: Vec<Match>,
    /// Files with at least one of `matches`.
    pub(crate) files_matched: u64,
    /// Files that were searched.
    pub(crate) files_scanned: u64,
    /// Bytes that were searched.
    pub(crate) bytes_scanned: u64,
    /// What was passed over and why.
    pub(crate) skipped: Skipped,
    /// The search stopped before it had seen everything; `stopped_by` says why.
    pub(crate) truncated: bool,
    /// Why the search stopped early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stopped_by: Option<StoppedBy>,
}

/// A line that matches.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Match {
    /// Absolute path of the file.
    pub(crate) path: String,
    /// Counted from 1.
    pub(crate) line: u64,
    /// Where in the line the match starts, in bytes, counted from 1.
    pub(crate) column: u64,
    /// The line, or the lines of a multi-line match, cut at 400 characters.
    pub(crate) text: String,
    /// Lines before it, where context was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) before: Vec<String>,
    /// Lines after it, where context was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) after: Vec<String>,
}

/// How many files were passed over, by reason. Hidden, ignored and excluded ones are not
/// counted.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(crate) struct Skipped {
    /// A NUL among the first 8 KiB.
    pub(crate) binary: u64,
    /// Above `max_file_bytes`.
    pub(crate) too_large: u64,
    /// Files and directories that could not be read.
    pub(crate) unreadable: u64,
    /// Entries beyond 50,000 in one directory or 128 levels of directories.
    pub(crate) left_out: u64,
}

/// Why a search stopped early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StoppedBy {
    /// `max_matches` was reached: narrow the pattern or the globs, or raise it.
    MaxMatches,
    /// The matches fill what a result can carry: ask for less context or fewer matches.
    ResultSize,
}

/// Told how many files were searched so far, and where the search is.
pub(crate) type Report<'a> = &'a mut dyn FnMut(u64, &str);

pub(crate) fn search(
    mounts: &Mounts,
    arguments: &SearchArguments,
    report: Report<'_>,
) -> Result<SearchResult, Failure> {
    let mut search = Search::new(arguments)?;
    let selection = Selection::parse(&arguments.include, &arguments.exclude)?;
    for place in mounts.starting_at(&arguments.path)? {
        search.place(&place, &selection, report)?;
        if search.stopped_by.is_some() {
            break;
        }
    }
    Ok(search.finish())
}

/// A search under way.
#[derive(Debug)]
struct Search<'a> {
    arguments: &'a SearchArguments,
    pattern: Regex,
    /// The file under search; kept, so that its memory is allocated once.
    bytes: Vec<u8>,
    matches: Vec<Match>,
    result_bytes: usize,
    files_matched: u64,
    files_scanned: u64,
    bytes_scanned: u64,
    skipped: Skipped,
    stopped_by: Option<StoppedBy>,
}

impl<'a> Search<'a> {
    fn new(arguments: &'a SearchArguments) -> Result<Self, Failure> {
        Ok(Self {
            pattern: compile(arguments)?,
            arguments,
            bytes: Vec::new(),
            matches: Vec::new(),
            result_bytes: 0,
            files_matched: 0,
            files_scanned: 0,
            bytes_scanned: 0,
            skipped: Skipped::default(),
            stopped_by: None,
        })
    }

    fn place(
        &mut self,
        place: &Place<'_>,
        selection: &Selection,
        report: Report<'_>,
    ) -> Result<(), Failure> {
        let failed = |error: io::Error| Failure::from_io(&error, &place.path);
        if std::fs::metadata(&place.location).map_err(failed)?.is_file() {
            let file = File::open(&place.location).map_err(failed)?;
            return self.file(file, &place.path).map_err(failed);
        }
        let mut walk = Walk::begin(place, self.walk_options(selection))?;
        for entry in walk.by_ref() {
            if entry.kind != Kind::File || !selection.includes(entry.relative()) {
                continue;
            }
            let searched =
                File::open(&entry.location).and_then(|file| self.file(file, &entry.path));
            if searched.is_err() {
                self.skipped.unreadable += 1;
            }
            if self.stopped_by.is_some() {
                break;
            }
            if self.files_scanned.is_multiple_of(FILES_PER_REPORT) {
                report(self.files_scanned, &entry.path);
            }
        }
        self.skipped.unreadable += walk.unreadable();
        self.skipped.left_out += walk.left_out();
        Ok(())
    }

    fn walk_options<'s>(&self, selection: &'s Selection) -> WalkOptions<'s> {
        WalkOptions {
            hidden: if self.arguments.hidden { Hidden::Include } else { Hidden::Skip },
            gitignore: if self.arguments.gitignore {
                Gitignore::Respect
            } else {
                Gitignore::Disregard
            },
            selection,
            depth: usize::MAX,
        }
    }

    fn file(&mut self, file: File, path: &str) -> io::Result<()> {
        self.bytes.clear();
        let max = self.arguments.max_file_bytes;
        match fill(file, max, &mut self.bytes)? {
            Filled::TooLarge => self.skipped.too_large += 1,
            Filled::Whole if text::is_binary(&self.bytes) => self.skipped.binary += 1,
            Filled::Whole => {
                self.files_scanned += 1;
                self.bytes_scanned += u64::try_from(self.bytes.len()).unwrap_or(u64::MAX);
                let before = self.matches.len();
                // Taken out while the matches of the file are added beside it.
                let bytes = std::mem::take(&mut self.bytes);
                self.matches_of(&bytes, path);
                self.bytes = bytes;
                self.files_matched += u64::from(self.matches.len() > before);
            }
        }
        Ok(())
    }

    fn matches_of(&mut self, bytes: &[u8], path: &str) {
        let context = usize::try_from(self.arguments.context.min(20)).unwrap_or(0);
        let mut lines = Lines::new(bytes);
        let mut position = 0;
        while let Some((start, end)) = self.next_match(bytes, position) {
            let first = lines.at(start);
            let last = if end > first.end { lines.at(end - 1) } else { first };
            let found = Match {
                path: path.to_owned(),
                line: first.number,
                column: u64::try_from(start - first.start + 1).unwrap_or(u64::MAX),
                text: text::line(&bytes[first.start..last.end], LINE_CHARACTERS_MAX),
                before: shown(&lines.before(first.start, context)),
                after: shown(&lines.after(last.end, context)),
            };
            if let Some(reason) = self.no_room_for(&found) {
                self.stopped_by = Some(reason);
                return;
            }
            self.matches.push(found);
            // On to the next line: a line with several matches is shown once.
            position = last.end;
            if position >= bytes.len() {
                return;
            }
        }
    }

    /// The next match at or after the start of a line. Unless it may, a match does not
    /// reach over the end of its line.
    fn next_match(&self, bytes: &[u8], mut position: usize) -> Option<(usize, usize)> {
        loop {
            let found = self.pattern.find_at(bytes, position)?;
            // An empty match at the very end lies behind the last line end, on no line.
            if found.start() == bytes.len() && bytes.ends_with(b"\n") {
                return None;
            }
            let line_end = memchr::memchr(b'\n', &bytes[found.start()..])
                .map_or(bytes.len(), |length| found.start() + length);
            if self.arguments.multiline || found.end() <= line_end {
                return Some((found.start(), found.end()));
            }
            // Too long: does the line by itself match, from where the match starts?
            if let Some(shorter) = self.pattern.find_at(&bytes[..line_end], found.start()) {
                return Some((shorter.start(), shorter.end()));
            }
            position = line_end + 1;
            if position >= bytes.len() {
                return None;
            }
        }
    }

    fn no_room_for(&mut self, found: &Match) -> Option<StoppedBy> {
        let max = usize::try_from(self.arguments.max_matches).unwrap_or(usize::MAX);
        if self.matches.len() >= max {
            return Some(StoppedBy::MaxMatches);
        }
        let context = found.before.iter().chain(&found.after);
        self.result_bytes += MATCH_BYTES
            + text::json_length(&found.path)
            + text::json_length(&found.text)
            + context.map(|line| text::json_length(line) + 3).sum::<usize>();
        (self.result_bytes > text::RESULT_TEXT_MAX_BYTES).then_some(StoppedBy::ResultSize)
    }

    fn finish(self) -> SearchResult {
        SearchResult {
            matches: self.matches,
            files_matched: self.files_matched,
            files_scanned: self.files_scanned,
            bytes_scanned: self.bytes_scanned,
            truncated: self.stopped_by.is_some() || self.skipped.left_out > 0,
            skipped: self.skipped,
            stopped_by: self.stopped_by,
        }
    }
}

fn shown(lines: &[&[u8]]) -> Vec<String> {
    lines.iter().map(|line| text::line(line, LINE_CHARACTERS_MAX)).collect()
}

fn compile(arguments: &SearchArguments) -> Result<Regex, Failure> {
    let pattern = if arguments.literal {
        regex::escape(&arguments.pattern)
    } else {
        arguments.pattern.clone()
    };
    RegexBuilder::new(&pattern)
        .case_insensitive(arguments.ignore_case)
        .multi_line(true)
        .crlf(true)
        .size_limit(PATTERN_MAX_BYTES)
        .dfa_size_limit(PATTERN_MAX_BYTES)
        .build()
        .map_err(|error| Failure::invalid("/pattern", error.to_string()))
}

/// What became of an attempt to read a file.
enum Filled {
    Whole,
    TooLarge,
}

/// Reads a file into a buffer that is kept from file to file.
fn fill(mut file: File, max_bytes: u64, bytes: &mut Vec<u8>) -> io::Result<Filled> {
    const STEP_BYTES: usize = 64 << 10;
    let max = usize::try_from(max_bytes).unwrap_or(usize::MAX);
    let mut filled = 0;
    loop {
        if bytes.len() == filled {
            bytes.resize(filled + STEP_BYTES.max(filled), 0);
        }
        let read = file.read(&mut bytes[filled..])?;
        filled += read;
        if filled > max {
            return Ok(Filled::TooLarge);
        }
        // Binary is told from the start of a file; the rest need not be read.
        if read == 0 || (filled == read && text::is_binary(&bytes[..filled])) {
            bytes.truncate(filled);
            return Ok(Filled::Whole);
        }
    }
}

fn root() -> String {
    "/".to_owned()
}

fn yes() -> bool {
    true
}

fn matches_default() -> u32 {
    200
}

fn file_default() -> u64 {
    4 << 20
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::Sandbox;
    use serde_json::{Value, json};

    fn searched(sandbox: &Sandbox, arguments: Value) -> SearchResult {
        let arguments = serde_json::from_value(arguments).expect("arguments");
        search(&sandbox.mounts, &arguments, &mut |_, _| {}).expect("a result")
    }

    fn places(result: &SearchResult) -> Vec<(&str, u64, u64)> {
        result.matches.iter().map(|found| (found.path.as_str(), found.line, found.column)).collect()
    }

    fn lines_of(text: &str, arguments: Value) -> Vec<u64> {
        let result = searched(&Sandbox::with(&[("f", text)]), arguments);
        result.matches.iter().map(|found| found.line).collect()
    }

    #[test]
    fn matches_come_sorted_with_their_place_and_line() {
        let sandbox = Sandbox::with(&[
            ("b.rs", "\nfn main() {}\n"),
            ("a/z.rs", "x fn y\r\nfn z"),
            ("n", "no"),
        ]);
        let result = searched(&sandbox, json!({"path": "/data", "pattern": "fn [a-z]"}));
        assert_eq!(
            places(&result),
            [("/data/a/z.rs", 1, 3), ("/data/a/z.rs", 2, 1), ("/data/b.rs", 2, 1)]
        );
        assert_eq!(result.matches[0].text, "x fn y");
        assert_eq!((result.files_scanned, result.files_matched), (3, 2));
        assert_eq!(result.bytes_scanned, 14 + 12 + 2);
        assert!(!result.truncated);
    }

    #[test]
    fn context_is_shown_in_order_and_stops_at_the_ends_of_the_file() {
        let sandbox = Sandbox::with(&[("f", "1\n2\n3\n4\n5\n")]);
        let result = searched(&sandbox, json!({"pattern": "2", "context": 2}));
        assert_eq!(result.matches[0].before, ["1"]);
        assert_eq!(result.matches[0].after, ["3", "4"]);
    }

    #[test]
    fn a_line_with_several_matches_is_shown_once() {
        assert_eq!(lines_of("aa\nb\na\n", json!({"pattern": "a"})), [1, 3]);
    }

    #[test]
    fn a_match_stays_within_its_line_unless_told_otherwise() {
        let text = "a\nb\nab\n";
        assert_eq!(lines_of(text, json!({"pattern": "a[^x]*b"})), [3]);
        assert_eq!(lines_of(text, json!({"pattern": "a\\s*b"})), [3]);
        let sandbox = Sandbox::with(&[("f", text)]);
        let result = searched(&sandbox, json!({"pattern": "a\\sb", "multiline": true}));
        assert_eq!((result.matches[0].line, result.matches[0].text.as_str()), (1, "a\nb"));
    }

    #[test]
    fn anchors_and_empty_matches_are_per_line() {
        assert_eq!(lines_of("a\n\nb\n", json!({"pattern": "^$"})), [2]);
        assert_eq!(lines_of("a\r\nb", json!({"pattern": "^.$"})), [1, 2]);
        assert_eq!(lines_of("a\nb\n", json!({"pattern": "x*"})), [1, 2]);
        assert_eq!(lines_of("", json!({"pattern": "x*"})), [1]);
    }

    #[test]
    fn a_plain_text_has_no_special_characters() {
        assert_eq!(lines_of("a.b\naxb\n", json!({"pattern": "a.b", "literal": true})), [1]);
        assert_eq!(lines_of("ABC\n", json!({"pattern": "abc", "ignore_case": true})), [1]);
    }

    #[test]
    fn globs_choose_the_files() {
        let sandbox = Sandbox::with(&[("a.rs", "x"), ("b.md", "x"), ("target/c.rs", "x")]);
        let result =
            searched(&sandbox, json!({"pattern": "x", "include": ["*.rs"], "exclude": ["target"]}));
        assert_eq!(places(&result), [("/data/a.rs", 1, 1)]);
    }

    #[test]
    fn binary_and_large_files_are_counted_not_searched() {
        let sandbox = Sandbox::with(&[("binary", "x\0x"), ("large", "xxxxxx"), ("small", "x")]);
        let result = searched(&sandbox, json!({"pattern": "x", "max_file_bytes": 5}));
        assert_eq!(places(&result), [("/data/small", 1, 1)]);
        assert_eq!((result.skipped.binary, result.skipped.too_large), (1, 1));
        assert_eq!(result.files_scanned, 1);
    }

    #[test]
    fn the_search_stops_at_its_number_of_matches() {
        let sandbox = Sandbox::with(&[("a", "x\nx\nx\n"), ("b", "x\n")]);
        let result = searched(&sandbox, json!({"pattern": "x", "max_matches": 2}));
        assert_eq!(result.matches.len(), 2);
        assert_eq!(result.stopped_by, Some(StoppedBy::MaxMatches));
        assert_eq!(result.files_scanned, 1);
        let result = searched(&sandbox, json!({"pattern": "x", "max_matches": 4}));
        assert!(!result.truncated);
    }

    #[test]
    fn a_result_stays_within_what_can_be_carried() {
        let line = format!("{}\n", "\u{1}".repeat(400));
        let sandbox = Sandbox::with(&[("f", &line.repeat(1_000))]);
        let result =
            searched(&sandbox, json!({"pattern": "\u{1}", "max_matches": 2000, "context": 5}));
        assert_eq!(result.stopped_by, Some(StoppedBy::ResultSize));
        let json = serde_json::to_string(&result).expect("json");
        assert!(json.len() < text::RESULT_TEXT_MAX_BYTES + 1_000, "{}", json.len());
    }

    #[test]
    fn one_file_can_be_searched_even_if_it_is_hidden() {
        let sandbox = Sandbox::with(&[(".env", "KEY=1\n")]);
        let result = searched(&sandbox, json!({"path": "/data/.env", "pattern": "KEY"}));
        assert_eq!(places(&result), [("/data/.env", 1, 1)]);
    }

    #[test]
    fn a_pattern_that_does_not_parse_or_is_too_large_is_the_callers_fault() {
        let sandbox = Sandbox::with(&[]);
        for pattern in ["(", "\\w{1000}{1000}"] {
            let arguments = serde_json::from_value(json!({"pattern": pattern})).expect("arguments");
            let result = search(&sandbox.mounts, &arguments, &mut |_, _| {});
            assert!(matches!(result, Err(Failure::Invalid { pointer: "/pattern", .. })));
        }
    }

    #[test]
    fn a_long_search_reports_how_far_it_is() {
        let files: Vec<_> = (0..300).map(|index| format!("{index:03}")).collect();
        let files: Vec<_> = files.iter().map(|name| (name.as_str(), "")).collect();
        let sandbox = Sandbox::with(&files);
        let arguments = serde_json::from_value(json!({"pattern": "x"})).expect("arguments");
        let mut reports = Vec::new();
        search(&sandbox.mounts, &arguments, &mut |done, _| reports.push(done)).expect("a result");
        assert_eq!(reports, [128, 256]);
    }
}
