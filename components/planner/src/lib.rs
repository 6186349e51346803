//! `planner`: reaches a goal in steps that another agent takes.
//!
//! It has a model make a plan, has each step done by an agent that gets the tools of that step and
//! no others, makes a new plan of the rest where a step fails, and ends with a summary. The
//! invariants:
//!
//! - The plan is on record before and after each step, so a turn that ends early is gone on with in
//!   the next.
//! - A step is given no tool that the planner does not have, and none that the step does not name.
//! - A step whose outcome is not known is never simply done again.
//! - There is an end: steps and new plans are counted.
//!
//! Deliberately absent: doing anything itself.

mod drafting;
mod execution;
mod parameters;
mod plan;
mod report;
mod turn;

use foreshore_sdk::agent::{Reply, Turn};
use foreshore_sdk::{Error, agent};

use crate::parameters::Parameters;

/// Reach a goal in steps. It makes a plan, has each step done by the agent `assistant` with only
/// the tools of that step, plans anew where a step fails, keeps the plan in the variable `plan`, and
/// goes on with an unfinished one in the next turn. Use it for what takes several steps that depend
/// on each other; for a question, ask `assistant`.
#[agent(title = "Planner")]
fn planner(turn: Turn, parameters: Parameters) -> Result<Reply, Error> {
    turn::take(&turn, &parameters.checked()?)
}

foreshore_sdk::export_agent!(planner);

#[cfg(test)]
mod tests;
