//! A look at a whole root.
//!
//! The first makes the baseline; each later one finds what differs from what is known, and has
//! that judged like any event. It holds no turn while it reads, so that watching goes on.
//! One thread walks, a few read and hash; what waits between them is bounded.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use cap_std::fs::Dir;
use foreshore_domain::integrity::{ChangeKind, EntryKind, EntryPath, EntryState, RootName};

use crate::error::ScanError;
use crate::judge::{PAGE, WatchedRoot};
use crate::ledger::LedgerError;
use crate::look::{Look, look, look_at_directory, seems_untouched};
use crate::root::is_absence;
use crate::suspects::{Suspect, Taken};

/// Entries between the walk and the readers.
const QUEUE_MAX: usize = 256;
/// More readers than this only wait for the disk.
const READERS_MAX: usize = 4;
/// How many paths a report names.
const NAMED_MAX: usize = 100;

/// How much a scan trusts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Nothing: every file is read and hashed.
    Full,
    /// Files whose inode, size, owner, mode, and times of change, that of the inode (`ctime`)
    /// among them, are what they were, and were old enough to mean something. It finds writes
    /// with the size kept and `mtime` set back. It does not find writes to a mapped page that
    /// was dirty already, nor those of someone who can set the clock.
    Quick,
}

/// What a scan found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanReport {
    /// How much it trusted; a baseline trusts nothing.
    pub depth: Depth,
    /// Whether it made the baseline.
    pub baseline: bool,
    /// Entries that were looked at.
    pub entries: u64,
    /// Bytes that were hashed.
    pub hashed_bytes: u64,
    /// Entries that differed from what was known, and were judged.
    pub suspects: u64,
    /// Files too large to be hashed, with their sizes: all are counted, the first 100 named.
    pub too_large: (u64, Vec<(EntryPath, u64)>),
    /// Entries that could not be read, or lie too deep: all are counted, the first 100 named.
    pub not_looked_at: (u64, Vec<EntryPath>),
    /// How long it took.
    pub took: Duration,
}

/// What a scan shares between its threads.
struct Scan<'a> {
    watched: &'a WatchedRoot,
    depth: Depth,
    baseline: bool,
    entries: AtomicU64,
    hashed_bytes: AtomicU64,
    stopped: AtomicBool,
    stop: &'a (dyn Fn() -> bool + Sync),
    progress: &'a (dyn Fn(u64) + Sync),
    found: Mutex<Found>,
}

#[derive(Default)]
struct Found {
    pending: Vec<(EntryPath, EntryState)>,
    suspects: Vec<EntryPath>,
    seen: HashSet<EntryPath>,
    files: Vec<((u64, u64), EntryPath)>,
    too_large: (u64, Vec<(EntryPath, u64)>),
    not_looked_at: (u64, Vec<EntryPath>),
    failed: Option<LedgerError>,
}

type Job = (Arc<Dir>, OsString, EntryPath);

impl WatchedRoot {
    /// Looks at everything. `progress` is told now and then how many entries it was so far;
    /// `stop` is asked as often.
    ///
    /// # Errors
    /// [`ScanError`]. What was found until then is recorded, except by a baseline.
    pub fn scan(
        &self,
        depth: Depth,
        progress: &(dyn Fn(u64) + Sync),
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<ScanReport, ScanError> {
        let started = Instant::now();
        let baseline = !self.ledger.is_baselined(self.name())?;
        let scan = Scan {
            watched: self,
            depth: if baseline { Depth::Full } else { depth },
            baseline,
            entries: AtomicU64::new(0),
            hashed_bytes: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            stop,
            progress,
            found: Mutex::default(),
        };
        let failed = |source| ScanError::Root { root: self.name().clone(), source };
        if !self.root.is_in_place() {
            return Err(failed(io::Error::new(
                io::ErrorKind::NotFound,
                "it is not there any more",
            )));
        }
        let top = look_at_directory(&self.root.top()).map_err(failed)?;
        scan.take(EntryPath::root(), &top)?;
        let readers = thread::available_parallelism().map_or(1, usize::from).clamp(1, READERS_MAX);
        let (sender, receiver) = sync_channel::<Job>(QUEUE_MAX);
        let receiver = Mutex::new(receiver);
        let walked = thread::scope(|scope| {
            for _ in 0..readers {
                scope.spawn(|| scan.read(&receiver));
            }
            scan.walk(sender)
        });
        walked?;
        scan.finish(started)
    }
}

impl Scan<'_> {
    fn walk(&self, jobs: SyncSender<Job>) -> Result<(), ScanError> {
        let root = &self.watched.root;
        let name = || root.name().clone();
        let mut directories = vec![EntryPath::root()];
        while let Some(path) = directories.pop() {
            let listed = root.directory(&path).and_then(|dir| Ok((dir.entries()?, dir)));
            let (entries, dir) = match listed {
                Ok(listed) => listed,
                Err(source) if path.is_root() => {
                    return Err(ScanError::Root { root: name(), source });
                }
                Err(error) if is_absence(&error) => continue,
                Err(_) => {
                    self.lock().skip(path);
                    continue;
                }
            };
            for entry in entries {
                let Ok(entry) = entry else {
                    self.lock().skip(path.clone());
                    break;
                };
                let Ok(below) = path.join(entry.file_name().as_bytes()) else { continue };
                if !root.covers(&below) {
                    continue;
                }
                if below.names().count() > root.config.look.depth_max {
                    self.lock().skip(below);
                    continue;
                }
                if self.count() > root.config.entries_max {
                    self.stopped.store(true, Ordering::Release);
                    let entries_max = root.config.entries_max;
                    return Err(ScanError::TooManyEntries { root: name(), entries_max });
                }
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    directories.push(below.clone());
                }
                if self.stopped.load(Ordering::Acquire)
                    || jobs.send((Arc::clone(&dir), entry.file_name(), below)).is_err()
                {
                    return Err(self.end(ScanError::Stopped { root: name() }));
                }
            }
        }
        Ok(())
    }

    fn count(&self) -> u64 {
        let entries = self.entries.fetch_add(1, Ordering::AcqRel) + 1;
        if entries.is_multiple_of(64) {
            (self.progress)(entries);
            if (self.stop)() {
                self.stopped.store(true, Ordering::Release);
            }
        }
        entries
    }

    fn end(&self, otherwise: ScanError) -> ScanError {
        self.lock().failed.take().map_or(otherwise, ScanError::Ledger)
    }

    fn read(&self, jobs: &Mutex<Receiver<Job>>) {
        loop {
            let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok((dir, name, path)) = job else { return };
            if self.stopped.load(Ordering::Acquire) {
                continue;
            }
            match self.look(&dir, &name, &path) {
                Ok(()) => {}
                Err(Failure::Look) => self.lock().skip(path),
                Err(Failure::Ledger(error)) => {
                    self.stopped.store(true, Ordering::Release);
                    self.lock().failed = Some(error);
                }
            }
        }
    }

    fn look(&self, dir: &Dir, name: &OsStr, path: &EntryPath) -> Result<(), Failure> {
        if self.depth == Depth::Quick
            && let Some(known) = self.watched.ledger.known(self.watched.name(), path)?
            && dir.symlink_metadata(name).is_ok_and(|there| seems_untouched(&known, &there))
        {
            self.lock().see(path.clone(), &known);
            return Ok(());
        }
        // What is gone in between, the comparison with what is known finds.
        if let Some(look) = look(dir, name, self.watched.root.config.look)? {
            self.take(path.clone(), &look)?;
        }
        Ok(())
    }

    fn take(&self, path: EntryPath, look: &Look) -> Result<(), LedgerError> {
        let ledger = &self.watched.ledger;
        let name = self.watched.name();
        let state = &look.state;
        if matches!(state.kind, EntryKind::File { hash: Some(_) }) {
            self.hashed_bytes.fetch_add(state.size_bytes, Ordering::Relaxed);
        }
        let mut touched = None;
        let mut suspect = false;
        if self.baseline {
            self.watched.keep(look)?;
            touched = Some(state.clone());
        } else {
            let known = ledger.known(name, &path)?;
            suspect = ChangeKind::between(known.as_ref(), Some(state)).is_some();
            let moved = |known: &EntryState| known.stamp != state.stamp;
            if !suspect && known.as_ref().is_some_and(moved) {
                touched = Some(state.clone());
            }
        }
        let mut found = self.lock();
        found.see(path.clone(), state);
        if suspect {
            found.suspects.push(path.clone());
        }
        found.pending.extend(touched.map(|state| (path, state)));
        if found.pending.len() < PAGE {
            return Ok(());
        }
        let pending = std::mem::take(&mut found.pending);
        drop(found);
        self.flush(name, &pending, false)
    }

    fn flush(
        &self,
        name: &RootName,
        entries: &[(EntryPath, EntryState)],
        complete: bool,
    ) -> Result<(), LedgerError> {
        if self.baseline {
            self.watched.ledger.baseline(name, entries, complete)
        } else if entries.is_empty() {
            Ok(())
        } else {
            self.watched.ledger.touched(name, entries)
        }
    }

    fn finish(self, started: Instant) -> Result<ScanReport, ScanError> {
        let watched = self.watched;
        let mut found = std::mem::take(&mut *self.lock());
        if let Some(error) = found.failed {
            return Err(error.into());
        }
        self.flush(watched.name(), &found.pending, true)?;
        if !self.baseline {
            for path in watched.known_below(&EntryPath::root())? {
                if !found.seen.contains(&path) && watched.root.covers(&path) {
                    found.suspects.push(path);
                }
            }
        }
        watched.turn().names.merge(found.files.into_iter());
        found.suspects.sort();
        for paths in found.suspects.chunks(64) {
            let paths = paths.iter().map(|path| (path.clone(), Suspect::now())).collect();
            watched.check_taken(&Taken { paths, renames: Vec::new() });
        }
        watched.restore_unapproved()?;
        let entries = self.entries.load(Ordering::Acquire);
        (self.progress)(entries);
        Ok(ScanReport {
            depth: self.depth,
            baseline: self.baseline,
            entries,
            hashed_bytes: self.hashed_bytes.load(Ordering::Acquire),
            suspects: u64::try_from(found.suspects.len()).unwrap_or(u64::MAX),
            too_large: found.too_large,
            not_looked_at: found.not_looked_at,
            took: started.elapsed(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Found {
    fn see(&mut self, path: EntryPath, state: &EntryState) {
        if matches!(state.kind, EntryKind::File { hash: None }) {
            self.too_large.0 += 1;
            if self.too_large.1.len() < NAMED_MAX {
                self.too_large.1.push((path.clone(), state.size_bytes));
            }
        }
        if !state.is_directory() {
            let identity = (state.identity.device, state.identity.inode);
            self.files.push((identity, path.clone()));
        }
        self.seen.insert(path);
    }

    fn skip(&mut self, path: EntryPath) {
        self.not_looked_at.0 += 1;
        if self.not_looked_at.1.len() < NAMED_MAX {
            self.not_looked_at.1.push(path.clone());
        }
        // What cannot be looked at is not gone.
        self.seen.insert(path);
    }
}

enum Failure {
    Look,
    Ledger(LedgerError),
}

impl From<io::Error> for Failure {
    fn from(_: io::Error) -> Self {
        Self::Look
    }
}

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}
