//! A host that is cut off at any moment of a turn, and the next one.

use std::time::Duration;

use foreshore_domain::effect::{
    AgentEffect, AgentError, AgentOutcome, MemoryRecord, MemoryWrite, MemoryWriteKind, Remembered,
    Space,
};
use foreshore_domain::memory::{JsonText, VariableName};
use serde_json::value::RawValue;

use super::world::{Agent, copy};
use super::*;
use crate::turns::agents::Stopped;

/// Rounds of an agent that asks for five things in each: thirty effects.
const ROUNDS: u32 = 6;

/// An agent that thinks, acts and remembers, round by round; its reply says what it was told.
async fn works(agent: Agent) -> Result<foreshore_domain::agent::Reply, Stopped> {
    let mut told = Vec::new();
    for round in 0..ROUNDS {
        agent.get(AgentEffect::Iteration).await?;
        told.push(agent.infer(&format!("round {round}")).await?);
        let called = agent.call(&["t.add", "t.look", "t.set"]).await?;
        told.extend(called.iter().map(|result| match result {
            Ok(result) => super::world::words(&result.content),
            Err(AgentError::UnknownOutcome(tool)) => format!("unknown outcome of {tool}"),
            Err(error) => panic!("{error}"),
        }));
        let set = AgentEffect::SetVariable {
            name: VariableName::parse("round").expect("a name"),
            value: RawValue::from_string(round.to_string()).expect("JSON"),
        };
        match agent.get(set).await? {
            AgentOutcome::VariableSet(version) => assert_eq!(version, u64::from(round) + 1),
            other => panic!("{other:?}"),
        }
        match agent.get(remember(round)).await? {
            AgentOutcome::Remembered(Remembered::Version(version)) => {
                assert_eq!(version, u64::from(round) + 1);
            }
            other => panic!("{other:?}"),
        }
    }
    text(told.join("\n"))
}

fn remember(round: u32) -> AgentEffect {
    let record = MemoryRecord {
        key: "round".to_owned().try_into().expect("a key"),
        value: JsonText::parse(round.to_string()).expect("JSON"),
        tags: Default::default(),
        importance: Default::default(),
        ttl: None,
        expected_version: None,
    };
    let space = Space::Namespace("notes".to_owned().try_into().expect("a namespace"));
    AgentEffect::Remember(MemoryWrite { space, kind: MemoryWriteKind::Put(record) })
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Runs a host until it is cut off at a moment; `None` if the turn ended before.
fn cut_off(world: &World, moments: u32) -> Option<foreshore_domain::id::TurnId> {
    let runtime = runtime();
    let turn = runtime.block_on(async {
        let host = Host::start(world, "first");
        world.crash_after(moments);
        let mut crashes = world.crashes();
        let taken = host.say("agent", "work").await;
        let crashed = tokio::select! {
            crashed = crashes.wait_for(|crashed| *crashed) => crashed.is_ok(),
            _ = host.end(taken.turn) => false,
        };
        if crashed {
            // What was acknowledged is on disk; what is queued may be, as at a real crash.
            copy(&world.path("first"), &world.path("second"));
        }
        crashed.then_some(taken.turn)
    });
    // Every task is dropped where it is.
    runtime.shutdown_timeout(Duration::from_secs(10));
    turn
}

#[test]
fn a_turn_of_thirty_effects_completes_after_a_crash_at_any_moment_and_no_tool_runs_twice() {
    let mut moments = 0;
    let (mut doubts, mut seen) = (0, 0);
    // Every third moment, unless told otherwise: a round has no multiple of three, so that over
    // the rounds each of its moments is met.
    let stride =
        std::env::var("FORESHORE_CRASH_STRIDE").map_or(3, |n| n.parse().expect("a number"));
    loop {
        let world = World::new();
        world.agent("agent", script(works));
        let Some(turn) = cut_off(&world, moments) else { break };
        world.go_on();
        seen += 1;
        runtime().block_on(async {
            let host = Host::start(&world, "second");
            let ended = host.end(turn).await;
            let reply = super::world::words(&ended.reply);
            let unknown = reply.matches("unknown outcome of t.add").count();
            let unknown = u32::try_from(unknown).expect("few");
            assert_eq!(
                reply.matches("unknown").count(),
                reply.matches("t.add").count() - reply.matches("{} of t.add").count(),
                "at {moments}: {reply}"
            );
            let added = world.done("add");
            assert!(unknown <= 1, "at {moments}: one crash, one doubt");
            assert!(
                (ROUNDS - unknown..=ROUNDS).contains(&added),
                "at {moments}: {added} additions with {unknown} in doubt"
            );
            let doubt = ended.error.as_ref().is_some_and(|(code, _)| code == "unknown_outcome");
            assert_eq!(doubt, unknown > 0, "at {moments}: {:?}", ended.error);
            assert!((ROUNDS..=ROUNDS + 1).contains(&world.done("set")), "at {moments}");
            assert_eq!(ended.usage.tool_calls, u64::from(3 * ROUNDS), "at {moments}");
            assert_eq!(ended.usage.model_calls, u64::from(ROUNDS), "at {moments}");
            assert_eq!(ended.usage.iterations, u64::from(ROUNDS), "at {moments}");
            // At most the one that was under way is asked again.
            assert!((ROUNDS..=ROUNDS + 1).contains(&world.asked()), "at {moments}");
            doubts += unknown;
            host.stop().await;
        });
        moments += stride;
    }
    println!("{seen} crashes, {doubts} side effects in doubt, no tool ran twice");
    assert!(seen >= 30, "{seen} crashes are fewer than effects");
    assert!(doubts > 0, "no crash came in the middle of a tool");
}
