//! The vectors of a namespace in memory, so that a query need not read them from a table.
//!
//! Numbers are rounded to sixteenths of a thousandth (1/2^14) in 16 bits: half the memory to
//! run through, and the query that does still gives exact answers (see `vectors`). A vector has
//! length 1, so no sum of products can overflow 32 bits: by Cauchy-Schwarz it is at most about
//! 2^28.
//!
//! Vectors are only ever added, of documents with growing numbers, so a matrix is brought up to
//! date by reading what comes after its last one. Who is dead is for the query to ask; when more than
//! half are, the matrix is made smaller.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::super::super::ViewError;
use super::super::super::codec::{Readable, wide};
use super::super::cache::Sight;
use super::lexical::Docs;
use super::source::{Source, SourceId};

/// The rows of a part: what one more vector makes the next query copy.
const PART_ROWS: usize = 256;

/// Rows of one length.
#[derive(Clone, Default)]
pub(super) struct Part {
    pub(super) docs: Vec<u32>,
    /// As many numbers a document as the matrix has columns.
    pub(super) numbers: Vec<i16>,
}

#[derive(Default)]
struct Matrix {
    parts: Vec<Arc<Part>>,
    /// Everything before is in it, or was dead.
    next_doc: u32,
    rows: usize,
    /// The last event that was applied when rows were last dropped: a reader that sees less
    /// may miss some.
    dropped_at_seq: u64,
}

/// Which vectors: of a namespace, a source and a number of columns, and since which clearing.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Which {
    pub(super) generation: u64,
    pub(super) space: u32,
    pub(super) source: SourceId,
    pub(super) columns: usize,
}

/// Vectors in memory, bounded in bytes; the namespaces least recently searched go first. One
/// for each journal, shared by its readers.
pub struct VectorCache {
    max_bytes: u64,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    matrices: HashMap<Which, Slot>,
    clock: u64,
}

struct Slot {
    matrix: Arc<Mutex<Matrix>>,
    bytes: u64,
    used: u64,
}

impl VectorCache {
    /// A cache of at most `max_bytes`: 100,000 vectors of 384 numbers take 77 MB. A namespace
    /// that alone needs more is searched in its table, more slowly.
    pub fn new(max_bytes: u64) -> Self {
        Self { max_bytes, held: Mutex::default() }
    }

    /// What the vectors in memory take.
    pub fn bytes(&self) -> u64 {
        lock(&self.held).matrices.values().map(|slot| slot.bytes).sum()
    }

    /// The vectors as the reader sees them and maybe some that are dead; `None` where they
    /// cannot be had from memory.
    pub(super) fn parts<R: Readable>(
        &self,
        source: &Source<'_, R>,
        docs: &Docs,
        sight: Sight,
        which: Which,
    ) -> Result<Option<Vec<Arc<Part>>>, ViewError> {
        if bytes(docs.rows.len(), which.columns) > self.max_bytes {
            return Ok(None);
        }
        let matrix = self.matrix(which);
        // Only searches of the same namespace wait while its matrix is brought up to date.
        let mut matrix = lock(&matrix);
        if sight.seq < matrix.dropped_at_seq {
            return Ok(None);
        }
        matrix.read_on(source, which.columns)?;
        let alive = wide(docs.rows.len());
        if wide(matrix.rows) > 2 * alive + wide(PART_ROWS) {
            matrix.drop_dead(docs, which.columns, sight.seq);
        }
        let (parts, rows) = (matrix.parts.clone(), matrix.rows);
        drop(matrix);
        self.weigh(which, bytes(rows, which.columns));
        Ok(Some(parts))
    }

    fn matrix(&self, which: Which) -> Arc<Mutex<Matrix>> {
        let mut held = lock(&self.held);
        held.clock += 1;
        let used = held.clock;
        // What was read before a clearing, or before another model, is of no more use.
        held.matrices.retain(|known, _| {
            let is_past = match (known.source, which.source) {
                (SourceId::Made(known), SourceId::Made(which)) => known < which,
                _ => false,
            };
            known.generation >= which.generation && !is_past
        });
        let empty = || Slot { matrix: Arc::default(), bytes: 0, used };
        let slot = held.matrices.entry(which).or_insert_with(empty);
        slot.used = used;
        slot.matrix.clone()
    }

    fn weigh(&self, which: Which, bytes: u64) {
        let mut held = lock(&self.held);
        if let Some(slot) = held.matrices.get_mut(&which) {
            slot.bytes = bytes;
        }
        while held.matrices.values().map(|slot| slot.bytes).sum::<u64>() > self.max_bytes {
            let oldest = held.matrices.iter().min_by_key(|(_, slot)| slot.used);
            let Some(oldest) = oldest.map(|(which, _)| *which) else { return };
            held.matrices.remove(&oldest);
        }
    }
}

impl Matrix {
    /// Reads the vectors that were added since.
    fn read_on<R: Readable>(
        &mut self,
        source: &Source<'_, R>,
        columns: usize,
    ) -> Result<(), ViewError> {
        if self.next_doc >= source.until() {
            return Ok(());
        }
        source.each(self.next_doc, |doc, bytes| {
            let (numbers, _) = bytes.as_chunks::<4>();
            if numbers.len() == columns {
                let numbers = numbers.iter().map(|number| quantize(f32::from_le_bytes(*number)));
                self.push(doc, numbers);
            }
        })?;
        self.next_doc = source.until();
        Ok(())
    }

    fn push(&mut self, doc: u32, numbers: impl Iterator<Item = i16>) {
        if self.parts.last().is_none_or(|part| part.docs.len() >= PART_ROWS) {
            self.parts.push(Arc::default());
        }
        if let Some(part) = self.parts.last_mut() {
            let part = Arc::make_mut(part);
            part.docs.push(doc);
            part.numbers.extend(numbers);
            self.rows += 1;
        }
    }

    fn drop_dead(&mut self, docs: &Docs, columns: usize, seq: u64) {
        let old = std::mem::take(&mut self.parts);
        self.rows = 0;
        for part in old {
            for (doc, numbers) in part.docs.iter().zip(part.numbers.chunks_exact(columns)) {
                if docs.at(*doc).is_some() {
                    self.push(*doc, numbers.iter().copied());
                }
            }
        }
        self.dropped_at_seq = seq;
    }
}

/// How much of 1 a step of the rounded numbers is.
pub(super) const STEP: f64 = 1.0 / 16_384.0;

#[expect(clippy::as_conversions, reason = "a number of a vector of length 1 fits, rounded")]
pub(super) fn quantize(number: f32) -> i16 {
    (number * 16_384.0).round() as i16
}

fn bytes(rows: usize, columns: usize) -> u64 {
    wide(rows).saturating_mul(wide(columns) * 2 + 4)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
