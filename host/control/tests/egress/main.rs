//! Outgoing HTTP, seen from the network: loopback servers count connections and keep what they
//! receive, so that "nothing got out" is read there and not from a return code.
#![allow(clippy::unwrap_used, reason = "tests")]

mod answers;
mod denied;
mod list;
mod rebinding;
mod requests;
mod secrets;
mod server;
mod tls;
mod world;
