//! Meanings: the vectors that a model gave for the texts of records.
//!
//! They are worked out again rather than recorded, so they are in no event and in no view, but
//! in a table beside the views, kept by the digest of the text:
//!
//! ```text
//! m            -> the model: how often it was changed, how many numbers a vector has, its name
//! v digest     -> the vector of a text
//! n digest     -> how many documents have that text
//! d space doc  -> the digest of a document's text; nothing where the model refused it
//! s space      -> Progress: how far the namespace's documents have been looked at
//! z            -> there may be vectors that no document has
//! ```
//!
//! Deliberately absent: models, and when anything is done. The invariants: **all vectors are of
//! the one model that `m` names, and of one length**; what a rebuilding of the views makes
//! untrue (`d`, `s` and the counts, which go by numbers of documents) goes with it, and what it
//! does not (the vectors, which go by texts) stays. A document that is gone is no hit, whatever
//! this table says; the sweep takes away what it leaves here.

mod pending;
mod status;
mod write;

use foreshore_domain::memory::{Embedding, ModelName};
use redb::{ReadableTable as _, TableHandle as _};

pub use pending::{PendingMeanings, PendingText, TextDigest};
pub use status::MeaningsStatus;

pub(crate) use pending::pending;
pub(crate) use status::status;
pub(crate) use write::{forget, place, sweep, unneeded, use_model};

use super::super::codec::{self, Definition, Fields, ReadRows, Readable, Rows};
use super::super::{ViewError, storage};
use super::space::prefix;

const MEANINGS: Definition = Definition::new("memory_meanings_v1");
const MALFORMED: ViewError = ViewError::Malformed { what: "meanings" };

/// The most of a text that is embedded, in bytes: what the usual models have room for.
pub const MEANING_TEXT_MAX_BYTES: usize = 4 << 10;

/// What a model made of a text.
#[derive(Clone, Debug, PartialEq)]
pub enum Made {
    /// Its vector.
    Vector(Embedding),
    /// Nothing: the text was refused, in parts too.
    Refused,
}

/// What became of vectors that were handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// So many documents can be found by them.
    Documents(u32),
    /// None: the views were made anew, or the model was changed, since the texts were read.
    Stale,
    /// None: those that are kept have so many numbers, and cannot be compared with these.
    OtherLength {
        /// How many numbers those have.
        kept: u32,
    },
}

/// The text that stands for another in search by meaning: words with one space between them,
/// and no more than [`MEANING_TEXT_MAX_BYTES`]. Empty where there is nothing to embed.
pub fn meaning_text(text: &str) -> String {
    let mut normal = String::new();
    for word in text.split_whitespace() {
        if !normal.is_empty() {
            normal.push(' ');
        }
        normal.push_str(word);
        if normal.len() >= MEANING_TEXT_MAX_BYTES {
            normal.truncate(normal.floor_char_boundary(MEANING_TEXT_MAX_BYTES));
            normal.truncate(normal.trim_end().len());
            break;
        }
    }
    normal
}

/// The model of the vectors that are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Current {
    /// How often it was changed: what was read under another number is of another model.
    pub(super) epoch: u32,
    /// How many numbers each vector has; 0 before the first.
    pub(super) columns: u32,
    /// Its name; empty for none.
    pub(super) name: String,
}

impl Current {
    pub(super) fn load(rows: &impl Readable) -> Result<Option<Self>, ViewError> {
        let Some(row) = rows.get(&b"m"[..]).map_err(storage)? else { return Ok(None) };
        let mut fields = Fields(row.value());
        let mut read = || {
            let (epoch, columns) = (fields.u32()?, fields.u32()?);
            Some(Self { epoch, columns, name: fields.text()?.to_owned() })
        };
        read().map(Some).ok_or(MALFORMED)
    }

    fn store(&self, rows: &mut Rows<'_>) -> Result<(), ViewError> {
        let mut row = self.epoch.to_le_bytes().to_vec();
        row.extend_from_slice(&self.columns.to_le_bytes());
        codec::put_part(&mut row, self.name.as_bytes());
        rows.insert(&b"m"[..], &*row).map(drop).map_err(storage)
    }

    fn model(&self) -> Option<ModelName> {
        ModelName::parse(self.name.as_str()).ok()
    }
}

/// How far the documents of a namespace have been looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// Everything before has its vector, needs none, or is gone.
    pub(super) next: u32,
    /// How many the model refused.
    pub(super) refused: u32,
}

impl Progress {
    pub(super) fn load(rows: &impl Readable, space: u32) -> Result<Self, ViewError> {
        match rows.get(&*prefix(b's', space)).map_err(storage)? {
            None => Ok(Self::default()),
            Some(row) => {
                let mut fields = Fields(row.value());
                let mut read = || Some(Self { next: fields.u32()?, refused: fields.u32()? });
                read().ok_or(MALFORMED)
            }
        }
    }

    fn store(self, rows: &mut Rows<'_>, space: u32) -> Result<(), ViewError> {
        let row = [self.next.to_le_bytes(), self.refused.to_le_bytes()].concat();
        rows.insert(&*prefix(b's', space), &*row).map(drop).map_err(storage)
    }
}

/// The table as it stood at one moment; `None` before there was a model.
pub(super) fn open(transaction: &redb::ReadTransaction) -> Result<Option<ReadRows>, ViewError> {
    codec::open(transaction, MEANINGS)
}

/// Forgets which documents have which texts: their numbers are given anew. To be done where the
/// view of memory is cleared, in the same transaction.
pub(super) fn unplace(transaction: &redb::WriteTransaction) -> Result<(), ViewError> {
    let mut tables = transaction.list_tables().map_err(storage)?;
    if !tables.any(|table| table.name() == MEANINGS.name()) {
        return Ok(());
    }
    let mut rows = transaction.open_table(MEANINGS).map_err(storage)?;
    for kind in [b'd', b's'] {
        let (from, to) = ([kind], [kind + 1]);
        rows.retain_in::<&[u8], _>(&from[..]..&to[..], |_, _| false).map_err(storage)?;
    }
    let mut counted = Vec::new();
    for row in rows.range::<&[u8]>(&b"n"[..]..&b"o"[..]).map_err(storage)? {
        let (key, count) = row.map_err(storage)?;
        if count.value() != [0; 4] {
            counted.push(key.value().to_vec());
        }
    }
    for key in counted {
        rows.insert(&*key, &[0; 4][..]).map_err(storage)?;
    }
    if Current::load(&rows)?.is_some() {
        rows.insert(&b"z"[..], &[][..]).map_err(storage)?;
    }
    Ok(())
}

/// `v` or `n`, and the digest.
pub(super) fn text_key(kind: u8, digest: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(33);
    key.push(kind);
    key.extend_from_slice(digest);
    key
}

#[cfg(test)]
mod tests;
