//! The crate from outside, against model servers on loopback.

mod breakers;
mod chain;
mod chat;
mod connections;
mod loads;
mod others;
mod stub;
mod support;
mod traps;
