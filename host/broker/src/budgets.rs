//! Budgets: what a request may cost is reserved before it is made, and what it did cost is
//! reconciled after, so that many at once cannot spend the same money.
//!
//! A ledger and nothing else: no clock (the wall clock is passed in), no I/O. Deliberately
//! absent: who has which budget, and keeping what was spent over a restart; that is done by
//! whoever [takes](Budgets::take_unrecorded) what is not on record yet, and
//! [restores](Budgets::restore) it.
//!
//! Invariants: what is spent and reserved never exceeds a limit when something is reserved, so a
//! budget is overspent by no more than running requests overran what was held for them; a
//! reservation that is dropped is released whole; what is spent is handed out to be recorded once.

mod account;
mod unrecorded;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foreshore_domain::inference::BudgetExhausted;

use account::Account;
pub use unrecorded::SpentOn;
use unrecorded::Unrecorded;

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
    const ALL: Self = Self { tokens: u64::MAX, cost_micros: u64::MAX, wall_ms: u64::MAX };

    /// Nothing at all.
    pub fn is_zero(self) -> bool {
        self == Self::default()
    }

    /// The lesser of each.
    pub(crate) fn least(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.min(other.tokens),
            cost_micros: self.cost_micros.min(other.cost_micros),
            wall_ms: self.wall_ms.min(other.wall_ms),
        }
    }

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

    /// When the window with this number ends.
    fn ends_at(self, number: u64) -> Option<u64> {
        match self {
            Self::Total => None,
            Self::Day => Some(number.saturating_add(1).saturating_mul(DAY_MS)),
        }
    }
}

/// All budgets. Cheap to clone; clones share one ledger.
#[derive(Clone, Debug, Default)]
pub struct Budgets(Arc<Mutex<Ledger>>);

#[derive(Debug, Default)]
struct Ledger {
    accounts: HashMap<BudgetKey, Account>,
    /// The limits of whoever has none of their own.
    defaults: HashMap<BudgetScope, BudgetLimit>,
    unrecorded: Unrecorded,
    /// The day on which accounts were last looked through for those of nobody.
    swept_on: u64,
}

/// What one budget looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetState {
    /// Whose.
    pub key: BudgetKey,
    /// How much there is.
    pub limit: BudgetLimit,
    /// Spent in the window that the time is in.
    pub spent: Amount,
    /// Held for requests that run.
    pub reserved: Amount,
    /// When the window ends, if it does.
    pub resets_at_unix_ms: Option<u64>,
}

impl Budgets {
    /// Sets a limit, or changes it. What was spent stays spent, unless the window is another.
    pub fn set_limit(&self, key: BudgetKey, limit: BudgetLimit) {
        let mut ledger = self.lock();
        let account = ledger.accounts.entry(key).or_default();
        account.set(limit);
        account.is_own = true;
    }

    /// The limit of all of a scope that have none of their own; an account is opened for each
    /// when it spends for the first time. Without a default, and without a limit of its own, a
    /// key bounds nothing and what it spends is not counted.
    pub fn set_default(&self, scope: BudgetScope, limit: BudgetLimit) {
        self.lock().defaults.insert(scope, limit);
    }

    /// Holds what a request may cost, in all of the budgets or in none.
    ///
    /// # Errors
    /// [`BudgetExhausted`] names the first budget that has too little left.
    pub fn reserve(
        &self,
        keys: &[BudgetKey],
        estimate: Amount,
        at_unix_ms: u64,
    ) -> Result<Reservation, BudgetExhausted> {
        self.reserve_within(keys, estimate, at_unix_ms, |_| estimate)
    }

    /// As [`Self::reserve`], for a request that can make do with `least`: `fit` is told how much
    /// there is, and says how much is held of it.
    ///
    /// # Errors
    /// [`BudgetExhausted`] names the first budget that has less left than `least`.
    pub fn reserve_within(
        &self,
        keys: &[BudgetKey],
        least: Amount,
        at_unix_ms: u64,
        fit: impl FnOnce(Amount) -> Amount,
    ) -> Result<Reservation, BudgetExhausted> {
        let mut ledger = self.lock();
        let keys = ledger.open(keys, at_unix_ms);
        let mut room = Amount::ALL;
        for key in &keys {
            if let Some(account) = ledger.accounts.get_mut(key) {
                account.roll(at_unix_ms);
                account.has_room(key, least, at_unix_ms)?;
                room = room.least(account.room());
            }
        }
        let held = fit(room).least(room);
        for key in &keys {
            if let Some(account) = ledger.accounts.get_mut(key) {
                account.reserved = account.reserved.plus(held);
            }
        }
        drop(ledger);
        Ok(Reservation { budgets: self.clone(), keys, room, held })
    }

    /// Whether there is anything left in all of the budgets; nothing is held.
    ///
    /// # Errors
    /// [`BudgetExhausted`] names the first budget that has nothing left.
    pub fn check(&self, keys: &[BudgetKey], at_unix_ms: u64) -> Result<(), BudgetExhausted> {
        self.reserve(keys, Amount::default(), at_unix_ms).map(drop)
    }

    /// What one budget looks like at a time.
    pub fn state(&self, key: &BudgetKey, at_unix_ms: u64) -> Option<BudgetState> {
        let mut ledger = self.lock();
        let account = ledger.accounts.get_mut(key)?;
        account.roll(at_unix_ms);
        Some(account.state(key))
    }

    /// All of them at a time, by key.
    pub fn states(&self, at_unix_ms: u64) -> Vec<BudgetState> {
        let mut ledger = self.lock();
        let each = ledger.accounts.iter_mut().map(|(key, account)| {
            account.roll(at_unix_ms);
            account.state(key)
        });
        let mut all: Vec<_> = each.collect();
        drop(ledger);
        all.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        all
    }

    /// Takes up what was spent on a day before a restart; to be asked before anything is
    /// reserved. What nobody counts any more is left out.
    pub fn restore(&self, key: &BudgetKey, at_unix_ms: u64, spent: Amount) {
        let mut ledger = self.lock();
        ledger.open(std::slice::from_ref(key), at_unix_ms);
        if let Some(account) = ledger.accounts.get_mut(key) {
            account.roll(at_unix_ms);
            account.spent = account.spent.plus(spent);
        }
    }

    /// What was spent and is not on record, once: whoever takes it records it, or
    /// [puts it back](Self::put_back).
    pub fn take_unrecorded(&self) -> Vec<SpentOn> {
        self.lock().unrecorded.take()
    }

    /// It could not be recorded: it is handed out again.
    pub fn put_back(&self, spent: Vec<SpentOn>) {
        let mut ledger = self.lock();
        spent.into_iter().for_each(|spent| ledger.unrecorded.add(spent));
    }

    fn settle(&self, keys: &[BudgetKey], held: Amount, actual: Amount, at_unix_ms: u64) {
        let mut ledger = self.lock();
        let mut day = at_unix_ms / DAY_MS;
        for key in keys {
            if let Some(account) = ledger.accounts.get_mut(key) {
                account.roll(at_unix_ms);
                account.reserved = account.reserved.minus(held);
                account.spent = account.spent.plus(actual);
                // A clock that went back: it is recorded where it was counted.
                day = day.max(account.window);
            }
        }
        if !keys.is_empty() && !actual.is_zero() {
            ledger.unrecorded.add(SpentOn { keys: keys.to_vec(), day, amount: actual });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        // A std mutex: nothing awaits while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    /// The keys that count, each once, with an account for each.
    fn open(&mut self, keys: &[BudgetKey], at_unix_ms: u64) -> Vec<BudgetKey> {
        self.sweep(at_unix_ms);
        let mut opened: Vec<BudgetKey> = Vec::with_capacity(keys.len());
        for key in keys {
            if !self.accounts.contains_key(key) {
                let Some(limit) = self.defaults.get(&key.scope) else { continue };
                self.accounts.insert(key.clone(), Account::new(*limit));
            }
            opened.push(key.clone());
        }
        opened.sort_unstable();
        opened.dedup();
        opened
    }

    /// Once a day, accounts go that were opened by default and have spent nothing in their
    /// window: conversations come and go.
    fn sweep(&mut self, at_unix_ms: u64) {
        let today = at_unix_ms / DAY_MS;
        if today <= self.swept_on {
            return;
        }
        self.swept_on = today;
        self.accounts.retain(|_, account| {
            account.roll(at_unix_ms);
            account.is_own || !account.spent.is_zero() || !account.reserved.is_zero()
        });
    }
}

/// What is held for one request. Dropping it releases all of it.
#[derive(Debug)]
#[must_use = "dropping it releases what is held"]
pub struct Reservation {
    budgets: Budgets,
    /// Empty once it was reconciled.
    keys: Vec<BudgetKey>,
    room: Amount,
    held: Amount,
}

impl Reservation {
    /// What is held.
    pub fn held(&self) -> Amount {
        self.held
    }

    /// What there was to hold; [`u64::MAX`] where nothing is limited.
    pub fn room(&self) -> Amount {
        self.room
    }

    /// Gives back what was held, and spends what it did cost.
    pub fn reconcile(mut self, actual: Amount, at_unix_ms: u64) {
        let keys = std::mem::take(&mut self.keys);
        self.budgets.settle(&keys, self.held, actual, at_unix_ms);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // A time in no later window than any: what was spent is left as it is.
        self.budgets.settle(&self.keys, self.held, Amount::default(), 0);
    }
}

#[cfg(test)]
mod tests;
