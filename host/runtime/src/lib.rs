//! The sandbox: engine, limits, capabilities, loader and registry. The only crate that names wasmtime.
//!
//! A call goes `Component::call` -> [`call`] (fresh store, every limit) -> guest ->
//! [`capability`] -> the door ([`foreshore_domain::ports::Effects`]) and back as a
//! [`CallReport`]. The crate decides nothing and records nothing: it returns facts.

mod agent;
mod aot_cache;
mod artifact;
mod bindings;
mod call;
mod capability;
mod compile;
mod compile_child;
mod component;
mod content;
mod definitions;
mod ending;
mod engine;
mod engine_hash;
mod error;
pub mod floor;
mod imports;
mod inspect;
mod json_depth;
mod limiter;
mod load_error;
mod loader;
mod open_files;
mod registry;
mod result;
mod sandbox;
mod scheduler;
mod schema;
mod schema_cost;
mod state;
mod turn;

#[cfg(test)]
#[path = "../tests/fixture/mod.rs"]
mod fixture;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use agent::{Agent, AgentDefinitionError};
pub use aot_cache::CacheError;
pub use call::CallReport;
pub use compile::{CompileError, Compiler};
pub use compile_child::compile_child_main;
pub use component::{Component, Origin};
pub use definitions::{DefinitionError, Tool};
pub use engine::EngineConfig;
pub use error::{EngineError, LinkError};
pub use inspect::InspectError;
pub use json_depth::{JSON_DEPTH_MAX, TooDeep, check_json_depth};
pub use load_error::{LoadError, LoadFailure};
pub use loader::{Loader, LoaderConfig, LoaderError, Source, examine};
pub use registry::{Found, NotFound, Refused, Registry, Snapshot};
pub use sandbox::Sandbox;
pub use schema::{SchemaError, SchemaViolation};
pub use turn::{TurnFailure, TurnReport};
