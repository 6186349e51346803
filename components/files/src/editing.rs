//! `edit`: exact replacement of text in a file.
//!
//! Works on bytes, so what is not replaced stays as it was, whatever its encoding and line
//! ends. It never guesses: a text that is not there, or is there more often than expected,
//! changes nothing, and the error shows what is there instead. The invariant: a file is
//! changed as a whole or not at all.

use std::io::Read;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::mounts::Mounts;
use crate::nearest;
use crate::reading;
use crate::text;
use crate::writing::{self, Replacement};

const FILE_MAX_BYTES: u64 = 8 << 20;
const SHOWN_LINES_MAX: usize = 10;
const SHOWN_CHARACTERS_MAX: usize = 160;
const SNIPPET_CONTEXT_LINES: usize = 2;
const SNIPPET_LINES_MAX: usize = 40;

/// Arguments of `edit`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EditArguments {
    /// Absolute path of a file of at most 8 MiB, in a mount that is read-write.
    path: String,
    /// The exact text to replace, with its whitespace and line ends. Take enough lines to
    /// make it unique.
    #[schemars(length(min = 1))]
    old_text: String,
    /// What to put in its place; empty to delete it.
    new_text: String,
    /// How many times `old_text` has to be there; every one of them is replaced. Any other
    /// number is an error and changes nothing.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 10000))]
    expected_count: u32,
    /// Write into the file instead of replacing it: keeps its permissions, but a reader may
    /// see a half-written file.
    #[serde(default)]
    in_place: bool,
}

/// What was replaced.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Edited {
    /// Absolute path.
    pub(crate) path: String,
    /// How many places were replaced.
    pub(crate) replaced: u32,
    /// The lines where replacements start, counted from 1 in the new text; the first ten.
    pub(crate) lines: Vec<u64>,
    /// The new text around the first replacement, with line numbers.
    pub(crate) snippet: String,
    /// Size of the file now.
    pub(crate) size_bytes: u64,
}

pub(crate) fn edit(mounts: &Mounts, arguments: &EditArguments) -> Result<Edited, Failure> {
    if arguments.old_text.is_empty() {
        return Err(Failure::invalid("/old_text", "the text to replace cannot be empty"));
    }
    if arguments.old_text == arguments.new_text {
        return Err(Failure::invalid("/new_text", "old_text and new_text are the same"));
    }
    let place = writing::file_place(mounts, &arguments.path)?;
    let (file, size) = reading::open(&place)?;
    if size > FILE_MAX_BYTES {
        return Err(Failure::impossible(format!(
            "{} has {size} bytes; edit works on files of at most {FILE_MAX_BYTES}",
            place.path
        )));
    }
    let mut old = Vec::new();
    file.take(FILE_MAX_BYTES + 1)
        .read_to_end(&mut old)
        .map_err(|error| Failure::from_io(&error, &place.path))?;
    let replaced = replace(&old, arguments).map_err(|mismatch| {
        Failure::impossible(format!("{}: {}", place.path, mismatch.describe(&old, arguments)))
    })?;
    let how = if arguments.in_place { Replacement::InPlace } else { Replacement::Atomic };
    writing::replace(&place, &replaced.bytes, how)?;
    Ok(Edited {
        path: place.path,
        replaced: arguments.expected_count,
        lines: line_numbers(&replaced.bytes, &replaced.starts),
        snippet: snippet(&replaced.bytes, replaced.starts[0], arguments.new_text.len()),
        size_bytes: u64::try_from(replaced.bytes.len()).unwrap_or(u64::MAX),
    })
}

/// The new bytes, and where in them the replacements start: at least one.
#[derive(Debug)]
struct Replaced {
    bytes: Vec<u8>,
    starts: Vec<usize>,
}

/// The text is not there as often as expected.
#[derive(Debug)]
struct Mismatch {
    starts: Vec<usize>,
}

fn replace(old: &[u8], arguments: &EditArguments) -> Result<Replaced, Mismatch> {
    let (from, to) = (arguments.old_text.as_bytes(), arguments.new_text.as_bytes());
    let found: Vec<usize> = memchr::memmem::find_iter(old, from).collect();
    if found.is_empty() || u32::try_from(found.len()) != Ok(arguments.expected_count) {
        return Err(Mismatch { starts: found });
    }
    let mut bytes =
        Vec::with_capacity(old.len() - found.len() * from.len() + found.len() * to.len());
    let mut starts = Vec::with_capacity(found.len());
    let mut copied = 0;
    for start in found {
        bytes.extend_from_slice(&old[copied..start]);
        starts.push(bytes.len());
        bytes.extend_from_slice(to);
        copied = start + from.len();
    }
    bytes.extend_from_slice(&old[copied..]);
    Ok(Replaced { bytes, starts })
}

impl Mismatch {
    /// What the caller needs in order to get it right the next time.
    fn describe(&self, old: &[u8], arguments: &EditArguments) -> String {
        if self.starts.is_empty() {
            return format!(
                "old_text is not in the file; nothing was changed{}",
                near(old, arguments)
            );
        }
        let lines = line_numbers(old, &self.starts);
        let shown: Vec<String> = lines.iter().map(|line| shown_line(old, *line)).collect();
        let more = self.starts.len().saturating_sub(lines.len());
        let more = if more > 0 { format!("\n  ... and {more} more") } else { String::new() };
        format!(
            "old_text is there {} times, expected_count is {}; nothing was changed. Take more \
             lines around it to make it unique, or say \"expected_count\": {}. It starts at:\n{}{more}",
            self.starts.len(),
            arguments.expected_count,
            self.starts.len(),
            shown.join("\n"),
        )
    }
}

/// What in the file comes close to the text that is not there.
fn near(old: &[u8], arguments: &EditArguments) -> String {
    let file = String::from_utf8_lossy(old);
    let wanted = &arguments.old_text;
    if file.contains("\r\n") && wanted.contains('\n') && !wanted.contains("\r\n") {
        let unified = file.replace("\r\n", "\n");
        if unified.contains(wanted.as_str()) {
            return ". The file's lines end with \\r\\n, those of old_text with \\n: give both \
                    texts with \\r\\n"
                .to_owned();
        }
    }
    if let Some(line) = nearest::ignoring_whitespace(&file, wanted) {
        return format!(
            ". The same text with other whitespace starts at:\n{}",
            shown_line(old, line)
        );
    }
    let lines = nearest::lines(&file, wanted);
    if lines.is_empty() {
        return String::new();
    }
    let shown: Vec<String> = lines.into_iter().map(|line| shown_line(old, line)).collect();
    format!(". The lines nearest to its first line:\n{}", shown.join("\n"))
}

/// The lines of offsets in ascending order, counted from 1.
fn line_numbers(bytes: &[u8], starts: &[usize]) -> Vec<u64> {
    let (mut line, mut counted) = (1, 0);
    let mut lines = Vec::new();
    for start in starts.iter().take(SHOWN_LINES_MAX) {
        line += memchr::memchr_iter(b'\n', &bytes[counted..*start]).count();
        counted = *start;
        lines.push(u64::try_from(line).unwrap_or(u64::MAX));
    }
    lines
}

fn shown_line(bytes: &[u8], line: u64) -> String {
    let index = usize::try_from(line.saturating_sub(1)).unwrap_or(usize::MAX);
    let found = bytes.split(|byte| *byte == b'\n').nth(index).unwrap_or_default();
    format!("{line:>6}  {}", text::line(found, SHOWN_CHARACTERS_MAX))
}

/// The lines around a replacement, each with its number.
fn snippet(bytes: &[u8], start: usize, length: usize) -> String {
    let line_of = |offset: usize| memchr::memchr_iter(b'\n', &bytes[..offset]).count();
    let first = line_of(start).saturating_sub(SNIPPET_CONTEXT_LINES);
    let last = line_of(start + length) + SNIPPET_CONTEXT_LINES;
    let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let numbered = body
        .split(|byte| *byte == b'\n')
        .enumerate()
        .skip(first)
        .take((last - first + 1).min(SNIPPET_LINES_MAX))
        .map(|(index, line)| {
            format!("{:>6}  {}", index + 1, text::line(line, SHOWN_CHARACTERS_MAX))
        });
    numbered.collect::<Vec<_>>().join("\n")
}

fn one() -> u32 {
    1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::Sandbox;
    use serde_json::{Value, json};

    fn edited(sandbox: &Sandbox, mut arguments: Value) -> Result<Edited, Failure> {
        arguments["path"] = json!("/data/f");
        edit(&sandbox.mounts, &serde_json::from_value(arguments).expect("arguments"))
    }

    fn refused(text: &str, arguments: Value) -> String {
        let sandbox = Sandbox::with(&[("f", text)]);
        let error = edited(&sandbox, arguments).expect_err("a mismatch").to_string();
        assert_eq!(sandbox.text("f"), text, "nothing is changed");
        error
    }

    #[test]
    fn one_place_is_replaced_and_shown() {
        let sandbox = Sandbox::with(&[("f", "a\nb\nc\nd\ne\nf\n")]);
        let result =
            edited(&sandbox, json!({"old_text": "d\n", "new_text": "D1\nD2\n"})).expect("edited");
        assert_eq!(sandbox.text("f"), "a\nb\nc\nD1\nD2\ne\nf\n");
        assert_eq!((result.replaced, result.lines.as_slice()), (1, &[4][..]));
        assert_eq!(
            result.snippet,
            "     2  b\n     3  c\n     4  D1\n     5  D2\n     6  e\n     7  f"
        );
        assert_eq!(sandbox.names(), ["f"]);
    }

    #[test]
    fn an_ambiguous_text_shows_its_count_and_lines() {
        let error = refused("x\ny\nx\n", json!({"old_text": "x", "new_text": "z"}));
        assert!(error.contains("2 times, expected_count is 1"), "{error}");
        assert!(error.contains("     1  x") && error.contains("     3  x"), "{error}");
    }

    #[test]
    fn every_expected_place_is_replaced() {
        let sandbox = Sandbox::with(&[("f", "x\ny\nx\n")]);
        let arguments = json!({"old_text": "x", "new_text": "longer\n", "expected_count": 2});
        let result = edited(&sandbox, arguments).expect("edited");
        assert_eq!(sandbox.text("f"), "longer\n\ny\nlonger\n\n");
        assert_eq!(result.lines, [1, 4]);
    }

    #[test]
    fn a_missing_text_shows_the_nearest_lines() {
        let error = refused(
            "fn alpha() {\n}\nfn beta(count: u32) {\n}\n",
            json!({"old_text": "fn beta(counts: u32) {", "new_text": ""}),
        );
        assert!(error.contains("     3  fn beta(count: u32) {"), "{error}");
    }

    #[test]
    fn a_text_with_other_whitespace_is_pointed_out() {
        let error = refused(
            "if a {\n\tb();\n}\n",
            json!({"old_text": "if a {\n    b();\n}", "new_text": ""}),
        );
        assert!(error.contains("other whitespace") && error.contains("     1  if a {"), "{error}");
    }

    #[test]
    fn other_line_ends_are_pointed_out() {
        let error = refused("a\r\nb\r\n", json!({"old_text": "a\nb", "new_text": ""}));
        assert!(error.contains("\\r\\n"), "{error}");
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_left_alone() {
        let sandbox = Sandbox::with(&[]);
        let path = sandbox.root().join("f");
        std::fs::write(&path, b"\xFFa\xFE").expect("a file");
        edited(&sandbox, json!({"old_text": "a", "new_text": "b"})).expect("edited");
        assert_eq!(std::fs::read(path).expect("a file"), b"\xFFb\xFE");
    }

    #[test]
    fn a_file_above_the_limit_is_refused() {
        let sandbox = Sandbox::with(&[]);
        let file = std::fs::File::create(sandbox.root().join("f")).expect("a file");
        file.set_len(FILE_MAX_BYTES + 1).expect("a length");
        let error =
            edited(&sandbox, json!({"old_text": "a", "new_text": "b"})).expect_err("too large");
        assert!(error.to_string().contains("at most 8388608"), "{error}");
    }

    #[test]
    fn a_read_only_mount_is_not_edited() {
        let sandbox = Sandbox::read_only(&[("f", "a")]);
        let result = edited(&sandbox, json!({"old_text": "a", "new_text": "b"}));
        assert!(matches!(result, Err(Failure::ReadOnly { .. })));
    }
}
