//! One turn: a plan, its steps, and the end of it.

use foreshore_sdk::agent::{Finish, Reply, Turn, budget, events, reply};
use foreshore_sdk::{Budget, Error, log};
use serde_json::json;

use crate::drafting::{self, Intent};
use crate::execution::{self, Ending};
use crate::parameters::Parameters;
use crate::plan::{Plan, Progress, State};
use crate::report;

/// Takes a turn.
pub(crate) fn take(turn: &Turn, parameters: &Parameters) -> Result<Reply, Error> {
    let message = turn.text();
    let result = begin(&message, parameters).and_then(|mut plan| carry_out(&mut plan, parameters));
    match result {
        Err(Error::Exhausted(what)) => Ok(stopped(Plan::unfinished().as_ref(), what)),
        result => result,
    }
}

/// The plan of the turn: the unfinished one, or a new one.
fn begin(message: &str, parameters: &Parameters) -> Result<Plan, Error> {
    if let Some(mut plan) = Plan::unfinished() {
        match drafting::intent(&plan, message, parameters)? {
            Intent::Continue => {
                reply::phase("resuming", Some(&progress_line(&plan)));
                // The turn before may have ended between a failure and a new plan.
                let failed = (0..plan.steps.len()).find_map(|index| failure(&plan, index));
                if let Some(why) = failed {
                    replace_rest(&mut plan, &why, parameters)?;
                }
                return Ok(plan);
            }
            Intent::Change => {
                replace_rest(&mut plan, &format!("the person wrote: {message}"), parameters)?;
                return Ok(plan);
            }
            Intent::New => {}
        }
    }
    reply::phase("planning", None);
    let plan = drafting::plan(message, parameters)?;
    plan.save()?;
    tell("plan.made", &plan);
    Ok(plan)
}

fn carry_out(plan: &mut Plan, parameters: &Parameters) -> Result<Reply, Error> {
    while let Some(index) = plan.next() {
        let left = budget::iteration();
        if left.iterations == 0 {
            return Ok(stopped(Some(plan), Budget::Calls));
        }
        let line = format!("{}: {}", progress_line(plan), plan.steps[index].draft.description);
        reply::phase("executing", Some(&line));
        match step(plan, index, parameters)? {
            Some(what) => return Ok(stopped(Some(plan), what)),
            None => tell("plan.step", plan),
        }
        if let Some(why) = failure(plan, index) {
            if plan.replans >= parameters.replans_max {
                return give_up(plan, &why);
            }
            match replace_rest(plan, &why, parameters) {
                Err(Error::Failed(message)) => return give_up(plan, &format!("{why}; {message}")),
                result => result?,
            }
        }
    }
    if let Some(open) = plan.steps.iter().find(|step| !matches!(step.progress, Progress::Done(_))) {
        let why = format!("step \"{}\" waits for what was not done", open.draft.id);
        return give_up(plan, &why);
    }
    plan.state = State::Done;
    plan.save()?;
    reply::phase("summarizing", None);
    Ok(Reply::new(report::summary(plan, parameters)))
}

/// Does a step, on record before and after; what is used up, if something is.
fn step(plan: &mut Plan, index: usize, parameters: &Parameters) -> Result<Option<Budget>, Error> {
    let before = plan.steps[index].progress.clone();
    plan.steps[index].progress = Progress::Begun;
    plan.save()?;
    // What it is told depends on how it was found.
    plan.steps[index].progress = before.clone();
    let ending = execution::run(plan, index, parameters);
    let (progress, result) = match ending {
        Ok(Ending::Ended(progress)) => (progress, Ok(None)),
        // It may have done something before the budget ended.
        Ok(Ending::OutOfBudget(what)) => (Progress::Begun, Ok(Some(what))),
        Err(error) => (before, Err(error)),
    };
    plan.steps[index].progress = progress;
    plan.save()?;
    result
}

/// Why the plan cannot go on after a step, if it cannot.
fn failure(plan: &Plan, index: usize) -> Option<String> {
    let step = &plan.steps[index];
    match &step.progress {
        Progress::Failed(reason) => Some(format!("step \"{}\" failed: {reason}", step.draft.id)),
        Progress::Unknown(reason) => {
            Some(format!("it is not known whether step \"{}\" was done: {reason}", step.draft.id))
        }
        _ => None,
    }
}

fn replace_rest(plan: &mut Plan, why: &str, parameters: &Parameters) -> Result<(), Error> {
    reply::phase("replanning", Some(why));
    let drafts = drafting::replan(plan, why, parameters)?;
    plan.replace_rest(drafts);
    plan.save()?;
    tell("plan.made", plan);
    Ok(())
}

fn give_up(plan: &mut Plan, why: &str) -> Result<Reply, Error> {
    plan.state = State::GivenUp;
    plan.save()?;
    let text = format!("I did not reach the goal: {why}.\n\n{}", report::steps(plan));
    reply::text(&text);
    Ok(Reply::new(text).finished(Finish::GaveUp))
}

fn stopped(plan: Option<&Plan>, what: Budget) -> Reply {
    let why = Error::Exhausted(what);
    let text = match plan {
        Some(plan) => format!(
            "I had to stop before I was done ({why}). The plan is kept: write \"continue\" to go \
             on.\n\n{}",
            report::steps(plan)
        ),
        None => format!("I had to stop before I had a plan ({why})."),
    };
    reply::text(&text);
    Reply::new(text).finished(Finish::Budget)
}

fn progress_line(plan: &Plan) -> String {
    format!("step {} of {}", plan.done().count() + 1, plan.steps.len())
}

/// Puts the plan on the conversation's record, where people can follow it.
fn tell(kind: &str, plan: &Plan) {
    let steps: Vec<_> = plan
        .steps
        .iter()
        .map(|step| {
            let is = match step.progress {
                Progress::Pending => "pending",
                Progress::Begun => "begun",
                Progress::Done(_) => "done",
                Progress::Failed(_) => "failed",
                Progress::Unknown(_) => "unknown",
            };
            json!({"id": step.draft.id, "description": step.draft.description, "is": is})
        })
        .collect();
    if let Err(error) = events::emit(kind, &json!({"steps": steps, "replans": plan.replans})) {
        log::warn(format!("the event {kind} was not recorded: {error}"));
    }
}
