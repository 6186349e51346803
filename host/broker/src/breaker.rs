//! A circuit breaker: after several failures a backend is left alone for a while, then one
//! caller tries it.
//!
//! A pure state machine: no clock (the time is passed in, in milliseconds of any origin), no
//! lock, no I/O. Deliberately absent: what a failure is. The caller does not report what a
//! backend is not to blame for: a bad request, a missing model, a full queue, a slow load or
//! somebody who went away.
//!
//! Invariants: while it is not closed, at most one lease of a probe is live; a probe that is
//! never reported expires; a success closes it, whoever it belonged to.

use std::collections::VecDeque;

/// When a breaker opens and closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerConfig {
    /// Failures within the window, with no success between them, that open it.
    pub failures: u32,
    /// How long a failure counts.
    pub window_ms: u64,
    /// How long it refuses before it lets one probe through.
    pub open_ms: u64,
    /// How long a probe may take before another is let through.
    pub probe_lease_ms: u64,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self { failures: 5, window_ms: 60_000, open_ms: 15_000, probe_lease_ms: 30_000 }
    }
}

/// What a breaker says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It may go.
    Allowed,
    /// It may go, and it decides whether the others may.
    Probe(Lease),
    /// It may not.
    Refused {
        /// When it is worth while to ask again.
        retry_in_ms: u64,
    },
}

/// The right to be the one probe. Each is given once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease(u64);

/// What a breaker looks like from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Requests go through.
    Closed,
    /// Requests are refused.
    Open,
    /// The time is up, or a probe is under way: everybody but the probe is refused.
    HalfOpen,
}

impl BreakerState {
    /// The name in records and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

/// A breaker.
#[derive(Clone, Debug)]
pub struct Breaker {
    config: BreakerConfig,
    phase: Phase,
    leases: u64,
}

#[derive(Clone, Debug)]
enum Phase {
    /// With the times of the failures that still count, oldest first.
    Closed(VecDeque<u64>),
    Open {
        since_ms: u64,
        probe: Option<Probe>,
    },
}

#[derive(Clone, Copy, Debug)]
struct Probe {
    lease: Lease,
    expires_ms: u64,
}

impl Breaker {
    /// A closed one.
    pub fn new(config: BreakerConfig) -> Self {
        Self { config, phase: Phase::Closed(VecDeque::new()), leases: 0 }
    }

    /// May a request go?
    pub fn decide(&mut self, now_ms: u64) -> Decision {
        let Phase::Open { since_ms, probe } = &mut self.phase else { return Decision::Allowed };
        let opens_ms = since_ms.saturating_add(self.config.open_ms);
        if now_ms < opens_ms {
            return Decision::Refused { retry_in_ms: opens_ms - now_ms };
        }
        if let Some(live) = probe.filter(|probe| now_ms < probe.expires_ms) {
            return Decision::Refused { retry_in_ms: live.expires_ms - now_ms };
        }
        self.leases += 1;
        let lease = Lease(self.leases);
        let expires_ms = now_ms.saturating_add(self.config.probe_lease_ms);
        *probe = Some(Probe { lease, expires_ms });
        Decision::Probe(lease)
    }

    /// A request was answered.
    pub fn succeeded(&mut self) {
        match &mut self.phase {
            Phase::Closed(failures) => failures.clear(),
            Phase::Open { .. } => self.phase = Phase::Closed(VecDeque::new()),
        }
    }

    /// A request failed, and the backend is to blame. `lease` is the one that [`Self::decide`]
    /// gave for it, if it did.
    pub fn failed(&mut self, lease: Option<Lease>, now_ms: u64) {
        match &mut self.phase {
            Phase::Closed(failures) => {
                let oldest_ms = now_ms.saturating_sub(self.config.window_ms);
                while failures.front().is_some_and(|at| *at < oldest_ms) {
                    failures.pop_front();
                }
                failures.push_back(now_ms);
                let enough = usize::try_from(self.config.failures).unwrap_or(usize::MAX);
                if failures.len() >= enough {
                    self.phase = Phase::Open { since_ms: now_ms, probe: None };
                }
            }
            // A request from before it opened says nothing new, nor does an expired probe.
            Phase::Open { since_ms, probe } => {
                if holds(*probe, lease) {
                    *since_ms = now_ms;
                    *probe = None;
                }
            }
        }
    }

    /// A probe ended without saying anything about the backend: another may go at once.
    pub fn released(&mut self, lease: Lease) {
        if let Phase::Open { probe, .. } = &mut self.phase
            && holds(*probe, Some(lease))
        {
            *probe = None;
        }
    }

    /// What it looks like.
    pub fn state(&self, now_ms: u64) -> BreakerState {
        match &self.phase {
            Phase::Closed(_) => BreakerState::Closed,
            Phase::Open { since_ms, .. } => {
                if now_ms < since_ms.saturating_add(self.config.open_ms) {
                    BreakerState::Open
                } else {
                    BreakerState::HalfOpen
                }
            }
        }
    }

    /// Failures that count now; those that opened it are no longer counted.
    pub fn failures(&self, now_ms: u64) -> u32 {
        let Phase::Closed(failures) = &self.phase else { return self.config.failures };
        let oldest_ms = now_ms.saturating_sub(self.config.window_ms);
        let live = failures.iter().filter(|at| **at >= oldest_ms).count();
        u32::try_from(live).unwrap_or(u32::MAX)
    }

    /// Since when it refuses, and when it is worth while to ask again.
    pub fn opened(&self, now_ms: u64) -> Option<Opened> {
        let Phase::Open { since_ms, probe } = &self.phase else { return None };
        let next_ms = match probe.filter(|probe| now_ms < probe.expires_ms) {
            Some(live) => live.expires_ms,
            None => since_ms.saturating_add(self.config.open_ms),
        };
        Some(Opened { since_ms: *since_ms, retry_in_ms: next_ms.saturating_sub(now_ms) })
    }
}

/// How long a breaker has refused, and will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// By the clock that was passed in.
    pub since_ms: u64,
    /// Zero when a probe may go now.
    pub retry_in_ms: u64,
}

fn holds(probe: Option<Probe>, lease: Option<Lease>) -> bool {
    probe.map(|probe| probe.lease) == lease && lease.is_some()
}

#[cfg(test)]
mod tests;
