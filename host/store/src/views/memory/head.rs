//! What is known of a key without its value: one small row a key, so that listing reads no
//! values.

use super::super::codec::{Fields, Readable, Rows};
use super::super::{ViewError, storage};
use super::MALFORMED;
use super::space::prefix;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Head {
    /// The latest version; versions of a key go on over deletions.
    pub(super) latest: u64,
    /// What the latest version counts for; `None` for a tombstone.
    pub(super) live: Option<Live>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Live {
    /// 0 for never.
    pub(super) expires_at_unix_ms: u64,
    pub(super) bytes: u64,
    /// Its number in the index.
    pub(super) doc: u32,
    /// The number of its vector's model; 0 for no vector.
    pub(super) model: u32,
}

impl Head {
    pub(super) fn load(
        rows: &impl Readable,
        space: u32,
        key: &str,
    ) -> Result<Option<Self>, ViewError> {
        let row = rows.get(&*row_key(space, key)).map_err(storage)?;
        row.map(|row| Self::decode(row.value()).ok_or(MALFORMED)).transpose()
    }

    pub(super) fn store(
        &self,
        rows: &mut Rows<'_>,
        space: u32,
        key: &str,
    ) -> Result<(), ViewError> {
        let mut row = self.latest.to_le_bytes().to_vec();
        if let Some(live) = self.live {
            row.extend_from_slice(&live.expires_at_unix_ms.to_le_bytes());
            row.extend_from_slice(&live.bytes.to_le_bytes());
            row.extend_from_slice(&live.doc.to_le_bytes());
            row.extend_from_slice(&live.model.to_le_bytes());
        }
        rows.insert(&*row_key(space, key), &*row).map(drop).map_err(storage)
    }

    pub(super) fn remove(rows: &mut Rows<'_>, space: u32, key: &str) -> Result<(), ViewError> {
        rows.remove(&*row_key(space, key)).map(drop).map_err(storage)
    }

    pub(super) fn decode(row: &[u8]) -> Option<Self> {
        let mut fields = Fields(row);
        let latest = fields.u64()?;
        if fields.0.is_empty() {
            return Some(Self { latest, live: None });
        }
        let live = Live {
            expires_at_unix_ms: fields.u64()?,
            bytes: fields.u64()?,
            doc: fields.u32()?,
            model: fields.u32()?,
        };
        Some(Self { latest, live: Some(live) })
    }

    /// Whether a reader sees a record.
    pub(super) fn is_there(&self, now_unix_ms: u64) -> bool {
        self.live.is_some_and(|live| !is_past(live.expires_at_unix_ms, now_unix_ms))
    }
}

/// Whether what expires then is gone now; 0 is never.
pub(super) fn is_past(expires_at_unix_ms: u64, now_unix_ms: u64) -> bool {
    expires_at_unix_ms != 0 && expires_at_unix_ms <= now_unix_ms
}

fn row_key(space: u32, key: &str) -> Vec<u8> {
    let mut row_key = prefix(b'h', space);
    row_key.extend_from_slice(key.as_bytes());
    row_key
}
