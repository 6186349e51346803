//! Budgets: what a request may cost is reserved before it is made, and what it did cost is
//! reconciled after, so that many at once cannot spend the same money.
//!
//! A ledger and nothing else: no clock (the wall clock is passed in), no I/O. Deliberately
//! absent: who has which budget, and keeping what was spent over a restart; that is done by
//! whoever takes [snapshots](Budgets::snapshot) and restores them.
//!
//! Invariants: what is spent and reserved never exceeds a limit when something is reserved, so a
//! budget is overspent by no more than running requests overran their own estimates; a
//! reservation that is dropped is released whole.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foreshore_domain::inference::InferenceError;

/// Milliseconds of a day, as UTC counts them.
const DAY_MS: u64 = 86_400_000;

/// Whose budget.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BudgetKey {
    /// Of what.
    pub scope: BudgetScope,
    /// Its name or id.
    pub name: String,
}

impl BudgetKey {
    /// A key.
    pub fn new(scope: BudgetScope, name: impl Into<String>) -> Self {
        Self { scope, name: name.into() }
    }
}

/// What a budget is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names say it")]
pub enum BudgetScope {
    Tenant,
    Agent,
    Conversation,
    Schedule,
    Turn,
}

impl BudgetScope {
    /// The name in configuration and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Agent => "agent",
            Self::Conversation => "conversation",
            Self::Schedule => "schedule",
            Self::Turn => "turn",
        }
    }
}

/// What is spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// In and out.
    pub tokens: u64,
    /// In millionths of the operator's currency.
    pub cost_micros: u64,
    /// Time spent waiting for models.
    pub wall_ms: u64,
}

impl Amount {
    fn plus(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_add(other.tokens),
            cost_micros: self.cost_micros.saturating_add(other.cost_micros),
            wall_ms: self.wall_ms.saturating_add(other.wall_ms),
        }
    }

    fn minus(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_sub(other.tokens),
            cost_micros: self.cost_micros.saturating_sub(other.cost_micros),
            wall_ms: self.wall_ms.saturating_sub(other.wall_ms),
        }
    }
}

/// The most that may be spent. `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BudgetLimit {
    /// In and out.
    pub tokens: Option<u64>,
    /// In millionths of the operator's currency.
    pub cost_micros: Option<u64>,
    /// Time spent waiting for models.
    pub wall_ms: Option<u64>,
    /// When what was spent is forgotten.
    pub window: Window,
}

/// What a limit is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Window {
    /// All time.
    #[default]
    Total,
    /// Each day, by UTC.
    Day,
}

impl Window {
    fn number(self, at_unix_ms: u64) -> u64 {
        match self {
            Self::Total => 0,
            Self::Day => at_unix_ms / DAY_MS,
        }
    }
}

/// All budgets. Cheap to clone; clones share one ledger.
#[derive(Clone, Debug, Default)]
pub struct Budgets(Arc<Mutex<HashMap<BudgetKey, Account>>>);

#[derive(Clone, Copy, Debug, Default)]
struct Account {
    limit: BudgetLimit,
    /// Which window `spent` is of.
    window: u64,
    spent: Amount,
    reserved: Amount,
}

/// What one budget looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetState {
    /// Whose.
    pub key: BudgetKey,
    /// How much there is.
    pub limit: BudgetLimit,
    /// The number of the window that `spent` is of: days since 1970, or 0.
    pub window: u64,
    /// Spent in it.
    pub spent: Amount,
    /// Held for requests that run.
    pub reserved: Amount,
}

impl Budgets {
    /// Sets a limit, or changes it. What was spent stays spent, unless the window is another.
    pub fn set_limit(&self, key: BudgetKey, limit: BudgetLimit) {
        let mut accounts = self.lock();
        let account = accounts.entry(key).or_default();
        if account.limit.window != limit.window {
            account.spent = Amount::default();
            account.window = 0;
        }
        account.limit = limit;
    }

    /// Forgets a budget, and what was spent of it.
    pub fn remove(&self, key: &BudgetKey) {
        self.lock().remove(key);
    }

    /// Holds what a request may cost, in all of the budgets or in none. Keys without a limit
    /// bound nothing.
    ///
    /// # Errors
    /// [`InferenceError::BudgetExhausted`] names the first budget that has too little left.
    pub fn reserve(
        &self,
        keys: &[BudgetKey],
        estimate: Amount,
        at_unix_ms: u64,
    ) -> Result<Reservation, InferenceError> {
        let mut accounts = self.lock();
        let mut keys: Vec<BudgetKey> =
            keys.iter().filter(|key| accounts.contains_key(key)).cloned().collect();
        keys.sort_unstable();
        keys.dedup();
        for key in &keys {
            if let Some(account) = accounts.get_mut(key) {
                account.roll(at_unix_ms);
                account.has_room(key, estimate)?;
            }
        }
        for key in &keys {
            if let Some(account) = accounts.get_mut(key) {
                account.reserved = account.reserved.plus(estimate);
            }
        }
        drop(accounts);
        Ok(Reservation { budgets: self.clone(), keys, estimate })
    }

    /// What one budget looks like at a time.
    pub fn state(&self, key: &BudgetKey, at_unix_ms: u64) -> Option<BudgetState> {
        let mut accounts = self.lock();
        let account = accounts.get_mut(key)?;
        account.roll(at_unix_ms);
        Some(account.state(key))
    }

    /// All of them, by key. What is reserved belongs to requests that run, and is not restored.
    pub fn snapshot(&self) -> Vec<BudgetState> {
        let accounts = self.lock();
        let mut all: Vec<_> = accounts.iter().map(|(key, account)| account.state(key)).collect();
        drop(accounts);
        all.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        all
    }

    /// Takes up what was spent before a restart.
    pub fn restore(&self, states: Vec<BudgetState>) {
        let mut accounts = self.lock();
        for BudgetState { key, limit, window, spent, reserved: _ } in states {
            let account = accounts.entry(key).or_default();
            *account = Account { limit, window, spent, reserved: account.reserved };
        }
    }

    fn settle(&self, keys: &[BudgetKey], estimate: Amount, actual: Amount, at_unix_ms: u64) {
        let mut accounts = self.lock();
        for key in keys {
            if let Some(account) = accounts.get_mut(key) {
                account.roll(at_unix_ms);
                account.reserved = account.reserved.minus(estimate);
                account.spent = account.spent.plus(actual);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<BudgetKey, Account>> {
        // A std mutex: nothing awaits while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Account {
    /// Forgets what was spent in an earlier window. A clock that goes back forgets nothing.
    fn roll(&mut self, at_unix_ms: u64) {
        let window = self.limit.window.number(at_unix_ms);
        if window > self.window {
            self.window = window;
            self.spent = Amount::default();
        }
    }

    fn has_room(&self, key: &BudgetKey, estimate: Amount) -> Result<(), InferenceError> {
        let held = self.spent.plus(self.reserved);
        let each = [
            ("tokens", self.limit.tokens, held.tokens, estimate.tokens),
            ("cost", self.limit.cost_micros, held.cost_micros, estimate.cost_micros),
            ("time", self.limit.wall_ms, held.wall_ms, estimate.wall_ms),
        ];
        for (what, limit, held, needed) in each {
            let Some(limit) = limit else { continue };
            let left = limit.saturating_sub(held);
            // With nothing left, not even what costs nothing by its estimate is let through.
            if needed > left || left == 0 {
                let budget = format!("{what} of {} {}", key.scope.as_str(), key.name);
                return Err(InferenceError::BudgetExhausted { budget, left, limit, needed });
            }
        }
        Ok(())
    }

    fn state(&self, key: &BudgetKey) -> BudgetState {
        BudgetState {
            key: key.clone(),
            limit: self.limit,
            window: self.window,
            spent: self.spent,
            reserved: self.reserved,
        }
    }
}

/// What is held for one request. Dropping it releases all of it.
#[derive(Debug)]
#[must_use = "dropping it releases what is held"]
pub struct Reservation {
    budgets: Budgets,
    /// Empty once it was reconciled.
    keys: Vec<BudgetKey>,
    estimate: Amount,
}

impl Reservation {
    /// Gives back what was held, and spends what it did cost.
    pub fn reconcile(mut self, actual: Amount, at_unix_ms: u64) {
        let keys = std::mem::take(&mut self.keys);
        self.budgets.settle(&keys, self.estimate, actual, at_unix_ms);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // A time in no later window than any: what was spent is left as it is.
        self.budgets.settle(&self.keys, self.estimate, Amount::default(), 0);
    }
}

#[cfg(test)]
mod tests;
