//! Agents that have other agents take turns.

use foreshore_domain::conversation::{Decision, TurnEnd};
use foreshore_domain::effect::{AgentEffect, AgentError, AgentOutcome, Attenuation, Delegation};
use foreshore_domain::outcome::Content;
use serde_json::value::RawValue;

use super::world::{Agent, until, words};
use super::*;
use crate::turns::TurnsConfig;
use crate::turns::agents::Stopped;

fn delegation(agent: &str, limits: Attenuation) -> AgentEffect {
    AgentEffect::Delegate(Delegation {
        agent: agent.to_owned(),
        message: vec![Content::text("help")],
        parameters: None,
        limits,
    })
}

async fn delegate(agent: &Agent, to: &str, limits: Attenuation) -> Result<String, Stopped> {
    Ok(match agent.ask(delegation(to, limits)).await? {
        Ok(AgentOutcome::Delegated(reply)) => words(&reply.message),
        Ok(other) => panic!("{other:?}"),
        Err(error) => error.to_string(),
    })
}

#[tokio::test]
async fn another_agent_answers_with_less_than_one_has_and_its_use_counts() {
    let world = World::new();
    world.agent(
        "agent",
        script(async |agent| {
            let limits = Attenuation {
                tools: Some(vec!["t.look".to_owned()]),
                tool_calls_max: Some(1),
                ..Attenuation::default()
            };
            let told = delegate(&agent, "helper", limits).await?;
            match agent.get(AgentEffect::Budget).await? {
                AgentOutcome::Budget(left) => text(format!("{told}; {} left", left.tool_calls)),
                other => panic!("{other:?}"),
            }
        }),
    );
    world.agent(
        "helper",
        script(async |agent| {
            let add = agent.call(&["t.add"]).await?.remove(0).expect_err("denied");
            agent.call(&["t.look"]).await?.remove(0).expect("allowed");
            let more = agent.call(&["t.look"]).await?.remove(0).expect_err("used up");
            text(format!("{add}; {more}"))
        }),
    );
    world.policy("agent", |policy| {
        policy.budget.tool_calls = std::num::NonZeroU64::new(10).expect("not zero");
    });
    // One slot is enough: the one that waits lends it to the one it waits for.
    let config = TurnsConfig { agents_max: 1, ..TurnsConfig::default() };
    let host = Host::with(&world, "host", config);
    let turn = host.say("agent", "go").await.turn;
    let reply = host.reply(turn).await;
    assert_eq!(reply, "tool t.add is not granted (tool_not_granted); used up: Calls; 9 left");
    let usage = host.end(turn).await.usage;
    assert_eq!(usage.tool_calls, 1);
    host.stop().await;
}

#[tokio::test]
async fn agents_delegate_at_most_four_deep_and_only_to_whom_they_may() {
    let world = World::new();
    world.agent(
        "agent",
        script(async |agent| {
            let told = delegate(&agent, "agent", Attenuation::default()).await?;
            text(format!("{told}."))
        }),
    );
    let host = Host::start(&world, "host");
    let turn = host.say("agent", "go").await.turn;
    let reply = host.reply(turn).await;
    assert_eq!(reply, "agent agent, 4 delegations deep is not granted (delegation_too_deep).....");
    host.stop().await;
    world.policy("agent", |policy| policy.agents.clear());
    let host = Host::start(&world, "host");
    let turn = host.say("agent", "go").await.turn;
    assert_eq!(host.reply(turn).await, "agent agent is not granted (agent_not_granted).");
    host.stop().await;
}

#[tokio::test]
async fn a_turn_that_was_delegated_to_is_taken_up_after_a_restart_and_runs_once() {
    let world = World::new();
    world.agent(
        "agent",
        script(async |agent| {
            agent.call(&["t.add"]).await?;
            text(delegate(&agent, "helper", Attenuation::default()).await?)
        }),
    );
    world.agent(
        "helper",
        script(async |agent| {
            agent.call(&["t.add"]).await?;
            text(agent.infer("what?").await?)
        }),
    );
    let mut began = world.began();
    let host = Host::start(&world, "host");
    let turn = host.say("agent", "go").await.turn;
    began.recv().await.expect("a tool");
    began.recv().await.expect("the other's tool");
    world.hold(true);
    began.recv().await.expect("the model");
    host.stop().await;
    world.hold(false);
    let host = Host::start(&world, "host");
    assert!(host.reply(turn).await.starts_with("answer"));
    assert_eq!(world.done("add"), 2);
    let usage = host.end(turn).await.usage;
    assert_eq!((usage.tool_calls, usage.model_calls), (2, 1));
    host.stop().await;
}

#[tokio::test]
async fn where_the_other_waits_for_a_person_both_wait_and_both_go_on() {
    let world = World::new();
    world.agent(
        "agent",
        script(async |agent| text(delegate(&agent, "helper", Attenuation::default()).await?)),
    );
    world.agent(
        "helper",
        script(async |agent| {
            let details = RawValue::from_string("{}".to_owned()).expect("JSON");
            let action = "spend it".to_owned();
            match agent.ask(AgentEffect::Approve { action, details }).await? {
                Ok(_) => text("approved"),
                Err(error) => Err(Stopped::Agent(error)),
            }
        }),
    );
    let host = Host::start(&world, "host");
    let turn = host.say("agent", "go").await.turn;
    let load = || {
        let load = host.turns.load();
        (load.running, load.open)
    };
    until("both wait", || {
        load() == (0, 2) && !host.turns.questions().expect("readable").is_empty()
    })
    .await;
    host.stop().await;
    let host = Host::start(&world, "host");
    let question = host.turns.questions().expect("readable").remove(0).asked.question;
    host.turns.answer(question, Decision::Denied, "ann").await.expect("answered");
    let reply = host.reply(turn).await;
    assert_eq!(reply, "refused: refused: a person said no");
    host.stop().await;
}

#[tokio::test]
async fn a_turn_that_is_cancelled_takes_those_with_it_that_it_delegated_to() {
    let world = World::new();
    world.agent(
        "agent",
        script(async |agent| text(delegate(&agent, "helper", Attenuation::default()).await?)),
    );
    world.agent("helper", script(async |agent| text(agent.infer("what?").await?)));
    world.hold(true);
    let mut began = world.began();
    let host = Host::start(&world, "host");
    let turn = host.say("agent", "go").await.turn;
    began.recv().await.expect("the model");
    host.turns.cancel(turn, "ann").await.expect("cancelled");
    assert_eq!(host.end(turn).await.end, TurnEnd::Cancelled);
    until("nothing is open", || host.turns.load().open == 0).await;
    host.stop().await;
}

/// A wrong name is told as such.
#[tokio::test]
async fn an_agent_that_is_not_there_is_not_delegated_to() {
    let world = World::new();
    world.agent(
        "agent",
        script(async |agent| text(delegate(&agent, "helper", Attenuation::default()).await?)),
    );
    let host = Host::start(&world, "host");
    let turn = host.say("agent", "go").await.turn;
    let expected = AgentError::NotFound("agent helper".to_owned()).to_string();
    assert_eq!(host.reply(turn).await, expected);
    host.stop().await;
}
