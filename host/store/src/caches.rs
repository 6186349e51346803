//! What was read before. One for each journal; what an event makes untrue is noted by the
//! writer before the event can be seen.

use crate::views::memory::{ReadCache, VectorCache};

pub(crate) struct Caches {
    pub(crate) records: ReadCache,
    pub(crate) vectors: VectorCache,
}

impl Caches {
    pub(crate) fn new(record_bytes: u64, vector_bytes: u64) -> Self {
        Self { records: ReadCache::new(record_bytes), vectors: VectorCache::new(vector_bytes) }
    }

    /// Forgets everything: the views are made anew.
    pub(crate) fn clear(&self) {
        self.records.clear();
    }
}
