//! Who asks, and how urgently.

use std::time::Duration;

use crate::budgets::BudgetKey;

/// Who asks a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Whose turn it is in a queue, and whose cache is looked into.
    pub tenant: String,
    /// An agent or a person; for people to read.
    pub name: String,
    /// How urgently.
    pub priority: Priority,
    /// The time there is for the answer, if less than the configured limit.
    pub time_limit: Option<Duration>,
    /// The budgets that this is taken from, all of them.
    pub budgets: Vec<BudgetKey>,
    /// The wall clock, in milliseconds since 1970: it says which day a budget is of.
    pub at_unix_ms: u64,
}

impl Caller {
    /// Somebody without budgets or a limit in time.
    pub fn new(tenant: impl Into<String>, name: impl Into<String>, priority: Priority) -> Self {
        Self {
            tenant: tenant.into(),
            name: name.into(),
            priority,
            time_limit: None,
            budgets: Vec::new(),
            at_unix_ms: 0,
        }
    }
}

/// How urgently somebody asks: a person waits, an agent works, nobody waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Priority {
    Interactive,
    Agent,
    Batch,
    Background,
}

impl Priority {
    /// Most urgent first.
    pub const ALL: [Self; 4] = [Self::Interactive, Self::Agent, Self::Batch, Self::Background];

    /// The name in configuration and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Interactive => "interactive",
            Self::Agent => "agent",
            Self::Batch => "batch",
            Self::Background => "background",
        }
    }

    pub(crate) fn index(self) -> usize {
        match self {
            Self::Interactive => 0,
            Self::Agent => 1,
            Self::Batch => 2,
            Self::Background => 3,
        }
    }
}
