//! How many agents run at once: a number that can be changed while they run.
//!
//! First come, first served. Deliberately absent: what waits inside a turn; a turn that waits
//! for a person or a time holds no slot, and one that was delegated to runs in the slot of the
//! turn that waits for it, so that agents that delegate cannot starve each other.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// The slots. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Slots(Arc<Mutex<State>>);

struct State {
    max: usize,
    taken: usize,
    waiting: VecDeque<oneshot::Sender<Slot>>,
}

/// The right to run one agent; given back when it is dropped.
pub(crate) struct Slot(Option<Slots>);

impl Slots {
    pub(crate) fn new(max: usize) -> Self {
        Self(Arc::new(Mutex::new(State { max, taken: 0, waiting: VecDeque::new() })))
    }

    /// Waits for its turn.
    pub(crate) async fn take(&self) -> Slot {
        let waits = {
            let mut state = self.lock();
            if state.taken < state.max {
                state.taken += 1;
                return Slot(Some(self.clone()));
            }
            let (sender, waits) = oneshot::channel();
            state.waiting.push_back(sender);
            waits
        };
        // The sender is dropped with the slots alone, which this borrows.
        waits.await.unwrap_or(Slot(None))
    }

    /// Changes how many there are; those that are taken beyond the new number are given back in
    /// their own time.
    pub(crate) fn resize(&self, max: usize) {
        self.lock().max = max;
        self.hand_out();
    }

    pub(crate) fn max(&self) -> usize {
        self.lock().max
    }

    pub(crate) fn taken(&self) -> usize {
        self.lock().taken
    }

    /// Gives free slots to whoever has waited longest.
    fn hand_out(&self) {
        loop {
            let next = {
                let mut state = self.lock();
                if state.taken >= state.max {
                    return;
                }
                let Some(next) = state.waiting.pop_front() else { return };
                state.taken += 1;
                next
            };
            // Whoever went away hands it back by dropping it, which comes here again.
            drop(next.send(Slot(Some(self.clone()))));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A std mutex: nothing awaits while it is held, and no slot is dropped under it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(slots) = self.0.take() {
            slots.lock().taken -= 1;
            slots.hand_out();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_more_run_than_there_are_slots_and_the_first_comes_first() {
        let slots = Slots::new(1);
        let first = slots.take().await;
        let (order, mut came) = tokio::sync::mpsc::unbounded_channel();
        for name in ["second", "third"] {
            let (slots, order) = (slots.clone(), order.clone());
            tokio::spawn(async move {
                let slot = slots.take().await;
                let _ = order.send((name, slot));
            });
            tokio::task::yield_now().await;
        }
        assert_eq!(slots.taken(), 1);
        assert!(came.try_recv().is_err());
        drop(first);
        let (name, slot) = came.recv().await.expect("one came");
        assert_eq!((name, slots.taken()), ("second", 1));
        drop(slot);
        assert_eq!(came.recv().await.expect("the other").0, "third");
    }

    #[tokio::test]
    async fn the_number_changes_while_they_run() {
        let slots = Slots::new(2);
        let (one, two) = (slots.take().await, slots.take().await);
        slots.resize(1);
        drop(one);
        let mut third = Box::pin(slots.take());
        let waits = tokio::time::timeout(std::time::Duration::from_millis(20), &mut third);
        assert!(waits.await.is_err(), "one of one is taken");
        slots.resize(2);
        let third = third.await;
        assert_eq!((slots.taken(), slots.max()), (2, 2));
        drop((two, third));
        assert_eq!(slots.taken(), 0);
    }

    #[tokio::test]
    async fn a_slot_for_whoever_went_away_is_not_lost() {
        let slots = Slots::new(1);
        let held = slots.take().await;
        let waits = tokio::time::timeout(std::time::Duration::from_millis(5), slots.take()).await;
        assert!(waits.is_err());
        drop(held);
        assert_eq!(slots.taken(), 0);
        drop(slots.take().await);
    }
}
