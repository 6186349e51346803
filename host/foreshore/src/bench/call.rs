//! `call` and `threads`: what the door, the limits and the record cost on top of bare wasmtime.
//!
//! Figures are CPU time of the whole process, the journal's writer thread included, so that work
//! cannot hide on another thread and a busy neighbor does not count.

use std::sync::Arc;
use std::time::Duration;

use foreshore_control::Control;
use foreshore_runtime::floor::Floor;

use super::control::{ARGUMENTS, BenchControl, bench_guest};
use super::figures::{float, median};
use super::{Effort, Row, Target};

const CALLS: usize = 5_000;

pub(super) fn call(effort: &Effort) -> anyhow::Result<Vec<Row>> {
    let floor = Floor::new(bench_guest()?)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let bench = runtime.block_on(BenchControl::start())?;
    let (mut floors, mut ours) = (Vec::new(), Vec::new());
    // The first round of each warms up and does not count.
    for round in 0..=effort.rounds {
        let floor_us =
            cpu_us(|| (0..CALLS).try_for_each(|_| floor.call("add", ARGUMENTS).map(drop)))?;
        let ours_us = cpu_us(|| runtime.block_on(calls(&bench.control, CALLS)))?;
        if round > 0 {
            floors.push(floor_us / float(CALLS));
            ours.push(ours_us / float(CALLS));
        }
    }
    runtime.block_on(bench.stop());
    Ok(vec![Row {
        name: "call".to_owned(),
        unit: "us CPU",
        floor: Some(median(&mut floors)),
        ours: median(&mut ours),
        target: Target::RatioAtMost(2.0),
        note: "floor: bare wasmtime, pooled, same guest, no fuel, no limits; ours: door, policy, all limits, schema, journal soon".to_owned(),
    }])
}

pub(super) fn threads(effort: &Effort) -> anyhow::Result<Vec<Row>> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let bench = runtime.block_on(BenchControl::start())?;
    let control = &bench.control;
    let on = |threads: usize| -> anyhow::Result<f64> {
        let us = cpu_us(|| {
            runtime.block_on(async {
                let tasks: Vec<_> = (0..threads)
                    .map(|_| {
                        let control = Arc::clone(control);
                        tokio::spawn(async move { calls(&control, CALLS).await })
                    })
                    .collect();
                for task in tasks {
                    task.await??;
                }
                anyhow::Ok(())
            })
        })?;
        Ok(us / float(CALLS * threads))
    };
    let (mut one, mut two) = (Vec::new(), Vec::new());
    for round in 0..=effort.rounds {
        let (on_one, on_two) = (on(1)?, on(2)?);
        if round > 0 {
            one.push(on_one);
            two.push(on_two);
        }
    }
    runtime.block_on(bench.stop());
    Ok(vec![Row {
        name: "threads".to_owned(),
        unit: "us CPU",
        floor: Some(median(&mut one)),
        ours: median(&mut two),
        target: Target::RatioAtMost(1.15),
        note: "floor: a call with one thread calling; ours: a call with two".to_owned(),
    }])
}

async fn calls(control: &Arc<Control>, count: usize) -> anyhow::Result<()> {
    for _ in 0..count {
        super::control::add(control).await?;
    }
    Ok(())
}

/// CPU time of the process while `work` runs, in microseconds.
pub(super) fn cpu_us<E: Into<anyhow::Error>>(
    work: impl FnOnce() -> Result<(), E>,
) -> anyhow::Result<f64> {
    let before = process_cpu();
    work().map_err(Into::into)?;
    Ok((process_cpu() - before).as_secs_f64() * 1e6)
}

fn process_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}
