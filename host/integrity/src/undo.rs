//! Takes all changes of one call back, or none of them.
//!
//! First a plan: each file must be as the call left it, and every version that the plan needs,
//! to go on or to go back, must be kept; whatever is not so is a conflict, and nothing is
//! changed. Then the plan is noted, performed, and closed together with the changes it made. A
//! plan that a crash left open is finished at the next start, or taken back if somebody changed
//! one of its files meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fmt::{self, Write as _};
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, MutexGuard};

use foreshore_domain::blob::BlobDigest;
use foreshore_domain::id::CallId;
use foreshore_domain::integrity::{
    Author, Change, ChangeKind, EntryPath, EntryState, HostAct, RootName,
};
use serde::{Deserialize, Serialize};

use crate::error::{ChangeError, PutError, UndoError};
use crate::judge::{Batch, Patience, Turn, WatchedRoot};
use crate::ledger::LedgerError;

/// How a call is undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UndoPlan {
    /// Which call; written as text.
    #[serde(with = "call_id")]
    pub call_id: CallId,
    /// What is done, in this order.
    pub steps: Vec<Step>,
}

/// One path of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// In which root.
    pub root: RootName,
    /// Where.
    pub path: EntryPath,
    /// What was there before the call, and is put back.
    pub before: Option<EntryState>,
    /// What the call left, and must be there.
    pub after: Option<EntryState>,
}

/// How a plan ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlanOutcome {
    /// All of it is done.
    Undone,
    /// None of it is done.
    RolledBack,
}

/// Why one path of a call cannot be undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Conflict {
    /// In which root.
    pub root: RootName,
    /// Where.
    pub path: EntryPath,
    /// Why.
    pub reason: ConflictReason,
    /// The hash of what the call left; none for nothing, or what is not hashed.
    pub expected: Option<BlobDigest>,
    /// The hash of what is there.
    pub found: Option<BlobDigest>,
}

/// Why a path cannot be undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ConflictReason {
    /// It is not as the call left it.
    Changed,
    /// Somebody else changed it between two changes of the call.
    ChangedBetween,
    /// A call has it open for writing.
    Open,
    /// The directory that the call made holds what the call did not put there.
    NotEmpty,
    /// The directory that it was in is gone.
    NoDirectory,
    /// A version that is needed is not kept.
    NotKept {
        /// Which, and why.
        message: String,
    },
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match &self.reason {
            ConflictReason::Changed => "changed since",
            ConflictReason::ChangedBetween => "changed by somebody else during the call",
            ConflictReason::Open => "is open for writing",
            ConflictReason::NotEmpty => "holds what the call did not put there",
            ConflictReason::NoDirectory => "has no directory to go to",
            ConflictReason::NotKept { message } => message,
        };
        write!(f, "{} in {}: {why}", self.path, self.root)
    }
}

/// The first few conflicts, for a message.
pub(crate) fn listed(conflicts: &[Conflict]) -> String {
    let mut text = String::new();
    for conflict in conflicts.iter().take(5) {
        let _ = write!(text, "{}{conflict}", if text.is_empty() { "" } else { "; " });
    }
    if conflicts.len() > 5 {
        text.push_str("; …");
    }
    text
}

/// The roots of a plan, each with its turn, in the order of their names.
struct Turns<'a>(BTreeMap<RootName, (&'a WatchedRoot, MutexGuard<'a, Turn>)>);

/// An interrupted plan, and how it ended or why it is still open.
pub type Resumed = (CallId, Result<PlanOutcome, UndoError>);

/// Undoes a call. `changes` are all of its changes, in the order of their records; `roots` must
/// hold every root of theirs, all over one ledger.
///
/// # Errors
/// [`UndoError`].
pub fn undo(
    roots: &[Arc<WatchedRoot>],
    call_id: CallId,
    changes: &[Change],
) -> Result<Vec<Change>, UndoError> {
    let (steps, mut conflicts) = steps_of(changes);
    let mut turns = Turns::take(roots, steps.iter().map(|step| &step.root))?;
    let plan = UndoPlan { call_id, steps };
    turns.find_conflicts(&plan, &mut conflicts)?;
    if !conflicts.is_empty() {
        return Err(UndoError::Conflicts { conflicts });
    }
    let Some(first) = plan.steps.first() else { return Ok(Vec::new()) };
    turns.root(&first.root)?.ledger.plan_opened(&plan)?;
    turns.perform(&plan)
}

/// Finishes, or takes back, the plans that a crash left open; to be called before the roots are
/// watched. Gives back how each ended, or why it is still open.
///
/// # Errors
/// [`LedgerError`]: which plans are open is not known.
pub fn resume(roots: &[Arc<WatchedRoot>]) -> Result<Vec<Resumed>, LedgerError> {
    let Some(first) = roots.first() else { return Ok(Vec::new()) };
    let plans = first.ledger.open_plans()?;
    Ok(plans.into_iter().map(|plan| (plan.call_id, resume_plan(roots, &plan))).collect())
}

fn resume_plan(roots: &[Arc<WatchedRoot>], plan: &UndoPlan) -> Result<PlanOutcome, UndoError> {
    let turns = Turns::take(roots, plan.steps.iter().map(|step| &step.root))?;
    turns.sweep(plan)?;
    let mut states = Vec::with_capacity(plan.steps.len());
    for step in &plan.steps {
        let look = turns.root(&step.root)?.look_at(&step.path)?;
        states.push(step.progress(look.as_ref().map(|look| &look.state)));
    }
    if states.contains(&Progress::Foreign) {
        let touched: Vec<&Step> = plan
            .steps
            .iter()
            .zip(&states)
            .filter(|(_, state)| matches!(state, Progress::Done | Progress::Partial))
            .map(|(step, _)| step)
            .collect();
        turns.take_back(plan, &touched).map_err(UndoError::Interrupted)?;
        return Ok(PlanOutcome::RolledBack);
    }
    turns.perform(plan).map(|_| PlanOutcome::Undone)
}

/// One step for each path, in the order in which they can be done: what goes, what is in a
/// directory before it; then what comes back, a directory before what is in it.
fn steps_of(changes: &[Change]) -> (Vec<Step>, Vec<Conflict>) {
    let mut steps: BTreeMap<(RootName, EntryPath), Step> = BTreeMap::new();
    let mut conflicts = Vec::new();
    let mut touch = |change: &Change,
                     path: &EntryPath,
                     before: Option<&EntryState>,
                     after: Option<&EntryState>| {
        let root = change.root.clone();
        let key = (root.clone(), path.clone());
        let step = steps.entry(key).or_insert_with(|| Step {
            root: root.clone(),
            path: path.clone(),
            before: before.cloned(),
            after: before.cloned(),
        });
        if !same(step.after.as_ref(), before) {
            conflicts.push(conflict(step, ConflictReason::ChangedBetween, before));
        }
        step.after = after.cloned();
    };
    for change in changes {
        let (before, after) = (change.before.as_ref(), change.after.as_ref());
        if let ChangeKind::Renamed { from } = &change.kind {
            touch(change, from, before, None);
            touch(change, &change.path, None, after);
        } else {
            touch(change, &change.path, before, after);
        }
    }
    let differs = |step: &Step| !same(step.before.as_ref(), step.after.as_ref());
    let steps = steps.into_values().filter(differs);
    let (mut goes, comes): (Vec<Step>, Vec<Step>) = steps.partition(|step| step.before.is_none());
    goes.reverse();
    goes.extend(comes);
    (goes, conflicts)
}

fn same(one: Option<&EntryState>, other: Option<&EntryState>) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => one.same_as(other),
        _ => false,
    }
}

fn conflict(step: &Step, reason: ConflictReason, found: Option<&EntryState>) -> Conflict {
    Conflict {
        root: step.root.clone(),
        path: step.path.clone(),
        reason,
        expected: step.after.as_ref().and_then(EntryState::hash),
        found: found.and_then(EntryState::hash),
    }
}

/// How far a step of an interrupted plan had come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    NotDone,
    /// A directory is made and does not have its mode yet, or is gone and its file not there.
    Partial,
    Done,
    Foreign,
}

impl Step {
    fn progress(&self, there: Option<&EntryState>) -> Progress {
        let is_directory = |state: Option<&EntryState>| state.is_some_and(EntryState::is_directory);
        if same(self.before.as_ref(), there) {
            Progress::Done
        } else if same(self.after.as_ref(), there) {
            Progress::NotDone
        } else if is_directory(self.before.as_ref())
            && (is_directory(there) || there.is_none())
            && !is_directory(self.after.as_ref())
            || is_directory(self.after.as_ref()) && there.is_none()
        {
            Progress::Partial
        } else {
            Progress::Foreign
        }
    }
}

impl<'a> Turns<'a> {
    fn take<'b>(
        roots: &'a [Arc<WatchedRoot>],
        names: impl Iterator<Item = &'b RootName>,
    ) -> Result<Self, UndoError> {
        let names: BTreeSet<&RootName> = names.collect();
        let mut turns = BTreeMap::new();
        // In the order of names, so that two undos never wait for each other.
        for name in names {
            let root = roots.iter().find(|root| root.name() == name);
            let root = root.ok_or_else(|| UndoError::UnknownRoot { root: name.clone() })?;
            turns.insert(name.clone(), (root.as_ref(), root.turn()));
        }
        Ok(Self(turns))
    }

    fn root(&self, name: &RootName) -> Result<&'a WatchedRoot, UndoError> {
        let unknown = || UndoError::UnknownRoot { root: name.clone() };
        self.0.get(name).map(|(root, _)| *root).ok_or_else(unknown)
    }

    fn find_conflicts(
        &mut self,
        plan: &UndoPlan,
        conflicts: &mut Vec<Conflict>,
    ) -> Result<(), UndoError> {
        for step in &plan.steps {
            let unknown = || UndoError::UnknownRoot { root: step.root.clone() };
            let (root, turn) = self.0.get_mut(&step.root).ok_or_else(unknown)?;
            if turn.held.contains_key(&step.path) {
                conflicts.push(conflict(step, ConflictReason::Open, None));
                continue;
            }
            let mut batch = Batch::default();
            root.judge(turn, &mut batch, &step.path, Patience::None)?;
            let there = root.known(&batch, &step.path)?;
            root.record(batch)?;
            if !same(step.after.as_ref(), there.as_ref()) {
                conflicts.push(conflict(step, ConflictReason::Changed, there.as_ref()));
                continue;
            }
            let reason = root.obstacle(plan, step)?;
            conflicts.extend(reason.map(|reason| conflict(step, reason, there.as_ref())));
        }
        Ok(())
    }

    fn perform(&self, plan: &UndoPlan) -> Result<Vec<Change>, UndoError> {
        for (done, step) in plan.steps.iter().enumerate() {
            let root = self.root(&step.root)?;
            let placed = root.place_as(&plan.call_id.to_string(), &step.path, step.before.as_ref());
            if let Err(error) = placed {
                // The failed one too: a directory may have gone before its file did not come.
                let touched: Vec<&Step> = plan.steps[..=done].iter().collect();
                return Err(match self.take_back(plan, &touched) {
                    Ok(()) => UndoError::RolledBack(error),
                    Err(error) => UndoError::Interrupted(error),
                });
            }
        }
        let changes = self.changes(plan, |step| step.before.as_ref())?;
        self.close(plan, PlanOutcome::Undone, &changes)?;
        Ok(changes)
    }

    fn take_back(&self, plan: &UndoPlan, touched: &[&Step]) -> Result<(), PutError> {
        let failed = |error: UndoError| match error {
            UndoError::Change(error) => PutError::Change(error),
            error => {
                PutError::Change(ChangeError::Ledger(LedgerError { message: error.to_string() }))
            }
        };
        for step in touched.iter().rev() {
            let root = self.root(&step.root).map_err(failed)?;
            let there = root.look_at(&step.path)?;
            if !same(step.after.as_ref(), there.as_ref().map(|look| &look.state)) {
                root.place_as(&plan.call_id.to_string(), &step.path, step.after.as_ref())?;
            }
        }
        let taken_back = UndoPlan {
            call_id: plan.call_id,
            steps: touched.iter().map(|step| (*step).clone()).collect(),
        };
        let changes = self.changes(&taken_back, |step| step.after.as_ref()).map_err(failed)?;
        self.close(plan, PlanOutcome::RolledBack, &changes).map_err(failed)
    }

    /// What the host changed, against what is known. What somebody did since is found next.
    fn changes(
        &self,
        plan: &UndoPlan,
        left: impl Fn(&Step) -> Option<&EntryState>,
    ) -> Result<Vec<Change>, UndoError> {
        let mut batches: BTreeMap<&RootName, Batch> = BTreeMap::new();
        for step in &plan.steps {
            let root = self.root(&step.root)?;
            let batch = batches.entry(&step.root).or_default();
            let look = root.look_at(&step.path)?;
            let seen = look.as_ref().map(|look| &look.state);
            let left = left(step);
            let left = if same(left, seen) { seen } else { left };
            root.differ_state(batch, &step.path, left, &Author::Host(HostAct::Undo))?;
            root.suspects.add(step.path.clone());
        }
        Ok(batches.into_values().flat_map(|mut batch| std::mem::take(&mut batch.changes)).collect())
    }

    fn close(
        &self,
        plan: &UndoPlan,
        outcome: PlanOutcome,
        changes: &[Change],
    ) -> Result<(), UndoError> {
        let first = self.0.values().next().map(|(root, _)| root);
        let Some(root) = first else { return Ok(()) };
        Ok(root.ledger.plan_closed(plan.call_id, outcome, changes)?)
    }

    /// Removes what a crash left beside the files of a plan.
    fn sweep(&self, plan: &UndoPlan) -> Result<(), UndoError> {
        let prefix = format!(".foreshore-{}-", plan.call_id);
        for step in &plan.steps {
            let root = self.root(&step.root)?;
            let Some((parent, _)) = step.path.split() else { continue };
            let Ok(directory) = root.root.directory(&parent) else { continue };
            let Ok(entries) = directory.entries() else { continue };
            for entry in entries.flatten() {
                if entry.file_name().as_bytes().starts_with(prefix.as_bytes()) {
                    // What stays is found, and recorded, as a file that somebody made.
                    let _ = directory.remove_file(entry.file_name());
                }
            }
        }
        Ok(())
    }
}

impl WatchedRoot {
    /// What stands in the way of a step whose file is as it should be.
    fn obstacle(&self, plan: &UndoPlan, step: &Step) -> Result<Option<ConflictReason>, UndoError> {
        for state in [&step.before, &step.after].into_iter().flatten() {
            match self.kept(&step.path, state) {
                Ok(_) => {}
                Err(PutError::Change(error)) => return Err(error.into()),
                Err(error) => {
                    return Ok(Some(ConflictReason::NotKept { message: error.to_string() }));
                }
            }
        }
        let of_plan = |path: &EntryPath| {
            plan.steps.iter().find(|other| other.root == step.root && other.path == *path)
        };
        let is_directory =
            |state: &Option<EntryState>| state.as_ref().is_some_and(EntryState::is_directory);
        if is_directory(&step.after) && !is_directory(&step.before) {
            let goes = |name: &OsStr| {
                let path = step.path.join(name.as_bytes()).ok();
                path.as_ref().and_then(of_plan).is_some_and(|other| other.before.is_none())
            };
            let entries = self.root.directory(&step.path).and_then(|directory| {
                directory
                    .entries()?
                    .map(|entry| Ok(entry?.file_name()))
                    .collect::<Result<Vec<_>, _>>()
            });
            if !entries.is_ok_and(|names| names.iter().all(|name| goes(name))) {
                return Ok(Some(ConflictReason::NotEmpty));
            }
        }
        if let (Some(_), Some((parent, _))) = (&step.before, step.path.split()) {
            let comes = of_plan(&parent).map(|other| is_directory(&other.before));
            if !comes.unwrap_or_else(|| self.root.directory(&parent).is_ok()) {
                return Ok(Some(ConflictReason::NoDirectory));
            }
        }
        Ok(None)
    }
}

mod call_id {
    use super::*;
    use serde::{Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(id: &CallId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<CallId, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        CallId::parse(&text).ok_or_else(|| D::Error::custom("not a call's id"))
    }
}
