//! `panel`: several models or prompts answer, and a judge decides.
//!
//! The members are asked at once and know nothing of each other; the judge is given their answers
//! without their names. The invariants: a member that fails is left out and said to be; one answer
//! is enough; what the judge says names an answer there is, or it is not taken.

mod judging;
mod members;
mod parameters;
mod turn;

use foreshore_sdk::agent::{Reply, Turn};
use foreshore_sdk::{Error, agent};

use crate::parameters::Parameters;

/// Have several models or prompts answer at once, and a judge choose the best answer or make one of
/// them all. Use it for a question that is worth several answers; it calls no tools.
#[agent(title = "Panel")]
fn panel(turn: Turn, parameters: Parameters) -> Result<Reply, Error> {
    turn::take(&turn, &parameters.checked()?)
}

foreshore_sdk::export_agent!(panel);

#[cfg(test)]
mod tests;
