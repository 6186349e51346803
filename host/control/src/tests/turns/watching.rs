//! Those who watch: in order, from any event on, live and late, and never in the way.

use foreshore_domain::effect::AgentEffect;
use serde_json::value::RawValue;

use super::*;
use crate::turns::{Follow, TurnEvent, TurnUpdate};

fn word(update: &TurnUpdate) -> String {
    match &update.event {
        TurnEvent::Queued { .. } => "queued".to_owned(),
        TurnEvent::Started { .. } => "started".to_owned(),
        TurnEvent::Resumed { .. } => "resumed".to_owned(),
        TurnEvent::MessageDelta(text) => format!("+{text}"),
        TurnEvent::Phase { name, .. } => format!("phase {name}"),
        TurnEvent::ToolCall { tool, .. } => format!("call {tool}"),
        TurnEvent::ToolResult { tool, result, .. } => format!("result {tool} {}", result.is_ok()),
        TurnEvent::Inferred { .. } => "inferred".to_owned(),
        TurnEvent::Note { kind, payload } => format!("note {kind} {payload}"),
        TurnEvent::Ended(_) => "ended".to_owned(),
        TurnEvent::Lagged { .. } => "lagged".to_owned(),
        other => format!("{other:?}"),
    }
}

async fn rest(mut follow: Follow) -> Vec<TurnUpdate> {
    let mut all = Vec::new();
    while let Some(update) = follow.next().await {
        all.push(update);
    }
    all
}

/// The words of what was told, deltas that follow one another as one: those that waited for a
/// phase may be told together.
fn joined(updates: &[TurnUpdate]) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for update in updates {
        match (words.last_mut().filter(|last| last.starts_with('+')), &update.event) {
            (Some(last), TurnEvent::MessageDelta(more)) => last.push_str(more),
            _ => words.push(word(update)),
        }
    }
    words
}

fn working(world: &World) {
    world.agent(
        "agent",
        script(async |agent| {
            agent.phase("thinking");
            agent.infer("what?").await?;
            agent.call(&["t.add", "t.look"]).await?;
            let payload = RawValue::from_string("7".to_owned()).expect("JSON");
            agent.get(AgentEffect::Emit { kind: "count".to_owned(), payload }).await?;
            agent.say("by the way");
            text("done")
        }),
    );
}

#[tokio::test]
async fn a_watcher_sees_all_of_a_turn_live_and_one_that_comes_late_all_that_is_recorded() {
    let world = World::new();
    working(&world);
    world.hold(true);
    let host = Host::start(&world, "host");
    let turn = host.say("agent", "go").await.turn;
    let live = host.turns.follow(turn, None).expect("there");
    let watching = tokio::spawn(rest(live));
    world.hold(false);
    let live = watching.await.expect("no panic");
    let words = joined(&live);
    let expected = [
        "queued",
        "started",
        "phase thinking",
        "+answer 0 to what?",
        "inferred",
        "call t.add",
        "call t.look",
        "result t.add true",
        "result t.look true",
        "note count 7",
        "+by the way",
        "ended",
    ];
    assert_eq!(words, expected);
    let ids: Vec<u64> = live.iter().filter_map(|update| update.id).collect();
    assert!(ids.is_sorted(), "{ids:?}");

    let late = rest(host.turns.follow(turn, None).expect("there")).await;
    let words: Vec<String> = late.iter().map(word).collect();
    let recorded: Vec<&str> =
        expected.iter().filter(|word| !word.starts_with('+')).copied().collect();
    assert_eq!(words, recorded);
    // From any event on: exactly what comes after it.
    for update in &late {
        let id = update.id.expect("all of it is recorded");
        let after = rest_or_nothing(&host, turn, id).await;
        let expected: Vec<String> =
            late.iter().filter(|later| later.id > update.id).map(word).collect();
        assert_eq!(after, expected, "after {id}");
    }
    host.stop().await;
}

/// What is left after an event; after the last one there is nothing to wait for.
async fn rest_or_nothing(host: &Host, turn: foreshore_domain::id::TurnId, id: u64) -> Vec<String> {
    let ended = host.conversations.turn(turn).expect("readable").expect("there").ended_seq;
    if id >= ended {
        return Vec::new();
    }
    rest(host.turns.follow(turn, Some(id)).expect("there")).await.iter().map(word).collect()
}

#[tokio::test]
async fn what_is_said_in_a_phase_is_told_after_it_though_the_phase_is_on_its_way_to_the_disk() {
    let world = World::new();
    world.agent(
        "agent",
        script(async |agent| {
            agent.phase("thinking");
            agent.say("aloud");
            agent.infer("what?").await?;
            agent.phase("answering");
            agent.say("the answer");
            agent.phase("leaving");
            agent.say("and no more");
            text("done")
        }),
    );
    world.hold(true);
    let mut began = world.began();
    let host = Host::start(&world, "host");
    let turn = host.say("agent", "go").await.turn;
    let follow = host.turns.follow(turn, None).expect("there");
    began.recv().await.expect("it thinks");
    world.hold(false);
    let words = joined(&rest(follow).await);
    let expected = [
        "queued",
        "started",
        "phase thinking",
        "+aloudanswer 0 to what?",
        "inferred",
        "phase answering",
        "+the answer",
        "phase leaving",
        "+and no more",
        "ended",
    ];
    assert_eq!(words, expected);
    host.stop().await;
}

#[tokio::test]
async fn a_watcher_that_is_too_slow_is_told_and_loses_only_deltas() {
    let world = World::new();
    world.agent(
        "agent",
        script(async |agent| {
            for n in 0..600 {
                agent.say(&n.to_string());
            }
            agent.infer("what?").await?;
            text("done")
        }),
    );
    world.hold(true);
    let mut began = world.began();
    let host = Host::start(&world, "host");
    let turn = host.say("agent", "go").await.turn;
    let follow = host.turns.follow(turn, None).expect("there");
    began.recv().await.expect("it has said it all");
    world.hold(false);
    host.reply(turn).await;
    let words: Vec<String> = rest(follow).await.iter().map(word).collect();
    assert!(words.contains(&"lagged".to_owned()), "{} updates", words.len());
    let recorded: Vec<&str> = words
        .iter()
        .filter(|word| !word.starts_with('+') && *word != "lagged")
        .map(String::as_str)
        .collect();
    assert_eq!(recorded, ["queued", "started", "inferred", "ended"]);
    host.stop().await;
}

#[tokio::test]
async fn a_conversation_is_watched_over_its_turns() {
    let world = World::new();
    working(&world);
    let host = Host::start(&world, "host");
    let first = host.say("agent", "one").await;
    host.reply(first.turn).await;
    let mut follow = host.turns.follow_conversation(&first.conversation, None).expect("there");
    let second = host.say_in(&first.conversation, "two").await;
    let mut words = Vec::new();
    loop {
        let update = follow.next().await.expect("a conversation has no end");
        assert_eq!(update.turn, second.turn);
        let word = word(&update);
        let is_end = word == "ended";
        words.push(word);
        if is_end {
            break;
        }
    }
    assert_eq!(words.first().map(String::as_str), Some("queued"));
    let from_the_start = host.turns.follow_conversation(&first.conversation, Some(0));
    let mut from_the_start = from_the_start.expect("there");
    let mut ended = 0;
    while ended < 2 {
        let update = from_the_start.next().await.expect("more");
        ended += u32::from(self::word(&update) == "ended");
    }
    host.stop().await;
}
