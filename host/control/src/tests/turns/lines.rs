//! Who runs when: one turn of a conversation at a time, few agents at once, bounded queues,
//! cancelling and draining.

use std::sync::atomic::{AtomicU32, Ordering};

use foreshore_domain::conversation::TurnEnd;

use super::world::{new_turn, until};
use super::*;
use crate::turns::{CancelFault, TurnFault, TurnsConfig};

fn asking(world: &World) {
    world.agent(
        "agent",
        script(async |agent| {
            let message = agent.message();
            text(agent.infer(&message).await?)
        }),
    );
}

#[tokio::test]
async fn turns_of_a_conversation_run_in_order_and_a_full_queue_says_when_to_come_back() {
    let world = World::new();
    asking(&world);
    world.hold(true);
    let config = TurnsConfig { queue_max: 2, ..TurnsConfig::default() };
    let host = Host::with(&world, "host", config);
    let first = host.say("agent", "0").await;
    let mut taken = vec![first.clone()];
    for n in 1..3 {
        taken.push(host.say_in(&first.conversation, &n.to_string()).await);
    }
    let numbers: Vec<u64> = taken.iter().map(|taken| taken.number).collect();
    assert_eq!(numbers, [0, 1, 2]);
    let full = new_turn("agent", Some(first.conversation.clone()), "3");
    let refused = host.turns.start(full.clone()).await.expect_err("full");
    assert!(matches!(refused, TurnFault::Overloaded { waiting: 2, .. }), "{refused}");
    let entry = host.conversations.get(&first.conversation).expect("readable").expect("there");
    assert_eq!((entry.turns, entry.open_turns), (3, 3), "what was refused left nothing");
    world.hold(false);
    for (n, taken) in taken.iter().enumerate() {
        assert_eq!(host.reply(taken.turn).await, format!("answer {n} to {n}"));
    }
    host.turns.start(full).await.expect("there is room again");
    host.stop().await;
}

#[tokio::test]
async fn queued_turns_survive_a_restart_in_their_order() {
    let world = World::new();
    asking(&world);
    world.hold(true);
    let mut began = world.began();
    let host = Host::start(&world, "host");
    let first = host.say("agent", "0").await;
    let second = host.say_in(&first.conversation, "1").await;
    let third = host.say_in(&first.conversation, "2").await;
    began.recv().await.expect("the model is asked");
    host.stop().await;
    world.hold(false);
    let host = Host::start(&world, "host");
    for (n, turn) in [first.turn, second.turn, third.turn].into_iter().enumerate() {
        assert_eq!(host.reply(turn).await, format!("answer {n} to {n}"));
    }
    host.stop().await;
}

#[tokio::test]
async fn no_more_agents_run_at_once_than_may_and_the_number_can_be_changed() {
    let world = World::new();
    let (now, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    world.agent("agent", {
        let (now, most) = (Arc::clone(&now), Arc::clone(&most));
        script(move |agent| {
            let (now, most) = (Arc::clone(&now), Arc::clone(&most));
            async move {
                let running = now.fetch_add(1, Ordering::SeqCst) + 1;
                most.fetch_max(running, Ordering::SeqCst);
                let answer = agent.infer("what?").await;
                now.fetch_sub(1, Ordering::SeqCst);
                answer.map(drop)?;
                text("done")
            }
        })
    });
    world.hold(true);
    let config = TurnsConfig { agents_max: 2, ..TurnsConfig::default() };
    let host = Host::with(&world, "host", config);
    let mut turns = Vec::new();
    for _ in 0..6 {
        turns.push(host.say("agent", "go").await.turn);
    }
    until("two run", || now.load(Ordering::SeqCst) == 2).await;
    assert_eq!((host.turns.load().running, host.turns.load().open), (2, 6));
    host.turns.set_agents_max(3);
    until("three run", || now.load(Ordering::SeqCst) == 3).await;
    world.hold(false);
    for turn in turns {
        assert_eq!(host.reply(turn).await, "done");
    }
    assert_eq!(most.load(Ordering::SeqCst), 3);
    host.stop().await;
}

#[tokio::test]
async fn a_turn_is_cancelled_while_it_runs_while_it_is_queued_and_not_when_it_is_over() {
    let world = World::new();
    asking(&world);
    world.hold(true);
    let mut began = world.began();
    let host = Host::start(&world, "host");
    let first = host.say("agent", "0").await;
    let second = host.say_in(&first.conversation, "1").await;
    let third = host.say_in(&first.conversation, "2").await;
    began.recv().await.expect("the model is asked");
    host.turns.cancel(second.turn, "ann").await.expect("cancelled");
    assert_eq!(host.end(second.turn).await.end, TurnEnd::Cancelled);
    host.turns.cancel(first.turn, "ann").await.expect("cancelled");
    let ended = host.end(first.turn).await;
    assert_eq!(ended.end, TurnEnd::Cancelled);
    assert_eq!(ended.error.expect("said").0, "turn_cancelled");
    let again = host.turns.cancel(first.turn, "ann").await;
    assert!(matches!(again, Err(CancelFault::Ended { .. })), "{again:?}");
    world.hold(false);
    assert_eq!(host.reply(third.turn).await, "answer 0 to 2", "the next one runs");
    let unknown = foreshore_domain::id::TurnId::new(1);
    let unknown = host.turns.cancel(unknown, "ann").await;
    assert!(matches!(unknown, Err(CancelFault::NotFound { .. })), "{unknown:?}");
    host.stop().await;
}

#[tokio::test]
async fn a_drain_leaves_a_turn_where_it_is_and_takes_nothing_new() {
    let world = World::new();
    asking(&world);
    world.hold(true);
    let mut began = world.began();
    let host = Host::start(&world, "host");
    let turn = host.say("agent", "0").await.turn;
    began.recv().await.expect("the model is asked");
    host.drain.cancel();
    let refused = host.turns.start(new_turn("agent", None, "1")).await;
    assert!(matches!(refused, Err(TurnFault::ShuttingDown)), "{refused:?}");
    host.stop().await;
    world.hold(false);
    let host = Host::start(&world, "host");
    assert_eq!(host.reply(turn).await, "answer 0 to 0");
    host.stop().await;
}

#[tokio::test]
async fn what_cannot_be_a_turn_is_refused_with_the_reason_and_leaves_nothing() {
    let world = World::new();
    asking(&world);
    let host = Host::start(&world, "host");
    let before = host.journal.tip().seq;
    let unknown = host.turns.start(new_turn("agnet", None, "x")).await.expect_err("unknown");
    assert!(unknown.to_string().contains("[agents.agnet]"), "{unknown}");
    let mut empty = new_turn("agent", None, "x");
    empty.message.clear();
    let empty = host.turns.start(empty).await.expect_err("empty");
    assert_eq!(empty.code(), "invalid_turn");
    let mut bad = new_turn("agent", None, "x");
    bad.parameters = serde_json::value::RawValue::from_string(r#"{"bad":1}"#.to_owned()).ok();
    let bad = host.turns.start(bad).await.expect_err("bad");
    assert_eq!(bad.to_string(), "it is bad (at \"/parameters/bad\")");
    let nowhere = foreshore_domain::conversation::Conversation::parse("nowhere").expect("an id");
    let nowhere = host.turns.start(new_turn("agent", Some(nowhere), "x")).await;
    assert_eq!(nowhere.expect_err("unknown").code(), "unknown_conversation");
    assert_eq!(host.journal.tip().seq, before);
    host.stop().await;
}
