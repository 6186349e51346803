//! What is counted: plain numbers that only grow, read as a snapshot.
//!
//! Deliberately absent: names and formats of a metrics system, and histograms; whoever exports
//! them chooses. Invariant: counting never blocks and never fails.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($(#[$doc:meta])* $counters:ident, $(#[$snapshot_doc:meta])* $snapshot:ident {
        $($(#[$field_doc:meta])* $field:ident,)*
    }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub(crate) struct $counters {
            $(pub(crate) $field: Counter,)*
        }

        $(#[$snapshot_doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $snapshot {
            $($(#[$field_doc])* pub $field: u64,)*
        }

        impl $counters {
            pub(crate) fn snapshot(&self) -> $snapshot {
                $snapshot { $($field: self.$field.value(),)* }
            }
        }
    };
}

counters! {
    /// Of one model of one backend.
    LaneCounters,
    /// What one model of one backend has done.
    LaneMetrics {
        /// Requests that reached the backend, retries and repairs included.
        attempts,
        /// Of these, those that were answered.
        answers,
        /// Of these, those that failed by the backend's fault.
        failures,
        /// Requests that were refused here: its breaker is open, or too many wait.
        refused,
        /// Times it was loaded.
        loads,
        /// Tokens of requests.
        input_tokens,
        /// Tokens of answers.
        output_tokens,
        /// Time spent waiting for turns, in milliseconds.
        queue_ms,
        /// Time from the turn to the first piece, of answers, in milliseconds.
        first_token_ms,
        /// Time from the turn to the end, of answers, in milliseconds.
        answer_ms,
    }
}

counters! {
    /// Of the whole broker.
    BrokerCounters,
    /// What the broker has done.
    BrokerMetrics {
        /// Chats that were asked for.
        chats,
        /// Requests for vectors.
        embeds,
        /// Answers by the first choice.
        primary,
        /// Answers by another backend or model.
        fallback,
        /// Answers of an equal request before, or at the same time.
        cache,
        /// Answers by the operator's configured text.
        local,
        /// Requests without an answer.
        errors,
        /// Times the same was tried again.
        retries,
        /// Answers that had to be repaired, because their format or choice of tools was wrong.
        repairs,
        /// Requests that joined an equal one.
        joined,
        /// Probes by the background task.
        probes,
    }
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsSnapshot {
    /// Of the whole broker.
    pub broker: BrokerMetrics,
    /// By backend and model.
    pub lanes: Vec<LaneSnapshot>,
}

/// One model of one backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneSnapshot {
    /// The backend's name.
    pub backend: String,
    /// The model, as the backend names it.
    pub model: String,
    /// What it has done.
    pub metrics: LaneMetrics,
}
