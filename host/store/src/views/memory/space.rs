//! A namespace of a tenant: its number, which starts the keys of its rows, and its counts.

use super::super::codec::{Fields, Readable, Rows, put_part};
use super::super::{ViewError, storage};
use super::MALFORMED;

/// What a namespace amounts to, for quotas and people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Records that are there; those past their time count until they are swept.
    pub entries: u64,
    /// Their keys, values and tags.
    pub bytes: u64,
    /// Versions kept, the latest ones and tombstones too.
    pub versions: u64,
    /// The keys, values and tags of all of them.
    pub versions_bytes: u64,
    /// Relations.
    pub relations: u64,
}

/// The row of a namespace.
#[derive(Clone, Debug)]
pub(super) struct Space {
    row_key: Vec<u8>,
    pub(super) id: u32,
    pub(super) usage: Usage,
}

impl Space {
    pub(super) fn load(
        rows: &impl Readable,
        tenant: &str,
        namespace: &str,
    ) -> Result<Option<Self>, ViewError> {
        let row_key = row_key(tenant, namespace);
        let Some(row) = rows.get(&*row_key).map_err(storage)? else { return Ok(None) };
        let mut fields = Fields(row.value());
        let id = fields.u32().ok_or(MALFORMED)?;
        let usage = Usage::read(&mut fields).ok_or(MALFORMED)?;
        drop(row);
        Ok(Some(Self { row_key, id, usage }))
    }

    pub(super) fn load_or_create(
        rows: &mut Rows<'_>,
        tenant: &str,
        namespace: &str,
    ) -> Result<Self, ViewError> {
        if let Some(space) = Self::load(rows, tenant, namespace)? {
            return Ok(space);
        }
        let (applied, id) = meta(rows)?;
        set_meta(rows, applied, id + 1)?;
        Ok(Self { row_key: row_key(tenant, namespace), id, usage: Usage::default() })
    }

    pub(super) fn store(&self, rows: &mut Rows<'_>) -> Result<(), ViewError> {
        let mut row = self.id.to_le_bytes().to_vec();
        self.usage.write(&mut row);
        rows.insert(&*self.row_key, &*row).map(drop).map_err(storage)
    }
}

impl Usage {
    fn write(&self, row: &mut Vec<u8>) {
        for number in [self.entries, self.bytes, self.versions, self.versions_bytes, self.relations]
        {
            row.extend_from_slice(&number.to_le_bytes());
        }
    }

    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self {
            entries: fields.u64()?,
            bytes: fields.u64()?,
            versions: fields.u64()?,
            versions_bytes: fields.u64()?,
            relations: fields.u64()?,
        })
    }
}

/// The start of the keys of a namespace's rows of one kind.
pub(super) fn prefix(kind: u8, space: u32) -> Vec<u8> {
    let mut key = Vec::with_capacity(64);
    key.push(kind);
    key.extend_from_slice(&space.to_be_bytes());
    key
}

/// The last event that changed memory.
pub(super) fn applied(rows: &impl Readable) -> Result<u64, ViewError> {
    Ok(meta(rows)?.0)
}

pub(super) fn set_applied(rows: &mut Rows<'_>, seq: u64) -> Result<(), ViewError> {
    let (_, spaces) = meta(rows)?;
    set_meta(rows, seq, spaces)
}

fn meta(rows: &impl Readable) -> Result<(u64, u32), ViewError> {
    let Some(row) = rows.get(&b"m"[..]).map_err(storage)? else { return Ok((0, 0)) };
    let mut fields = Fields(row.value());
    fields.u64().zip(fields.u32()).ok_or(MALFORMED)
}

fn set_meta(rows: &mut Rows<'_>, applied: u64, spaces: u32) -> Result<(), ViewError> {
    let mut row = applied.to_le_bytes().to_vec();
    row.extend_from_slice(&spaces.to_le_bytes());
    rows.insert(&b"m"[..], &*row).map(drop).map_err(storage)
}

pub(super) fn row_key(tenant: &str, namespace: &str) -> Vec<u8> {
    let mut key = vec![b'n'];
    put_part(&mut key, tenant.as_bytes());
    key.extend_from_slice(namespace.as_bytes());
    key
}
