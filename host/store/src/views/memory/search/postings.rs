//! The bytes of postings: which documents have a term, and how often.
//!
//! ```text
//! chunk   = last document:u32 | count:u16 | posting ...
//! posting = (difference to the document before) * 2 + (1 if it occurs once) | times, if more
//! ```
//!
//! Numbers of postings are varints; the first document is in the row's key, and its
//! difference is 0.

use super::super::super::codec::{Fields, put_varint};

/// The most postings of a chunk.
pub(super) const CHUNK_MAX: u16 = 512;
const HEADER_BYTES: usize = 6;

/// A chunk being written.
pub(super) struct Chunk {
    pub(super) first: u32,
    last: u32,
    pub(super) count: u16,
    bytes: Vec<u8>,
}

impl Chunk {
    pub(super) fn new(first: u32) -> Self {
        Self { first, last: first, count: 0, bytes: vec![0; HEADER_BYTES] }
    }

    /// A chunk that was written before, to be added to.
    pub(super) fn read(first: u32, row: &[u8]) -> Option<Self> {
        let mut fields = Fields(row);
        let (last, count) = (fields.u32()?, fields.u16()?);
        Some(Self { first, last, count, bytes: row.to_vec() })
    }

    /// Adds a document after those that are there.
    pub(super) fn push(&mut self, doc: u32, times: u32) {
        let once = u32::from(times == 1);
        put_varint(&mut self.bytes, (doc.wrapping_sub(self.last) << 1) | once);
        if once == 0 {
            put_varint(&mut self.bytes, times);
        }
        self.last = doc;
        self.count = self.count.saturating_add(1);
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bytes[..4].copy_from_slice(&self.last.to_le_bytes());
        self.bytes[4..HEADER_BYTES].copy_from_slice(&self.count.to_le_bytes());
        self.bytes
    }
}

/// The documents of a chunk, and how often each has the term.
pub(super) struct Postings<'a> {
    doc: u32,
    fields: Fields<'a>,
}

impl<'a> Postings<'a> {
    pub(super) fn new(first: u32, row: &'a [u8]) -> Self {
        Self { doc: first, fields: Fields(row.get(HEADER_BYTES..).unwrap_or_default()) }
    }
}

impl Iterator for Postings<'_> {
    type Item = (u32, u32);

    #[inline]
    fn next(&mut self) -> Option<(u32, u32)> {
        let number = self.fields.varint()?;
        self.doc = self.doc.wrapping_add(number >> 1);
        let times = if number & 1 == 1 { 1 } else { self.fields.varint()? };
        Some((self.doc, times))
    }
}
