//! What a request costs, against what was held for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use foreshore_domain::inference::TokenUsage;
use tokio::time::Instant;

use crate::attempt::elapsed_ms;
use crate::budgets::{Amount, Reservation};
use crate::estimate;
use crate::plan::Plan;

/// What one request has spent so far; settled when it is dropped. An answer that nobody waited
/// for to its end, or that broke off, says nothing of its cost: the request is counted as it was
/// estimated, and of the answer what came.
pub(crate) struct Spending<'a> {
    plan: &'a Plan,
    /// The first is settled; what more is held is given back.
    reserved: Vec<Reservation>,
    /// What the request takes without its answer.
    asked: TokenUsage,
    is_asking: bool,
    /// Bytes of the answer that have come.
    came: Came,
    usage: TokenUsage,
    began: Instant,
    at_unix_ms: u64,
}

/// Counts an answer as it comes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Came(Arc<AtomicUsize>);

impl Came {
    pub(crate) fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl<'a> Spending<'a> {
    pub(crate) fn new(
        plan: &'a Plan,
        reserved: Reservation,
        asked: TokenUsage,
        at_unix_ms: u64,
    ) -> Self {
        Self {
            plan,
            reserved: vec![reserved],
            asked,
            is_asking: false,
            came: Came::default(),
            usage: TokenUsage::default(),
            began: Instant::now(),
            at_unix_ms,
        }
    }

    /// Holds more, until it is settled.
    pub(crate) fn hold(&mut self, more: Reservation) {
        self.reserved.push(more);
    }

    /// Somebody is asked from now on.
    pub(crate) fn begin(&mut self) -> Came {
        self.is_asking = true;
        self.came = Came::default();
        self.came.clone()
    }

    /// It answered, and says what it took.
    pub(crate) fn answered(&mut self, usage: TokenUsage) {
        self.is_asking = false;
        self.usage += usage;
    }

    /// It failed before an answer began.
    pub(crate) fn failed(&mut self) {
        self.is_asking = false;
    }

    /// It broke off, or nobody waits for it any more.
    pub(crate) fn broke_off(&mut self) {
        self.is_asking = false;
        let mut usage = self.asked;
        usage.output_tokens = estimate::tokens(self.came.0.load(Ordering::Relaxed));
        usage.cost_micros = self.plan.cost_micros(&usage);
        self.usage += usage;
    }

    /// What it has taken so far.
    pub(crate) fn usage(&self) -> TokenUsage {
        self.usage
    }
}

impl Drop for Spending<'_> {
    fn drop(&mut self) {
        if self.is_asking {
            self.broke_off();
        }
        let wall_ms = elapsed_ms(self.began);
        let (tokens, cost_micros) = (self.usage.tokens(), self.usage.cost_micros);
        if !self.reserved.is_empty() {
            let now_unix_ms = self.at_unix_ms.saturating_add(wall_ms);
            let actual = Amount { tokens, cost_micros, wall_ms };
            self.reserved.swap_remove(0).reconcile(actual, now_unix_ms);
        }
    }
}
