//! A plan: steps, what they need, and how far they are. It is kept in the variable `plan`.

use std::collections::BTreeSet;

use foreshore_sdk::Error;
use foreshore_sdk::agent::variables;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the plan is kept.
const VARIABLE: &str = "plan";

/// A plan, and how far it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) goal: String,
    pub(crate) steps: Vec<Step>,
    pub(crate) state: State,
    /// How often it was made anew.
    pub(crate) replans: u32,
}

/// Where a plan stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    Unfinished,
    Done,
    GivenUp,
}

/// A step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Step {
    #[serde(flatten)]
    pub(crate) draft: Draft,
    pub(crate) progress: Progress,
}

/// How far a step is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is", content = "text")]
pub(crate) enum Progress {
    Pending,
    /// It was begun; if that is all that is known, it may have done something.
    Begun,
    /// What came of it.
    Done(String),
    /// Why not.
    Failed(String),
    /// It may have been done before the host went down.
    Unknown(String),
}

/// A step as a model writes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Draft {
    /// A short name of its own, such as "find-charts".
    pub(crate) id: String,
    /// What is to be done and what the result is, for somebody who knows only this, the goal and
    /// the results of the steps it depends on.
    pub(crate) description: String,
    /// The names of the tools that it needs.
    #[serde(default)]
    pub(crate) tools: Vec<String>,
    /// The ids of the steps whose results it needs.
    #[serde(default)]
    pub(crate) depends_on: Vec<String>,
}

impl Plan {
    pub(crate) fn new(goal: String, drafts: Vec<Draft>) -> Self {
        let steps = drafts.into_iter().map(Step::pending).collect();
        Self { goal, steps, state: State::Unfinished, replans: 0 }
    }

    /// The plan of this conversation that is not finished, if there is one. One that cannot be read
    /// is none.
    pub(crate) fn unfinished() -> Option<Self> {
        let plan = variables::get::<Self>(VARIABLE).ok().flatten()?;
        (plan.state == State::Unfinished).then_some(plan)
    }

    /// # Errors
    /// As `variables::set`.
    pub(crate) fn save(&self) -> Result<(), Error> {
        variables::set(VARIABLE, self).map(|_| ())
    }

    /// The next step that can be taken: the first that is not done and needs nothing that is not.
    pub(crate) fn next(&self) -> Option<usize> {
        let done: BTreeSet<&str> = self.done().map(|(draft, _)| draft.id.as_str()).collect();
        self.steps.iter().position(|step| {
            let can_begin = matches!(step.progress, Progress::Pending | Progress::Begun);
            can_begin && step.draft.depends_on.iter().all(|id| done.contains(id.as_str()))
        })
    }

    /// The steps that are done, with what came of them.
    pub(crate) fn done(&self) -> impl Iterator<Item = (&Draft, &str)> {
        self.steps.iter().filter_map(|step| match &step.progress {
            Progress::Done(result) => Some((&step.draft, result.as_str())),
            _ => None,
        })
    }

    /// The results that a step needs.
    pub(crate) fn needed<'a>(
        &'a self,
        step: &'a Draft,
    ) -> impl Iterator<Item = (&'a Draft, &'a str)> {
        self.done().filter(|(done, _)| step.depends_on.contains(&done.id))
    }

    /// Replaces all that is not done.
    pub(crate) fn replace_rest(&mut self, drafts: Vec<Draft>) {
        self.steps.retain(|step| matches!(step.progress, Progress::Done(_)));
        self.steps.extend(drafts.into_iter().map(Step::pending));
        self.replans += 1;
    }
}

impl Step {
    fn pending(draft: Draft) -> Self {
        Self { draft, progress: Progress::Pending }
    }
}

/// What is wrong with the steps of a plan, in words for who wrote it. `known` are the ids that are
/// done, `tools` the tools there are.
pub(crate) fn fault(
    drafts: &[Draft],
    known: &[&str],
    tools: &[String],
    steps_max: usize,
) -> Option<String> {
    if drafts.is_empty() {
        return Some("a plan has at least one step".to_owned());
    }
    if drafts.len() > steps_max {
        return Some(format!("{} steps, and there may be {steps_max}", drafts.len()));
    }
    let mut ids: BTreeSet<&str> = known.iter().copied().collect();
    for draft in drafts {
        if draft.id.is_empty() || draft.description.trim().is_empty() {
            return Some("each step has an id and a description".to_owned());
        }
        if !ids.insert(&draft.id) {
            return Some(format!("two steps are called \"{}\"", draft.id));
        }
        if let Some(tool) = draft.tools.iter().find(|tool| !tools.contains(tool)) {
            return Some(format!(
                "step \"{}\" wants the tool \"{tool}\", which is not there",
                draft.id
            ));
        }
    }
    for draft in drafts {
        if let Some(id) = draft.depends_on.iter().find(|id| !ids.contains(id.as_str())) {
            return Some(format!("step \"{}\" depends on \"{id}\", which is not there", draft.id));
        }
    }
    circle(drafts, known)
}

/// Steps that wait for each other.
fn circle(drafts: &[Draft], known: &[&str]) -> Option<String> {
    let mut ready: BTreeSet<&str> = known.iter().copied().collect();
    let mut waiting: Vec<&Draft> = drafts.iter().collect();
    loop {
        let before = waiting.len();
        waiting.retain(|draft| {
            let is_ready = draft.depends_on.iter().all(|id| ready.contains(id.as_str()));
            if is_ready {
                ready.insert(&draft.id);
            }
            !is_ready
        });
        if waiting.is_empty() {
            return None;
        }
        if waiting.len() == before {
            let ids: Vec<&str> = waiting.iter().map(|draft| draft.id.as_str()).collect();
            return Some(format!("the steps {} wait for each other", ids.join(", ")));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn draft(id: &str, depends_on: &[&str]) -> Draft {
        Draft {
            id: id.to_owned(),
            description: "Do it.".to_owned(),
            tools: Vec::new(),
            depends_on: depends_on.iter().map(|id| (*id).to_owned()).collect(),
        }
    }

    #[test]
    fn a_plan_that_cannot_be_done_is_told_why() {
        let tools = ["files.read".to_owned()];
        let check = |drafts: &[Draft]| fault(drafts, &["before"], &tools, 3);
        assert_eq!(check(&[draft("a", &["before"]), draft("b", &["a"])]), None);
        let mut armed = draft("a", &[]);
        armed.tools = vec!["files.write".to_owned()];
        let cases = [
            (vec![], "at least one step"),
            (vec![draft("a", &[]); 4], "4 steps, and there may be 3"),
            (vec![draft("", &[])], "an id and a description"),
            (vec![draft("before", &[])], "two steps are called \"before\""),
            (vec![armed], "the tool \"files.write\", which is not there"),
            (vec![draft("a", &["x"])], "depends on \"x\", which is not there"),
            (vec![draft("a", &["a"])], "the steps a wait for each other"),
            (vec![draft("a", &["b"]), draft("b", &["a"]), draft("c", &[])], "the steps a, b wait"),
        ];
        for (drafts, expected) in cases {
            let fault = check(&drafts).expect(expected);
            assert!(fault.contains(expected), "{fault}");
        }
    }

    #[test]
    fn a_step_is_next_when_all_it_needs_is_done() {
        let mut plan = Plan::new("goal".into(), vec![draft("b", &["a"]), draft("a", &[])]);
        assert_eq!(plan.next(), Some(1));
        plan.steps[1].progress = Progress::Failed("no".into());
        assert_eq!(plan.next(), None);
        plan.steps[1].progress = Progress::Done("yes".into());
        assert_eq!(plan.next(), Some(0));
        plan.replace_rest(vec![draft("c", &["a"])]);
        assert_eq!((plan.steps.len(), plan.replans, plan.next()), (2, 1, Some(1)));
    }

    #[test]
    fn a_plan_survives_being_written_down() {
        let mut plan = Plan::new("goal".into(), vec![draft("a", &[]), draft("b", &["a"])]);
        plan.steps[0].progress = Progress::Done("yes".into());
        let text = serde_json::to_string(&plan).expect("JSON");
        assert_eq!(serde_json::from_str::<Plan>(&text).expect("a plan"), plan);
    }

    /// Steps that depend any way on each other, on what is done, and on what is not there.
    fn drafts() -> impl Strategy<Value = Vec<Draft>> {
        let id = prop::sample::select(vec!["a", "b", "c", "d", "e", "done"]);
        let needs = prop::collection::vec(id, 0..3);
        prop::collection::vec(needs, 1..6).prop_map(|steps| {
            let ids = ["a", "b", "c", "d", "e"].into_iter();
            ids.zip(steps).map(|(id, needs)| draft(id, &needs)).collect()
        })
    }

    proptest! {
        #[test]
        fn a_plan_can_be_carried_out_to_its_end_exactly_if_it_has_no_fault(drafts in drafts()) {
            let fault = fault(&drafts, &["done"], &[], 5);
            let before = Step { draft: draft("done", &[]), progress: Progress::Done(String::new()) };
            let mut plan = Plan::new("goal".into(), drafts);
            plan.steps.insert(0, before);
            let mut taken = 0;
            while let Some(index) = plan.next() {
                plan.steps[index].progress = Progress::Done(String::new());
                taken += 1;
                prop_assert!(taken < plan.steps.len());
            }
            prop_assert_eq!(plan.done().count() == plan.steps.len(), fault.is_none(), "{:?}", fault);
        }
    }
}
