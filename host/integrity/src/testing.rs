//! A ledger that knows nothing and an observer that tells nobody, for tests of single parts.

use bytes::Bytes;
use foreshore_domain::blob::BlobDigest;
use foreshore_domain::id::CallId;
use foreshore_domain::integrity::{Change, EntryPath, EntryState, RootName};

use crate::ledger::{Ledger, LedgerError};
use crate::look::hash_of;
use crate::respond::{Observer, Report};
use crate::undo::{PlanOutcome, UndoPlan};

pub(crate) struct Nobody;

impl Observer for Nobody {
    fn report(&self, _: &RootName, _: Report) {}
}

pub(crate) struct Nothing;

type Answer<T> = Result<T, LedgerError>;

impl Ledger for Nothing {
    fn is_baselined(&self, _: &RootName) -> Answer<bool> {
        Ok(false)
    }

    fn baseline(&self, _: &RootName, _: &[(EntryPath, EntryState)], _: bool) -> Answer<()> {
        Ok(())
    }

    fn known(&self, _: &RootName, _: &EntryPath) -> Answer<Option<EntryState>> {
        Ok(None)
    }

    fn approved(&self, _: &RootName, _: &EntryPath) -> Answer<Option<EntryState>> {
        Ok(None)
    }

    fn unapproved(&self, _: &RootName, _: Option<&EntryPath>, _: usize) -> Answer<Vec<EntryPath>> {
        Ok(Vec::new())
    }

    fn known_below(
        &self,
        _: &RootName,
        _: &EntryPath,
        _: Option<&EntryPath>,
        _: usize,
    ) -> Answer<Vec<EntryPath>> {
        Ok(Vec::new())
    }

    fn record(&self, _: &[Change]) -> Answer<()> {
        Ok(())
    }

    fn keep(&self, bytes: &[u8]) -> Answer<BlobDigest> {
        Ok(hash_of(bytes))
    }

    fn version(&self, _: BlobDigest) -> Answer<Option<Bytes>> {
        Ok(None)
    }

    fn plan_opened(&self, _: &UndoPlan) -> Answer<()> {
        Ok(())
    }

    fn plan_closed(&self, _: CallId, _: PlanOutcome, _: &[Change]) -> Answer<()> {
        Ok(())
    }

    fn open_plans(&self) -> Answer<Vec<UndoPlan>> {
        Ok(Vec::new())
    }
}
