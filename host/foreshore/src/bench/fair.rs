//! `fair` and `deadline`: what spinning guests do to their neighbors, and how late they stop.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::control::{BenchControl, add, spin};
use super::figures::{median, percentile_us};
use super::{Effort, Row, Target};

const SPINNERS: usize = 64;
const WINDOW: Duration = Duration::from_secs(2);
const RUNS: usize = 200;
const DEADLINE: Duration = Duration::from_millis(50);

pub(super) fn fair(effort: &Effort) -> anyhow::Result<Vec<Row>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers())
        .enable_all()
        .build()?;
    let bench = runtime.block_on(BenchControl::start())?;
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..effort.rounds.div_ceil(2) {
        alone.push(runtime.block_on(p99(&bench))?);
        let deadline = WINDOW + Duration::from_millis(700);
        let spinners: Vec<_> = (0..SPINNERS)
            .map(|_| {
                let control = Arc::clone(&bench.control);
                runtime.spawn(async move { spin(&control, deadline).await })
            })
            .collect();
        beside.push(runtime.block_on(async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            p99(&bench).await
        })?);
        for spinner in spinners {
            runtime.block_on(spinner)??;
        }
    }
    runtime.block_on(bench.stop());
    Ok(vec![Row {
        name: "fair".to_owned(),
        unit: "us p99",
        floor: Some(median(&mut alone)),
        ours: median(&mut beside),
        target: Target::RatioAtMost(2.0),
        note: format!(
            "floor: the 99th percentile of a small call alone; ours: beside {SPINNERS} spinning guests"
        ),
    }])
}

/// The 99th percentile of a small call, one every 5 ms as a person's would come.
async fn p99(bench: &BenchControl) -> anyhow::Result<f64> {
    let (mut latencies, start) = (Vec::new(), Instant::now());
    while start.elapsed() < WINDOW {
        let control = Arc::clone(&bench.control);
        let sent = Instant::now();
        tokio::spawn(async move { add(&control).await }).await??;
        latencies.push(sent.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    latencies.sort_unstable();
    Ok(percentile_us(&latencies, 0.99))
}

pub(super) fn deadline(_: &Effort) -> anyhow::Result<Vec<Row>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers())
        .enable_all()
        .build()?;
    let bench = runtime.block_on(BenchControl::start())?;
    let mut late = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        let start = Instant::now();
        let control = Arc::clone(&bench.control);
        runtime.block_on(async {
            tokio::spawn(async move { spin(&control, DEADLINE).await }).await
        })??;
        late.push(start.elapsed().saturating_sub(DEADLINE));
    }
    runtime.block_on(bench.stop());
    late.sort_unstable();
    Ok(vec![Row {
        name: "deadline".to_owned(),
        unit: "ms p99",
        floor: None,
        ours: percentile_us(&late, 0.99) / 1_000.0,
        target: Target::AtMost(20.0),
        note: format!(
            "{RUNS} spinning guests with fuel to spare and a deadline of {} ms: how late each was stopped",
            DEADLINE.as_millis()
        ),
    }])
}

fn workers() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}
