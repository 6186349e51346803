//! The turns that run now, by the call that each run is: where the door finds what performs an
//! agent's effects. A call that is no turn is not in it, and has none.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foreshore_domain::id::CallId;

use super::live::Live;
use super::rehearse::Rehearsal;

/// What performs the effects of a run.
#[derive(Clone)]
pub(crate) enum Performer {
    /// The world and the journal.
    Live(Arc<Live>),
    /// A record alone.
    Rehearsal(Arc<Rehearsal>),
}

/// See the module. Shared by the door and the turns.
#[derive(Default)]
pub(crate) struct Running {
    by_call: Mutex<HashMap<CallId, Performer>>,
}

/// A run's place in the table, given up when it is dropped.
pub(crate) struct Entered {
    running: Arc<Running>,
    call_id: CallId,
}

impl Running {
    pub(crate) fn enter(self: &Arc<Self>, call_id: CallId, performer: Performer) -> Entered {
        self.lock().insert(call_id, performer);
        Entered { running: Arc::clone(self), call_id }
    }

    pub(crate) fn of(&self, call_id: CallId) -> Option<Performer> {
        self.lock().get(&call_id).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CallId, Performer>> {
        // A std mutex: nothing awaits while it is held.
        self.by_call.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        // Dropped outside of the lock: a performer may hold the last handle of much.
        let gone = self.running.lock().remove(&self.call_id);
        drop(gone);
    }
}
