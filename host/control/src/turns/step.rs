//! One effect on its way: its place on the record, and what came of it.

use foreshore_domain::conversation::TurnUsage;
use foreshore_domain::effect::{AgentError, AgentOutcome};
use foreshore_store::Condition;

use super::payload::Entry;
use super::record::{Open, Recorded};
use super::request::Request;

/// What an effect came to, as the agent is told.
pub(crate) type Outcome = Result<AgentOutcome, AgentError>;

/// Where an effect stands.
pub(crate) enum Place {
    /// On record: this is its outcome.
    Recorded(Box<Recorded>),
    /// Past the record; what is known of an attempt that a crash cut short.
    Live(Box<Step>),
}

/// An effect that is performed now.
pub(crate) struct Step {
    pub(crate) number: u64,
    pub(crate) request: Request,
    pub(crate) open: Option<Open>,
}

/// What came of an effect that was performed.
pub(crate) struct Done {
    pub(crate) outcome: Outcome,
    /// What is recorded in the same commit, before the outcome.
    pub(crate) entry: Entry,
    /// What must hold for it.
    pub(crate) conditions: Vec<Condition>,
    pub(crate) weight: Weight,
    /// What a turn used that this one delegated to.
    pub(crate) delegated: Option<TurnUsage>,
}

/// Whether an effect can be performed again as if it had not been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    /// It can.
    Read,
    /// It cost or changed something: on disk before the agent hears of it.
    Durable,
}

impl Done {
    pub(crate) fn read(outcome: Outcome) -> Self {
        Self::new(outcome, Weight::Read)
    }

    pub(crate) fn durable(outcome: Outcome) -> Self {
        Self::new(outcome, Weight::Durable)
    }

    fn new(outcome: Outcome, weight: Weight) -> Self {
        Self { outcome, entry: Entry::default(), conditions: Vec::new(), weight, delegated: None }
    }
}
