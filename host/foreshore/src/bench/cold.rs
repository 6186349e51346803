//! `cold`: the first call of a component that was compiled before, in a process that has just
//! started: engine, cache, link, call. What a command line that runs one call waits for.

use std::process::Command;
use std::time::Instant;

use anyhow::Context as _;

use super::control::{BenchControl, add};
use super::figures::median;
use super::{Effort, Row, Target};

/// The data directory that the processes share, so that only the first compiles.
const DATA: &str = "FORESHORE_BENCH_DATA";

pub(super) fn run(effort: &Effort) -> anyhow::Result<Vec<Row>> {
    let directory = tempfile::tempdir()?;
    let (mut loads, mut firsts) = (Vec::new(), Vec::new());
    for round in 0..=effort.rounds.max(5) {
        let output = Command::new(std::env::current_exe()?)
            .args(["bench", "--part", "cold"])
            .env(DATA, directory.path())
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut figures = text.split_whitespace().map(str::parse::<f64>);
        let (load, first) = figures.next().zip(figures.next()).with_context(|| {
            format!("the child said {text:?}: {}", String::from_utf8_lossy(&output.stderr))
        })?;
        if round > 0 {
            loads.push(load?);
            firsts.push(first?);
        }
    }
    let row = |name: &str, ours, target, note: &str| Row {
        name: name.to_owned(),
        unit: "ms",
        floor: None,
        ours,
        target,
        note: note.to_owned(),
    };
    Ok(vec![
        row(
            "cold",
            median(&mut firsts),
            Target::AtMost(5.0),
            "a cached component in a fresh process, its engine up: load, link, definitions, first call",
        ),
        row(
            "cold/start",
            median(&mut loads),
            Target::Reported,
            "before that: engine, pool, journal, door",
        ),
    ])
}

/// The child: two figures in milliseconds.
pub(super) fn part() -> anyhow::Result<()> {
    let data = std::env::var_os(DATA).context("the part is run by the benchmark alone")?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let start = Instant::now();
    let bench = runtime.block_on(BenchControl::empty(std::path::Path::new(&data)))?;
    let up = start.elapsed();
    let start = Instant::now();
    runtime.block_on(bench.try_load())?;
    let loaded = start.elapsed();
    // Serving it writes a file and an event, which a start does not.
    runtime.block_on(bench.load())?;
    let start = Instant::now();
    runtime.block_on(add(&bench.control))?;
    let first = loaded + start.elapsed();
    println!("{} {}", up.as_secs_f64() * 1e3, first.as_secs_f64() * 1e3);
    runtime.block_on(bench.stop());
    Ok(())
}
