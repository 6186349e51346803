//! One version of a record, and its row.

use foreshore_domain::memory::{Importance, Origin, Tags, ValueRef};

use super::super::codec::{self, Fields, Readable, put_part, put_varint, wide};
use super::super::{ViewError, storage};
use super::MALFORMED;
use super::space::prefix;

/// A version of a record, as readers see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Version {
    /// Which, from 1; goes on over deletions.
    pub version: u64,
    /// The event that made it.
    pub seq: u64,
    /// When, in milliseconds since 1970.
    pub written_at_unix_ms: u64,
    /// What it is.
    pub state: State,
}

/// What a version is.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// A value was written.
    Written(Entry),
    /// The record was deleted.
    Deleted {
        /// By whom.
        origin: Origin,
    },
    /// The record's time was over.
    Expired,
}

/// What was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The value.
    pub value: ValueRef,
    /// Its tags.
    pub tags: Tags,
    /// How much it matters.
    pub importance: Importance,
    /// Where its text came from.
    pub origin: Origin,
    /// The first millisecond at which it is no longer there.
    pub expires_at_unix_ms: Option<u64>,
}

impl Version {
    /// What was written, if it was.
    pub fn entry(&self) -> Option<&Entry> {
        match &self.state {
            State::Written(entry) => Some(entry),
            State::Deleted { .. } | State::Expired => None,
        }
    }

    /// When it expires; 0 for never.
    pub(super) fn expires_at_unix_ms(&self) -> u64 {
        self.entry().and_then(|entry| entry.expires_at_unix_ms).unwrap_or(0)
    }

    /// What it counts for, beside its key.
    pub(super) fn bytes(&self) -> u64 {
        self.entry().map_or(0, |entry| {
            let tags: usize = entry.tags.as_slice().iter().map(|tag| tag.as_str().len()).sum();
            entry.value.size_bytes() + wide(tags)
        })
    }

    pub(super) fn load(
        rows: &impl Readable,
        space: u32,
        key: &str,
        version: u64,
    ) -> Result<Option<Self>, ViewError> {
        let row = rows.get(&*row_key(space, key, version)).map_err(storage)?;
        row.map(|row| Self::decode(version, row.value()).ok_or(MALFORMED)).transpose()
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut row = Vec::with_capacity(128);
        row.extend_from_slice(&self.seq.to_le_bytes());
        row.extend_from_slice(&self.written_at_unix_ms.to_le_bytes());
        match &self.state {
            State::Written(entry) => {
                row.push(0);
                row.extend_from_slice(&self.expires_at_unix_ms().to_le_bytes());
                row.extend_from_slice(&entry.importance.get().to_le_bytes());
                put_part(&mut row, entry.origin.to_string().as_bytes());
                let tags = entry.tags.as_slice();
                put_varint(&mut row, codec::count(tags.len()));
                for tag in tags {
                    put_part(&mut row, tag.as_str().as_bytes());
                }
                codec::put_value(&mut row, &entry.value);
            }
            State::Deleted { origin } => {
                row.push(1);
                put_part(&mut row, origin.to_string().as_bytes());
            }
            State::Expired => row.push(2),
        }
        row
    }

    pub(super) fn decode(version: u64, row: &[u8]) -> Option<Self> {
        let mut fields = Fields(row);
        let (seq, written_at_unix_ms) = (fields.u64()?, fields.u64()?);
        let state = match fields.u8()? {
            0 => State::Written(Entry::decode(&mut fields)?),
            1 => State::Deleted { origin: Origin::parse(fields.text()?).ok()? },
            2 => State::Expired,
            _ => return None,
        };
        Some(Self { version, seq, written_at_unix_ms, state })
    }
}

impl Entry {
    fn decode(fields: &mut Fields<'_>) -> Option<Self> {
        let expires_at = fields.u64()?;
        let importance = Importance::try_from(fields.f32()?).ok()?;
        let origin = Origin::parse(fields.text()?).ok()?;
        let mut tags = Vec::new();
        for _ in 0..fields.varint()? {
            tags.push(fields.text()?);
        }
        Some(Self {
            value: codec::read_value(fields)?,
            tags: Tags::parse(tags).ok()?,
            importance,
            origin,
            expires_at_unix_ms: (expires_at != 0).then_some(expires_at),
        })
    }
}

/// The start of the keys of a record's versions.
pub(super) fn versions_prefix(space: u32, key: &str) -> Vec<u8> {
    let mut row_key = prefix(b'r', space);
    row_key.extend_from_slice(key.as_bytes());
    // No key has a zero byte, so no key's versions are among another's.
    row_key.push(0);
    row_key
}

pub(super) fn row_key(space: u32, key: &str, version: u64) -> Vec<u8> {
    let mut row_key = versions_prefix(space, key);
    row_key.extend_from_slice(&version.to_be_bytes());
    row_key
}
