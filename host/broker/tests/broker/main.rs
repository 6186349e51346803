//! The crate from outside, against model servers on loopback.

mod chat;
mod stub;
