//! Changes that are found in one turn and recorded together.
//!
//! Until they are, what they would make known overlays what is.

use std::collections::HashMap;
use std::sync::Arc;

use foreshore_domain::integrity::{Change, ChangeKind, EntryPath, EntryState};

use crate::held::{Held, Written};
use crate::judge::WatchedRoot;
use crate::ledger::LedgerError;

/// Changes that are found and not recorded yet.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) changes: Vec<Change>,
    known: HashMap<EntryPath, Option<EntryState>>,
    pub(crate) touched: Vec<(EntryPath, EntryState)>,
    /// What calls wrote that is among the changes.
    pub(crate) settled: Vec<(Arc<Held>, Vec<Written>)>,
}

impl Drop for Batch {
    /// What was not recorded stays its author's, until it is.
    fn drop(&mut self) {
        for (held, written) in self.settled.drain(..) {
            held.lock().left.splice(0..0, written);
        }
    }
}

impl Batch {
    pub(crate) fn push(&mut self, change: Change) {
        if let ChangeKind::Renamed { from } = &change.kind {
            self.known.insert(from.clone(), None);
        }
        self.known.insert(change.path.clone(), change.after.clone());
        self.changes.push(change);
    }
}

impl WatchedRoot {
    /// Records a batch, and nothing more.
    pub(crate) fn record(&self, mut batch: Batch) -> Result<Vec<Change>, LedgerError> {
        if !batch.touched.is_empty() {
            self.ledger.touched(self.name(), &batch.touched)?;
        }
        if !batch.changes.is_empty() {
            self.ledger.record(&batch.changes)?;
        }
        batch.settled.clear();
        Ok(std::mem::take(&mut batch.changes))
    }

    pub(crate) fn known(
        &self,
        batch: &Batch,
        path: &EntryPath,
    ) -> Result<Option<EntryState>, LedgerError> {
        match batch.known.get(path) {
            Some(known) => Ok(known.clone()),
            None => self.ledger.known(self.name(), path),
        }
    }
}
