//! The one place that compares what is there with what is known, and has the difference
//! recorded.
//!
//! The invariant: it is one path's turn at a time, from the look to the record, so that a scan,
//! an event, a call's announcement and a restore never record one change twice or out of order.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use foreshore_domain::integrity::{Author, Change, ChangeKind, EntryPath, EntryState, RootName};

use crate::batch::Batch;
use crate::error::{ChangeError, OpenError};
use crate::held::Held;
use crate::ledger::{Ledger, LedgerError};
use crate::look::{Look, look, look_at_directory};
use crate::names::Names;
use crate::respond::{Observer, Responses};
use crate::root::{Root, RootConfig, is_absence};
use crate::suspects::{Suspect, Suspects, Taken};

/// How long a call's open file may keep a look waiting.
const HOLD_MAX: Duration = Duration::from_millis(400);
/// How long a file that changes at every look is waited for.
const STEADY_PATIENCE: Duration = Duration::from_millis(600);
/// Until the next look at what could not be judged.
const AGAIN: Duration = Duration::from_millis(40);
/// How long events hold the turn before what they found is recorded, and calls may come in.
const TURN_MAX: Duration = Duration::from_millis(10);
/// A file larger than this is read before the turn is taken.
const LARGE_BYTES: u64 = 1 << 20;
/// How many known paths are read at once.
pub(crate) const PAGE: usize = 512;

/// A directory whose changes are found and recorded.
pub struct WatchedRoot {
    pub(crate) root: Root,
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) suspects: Suspects,
    turn: Mutex<Turn>,
}

/// What whoever has the turn may change.
#[derive(Default)]
pub(crate) struct Turn {
    /// The paths that calls have open for writing.
    pub(crate) held: HashMap<EntryPath, Arc<Held>>,
    pub(crate) responses: Responses,
    pub(crate) names: Names,
}

/// Whether to put off what a moment may settle.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    None,
    Some,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judged {
    Done,
    /// A call has it open: look again later.
    Held,
    /// It changed while it was read: look again soon.
    Unsteady,
}

impl WatchedRoot {
    /// Opens a directory. Nothing is looked at yet.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(
        config: RootConfig,
        ledger: Arc<dyn Ledger>,
        observer: Arc<dyn Observer>,
    ) -> Result<Arc<Self>, OpenError> {
        let root = Root::open(config)?;
        let (suspects, turn) = (Suspects::default(), Mutex::default());
        Ok(Arc::new(Self { root, ledger, observer, suspects, turn }))
    }

    /// Its name.
    pub fn name(&self) -> &RootName {
        self.root.name()
    }

    /// Whether all of its directory is looked at, but for what is ignored.
    pub fn is_whole(&self) -> bool {
        self.root.config.only.is_empty()
    }

    /// Looks at one path now and records what changed; of a directory that is gone, also what
    /// was below it. Gives back what was recorded, the root's response included.
    ///
    /// # Errors
    /// [`ChangeError`]; then nothing is recorded.
    pub fn check(&self, path: &EntryPath) -> Result<Vec<Change>, ChangeError> {
        let mut turn = self.turn();
        let mut batch = Batch::default();
        self.judge(&mut turn, &mut batch, path, Patience::None)?;
        self.commit(&mut turn, batch)
    }

    /// Looks at many paths, parents first, and queues again what is not to be judged now.
    pub(crate) fn check_taken(&self, taken: &Taken) {
        // A large file is read after the small ones, and without the turn.
        let (large, small): (Vec<_>, Vec<_>) =
            taken.paths.iter().cloned().partition(|(path, _)| self.is_large(path));
        let mut rest = small.as_slice();
        let mut renames = taken.renames.as_slice();
        while !rest.is_empty() {
            let judged = self.check_some(std::mem::take(&mut renames), rest);
            rest = &rest[judged..];
            // Calls wait for the turn too.
            std::thread::yield_now();
        }
        for (path, suspect) in large {
            if let Err(error) = self.check_large(&path, suspect) {
                self.put_off(&path, suspect, &error);
            }
        }
    }

    fn is_large(&self, path: &EntryPath) -> bool {
        let Some((parent, name)) = path.split() else { return false };
        let directory = self.root.directory(&parent);
        let metadata = directory.and_then(|dir| dir.symlink_metadata(OsStr::from_bytes(name)));
        metadata.is_ok_and(|metadata| metadata.is_file() && metadata.len() > LARGE_BYTES)
    }

    /// Looks at a file before it takes the turn. What was seen counts if nothing was recorded of
    /// the path meanwhile, and no call has it open: then nothing that the host did is in it.
    fn check_large(&self, path: &EntryPath, suspect: Suspect) -> Result<(), ChangeError> {
        let before = self.ledger.known(self.name(), path)?;
        let look = self.look_at(path)?;
        let mut turn = self.turn();
        let foreign = !turn.held.contains_key(path)
            && self.root.covers(path)
            && self.ledger.known(self.name(), path)? == before;
        match look {
            Some(look) if foreign && look.steady => {
                let mut batch = Batch::default();
                self.found(&mut turn, &mut batch, path, Some(&look))?;
                self.commit(&mut turn, batch)?;
                self.restore_owed(&mut turn, path);
            }
            _ => {
                drop(turn);
                self.check_some(&[], &[(path.clone(), suspect)]);
            }
        }
        Ok(())
    }

    /// One turn: as many paths as it has time for, and at least one.
    fn check_some(
        &self,
        renames: &[(EntryPath, EntryPath)],
        paths: &[(EntryPath, Suspect)],
    ) -> usize {
        let mut turn = self.turn();
        let started = Instant::now();
        let mut batch = Batch::default();
        for (from, to) in renames {
            if let Err(error) = self.judge_rename(&turn, &mut batch, from, to) {
                tracing::debug!(%error, "a rename is judged as what it did to two names");
            }
        }
        let mut judged = 0;
        for (path, suspect) in paths {
            if judged > 0 && started.elapsed() > TURN_MAX {
                break;
            }
            judged += 1;
            let patient = suspect.since.elapsed() < STEADY_PATIENCE;
            let patience = if patient { Patience::Some } else { Patience::None };
            match self.judge(&mut turn, &mut batch, path, patience) {
                Ok(Judged::Done) => {}
                Ok(Judged::Held) => self.suspects.again(path.clone(), *suspect, HOLD_MAX / 2),
                Ok(Judged::Unsteady) => self.suspects.again(path.clone(), *suspect, AGAIN),
                Err(error) => self.put_off(path, *suspect, &error),
            }
        }
        if let Err(error) = self.commit(&mut turn, batch) {
            for (path, suspect) in &paths[..judged] {
                self.put_off(path, *suspect, &error);
            }
        }
        for (path, _) in &paths[..judged] {
            self.restore_owed(&mut turn, path);
        }
        judged
    }

    fn put_off(&self, path: &EntryPath, suspect: Suspect, error: &ChangeError) {
        tracing::warn!(root = %self.name(), %path, %error, "it is looked at again in a second");
        self.suspects.again(path.clone(), suspect, Duration::from_secs(1));
    }

    pub(crate) fn turn(&self) -> MutexGuard<'_, Turn> {
        // A std mutex: this crate awaits nothing.
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds what changed at one path since the last record.
    pub(crate) fn judge(
        &self,
        turn: &mut Turn,
        batch: &mut Batch,
        path: &EntryPath,
        patience: Patience,
    ) -> Result<Judged, ChangeError> {
        if !self.root.covers(path) || path.names().count() > self.root.config.look.depth_max {
            return Ok(Judged::Done);
        }
        if turn.held.get(path).is_some_and(|held| held.is_spent()) {
            turn.held.remove(path);
        }
        if let Some(held) = turn.held.get(path).cloned() {
            if patience == Patience::Some && !held.is_due(Instant::now(), HOLD_MAX) {
                return Ok(Judged::Held);
            }
            self.settle(turn, batch, &held)?;
            if held.lock().detached {
                turn.held.remove(path);
            }
            return Ok(Judged::Done);
        }
        let look = self.look_at(path)?;
        if patience == Patience::Some && look.as_ref().is_some_and(|look| !look.steady) {
            return Ok(Judged::Unsteady);
        }
        self.found(turn, batch, path, look.as_ref())?;
        Ok(Judged::Done)
    }

    /// Takes what was seen as the work of somebody outside, if it is news.
    fn found(
        &self,
        turn: &mut Turn,
        batch: &mut Batch,
        path: &EntryPath,
        look: Option<&Look>,
    ) -> Result<(), ChangeError> {
        let found = batch.changes.len();
        self.differ(batch, path, look, &Author::Outside)?;
        if let Some(look) = look {
            turn.names.note(path, &look.state);
            // The kernel tells of a change under the name alone by which it was made.
            if look.state.identity.links > 1 && batch.changes.len() > found {
                turn.names.others(path, &look.state).for_each(|other| self.suspects.add(other));
            }
        }
        Ok(())
    }

    /// Takes what was seen as a change by `author`, if it is one.
    pub(crate) fn differ(
        &self,
        batch: &mut Batch,
        path: &EntryPath,
        look: Option<&Look>,
        author: &Author,
    ) -> Result<(), ChangeError> {
        if let Some(look) = look
            && ChangeKind::between(self.known(batch, path)?.as_ref(), Some(&look.state)).is_some()
        {
            self.keep(look)?;
        }
        self.differ_state(batch, path, look.map(|look| &look.state), author)
    }

    /// The same for a state whose bytes are kept.
    pub(crate) fn differ_state(
        &self,
        batch: &mut Batch,
        path: &EntryPath,
        after: Option<&EntryState>,
        author: &Author,
    ) -> Result<(), ChangeError> {
        let before = self.known(batch, path)?;
        let was_directory = before.as_ref().is_some_and(EntryState::is_directory);
        if was_directory && !after.is_some_and(EntryState::is_directory) {
            self.differ_below(batch, path, author)?;
        }
        let Some(kind) = ChangeKind::between(before.as_ref(), after) else {
            if let (Some(before), Some(after)) = (before, after)
                && (before.stamp, before.identity) != (after.stamp, after.identity)
            {
                batch.touched.push((path.clone(), after.clone()));
            }
            return Ok(());
        };
        batch.push(Change {
            root: self.name().clone(),
            path: path.clone(),
            kind,
            before,
            after: after.cloned(),
            author: author.clone(),
        });
        Ok(())
    }

    /// A directory is gone, and so is what was in it.
    fn differ_below(
        &self,
        batch: &mut Batch,
        directory: &EntryPath,
        author: &Author,
    ) -> Result<(), ChangeError> {
        let mut below = self.known_below(directory)?;
        // What is in a directory before the directory.
        below.reverse();
        for path in below {
            if let Some(before) = self.known(batch, &path)? {
                batch.push(Change {
                    root: self.name().clone(),
                    path,
                    kind: ChangeKind::Deleted,
                    before: Some(before),
                    after: None,
                    author: author.clone(),
                });
            }
        }
        Ok(())
    }

    pub(crate) fn known_below(&self, directory: &EntryPath) -> Result<Vec<EntryPath>, LedgerError> {
        let mut paths: Vec<EntryPath> = Vec::new();
        loop {
            let page = self.ledger.known_below(self.name(), directory, paths.last(), PAGE)?;
            let last = page.len() < PAGE;
            paths.extend(page);
            if last {
                return Ok(paths);
            }
        }
    }

    /// The kernel said that `from` became `to`: if both hold what that means, it is one change.
    fn judge_rename(
        &self,
        turn: &Turn,
        batch: &mut Batch,
        from: &EntryPath,
        to: &EntryPath,
    ) -> Result<(), ChangeError> {
        if !self.root.covers(from) || !self.root.covers(to) {
            return Ok(());
        }
        let mut pairs = vec![(from.clone(), to.clone())];
        for path in self.known_below(from)? {
            pairs.extend(path.moved(from, to).map(|moved| (path, moved)));
        }
        for (from, to) in pairs {
            let Some(before) = self.known(batch, &from)? else { continue };
            if turn.held.contains_key(&from) || turn.held.contains_key(&to) {
                continue;
            }
            let (left, came) = (self.look_at(&from)?, self.look_at(&to)?);
            if let (None, None, Some(look)) = (self.known(batch, &to)?, &left, &came)
                && ChangeKind::between(Some(&before), Some(&look.state)).is_none()
            {
                let root = self.name().clone();
                let kind = ChangeKind::Renamed { from };
                let after = Some(look.state.clone());
                let author = Author::Outside;
                batch.push(Change { root, path: to, kind, before: Some(before), after, author });
            } else {
                // Also for what is below a directory that is gone from here: nobody else looks.
                self.differ(batch, &from, left.as_ref(), &Author::Outside)?;
                self.differ(batch, &to, came.as_ref(), &Author::Outside)?;
            }
        }
        Ok(())
    }

    /// Records a batch and does what the root's policy says of it.
    pub(crate) fn commit(&self, turn: &mut Turn, batch: Batch) -> Result<Vec<Change>, ChangeError> {
        let mut changes = self.record(batch)?;
        let responses = self.respond(turn, &changes);
        changes.extend(responses);
        Ok(changes)
    }

    /// Keeps the bytes of what was seen, so that it can be put back.
    pub(crate) fn keep(&self, look: &Look) -> Result<(), LedgerError> {
        if let Some(bytes) = &look.bytes {
            self.ledger.keep(bytes)?;
        }
        if !look.xattrs.is_empty() {
            self.ledger.keep(&look.xattrs)?;
        }
        Ok(())
    }

    pub(crate) fn look_at(&self, path: &EntryPath) -> Result<Option<Look>, ChangeError> {
        self.try_look(path).map_err(|source| ChangeError::Look {
            root: self.name().clone(),
            path: path.clone(),
            source,
        })
    }

    fn try_look(&self, path: &EntryPath) -> io::Result<Option<Look>> {
        let Some((parent, name)) = path.split() else {
            return look_at_directory(&self.root.top()).map(Some);
        };
        match self.root.directory(&parent) {
            Ok(parent) => look(&parent, OsStr::from_bytes(name), self.root.config.look),
            Err(error) if is_absence(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
