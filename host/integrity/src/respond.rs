//! What is done about changes from outside, as the policy of the root says.
//!
//! The invariant: one path is put back at most so many times in so much time. A writer who
//! fights is reported and left alone until then, and the file is put back after it.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use foreshore_domain::integrity::{
    Author, Change, ChangeKind, EntryPath, EntryState, HostAct, RootName, RootPolicy,
};

use crate::batch::Batch;
use crate::error::PutError;
use crate::judge::{PAGE, Turn, WatchedRoot};
use crate::ledger::LedgerError;
use crate::scan::ScanReport;
use crate::watch::WatchState;

/// Paths whose restores are counted; beyond it nothing is put back, and that is reported.
const COUNTED_MAX: usize = 10_000;

/// How often one path is put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestoreRate {
    /// At most so many times …
    pub times: usize,
    /// … in this time.
    pub within: Duration,
}

impl Default for RestoreRate {
    fn default() -> Self {
        Self { times: 5, within: Duration::from_secs(60) }
    }
}

/// Is told what happens to a root, besides the changes, which the ledger is told. It is called
/// in the turn of a path: it must be quick, and must not call the root.
pub trait Observer: Send + Sync + 'static {
    /// Something happened.
    fn report(&self, root: &RootName, report: Report);
}

/// What happened to a root.
#[derive(Debug)]
#[non_exhaustive]
pub enum Report {
    /// A change from outside that people are to hear of: the policy is `alert`, or nothing
    /// else can be done.
    Alert(Box<Change>),
    /// The approved version is back.
    Restored(EntryPath),
    /// The approved version could not be put back; it is tried again.
    NotRestored {
        /// What.
        path: EntryPath,
        /// Why.
        error: PutError,
    },
    /// Somebody changes a file as often as it is put back; the next try is later.
    Fought {
        /// What.
        path: EntryPath,
        /// When it is put back next.
        again_in: Duration,
    },
    /// What somebody put there is out of the root now.
    Quarantined {
        /// What.
        path: EntryPath,
        /// Where it is.
        to: PathBuf,
    },
    /// It could not be moved out of the root.
    NotQuarantined {
        /// What.
        path: EntryPath,
        /// Why.
        error: PutError,
    },
    /// How the root is watched now.
    State(WatchState),
    /// A scan came to its end.
    Scanned(ScanReport),
    /// A scan failed; it is tried again.
    NotScanned(String),
}

/// Counts what was put back.
#[derive(Default)]
pub(crate) struct Responses {
    restored: HashMap<EntryPath, VecDeque<Instant>>,
}

impl Responses {
    /// Counts one more, or says how long to wait.
    fn admit(&mut self, path: &EntryPath, rate: RestoreRate, now: Instant) -> Result<(), Duration> {
        let recent = |at: &Instant| now.duration_since(*at) < rate.within;
        if self.restored.len() >= COUNTED_MAX {
            self.restored.retain(|_, times| times.back().is_some_and(recent));
            if self.restored.len() >= COUNTED_MAX && !self.restored.contains_key(path) {
                return Err(rate.within);
            }
        }
        let times = self.restored.entry(path.clone()).or_default();
        while times.front().is_some_and(|at| !recent(at)) {
            times.pop_front();
        }
        match times.front() {
            Some(first) if times.len() >= rate.times => {
                Err(rate.within.saturating_sub(now.duration_since(*first)))
            }
            None if rate.times == 0 => Err(rate.within),
            _ => {
                times.push_back(now);
                Ok(())
            }
        }
    }
}

impl WatchedRoot {
    /// Responds to recorded changes; gives back what the responses changed.
    pub(crate) fn respond(&self, turn: &mut Turn, changes: &[Change]) -> Vec<Change> {
        let outside = changes.iter().filter(|change| change.author == Author::Outside);
        match self.root.config.policy {
            RootPolicy::Record => Vec::new(),
            RootPolicy::Alert => {
                for change in outside {
                    self.observer.report(self.name(), Report::Alert(Box::new(change.clone())));
                }
                Vec::new()
            }
            RootPolicy::Restore => self.restore_all(turn, outside),
            RootPolicy::Quarantine => outside.flat_map(|change| self.isolate(change)).collect(),
        }
    }

    fn restore_all<'a>(
        &self,
        turn: &mut Turn,
        changes: impl Iterator<Item = &'a Change>,
    ) -> Vec<Change> {
        let mut paths: Vec<EntryPath> = Vec::new();
        for change in changes {
            paths.push(change.path.clone());
            if let ChangeKind::Renamed { from } = &change.kind {
                paths.push(from.clone());
            }
        }
        paths.sort();
        paths.dedup();
        // What is to go goes first, what is in a directory before it; then what is to come,
        // directories before what is in them.
        let wanted: Vec<_> = paths
            .into_iter()
            .map(|path| {
                let approved = self.ledger.approved(self.name(), &path);
                (path, approved)
            })
            .collect();
        let goes = |approved: &Result<Option<EntryState>, _>| matches!(approved, Ok(None));
        let (gone, kept): (Vec<_>, Vec<_>) =
            wanted.into_iter().partition(|(_, approved)| goes(approved));
        let mut restored = Vec::new();
        for (path, approved) in gone.into_iter().rev().chain(kept) {
            let done = approved
                .map_err(PutError::from)
                .and_then(|approved| self.restore_approved(turn, &path, approved.as_ref()));
            match done {
                Ok(changes) => restored.extend(changes),
                Err(error) => {
                    self.suspects.add_in(path.clone(), Duration::from_secs(1));
                    self.observer.report(self.name(), Report::NotRestored { path, error });
                }
            }
        }
        restored
    }

    fn restore_approved(
        &self,
        turn: &mut Turn,
        path: &EntryPath,
        approved: Option<&EntryState>,
    ) -> Result<Vec<Change>, PutError> {
        let known = self.ledger.known(self.name(), path)?;
        let is_approved = match (&known, approved) {
            (None, None) => true,
            (Some(known), Some(approved)) => known.same_as(approved),
            _ => false,
        };
        if is_approved {
            return Ok(Vec::new());
        }
        let rate = self.root.config.restore_rate;
        if let Err(again_in) = turn.responses.admit(path, rate, Instant::now()) {
            self.suspects.add_in(path.clone(), again_in);
            self.observer.report(self.name(), Report::Fought { path: path.clone(), again_in });
            return Ok(Vec::new());
        }
        let changes = self.put_back(path, approved, HostAct::Restore)?;
        self.observer.report(self.name(), Report::Restored(path.clone()));
        Ok(changes)
    }

    /// Puts a state in its place and records that the host did it.
    pub(crate) fn put_back(
        &self,
        path: &EntryPath,
        wanted: Option<&EntryState>,
        act: HostAct,
    ) -> Result<Vec<Change>, PutError> {
        self.place(path, wanted)?;
        let mut batch = Batch::default();
        let look = self.look_at(path)?;
        let seen = look.as_ref().map(|look| &look.state);
        // What the host left is the host's; what somebody made of it since is found next.
        let ours = match (seen, wanted) {
            (Some(seen), Some(wanted)) if seen.same_as(wanted) => Some(seen.clone()),
            (_, wanted) => wanted.cloned(),
        };
        self.differ_state(&mut batch, path, ours.as_ref(), &Author::Host(act))?;
        if ours.as_ref() != seen {
            self.suspects.add(path.clone());
        }
        Ok(self.record(batch)?)
    }

    /// Puts a version of an entry in its place, or nothing, for whoever asks.
    ///
    /// # Errors
    /// [`PutError`]: the place holds what it held.
    pub fn restore(
        &self,
        path: &EntryPath,
        wanted: Option<&EntryState>,
    ) -> Result<Vec<Change>, PutError> {
        let mut turn = self.turn();
        let mut batch = Batch::default();
        // What is there until now is recorded, and kept, as whoever left it; the policy of the
        // root has no say in between.
        self.judge(&mut turn, &mut batch, path, crate::judge::Patience::None)?;
        self.record(batch)?;
        self.put_back(path, wanted, HostAct::Restore)
    }

    /// Has everything put back that is known not to be as approved: what changed while there was
    /// no root to put it into, or nobody to do it.
    pub(crate) fn restore_unapproved(&self) -> Result<(), LedgerError> {
        if self.root.config.policy != RootPolicy::Restore {
            return Ok(());
        }
        let mut after = None;
        loop {
            let page = self.ledger.unapproved(self.name(), after.as_ref(), PAGE)?;
            page.iter().cloned().for_each(|path| self.suspects.add(path));
            after = page.last().cloned();
            if page.len() < PAGE {
                return Ok(());
            }
        }
    }

    /// Looks again at a path that is not as approved, when its turn to be put back has come.
    pub(crate) fn restore_owed(&self, turn: &mut Turn, path: &EntryPath) -> Vec<Change> {
        if self.root.config.policy != RootPolicy::Restore || turn.held.contains_key(path) {
            return Vec::new();
        }
        let states =
            (self.ledger.known(self.name(), path), self.ledger.approved(self.name(), path));
        let (Ok(known), Ok(approved)) = states else { return Vec::new() };
        let Some(kind) = ChangeKind::between(approved.as_ref(), known.as_ref()) else {
            return Vec::new();
        };
        self.restore_all(
            turn,
            std::iter::once(&Change {
                root: self.name().clone(),
                path: path.clone(),
                kind,
                before: approved,
                after: known,
                author: Author::Outside,
            }),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_put_back_so_many_times_and_then_again_when_the_time_is_over() {
        let mut responses = Responses::default();
        let rate = RestoreRate { times: 2, within: Duration::from_secs(10) };
        let path: EntryPath = "a".parse().expect("a path");
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(responses.admit(&path, rate, at(0)), Ok(()));
        assert_eq!(responses.admit(&path, rate, at(1)), Ok(()));
        assert_eq!(responses.admit(&path, rate, at(3)), Err(Duration::from_secs(7)));
        assert_eq!(responses.admit(&"b".parse().expect("a path"), rate, at(3)), Ok(()));
        assert_eq!(responses.admit(&path, rate, at(10)), Ok(()));
        assert_eq!(responses.admit(&path, rate, at(10)), Err(Duration::from_secs(1)));
    }
}
