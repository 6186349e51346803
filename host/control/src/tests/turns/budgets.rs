//! The budget of a turn, at the door.

use std::num::NonZeroU64;

use foreshore_domain::agent::TurnBudget;
use foreshore_domain::conversation::TurnEnd;
use foreshore_domain::effect::{AgentEffect, AgentError, AgentOutcome, BudgetKind};

use super::world::{infer, interrupted, new_turn};
use super::*;

fn of(value: u64) -> NonZeroU64 {
    NonZeroU64::new(value).expect("not zero")
}

#[tokio::test]
async fn a_used_up_budget_is_told_and_an_agent_that_goes_on_asking_is_stopped() {
    let world = World::new();
    world.agent(
        "agent",
        script(async |agent| {
            let mut told = 0;
            loop {
                match agent.ask(infer("more?")).await {
                    Ok(Ok(_)) => assert_eq!(told, 0, "it got more after it was told"),
                    Ok(Err(error)) => {
                        assert_eq!(error, AgentError::Exhausted(BudgetKind::Tokens));
                        told += 1;
                    }
                    Err(stopped) => {
                        assert_eq!(told, 3);
                        assert!(interrupted(&stopped).is_some());
                        return Err(stopped);
                    }
                }
            }
        }),
    );
    world.policy("agent", |policy| policy.budget.tokens = of(40));
    let host = Host::start(&world, "host");
    let turn = host.say("agent", "go").await.turn;
    let ended = host.end(turn).await;
    assert_eq!((ended.end, world.asked()), (TurnEnd::Failed, 3), "15 of 40 tokens each, 2 asked");
    assert_eq!(ended.error.expect("said").0, "budget_exhausted");
    host.stop().await;
}

#[tokio::test]
async fn a_request_is_limited_to_what_is_left() {
    let world = World::new();
    world.agent(
        "agent",
        script(async |agent| {
            agent.infer("1234").await?;
            agent.infer("1234").await?;
            text("done")
        }),
    );
    world.policy("agent", |policy| policy.budget.tokens = of(100));
    let host = Host::start(&world, "host");
    let turn = host.say("agent", "go").await.turn;
    host.reply(turn).await;
    let limits: Vec<_> =
        world.requests().iter().map(|request| request.sampling.max_tokens).collect();
    assert_eq!(limits, [Some(99), Some(84)], "one token asked, fifteen used by the first");
    host.stop().await;
}

#[tokio::test]
async fn calls_beyond_the_budget_are_not_made() {
    let world = World::new();
    world.agent(
        "agent",
        script(async |agent| {
            let results = agent.call(&["t.add", "t.add", "t.add"]).await?;
            assert!(results[0].is_ok() && results[1].is_ok());
            assert_eq!(
                results[2].as_ref().expect_err("no more"),
                &AgentError::Exhausted(BudgetKind::Calls)
            );
            match agent.get(AgentEffect::Budget).await? {
                AgentOutcome::Budget(left) => text(left.tool_calls.to_string()),
                other => panic!("{other:?}"),
            }
        }),
    );
    world.policy("agent", |policy| policy.budget.tool_calls = of(2));
    let host = Host::start(&world, "host");
    let turn = host.say("agent", "go").await.turn;
    assert_eq!(host.reply(turn).await, "0");
    assert_eq!(world.done("add"), 2);
    host.stop().await;
}

#[tokio::test]
async fn a_caller_lowers_a_budget_and_never_raises_it() {
    let world = World::new();
    world.agent(
        "agent",
        script(async |agent| match agent.get(AgentEffect::Budget).await? {
            AgentOutcome::Budget(left) => text(format!("{} {}", left.tokens, left.tool_calls)),
            other => panic!("{other:?}"),
        }),
    );
    world.policy("agent", |policy| policy.budget.tokens = of(500));
    let host = Host::start(&world, "host");
    let mut new = new_turn("agent", None, "go");
    let budget = TurnBudget { tokens: of(9_000), tool_calls: of(3), ..TurnBudget::default() };
    new.budget = Some(budget);
    let turn = host.turns.start(new).await.expect("taken").turn;
    assert_eq!(host.reply(turn).await, "500 3");
    host.stop().await;
}

#[tokio::test]
async fn rounds_are_counted_and_end() {
    let world = World::new();
    world.agent(
        "agent",
        script(async |agent| {
            let mut rounds = 0;
            loop {
                agent.get(AgentEffect::Iteration).await?;
                rounds += 1;
                assert!(rounds < 20, "it was not stopped");
            }
        }),
    );
    world.policy("agent", |policy| policy.budget.iterations = of(2));
    let host = Host::start(&world, "host");
    let turn = host.say("agent", "go").await.turn;
    assert_eq!(host.code(turn).await, "budget_exhausted");
    host.stop().await;
}
