//! What a plan is: which paths of a call, in which order, and what stands in the way.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use foreshore_domain::blob::BlobDigest;
use foreshore_domain::id::CallId;
use foreshore_domain::integrity::{Change, ChangeKind, EntryPath, EntryState, RootName};
use serde::{Deserialize, Serialize};

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

/// One step for each path, in the order in which they can be done: what goes, what is in a
/// directory before it; then what comes back, a directory before what is in it.
pub(super) fn steps_of(changes: &[Change]) -> (Vec<Step>, Vec<Conflict>) {
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

pub(super) fn same(one: Option<&EntryState>, other: Option<&EntryState>) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => one.same_as(other),
        _ => false,
    }
}

pub(super) fn conflict(
    step: &Step,
    reason: ConflictReason,
    found: Option<&EntryState>,
) -> Conflict {
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
pub(super) enum Progress {
    NotDone,
    /// A directory is made and does not have its mode yet, or is gone and its file not there.
    Partial,
    Done,
    Foreign,
}

impl Step {
    pub(super) fn progress(&self, there: Option<&EntryState>) -> Progress {
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
