//! Use cases: the only crate that decides and records.

pub mod egress;
