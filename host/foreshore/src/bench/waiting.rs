//! `idle-turns`: what 2,000 conversations cost the memory of the host while each of them waits
//! for a person.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use super::agents::{AT_ONCE, AgentHost};
use super::figures::float;
use super::idle::resident_mebibytes;
use super::{Effort, Row, Target};

const TURNS: usize = 2_000;
/// Turns before the first look: what the first ones bring into memory stays for all.
const WARMING: usize = 200;
const KIB_MAX: f64 = 64.0;
const PATIENCE: Duration = Duration::from_secs(300);

pub(super) fn run(_: &Effort) -> anyhow::Result<Vec<Row>> {
    let output =
        Command::new(std::env::current_exe()?).args(["bench", "--part", "waiting"]).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut figures = text.split_whitespace().map(str::parse::<f64>);
    let (before, after) = figures.next().zip(figures.next()).with_context(|| {
        format!("the child said {text:?}: {}", String::from_utf8_lossy(&output.stderr))
    })?;
    let (before, after) = (before?, after?);
    Ok(vec![Row {
        name: "idle-turns".to_owned(),
        unit: "KiB RSS each",
        floor: None,
        ours: (after - before) * 1_024.0 / float(TURNS),
        target: Target::AtMost(KIB_MAX),
        note: format!(
            "{TURNS} conversations that wait for a person, the journal's cache included: {before:.0} MiB before them, {after:.0} MiB with them"
        ),
    }])
}

/// The child: resident mebibytes before the turns and with all of them waiting.
pub(super) fn part() -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let configuration = format!("[agents.bench-agent]\n[concurrency]\nagents_max = {AT_ONCE}\n");
    let host = runtime.block_on(AgentHost::start(&configuration, &["bench-agent"]))?;
    runtime.block_on(wait(&host, WARMING))?;
    let before = resident_mebibytes()?;
    runtime.block_on(wait(&host, TURNS))?;
    println!("{before} {}", resident_mebibytes()?);
    runtime.block_on(host.stop());
    Ok(())
}

/// Begins so many turns more, and returns when all wait for a person.
async fn wait(host: &AgentHost, more: usize) -> anyhow::Result<()> {
    let turns = host.control.turns();
    let open = turns.load().open + more;
    for _ in 0..more {
        host.begin("bench-agent", "May I?").await?;
    }
    let began = Instant::now();
    loop {
        let questions = turns.questions()?.len();
        if questions == open && turns.load().running == 0 {
            return Ok(());
        }
        let said = turns.load();
        ensure!(began.elapsed() < PATIENCE, "{questions} of {open} turns wait: {said:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
