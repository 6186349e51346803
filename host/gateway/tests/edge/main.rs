//! The HTTP edge against a real host on a real loopback socket, in this process: raw bytes in,
//! raw bytes out. The guest is a few lines of WebAssembly text; engine, loader, door and journal
//! are those that are shipped.

#![allow(unreachable_pub, reason = "one binary: everything in it is private anyhow")]

mod auth;
mod calls;
mod drain;
mod files;
mod guest;
mod harness;
mod listings;
mod malformed;
mod memory;
mod pressure;
mod random;
mod rates;
mod secrets;
mod store;
mod tls;
