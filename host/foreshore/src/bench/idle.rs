//! `idle`: what 1,000 registered components cost that nobody calls.
//!
//! They are 1,000 different components, as far as the host can tell: the same guest with another
//! custom section each, so that each has a digest, an artifact and a mapping of its own.

use std::process::Command;

use anyhow::Context as _;

use super::control::{BenchControl, bench_guest};
use super::figures::float;
use super::{Effort, Row, Target};

const COMPONENTS: usize = 1_000;

pub(super) fn run(_: &Effort) -> anyhow::Result<Vec<Row>> {
    let output =
        Command::new(std::env::current_exe()?).args(["bench", "--part", "idle"]).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut figures = text.split_whitespace().map(str::parse::<f64>);
    let (empty, full) = figures.next().zip(figures.next()).with_context(|| {
        format!("the child said {text:?}: {}", String::from_utf8_lossy(&output.stderr))
    })?;
    let (empty, full) = (empty?, full?);
    Ok(vec![Row {
        name: "idle".to_owned(),
        unit: "MiB RSS",
        floor: None,
        ours: full,
        target: Target::AtMost(200.0),
        note: format!(
            "{COMPONENTS} registered components; {empty:.0} MiB with none, so {:.0} KiB each",
            (full - empty) * 1_024.0 / float(COMPONENTS)
        ),
    }])
}

/// The child: resident mebibytes with no component and with all.
pub(super) fn part() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    // A first process compiles and is measured by nobody: what compiling leaves behind in an
    // allocator is not what registering costs. This one finds every artifact in the cache.
    let compile = std::env::var_os("FORESHORE_BENCH_COMPILED").is_none();
    if compile {
        let bench = runtime.block_on(BenchControl::empty(directory.path()))?;
        runtime.block_on(register(&bench))?;
        runtime.block_on(bench.stop());
        let status = Command::new(std::env::current_exe()?)
            .args(["bench", "--part", "idle"])
            .env("FORESHORE_BENCH_COMPILED", directory.path())
            .status()?;
        anyhow::ensure!(status.success(), "the measuring process failed");
        return Ok(());
    }
    let data = std::env::var_os("FORESHORE_BENCH_COMPILED").context("set by the first process")?;
    let bench = runtime.block_on(BenchControl::empty(std::path::Path::new(&data)))?;
    let empty = resident_mebibytes()?;
    runtime.block_on(register(&bench))?;
    println!("{empty} {}", resident_mebibytes()?);
    runtime.block_on(bench.stop());
    Ok(())
}

async fn register(bench: &BenchControl) -> anyhow::Result<()> {
    let guest = bench_guest()?;
    for index in 0..COMPONENTS {
        let name = format!("idle-{index}");
        bench.put(&name, numbered(guest, index)).await?;
    }
    Ok(())
}

/// The guest with a custom section at its end that holds a number.
fn numbered(guest: &[u8], index: usize) -> Vec<u8> {
    let name = b"bench-number";
    let number = format!("{index:08}");
    let mut section = vec![u8::try_from(name.len()).unwrap_or(0)];
    section.extend_from_slice(name);
    section.extend_from_slice(number.as_bytes());
    let mut bytes = guest.to_vec();
    bytes.push(0);
    bytes.push(u8::try_from(section.len()).unwrap_or(0));
    bytes.extend_from_slice(&section);
    bytes
}

/// What of this process is in memory.
pub(super) fn resident_mebibytes() -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status").context("needs /proc")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
    let kibibytes: f64 = line.split_whitespace().nth(1).context("no figure")?.parse()?;
    Ok(kibibytes / 1_024.0)
}
