//! CSV as values: each row an object with the header's names.
//!
//! Quotes and line ends follow RFC 4180. A row may be shorter or longer than the header, since
//! real files are. The invariant: a row becomes the same value wherever it stands.

use std::io::Read;

use jaq_json::{Map, Num, Val};

/// What the fields of a row become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fields {
    /// Numbers, true and false, and null for an empty field.
    Typed,
    /// Texts, all of them.
    Texts,
}

/// Whether the first row names the columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    /// It does: a row is an object.
    First,
    /// It is a row like any other, and a row is an array.
    None,
}

/// The rows of a CSV text, one at a time.
pub(crate) struct Rows<R> {
    reader: csv::Reader<R>,
    names: Option<Vec<Val>>,
    fields: Fields,
    record: csv::ByteRecord,
}

impl<R: Read> Rows<R> {
    /// # Errors
    /// The header cannot be read.
    pub(crate) fn new(
        source: R,
        delimiter: u8,
        header: Header,
        fields: Fields,
    ) -> Result<Self, csv::Error> {
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(delimiter)
            .has_headers(header == Header::First)
            .flexible(true)
            .from_reader(source);
        let names = match header {
            Header::First => Some(names(reader.byte_headers()?)),
            Header::None => None,
        };
        Ok(Self { reader, names, fields, record: csv::ByteRecord::new() })
    }

    fn object(&self, names: &[Val]) -> Val {
        let mut fields = Map::default();
        for (index, name) in names.iter().enumerate() {
            let value = self.record.get(index).map_or(Val::Null, |field| self.value(field));
            fields.insert(name.clone(), value);
        }
        if self.record.len() > names.len() {
            let extra = self.record.iter().skip(names.len()).map(|field| self.value(field));
            fields.insert(text(b"_extra"), extra.collect());
        }
        Val::obj(fields)
    }

    fn value(&self, field: &[u8]) -> Val {
        match (self.fields, field) {
            (Fields::Texts, _) => text(field),
            (Fields::Typed, b"") => Val::Null,
            (Fields::Typed, b"true") => Val::Bool(true),
            (Fields::Typed, b"false") => Val::Bool(false),
            (Fields::Typed, field) => number(field).map_or_else(|| text(field), Val::Num),
        }
    }
}

impl<R: Read> Iterator for Rows<R> {
    type Item = Result<Val, csv::Error>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.reader.read_byte_record(&mut self.record) {
            Ok(false) => None,
            Ok(true) => Some(Ok(match &self.names {
                Some(names) => self.object(names),
                None => self.record.iter().map(|field| self.value(field)).collect(),
            })),
            Err(error) => Some(Err(error)),
        }
    }
}

/// The names of the columns: never empty and never twice the same.
fn names(header: &csv::ByteRecord) -> Vec<Val> {
    let mut names: Vec<String> = Vec::with_capacity(header.len());
    for (index, field) in header.iter().enumerate() {
        let field =
            if index == 0 { field.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(field) } else { field };
        let given = String::from_utf8_lossy(field);
        let base = match given.trim() {
            "" => format!("column_{}", index + 1),
            name => name.to_owned(),
        };
        let mut name = base.clone();
        let mut count = 1;
        while names.contains(&name) {
            count += 1;
            name = format!("{base}_{count}");
        }
        names.push(name);
    }
    names.into_iter().map(Val::utf8_str).collect()
}

fn text(bytes: &[u8]) -> Val {
    Val::utf8_str(bytes.to_vec())
}

/// A field that is a number as JSON writes it. `007` and `+1` are texts: they are codes and
/// telephone numbers more often than amounts.
fn number(field: &[u8]) -> Option<Num> {
    let digits = field.strip_prefix(b"-").unwrap_or(field);
    match digits {
        [b'0', b'0'..=b'9', ..] => None,
        [b'0'..=b'9', ..] => jaq_json::read::parse_single_num(field),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(csv: &str, header: Header, fields: Fields) -> Vec<String> {
        Rows::new(csv.as_bytes(), b',', header, fields)
            .expect("a header")
            .map(|row| row.expect("a row").to_string())
            .collect()
    }

    #[test]
    fn a_row_is_an_object_with_typed_fields() {
        assert_eq!(
            rows("name,n,ok\r\nAda,1.5,true\r\nBob,,false\r\n", Header::First, Fields::Typed),
            [r#"{"name":"Ada","n":1.5,"ok":true}"#, r#"{"name":"Bob","n":null,"ok":false}"#]
        );
        assert_eq!(rows("n\n1\n", Header::First, Fields::Texts), [r#"{"n":"1"}"#]);
    }

    #[test]
    fn quotes_hold_delimiters_line_ends_and_quotes() {
        assert_eq!(
            rows("a,b\n\"x, y\",\"1\n\"\"2\"\"\"\n", Header::First, Fields::Typed),
            [r#"{"a":"x, y","b":"1\n\"2\""}"#]
        );
    }

    #[test]
    fn what_looks_like_a_number_but_is_a_code_stays_a_text() {
        assert_eq!(
            rows("0,007,+1,1e3,-2,1_000,0x1,-,Infinity,0.5", Header::None, Fields::Typed),
            [r#"[0,"007","+1",1e3,-2,"1_000","0x1","-","Infinity",0.5]"#]
        );
    }

    #[test]
    fn rows_may_be_shorter_or_longer_than_the_header() {
        assert_eq!(
            rows("a,b\n1\n1,2,3,4\n", Header::First, Fields::Typed),
            [r#"{"a":1,"b":null}"#, r#"{"a":1,"b":2,"_extra":[3,4]}"#]
        );
    }

    #[test]
    fn names_are_neither_empty_nor_doubled() {
        assert_eq!(
            rows("\u{FEFF}a,a,,a_2\n1,2,3,4\n", Header::First, Fields::Typed),
            [r#"{"a":1,"a_2":2,"column_3":3,"a_2_2":4}"#]
        );
    }
}
