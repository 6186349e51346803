//! Watches a root: one thread hears the kernel's events, one looks at what they name, and one
//! scans the whole root at the start, at an interval, and when events were lost.
//!
//! Three things make no event, and are found by the next full scan: a write under a name that a
//! file has outside of the root, a write through a mapping until it is closed, and what another
//! machine does to a file system of the network.
//!
//! The invariant: events only say where to look. Without them everything is found by scans,
//! later; and whoever asks is told that it is so.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use foreshore_domain::integrity::{Author, EntryPath};

use crate::batch::Batch;
use crate::inotify::{Unwatched, Watches};
use crate::judge::WatchedRoot;
use crate::respond::Report;
use crate::scan::Depth;
use crate::suspects::Wake;

/// The longest that a stop waits for the thread of events.
const LISTEN: Duration = Duration::from_millis(50);
/// Between two looks whether the root is still where it was.
const IN_PLACE: Duration = Duration::from_millis(500);
/// Until the kernel is asked again for events that it did not give.
const ASK_AGAIN: Duration = Duration::from_secs(60);
/// Until a failed scan is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// How often a root is scanned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchConfig {
    /// Between two scans that read everything.
    pub full_scan_every: Duration,
    /// Between two quick scans, where the kernel gives no events.
    pub poll_every: Duration,
}

impl Default for WatchConfig {
    fn default() -> Self {
        Self { full_scan_every: Duration::from_secs(3_600), poll_every: Duration::from_secs(2) }
    }
}

/// How a root is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WatchState {
    /// By the kernel's events.
    Watching {
        /// So many directories.
        directories: usize,
    },
    /// By scans at an interval alone.
    Polling {
        /// Why there are no events.
        why: String,
        /// The interval.
        every: Duration,
    },
    /// The directory is not there; it is watched as soon as it is.
    Missing {
        /// What was found.
        why: String,
    },
}

/// A watch; ends when it is dropped.
pub struct Watch {
    watched: Arc<WatchedRoot>,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    config: WatchConfig,
    state: Mutex<WatchState>,
    baselined: AtomicBool,
    /// Whether to ask the kernel for events again when the root was replaced.
    by_events: bool,
}

impl WatchedRoot {
    /// Starts to watch. Directories are watched when it returns; the baseline, or the scan for
    /// what changed while nobody watched, goes on. One watch at a time for each root.
    pub fn watch(self: &Arc<Self>, config: WatchConfig) -> Watch {
        let (watches, state) = watches(self, config);
        self.start(config, watches, state)
    }

    /// The same without the kernel's events, for file systems that others change over a network,
    /// of which this kernel is not told; `why` stands in [`WatchState::Polling`].
    pub fn poll(self: &Arc<Self>, config: WatchConfig, why: &str) -> Watch {
        let state = WatchState::Polling { why: why.to_owned(), every: config.poll_every };
        self.start(config, None, state)
    }

    fn start(
        self: &Arc<Self>,
        config: WatchConfig,
        watches: Option<Watches>,
        state: WatchState,
    ) -> Watch {
        self.suspects.start();
        let by_events = watches.is_some();
        let baselined = AtomicBool::new(false);
        let shared =
            Arc::new(Shared { config, state: Mutex::new(state.clone()), baselined, by_events });
        self.observer.report(self.name(), Report::State(state));
        let start = |name: &str, run: Box<dyn FnOnce() + Send>| {
            thread::Builder::new().name(format!("integrity-{name}")).spawn(run)
        };
        let with = || (Arc::clone(self), Arc::clone(&shared));
        let ((a, a_shared), (b, b_shared), (c, c_shared)) = (with(), with(), with());
        let threads = [
            start("events", Box::new(move || hear(&a, &a_shared, watches))),
            start("looks", Box::new(move || look(&b, &b_shared))),
            start("scans", Box::new(move || scan(&c, &c_shared))),
        ];
        let failed = threads.iter().find_map(|thread| thread.as_ref().err());
        if let Some(error) = failed {
            // Without its threads nothing is watched, and that must be seen.
            let why = format!("a thread could not be started: {error}");
            set(self, &shared, WatchState::Missing { why });
        }
        let threads = threads.into_iter().flatten().collect();
        Watch { watched: Arc::clone(self), shared, threads }
    }
}

impl Watch {
    /// How the root is watched now.
    pub fn state(&self) -> WatchState {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether there is a baseline, and the first scan is over.
    pub fn is_ready(&self) -> bool {
        self.shared.baselined.load(Ordering::Acquire)
    }

    /// Has everything read and hashed soon.
    pub fn scan_soon(&self) {
        self.watched.suspects.want_scan();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.watched.suspects.stop();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn watches(watched: &WatchedRoot, config: WatchConfig) -> (Option<Watches>, WatchState) {
    match Watches::new(watched) {
        Ok(watches) => {
            let directories = watches.directories();
            (Some(watches), WatchState::Watching { directories })
        }
        Err(error) => {
            let (why, every) = (error.to_string(), config.poll_every);
            (None, WatchState::Polling { why, every })
        }
    }
}

fn set(watched: &WatchedRoot, shared: &Shared, state: WatchState) {
    let mut current = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
    if *current == state {
        return;
    }
    *current = state.clone();
    drop(current);
    tracing::info!(root = %watched.name(), ?state, "watching");
    watched.observer.report(watched.name(), Report::State(state));
}

/// Hears events until the watch is stopped.
fn hear(watched: &WatchedRoot, shared: &Shared, mut watches: Option<Watches>) {
    let mut checked = Instant::now();
    let mut asked = checked;
    while !watched.suspects.is_stopped() {
        let heard = match &mut watches {
            Some(watches) => watches.listen(watched, LISTEN),
            None => {
                thread::sleep(LISTEN);
                Ok(())
            }
        };
        let heard = heard.and_then(|()| {
            if checked.elapsed() < IN_PLACE {
                return Ok(());
            }
            checked = Instant::now();
            if let Some(watches) = &watches {
                set(watched, shared, WatchState::Watching { directories: watches.directories() });
            }
            if watches.is_none() && shared.by_events && asked.elapsed() >= ASK_AGAIN {
                asked = checked;
                let (again, state) = self::watches(watched, shared.config);
                set(watched, shared, state);
                if again.is_some() {
                    // What happened until now was not heard.
                    watched.suspects.want_scan();
                }
                watches = again;
            }
            if watched.root.is_in_place() { Ok(()) } else { Err(Unwatched::RootGone) }
        });
        match heard {
            Ok(()) => {}
            Err(Unwatched::RootGone) => watches = find_again(watched, shared),
            Err(error) => {
                watches = None;
                let (why, every) = (error.to_string(), shared.config.poll_every);
                set(watched, shared, WatchState::Polling { why, every });
                watched.suspects.want_scan();
            }
        }
    }
}

/// The root was removed or moved away: waits until there is one again.
fn find_again(watched: &WatchedRoot, shared: &Shared) -> Option<Watches> {
    let mut recorded = false;
    while !watched.suspects.is_stopped() {
        match watched.root.reopen() {
            Ok(()) => {
                let every = shared.config.poll_every;
                let (watches, state) = if shared.by_events {
                    watches(watched, shared.config)
                } else {
                    (None, WatchState::Polling { why: "as before".to_owned(), every })
                };
                set(watched, shared, state);
                watched.suspects.want_scan();
                return watches;
            }
            Err(error) => {
                set(watched, shared, WatchState::Missing { why: error.to_string() });
                recorded = recorded || record_gone(watched);
                thread::sleep(LISTEN);
            }
        }
    }
    None
}

/// Records that all of it is gone. What the policy says of that has to wait for a root.
fn record_gone(watched: &WatchedRoot) -> bool {
    let turn = watched.turn();
    let mut batch = Batch::default();
    let gone = watched.differ_state(&mut batch, &EntryPath::root(), None, &Author::Outside);
    let recorded = gone.and_then(|()| Ok(watched.record(batch)?));
    drop(turn);
    if let Err(error) = &recorded {
        tracing::warn!(root = %watched.name(), %error, "that the root is gone is not recorded yet");
    }
    recorded.is_ok()
}

/// Looks at suspects until the watch is stopped.
fn look(watched: &WatchedRoot, shared: &Shared) {
    // Before there is a baseline there is nothing to compare with; what is heard waits.
    while !shared.baselined.load(Ordering::Acquire) {
        if watched.suspects.is_stopped() {
            return;
        }
        thread::sleep(Duration::from_millis(2));
    }
    while let Some(taken) = watched.suspects.take() {
        watched.check_taken(&taken);
    }
}

/// Scans until the watch is stopped.
fn scan(watched: &WatchedRoot, shared: &Shared) {
    if watched.ledger.is_baselined(watched.name()).unwrap_or(false) {
        shared.baselined.store(true, Ordering::Release);
    }
    let mut full_at = Instant::now();
    let mut next = full_at;
    loop {
        let wake = watched.suspects.await_scan(next);
        if wake == Wake::Stopped {
            return;
        }
        let polling = {
            let state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
            matches!(*state, WatchState::Polling { .. })
        };
        let quick = polling && wake == Wake::Due && Instant::now() < full_at;
        let depth = if quick { Depth::Quick } else { Depth::Full };
        let scanned = watched.scan(depth, &|_| {}, &|| watched.suspects.is_stopped());
        match scanned {
            Ok(report) => {
                shared.baselined.store(true, Ordering::Release);
                if !quick {
                    full_at = Instant::now() + shared.config.full_scan_every;
                }
                watched.observer.report(watched.name(), Report::Scanned(report));
                next = full_at;
            }
            Err(error) => {
                watched.observer.report(watched.name(), Report::NotScanned(error.to_string()));
                next = Instant::now() + AGAIN;
            }
        }
        if polling {
            next = next.min(Instant::now() + shared.config.poll_every);
        }
    }
}
