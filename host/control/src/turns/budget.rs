//! What a turn has used of its budget: reserved before, reconciled after.
//!
//! Pure: what is counted comes from outcomes alone, live or on record, so a turn that runs
//! again on its record has used at each effect what it had used there before. Deliberately
//! absent: prices, which are in the outcomes. The invariant: **nothing is asked of a model or a
//! tool that the budget does not cover by then**; a model that answers longer than was reserved
//! for may pass it by that much.

use foreshore_domain::agent::TurnBudget;
use foreshore_domain::call::Interruption;
use foreshore_domain::conversation::TurnUsage;
use foreshore_domain::effect::{BudgetKind, Remaining};
use foreshore_domain::inference::TokenUsage;

/// How often an agent is told that a budget is used up; the next time it is stopped.
const TOLD_MAX: u32 = 3;

/// The budget of one turn, and what was used of it.
#[derive(Clone, Debug)]
pub(crate) struct Meter {
    budget: TurnBudget,
    used: TurnUsage,
    /// How often something was refused for want of it.
    told: u32,
}

impl Meter {
    pub(crate) fn new(budget: TurnBudget) -> Self {
        Self { budget, used: TurnUsage::default(), told: 0 }
    }

    pub(crate) fn used(&self) -> TurnUsage {
        self.used
    }

    /// What is left; `wall_ms` were used by now.
    pub(crate) fn left(&self, wall_ms: u64) -> Remaining {
        let (budget, used) = (&self.budget, &self.used);
        Remaining {
            tokens: budget.tokens.get().saturating_sub(tokens(used)),
            cost_micros: budget.cost_micros.get().saturating_sub(used.cost_micros),
            tool_calls: budget.tool_calls.get().saturating_sub(used.tool_calls),
            iterations: budget.iterations.get().saturating_sub(used.iterations),
            wall_ms: budget.wall_ms.get().saturating_sub(wall_ms),
        }
    }

    /// How many tokens an answer may have, if the budget covers a request of so many.
    ///
    /// # Errors
    /// What is used up.
    pub(crate) fn reserve_tokens(&self, request: u64, wall_ms: u64) -> Result<u64, BudgetKind> {
        let left = self.left(wall_ms);
        if left.wall_ms == 0 {
            return Err(BudgetKind::Time);
        }
        if left.cost_micros == 0 {
            return Err(BudgetKind::Cost);
        }
        left.tokens.checked_sub(request).filter(|answer| *answer > 0).ok_or(BudgetKind::Tokens)
    }

    /// How many of `asked` calls of tools the budget covers.
    pub(crate) fn reserve_calls(&self, asked: usize, wall_ms: u64) -> usize {
        let left = self.left(wall_ms);
        if left.wall_ms == 0 {
            return 0;
        }
        asked.min(usize::try_from(left.tool_calls).unwrap_or(usize::MAX))
    }

    /// Counts an answer of a model.
    pub(crate) fn answered(&mut self, usage: &TokenUsage) {
        let used = &mut self.used;
        used.input_tokens = used.input_tokens.saturating_add(usage.input_tokens);
        used.output_tokens = used.output_tokens.saturating_add(usage.output_tokens);
        used.cost_micros = used.cost_micros.saturating_add(usage.cost_micros);
        used.model_calls = used.model_calls.saturating_add(1);
    }

    /// Counts calls of tools.
    pub(crate) fn called(&mut self, calls: u64) {
        self.used.tool_calls = self.used.tool_calls.saturating_add(calls);
    }

    /// Counts what a turn used that this one delegated to.
    pub(crate) fn delegated(&mut self, child: &TurnUsage) {
        let used = &mut self.used;
        used.input_tokens = used.input_tokens.saturating_add(child.input_tokens);
        used.output_tokens = used.output_tokens.saturating_add(child.output_tokens);
        used.cost_micros = used.cost_micros.saturating_add(child.cost_micros);
        used.model_calls = used.model_calls.saturating_add(child.model_calls);
        used.tool_calls = used.tool_calls.saturating_add(child.tool_calls);
    }

    /// Counts a round of the loop.
    ///
    /// # Errors
    /// [`Interruption::OverBudget`]: it went on past the last one.
    pub(crate) fn iterate(&mut self) -> Result<(), Interruption> {
        self.used.iterations = self.used.iterations.saturating_add(1);
        if self.used.iterations > self.budget.iterations.get() {
            return self.tell("iterations", self.budget.iterations.get());
        }
        Ok(())
    }

    /// Counts that something was refused for want of a budget.
    ///
    /// # Errors
    /// [`Interruption::OverBudget`]: it has been told often enough.
    pub(crate) fn refused(&mut self, kind: BudgetKind) -> Result<(), Interruption> {
        let (name, limit) = match kind {
            BudgetKind::Cost => ("cost_micros", self.budget.cost_micros),
            BudgetKind::Calls => ("tool_calls", self.budget.tool_calls),
            BudgetKind::Time => ("wall_ms", self.budget.wall_ms),
            _ => ("tokens", self.budget.tokens),
        };
        self.tell(name, limit.get())
    }

    fn tell(&mut self, budget: &'static str, limit: u64) -> Result<(), Interruption> {
        self.told += 1;
        if self.told > TOLD_MAX {
            return Err(Interruption::OverBudget { budget, limit });
        }
        Ok(())
    }
}

/// Tokens in and out.
pub(crate) fn tokens(usage: &TurnUsage) -> u64 {
    usage.input_tokens.saturating_add(usage.output_tokens)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;

    fn of(value: u64) -> NonZeroU64 {
        NonZeroU64::new(value).expect("not zero")
    }

    fn meter() -> Meter {
        Meter::new(TurnBudget {
            tokens: of(100),
            cost_micros: of(50),
            tool_calls: of(3),
            iterations: of(2),
            wall_ms: of(1_000),
        })
    }

    #[test]
    fn what_is_not_covered_is_not_asked_for() {
        let mut meter = meter();
        assert_eq!(meter.reserve_tokens(40, 0), Ok(60));
        assert_eq!(meter.reserve_tokens(100, 0), Err(BudgetKind::Tokens), "no room for an answer");
        assert_eq!(meter.reserve_tokens(1, 1_000), Err(BudgetKind::Time));
        let usage = TokenUsage { input_tokens: 30, output_tokens: 20, ..TokenUsage::default() };
        meter.answered(&usage);
        assert_eq!(meter.reserve_tokens(49, 0), Ok(1));
        assert_eq!(meter.reserve_tokens(50, 0), Err(BudgetKind::Tokens));
        meter.answered(&TokenUsage { cost_micros: 50, ..TokenUsage::default() });
        assert_eq!(meter.reserve_tokens(1, 0), Err(BudgetKind::Cost));
        assert_eq!(meter.reserve_calls(5, 0), 3);
        meter.called(2);
        assert_eq!((meter.reserve_calls(5, 0), meter.reserve_calls(5, 1_000)), (1, 0));
        assert_eq!(meter.used().model_calls, 2);
    }

    #[test]
    fn what_a_delegated_turn_used_counts() {
        let mut meter = meter();
        let child = TurnUsage { input_tokens: 60, tool_calls: 2, ..TurnUsage::default() };
        meter.delegated(&child);
        let left = meter.left(10);
        assert_eq!((left.tokens, left.tool_calls, left.wall_ms), (40, 1, 990));
    }

    #[test]
    fn an_agent_that_goes_on_asking_is_stopped() {
        let mut meter = meter();
        for _ in 0..TOLD_MAX {
            meter.refused(BudgetKind::Tokens).expect("it is told");
        }
        let stopped = meter.refused(BudgetKind::Calls).expect_err("it was told");
        assert_eq!(stopped, Interruption::OverBudget { budget: "tool_calls", limit: 3 });
    }

    #[test]
    fn rounds_past_the_last_one_count_as_asking() {
        let mut meter = meter();
        for _ in 0..2 + TOLD_MAX {
            meter.iterate().expect("within, or told");
        }
        assert_eq!(meter.left(0).iterations, 0);
        let stopped = meter.iterate().expect_err("it goes on");
        assert_eq!(stopped, Interruption::OverBudget { budget: "iterations", limit: 2 });
    }
}
