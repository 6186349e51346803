//! Conversations, for people and for agents.

use foreshore_domain::effect::{AgentEffect, AgentOutcome};
use foreshore_domain::memory::VariableName;
use foreshore_store::conversations::{ConversationFilter, TurnOrder};
use serde_json::value::RawValue;

use super::world::{new_turn, words};
use super::*;
use crate::conversations::ConversationFault;

fn name(text: &str) -> VariableName {
    VariableName::parse(text).expect("a name")
}

/// Says how many messages there were, and keeps what it was told.
fn remembering(world: &World) {
    world.agent(
        "agent",
        script(async |agent| {
            let limit = 10;
            let said = match agent.get(AgentEffect::RecentMessages { limit }).await? {
                AgentOutcome::Messages(said) => said,
                other => panic!("{other:?}"),
            };
            let value = serde_json::to_string(&agent.message()).expect("JSON");
            let value = RawValue::from_string(value).expect("JSON");
            agent.get(AgentEffect::SetVariable { name: name("last"), value }).await?;
            let summary = AgentEffect::SetSummary {
                text: format!("{} messages", said.len()),
                through_turn: agent.turn.number,
            };
            agent.get(summary).await?;
            text(format!("heard {} after {}", agent.message(), said.len()))
        }),
    );
}

#[tokio::test]
async fn a_conversation_remembers_forks_and_goes() {
    let world = World::new();
    remembering(&world);
    let host = Host::start(&world, "host");
    let first = host.say("agent", "tide tables").await;
    assert_eq!(host.reply(first.turn).await, "heard tide tables after 0");
    for (n, message) in ["mussels", "lighthouse"].into_iter().enumerate() {
        let taken = host.say_in(&first.conversation, message).await;
        assert_eq!(host.reply(taken.turn).await, format!("heard {message} after {}", 2 * (n + 1)));
    }
    let conversations = &host.conversations;
    let all = conversations.list(ConversationFilter::default(), None, 10).expect("readable");
    assert_eq!(all.conversations.len(), 1);
    assert_eq!(all.conversations[0].title.as_ref().expect("a title").as_str(), "tide tables");
    let turns = conversations.turns(&first.conversation, TurnOrder::From(0), 10);
    let said: Vec<String> =
        turns.expect("readable").iter().map(|turn| words(&turn.message)).collect();
    assert_eq!(said, ["tide tables", "mussels", "lighthouse"]);
    let last = conversations.variable(&first.conversation, &name("last"), None);
    let last = last.expect("readable").expect("there");
    assert_eq!((last.version, last.json.as_str()), (3, "\"lighthouse\""));
    let summary = conversations.summary(&first.conversation).expect("readable");
    assert_eq!(summary, Some(("4 messages".to_owned(), 2)));
    let hits = conversations.search("mussels", None, 10).expect("readable");
    assert!(!hits.is_empty());

    let fork = conversations.fork(&first.conversation, 1, Some("a fork")).await.expect("forked");
    let taken = host.say_in(&fork, "again").await;
    assert_eq!(host.reply(taken.turn).await, "heard again after 4");
    conversations.change(&fork, Some("renamed"), Some(true)).await.expect("changed");
    let entry = conversations.get(&fork).expect("readable").expect("there");
    assert_eq!(entry.title.expect("a title").as_str(), "renamed");
    assert!(entry.archived);

    conversations.delete(&first.conversation).await.expect("deleted");
    assert!(conversations.get(&first.conversation).expect("readable").is_none());
    let turns = conversations.turns(&fork, TurnOrder::From(0), 10).expect("readable");
    assert_eq!(words(&turns[0].message), "tide tables", "the fork has its own");
    let gone = conversations.delete(&first.conversation).await;
    assert!(matches!(gone, Err(ConversationFault::NotFound { .. })), "{gone:?}");
    host.stop().await;
}

#[tokio::test]
async fn a_conversation_with_an_open_turn_is_neither_deleted_nor_forked_there() {
    let world = World::new();
    world.agent("agent", script(async |agent| text(agent.infer("what?").await?)));
    world.hold(true);
    let host = Host::start(&world, "host");
    let taken = host.say("agent", "go").await;
    let busy = host.conversations.delete(&taken.conversation).await;
    assert!(matches!(busy, Err(ConversationFault::Busy { turns: 1, .. })), "{busy:?}");
    let busy = host.conversations.fork(&taken.conversation, 0, None).await;
    assert!(matches!(busy, Err(ConversationFault::Busy { .. })), "{busy:?}");
    host.turns.cancel(taken.turn, "ann").await.expect("cancelled");
    host.end(taken.turn).await;
    host.conversations.delete(&taken.conversation).await.expect("deleted");
    host.stop().await;
}

#[tokio::test]
async fn people_set_variables_large_ones_too_and_agents_read_them() {
    let world = World::new();
    world.agent(
        "agent",
        script(async |agent| {
            let get = AgentEffect::GetVariable { name: name("big"), version: None };
            match agent.get(get).await? {
                AgentOutcome::Variable(json) => text(json.get().len().to_string()),
                other => panic!("{other:?}"),
            }
        }),
    );
    let host = Host::start(&world, "host");
    let conversation = host.conversations.create("agent", None).await.expect("made");
    let big = format!("[{}0]", "1234567890,".repeat(10_000));
    let version = host.conversations.set_variable(&conversation, &name("big"), &big).await;
    assert_eq!(version.expect("set"), 1);
    let new = new_turn("agent", Some(conversation.clone()), "go");
    let turn = host.turns.start(new).await.expect("taken").turn;
    assert_eq!(host.reply(turn).await, big.len().to_string());
    let bad = host.conversations.set_variable(&conversation, &name("bad"), "{").await;
    assert!(matches!(bad, Err(ConversationFault::Invalid { .. })), "{bad:?}");
    host.stop().await;
}
