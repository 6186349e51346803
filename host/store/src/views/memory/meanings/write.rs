//! What is written: the choice of a model, vectors as they come, and the sweep.

use std::collections::{BTreeMap, BTreeSet};

use foreshore_domain::memory::ModelName;
use redb::{ReadTransaction, WriteTransaction};

use super::super::super::codec::{Fields, Rows, after, count};
use super::super::super::{ViewError, storage};
use super::super::search::{Docs, doc_key, number_at_end};
use super::super::space::prefix;
use super::pending::searched;
use super::{
    Current, MALFORMED, MEANINGS, Made, PendingMeanings, Placed, Progress, TextDigest, text_key,
};

/// Documents that one sweep takes away.
const SWEEP_AT_ONCE: usize = 4_096;

/// Puts a model in use: vectors of another one are dropped, and with `anew` its own. `true` if
/// the vectors start from nothing.
pub(crate) fn use_model(
    transaction: &WriteTransaction,
    model: &ModelName,
    anew: bool,
) -> Result<bool, ViewError> {
    let before = Current::load(&transaction.open_table(MEANINGS).map_err(storage)?)?;
    if !anew && before.as_ref().is_some_and(|before| before.name == model.as_str()) {
        return Ok(false);
    }
    start(transaction, before, model.as_str())?;
    Ok(true)
}

/// Drops all there is; `true` if there was a model.
pub(crate) fn forget(transaction: &WriteTransaction) -> Result<bool, ViewError> {
    let before = Current::load(&transaction.open_table(MEANINGS).map_err(storage)?)?;
    if before.as_ref().is_none_or(|before| before.name.is_empty()) {
        return Ok(false);
    }
    // The row of the model stays, for its number: a cache goes by it.
    start(transaction, before, "")?;
    Ok(true)
}

fn start(
    transaction: &WriteTransaction,
    before: Option<Current>,
    name: &str,
) -> Result<(), ViewError> {
    transaction.delete_table(MEANINGS).map_err(storage)?;
    let mut rows = transaction.open_table(MEANINGS).map_err(storage)?;
    let epoch = before.map_or(0, |before| before.epoch) + 1;
    Current { epoch, columns: 0, name: name.to_owned() }.store(&mut rows)
}

/// Keeps what a model made, and lets the documents be found by it, in order, as far as their
/// texts have vectors now.
pub(crate) fn place(
    transaction: &WriteTransaction,
    pending: &PendingMeanings,
    made: &BTreeMap<TextDigest, Made>,
) -> Result<Placed, ViewError> {
    let mut rows = transaction.open_table(MEANINGS).map_err(storage)?;
    let memory = transaction.open_table(super::super::TABLE).map_err(storage)?;
    let Some(current) = Current::load(&rows)? else { return Ok(Placed::Stale) };
    let progress = Progress::load(&rows, pending.space)?;
    if current.epoch != pending.epoch
        || super::super::generation(&memory)? != pending.generation
        || progress.next != pending.from
    {
        return Ok(Placed::Stale);
    }
    drop(memory);
    let lengths: BTreeSet<u32> = made.values().filter_map(Made::columns).collect();
    let columns = match (current.columns, lengths.first()) {
        (0, Some(first)) => *first,
        (columns, _) => columns,
    };
    if lengths.iter().any(|length| *length != columns) {
        return Ok(Placed::OtherLength { kept: columns });
    }
    Current { columns, ..current }.store(&mut rows)?;
    for (digest, made) in made {
        if let Made::Vector(vector) = made {
            let bytes: Vec<u8> = vector.vector().iter().flat_map(|n| n.to_le_bytes()).collect();
            rows.insert(&*text_key(b'v', &digest.0), &*bytes).map_err(storage)?;
            if counted(&rows, &digest.0)?.is_none() {
                rows.insert(&*text_key(b'n', &digest.0), &[0; 4][..]).map_err(storage)?;
            }
        }
    }
    place_documents(&mut rows, pending, made, progress)
}

fn place_documents(
    rows: &mut Rows<'_>,
    pending: &PendingMeanings,
    made: &BTreeMap<TextDigest, Made>,
    mut progress: Progress,
) -> Result<Placed, ViewError> {
    let (mut placed, mut until) = (0, pending.until);
    for (doc, digest) in &pending.documents {
        let key = doc_key(b'd', pending.space, *doc);
        if let Some(documents) = counted(rows, &digest.0)? {
            let more = (documents + 1).to_le_bytes();
            rows.insert(&*text_key(b'n', &digest.0), &more[..]).map_err(storage)?;
            rows.insert(&*key, &digest.0[..]).map_err(storage)?;
        } else if made.get(digest) == Some(&Made::Refused) {
            rows.insert(&*key, &[][..]).map_err(storage)?;
            progress.refused += 1;
        } else {
            until = *doc;
            // Vectors that came for documents after this one wait for it.
            rows.insert(&b"z"[..], &[][..]).map_err(storage)?;
            break;
        }
        placed += 1;
    }
    progress.next = until;
    progress.store(rows, pending.space)?;
    Ok(Placed::Documents(placed))
}

impl Made {
    fn columns(&self) -> Option<u32> {
        match self {
            Self::Vector(vector) => Some(count(vector.vector().len())),
            Self::Refused => None,
        }
    }
}

/// What a sweep takes away; see [`sweep`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Swept {
    generation: u64,
    epoch: u32,
    /// Namespaces and documents.
    dead: Vec<(u32, u32)>,
    /// Rows of counts that may be zero.
    unneeded: Vec<Vec<u8>>,
    /// There are no others.
    is_all: bool,
}

impl Swept {
    pub(crate) fn is_empty(&self) -> bool {
        self.dead.is_empty() && self.unneeded.is_empty()
    }
}

/// Looks for what documents that are gone left, and for vectors that nothing needs any more:
/// at most so much as is taken away at once. Vectors without a document go only where every
/// document has been looked at: it may be one that comes yet that needs them.
pub(crate) fn unneeded(transaction: &ReadTransaction) -> Result<Swept, ViewError> {
    let mut swept = Swept::default();
    let Some(rows) = super::open(transaction)? else { return Ok(swept) };
    let Some(memory) = super::super::open(transaction)? else { return Ok(swept) };
    swept.generation = super::super::generation(&memory)?;
    swept.epoch = Current::load(&rows)?.map_or(0, |current| current.epoch);
    let mut all_looked_at = true;
    for space in searched(&memory)? {
        let docs = Docs::load(&memory, &space)?;
        all_looked_at &= Progress::load(&rows, space.id)?.next >= space.totals.next_doc;
        let start = prefix(b'd', space.id);
        for row in rows.range::<&[u8]>(&*start..&*after(&start)).map_err(storage)? {
            let doc = number_at_end(row.map_err(storage)?.0.value())?;
            if docs.at(doc).is_none() && swept.dead.len() < SWEEP_AT_ONCE {
                swept.dead.push((space.id, doc));
            }
        }
    }
    if !all_looked_at || rows.get(&b"z"[..]).map_err(storage)?.is_none() {
        return Ok(swept);
    }
    swept.is_all = true;
    for row in rows.range::<&[u8]>(&b"n"[..]..&b"o"[..]).map_err(storage)? {
        let (key, documents) = row.map_err(storage)?;
        if documents.value() == [0; 4] {
            if swept.unneeded.len() >= SWEEP_AT_ONCE {
                swept.is_all = false;
                break;
            }
            swept.unneeded.push(key.value().to_vec());
        }
    }
    Ok(swept)
}

/// Takes away what was found, as far as it still holds. `false` where nothing did.
pub(crate) fn sweep(transaction: &WriteTransaction, swept: &Swept) -> Result<bool, ViewError> {
    let mut rows = transaction.open_table(MEANINGS).map_err(storage)?;
    let memory = transaction.open_table(super::super::TABLE).map_err(storage)?;
    let epoch = Current::load(&rows)?.map_or(0, |current| current.epoch);
    if epoch != swept.epoch || super::super::generation(&memory)? != swept.generation {
        return Ok(false);
    }
    if swept.is_all {
        rows.remove(&b"z"[..]).map_err(storage)?;
    }
    for key in &swept.unneeded {
        if counted(&rows, key.get(1..).unwrap_or_default())? == Some(0) {
            rows.remove(&**key).map_err(storage)?;
            let vector = text_key(b'v', key.get(1..).unwrap_or_default());
            rows.remove(&*vector).map_err(storage)?;
        }
    }
    for (space, doc) in &swept.dead {
        let row = rows.remove(&*doc_key(b'd', *space, *doc)).map_err(storage)?;
        let Some(digest) = row.map(|row| row.value().to_vec()) else { continue };
        if digest.is_empty() {
            let mut progress = Progress::load(&rows, *space)?;
            progress.refused = progress.refused.saturating_sub(1);
            progress.store(&mut rows, *space)?;
            continue;
        }
        let left = counted(&rows, &digest)?.unwrap_or(0).saturating_sub(1);
        rows.insert(&*text_key(b'n', &digest), &left.to_le_bytes()[..]).map_err(storage)?;
        if left == 0 {
            rows.insert(&b"z"[..], &[][..]).map_err(storage)?;
        }
    }
    Ok(true)
}

/// How many documents have a text; `None` where no vector is kept of it.
fn counted(rows: &impl super::Readable, digest: &[u8]) -> Result<Option<u32>, ViewError> {
    let row = rows.get(&*text_key(b'n', digest)).map_err(storage)?;
    row.map(|row| Fields(row.value()).u32().ok_or(MALFORMED)).transpose()
}
