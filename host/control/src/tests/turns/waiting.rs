//! Turns that wait for a person or a time, across restarts, and what ends the wait.

use foreshore_domain::conversation::{Decision, TurnEnd, Until};
use foreshore_domain::effect::{AgentEffect, AgentOutcome, Answer};
use foreshore_domain::memory::JsonText;
use foreshore_store::conversations::TurnState;
use serde_json::value::RawValue;

use super::world::until;
use super::*;
use crate::turns::{AnswerFault, Question, TurnsConfig};

fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).expect("JSON")
}

fn approve() -> AgentEffect {
    AgentEffect::Approve { action: "delete it all".to_owned(), details: raw("{}") }
}

fn approving(world: &World) {
    world.agent(
        "agent",
        script(async |agent| {
            agent.call(&["t.add"]).await?;
            match agent.ask(approve()).await? {
                Ok(_) => text("approved"),
                Err(error) => text(error.to_string()),
            }
        }),
    );
}

/// The one open question.
async fn question(host: &Host) -> Question {
    until("the question", || host.turns.questions().expect("readable").len() == 1).await;
    host.turns.questions().expect("readable").remove(0)
}

#[tokio::test]
async fn a_turn_that_waits_takes_no_instance_survives_restarts_and_goes_on_with_the_answer() {
    let world = World::new();
    approving(&world);
    let host = Host::start(&world, "host");
    let turn = host.say("agent", "go").await.turn;
    let asked = question(&host).await;
    assert_eq!((asked.asked.turn, asked.asked.message.as_str()), (turn, "delete it all"));
    until("it is put aside", || host.turns.load().running == 0).await;
    assert_eq!(host.turns.load().open, 1);
    host.stop().await;

    let host = Host::start(&world, "host");
    let asked = question(&host).await;
    let entry = host.conversations.turn(turn).expect("readable").expect("there");
    assert_eq!(entry.state, TurnState::Waiting(Until::Question(asked.asked.question)));
    let id = asked.asked.question;
    let wrong = host.turns.answer(id, Decision::Expired, "ann").await;
    assert!(matches!(wrong, Err(AnswerFault::Invalid { .. })), "{wrong:?}");
    host.turns.answer(id, Decision::Approved, "ann").await.expect("answered");
    let again = host.turns.answer(id, Decision::Denied, "bob").await;
    assert!(matches!(again, Err(AnswerFault::Closed { .. })), "{again:?}");
    assert_eq!(host.reply(turn).await, "approved");
    assert_eq!(world.done("add"), 1);
    assert!(host.turns.questions().expect("readable").is_empty());
    host.stop().await;
}

#[tokio::test]
async fn a_no_and_a_silence_are_refusals() {
    let world = World::new();
    approving(&world);
    let host = Host::start(&world, "host");
    let turn = host.say("agent", "go").await.turn;
    let id = question(&host).await.asked.question;
    host.turns.answer(id, Decision::Denied, "ann").await.expect("answered");
    assert_eq!(host.reply(turn).await, "refused: a person said no");
    host.stop().await;

    let config = TurnsConfig { question_ttl_ms: 1, ..TurnsConfig::default() };
    let host = Host::with(&world, "other", config);
    let turn = host.say("agent", "go").await.turn;
    assert_eq!(host.reply(turn).await, "refused: nobody answered in time");
    host.stop().await;
}

#[tokio::test]
async fn a_question_that_expired_while_the_host_was_down_is_refused_when_it_is_up() {
    let world = World::new();
    approving(&world);
    let config = TurnsConfig { question_ttl_ms: 300, ..TurnsConfig::default() };
    let host = Host::with(&world, "host", config);
    let turn = host.say("agent", "go").await.turn;
    question(&host).await;
    host.stop().await;
    tokio::time::sleep(std::time::Duration::from_millis(320)).await;
    let host = Host::start(&world, "host");
    assert_eq!(host.reply(turn).await, "refused: nobody answered in time");
    host.stop().await;
}

#[tokio::test]
async fn a_typed_answer_is_held_to_its_schema_and_reaches_the_agent() {
    let world = World::new();
    let schema = r#"{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}"#;
    world.agent(
        "agent",
        script(async move |agent| {
            let message = "how many?".to_owned();
            let ask = AgentEffect::Ask { message, schema: raw(schema) };
            match agent.get(ask).await? {
                AgentOutcome::Answered(Answer::Accepted(json)) => text(json.get()),
                other => panic!("{other:?}"),
            }
        }),
    );
    let host = Host::start(&world, "host");
    let turn = host.say("agent", "go").await.turn;
    let id = question(&host).await.asked.question;
    let json = |text: &str| Decision::Accepted(JsonText::parse(text).expect("JSON"));
    let wrong = host.turns.answer(id, json(r#"{"n":"x"}"#), "ann").await;
    assert!(matches!(wrong, Err(AnswerFault::Invalid { .. })), "{wrong:?}");
    host.turns.answer(id, json(r#"{"n":7}"#), "ann").await.expect("answered");
    assert_eq!(host.reply(turn).await, r#"{"n":7}"#);
    host.stop().await;
}

#[tokio::test]
async fn a_turn_sleeps_until_its_time_also_over_a_restart() {
    let world = World::new();
    world.agent(
        "agent",
        script(async |agent| {
            agent.infer("before").await?;
            let at_unix_ms = agent.now() + 700;
            agent.get(AgentEffect::WakeAt { at_unix_ms }).await?;
            assert!(agent.now() >= at_unix_ms, "it was woken before its time");
            text("awake")
        }),
    );
    let host = Host::start(&world, "host");
    let turn = host.say("agent", "go").await.turn;
    let waits = || {
        let entry = host.conversations.turn(turn).expect("readable").expect("there");
        matches!(entry.state, TurnState::Waiting(Until::AtUnixMs(_)))
    };
    until("it sleeps", waits).await;
    host.stop().await;
    let host = Host::start(&world, "host");
    assert_eq!(host.reply(turn).await, "awake");
    assert_eq!(world.asked(), 1);
    host.stop().await;
}

#[tokio::test]
async fn a_turn_that_waits_can_be_cancelled_and_its_question_is_closed() {
    let world = World::new();
    approving(&world);
    let host = Host::start(&world, "host");
    let turn = host.say("agent", "go").await.turn;
    let id = question(&host).await.asked.question;
    until("it is put aside", || host.turns.load().running == 0).await;
    host.turns.cancel(turn, "ann").await.expect("cancelled");
    let ended = host.end(turn).await;
    assert_eq!((ended.end, ended.usage.tool_calls), (TurnEnd::Cancelled, 1));
    let late = host.turns.answer(id, Decision::Approved, "ann").await;
    assert!(matches!(late, Err(AnswerFault::Closed { .. })), "{late:?}");
    host.stop().await;
}

#[tokio::test]
async fn two_thousand_turns_that_wait_take_little_memory() {
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
