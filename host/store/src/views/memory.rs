//! Memory: records with versions, a graph, and what finds them.
//!
//! One table, whose keys start with a letter for what the row is:
//!
//! ```text
//! m                                     -> last event applied, namespaces and models so far
//! e model                               -> its number
//! n tenant namespace                    -> Space: its number, counts and bytes
//! h space key                           -> Head: the latest version and what it weighs
//! r space key 0 version                 -> Record
//! x expires_at space key 0 version      -> tenant | namespace
//! f space subject 0 predicate 0 object  -> when and by whom it was related
//! b space object 0 predicate 0 subject  -> the same, for the way back
//! d g k p s t v                         -> the index; see `search/documents.rs`
//! ```
//!
//! The vectors that a model makes of its texts are in a table of their own; see `meanings.rs`.
//!
//! Deliberately absent: grants, quotas and clocks. The invariants: no row is reached but
//! through its tenant's namespace; and a record past its time is given out by no reader,
//! whether or not its rows are still there.

mod cache;
mod graph;
mod head;
mod meanings;
mod reader;
mod record;
mod search;
mod space;
pub(super) mod texts;
mod write;

use foreshore_domain::blob::BlobDigest;
use foreshore_domain::memory::kind;

pub use cache::{CacheStats, ReadCache};
pub use graph::{PATH_READS_MAX, PATH_RELATIONS_MAX, PATHS_MAX, Paths, Related};
pub use meanings::{
    MEANING_TEXT_MAX_BYTES, Made, MeaningsStatus, PendingMeanings, PendingText, Placed, TextDigest,
    meaning_text,
};
pub use reader::{Due, Keys, MemoryReader};
pub use record::{Entry, State, Version};
pub use search::{
    Found, FoundBy, HITS_MAX, Hit, Method, QUERY_WORDS_MAX, Query, SNIPPET_MAX, Snippet,
    VectorCache, text_of_json,
};
pub use space::Usage;

pub(crate) use cache::Touched;
pub(crate) use meanings::{forget, pending, place, status, sweep, unneeded, use_model};

use super::codec::{self, Definition, ReadRows, Readable};
use super::{EventRef, Receipt, ViewError, payload, storage};
use space::Space;

/// How many versions of a record can be read; older ones go. The journal has them all.
pub const VERSIONS_KEPT: u64 = 100;

const TABLE: Definition = Definition::new("memory_v1");
/// How often the view was cleared, which no event says: caches go by it, [`dump`] leaves it
/// out.
const GENERATION: u8 = b'!';
const MALFORMED: ViewError = ViewError::Malformed { what: "memory" };

/// Follows the events of [`kind`]. The blobs of versions that are no longer kept go to
/// `released`, each once for each version.
pub(crate) fn apply(
    transaction: &redb::WriteTransaction,
    event: &EventRef<'_>,
    released: &mut Vec<BlobDigest>,
) -> Result<Receipt, ViewError> {
    let mut rows = transaction.open_table(TABLE).map_err(storage)?;
    let receipt = match event.kind {
        kind::PUT => write::put(&mut rows, event, &payload(event)?, released),
        kind::DELETED => write::delete(&mut rows, event, &payload(event)?, released),
        kind::EXPIRED => write::expire(&mut rows, event, &payload(event)?, released),
        kind::RELATED => graph::relate(&mut rows, event, &payload(event)?),
        kind::UNRELATED => graph::unrelate(&mut rows, event, &payload(event)?),
        _ => Err(ViewError::Kind { seq: event.seq, kind: event.kind.to_owned() }),
    }?;
    space::set_applied(&mut rows, event.seq)?;
    Ok(receipt)
}

/// Takes every row away.
pub(crate) fn clear(transaction: &redb::WriteTransaction) -> Result<(), ViewError> {
    let generation = generation(&transaction.open_table(TABLE).map_err(storage)?)?;
    meanings::unplace(transaction)?;
    transaction.delete_table(TABLE).map_err(storage)?;
    let mut rows = transaction.open_table(TABLE).map_err(storage)?;
    let next = (generation + 1).to_le_bytes();
    rows.insert(&[GENERATION][..], &next[..]).map(drop).map_err(storage)
}

/// The version that a key has at a time; 0 for none, or for one past its time, as readers see it.
pub(crate) fn check(
    transaction: &redb::WriteTransaction,
    tenant: &str,
    namespace: &str,
    key: &str,
    now_unix_ms: u64,
) -> Result<u64, ViewError> {
    let rows = transaction.open_table(TABLE).map_err(storage)?;
    let Some(space) = Space::load(&rows, tenant, namespace)? else { return Ok(0) };
    let head = head::Head::load(&rows, space.id, key)?;
    Ok(head.filter(|head| head.is_there(now_unix_ms)).map_or(0, |head| head.latest))
}

/// Every row that follows from events, in order.
pub(crate) fn dump(transaction: &redb::ReadTransaction) -> Result<Vec<u8>, ViewError> {
    codec::dump(transaction, TABLE, Some(GENERATION))
}

/// The table as it stood at one moment; `None` before the first event.
fn open(transaction: &redb::ReadTransaction) -> Result<Option<ReadRows>, ViewError> {
    codec::open(transaction, TABLE)
}

fn generation(rows: &impl Readable) -> Result<u64, ViewError> {
    let row = rows.get(&[GENERATION][..]).map_err(storage)?;
    row.map_or(Ok(0), |row| codec::Fields(row.value()).u64().ok_or(MALFORMED))
}

#[cfg(test)]
mod tests;
