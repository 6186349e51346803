//! How much a namespace holds.
//!
//! Looked at before a write and not within its transaction, so writers at the same moment may
//! pass a quota by what they write together. The invariant: what does not grow a namespace is
//! not refused for its size.

use foreshore_domain::memory::Namespace;

use super::MemoryFault;

/// The most that a namespace holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quotas {
    /// Records that are there.
    pub(super) records: u64,
    /// Bytes of keys, values and tags of all versions that are kept.
    pub(super) bytes: u64,
    /// Relations.
    pub(super) relations: u64,
}

impl Default for Quotas {
    fn default() -> Self {
        Self { records: 1_000_000, bytes: 4 << 30, relations: 1_000_000 }
    }
}

/// Refuses what would make more of something than there may be.
pub(super) fn hold(
    namespace: &Namespace,
    what: &'static str,
    used: u64,
    adds: u64,
    max: u64,
) -> Result<(), MemoryFault> {
    if adds == 0 || used.saturating_add(adds) <= max {
        return Ok(());
    }
    Err(MemoryFault::Exhausted { namespace: namespace.as_str().to_owned(), what, max })
}
