//! What a chat costs, against what was held for it.

use foreshore_domain::inference::TokenUsage;
use tokio::time::Instant;

use crate::attempt::elapsed_ms;
use crate::budgets::{Amount, Reservation};
use crate::estimate;
use crate::plan::Candidate;

/// What one chat has spent so far; settled when it is dropped. An answer that nobody waited for
/// to its end, or that broke off, says nothing of its cost: the request is counted as it was
/// estimated, and of the answer what came.
pub(super) struct Spending {
    reserved: Option<Reservation>,
    /// What the request takes without its answer.
    asked: TokenUsage,
    pub(super) is_asking: bool,
    pub(super) usage: TokenUsage,
    began: Instant,
    at_unix_ms: u64,
}

impl Spending {
    pub(super) fn new(reserved: Reservation, asked: TokenUsage, at_unix_ms: u64) -> Self {
        Self {
            reserved: Some(reserved),
            asked,
            is_asking: false,
            usage: TokenUsage::default(),
            began: Instant::now(),
            at_unix_ms,
        }
    }

    pub(super) fn add(&mut self, usage: TokenUsage) {
        self.usage += usage;
    }

    pub(super) fn broke_off(&mut self, candidate: Option<&Candidate>, answer_bytes: usize) {
        let mut usage = self.asked;
        usage.output_tokens = estimate::tokens(answer_bytes);
        usage.cost_micros = candidate.map_or(0, |candidate| candidate.cost_micros(&usage));
        self.add(usage);
    }
}

impl Drop for Spending {
    fn drop(&mut self) {
        if self.is_asking {
            self.add(self.asked);
        }
        let wall_ms = elapsed_ms(self.began);
        let (tokens, cost_micros) = (self.usage.tokens(), self.usage.cost_micros);
        if let Some(reserved) = self.reserved.take() {
            let now_unix_ms = self.at_unix_ms.saturating_add(wall_ms);
            reserved.reconcile(Amount { tokens, cost_micros, wall_ms }, now_unix_ms);
        }
    }
}
