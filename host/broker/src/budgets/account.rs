//! One budget: what there is, what was spent of it, what is held.

use foreshore_domain::effect::BudgetKind;
use foreshore_domain::inference::BudgetExhausted;

use super::{Amount, BudgetKey, BudgetLimit, BudgetScope, BudgetState, Window};

/// When to come back where running requests may give back what is needed.
const SOON_MS: u64 = 1_000;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Account {
    limit: BudgetLimit,
    /// Which window `spent` is of.
    pub(super) window: u64,
    pub(super) spent: Amount,
    pub(super) reserved: Amount,
    /// Its limit is its own, not that of its scope.
    pub(super) is_own: bool,
}

/// One of the things that are spent, of one account.
struct Spendable {
    what: BudgetKind,
    setting: &'static str,
    limit: Option<u64>,
    spent: u64,
    held: u64,
    needed: u64,
}

impl Account {
    pub(super) fn new(limit: BudgetLimit) -> Self {
        Self { limit, ..Self::default() }
    }

    pub(super) fn set(&mut self, limit: BudgetLimit) {
        if self.limit.window != limit.window {
            self.spent = Amount::default();
            self.window = 0;
        }
        self.limit = limit;
    }

    /// Forgets what was spent in an earlier window. A clock that goes back forgets nothing.
    pub(super) fn roll(&mut self, at_unix_ms: u64) {
        let window = self.limit.window.number(at_unix_ms);
        if window > self.window {
            self.window = window;
            self.spent = Amount::default();
        }
    }

    /// What is left.
    pub(super) fn room(&self) -> Amount {
        let held = self.spent.plus(self.reserved);
        let left =
            |limit: Option<u64>, held| limit.map_or(u64::MAX, |limit| limit.saturating_sub(held));
        Amount {
            tokens: left(self.limit.tokens, held.tokens),
            cost_micros: left(self.limit.cost_micros, held.cost_micros),
            wall_ms: left(self.limit.wall_ms, held.wall_ms),
        }
    }

    pub(super) fn has_room(
        &self,
        key: &BudgetKey,
        least: Amount,
        at_unix_ms: u64,
    ) -> Result<(), BudgetExhausted> {
        for of in self.each(least) {
            let Some(limit) = of.limit else { continue };
            let left = limit.saturating_sub(of.spent).saturating_sub(of.held);
            // With nothing left, not even what costs nothing by its estimate is let through.
            if of.needed <= left && left > 0 {
                continue;
            }
            let resets_at_unix_ms = self.limit.window.ends_at(self.window);
            let comes_back = of.held > 0 && of.needed.max(1) <= limit.saturating_sub(of.spent);
            let until_reset = resets_at_unix_ms.map(|at| at.saturating_sub(at_unix_ms));
            return Err(BudgetExhausted {
                budget: format!("{} {}", key.scope.as_str(), key.name),
                what: of.what,
                limit,
                spent: of.spent,
                held: of.held,
                needed: of.needed.max(1),
                resets_at_unix_ms,
                retry_after_ms: if comes_back { Some(SOON_MS) } else { until_reset },
                setting: self.setting(key, of.setting),
            });
        }
        Ok(())
    }

    pub(super) fn state(&self, key: &BudgetKey) -> BudgetState {
        BudgetState {
            key: key.clone(),
            limit: self.limit,
            spent: self.spent,
            reserved: self.reserved,
            resets_at_unix_ms: self.limit.window.ends_at(self.window),
        }
    }

    fn each(&self, needed: Amount) -> [Spendable; 3] {
        let Self { limit, spent, reserved, .. } = self;
        [
            Spendable {
                what: BudgetKind::Tokens,
                setting: "tokens",
                limit: limit.tokens,
                spent: spent.tokens,
                held: reserved.tokens,
                needed: needed.tokens,
            },
            Spendable {
                what: BudgetKind::Cost,
                setting: "cost",
                limit: limit.cost_micros,
                spent: spent.cost_micros,
                held: reserved.cost_micros,
                needed: needed.cost_micros,
            },
            Spendable {
                what: BudgetKind::Time,
                setting: "wall_ms",
                limit: limit.wall_ms,
                spent: spent.wall_ms,
                held: reserved.wall_ms,
                needed: needed.wall_ms,
            },
        ]
    }

    /// Where the operator says how much there is.
    fn setting(&self, key: &BudgetKey, what: &str) -> String {
        let table = match key.scope {
            BudgetScope::Agent => format!("budgets.agents.{}", key.name),
            scope => format!("budgets.{}", scope.as_str()),
        };
        match self.limit.window {
            Window::Day => format!("{table}.{what}_per_day"),
            Window::Total => format!("{table}.{what}"),
        }
    }
}
