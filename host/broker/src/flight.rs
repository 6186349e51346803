//! One task for all who ask for the same at the same time.
//!
//! The task belongs to all who wait for it: one who goes away harms nobody, and when the last
//! one has gone it is stopped. Invariants: of equal keys one task runs at a time; what has
//! ended is never joined.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

type Flying<K, V> = Arc<Mutex<HashMap<K, Weak<Flight<K, V>>>>>;

/// The tasks that run.
pub(crate) struct Flights<K: Eq + Hash + Clone, V> {
    flying: Flying<K, V>,
}

/// A place in a task's audience.
pub(crate) struct Joined<K: Eq + Hash + Clone, V> {
    flight: Arc<Flight<K, V>>,
    pub(crate) part: Part,
}

/// Whether somebody started a task or came to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Leader,
    Follower,
}

struct Flight<K: Eq + Hash + Clone, V> {
    key: K,
    result: watch::Receiver<Option<V>>,
    flying: Flying<K, V>,
    _task: AbortOnDropHandle<()>,
}

impl<K, V> Flights<K, V>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    pub(crate) fn new() -> Self {
        Self { flying: Arc::default() }
    }

    /// Joins the task of this key, or starts it.
    pub(crate) fn join<F>(&self, key: K, start: impl FnOnce() -> F) -> Joined<K, V>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut flying = lock(&self.flying);
        if let Some(flight) = flying.get(&key).and_then(Weak::upgrade)
            && !flight.has_ended()
        {
            return Joined { flight, part: Part::Follower };
        }
        let (publish, result) = watch::channel(None);
        let work = start();
        let task = AbortOnDropHandle::new(tokio::spawn(async move {
            publish.send_replace(Some(work.await));
        }));
        let all = Arc::clone(&self.flying);
        let flight = Arc::new(Flight { key: key.clone(), result, flying: all, _task: task });
        flying.insert(key, Arc::downgrade(&flight));
        Joined { flight, part: Part::Leader }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        lock(&self.flying).len()
    }
}

impl<K: Eq + Hash + Clone, V: Clone> Joined<K, V> {
    /// What the task gives; `None` if it panicked.
    pub(crate) async fn wait(self) -> Option<V> {
        let mut result = self.flight.result.clone();
        let value = result.wait_for(Option::is_some).await.ok()?;
        value.clone()
    }
}

impl<K: Eq + Hash + Clone, V> Flight<K, V> {
    fn has_ended(&self) -> bool {
        self.result.borrow().is_some() || self.result.has_changed().is_err()
    }
}

impl<K: Eq + Hash + Clone, V> Drop for Flight<K, V> {
    fn drop(&mut self) {
        let mut flying = lock(&self.flying);
        if flying.get(&self.key).is_some_and(|flight| flight.strong_count() == 0) {
            flying.remove(&self.key);
        }
    }
}

fn lock<K: Eq + Hash + Clone, V>(
    flying: &Flying<K, V>,
) -> MutexGuard<'_, HashMap<K, Weak<Flight<K, V>>>> {
    // A std mutex: nothing awaits while it is held.
    flying.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
