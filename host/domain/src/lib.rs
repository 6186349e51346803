//! Types, policy and ports of Foreshore: the words that every other crate speaks.
//!
//! Deliberately absent: I/O of any kind, clocks, the names of wasmtime, redb or hyper, and
//! wire formats (those belong to the crate that speaks them).
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod address;
pub mod agent;
pub mod approval;
mod base64_text;
pub mod blob;
pub mod call;
pub mod component;
pub mod conversation;
pub mod denial;
pub mod effect;
pub mod event;
pub mod grant;
pub mod http_rule;
pub mod id;
pub mod identity;
pub mod inference;
pub mod integrity;
pub mod limits;
pub mod memory;
pub mod moment;
pub mod outcome;
pub mod policy;
pub mod ports;
pub mod secret;
pub mod variables;
