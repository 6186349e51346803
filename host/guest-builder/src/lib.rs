//! Builds guests, for build scripts: makes sure of the target, compiles a WebAssembly workspace in
//! its own target directory, and embeds what comes of it.
//!
//! It deliberately knows nothing of components beyond their files; the loader judges those. It
//! changes nothing outside the given target directory, but for the toolchain's missing target.
//!
//! The `main` of a build script that embeds a workspace of guests:
//!
//! ```no_run
//! let workspace = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../components");
//! foreshore_guest_builder::embed_or_exit(&workspace, Some("FORESHORE_COMPONENTS"));
//! ```
//!
//! and `include!(concat!(env!("OUT_DIR"), "/components.rs"))` in the crate is then an expression
//! `&[(name, version, bytes)]` of type `&[(&str, &str, &[u8])]`, in the order of names.

mod build;
mod embed;
mod environment;
mod identity;
mod target;

pub use build::{BuildError, BuiltComponent, build};
pub use embed::{EmbedError, embed, embed_or_exit, guest_target_directory, prebuilt, write};
pub use target::{TargetError, ensure_target};
