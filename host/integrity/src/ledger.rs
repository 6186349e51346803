//! The port to whoever records: what is known of each path, and the bytes of old versions.
//!
//! Deliberately absent: sequence numbers and times, which the recorder gives. The methods may
//! block: looks and scans call them on threads of this crate, announcements, restores and undos
//! on that of the caller.

use bytes::Bytes;
use foreshore_domain::blob::BlobDigest;
use foreshore_domain::id::CallId;
use foreshore_domain::integrity::{Change, EntryPath, EntryState, RootName};

use crate::undo::{PlanOutcome, UndoPlan};

/// It could not be recorded or read; what was to be recorded is not.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the record of files is not to be had: {message}")]
pub struct LedgerError {
    /// What the recorder said.
    pub message: String,
}

/// Keeps what this crate finds. Per path of a root it holds two states: the *known* one, that of
/// the last record, and the *approved* one, which is the known one except after changes from
/// outside: those leave it as it was until somebody approves them.
pub trait Ledger: Send + Sync + 'static {
    /// Whether a baseline of the root was completed.
    ///
    /// # Errors
    /// [`LedgerError`], as for every method here.
    fn is_baselined(&self, root: &RootName) -> Result<bool, LedgerError>;

    /// Takes entries as known and approved, without a change; `complete` with the last of them.
    fn baseline(
        &self,
        root: &RootName,
        entries: &[(EntryPath, EntryState)],
        complete: bool,
    ) -> Result<(), LedgerError>;

    /// Replaces the identity and times of known entries that hold what they held. A hint that
    /// makes the next quick scan quicker: it may be lost.
    fn touched(&self, _: &RootName, _: &[(EntryPath, EntryState)]) -> Result<(), LedgerError> {
        Ok(())
    }

    /// The state of the last record of a path.
    fn known(&self, root: &RootName, path: &EntryPath) -> Result<Option<EntryState>, LedgerError>;

    /// The approved state of a path.
    fn approved(
        &self,
        root: &RootName,
        path: &EntryPath,
    ) -> Result<Option<EntryState>, LedgerError>;

    /// The paths whose known and approved states differ, in order, the first `count_max` of those
    /// after `after`.
    fn unapproved(
        &self,
        root: &RootName,
        after: Option<&EntryPath>,
        count_max: usize,
    ) -> Result<Vec<EntryPath>, LedgerError>;

    /// The known paths below a directory, in order, the first `count_max` of those after `after`.
    fn known_below(
        &self,
        root: &RootName,
        directory: &EntryPath,
        after: Option<&EntryPath>,
        count_max: usize,
    ) -> Result<Vec<EntryPath>, LedgerError>;

    /// Records changes in this order, all or none, durably. Each `after` becomes the known
    /// state, and the approved one too unless the author is outside. For a rename, the path it
    /// came `from` is no longer known.
    fn record(&self, changes: &[Change]) -> Result<(), LedgerError>;

    /// Keeps bytes under their BLAKE3; the same bytes twice are kept once.
    fn keep(&self, bytes: &[u8]) -> Result<BlobDigest, LedgerError>;

    /// Bytes that were kept; none if they never were, or are no longer.
    fn version(&self, digest: BlobDigest) -> Result<Option<Bytes>, LedgerError>;

    /// Notes durably that a plan is about to be performed.
    fn plan_opened(&self, plan: &UndoPlan) -> Result<(), LedgerError>;

    /// Records, all or none, durably, that a plan ended and what it changed.
    fn plan_closed(
        &self,
        call_id: CallId,
        outcome: PlanOutcome,
        changes: &[Change],
    ) -> Result<(), LedgerError>;

    /// Plans that were opened and not closed.
    fn open_plans(&self) -> Result<Vec<UndoPlan>, LedgerError>;
}
