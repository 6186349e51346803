//! A namespace of a tenant: its number, which starts the keys of its rows, and its counts.

use super::super::codec::{Fields, Readable, Rows, put_part};
use super::super::{ViewError, storage};
use super::MALFORMED;
use super::search::Totals;

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
    pub(super) totals: Totals,
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
        let totals = read_totals(&mut fields).ok_or(MALFORMED)?;
        drop(row);
        Ok(Some(Self { row_key, id, usage, totals }))
    }

    pub(super) fn load_or_create(
        rows: &mut Rows<'_>,
        tenant: &str,
        namespace: &str,
    ) -> Result<Self, ViewError> {
        if let Some(space) = Self::load(rows, tenant, namespace)? {
            return Ok(space);
        }
        let meta = Meta::load(rows)?;
        let next = Meta { spaces: meta.spaces + 1, ..meta };
        next.store(rows)?;
        let row_key = row_key(tenant, namespace);
        Ok(Self { row_key, id: meta.spaces, usage: Usage::default(), totals: Totals::default() })
    }

    /// Its name, for people.
    pub(super) fn name(&self) -> &str {
        let mut fields = Fields(self.row_key.get(1..).unwrap_or_default());
        let _tenant = fields.part();
        std::str::from_utf8(fields.0).unwrap_or_default()
    }

    pub(super) fn store(&self, rows: &mut Rows<'_>) -> Result<(), ViewError> {
        let mut row = self.id.to_le_bytes().to_vec();
        self.usage.write(&mut row);
        let Totals { next_doc, tail_from, tail_terms, graves, grave_terms, sparse, docs, words } =
            self.totals;
        for number in [next_doc, tail_from, tail_terms, graves, grave_terms, sparse, docs] {
            row.extend_from_slice(&number.to_le_bytes());
        }
        row.extend_from_slice(&words.to_le_bytes());
        rows.insert(&*self.row_key, &*row).map(drop).map_err(storage)
    }
}

fn read_totals(fields: &mut Fields<'_>) -> Option<Totals> {
    Some(Totals {
        next_doc: fields.u32()?,
        tail_from: fields.u32()?,
        tail_terms: fields.u32()?,
        graves: fields.u32()?,
        grave_terms: fields.u32()?,
        sparse: fields.u32()?,
        docs: fields.u32()?,
        words: fields.u64()?,
    })
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

/// What the view knows of itself.
#[derive(Clone, Copy, Default)]
struct Meta {
    /// The last event that was applied.
    applied: u64,
    /// How many namespaces have numbers.
    spaces: u32,
    /// How many models have; they start at 1.
    models: u32,
}

impl Meta {
    fn load(rows: &impl Readable) -> Result<Self, ViewError> {
        let Some(row) = rows.get(&b"m"[..]).map_err(storage)? else { return Ok(Self::default()) };
        let mut fields = Fields(row.value());
        let mut read =
            || Some(Self { applied: fields.u64()?, spaces: fields.u32()?, models: fields.u32()? });
        read().ok_or(MALFORMED)
    }

    fn store(&self, rows: &mut Rows<'_>) -> Result<(), ViewError> {
        let mut row = self.applied.to_le_bytes().to_vec();
        row.extend_from_slice(&self.spaces.to_le_bytes());
        row.extend_from_slice(&self.models.to_le_bytes());
        rows.insert(&b"m"[..], &*row).map(drop).map_err(storage)
    }
}

/// The last event that was applied.
pub(super) fn applied(rows: &impl Readable) -> Result<u64, ViewError> {
    Ok(Meta::load(rows)?.applied)
}

pub(super) fn set_applied(rows: &mut Rows<'_>, seq: u64) -> Result<(), ViewError> {
    Meta { applied: seq, ..Meta::load(rows)? }.store(rows)
}

/// The number of a model, if any record has a vector of it.
pub(super) fn model(rows: &impl Readable, name: &str) -> Result<Option<u32>, ViewError> {
    let row = rows.get(&*[b"e", name.as_bytes()].concat()).map_err(storage)?;
    row.map(|row| Fields(row.value()).u32().ok_or(MALFORMED)).transpose()
}

pub(super) fn model_or_create(rows: &mut Rows<'_>, name: &str) -> Result<u32, ViewError> {
    if let Some(model) = model(rows, name)? {
        return Ok(model);
    }
    let meta = Meta::load(rows)?;
    let model = meta.models + 1;
    Meta { models: model, ..meta }.store(rows)?;
    let key = [b"e", name.as_bytes()].concat();
    rows.insert(&*key, &model.to_le_bytes()[..]).map_err(storage)?;
    Ok(model)
}

pub(super) fn row_key(tenant: &str, namespace: &str) -> Vec<u8> {
    let mut key = vec![b'n'];
    put_part(&mut key, tenant.as_bytes());
    key.extend_from_slice(namespace.as_bytes());
    key
}
