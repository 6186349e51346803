//! One call: what is fixed when it starts, what it uses as it goes, and how it can fail.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::agent::TurnContext;
use crate::component::{ComponentRef, ToolHints};
use crate::denial::Denial;
use crate::grant::Grant;
use crate::id::{ApprovalId, CallId, Digest};
use crate::identity::Principal;
use crate::limits::Limits;
use crate::outcome::LogLine;

/// What the door knows of the call that asks. Shared by the runtime and the door; everything
/// but [`CallContext::meter`] and [`CallContext::denials`] is fixed when the call starts.
pub struct CallContext {
    /// The call.
    pub call_id: CallId,
    /// Who runs.
    pub component: ComponentRef,
    /// Which bytes run.
    pub digest: Digest,
    /// Which tool.
    pub tool: Arc<str>,
    /// How the tool says it behaves.
    pub hints: ToolHints,
    /// On whose behalf. Whose data it sees follows.
    pub principal: Arc<Principal>,
    /// What it may touch.
    pub grant: Arc<Grant>,
    /// What it may use.
    pub limits: Limits,
    /// The turn, where it is an agent's.
    pub turn: Option<Arc<TurnContext>>,
    /// Who watches, if anybody.
    pub observer: Option<Arc<dyn Observer>>,
    /// What the door has counted.
    pub meter: Meter,
    /// What the door has denied, in order, at most 64.
    pub denials: Denials,
}

/// Somebody who watches a call while it runs.
pub trait Observer: Send + Sync {
    /// The guest reported progress.
    fn progress(&self, progress: &Progress);
    /// The guest wrote a line.
    fn log(&self, line: &LogLine);
}

/// How far a call has come.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// How much is done.
    pub done: f64,
    /// How much there is, in the same unit.
    pub total: Option<f64>,
    /// One line for a person.
    pub message: Option<String>,
}

/// What the door counts for a call. Counters only grow.
#[derive(Debug, Default)]
pub struct Meter {
    http_requests: AtomicU64,
    egress_bytes: AtomicU64,
}

impl Meter {
    /// Takes one of `max` outgoing requests; `false` if all are used.
    pub fn reserve_http_request(&self, max: u64) -> bool {
        self.http_requests
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < max).then_some(n + 1))
            .is_ok()
    }

    /// Counts bytes that left the host.
    pub fn add_egress_bytes(&self, bytes: u64) {
        self.egress_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes that left the host so far.
    pub fn egress_bytes(&self) -> u64 {
        self.egress_bytes.load(Ordering::Relaxed)
    }
}

/// The denials of a call.
#[derive(Debug, Default)]
pub struct Denials(Mutex<Vec<Denial>>);

impl Denials {
    const MAX: usize = 64;

    /// Notes a denial; past the 64th, only the fact that there were more matters.
    pub fn push(&self, denial: Denial) {
        // A std mutex: nothing awaits while it is held.
        let mut denials = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if denials.len() < Self::MAX {
            denials.push(denial);
        }
    }

    /// The last denial.
    pub fn last(&self) -> Option<Denial> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).last().cloned()
    }

    /// All of them, taken out.
    pub fn take(&self) -> Vec<Denial> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Who has to do something about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The component's author.
    Guest,
    /// Whoever made the call.
    Caller,
    /// Whoever configures the host.
    Operator,
    /// The host itself, or its machine.
    Host,
}

/// Why a call did not run to its end.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// Nothing has this name.
    #[error("no tool is called \"{tool}\"{}", did_you_mean(.suggestion))]
    UnknownTool {
        /// What was asked for.
        tool: String,
        /// The nearest name there is.
        suggestion: Option<String>,
    },
    /// The arguments do not match the tool's schema.
    #[error("arguments of {tool}: {message} (at \"{pointer}\")")]
    InvalidArguments {
        /// The tool.
        tool: String,
        /// JSON Pointer (RFC 6901) to the part at fault.
        pointer: String,
        /// What is wrong.
        message: String,
    },
    /// Policy said no.
    #[error(transparent)]
    Denied(#[from] Denial),
    /// A limit fired.
    #[error("{component} used all of its {limit}: {allowed} {}", .limit.unit())]
    Limit {
        /// Whose.
        component: ComponentRef,
        /// Which.
        limit: FiredLimit,
        /// How much there was.
        allowed: u64,
    },
    /// The guest crashed.
    #[error("{component} crashed: {message}")]
    Trap {
        /// Whose.
        component: ComponentRef,
        /// What the guest said last, or the trap's name.
        message: String,
    },
    /// A person said no.
    #[error("refused: {message}")]
    Refused {
        /// Why.
        message: String,
    },
    /// A rule says that a person decides, and nobody has yet.
    #[error("a person has to approve this call: {approval} waits for it")]
    ApprovalRequired {
        /// What waits.
        approval: ApprovalId,
        /// Until when it can be decided, in milliseconds since 1970.
        expires_at_unix_ms: u64,
    },
    /// An approval was shown that is not, or is no longer, for this call.
    #[error("approval {approval} does not count for this call: {message}")]
    ApprovalStale {
        /// Which.
        approval: ApprovalId,
        /// What differs, and the way on.
        message: String,
    },
    /// Too much is going on.
    #[error("{reason}; try again in {} ms", .retry_after.as_millis())]
    Overloaded {
        /// What is full.
        reason: &'static str,
        /// When to come back.
        retry_after: Duration,
    },
    /// The host is going down and takes nothing new.
    #[error("the host is shutting down")]
    ShuttingDown,
    /// The turn of an agent was stopped by the host.
    #[error(transparent)]
    Interrupted(#[from] Interruption),
    /// The caller went away; a read was stopped.
    #[error("the caller went away")]
    Cancelled,
    /// The journal takes nothing, so nothing with a side effect runs.
    #[error("the store is read-only until the disk takes writes again: {message}")]
    StoreReadOnly {
        /// What the disk or the store said.
        message: String,
    },
    /// The host's own fault.
    #[error("{message}")]
    Host {
        /// What failed; for the operator's log.
        message: String,
    },
}

/// Why the host stops an agent in the middle of a turn.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Interruption {
    /// It waits for a person or a time; it runs again on its record when the wait is over.
    #[error("the turn waits")]
    Waiting,
    /// Somebody ended it.
    #[error("the turn was cancelled")]
    Cancelled,
    /// It asked for something else than its record says it asked for.
    #[error("the turn left its record at effect {number}: {found} where the record has {recorded}")]
    Diverged {
        /// Which effect, from 0.
        number: u64,
        /// The kind and digest of what is on record.
        recorded: String,
        /// The kind and digest of what it asked for now.
        found: String,
    },
    /// A budget of the turn is used up, and it went on.
    #[error("the turn used all of its {budget}: {limit}")]
    OverBudget {
        /// Which.
        budget: &'static str,
        /// How much there was.
        limit: u64,
    },
    /// What it did could not be recorded; it goes on from its record when the store is back.
    #[error("the turn cannot go on, because it cannot be recorded: {message}")]
    NotRecorded {
        /// What the store said.
        message: String,
    },
    /// The host is going down; the turn goes on when it is back.
    #[error("the host is shutting down; the turn goes on when it is back")]
    ShuttingDown,
}

impl Interruption {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Waiting => "turn_waiting",
            Self::Cancelled => "turn_cancelled",
            Self::Diverged { .. } => "turn_diverged",
            Self::OverBudget { .. } => "budget_exhausted",
            Self::NotRecorded { .. } => "store_read_only",
            Self::ShuttingDown => "shutting_down",
        }
    }

    /// Who has to do something about it.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Waiting | Self::Cancelled => Blame::Caller,
            Self::Diverged { .. } | Self::OverBudget { .. } => Blame::Guest,
            Self::NotRecorded { .. } | Self::ShuttingDown => Blame::Host,
        }
    }
}

/// The limits that end a call when they fire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FiredLimit {
    /// `fuel`.
    Fuel,
    /// `deadline_ms`.
    Deadline,
    /// `memory_max_bytes`, `memories_max`.
    Memory,
    /// `table_elements_max`, `tables_max`.
    Table,
    /// `instances_max`.
    Instances,
    /// `result_max_bytes`.
    Result,
    /// `hostcall_max_bytes`.
    HostCall,
    /// `resources_max`, `handles_max`.
    Handles,
    /// `host_operations_max`.
    HostOperations,
    /// The guest's own stack.
    Stack,
}

impl FiredLimit {
    /// The stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Fuel => "fuel_exhausted",
            Self::Deadline => "deadline_exceeded",
            Self::Memory => "memory_exhausted",
            Self::Table => "table_exhausted",
            Self::Instances => "instances_exhausted",
            Self::Result => "result_too_large",
            Self::HostCall => "hostcall_too_large",
            Self::Handles => "handles_exhausted",
            Self::HostOperations => "host_operations_exhausted",
            Self::Stack => "stack_exhausted",
        }
    }

    /// The name of the setting that raises it, with its section left out.
    pub fn setting(self) -> &'static str {
        match self {
            Self::Fuel => "fuel",
            Self::Deadline => "deadline_ms",
            Self::Memory => "memory_max_bytes",
            Self::Table => "table_elements_max",
            Self::Instances => "instances_max",
            Self::Result => "result_max_bytes",
            Self::HostCall => "hostcall_max_bytes",
            Self::Handles => "handles_max",
            Self::HostOperations => "host_operations_max",
            Self::Stack => "",
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Self::Fuel => "instructions",
            Self::Deadline => "ms",
            Self::Memory | Self::Result | Self::HostCall | Self::Stack => "bytes",
            Self::Table => "elements",
            Self::Instances | Self::Handles | Self::HostOperations => "in number",
        }
    }
}

impl std::fmt::Display for FiredLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Fuel => "fuel",
            Self::Deadline => "time",
            Self::Memory => "memory",
            Self::Table => "tables",
            Self::Instances => "instances",
            Self::Result => "result size",
            Self::HostCall => "host call size",
            Self::Handles => "handles",
            Self::HostOperations => "host operations",
            Self::Stack => "stack",
        })
    }
}

impl CallError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownTool { .. } => "unknown_tool",
            Self::InvalidArguments { .. } => "invalid_arguments",
            Self::Denied(denial) => denial.code.as_str(),
            Self::Limit { limit, .. } => limit.code(),
            Self::Trap { .. } => "guest_trapped",
            Self::Refused { .. } => "refused",
            Self::ApprovalRequired { .. } => "approval_required",
            Self::ApprovalStale { .. } => "approval_stale",
            Self::Overloaded { .. } => "overloaded",
            Self::ShuttingDown => "shutting_down",
            Self::Interrupted(interruption) => interruption.code(),
            Self::Cancelled => "cancelled",
            Self::StoreReadOnly { .. } => "store_read_only",
            Self::Host { .. } => "host_error",
        }
    }

    /// Who has to do something about it.
    pub fn blame(&self) -> Blame {
        match self {
            Self::UnknownTool { .. }
            | Self::InvalidArguments { .. }
            | Self::Refused { .. }
            | Self::ApprovalRequired { .. }
            | Self::ApprovalStale { .. }
            | Self::Cancelled => Blame::Caller,
            Self::Denied(_) => Blame::Operator,
            Self::Limit { .. } | Self::Trap { .. } => Blame::Guest,
            Self::Interrupted(interruption) => interruption.blame(),
            Self::Overloaded { .. }
            | Self::ShuttingDown
            | Self::StoreReadOnly { .. }
            | Self::Host { .. } => Blame::Host,
        }
    }
}

fn did_you_mean(suggestion: &Option<String>) -> String {
    suggestion.as_ref().map(|name| format!("; did you mean \"{name}\"?")).unwrap_or_default()
}
