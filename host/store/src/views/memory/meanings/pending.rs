//! What has no vector yet: read for whoever asks the model, in portions.

use std::collections::BTreeSet;

use foreshore_domain::memory::ModelName;

use super::super::super::codec::{Fields, ReadRows, Readable, after};
use super::super::super::{ViewError, storage};
use super::super::record::Version;
use super::super::search::{doc_key, number_at_end, text_of, vector_key};
use super::super::space::{self, Space};
use super::{Current, Progress, meaning_text, text_key};

/// What starts the names of buckets, which are read by key and never searched.
const BUCKETS: &str = "kv.";
/// New texts of a portion: what a model is asked for at once.
const TEXTS_MAX: usize = 64;
/// Documents of a portion.
const DOCUMENTS_MAX: usize = 1_024;

/// The digest of a text and of the name of the model that is to embed it (BLAKE3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TextDigest(pub(super) [u8; 32]);

impl TextDigest {
    /// Of a text as [`meaning_text`] gives it.
    pub fn of(model: &ModelName, text: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        // No name has a zero byte.
        hasher.update(model.as_str().as_bytes()).update(&[0]).update(text.as_bytes());
        Self(*hasher.finalize().as_bytes())
    }
}

/// Documents of one namespace that have no vector yet, in order.
#[derive(Clone, Debug)]
pub struct PendingMeanings {
    pub(super) generation: u64,
    pub(super) epoch: u32,
    pub(super) space: u32,
    pub(super) from: u32,
    /// Everything before is among the documents, or needs no vector.
    pub(super) until: u32,
    pub(super) documents: Vec<(u32, TextDigest)>,
    /// The texts that no vector is kept of, each once.
    pub texts: Vec<PendingText>,
}

/// A text that no vector is kept of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingText {
    /// Its name.
    pub digest: TextDigest,
    /// What to ask the model about.
    pub text: String,
}

impl PendingMeanings {
    /// Whose turn it was.
    pub fn space(&self) -> u32 {
        self.space
    }
}

/// The next portion of work: of the first namespace after number `after` that has any, else of
/// the first of all. `None` where all is done, or no model is in use.
pub(crate) fn pending(
    transaction: &redb::ReadTransaction,
    after: Option<u32>,
) -> Result<Option<PendingMeanings>, ViewError> {
    let Some(meanings) = super::open(transaction)? else { return Ok(None) };
    let Some(rows) = super::super::open(transaction)? else { return Ok(None) };
    let Some(current) = Current::load(&meanings)? else { return Ok(None) };
    let Some(model) = current.model() else { return Ok(None) };
    let mut behind = Vec::new();
    for space in searched(&rows)? {
        if Progress::load(&meanings, space.id)?.next < space.totals.next_doc {
            behind.push(space);
        }
    }
    let next = behind.iter().filter(|space| Some(space.id) > after).min_by_key(|space| space.id);
    let Some(space) = next.or_else(|| behind.iter().min_by_key(|space| space.id)) else {
        return Ok(None);
    };
    portion(&rows, &meanings, &current, &model, space).map(Some)
}

fn portion(
    rows: &ReadRows,
    meanings: &ReadRows,
    current: &Current,
    model: &ModelName,
    space: &Space,
) -> Result<PendingMeanings, ViewError> {
    let from = Progress::load(meanings, space.id)?.next;
    let mut portion = PendingMeanings {
        generation: super::super::generation(rows)?,
        epoch: current.epoch,
        space: space.id,
        from,
        until: space.totals.next_doc,
        documents: Vec::new(),
        texts: Vec::new(),
    };
    let own = space::model(rows, model.as_str())?;
    let (start, end) = (doc_key(b'k', space.id, from), after(&space::prefix(b'k', space.id)));
    let mut asked = BTreeSet::new();
    for row in rows.range::<&[u8]>(&*start..&*end).map_err(storage)? {
        let (row_key, name) = row.map_err(storage)?;
        let doc = number_at_end(row_key.value())?;
        if portion.documents.len() >= DOCUMENTS_MAX || portion.texts.len() >= TEXTS_MAX {
            portion.until = doc;
            break;
        }
        // Whoever wrote the record gave a vector of this model along.
        if let Some(own) = own
            && rows.get(&*vector_key(space.id, own, doc)).map_err(storage)?.is_some()
        {
            continue;
        }
        let text = text(rows, space.id, name.value())?;
        if text.is_empty() {
            continue;
        }
        let digest = TextDigest::of(model, &text);
        portion.documents.push((doc, digest));
        let is_kept = meanings.get(&*text_key(b'v', &digest.0)).map_err(storage)?.is_some();
        if !is_kept && asked.insert(digest) {
            portion.texts.push(PendingText { digest, text });
        }
    }
    Ok(portion)
}

/// The text of a document, from the row of its name.
fn text(rows: &ReadRows, space: u32, name: &[u8]) -> Result<String, ViewError> {
    let malformed = super::super::MALFORMED;
    let mut fields = Fields(name);
    let number = fields.u64().ok_or(malformed.clone())?;
    let key = std::str::from_utf8(fields.0).map_err(|_| malformed.clone())?;
    let version = Version::load(rows, space, key, number)?.ok_or(malformed)?;
    Ok(version.entry().map(|entry| meaning_text(&text_of(&entry.value))).unwrap_or_default())
}

/// The namespaces that are searched, of all tenants.
pub(super) fn searched(rows: &impl Readable) -> Result<Vec<Space>, ViewError> {
    let mut spaces = Vec::new();
    for row in rows.range::<&[u8]>(&b"n"[..]..&b"o"[..]).map_err(storage)? {
        let row_key = row.map_err(storage)?.0;
        let mut fields = Fields(row_key.value().get(1..).unwrap_or_default());
        let tenant = fields.text().ok_or(super::super::MALFORMED)?;
        let name = std::str::from_utf8(fields.0).map_err(|_| super::super::MALFORMED)?;
        if !name.starts_with(BUCKETS) {
            spaces.extend(Space::load(rows, tenant, name)?);
        }
    }
    Ok(spaces)
}
