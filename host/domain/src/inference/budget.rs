//! A budget that has too little left.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::effect::BudgetKind;
use crate::moment::rfc3339;

/// A budget has too little left for what was asked: whose it is, what of it, and when there is
/// more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BudgetExhausted {
    /// Whose: `agent assistant`.
    pub budget: String,
    /// Tokens, cost or time.
    pub what: BudgetKind,
    /// How much there is: tokens, millionths of the operator's currency, or milliseconds.
    pub limit: u64,
    /// What of it was spent.
    pub spent: u64,
    /// What of it requests hold that run now.
    pub held: u64,
    /// What is needed at least.
    pub needed: u64,
    /// When what was spent is forgotten; `None` for a budget that is for good.
    pub resets_at_unix_ms: Option<u64>,
    /// When to come back: soon where running requests may give back enough, else at the reset.
    pub retry_after_ms: Option<u64>,
    /// The key of the configuration that sets the limit: `budgets.agents.assistant.tokens_per_day`.
    pub setting: String,
}

impl BudgetExhausted {
    /// What is left.
    pub fn left(&self) -> u64 {
        self.limit.saturating_sub(self.spent).saturating_sub(self.held)
    }
}

impl fmt::Display for BudgetExhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { budget, limit, spent, held, needed, setting, .. } = self;
        let what = match self.what {
            BudgetKind::Cost => "millionths of money",
            BudgetKind::Time => "ms of waiting for models",
            _ => "tokens",
        };
        write!(f, "the budget of {budget} is used up: {spent} of {limit} {what} are spent")?;
        if *held > 0 {
            write!(f, ", {held} are held by requests that run")?;
        }
        write!(f, ", {needed} are needed")?;
        if let Some(at) = self.resets_at_unix_ms {
            write!(f, "; it begins anew at {}", rfc3339(at))?;
        }
        write!(f, "; {setting} sets it")
    }
}

impl std::error::Error for BudgetExhausted {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_whose_it_is_how_much_there_was_and_when_there_is_more() {
        let mut budget = BudgetExhausted {
            budget: "agent assistant".to_owned(),
            what: BudgetKind::Cost,
            limit: 1_000,
            spent: 900,
            held: 60,
            needed: 41,
            resets_at_unix_ms: Some(86_400_000),
            retry_after_ms: None,
            setting: "budgets.agents.assistant.cost_per_day".to_owned(),
        };
        assert_eq!(budget.left(), 40);
        assert_eq!(
            budget.to_string(),
            "the budget of agent assistant is used up: 900 of 1000 millionths of money are spent, \
             60 are held by requests that run, 41 are needed; it begins anew at \
             1970-01-02T00:00:00.000Z; budgets.agents.assistant.cost_per_day sets it"
        );
        (budget.what, budget.held, budget.resets_at_unix_ms) = (BudgetKind::Tokens, 0, None);
        let text = budget.to_string();
        assert!(text.contains("900 of 1000 tokens are spent, 41 are needed; budgets"), "{text}");
    }
}
