//! Past turns run again: equal, and not.

use foreshore_domain::conversation::TurnEnd;
use foreshore_domain::effect::AgentEffect;

use super::world::words;
use super::*;
use crate::turns::{ReplayComponent, ReplayFault, ReplayOptions};

fn worker(question: &'static str, tool: &'static str) -> super::world::Script {
    script(async move |agent| {
        agent.get(AgentEffect::Iteration).await?;
        let answer = agent.infer(question).await?;
        let result = agent.call(&[tool]).await?.remove(0);
        let result = result.map_or_else(|error| error.to_string(), |r| words(&r.content));
        text(format!("{answer}; {result}"))
    })
}

#[tokio::test]
async fn a_turn_replays_on_its_record_and_nothing_is_done_or_recorded() {
    let world = World::new();
    world.agent("agent", worker("what?", "t.add"));
    let host = Host::start(&world, "host");
    let turn = host.say("agent", "go").await.turn;
    let reply = host.reply(turn).await;
    host.journal.flush().await;
    let tip = host.journal.tip();
    let report = host.turns.replay(turn, ReplayOptions::default()).await.expect("replayed");
    assert_eq!(report.divergence, None);
    assert_eq!(report.replayed.steps, report.recorded.steps);
    assert_eq!(report.replayed.tools, ["t.add"]);
    assert_eq!(words(&report.replayed.reply), reply);
    assert_eq!(report.replayed.end, Some(TurnEnd::Completed));
    assert_eq!(report.replayed.usage.tool_calls, report.recorded.usage.tool_calls);
    assert_eq!((world.done("add"), world.asked()), (1, 1));
    host.journal.flush().await;
    assert_eq!(host.journal.tip(), tip);
    host.stop().await;
}

#[tokio::test]
async fn another_component_is_compared_up_to_where_it_leaves_the_record() {
    let world = World::new();
    world.agent("agent", worker("what?", "t.add"));
    world.agent("other", worker("why?", "t.add"));
    let host = Host::start(&world, "host");
    let turn = host.say("agent", "go").await.turn;
    host.reply(turn).await;
    let options = ReplayOptions {
        component: Some(ReplayComponent::Named("other".to_owned())),
        ..ReplayOptions::default()
    };
    let report = host.turns.replay(turn, options).await.expect("replayed");
    let divergence = report.divergence.expect("it asks something else");
    assert_eq!(divergence.number, 1);
    assert_ne!(divergence.recorded, divergence.found);
    assert_eq!((report.replayed.end, report.replayed.steps.len()), (None, 2));
    assert_eq!(report.recorded.steps.len(), 3);
    assert_eq!((world.done("add"), world.asked()), (1, 1));
    host.stop().await;
}

#[tokio::test]
async fn with_live_inference_models_are_asked_anew_and_tools_answer_from_the_record() {
    let world = World::new();
    world.agent("agent", worker("what?", "t.add"));
    world.agent("same", worker("why?", "t.add"));
    world.agent("other", worker("why?", "t.set"));
    let host = Host::start(&world, "host");
    let turn = host.say("agent", "go").await.turn;
    host.reply(turn).await;
    let options = |component: &str| ReplayOptions {
        component: Some(ReplayComponent::Named(component.to_owned())),
        model: Some("large".to_owned()),
        ..ReplayOptions::default()
    };
    let report = host.turns.replay(turn, options("same")).await.expect("replayed");
    assert_eq!(words(&report.replayed.reply), "answer 1 to why?; {} of t.add");
    assert!(report.would_have_called.is_empty());
    let report = host.turns.replay(turn, options("other")).await.expect("replayed");
    let would: Vec<&str> = report.would_have_called.iter().map(|r| r.name.as_str()).collect();
    assert_eq!(would, ["t.set"]);
    assert_eq!(world.requests()[2].model.as_deref(), Some("large"));
    assert_eq!((world.done("add"), world.done("set"), world.asked()), (1, 0, 3));
    host.stop().await;
}

#[tokio::test]
async fn what_has_no_record_is_not_replayed() {
    let world = World::new();
    world.agent("agent", worker("what?", "t.add"));
    let host = Host::start(&world, "host");
    let unknown = foreshore_domain::id::TurnId::new(1);
    let fault = host.turns.replay(unknown, ReplayOptions::default()).await.expect_err("unknown");
    assert!(matches!(fault, ReplayFault::NotFound { .. }), "{fault}");
    host.stop().await;
}
