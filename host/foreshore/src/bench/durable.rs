//! `call-durable`: calls that say they change something, so that each is on disk before it runs
//! and again before it is answered, beside redb alone grouping records of the same size.

use std::sync::Arc;
use std::time::{Duration, Instant};

use foreshore_store::floor::Floor;

use super::control::{BenchControl, invoke};
use super::figures::{float, median};
use super::{Effort, Row, Target};

pub(super) const CALLERS: usize = 64;
const ROUND: Duration = Duration::from_millis(1_500);
/// About what a `call.started` or `call.completed` takes in the journal.
pub(super) const RECORD_BYTES: usize = 300;
/// Records that one durable call leaves: started and completed.
const RECORDS_PER_CALL: f64 = 2.0;

pub(super) fn run(effort: &Effort) -> anyhow::Result<Vec<Row>> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let bench = runtime.block_on(BenchControl::start())?;
    let directory = tempfile::tempdir()?;
    let floor = Arc::new(Floor::new(&directory.path().join("floor.redb"))?);
    let (mut floors, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..effort.rounds.div_ceil(2) {
        let redb = Arc::clone(&floor);
        floors.push(runtime.block_on(round(move || {
            let redb = Arc::clone(&redb);
            async move { Ok(redb.append(vec![1; RECORD_BYTES]).await?) }
        }))?);
        let control = Arc::clone(&bench.control);
        let calls = runtime.block_on(round(move || {
            let control = Arc::clone(&control);
            async move { invoke(&control, "bench.keep", super::control::ARGUMENTS).await }
        }))?;
        ours.push(calls * RECORDS_PER_CALL);
    }
    runtime.block_on(bench.stop());
    Ok(vec![Row {
        name: "call-durable".to_owned(),
        unit: "durable records/s",
        floor: Some(median(&mut floors)),
        ours: median(&mut ours),
        target: Target::RatioAtLeast(0.7),
        note: format!(
            "{CALLERS} callers; floor: redb alone, one-phase group commit of {RECORD_BYTES} B records; ours: calls in the sandbox, two chained records each, two-phase commit"
        ),
    }])
}

/// How often `work` was done a second, by all callers together.
pub(super) async fn round<F, W>(work: F) -> anyhow::Result<f64>
where
    F: Fn() -> W + Clone + Send + 'static,
    W: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let start = Instant::now();
    let tasks: Vec<_> = (0..CALLERS)
        .map(|_| {
            let work = work.clone();
            tokio::spawn(async move {
                let mut done = 0_usize;
                while start.elapsed() < ROUND {
                    work().await?;
                    done += 1;
                }
                anyhow::Ok(done)
            })
        })
        .collect();
    let mut total = 0;
    for task in tasks {
        total += task.await??;
    }
    Ok(float(total) / start.elapsed().as_secs_f64())
}
