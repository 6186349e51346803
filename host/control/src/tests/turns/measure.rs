//! What turns cost: memory while they wait, time while they run. Each figure is taken in a process
//! of its own; only the memory is held to a bound.

use std::process::Command;
use std::time::Instant;

use foreshore_domain::conversation::Decision;

use super::waiting::approve;
use super::world::until;
use super::*;

#[test]
fn two_thousand_turns_that_wait_take_little_memory() {
    // In a process of its own: what other tests allocate is not theirs.
    alone("memory_of_turns_that_wait");
}

#[tokio::test]
#[ignore = "run alone by the test above"]
async fn memory_of_turns_that_wait() {
    let world = World::new();
    world.agent(
        "agent",
        script(async |agent| {
            agent.get(approve()).await?;
            text("approved")
        }),
    );
    const TURNS: usize = 2_000;
    let host = Host::start(&world, "host");
    // What the first turns make the host allocate once is not theirs.
    for _ in 0..50 {
        host.say("agent", "go").await;
    }
    until("they wait", || host.turns.questions().expect("readable").len() == 50).await;
    let before = resident_bytes();
    for _ in 0..TURNS {
        host.say("agent", "go").await;
    }
    until("they wait", || {
        host.turns.load().running == 0
            && host.turns.questions().expect("readable").len() == TURNS + 50
    })
    .await;
    let each = resident_bytes().saturating_sub(before) / TURNS;
    println!("a turn that waits takes about {each} bytes");
    assert!(each <= 64 << 10, "{each} bytes for each");
    let first = host.turns.questions().expect("readable").remove(0);
    host.turns.answer(first.asked.question, Decision::Approved, "ann").await.expect("answered");
    assert_eq!(host.reply(first.asked.turn).await, "approved");
    host.stop().await;
}

/// What this process has in memory.
fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("readable");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("there");
    let kib: usize = line.split_whitespace().nth(1).expect("a number").parse().expect("a number");
    kib << 10
}

/// Runs one test of this file in a process of its own.
fn alone(test: &str) {
    let program = std::env::current_exe().expect("this program");
    let name = format!("tests::turns::measure::{test}");
    let ran = Command::new(program)
        .args(["--exact", &name, "--ignored", "--nocapture"])
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && said.contains("1 passed"), "{said}");
}

/// The host's own part of a turn with three calls of tools and four of a model, all answered at
/// once: run it alone, with `--ignored --nocapture`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn time_of_turns() {
    const TURNS: usize = 200;
    let world = World::new();
    world.agent(
        "agent",
        script(async |agent| {
            for round in 0..3 {
                agent.infer(&format!("round {round}")).await?;
                agent.call(&["t.add"]).await?;
            }
            text(agent.infer("and?").await?)
        }),
    );
    let host = Host::start(&world, "host");
    let mut times = Vec::new();
    for _ in 0..TURNS {
        let began = Instant::now();
        let turn = host.say("agent", "go").await.turn;
        host.reply(turn).await;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    println!("one at a time: p50 {:?}, p99 {:?}", times[TURNS / 2], times[TURNS * 99 / 100]);
    host.turns.set_agents_max(64);
    let began = Instant::now();
    let mut turns = Vec::new();
    for _ in 0..TURNS {
        turns.push(host.say("agent", "go").await.turn);
    }
    for turn in turns {
        host.reply(turn).await;
    }
    let each = u32::try_from(TURNS).expect("few");
    println!("at once: {:?} for each", began.elapsed() / each);
    host.stop().await;
}
