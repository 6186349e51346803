//! What a guest can ask of the host, one file per capability, each in the same four parts:
//! what grants it (a type of `foreshore_domain::grant`, or nothing), its state, `link`, and
//! the implementation of the generated traits.
//!
//! The invariant: a capability that reaches outside of the sandbox goes through the door.

pub(crate) mod agent;
pub(crate) mod clock;
pub(crate) mod config;
pub(crate) mod filesystem;
pub(crate) mod http;
pub(crate) mod io;
pub(crate) mod keyvalue;
pub(crate) mod log;
pub(crate) mod memory;
pub(crate) mod progress;
pub(crate) mod random;
pub(crate) mod sockets;
pub(crate) mod stdio;
pub(crate) mod told;
