//! What was spent and is not on record yet.

use std::collections::BTreeMap;

use super::{Amount, BudgetKey};

/// What was spent of some budgets on one day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpentOn {
    /// Of which, all of them: each once, in order.
    pub keys: Vec<BudgetKey>,
    /// Days since 1970, by UTC.
    pub day: u64,
    /// How much.
    pub amount: Amount,
}

/// Sums by day and budgets: as many as there are callers, however many requests there were.
#[derive(Debug, Default)]
pub(super) struct Unrecorded(BTreeMap<(u64, Vec<BudgetKey>), Amount>);

impl Unrecorded {
    pub(super) fn add(&mut self, spent: SpentOn) {
        let sum = self.0.entry((spent.day, spent.keys)).or_default();
        *sum = sum.plus(spent.amount);
    }

    pub(super) fn take(&mut self) -> Vec<SpentOn> {
        let taken = std::mem::take(&mut self.0).into_iter();
        taken.map(|((day, keys), amount)| SpentOn { keys, day, amount }).collect()
    }
}
