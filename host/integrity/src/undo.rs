//! Takes all changes of one call back, or none of them.
//!
//! First a plan: each file must be as the call left it, and every version that the plan needs,
//! to go on or to go back, must be kept; whatever is not so is a conflict, and nothing is
//! changed. Then the plan is noted, performed, and closed together with the changes it made. A
//! plan that a crash left open is finished at the next start, or taken back if somebody changed
//! one of its files meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, MutexGuard};

use foreshore_domain::id::CallId;
use foreshore_domain::integrity::{Author, Change, EntryPath, EntryState, HostAct, RootName};

use crate::batch::Batch;
use crate::error::{PutError, UndoError};
use crate::judge::{Patience, Turn, WatchedRoot};
use crate::ledger::LedgerError;

mod plan;

pub(crate) use self::plan::listed;
pub use self::plan::{Conflict, ConflictReason, PlanOutcome, Step, UndoPlan};
use self::plan::{Progress, conflict, same, steps_of};

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
        // All of it is done, and the record is not: that is half-way too.
        let closed = self.changes(plan, |step| step.before.as_ref()).and_then(|changes| {
            self.close(plan, PlanOutcome::Undone, &changes)?;
            Ok(changes)
        });
        closed.map_err(|error| UndoError::Interrupted(as_put_error(error)))
    }

    fn take_back(&self, plan: &UndoPlan, touched: &[&Step]) -> Result<(), PutError> {
        for step in touched.iter().rev() {
            let root = self.root(&step.root).map_err(as_put_error)?;
            let there = root.look_at(&step.path)?;
            if !same(step.after.as_ref(), there.as_ref().map(|look| &look.state)) {
                root.place_as(&plan.call_id.to_string(), &step.path, step.after.as_ref())?;
            }
        }
        let taken_back = UndoPlan {
            call_id: plan.call_id,
            steps: touched.iter().map(|step| (*step).clone()).collect(),
        };
        let changes =
            self.changes(&taken_back, |step| step.after.as_ref()).map_err(as_put_error)?;
        self.close(plan, PlanOutcome::RolledBack, &changes).map_err(as_put_error)
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

fn as_put_error(error: UndoError) -> PutError {
    match error {
        UndoError::Change(error) => PutError::Change(error),
        error => LedgerError { message: error.to_string() }.into(),
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
