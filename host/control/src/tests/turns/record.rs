//! What is on record of a turn, and what follows from that: divergence, reads that wait for
//! what costs, notes that are not made twice.

use std::sync::atomic::{AtomicU32, Ordering};

use foreshore_domain::conversation::TurnEnd;
use foreshore_domain::effect::{AgentEffect, AgentOutcome};

use super::world::{infer, until};
use super::*;

#[tokio::test]
async fn a_turn_is_recorded_from_its_message_to_its_reply() {
    let world = World::new();
    world.agent(
        "agent",
        script(async |agent| {
            agent.get(AgentEffect::Budget).await?;
            let answer = agent.infer("what?").await?;
            text(format!("{}: {answer}", agent.message()))
        }),
    );
    let host = Host::start(&world, "host");
    let taken = host.say("agent", "hello").await;
    assert_eq!(host.reply(taken.turn).await, "hello: answer 0 to what?");
    let kinds = host.kinds(taken.turn).await;
    assert_eq!(kinds, ["turn.started", "turn.effect", "turn.effect"]);
    let said = host.conversations.said_turn(taken.turn).expect("readable").expect("there");
    assert_eq!(super::world::words(&said.message), "hello");
    let usage = said.entry.usage;
    assert_eq!((usage.input_tokens, usage.output_tokens, usage.cost_micros), (10, 5, 3));
    assert_eq!((usage.model_calls, usage.fuel), (1, 7));
    let by = said.entry.served_by.expect("somebody");
    assert_eq!((by.backend.as_str(), by.model.as_str()), ("fake", "small"));
    host.stop().await;
}

#[tokio::test]
async fn reads_wait_for_what_costs_and_are_on_disk_before_it_is_answered() {
    let world = World::new();
    world.agent(
        "agent",
        script(async |agent| {
            for _ in 0..3 {
                agent.get(AgentEffect::Budget).await?;
            }
            agent.phase("read");
            agent.infer("one").await?;
            agent.get(AgentEffect::Budget).await?;
            agent.infer("two").await?;
            text("done")
        }),
    );
    world.hold(true);
    let mut began = world.began();
    let host = Host::start(&world, "host");
    let taken = host.say("agent", "hello").await;
    began.recv().await.expect("the model is asked");
    // The phase is recorded at once, and what came before it with it, in order.
    until("the phase", || host.journal.tip().seq >= 7).await;
    let kinds = host.kinds(taken.turn).await;
    let expected = ["turn.started", "turn.effect", "turn.effect", "turn.effect", "turn.phase"];
    assert_eq!(kinds, expected);
    world.hold(false);
    host.reply(taken.turn).await;
    let numbers: Vec<u64> = {
        let tenant = foreshore_domain::event::Tenant::DEFAULT;
        let events = host.journal.turn_record(&tenant, taken.turn, 1, 100).expect("readable");
        let effects = events.iter().filter(|event| event.kind == "turn.effect");
        effects
            .map(|event| {
                let payload: serde_json::Value =
                    serde_json::from_slice(&event.payload).expect("JSON");
                payload["number"].as_u64().expect("a number")
            })
            .collect()
    };
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5]);
    host.stop().await;
}

#[tokio::test]
async fn an_agent_that_leaves_its_record_fails_and_the_record_says_both() {
    let world = World::new();
    let runs = Arc::new(AtomicU32::new(0));
    world.agent("agent", {
        let runs = Arc::clone(&runs);
        script(move |agent| {
            let run = runs.fetch_add(1, Ordering::Relaxed);
            async move {
                agent.infer("first").await?;
                agent.infer(&format!("second, in run {run}")).await?;
                agent.infer("third").await?;
                text("done")
            }
        })
    });
    world.hold(true);
    let mut began = world.began();
    let host = Host::start(&world, "host");
    let turn = host.say("agent", "hello").await.turn;
    began.recv().await.expect("the first");
    world.hold(false);
    began.recv().await.expect("the second");
    world.hold(true);
    began.recv().await.expect("the third");
    host.stop().await;

    world.hold(false);
    let host = Host::start(&world, "host");
    let ended = host.end(turn).await;
    let (code, message) = ended.error.expect("it failed");
    assert_eq!((ended.end, code.as_str()), (TurnEnd::Failed, "turn_diverged"));
    assert!(message.contains("effect 1") && message.matches("infer ").count() == 2, "{message}");
    assert_eq!(world.asked(), 2, "the third was never answered, and nothing was asked anew");
    host.stop().await;
}

#[tokio::test]
async fn an_agent_that_ends_before_its_record_does_fails() {
    let world = World::new();
    let runs = Arc::new(AtomicU32::new(0));
    world.agent("agent", {
        let runs = Arc::clone(&runs);
        script(move |agent| {
            let run = runs.fetch_add(1, Ordering::Relaxed);
            async move {
                agent.infer("first").await?;
                if run == 0 {
                    agent.infer("second").await?;
                    agent.infer("third").await?;
                }
                text("done")
            }
        })
    });
    let mut began = world.began();
    world.hold(true);
    let host = Host::start(&world, "host");
    let turn = host.say("agent", "hello").await.turn;
    began.recv().await.expect("the first");
    world.hold(false);
    began.recv().await.expect("the second");
    world.hold(true);
    began.recv().await.expect("the third");
    host.stop().await;
    world.hold(false);
    let host = Host::start(&world, "host");
    assert_eq!(host.code(turn).await, "turn_diverged");
    host.stop().await;
}

#[tokio::test]
async fn a_run_on_the_record_sees_the_same_clock_and_says_nothing_twice() {
    let world = World::new();
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    world.agent("agent", {
        let seen = Arc::clone(&seen);
        script(move |agent| {
            let seen = Arc::clone(&seen);
            async move {
                let mut clock = vec![agent.now()];
                agent.phase("one");
                agent.infer("one").await?;
                clock.push(agent.now());
                agent.phase("two");
                agent.infer("two").await?;
                clock.push(agent.now());
                seen.lock().expect("lock").push(clock);
                agent.infer("three").await?;
                text("done")
            }
        })
    });
    let mut began = world.began();
    let host = Host::start(&world, "host");
    world.hold(true);
    let turn = host.say("agent", "hello").await.turn;
    began.recv().await.expect("one");
    world.hold(false);
    began.recv().await.expect("two");
    world.hold(true);
    began.recv().await.expect("three");
    host.stop().await;
    world.hold(false);
    let host = Host::start(&world, "host");
    assert_eq!(host.reply(turn).await, "done");
    let seen = seen.lock().expect("lock").clone();
    assert_eq!(seen.len(), 2, "it ran twice");
    assert_eq!(seen[0], seen[1]);
    let kinds = host.kinds(turn).await;
    assert_eq!(kinds.iter().filter(|kind| *kind == "turn.phase").count(), 2, "{kinds:?}");
    assert_eq!(kinds.iter().filter(|kind| *kind == "turn.resumed").count(), 1);
    host.stop().await;
}

#[tokio::test]
async fn a_call_of_an_unknown_tool_or_with_no_grant_is_told_and_recorded_as_denied() {
    let world = World::new();
    world.agent(
        "agent",
        script(async |agent| {
            let told = agent.call(&["t.add", "t.look", "nothing.here", "no tool"]).await?;
            let told: Vec<String> = told
                .iter()
                .map(|result| match result {
                    Ok(_) => "ok".to_owned(),
                    Err(error) => error.to_string(),
                })
                .collect();
            text(told.join("; "))
        }),
    );
    world.policy("agent", |policy| {
        policy.tools =
            vec!["t.look".parse().expect("a pattern"), "nothing.*".parse().expect("one")];
    });
    let host = Host::start(&world, "host");
    let turn = host.say("agent", "hello").await.turn;
    let reply = host.reply(turn).await;
    let expected = "tool t.add is not granted (tool_not_granted); ok; \
                    there is no tool nothing.here; there is no tool no tool";
    assert_eq!(reply, expected);
    assert_eq!((world.done("add"), world.done("look")), (0, 1));
    host.journal.flush().await;
    let events = host.journal.read(1, 1_000).expect("readable");
    let denied: Vec<_> = events.iter().filter(|event| event.kind == "effect.denied").collect();
    assert_eq!(denied.len(), 1);
    let effects = events.iter().filter(|event| event.kind == "turn.effect");
    let says_how = |event: &Event| {
        let payload = String::from_utf8_lossy(&event.payload);
        payload.contains("[agents.agent] tools = [")
    };
    assert_eq!(effects.filter(|event| says_how(event)).count(), 1, "for people, on record");
    host.stop().await;
}

#[tokio::test]
async fn a_model_that_is_not_granted_is_not_asked() {
    let world = World::new();
    world.agent(
        "agent",
        script(async |agent| {
            let AgentEffect::Infer { mut request, stream_to_reply } = infer("what?") else {
                panic!("an inference")
            };
            request.model = Some("large".to_owned());
            let denied =
                agent.ask(AgentEffect::Infer { request: request.clone(), stream_to_reply });
            let denied = denied.await?.expect_err("denied").to_string();
            request.model = Some("middle".to_owned());
            match agent.get(AgentEffect::Infer { request, stream_to_reply }).await? {
                AgentOutcome::Inferred(completion) => {
                    text(format!("{denied}; {}", completion.served_by.model))
                }
                other => panic!("{other:?}"),
            }
        }),
    );
    world.policy("agent", |policy| policy.models = vec!["middle".to_owned()]);
    let host = Host::start(&world, "host");
    let turn = host.say("agent", "hello").await.turn;
    assert_eq!(host.reply(turn).await, "model large is not granted (model_not_granted); middle");
    assert_eq!(world.asked(), 1);
    host.stop().await;
}

#[tokio::test]
async fn a_grant_that_was_taken_back_holds_for_a_turn_that_began_before_and_a_new_one_does_not() {
    let world = World::new();
    world.agent(
        "agent",
        script(async |agent| {
            agent.infer("what?").await?;
            let told = agent.call(&["t.add", "t.set"]).await?;
            let told: Vec<bool> = told.iter().map(Result::is_ok).collect();
            text(format!("{told:?}"))
        }),
    );
    let tools = |tool: &str| vec![tool.parse().expect("a pattern")];
    world.policy("agent", |policy| policy.tools = tools("t.add"));
    world.hold(true);
    let mut began = world.began();
    let host = Host::start(&world, "host");
    let turn = host.say("agent", "go").await.turn;
    began.recv().await.expect("the model is asked");
    host.stop().await;
    world.hold(false);
    world.policy("agent", |policy| policy.tools = tools("t.set"));
    let host = Host::start(&world, "host");
    assert_eq!(host.reply(turn).await, "[false, false]");
    let later = host.say("agent", "go").await.turn;
    assert_eq!(host.reply(later).await, "[false, true]");
    host.stop().await;
}

#[tokio::test]
async fn a_turn_whose_agent_is_gone_fails_and_says_so() {
    let world = World::new();
    world.agent("agent", script(async |agent| text(agent.infer("what?").await?)));
    world.hold(true);
    let mut began = world.began();
    let host = Host::start(&world, "host");
    let turn = host.say("agent", "go").await.turn;
    began.recv().await.expect("the model is asked");
    host.stop().await;
    world.policy("agent", |policy| policy.component = "nothing".to_owned());
    let host = Host::start(&world, "host");
    let ended = host.end(turn).await;
    let (code, message) = ended.error.expect("it failed");
    assert_eq!(code, "agent_unavailable");
    assert_eq!(message, "component \"nothing\" is not loaded");
    host.stop().await;
}
