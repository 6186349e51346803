//! What bounds the memories, tables and instances of one call, and remembers which bound
//! a guest ran into.
//!
//! The invariant: a growth that is refused ends the guest. A guest that got -1 from
//! `memory.grow` would crash later for a reason that no longer names the limit.

use foreshore_domain::call::FiredLimit;
use foreshore_domain::limits::Limits;
use wasmtime::{Error, ResourceLimiter, Result};

/// The error with which a limit of the host's own ends a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{limit}: {allowed}")]
pub(crate) struct LimitFired {
    /// Which.
    pub(crate) limit: FiredLimit,
    /// How much there was.
    pub(crate) allowed: u64,
}

/// The bounds of one store, and what it uses of them.
#[derive(Debug)]
pub(crate) struct Limiter {
    memory_max_bytes: usize,
    table_elements_max: usize,
    instances_max: usize,
    memories_max: usize,
    tables_max: usize,
    memory_bytes: usize,
    memory_peak_bytes: usize,
    growing_bytes: usize,
}

impl Limiter {
    /// The bounds that `limits` set.
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            memory_max_bytes: size(limits.memory_max_bytes.get()),
            table_elements_max: size(limits.table_elements_max.get()),
            instances_max: size(limits.instances_max.get()),
            memories_max: size(limits.memories_max.get()),
            tables_max: size(limits.tables_max.get()),
            memory_bytes: 0,
            memory_peak_bytes: 0,
            growing_bytes: 0,
        }
    }

    /// The most linear memory held at once, over all memories of the store.
    pub(crate) fn memory_peak_bytes(&self) -> u64 {
        count(self.memory_peak_bytes)
    }

    fn memory_refused(&self) -> Error {
        Error::new(LimitFired { limit: FiredLimit::Memory, allowed: count(self.memory_max_bytes) })
    }

    fn table_refused(&self) -> Error {
        Error::new(LimitFired { limit: FiredLimit::Table, allowed: count(self.table_elements_max) })
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        if desired > self.memory_max_bytes {
            return Err(self.memory_refused());
        }
        // The memory's own maximum is the guest's business: it gets its -1.
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.growing_bytes = desired.saturating_sub(current);
        self.memory_bytes = self.memory_bytes.saturating_add(self.growing_bytes);
        self.memory_peak_bytes = self.memory_peak_bytes.max(self.memory_bytes);
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _: Error) -> Result<()> {
        // The limit allowed it, yet the pool's slot or the machine did not.
        self.memory_bytes = self.memory_bytes.saturating_sub(self.growing_bytes);
        Err(self.memory_refused())
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        if desired > self.table_elements_max {
            return Err(self.table_refused());
        }
        Ok(maximum.is_none_or(|maximum| desired <= maximum))
    }

    fn table_grow_failed(&mut self, _: Error) -> Result<()> {
        Err(self.table_refused())
    }

    fn instances(&self) -> usize {
        self.instances_max
    }

    fn tables(&self) -> usize {
        self.tables_max
    }

    fn memories(&self) -> usize {
        self.memories_max
    }
}

/// A limit as a size in memory; on a small machine the largest there is.
pub(crate) fn size(limit: u64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

/// A size in memory as a count.
pub(crate) fn count(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}
