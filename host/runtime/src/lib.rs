//! The sandbox: engine, limits, capabilities, loader and registry. The only crate that names wasmtime.
//!
//! A call goes `Component::call` -> [`call`] (fresh store, every limit) -> guest ->
//! [`capability`] -> the door ([`foreshore_domain::ports::Effects`]) and back as a
//! [`CallReport`]. The crate decides nothing and records nothing: it returns facts.

mod call;
mod engine;
mod error;
mod sandbox;

pub use call::CallReport;
pub use engine::EngineConfig;
pub use error::{EngineError, LinkError};
pub use sandbox::Sandbox;
