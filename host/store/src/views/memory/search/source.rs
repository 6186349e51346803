//! Where vectors are kept: given along with a record, in the view; or made of its text, in the
//! table of meanings. A document has one or the other.

use foreshore_domain::memory::Embedding;

use super::super::super::codec::{ReadRows, Readable, after, wide};
use super::super::super::{ViewError, storage};
use super::super::MALFORMED;
use super::super::meanings::{Current, Progress, text_key};
use super::super::space::{Space, model, prefix};
use super::documents::{doc_key, number_at_end, vector_key};

/// The vectors of one model in one namespace.
pub(super) enum Source<'a, R> {
    /// By whoever wrote the record.
    Given { rows: &'a R, space: u32, model: u32, until: u32 },
    /// By the model in use.
    Made { rows: &'a ReadRows, space: u32, epoch: u32, until: u32 },
}

/// Which source, for a cache.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum SourceId {
    /// The number of the model.
    Given(u32),
    /// The number of the choice of the model.
    Made(u32),
}

impl<'a, R: Readable> Source<'a, R> {
    /// The sources that have vectors to compare with a query's.
    pub(super) fn of(
        rows: &'a R,
        meanings: Option<&'a ReadRows>,
        space: &Space,
        query: &Embedding,
    ) -> Result<Vec<Self>, ViewError> {
        let mut sources = Vec::new();
        if let Some(model) = model(rows, query.model().as_str())? {
            let start = doc_key(b'v', space.id, model);
            let mut vectors = rows.range::<&[u8]>(&*start..&*after(&start)).map_err(storage)?;
            if vectors.next().is_some() {
                let until = space.totals.next_doc;
                sources.push(Self::Given { rows, space: space.id, model, until });
            }
        }
        if let Some(rows) = meanings
            && let Some(current) = Current::load(rows)?
            && current.name == query.model().as_str()
            && u64::from(current.columns) == wide(query.vector().len())
        {
            let start = prefix(b'd', space.id);
            let mut placed = rows.range::<&[u8]>(&*start..&*after(&start)).map_err(storage)?;
            if placed.next().is_some() {
                let until = Progress::load(rows, space.id)?.next;
                sources.push(Self::Made { rows, space: space.id, epoch: current.epoch, until });
            }
        }
        Ok(sources)
    }

    pub(super) fn id(&self) -> SourceId {
        match self {
            Self::Given { model, .. } => SourceId::Given(*model),
            Self::Made { epoch, .. } => SourceId::Made(*epoch),
        }
    }

    /// The first document that may have a vector later and has none yet.
    pub(super) fn until(&self) -> u32 {
        match self {
            Self::Given { until, .. } | Self::Made { until, .. } => *until,
        }
    }

    /// Shows the vectors of documents from a number on, in order.
    pub(super) fn each(
        &self,
        first: u32,
        mut see: impl FnMut(u32, &[u8]),
    ) -> Result<(), ViewError> {
        match self {
            Self::Given { rows, space, model, .. } => {
                let start = vector_key(*space, *model, first);
                let end = after(&doc_key(b'v', *space, *model));
                for row in rows.range::<&[u8]>(&*start..&*end).map_err(storage)? {
                    let (key, bytes) = row.map_err(storage)?;
                    see(number_at_end(key.value())?, bytes.value());
                }
            }
            Self::Made { rows, space, .. } => {
                let (start, end) = (doc_key(b'd', *space, first), after(&prefix(b'd', *space)));
                for row in rows.range::<&[u8]>(&*start..&*end).map_err(storage)? {
                    let (key, digest) = row.map_err(storage)?;
                    let vector = rows.get(&*text_key(b'v', digest.value())).map_err(storage)?;
                    if let Some(vector) = vector {
                        see(number_at_end(key.value())?, vector.value());
                    }
                }
            }
        }
        Ok(())
    }

    /// Shows the vector of a document that had one when its source was read; it may be gone from
    /// the table of meanings, or not there yet for this reader.
    pub(super) fn look(&self, doc: u32, see: impl FnOnce(&[u8])) -> Result<(), ViewError> {
        match self {
            Self::Given { rows, space, model, .. } => {
                let row = rows.get(&*vector_key(*space, *model, doc)).map_err(storage)?;
                see(row.ok_or(MALFORMED)?.value());
            }
            Self::Made { rows, space, .. } => {
                let place = rows.get(&*doc_key(b'd', *space, doc)).map_err(storage)?;
                let Some(place) = place else { return Ok(()) };
                let vector = rows.get(&*text_key(b'v', place.value())).map_err(storage)?;
                if let Some(vector) = vector {
                    see(vector.value());
                }
            }
        }
        Ok(())
    }
}
