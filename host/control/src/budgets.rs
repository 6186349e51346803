//! What may be spent on models: each tenant, agent and conversation has so much a day, by UTC.
//!
//! The broker's ledger decides; here is who has how much, and that a restart gives nobody a fresh
//! budget. What was spent is recorded (`budget.spent`) every [`RECORD_EVERY`], at the end of each
//! turn, and when the host goes down, and taken up again at the start. So **a crash forgets at
//! most what was spent in the last two seconds, and the requests that were running**.
//!
//! What conversations spent is recorded where they have a limit, and such a row of the view stays
//! for as long as the journal does.
//!
//! Deliberately absent: what one turn may use, which is `turns/budget.rs`, and what is held for
//! requests that run, which is nobody's once the host is down.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use foreshore_broker::budgets::{
    Amount, BudgetKey, BudgetLimit, BudgetScope, Budgets as Ledger, SpentOn, Window,
};
use foreshore_domain::conversation::{
    BudgetScope as Scope, BudgetSpent, BudgetWindow, Conversation, Fact, Name,
};
use foreshore_domain::event::{NewEvent, Tenant};
use foreshore_domain::inference::BudgetExhausted;
use foreshore_store::{AppendError, Commit, Journal, ReadError};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::clock;

pub use foreshore_broker::budgets::BudgetState;

/// How often what was spent is recorded, if anything was.
const RECORD_EVERY: Duration = Duration::from_secs(2);
/// Events of one commit.
const EVENTS_MAX: usize = 256;
/// A day, by UTC.
const DAY_MS: u64 = 86_400_000;

/// The most that may be spent on a day; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DailyLimit {
    /// In and out.
    pub tokens: Option<u64>,
    /// In millionths of the operator's currency.
    pub cost_micros: Option<u64>,
    /// Time spent waiting for models, in milliseconds.
    pub wall_ms: Option<u64>,
}

impl DailyLimit {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl From<DailyLimit> for BudgetLimit {
    fn from(limit: DailyLimit) -> Self {
        let DailyLimit { tokens, cost_micros, wall_ms } = limit;
        Self { tokens, cost_micros, wall_ms, window: Window::Day }
    }
}

/// Who may spend how much.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BudgetsConfig {
    /// All of a tenant: its agents, and whoever asks models directly.
    pub tenant: DailyLimit,
    /// Agents, by name, in all of their conversations.
    pub agents: BTreeMap<String, DailyLimit>,
    /// Each conversation with an agent.
    pub conversation: DailyLimit,
}

/// The budgets of a host. Cheap to clone.
#[derive(Clone)]
pub struct Budgets {
    ledger: Ledger,
    journal: Journal,
    /// Held while something is recorded: who comes meanwhile waits until it is.
    recording: Arc<Mutex<()>>,
}

impl Budgets {
    /// Says in the ledger who may spend how much, and what of it was spent today.
    ///
    /// # Errors
    /// The journal cannot be read: nobody is given a fresh budget for that.
    pub(crate) fn open(
        ledger: Ledger,
        config: &BudgetsConfig,
        journal: Journal,
        now_unix_ms: u64,
    ) -> Result<Self, ReadError> {
        // What tenants and agents spend is counted without a limit too: it can be seen, and a
        // limit that is set later in the day counts it.
        ledger.set_default(BudgetScope::Tenant, config.tenant.into());
        ledger.set_default(BudgetScope::Agent, DailyLimit::default().into());
        if !config.conversation.is_none() {
            ledger.set_default(BudgetScope::Conversation, config.conversation.into());
        }
        let tenant = Tenant::DEFAULT;
        ledger
            .set_limit(BudgetKey::new(BudgetScope::Tenant, tenant.as_str()), config.tenant.into());
        for (agent, limit) in &config.agents {
            ledger.set_limit(BudgetKey::new(BudgetScope::Agent, agent), (*limit).into());
        }
        let today = now_unix_ms - now_unix_ms % DAY_MS;
        for row in journal.budgets(&tenant)?.all()? {
            // A day that is still to come: the clock went back, and that gives nothing back.
            if row.length_ms == DAY_MS
                && row.starts_at_unix_ms >= today
                && let Some(key) = key(&row.key)
            {
                let spent = Amount {
                    tokens: row.spent.tokens,
                    cost_micros: row.spent.cost_micros,
                    wall_ms: row.spent.wall_ms,
                };
                ledger.restore(&key, row.starts_at_unix_ms, spent);
            }
        }
        Ok(Self { ledger, journal, recording: Arc::default() })
    }

    /// Whether an agent has anything left to spend.
    ///
    /// # Errors
    /// [`BudgetExhausted`] says whose budget is used up.
    pub fn check(
        &self,
        tenant: &Tenant,
        agent: &str,
        conversation: Option<&Conversation>,
    ) -> Result<(), BudgetExhausted> {
        self.ledger.check(&keys(tenant, agent, conversation), clock::now_unix_ms())
    }

    /// All budgets as they stand now, by scope and name.
    pub fn states(&self) -> Vec<BudgetState> {
        self.ledger.states(clock::now_unix_ms())
    }

    /// Puts on record what was spent and is not there yet.
    ///
    /// # Errors
    /// [`AppendError`]: it is tried again with what is spent next.
    pub(crate) async fn record(&self) -> Result<(), AppendError> {
        let _one = self.recording.lock().await;
        let mut unrecorded = self.ledger.take_unrecorded();
        while !unrecorded.is_empty() {
            let later = unrecorded.split_off(unrecorded.len().min(EVENTS_MAX));
            let now = clock::now_unix_ms();
            let events: Vec<_> = unrecorded.iter().filter_map(|spent| event(spent, now)).collect();
            if events.is_empty() {
                unrecorded = later;
                continue;
            }
            let commit = Commit { events, ..Commit::default() };
            if let Err(error) = self.journal.commit(commit).await {
                unrecorded.extend(later);
                self.ledger.put_back(unrecorded);
                return Err(error);
            }
            unrecorded = later;
        }
        Ok(())
    }

    /// Records what is spent, until the host goes down; then [`Self::record`] does it once more.
    pub(crate) async fn keep(self, stop: CancellationToken) {
        let mut every = tokio::time::interval(RECORD_EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = every.tick() => {}
            }
            if let Err(error) = self.record().await {
                tracing::warn!(%error, "what was spent on models is not on record yet");
            }
        }
    }
}

/// The budgets that an agent's requests are taken from.
pub(crate) fn keys(
    tenant: &Tenant,
    agent: &str,
    conversation: Option<&Conversation>,
) -> Vec<BudgetKey> {
    let mut keys = vec![
        BudgetKey::new(BudgetScope::Tenant, tenant.as_str()),
        BudgetKey::new(BudgetScope::Agent, agent),
    ];
    keys.extend(
        conversation.map(|id| BudgetKey::new(BudgetScope::Conversation, id.as_str().to_owned())),
    );
    keys
}

/// The record of what was spent on a day; none for names that no record takes.
fn event(spent: &SpentOn, now_unix_ms: u64) -> Option<NewEvent> {
    let window = BudgetWindow::at(spent.day.saturating_mul(DAY_MS), DAY_MS).ok()?;
    let scopes = spent.keys.iter().filter_map(|key| {
        let name = format!("{}:{}", key.scope.as_str(), key.name);
        Some(Scope { key: Name::parse(name).ok()?, window })
    });
    let Amount { tokens, cost_micros, wall_ms } = spent.amount;
    let spent = BudgetSpent { scopes: scopes.collect(), tokens, cost_micros, wall_ms };
    if spent.scopes.is_empty() {
        return None;
    }
    Some(spent.event(now_unix_ms, Tenant::DEFAULT))
}

/// From the name of a record.
fn key(name: &str) -> Option<BudgetKey> {
    let (scope, name) = name.split_once(':')?;
    let scopes = [BudgetScope::Tenant, BudgetScope::Agent, BudgetScope::Conversation];
    let scope = scopes.into_iter().find(|known| known.as_str() == scope)?;
    Some(BudgetKey::new(scope, name))
}

#[cfg(test)]
mod tests;
