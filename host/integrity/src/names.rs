//! Which names each file of a root has, so that a write through one of them is looked for under
//! the others. Names that a file no longer has do no harm: they cost a look.

use std::collections::HashMap;

use foreshore_domain::integrity::{EntryPath, EntryState};

#[derive(Default)]
pub(crate) struct Names(HashMap<(u64, u64), Vec<EntryPath>>);

impl Names {
    pub(crate) fn note(&mut self, path: &EntryPath, state: &EntryState) {
        if state.is_directory() {
            return;
        }
        let names = self.0.entry((state.identity.device, state.identity.inode)).or_default();
        if state.identity.links <= 1 {
            names.clear();
        }
        if !names.contains(path) {
            names.push(path.clone());
        }
    }

    pub(crate) fn others(
        &self,
        path: &EntryPath,
        state: &EntryState,
    ) -> impl Iterator<Item = EntryPath> {
        let names = self.0.get(&(state.identity.device, state.identity.inode));
        names.into_iter().flatten().filter(move |name| *name != path).cloned()
    }

    /// Adds what a complete scan saw. Before there are too many files that are no more, all are
    /// forgotten.
    pub(crate) fn merge(&mut self, seen: impl ExactSizeIterator<Item = ((u64, u64), EntryPath)>) {
        if self.0.len() > seen.len().saturating_mul(2) {
            self.0.clear();
        }
        for (identity, path) in seen {
            let names = self.0.entry(identity).or_default();
            if !names.contains(&path) {
                names.push(path);
            }
        }
    }
}
