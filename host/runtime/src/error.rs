//! What can go wrong before a guest runs, one enum per operation. How a call ends is
//! `foreshore_domain::call::CallError`.

use std::path::PathBuf;

/// The engine could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// A setting that cannot be.
    #[error("{setting} = {value} is refused: {reason}")]
    Setting {
        /// The setting of [`crate::EngineConfig`].
        setting: &'static str,
        /// Its value.
        value: u64,
        /// Why, and what would do.
        reason: &'static str,
    },
    /// The machine does not give what the pool of instances needs.
    #[error(
        "the pool of {slots} instances cannot be made: {message}; lower slots, or raise vm.max_map_count and the limit on address space"
    )]
    Pool {
        /// How many instances were asked for.
        slots: u32,
        /// What wasmtime said.
        message: String,
    },
    /// The host's own interfaces do not link: a fault of this build.
    #[error("the host's interfaces cannot be linked: {message}")]
    Link {
        /// What wasmtime said.
        message: String,
    },
}

/// A component could not be linked to the host.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// It imports what the host does not give, or exports no `foreshore:tool/tool`.
    #[error("the component does not fit the host: {message}")]
    Interface {
        /// What wasmtime said.
        message: String,
    },
    /// A granted directory cannot be opened.
    #[error("mount {}: {source}", host.display())]
    Mount {
        /// The directory on the host.
        host: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A limit that the pool of instances cannot hold to.
    #[error(
        "limit {limit} = {value} is above {setting} = {ceiling}: lower the limit or raise {setting}"
    )]
    Ceiling {
        /// The limit.
        limit: &'static str,
        /// Its value.
        value: u64,
        /// The setting of the engine that bounds it.
        setting: &'static str,
        /// That setting's value.
        ceiling: u64,
    },
}
