//! How far the embedding of memory has come, counted from the tables.

use foreshore_domain::memory::ModelName;

use super::super::super::ViewError;
use super::super::search::live_from;
use super::pending::searched;
use super::{Current, Progress};

/// How far the embedding of memory has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MeaningsStatus {
    /// The model; `None` for none.
    pub model: Option<ModelName>,
    /// How many numbers its vectors have; 0 before the first.
    pub columns: u32,
    /// Records that search goes over, of all namespaces and tenants.
    pub records: u64,
    /// Those of them that are done: they have a vector, or no text, or were refused.
    pub done: u64,
    /// Those that the model refused.
    pub refused: u64,
}

/// As it is now. What is still to be done is counted document by document.
pub(crate) fn status(transaction: &redb::ReadTransaction) -> Result<MeaningsStatus, ViewError> {
    let mut status = MeaningsStatus::default();
    let Some(rows) = super::super::open(transaction)? else { return Ok(status) };
    let meanings = super::open(transaction)?;
    if let Some(current) = meanings.as_ref().map(Current::load).transpose()?.flatten() {
        status.model = current.model();
        status.columns = current.columns;
    }
    for space in searched(&rows)? {
        let progress = match &meanings {
            Some(meanings) => Progress::load(meanings, space.id)?,
            None => Progress::default(),
        };
        let records = u64::from(space.totals.docs);
        status.records += records;
        status.done += records.saturating_sub(live_from(&rows, &space, progress.next)?);
        status.refused += u64::from(progress.refused);
    }
    Ok(status)
}
