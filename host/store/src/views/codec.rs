//! How rows are written: fields in order, integers little-endian, text with its length.
//!
//! Keys are another matter: their integers are big-endian, so that bytes sort as numbers do.

use foreshore_domain::blob::BlobDigest;
use foreshore_domain::memory::{Blob, JsonText, JsonType, ValueRef};
use redb::{ReadableTable, TableDefinition};

use super::{ViewError, storage};

/// Every view is rows of bytes under keys of bytes; the first byte of a key says what the row
/// is. One table a view, since each open table costs every transaction.
pub(super) type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// Rows being written.
pub(super) type Rows<'t> = redb::Table<'t, &'static [u8], &'static [u8]>;

/// Rows as they stood at one moment.
pub(super) type ReadRows = redb::ReadOnlyTable<&'static [u8], &'static [u8]>;

/// Rows that can be read.
pub(super) trait Readable: ReadableTable<&'static [u8], &'static [u8]> {}

impl<T: ReadableTable<&'static [u8], &'static [u8]>> Readable for T {}

/// Fields still to be read.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    #[inline]
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    #[inline]
    pub(super) fn u8(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    #[inline]
    pub(super) fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }

    #[inline]
    pub(super) fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    #[inline]
    pub(super) fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    #[inline]
    pub(super) fn f32(&mut self) -> Option<f32> {
        self.take().map(f32::from_le_bytes)
    }

    /// Seven bits a byte, the lowest first; the high bit says that more follow.
    #[inline]
    pub(super) fn varint(&mut self) -> Option<u32> {
        let (mut value, mut shift) = (0_u32, 0);
        loop {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u32::from(byte & 0x7f).checked_shl(shift)?;
            if byte < 0x80 {
                return Some(value);
            }
            shift += 7;
        }
    }

    #[inline]
    pub(super) fn part(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.varint()?).ok()?;
        let (part, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(part)
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.part()?).ok()
    }
}

pub(super) fn put_varint(bytes: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        let [low, ..] = value.to_le_bytes();
        bytes.push(low | 0x80);
        value >>= 7;
    }
    let [low, ..] = value.to_le_bytes();
    bytes.push(low);
}

pub(super) fn put_part(bytes: &mut Vec<u8>, part: &[u8]) {
    put_varint(bytes, count(part.len()));
    bytes.extend_from_slice(part);
}

/// A length or count as rows hold it.
pub(super) fn count(number: usize) -> u32 {
    u32::try_from(number).expect("invariant: an event has a few megabytes at most")
}

/// A number of a row as an index.
#[inline]
pub(super) fn index(number: u32) -> usize {
    usize::try_from(number).expect("invariant: addresses have at least 32 bits")
}

/// The same as a wide number.
pub(super) fn wide(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[expect(clippy::as_conversions, reason = "there is no other way from f64 to f32; it rounds")]
pub(super) fn narrow(number: f64) -> f32 {
    number as f32
}

/// The least key that is greater than every key that starts with `prefix`.
pub(super) fn after(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    unreachable!("every prefix starts with a letter")
}

/// Every row of a table, each part with its length, but for those that start with `but`.
pub(super) fn dump(
    transaction: &redb::ReadTransaction,
    definition: Definition,
    but: Option<u8>,
) -> Result<Vec<u8>, ViewError> {
    let mut bytes = Vec::new();
    let table = match transaction.open_table(definition) {
        Ok(table) => table,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(bytes),
        Err(error) => return Err(storage(error)),
    };
    for row in table.range::<&[u8]>(..).map_err(storage)? {
        let (key, value) = row.map_err(storage)?;
        if but.is_none() || key.value().first().copied() != but {
            put_part(&mut bytes, key.value());
            put_part(&mut bytes, value.value());
        }
    }
    Ok(bytes)
}

/// The table, or `None` before the first event.
pub(super) fn open(
    transaction: &redb::ReadTransaction,
    definition: Definition,
) -> Result<Option<ReadRows>, ViewError> {
    match transaction.open_table(definition) {
        Ok(table) => Ok(Some(table)),
        Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(storage(error)),
    }
}

/// Writes a value.
pub(super) fn put_value(bytes: &mut Vec<u8>, value: &ValueRef) {
    match value {
        ValueRef::Inline(json) => {
            bytes.push(0);
            put_part(bytes, json.as_str().as_bytes());
        }
        ValueRef::Blob(blob) => {
            bytes.push(1);
            bytes.extend_from_slice(&blob.size_bytes.to_le_bytes());
            bytes.push(json_type(blob.json_type));
            put_part(bytes, blob.digest.to_string().as_bytes());
            put_part(bytes, blob.text.as_bytes());
        }
    }
}

/// Reads what [`put_value`] wrote.
pub(super) fn read_value(fields: &mut Fields<'_>) -> Option<ValueRef> {
    match fields.u8()? {
        0 => Some(ValueRef::Inline(JsonText::from_checked(fields.text()?))),
        1 => Some(ValueRef::Blob(Blob {
            size_bytes: fields.u64()?,
            json_type: read_json_type(fields)?,
            digest: BlobDigest::parse(fields.text()?)?,
            text: fields.text()?.to_owned(),
        })),
        _ => None,
    }
}

/// The kind of a value as a row holds it.
pub(super) fn json_type(json_type: JsonType) -> u8 {
    match json_type {
        JsonType::Object => 0,
        JsonType::Array => 1,
        JsonType::String => 2,
        JsonType::Number => 3,
        JsonType::Boolean => 4,
        JsonType::Null => 5,
    }
}

pub(super) fn read_json_type(fields: &mut Fields<'_>) -> Option<JsonType> {
    JsonType::ALL.get(usize::from(fields.u8()?)).copied()
}
