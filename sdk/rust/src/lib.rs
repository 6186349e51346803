//! Write tools for Foreshore.
//!
//! A tool is a typed function; a component is a set of tools. The JSON Schema of the arguments
//! and of the result comes from the types, the title and the description from the doc comment.
//!
//! ```
//! use foreshore_sdk::{Error, tool};
//!
//! /// Count the words of a text. A word is what stands between white space.
//! #[tool(read_only, idempotent)]
//! fn word_count(
//!     /// The text to count in.
//!     text: String,
//!     /// Shorter words, in characters, are left out.
//!     min_length: Option<usize>,
//! ) -> Result<String, Error> {
//!     let min_length = min_length.unwrap_or(1);
//!     if min_length == 0 {
//!         return Err(Error::invalid("/min_length", "a word has at least 1 character"));
//!     }
//!     let words = text.split_whitespace().filter(|word| word.chars().count() >= min_length);
//!     Ok(format!("{} words", words.count()))
//! }
//!
//! foreshore_sdk::export!(word_count);
//! # fn main() {}
//! ```
//!
//! `cargo build --release --target wasm32-wasip2` of a `cdylib` with this in its `lib.rs` gives
//! the component; nothing else is needed. The functions stay ordinary functions, so `cargo test`
//! tests them on the machine at hand.
//!
//! What this crate does not do: it grants nothing. What a tool may touch is decided by the
//! operator's policy when it runs, and a tool that is told "no" says so with [`Error::denied`].

// `#[tool]` and the generated bindings name this crate by its path, in here too.
#[allow(unused_extern_crates, reason = "used by what the macros write")]
extern crate self as foreshore_sdk;

#[cfg(feature = "agent")]
pub mod agent;
#[doc(hidden)]
pub mod bindings;
mod content;
mod error;
mod export;
#[cfg(feature = "fs")]
pub mod fs;
#[cfg(feature = "http")]
pub mod http;
pub mod log;
#[cfg(feature = "memory")]
pub mod memory;
pub mod progress;
#[doc(hidden)]
pub mod returns;
mod schema;
mod tool;

pub use bindings::exports::foreshore::tool::tool::{Definition, Hints, Outcome};
pub use bindings::foreshore::types::types::{
    Audience, Budget, Content, ContentAnnotations, ContentBody, Media, Resource, ResourceBody,
};
pub use error::Error;
#[cfg(feature = "agent")]
pub use foreshore_sdk_macros::agent;
pub use foreshore_sdk_macros::tool;
pub use returns::Rendered;
pub use tool::Tool;

// Authors' derives and the code that `#[tool]` writes name these.
pub use schemars::{self, JsonSchema};
pub use serde::{self, Deserialize, Serialize};
pub use serde_json;

/// What the code that `#[tool]` and [`export!`] write needs; no part of the API.
#[doc(hidden)]
pub mod internal {
    #[cfg(feature = "agent")]
    pub use crate::agent::definition as agent_definition;
    pub use crate::export::{call_unknown, distinct, report_panics};
    pub use crate::returns;
    pub use crate::schema::{input_schema, output_schema};
    pub use crate::tool::{Described, definition, parse_arguments};
}

/// The README's example, which `cargo test` compiles.
#[cfg(all(doctest, feature = "agent"))]
#[doc = include_str!("../README.md")]
pub struct Readme;
