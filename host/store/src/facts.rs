//! How a journal is set up, and what it says of itself.

use std::time::{Duration, Instant};

use crate::frame::{GENESIS, Hash};
use crate::seals::SealEvery;
use crate::views::Receipt;

/// How the journal works.
#[derive(Clone, Debug)]
pub struct JournalConfig {
    /// Memory for pages of the database.
    pub cache_bytes: usize,
    /// Memory for records of memory that were read before.
    pub record_cache_bytes: u64,
    /// Memory for embeddings that were searched before.
    pub vector_cache_bytes: u64,
    /// The most events in one commit.
    pub group_max: usize,
    /// The most callers of [`Journal::append`] that are queued; the others wait their turn.
    pub appends_max: usize,
    /// The most events of [`Journal::append_soon`] that are queued; the others are dropped.
    pub soon_max: usize,
    /// The longest that an event of [`Journal::append_soon`] waits for its commit to begin.
    pub soon_delay: Duration,
    /// How often the chain of a journal in a file is signed; and when it is closed.
    pub seal_every: SealEvery,
}

impl Default for JournalConfig {
    fn default() -> Self {
        Self {
            cache_bytes: 16 << 20,
            record_cache_bytes: 16 << 20,
            vector_cache_bytes: 256 << 20,
            group_max: 1_000,
            appends_max: 4_096,
            soon_max: 65_536,
            soon_delay: Duration::from_millis(50),
            seal_every: SealEvery { events: 10_000, time: Duration::from_secs(60) },
        }
    }
}

/// Where an event went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Its number.
    pub seq: u64,
    /// What the views made of it.
    pub receipt: Receipt,
}

/// The end of the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tip {
    /// The last event; 0 if there is none.
    pub seq: u64,
    /// The chain's value there.
    pub hash: Hash,
}

/// What [`Journal::verify`] went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// How many events.
    pub events: u64,
    /// In how many frames.
    pub frames: u64,
    /// The end of the chain.
    pub tip: Tip,
    /// How many signed checkpoints it matches.
    pub checkpoints: u64,
}

/// Whether the journal can write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It can.
    Open,
    /// It cannot, and tries to come back: appends are refused, reads go on while the file is
    /// open.
    Failed {
        /// What redb or the system said.
        message: String,
        /// When it failed.
        since: Instant,
    },
    /// It was closed.
    Closed,
}

impl Default for Tip {
    fn default() -> Self {
        Self { seq: 0, hash: GENESIS }
    }
}
