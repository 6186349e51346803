//! `turn`: what the host adds to a turn of `assistant` that asks a model four times and calls
//! three tools, beside the same four requests made bare and as many durable commits of redb
//! alone.
//!
//! The scripted server answers at once, so that what is left is the host: sandbox, door, prompts,
//! broker, journal. Each turn is a conversation of its own; the requests of the floor are those
//! that a turn made, byte for byte as JSON.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use foreshore_control::Control;
use foreshore_scripted_model::ScriptedServer;
use foreshore_store::floor::Floor;

use super::agents::{self, AT_ONCE, AgentHost};
use super::bare::Bare;
use super::durable::RECORD_BYTES;
use super::figures::{float, median, percentile_us};
use super::{Effort, Row, Target};

const TOOL_CALLS: u64 = 3;
const MODEL_CALLS: usize = 4;
/// Turns of a round, one after the other.
const TURNS: usize = 30;
/// How long a round of turns side by side takes.
const ROUND: Duration = Duration::from_millis(1_500);

pub(super) fn run(effort: &Effort) -> anyhow::Result<Vec<Row>> {
    let mut rows = of_tool(effort, "turn", "keep", "tools that say they change something")?;
    rows.extend(of_tool(effort, "turn/read", "add", "tools that only read")?);
    Ok(rows)
}

/// The model asks for sum after sum, and knows by the newest how far it is.
fn rules(tool: &str) -> String {
    let call = |a: u8| {
        format!("tool_calls = [{{ name = \"bench__{tool}\", arguments = {{ a = {a}, b = 0 }} }}]")
    };
    let mut rules = String::new();
    for sum in (1..=3_u8).rev() {
        let answer = if sum == 3 { "text = \"Three it is.\"".to_owned() } else { call(sum + 1) };
        rules += &format!(
            "[[rules]]\nwhen = {{ tool_content = {{ regex = '\"sum\":\\s*{sum}\\b' }} }}\nanswer = {{ {answer} }}\n"
        );
    }
    rules + &format!("[[rules]]\nanswer = {{ {} }}\n", call(1))
}

fn of_tool(effort: &Effort, name: &str, tool: &str, tools: &str) -> anyhow::Result<Vec<Row>> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let server = agents::model(&rules(tool))?;
    let configuration = agents::configuration(&server.url(), &["bench.*"]);
    let host = runtime.block_on(AgentHost::start(&configuration, &["assistant", "bench"]))?;
    let control = &host.control;

    // The second turn finds everything warm: what it asked of the model is the floor's.
    runtime.block_on(turn(control))?;
    server.clear();
    let before = runtime.block_on(control.upkeep().stats())?;
    runtime.block_on(turn(control))?;
    let after = runtime.block_on(control.upkeep().stats())?;
    let (commits, events) = (after.frames - before.frames, after.events - before.events);
    let asked = server.requests().len();
    let floor = Arc::new(TurnFloor::new(&server, commits)?);

    let (mut ours, mut floors) = (Vec::new(), Vec::new());
    let (mut our_rates, mut floor_rates) = (Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        runtime.block_on(async {
            let mut bare = Bare::connect(floor.address).await?;
            for _ in 0..TURNS {
                let began = Instant::now();
                floor.turn(&mut bare).await?;
                floors.push(began.elapsed());
            }
            for _ in 0..TURNS {
                let began = Instant::now();
                turn(control).await?;
                ours.push(began.elapsed());
            }
            floor_rates.push(side_by_side(&floor).await?);
            our_rates.push(turns_side_by_side(control).await?);
            anyhow::Ok(())
        })?;
    }
    runtime.block_on(host.stop());
    ours.sort_unstable();
    floors.sort_unstable();
    let note = format!(
        "{MODEL_CALLS} model calls, {TOOL_CALLS} calls of {tools}; {events} events in {commits} commits, {asked} requests to the model's server; floor: the {MODEL_CALLS} requests bare and {commits} commits of redb alone"
    );
    let row = |part: &str, unit, floor, ours, note: &str| Row {
        name: format!("{name}{part}"),
        unit,
        floor: Some(floor),
        ours,
        target: Target::Reported,
        note: note.to_owned(),
    };
    let ms = |sorted: &[Duration], share| percentile_us(sorted, share) / 1_000.0;
    let together = format!("{AT_ONCE} conversations side by side");
    Ok(vec![
        row("", "ms p50", ms(&floors, 0.5), ms(&ours, 0.5), &note),
        row("/p99", "ms p99", ms(&floors, 0.99), ms(&ours, 0.99), ""),
        row("/rate", "turns/s", median(&mut floor_rates), median(&mut our_rates), &together),
    ])
}

async fn turn(control: &Control) -> anyhow::Result<()> {
    agents::take(control, "assistant", "Count to three.", TOOL_CALLS).await
}

/// What a turn cannot do without, and nothing of the host.
struct TurnFloor {
    address: SocketAddr,
    bodies: Vec<String>,
    commits: u64,
    redb: Floor,
    _directory: tempfile::TempDir,
}

impl TurnFloor {
    fn new(server: &ScriptedServer, commits: u64) -> anyhow::Result<Self> {
        let chats = server.requests().into_iter().filter(|request| request.path == "/api/chat");
        let bodies: Vec<String> = chats.map(|request| request.body.to_string()).collect();
        ensure!(bodies.len() == MODEL_CALLS, "a turn made {} model calls", bodies.len());
        let directory = tempfile::tempdir()?;
        let redb = Floor::new(&directory.path().join("floor.redb"))?;
        Ok(Self { address: server.address(), bodies, commits, redb, _directory: directory })
    }

    async fn turn(&self, bare: &mut Bare) -> anyhow::Result<()> {
        for body in &self.bodies {
            bare.post("/api/chat", body).await?;
        }
        for _ in 0..self.commits {
            self.redb.append(vec![1; RECORD_BYTES]).await?;
        }
        Ok(())
    }
}

/// How often a second all callers together did what a turn cannot do without.
async fn side_by_side(floor: &Arc<TurnFloor>) -> anyhow::Result<f64> {
    rate(|| {
        let floor = Arc::clone(floor);
        async move {
            let (mut bare, mut done) = (Bare::connect(floor.address).await?, 0);
            let began = Instant::now();
            while began.elapsed() < ROUND {
                floor.turn(&mut bare).await?;
                done += 1;
            }
            Ok(done)
        }
    })
    .await
}

/// How many turns a second all callers together took to their end.
async fn turns_side_by_side(control: &Arc<Control>) -> anyhow::Result<f64> {
    rate(|| {
        let control = Arc::clone(control);
        async move {
            let (began, mut done) = (Instant::now(), 0);
            while began.elapsed() < ROUND {
                turn(&control).await?;
                done += 1;
            }
            Ok(done)
        }
    })
    .await
}

/// How often a second all callers together did what each of them counts.
async fn rate<W>(caller: impl Fn() -> W) -> anyhow::Result<f64>
where
    W: Future<Output = anyhow::Result<usize>> + Send + 'static,
{
    let began = Instant::now();
    let callers: Vec<_> = (0..AT_ONCE).map(|_| tokio::spawn(caller())).collect();
    let mut done = 0;
    for caller in callers {
        done += caller.await.context("a caller")??;
    }
    Ok(float(done) / began.elapsed().as_secs_f64())
}
