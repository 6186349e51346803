//! The journal as an operator looks at it.

use foreshore_control::Backup;
use foreshore_control::store::{Checked, ReadError, Stats, Verified};

/// Figures about the journal.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = StoreStats)]
pub(crate) struct StoreStatsSchema {
    /// The last event.
    seq: u64,
    /// Events in the database; older ones are in archives.
    events: u64,
    /// Commits that wrote them.
    commits: u64,
    /// Blobs, each counted once.
    blobs: u64,
    /// Bytes of keys and values.
    stored_bytes: u64,
    /// Bytes of the database's own bookkeeping.
    metadata_bytes: u64,
    /// Bytes of pages that hold less than they could.
    fragmented_bytes: u64,
    /// Bytes of all pages in use.
    allocated_bytes: u64,
}

impl From<Stats> for StoreStatsSchema {
    fn from(stats: Stats) -> Self {
        Self {
            seq: stats.tip.seq,
            events: stats.events,
            commits: stats.frames,
            blobs: stats.blobs,
            stored_bytes: stats.stored_bytes,
            metadata_bytes: stats.metadata_bytes,
            fragmented_bytes: stats.fragmented_bytes,
            allocated_bytes: stats.allocated_bytes,
        }
    }
}

/// What a check went through.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = StoreChecked)]
pub(crate) struct StoreCheckedSchema {
    /// Events that are the ones that were written.
    events: u64,
    /// Blobs that hold what their names say.
    blobs: u64,
    /// Views that are what the events make of them.
    views: usize,
    /// The last event.
    seq: u64,
}

impl From<Checked> for StoreCheckedSchema {
    fn from(checked: Checked) -> Self {
        let Checked { verified, blobs, views } = checked;
        Self { events: verified.events, blobs, views, seq: verified.tip.seq }
    }
}

/// What to hold the journal to, besides its own checkpoints.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[schema(as = StoreVerify)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoreVerifySchema {
    /// Lines of a `checkpoints.jsonl` that was kept elsewhere.
    #[serde(default)]
    pub(crate) checkpoints: Vec<String>,
}

/// Whether the journal is what was written and signed.
#[derive(Default, serde::Serialize, utoipa::ToSchema)]
#[schema(as = StoreVerdict)]
pub(crate) struct StoreVerdictSchema {
    verified: bool,
    /// Events that were verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<u64>,
    /// The last of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    /// Signed checkpoints that match.
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoints: Option<u64>,
    /// The first event that does not hold; 0 if it is not about an event.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_bad_seq: Option<u64>,
    /// What is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

impl StoreVerdictSchema {
    /// Whether an error says something of the journal, and not of the reading of it.
    pub(crate) fn is_one(error: &ReadError) -> bool {
        !matches!(error, ReadError::NotOpen | ReadError::Archived { .. })
    }
}

impl From<Verified> for StoreVerdictSchema {
    fn from(verified: Verified) -> Self {
        Self {
            verified: true,
            events: Some(verified.events),
            seq: Some(verified.tip.seq),
            checkpoints: Some(verified.checkpoints),
            ..Self::default()
        }
    }
}

impl From<ReadError> for StoreVerdictSchema {
    fn from(error: ReadError) -> Self {
        Self {
            first_bad_seq: Some(error.first_bad_seq()),
            problem: Some(error.to_string()),
            ..Self::default()
        }
    }
}

/// A backup.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = StoreBackup)]
pub(crate) struct StoreBackupSchema {
    /// Its name in the directory `backups` beside the journal.
    #[schema(example = "journal-1767225600000.redb")]
    name: String,
    /// The last event that it holds.
    seq: u64,
}

impl From<Backup> for StoreBackupSchema {
    fn from(backup: Backup) -> Self {
        let name = backup.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self { name, seq: backup.seq }
    }
}

/// Views that were made again.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = StoreRebuilt)]
pub(crate) struct StoreRebuiltSchema {
    /// The last event that they hold.
    pub(crate) seq: u64,
}
