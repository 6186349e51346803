//! `cpu`: what fuel costs a guest that computes, against the same source compiled natively.

use std::hint::black_box;
use std::time::Instant;

use super::control::{BenchControl, invoke};
use super::figures::median;
use super::{Effort, Row, Target};

#[path = "../../../../components/bench/src/kernels.rs"]
#[allow(clippy::as_conversions, unreachable_pub, reason = "the guest's source, as it is")]
mod kernels;

const ROUNDS: u32 = 20;

pub(super) fn run(effort: &Effort) -> anyhow::Result<Vec<Row>> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let bench = runtime.block_on(BenchControl::start())?;
    let mut rows = Vec::new();
    for (name, kernel) in kernels::KERNELS {
        let arguments = format!(r#"{{"kernel":"{name}","rounds":{ROUNDS}}}"#);
        let (mut native, mut guest) = (Vec::new(), Vec::new());
        for _ in 0..effort.rounds.div_ceil(2) {
            let start = Instant::now();
            black_box(kernel(black_box(ROUNDS)));
            native.push(start.elapsed().as_secs_f64() * 1e3);
            let start = Instant::now();
            runtime.block_on(invoke(&bench.control, "bench.compute", &arguments))?;
            guest.push(start.elapsed().as_secs_f64() * 1e3);
        }
        rows.push(Row {
            name: format!("cpu/{name}"),
            unit: "ms",
            floor: Some(median(&mut native)),
            ours: median(&mut guest),
            target: Target::Reported,
            note: String::new(),
        });
    }
    runtime.block_on(bench.stop());
    Ok(rows)
}
