//! The crate from outside, on real directories, over a ledger in memory.

mod adversarial;
mod authors;
mod baseline;
mod policies;
mod support;
mod undo;
mod watching;
