//! `read` and `read-range`: the text of a file, or of a part of it.
//!
//! A file is read in blocks, never as a whole, so that a range of a file of many gigabytes
//! costs the memory of the range. The invariant: a result that is cut says where to go on.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::mounts::{Mounts, Place};
use crate::text;

const BLOCK_BYTES: usize = 64 << 10;
const READ_MAX_BYTES: u64 = 400 << 10;
const LINES_MAX_BYTES: usize = 400 << 10;
const LINES_DEFAULT: u64 = 200;

/// Arguments of `read`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReadArguments {
    /// Absolute path of a file, such as `/data/notes.txt`.
    path: String,
    /// The most bytes to read from its start.
    #[serde(default = "read_default")]
    #[schemars(range(min = 1, max = 409600))]
    max_bytes: u64,
}

/// Arguments of `read-range`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RangeArguments {
    /// Absolute path of a file, such as `/data/server.log`.
    path: String,
    /// First line, counted from 1. A negative number counts from the end: -50 is the
    /// fiftieth line from the end. Not together with `offset_bytes`.
    #[serde(default)]
    start_line: Option<i64>,
    /// Last line, included; the default is 200 lines in all. Not together with
    /// `offset_bytes`.
    #[serde(default)]
    #[schemars(range(min = 1))]
    end_line: Option<u64>,
    /// First byte, counted from 0. Not together with lines.
    #[serde(default)]
    offset_bytes: Option<u64>,
    /// How many bytes to read from `offset_bytes`; the default is 65536.
    #[serde(default)]
    #[schemars(range(min = 1, max = 409600))]
    length_bytes: Option<u64>,
}

/// The start of a file.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Contents {
    /// Absolute path.
    pub(crate) path: String,
    /// UTF-8; each invalid sequence is shown as U+FFFD.
    pub(crate) text: String,
    /// Size of the whole file.
    pub(crate) size_bytes: u64,
    /// The file is not valid UTF-8 here, so `text` is not exactly what it holds.
    pub(crate) lossy: bool,
    /// The file goes on after `text`.
    pub(crate) truncated: bool,
    /// Where to go on with `read-range`, as its `offset_bytes`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_offset_bytes: Option<u64>,
}

/// A part of a file.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Range {
    /// Absolute path.
    pub(crate) path: String,
    /// UTF-8; each invalid sequence is shown as U+FFFD. Empty where the range lies after
    /// the end.
    pub(crate) text: String,
    /// First line of `text`, where lines were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) start_line: Option<u64>,
    /// Last line of `text`, included, where lines were asked for and there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) end_line: Option<u64>,
    /// Where `text` starts in the file.
    pub(crate) offset_bytes: u64,
    /// Where to go on, as `offset_bytes`; absent at the end of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_offset_bytes: Option<u64>,
    /// Size of the whole file.
    pub(crate) size_bytes: u64,
    /// The range was cut to what a result can carry.
    pub(crate) truncated: bool,
    /// The file is not valid UTF-8 here.
    pub(crate) lossy: bool,
}

pub(crate) fn read(mounts: &Mounts, arguments: &ReadArguments) -> Result<Contents, Failure> {
    let place = mounts.resolve(&arguments.path)?;
    let (mut file, size_bytes) = open(&place)?;
    let part = bytes_from(&mut file, 0, arguments.max_bytes.clamp(1, READ_MAX_BYTES))
        .map_err(|error| Failure::from_io(&error, &place.path))?;
    let goes_on = part.end < size_bytes;
    Ok(Contents {
        path: place.path,
        text: part.text,
        size_bytes,
        lossy: part.lossy,
        truncated: goes_on,
        next_offset_bytes: goes_on.then_some(part.end),
    })
}

pub(crate) fn read_range(mounts: &Mounts, arguments: &RangeArguments) -> Result<Range, Failure> {
    let by_lines = arguments.start_line.is_some() || arguments.end_line.is_some();
    let by_bytes = arguments.offset_bytes.is_some() || arguments.length_bytes.is_some();
    if by_lines && by_bytes {
        return Err(Failure::invalid(
            "/offset_bytes",
            "a range is either lines (start_line, end_line) or bytes (offset_bytes, \
             length_bytes), not both",
        ));
    }
    let place = mounts.resolve(&arguments.path)?;
    let (mut file, size_bytes) = open(&place)?;
    let failed = |error: io::Error| Failure::from_io(&error, &place.path);
    let range = if by_bytes {
        let offset = arguments.offset_bytes.unwrap_or(0);
        let wanted = arguments.length_bytes.unwrap_or(64 << 10);
        let part =
            bytes_from(&mut file, offset, wanted.clamp(1, READ_MAX_BYTES)).map_err(failed)?;
        let cut = part.end < offset.saturating_add(wanted).min(size_bytes);
        part.into_range(offset, None, cut)
    } else {
        let wanted = Lines::parse(arguments.start_line, arguments.end_line)?;
        let wanted = wanted.counted_in(&mut file).map_err(failed)?;
        lines(&mut file, wanted).map_err(failed)?
    };
    let next = range.offset_bytes.saturating_add(range.taken_bytes);
    Ok(Range {
        path: place.path.clone(),
        text: range.text,
        start_line: range.start_line,
        end_line: range.end_line,
        offset_bytes: range.offset_bytes,
        next_offset_bytes: (next < size_bytes).then_some(next),
        size_bytes,
        truncated: range.truncated,
        lossy: range.lossy,
    })
}

/// Opens a file and says how large it is.
///
/// # Errors
/// It is not there, not a regular file, or not to be read.
pub(crate) fn open(place: &Place<'_>) -> Result<(File, u64), Failure> {
    let failed = |error: io::Error| Failure::from_io(&error, &place.path);
    let file = File::open(&place.location).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_dir() {
        return Err(Failure::impossible(format!(
            "{} is a directory: use list to see what is in it",
            place.path
        )));
    }
    if !metadata.is_file() {
        return Err(Failure::impossible(format!("{} is not a regular file", place.path)));
    }
    Ok((file, metadata.len()))
}

/// Text from some offset.
struct Part {
    text: String,
    lossy: bool,
    /// The offset after the last byte of the text.
    end: u64,
}

/// What was found of a range.
struct Found {
    text: String,
    lossy: bool,
    start_line: Option<u64>,
    end_line: Option<u64>,
    offset_bytes: u64,
    taken_bytes: u64,
    truncated: bool,
}

impl Part {
    fn into_range(self, offset: u64, start_line: Option<u64>, truncated: bool) -> Found {
        Found {
            text: self.text,
            lossy: self.lossy,
            start_line,
            end_line: None,
            offset_bytes: offset,
            taken_bytes: self.end.saturating_sub(offset),
            truncated,
        }
    }
}

fn bytes_from(file: &mut File, offset: u64, length: u64) -> io::Result<Part> {
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    // One more than asked for tells whether the last character is cut or ends there.
    file.take(length.saturating_add(1)).read_to_end(&mut bytes)?;
    let goes_on = length_of(&bytes) > length;
    if goes_on {
        bytes.pop();
    }
    Ok(part(&bytes, offset, goes_on))
}

/// The text of bytes at an offset, cut to what a result can carry.
fn part(bytes: &[u8], offset: u64, goes_on: bool) -> Part {
    // A lone incomplete character is shown as it is, so that reading on makes progress.
    let whole = match text::whole_characters(bytes) {
        [] => bytes,
        whole if goes_on => whole,
        _ => bytes,
    };
    let decoded = text::decode(whole);
    let shown = text::fit(&decoded.text, text::RESULT_TEXT_MAX_BYTES);
    if shown.len() == decoded.text.len() {
        let end = offset + length_of(whole);
        return Part { text: decoded.text, lossy: decoded.lossy, end };
    }
    let taken = if decoded.lossy { source_length(whole, shown.len()) } else { shown.len() };
    Part {
        end: offset + u64::try_from(taken).unwrap_or(u64::MAX),
        lossy: decoded.lossy,
        text: shown.to_owned(),
    }
}

/// How many bytes of the source make the first `shown` bytes of its lossy text.
fn source_length(bytes: &[u8], shown: usize) -> usize {
    let (mut source, mut text) = (0, 0);
    for chunk in bytes.utf8_chunks() {
        let valid = chunk.valid().len();
        if text + valid >= shown {
            return source + (shown - text);
        }
        let replacement = if chunk.invalid().is_empty() { 0 } else { '\u{FFFD}'.len_utf8() };
        if text + valid + replacement > shown {
            return source + valid;
        }
        source += valid + chunk.invalid().len();
        text += valid + replacement;
    }
    source
}

/// Lines counted from 1, both ends included.
#[derive(Clone, Copy, Debug)]
struct Lines {
    start: u64,
    end: u64,
}

/// Lines as asked for; the start may count from the end.
#[derive(Clone, Copy, Debug)]
enum AskedLines {
    FromStart(Lines),
    FromEnd { back: u64, end: Option<u64> },
}

impl Lines {
    fn parse(start: Option<i64>, end: Option<u64>) -> Result<AskedLines, Failure> {
        let start = start.unwrap_or(1);
        if start == 0 {
            return Err(Failure::invalid(
                "/start_line",
                "lines are counted from 1; a negative number counts from the end",
            ));
        }
        let Ok(start) = u64::try_from(start) else {
            return Ok(AskedLines::FromEnd { back: start.unsigned_abs(), end });
        };
        let end = end.unwrap_or(start.saturating_add(LINES_DEFAULT - 1));
        if end < start {
            return Err(Failure::invalid(
                "/end_line",
                format!("end_line {end} is before start_line {start}"),
            ));
        }
        Ok(AskedLines::FromStart(Self { start, end }))
    }
}

impl AskedLines {
    /// Lines counted from the end need the number of lines, which takes a pass of its own.
    fn counted_in(self, file: &mut File) -> io::Result<Lines> {
        match self {
            Self::FromStart(lines) => Ok(lines),
            Self::FromEnd { back, end } => {
                let total = count_lines(file)?;
                let start = (total + 1).saturating_sub(back).max(1);
                let end = end.unwrap_or(start.saturating_add(LINES_DEFAULT - 1));
                Ok(Lines { start, end: end.max(start) })
            }
        }
    }
}

fn count_lines(file: &mut File) -> io::Result<u64> {
    file.rewind()?;
    let mut block = vec![0; BLOCK_BYTES];
    let (mut lines, mut last) = (0, b'\n');
    loop {
        let read = file.read(&mut block)?;
        let Some(bytes) = block.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        lines += length_of_count(memchr::memchr_iter(b'\n', bytes).count());
        last = bytes[bytes.len() - 1];
    }
    // A last line without a line end is a line too.
    Ok(lines + u64::from(last != b'\n'))
}

fn lines(file: &mut File, wanted: Lines) -> io::Result<Found> {
    file.rewind()?;
    let mut block = vec![0; BLOCK_BYTES];
    let mut kept: Vec<u8> = Vec::new();
    let (mut line, mut offset, mut start_offset) = (1_u64, 0_u64, None);
    let mut cut = false;
    'blocks: loop {
        let read = file.read(&mut block)?;
        if read == 0 {
            break;
        }
        let mut rest = &block[..read];
        while !rest.is_empty() {
            let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
            let (piece, after) = rest.split_at(end);
            if line >= wanted.start {
                start_offset.get_or_insert(offset);
                let room = LINES_MAX_BYTES.saturating_sub(kept.len());
                kept.extend_from_slice(&piece[..piece.len().min(room)]);
                if piece.len() > room {
                    cut = true;
                    break 'blocks;
                }
            }
            offset += length_of(piece);
            if piece.ends_with(b"\n") {
                line += 1;
                if line > wanted.end {
                    break 'blocks;
                }
            }
            rest = after;
        }
    }
    let start_offset = start_offset.unwrap_or(offset);
    let part = part(&kept, start_offset, cut);
    let cut = cut || part.end < start_offset + length_of(&kept);
    let newlines = length_of_count(memchr::memchr_iter(b'\n', part.text.as_bytes()).count());
    let open_line = u64::from(!part.text.is_empty() && !part.text.ends_with('\n'));
    let shown = newlines + open_line;
    let mut found = part.into_range(start_offset, Some(wanted.start), cut);
    found.end_line = shown.checked_sub(1).map(|more| wanted.start + more);
    Ok(found)
}

fn length_of(bytes: &[u8]) -> u64 {
    length_of_count(bytes.len())
}

fn length_of_count(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn read_default() -> u64 {
    200 << 10
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::Sandbox;
    use serde_json::{Value, json};

    fn range_of(text: &str, mut arguments: Value) -> Range {
        let sandbox = Sandbox::with(&[("f", text)]);
        arguments["path"] = json!("/data/f");
        let arguments = serde_json::from_value(arguments).expect("arguments");
        read_range(&sandbox.mounts, &arguments).expect("a range")
    }

    fn contents_of(bytes: &[u8], mut arguments: Value) -> Contents {
        let sandbox = Sandbox::with(&[]);
        std::fs::write(sandbox.root().join("f"), bytes).expect("a file");
        arguments["path"] = json!("/data/f");
        let arguments = serde_json::from_value(arguments).expect("arguments");
        read(&sandbox.mounts, &arguments).expect("contents")
    }

    #[test]
    fn a_small_file_is_read_whole() {
        let contents = contents_of("grüße\n".as_bytes(), json!({}));
        assert_eq!(contents.text, "grüße\n");
        assert_eq!(contents.size_bytes, 8);
        assert!(!contents.truncated && !contents.lossy);
        assert_eq!(contents.next_offset_bytes, None);
    }

    #[test]
    fn a_cut_lies_between_characters_and_says_where_to_go_on() {
        let contents = contents_of("aé€".as_bytes(), json!({"max_bytes": 2}));
        assert_eq!(contents.text, "a");
        assert!(contents.truncated && !contents.lossy);
        assert_eq!(contents.next_offset_bytes, Some(1));
    }

    #[test]
    fn a_cut_in_the_first_character_still_makes_progress() {
        let contents = contents_of("€".as_bytes(), json!({"max_bytes": 1}));
        assert!(contents.lossy);
        assert_eq!(contents.next_offset_bytes, Some(1));
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_shown_and_reported() {
        let contents = contents_of(b"a\xFFb", json!({}));
        assert_eq!(contents.text, "a\u{FFFD}b");
        assert!(contents.lossy);
    }

    #[test]
    fn a_file_of_control_characters_fits_a_result() {
        let contents = contents_of(&[1; 300 << 10], json!({"max_bytes": 300 << 10}));
        let json = serde_json::to_string(&contents).expect("json");
        assert!(json.len() <= text::RESULT_TEXT_MAX_BYTES + 512, "{}", json.len());
        assert!(contents.truncated);
        assert_eq!(
            contents.next_offset_bytes,
            Some(u64::try_from(contents.text.len()).expect("fits"))
        );
    }

    #[test]
    fn an_offset_after_a_lossy_cut_counts_bytes_of_the_file() {
        let bytes = b"ab\xFF\xFEcd";
        let text = String::from_utf8_lossy(bytes);
        assert_eq!(source_length(bytes, 2), 2);
        assert_eq!(source_length(bytes, 5), 3);
        assert_eq!(source_length(bytes, 9), 5);
        assert_eq!(source_length(bytes, text.len()), bytes.len());
    }

    #[test]
    fn lines_are_counted_from_one_and_both_ends_are_included() {
        let range = range_of("1\n2\n3\n4\n", json!({"start_line": 2, "end_line": 3}));
        assert_eq!(range.text, "2\n3\n");
        assert_eq!((range.start_line, range.end_line), (Some(2), Some(3)));
        assert_eq!((range.offset_bytes, range.next_offset_bytes), (2, Some(6)));
    }

    #[test]
    fn a_range_without_arguments_is_the_first_lines() {
        let range = range_of("1\n2", json!({}));
        assert_eq!(range.text, "1\n2");
        assert_eq!((range.start_line, range.end_line), (Some(1), Some(2)));
        assert_eq!(range.next_offset_bytes, None);
    }

    #[test]
    fn negative_lines_count_from_the_end() {
        assert_eq!(range_of("1\n2\n3\n", json!({"start_line": -2})).text, "2\n3\n");
        assert_eq!(range_of("1\n2\n3", json!({"start_line": -1})).text, "3");
        let whole = range_of("1\n2\n", json!({"start_line": -10}));
        assert_eq!((whole.text.as_str(), whole.start_line), ("1\n2\n", Some(1)));
    }

    #[test]
    fn lines_after_the_end_are_empty() {
        let range = range_of("1\n", json!({"start_line": 5}));
        assert_eq!((range.text.as_str(), range.end_line), ("", None));
        assert_eq!(range.next_offset_bytes, None);
    }

    #[test]
    fn lines_across_blocks_are_found() {
        let text: String = (1..=40_000).map(|line| format!("line {line}\n")).collect();
        let range = range_of(&text, json!({"start_line": 39_998, "end_line": 39_999}));
        assert_eq!(range.text, "line 39998\nline 39999\n");
    }

    #[test]
    fn a_range_too_large_for_a_result_is_cut() {
        let text = "x".repeat(2 << 20);
        let range = range_of(&text, json!({"start_line": 1, "end_line": 1}));
        assert!(range.truncated);
        assert_eq!(range.text.len(), LINES_MAX_BYTES);
        assert_eq!(range.next_offset_bytes, Some(READ_MAX_BYTES));
    }

    #[test]
    fn bytes_are_counted_from_zero() {
        let range = range_of("0123456789", json!({"offset_bytes": 3, "length_bytes": 4}));
        assert_eq!(range.text, "3456");
        assert_eq!(range.next_offset_bytes, Some(7));
        assert!(!range.truncated);
        assert_eq!(range_of("01", json!({"offset_bytes": 9})).text, "");
    }

    #[test]
    fn lines_and_bytes_together_are_refused() {
        let sandbox = Sandbox::with(&[("f", "")]);
        let arguments =
            serde_json::from_value(json!({"path": "/data/f", "start_line": 1, "offset_bytes": 1}));
        assert!(matches!(
            read_range(&sandbox.mounts, &arguments.expect("arguments")),
            Err(Failure::Invalid { pointer: "/offset_bytes", .. })
        ));
    }

    #[test]
    fn a_directory_is_not_read_as_a_file() {
        let sandbox = Sandbox::with(&[("d/f", "")]);
        let arguments = serde_json::from_value(json!({"path": "/data/d"})).expect("arguments");
        let error = read(&sandbox.mounts, &arguments).expect_err("a directory");
        assert!(error.to_string().contains("is a directory"), "{error}");
    }
}
