//! Directory trees, one entry after the other, without recursion.

use crate::commands::Invocation;
use crate::files::{Kind, Links};
use crate::halt::{Halt, Stop};

/// How deep a tree is walked.
const DEPTH_MAX: usize = 128;

/// How many entries a command looks at.
const ENTRIES_MAX: usize = 200_000;

/// A step of a walk.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) path: String,
    pub(super) kind: Kind,
    pub(super) depth: usize,
    /// What was in a directory has been given; each directory comes once so and once not.
    pub(super) is_after: bool,
}

/// What is below a path, itself first; links are shown and not followed.
pub(super) struct Walk {
    pending: Vec<Step>,
    seen: usize,
}

/// The path of a name in a directory.
pub(super) fn joined(directory: &str, name: &str) -> String {
    if directory.ends_with('/') {
        format!("{directory}{name}")
    } else {
        format!("{directory}/{name}")
    }
}

impl Walk {
    /// Fails where nothing is there.
    pub(super) fn begin(call: &Invocation<'_>, path: &str) -> Result<Self, Halt> {
        let facts = call.shell.at(path, |files, path| files.facts(path, Links::Show))?;
        let first = Step { path: path.to_owned(), kind: facts.kind, depth: 0, is_after: false };
        Ok(Self { pending: vec![first], seen: 0 })
    }

    /// The next step. What cannot be listed is reported, and `status` set.
    pub(super) fn next(
        &mut self,
        call: &mut Invocation<'_>,
        status: &mut i32,
    ) -> Result<Option<Step>, Halt> {
        let Some(step) = self.pending.pop() else { return Ok(None) };
        self.seen += 1;
        if self.seen > ENTRIES_MAX {
            return Err(Halt::Stop(Stop::Held("a command looked at more than 200000 files")));
        }
        if step.kind == Kind::Directory && !step.is_after {
            self.pending.push(Step { is_after: true, ..step.clone() });
            if step.depth < DEPTH_MAX {
                self.push_entries(call, &step, status)?;
            } else {
                call.complain(&format!("{}: is too deep", step.path))?;
                *status = 1;
            }
        }
        Ok(Some(step))
    }

    fn push_entries(
        &mut self,
        call: &mut Invocation<'_>,
        step: &Step,
        status: &mut i32,
    ) -> Result<(), Halt> {
        match call.shell.at(&step.path, |files, path| files.list(path)) {
            Ok(entries) => {
                self.pending.extend(entries.into_iter().rev().map(|entry| Step {
                    path: joined(&step.path, &entry.name),
                    kind: entry.kind,
                    depth: step.depth + 1,
                    is_after: false,
                }));
                Ok(())
            }
            Err(fault) => {
                *status = 1;
                call.report(&fault)
            }
        }
    }

    /// Passes over what is in the directory that was given last.
    pub(super) fn skip(&mut self, step: &Step) {
        while self.pending.last().is_some_and(|next| next.depth > step.depth) {
            self.pending.pop();
        }
    }
}
