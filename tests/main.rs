//! Black-box tests of the real binary: what a user, a client and an attacker see.
//!
//! One binary, so that it links once. Nothing here reaches into the host: it is started as a
//! process and spoken to over HTTP and on its command line.

#![allow(unreachable_pub, reason = "one binary: everything in it is private anyhow")]

mod agents;
mod approvals;
mod author;
mod capabilities;
mod chat;
mod command_line;
mod contract;
mod denials;
mod egress;
mod files;
mod guest_memory;
mod harness;
mod identity;
mod integrity;
mod kill;
mod lifecycle;
mod logs;
mod meaning;
mod memory;
mod sandbox;
mod secrets;
mod shipped;
mod store;
mod swap;
mod tls;
