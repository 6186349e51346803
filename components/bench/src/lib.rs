//! The guest of the benchmarks.

mod kernels;

use std::collections::HashMap;

use foreshore_sdk::{Error, tool};
use schemars::JsonSchema;
use serde::Serialize;

/// A sum.
#[derive(Serialize, JsonSchema)]
struct Sum {
    /// `a + b`.
    sum: i64,
}

/// Add two numbers. Changes nothing.
#[tool(read_only, idempotent)]
fn add(a: i64, b: i64) -> Result<Sum, Error> {
    // A map of std's, so that the guest asks for random bytes as real tools do.
    let mut parts = HashMap::new();
    parts.insert("sum", a + b);
    Ok(Sum { sum: parts["sum"] })
}

/// Add two numbers, and say that it changes something, so that the call is recorded durably.
#[tool]
fn keep(a: i64, b: i64) -> Result<Sum, Error> {
    Ok(Sum { sum: a + b })
}

/// Run a CPU-heavy kernel: sieve, hash, matrix or sort.
#[tool(read_only, idempotent)]
fn compute(kernel: String, rounds: u32) -> Result<String, Error> {
    let (_, run) = kernels::KERNELS
        .iter()
        .find(|(name, _)| *name == kernel)
        .ok_or_else(|| Error::invalid("/kernel", "one of sieve, hash, matrix, sort"))?;
    Ok(run(rounds).to_string())
}

/// Spin until a limit fires.
#[tool(read_only)]
fn spin() -> Result<String, Error> {
    let mut n = 0_u64;
    loop {
        n = std::hint::black_box(n.wrapping_add(1));
    }
}

foreshore_sdk::export!(add, keep, compute, spin);
