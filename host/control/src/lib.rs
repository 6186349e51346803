//! Use cases: the only crate that decides and records.
//!
//! There is one path to a guest ([`Control::invoke`]) and one door out of it ([`Door`]). All
//! that either decides goes into the journal. Deliberately absent: HTTP to callers, the command
//! line, and the names of wasmtime and redb.
#![forbid(unsafe_code)]

mod admission;
pub mod approvals;
mod arguments;
pub mod budgets;
mod catalog;
mod checkpoints;
mod clock;
mod components;
mod control;
pub mod conversations;
mod directory;
mod effects;
pub mod egress;
mod error;
mod events;
pub mod identities;
mod inference;
pub mod integrity;
mod intents;
mod invoke;
pub mod memory;
mod record;
pub mod secrets;
mod summary;
#[cfg(test)]
mod tests;
pub mod turns;
mod upkeep;
mod watch;

pub use admission::{ConcurrencyConfig, Permit};
pub use budgets::{Budgets, BudgetsConfig, DailyLimit};
pub use checkpoints::{WebhookUrl, WebhookUrlError};
pub use clock::now_unix_ms;
pub use components::Selection;
pub use control::{Control, ControlConfig, Drained, JournalPlace};
pub use conversations::Conversations;
pub use effects::Door;
pub use error::{PutError, RemoveError, StartError};
pub use events::{EventFilter, Page};
pub use identities::Identities;
pub use inference::Inference;
pub use integrity::Integrity;
pub use invoke::Invocation;
pub use memory::Memory;
pub use secrets::{KeyPlace, Secrets};

pub use foreshore_broker::Progress as ModelProgress;
pub use foreshore_integrity::RootConfig;
pub use summary::{Check, ComponentState, ComponentSummary, Readiness, ToolSummary};
pub use turns::{Models, Turns, TurnsConfig};
pub use upkeep::{Backup, Upkeep, UpkeepError};

// What the configuration is made of, so that whoever starts a host needs no other crate.
pub use egress::EgressConfig;
pub use foreshore_runtime::{
    Agent, Compiler, Component, EngineConfig, LoadError, LoadFailure, LoaderConfig, Origin, Source,
    compile_child_main, examine,
};
pub use foreshore_store::{self as store, Journal, JournalConfig};
