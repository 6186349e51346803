//! What an outcome costs a turn. Pure: the same live, on record, and for the books of a turn
//! that is ended without running again.

use foreshore_domain::call::Interruption;
use foreshore_domain::conversation::TurnUsage;
use foreshore_domain::effect::{AgentError, AgentOutcome, BudgetKind};
use foreshore_domain::inference::ServedBy;

use super::budget::Meter;
use super::step::Outcome;

/// The kinds of effects that ask a model.
const MODELS: [&str; 3] = ["infer", "infer-all", "embed"];

/// The books of one turn.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) meter: Meter,
    pub(crate) served_by: Option<ServedBy>,
    /// Side effects of which it is not known whether they happened.
    pub(crate) in_doubt: u64,
    /// A model that was asked for and that no backend has, in the words that the agent was told.
    pub(crate) no_model: Option<String>,
}

impl Account {
    pub(crate) fn new(meter: Meter) -> Self {
        Self { meter, served_by: None, in_doubt: 0, no_model: None }
    }

    /// Counts an outcome; `delegated` is what another turn used for it.
    ///
    /// # Errors
    /// [`Interruption::OverBudget`]: the agent was told often enough.
    pub(crate) fn count(
        &mut self,
        kind: &str,
        outcome: &Outcome,
        delegated: Option<&TurnUsage>,
    ) -> Result<(), Interruption> {
        match outcome {
            Ok(AgentOutcome::Inferred(completion)) => {
                self.meter.answered(&completion.usage);
                self.served_by = Some(completion.served_by.clone());
            }
            Ok(AgentOutcome::InferredAll(completions)) => {
                for completion in completions.iter().flatten() {
                    self.meter.answered(&completion.usage);
                    self.served_by = Some(completion.served_by.clone());
                }
            }
            Ok(AgentOutcome::Embedded(embeddings)) => self.meter.answered(&embeddings.usage),
            Ok(AgentOutcome::Called(results)) => {
                self.meter.called(count(results, has_run));
                self.in_doubt +=
                    count(results, |result| matches!(result, Err(AgentError::UnknownOutcome(_))));
            }
            Err(AgentError::NotFound(model)) if MODELS.contains(&kind) => {
                self.no_model = Some(model.clone());
            }
            Ok(AgentOutcome::Budget(_)) if kind == "iteration" => self.meter.iterate()?,
            _ => {}
        }
        if let Some(delegated) = delegated {
            self.meter.delegated(delegated);
        }
        match refusal(outcome) {
            Some(kind) => self.meter.refused(kind),
            None => Ok(()),
        }
    }
}

fn count<T>(results: &[T], which: impl Fn(&T) -> bool) -> u64 {
    u64::try_from(results.iter().filter(|result| which(result)).count()).unwrap_or(u64::MAX)
}

/// Whether a tool ran, or may have.
fn has_run<T>(result: &Result<T, AgentError>) -> bool {
    !matches!(
        result,
        Err(AgentError::Denied { .. }
            | AgentError::NotFound(_)
            | AgentError::Invalid { .. }
            | AgentError::Exhausted(BudgetKind::Calls))
    )
}

/// What was used up, where that is the answer.
fn refusal(outcome: &Outcome) -> Option<BudgetKind> {
    let of = |error: &AgentError| match error {
        AgentError::Exhausted(
            kind @ (BudgetKind::Tokens | BudgetKind::Cost | BudgetKind::Calls | BudgetKind::Time),
        ) => Some(*kind),
        _ => None,
    };
    match outcome {
        Err(error) => of(error),
        // A tool that ran out of its own time is no sign of an agent that goes on asking.
        Ok(AgentOutcome::Called(results)) => results
            .iter()
            .filter_map(|result| result.as_ref().err().and_then(of))
            .find(|kind| *kind == BudgetKind::Calls),
        Ok(AgentOutcome::InferredAll(results)) => {
            results.iter().find_map(|result| result.as_ref().err().and_then(of))
        }
        Ok(_) => None,
    }
}
