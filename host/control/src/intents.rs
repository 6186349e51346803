//! Which intents of a running call are on disk already, so that a tool that opens, sizes,
//! writes and dates one file pays for one commit and not for four.
//!
//! Only changes to what a file holds are covered by an earlier one. Anything that makes or takes
//! away a name is recorded each time, and ends what was covered for that name. Bounded: past the
//! bound nothing more is kept, and each change is recorded.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use foreshore_domain::effect::FileChangeKind;
use foreshore_domain::id::CallId;

/// Paths kept for one call.
const PATHS_MAX: usize = 1_024;

#[derive(Default)]
pub(crate) struct Intents {
    by_call: Mutex<HashMap<CallId, HashSet<String>>>,
    /// Calls in the map. Lets a call that changed no file end without taking the lock.
    calls: AtomicUsize,
}

impl Intents {
    /// Whether an intent that is on disk covers this change.
    pub(crate) fn covers(&self, call_id: CallId, path: &str, kind: &FileChangeKind) -> bool {
        changes_contents(kind)
            && self.lock().get(&call_id).is_some_and(|paths| paths.contains(path))
    }

    /// Keeps that the intent of this change is on disk.
    pub(crate) fn note(&self, call_id: CallId, path: String, kind: &FileChangeKind) {
        let mut by_call = self.lock();
        let paths = by_call.entry(call_id).or_default();
        if !changes_contents(kind) {
            paths.remove(&path);
        } else if paths.len() < PATHS_MAX {
            paths.insert(path);
        }
        self.calls.store(by_call.len(), Ordering::Release);
    }

    /// Drops what is kept of a call.
    pub(crate) fn forget(&self, call_id: CallId) {
        // A call sees its own entry: its changes happened before its end.
        if self.calls.load(Ordering::Acquire) > 0 {
            let mut by_call = self.lock();
            by_call.remove(&call_id);
            self.calls.store(by_call.len(), Ordering::Release);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CallId, HashSet<String>>> {
        // A std mutex: nothing awaits while it is held.
        self.by_call.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn changes_contents(kind: &FileChangeKind) -> bool {
    matches!(
        kind,
        FileChangeKind::Write { .. } | FileChangeKind::Resize { .. } | FileChangeKind::SetTimes
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITE: FileChangeKind = FileChangeKind::Write { create: true, truncate: true };

    #[test]
    fn one_file_is_recorded_once_and_a_removal_each_time() {
        let intents = Intents::default();
        let (one, other) = (CallId::new(1), CallId::new(2));
        assert!(!intents.covers(one, "/d/a", &WRITE));
        intents.note(one, "/d/a".to_owned(), &WRITE);
        assert!(intents.covers(one, "/d/a", &FileChangeKind::Resize { size_bytes: 9 }));
        assert!(!intents.covers(one, "/d/b", &WRITE), "another file");
        assert!(!intents.covers(other, "/d/a", &WRITE), "another call");
        assert!(!intents.covers(one, "/d/a", &FileChangeKind::RemoveFile));
        intents.note(one, "/d/a".to_owned(), &FileChangeKind::RemoveFile);
        assert!(!intents.covers(one, "/d/a", &WRITE), "a new file of the old name");
    }

    #[test]
    fn nothing_is_kept_of_a_call_that_ended() {
        let intents = Intents::default();
        let call = CallId::new(1);
        intents.note(call, "/d/a".to_owned(), &WRITE);
        intents.forget(call);
        assert!(!intents.covers(call, "/d/a", &WRITE));
        assert!(intents.lock().is_empty());
    }

    #[test]
    fn what_is_kept_of_a_call_is_bounded() {
        let intents = Intents::default();
        let call = CallId::new(1);
        for index in 0..=PATHS_MAX {
            intents.note(call, format!("/d/{index}"), &WRITE);
        }
        assert!(intents.covers(call, "/d/0", &WRITE));
        assert!(!intents.covers(call, &format!("/d/{PATHS_MAX}"), &WRITE));
    }
}
