//! The input values of a query, from whichever place and in whichever form.
//!
//! NDJSON and CSV are read row by row, so that a file may be larger than memory; a JSON text is
//! read whole. The invariant: an input that cannot be read ends the inputs, with its place.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read};

use foreshore_sdk::fs::{Access, explain};
use jaq_json::{Val, read};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::failure::Failure;
use crate::json;
use crate::rows::{Fields, Header, Rows};

/// A JSON text takes several times its size once it is parsed, and the default memory is 32 MiB.
const JSON_MAX_BYTES: u64 = 6 << 20;
const LINE_MAX_BYTES: u64 = 1 << 20;

/// The form of the data.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// By the end of the file's name: .json, .ndjson or .jsonl, .csv, .tsv; JSON otherwise.
    #[default]
    Auto,
    /// One JSON value, or several one after the other; at most 6 MiB.
    Json,
    /// One JSON value a line; files of any size.
    Ndjson,
    /// Rows of fields; files of any size.
    Csv,
}

/// How CSV is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CsvOptions {
    /// `None` is the form's own: a tab for .tsv, else a comma.
    pub(crate) delimiter: Option<u8>,
    pub(crate) header: Header,
    pub(crate) fields: Fields,
}

/// Input values, and why one cannot be read.
pub(crate) type Inputs<'a> = Box<dyn Iterator<Item = Result<Val, Failure>> + 'a>;

/// The values of a file in a granted mount.
///
/// # Errors
/// The file cannot be opened.
pub(crate) fn of_file(
    path: &str,
    format: Format,
    options: CsvOptions,
) -> Result<Inputs<'static>, Failure> {
    if !path.starts_with('/') {
        return Err(Failure::invalid(
            "/path",
            format!(
                "{path:?} is not absolute: a path starts with that of a mount, such as /data/a.csv"
            ),
        ));
    }
    let failed = |error: std::io::Error| Failure::File(explain(path, &error, Access::Read));
    let file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.is_dir() {
        return Err(Failure::invalid("/path", format!("{path} is a directory")));
    }
    let (format, options) = settled(path, format, options);
    values(BufReader::with_capacity(64 << 10, file), path.to_owned(), format, options)
}

/// The values of a text.
///
/// # Errors
/// The header of CSV cannot be read.
pub(crate) fn of_text(
    text: &str,
    format: Format,
    options: CsvOptions,
) -> Result<Inputs<'_>, Failure> {
    let format = if format == Format::Auto { Format::Json } else { format };
    values(Cursor::new(text), "text".to_owned(), format, options)
}

fn settled(path: &str, format: Format, options: CsvOptions) -> (Format, CsvOptions) {
    let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
    let extension = extension.to_ascii_lowercase();
    let format = match (format, extension.as_str()) {
        (Format::Auto, "ndjson" | "jsonl") => Format::Ndjson,
        (Format::Auto, "csv" | "tsv") => Format::Csv,
        (Format::Auto, _) => Format::Json,
        (format, _) => format,
    };
    let delimiter = options.delimiter.or((extension == "tsv").then_some(b'\t'));
    (format, CsvOptions { delimiter, ..options })
}

fn values<'a>(
    source: impl BufRead + 'a,
    name: String,
    format: Format,
    options: CsvOptions,
) -> Result<Inputs<'a>, Failure> {
    match format {
        Format::Auto | Format::Json => json_values(source, name),
        Format::Ndjson => Ok(Box::new(LineValues { source, name, number: 0, line: Vec::new() })),
        Format::Csv => {
            let delimiter = options.delimiter.unwrap_or(b',');
            let unreadable = move |error: csv::Error| Failure::Data {
                place: name.clone(),
                message: error.to_string(),
            };
            let rows = Rows::new(source, delimiter, options.header, options.fields)
                .map_err(&unreadable)?;
            Ok(Box::new(rows.map(move |row| row.map_err(&unreadable))))
        }
    }
}

fn json_values<'a>(source: impl Read + 'a, name: String) -> Result<Inputs<'a>, Failure> {
    let mut bytes = Vec::new();
    let read = source.take(JSON_MAX_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|error| Failure::Data { place: name.clone(), message: error.to_string() })?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > JSON_MAX_BYTES) {
        return Err(Failure::Data {
            place: name,
            message: format!(
                "more than {JSON_MAX_BYTES} bytes of JSON; as NDJSON or CSV a file may have any size"
            ),
        });
    }
    let values = parse(&bytes, &name)?;
    Ok(Box::new(values.into_iter().map(Ok)))
}

/// The values of a JSON text, one after the other.
fn parse(bytes: &[u8], place: &str) -> Result<Vec<Val>, Failure> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    if json::is_deeper_than(bytes, json::DATA_DEPTH_MAX) {
        return Err(Failure::Data {
            place: place.to_owned(),
            message: format!("nested deeper than {} levels", json::DATA_DEPTH_MAX),
        });
    }
    let values: Result<Vec<_>, _> = read::parse_many(bytes).collect();
    values.map_err(|error| Failure::Data { place: place.to_owned(), message: error.to_string() })
}

/// The values of NDJSON, line by line.
struct LineValues<R> {
    source: R,
    name: String,
    number: u64,
    line: Vec<u8>,
}

impl<R: BufRead> Iterator for LineValues<R> {
    type Item = Result<Val, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.line.clear();
            self.number += 1;
            let limited =
                (&mut self.source).take(LINE_MAX_BYTES + 1).read_until(b'\n', &mut self.line);
            let place = || format!("{}, line {}", self.name, self.number);
            match limited {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) => {
                    return Some(Err(Failure::Data { place: place(), message: error.to_string() }));
                }
            }
            if u64::try_from(self.line.len()).is_ok_and(|length| length > LINE_MAX_BYTES) {
                let message = format!("the line has more than {LINE_MAX_BYTES} bytes");
                return Some(Err(Failure::Data { place: place(), message }));
            }
            if self.line.trim_ascii().is_empty() {
                continue;
            }
            return Some(parse(&self.line, &place()).and_then(|mut values| match values.len() {
                1 => Ok(values.remove(0)),
                count => Err(Failure::Data {
                    place: place(),
                    message: format!(
                        "{count} values on a line; with \"format\": \"json\" that is allowed"
                    ),
                }),
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: CsvOptions =
        CsvOptions { delimiter: None, header: Header::First, fields: Fields::Typed };

    fn collected(text: &str, format: Format) -> Result<Vec<String>, Failure> {
        of_text(text, format, OPTIONS)?.map(|value| value.map(|value| value.to_string())).collect()
    }

    #[test]
    fn several_values_follow_each_other() {
        assert_eq!(
            collected("1 [2]\n{\"a\":3}", Format::Json).expect("values"),
            ["1", "[2]", "{\"a\":3}"]
        );
        assert_eq!(collected("\u{FEFF}1", Format::Auto).expect("values"), ["1"]);
    }

    #[test]
    fn an_error_in_a_line_has_its_number() {
        assert_eq!(collected("1\n\n2\n", Format::Ndjson).expect("values"), ["1", "2"]);
        let error = collected("1\n{\n", Format::Ndjson).expect_err("a bad line").to_string();
        assert!(error.starts_with("text, line 2: "), "{error}");
        let error = collected("1 2\n", Format::Ndjson).expect_err("two values").to_string();
        assert!(error.contains("2 values on a line"), "{error}");
    }

    #[test]
    fn text_that_is_too_deep_is_refused_before_it_is_parsed() {
        let deep = "[".repeat(100_000);
        for format in [Format::Json, Format::Ndjson] {
            let error = collected(&deep, format).expect_err("too deep").to_string();
            assert!(error.contains("nested deeper than 200"), "{error}");
        }
    }

    #[test]
    fn a_line_and_a_text_have_a_size() {
        let long = format!("\"{}\"", "x".repeat(1 << 20));
        let error = collected(&long, Format::Ndjson).expect_err("too long").to_string();
        assert!(error.contains("more than 1048576 bytes"), "{error}");
        let large = format!("\"{}\"", "x".repeat(6 << 20));
        let error = collected(&large, Format::Json).expect_err("too large").to_string();
        assert!(error.contains("more than 6291456 bytes"), "{error}");
    }

    #[test]
    fn the_form_follows_from_the_name() {
        let form = |path, format| {
            let (format, options) = settled(path, format, OPTIONS);
            (format, options.delimiter)
        };
        assert_eq!(form("/data/a.CSV", Format::Auto), (Format::Csv, None));
        assert_eq!(form("/data/a.tsv", Format::Auto), (Format::Csv, Some(b'\t')));
        assert_eq!(form("/data/a.jsonl", Format::Auto), (Format::Ndjson, None));
        assert_eq!(form("/data/a.txt", Format::Auto), (Format::Json, None));
        assert_eq!(form("/data/a.csv", Format::Ndjson), (Format::Ndjson, None));
    }

    #[test]
    fn a_file_is_read_and_a_missing_one_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a.csv");
        std::fs::write(&path, "a,b\n1,x\n").expect("a file");
        let path = path.to_str().expect("utf-8");
        let values: Vec<_> = of_file(path, Format::Auto, OPTIONS)
            .expect("a file")
            .map(|value| value.expect("a row").to_string())
            .collect();
        assert_eq!(values, ["{\"a\":1,\"b\":\"x\"}"]);
        let missing = format!("{path}.not");
        assert!(matches!(
            of_file(&missing, Format::Auto, OPTIONS),
            Err(Failure::File(foreshore_sdk::Error::NotFound(_)))
        ));
        assert!(matches!(
            of_file("a.csv", Format::Auto, OPTIONS),
            Err(Failure::Invalid { pointer: "/path", .. })
        ));
    }
}
