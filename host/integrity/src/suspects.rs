//! Paths that may have changed, waiting for a look.
//!
//! A path waits until nothing was heard of it for a few milliseconds, so that one look answers
//! many events; and not for long, so that a writer who never stops cannot hide behind them.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use foreshore_domain::integrity::EntryPath;

/// How long it is quiet about a path before it is looked at.
const QUIET: Duration = Duration::from_millis(4);
/// The longest that events can put off a look.
const PATIENCE: Duration = Duration::from_millis(60);
/// More than these wait for nothing: the whole root is looked at instead.
const SUSPECTS_MAX: usize = 100_000;
/// The most that one turn looks at.
const TAKE_MAX: usize = 256;

#[derive(Default)]
pub(crate) struct Suspects {
    waiting: Mutex<Waiting>,
    news: Condvar,
}

#[derive(Default)]
struct Waiting {
    paths: BTreeMap<EntryPath, Suspect>,
    renames: Vec<(EntryPath, EntryPath)>,
    scan: bool,
    stopped: bool,
}

#[derive(Clone, Copy)]
pub(crate) struct Suspect {
    /// When it was first heard of.
    pub(crate) since: Instant,
    due: Instant,
}

/// Why somebody who waited for a scan waits no longer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wake {
    Wanted,
    Due,
    Stopped,
}

impl Suspect {
    /// One that is looked at now.
    pub(crate) fn now() -> Self {
        let now = Instant::now();
        Self { since: now, due: now }
    }
}

/// What one turn looks at.
#[derive(Default)]
pub(crate) struct Taken {
    pub(crate) paths: Vec<(EntryPath, Suspect)>,
    /// From and to; both names are among the paths too.
    pub(crate) renames: Vec<(EntryPath, EntryPath)>,
}

impl Suspects {
    /// Something was heard of a path.
    pub(crate) fn add(&self, path: EntryPath) {
        self.add_in(path, QUIET);
    }

    /// The kernel said that `from` became `to`.
    pub(crate) fn add_rename(&self, from: EntryPath, to: EntryPath) {
        self.add(from.clone());
        self.add(to.clone());
        let mut waiting = self.lock();
        if waiting.renames.len() < SUSPECTS_MAX {
            waiting.renames.push((from, to));
        }
    }

    /// A path to look at when some time has passed.
    pub(crate) fn add_in(&self, path: EntryPath, delay: Duration) {
        let now = Instant::now();
        self.put(path, Suspect { since: now, due: now + delay });
    }

    /// A path that was looked at in vain, to be looked at again.
    pub(crate) fn again(&self, path: EntryPath, suspect: Suspect, delay: Duration) {
        self.put(path, Suspect { since: suspect.since, due: Instant::now() + delay });
    }

    fn put(&self, path: EntryPath, suspect: Suspect) {
        let mut waiting = self.lock();
        if waiting.paths.len() >= SUSPECTS_MAX && !waiting.paths.contains_key(&path) {
            waiting.paths.clear();
            waiting.scan = true;
        } else {
            let entry = waiting.paths.entry(path).or_insert(suspect);
            entry.since = entry.since.min(suspect.since);
            entry.due = suspect.due.min(entry.since + PATIENCE).max(entry.due.min(suspect.due));
        }
        self.news.notify_all();
    }

    /// The whole root is to be looked at.
    pub(crate) fn want_scan(&self) {
        self.lock().scan = true;
        self.news.notify_all();
    }

    /// Waits for a wish for a scan, or for `at`.
    pub(crate) fn await_scan(&self, at: Instant) -> Wake {
        let mut waiting = self.lock();
        loop {
            let now = Instant::now();
            if waiting.stopped {
                return Wake::Stopped;
            }
            if std::mem::take(&mut waiting.scan) {
                return Wake::Wanted;
            }
            if now >= at {
                return Wake::Due;
            }
            waiting = self.wait(waiting, at - now);
        }
    }

    /// Waits for paths that are due; none once stopped.
    pub(crate) fn take(&self) -> Option<Taken> {
        let mut waiting = self.lock();
        loop {
            if waiting.stopped {
                return None;
            }
            let now = Instant::now();
            let due: Vec<_> = waiting
                .paths
                .iter()
                .filter(|(_, suspect)| suspect.due <= now)
                .take(TAKE_MAX)
                .map(|(path, suspect)| (path.clone(), *suspect))
                .collect();
            if !due.is_empty() {
                for (path, _) in &due {
                    waiting.paths.remove(path);
                }
                let waits = |path: &EntryPath| due.iter().any(|(taken, _)| taken == path);
                let renames = std::mem::take(&mut waiting.renames);
                let (renames, later) =
                    renames.into_iter().partition(|(from, to)| waits(from) || waits(to));
                waiting.renames = later;
                return Some(Taken { paths: due, renames });
            }
            let next = waiting.paths.values().map(|suspect| suspect.due).min();
            let pause =
                next.map_or(Duration::from_secs(60), |due| due.saturating_duration_since(now));
            waiting = self.wait(waiting, pause.max(Duration::from_micros(200)));
        }
    }

    pub(crate) fn stop(&self) {
        self.lock().stopped = true;
        self.news.notify_all();
    }

    /// Makes it usable for another watch.
    pub(crate) fn start(&self) {
        self.lock().stopped = false;
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.lock().stopped
    }

    fn wait<'a>(
        &self,
        waiting: MutexGuard<'a, Waiting>,
        pause: Duration,
    ) -> MutexGuard<'a, Waiting> {
        self.news.wait_timeout(waiting, pause).unwrap_or_else(PoisonError::into_inner).0
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
