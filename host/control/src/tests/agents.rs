//! A turn in the real sandbox: an agent that asks for everything there is, and a real tool.

use std::path::{Path, PathBuf};

use foreshore_domain::agent::AgentPolicy;
use foreshore_domain::conversation::{Decision, QuestionKind, TurnEnd};
use foreshore_domain::memory::JsonText;
use foreshore_domain::outcome::Content;

use super::guest::{Body, guest};
use super::*;
use crate::turns::{Ended, NewTurn, ReplayOptions, TurnEvent};

/// The agent that does what its message says.
fn probe() -> Source {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/guests");
    let built = foreshore_guest_builder::build(&workspace, &guests()).expect("the guests build");
    let is_probe = |name: &str| name.replace('_', "-") == "probe-agent";
    let probe = built.into_iter().find(|one| is_probe(&one.name)).expect("the probe is there");
    Source {
        bytes: probe.bytes.into(),
        file_stem: Some("probe@1.0.0".to_owned()),
        origin: Origin::Embedded,
    }
}

/// Where guests are built, in the target directory that this test runs from.
fn guests() -> PathBuf {
    let program = std::env::current_exe().expect("this program");
    let target = program.ancestors().nth(3).expect("a target directory");
    target.join("tmp/guests")
}

async fn ended(control: &Control, turn: foreshore_domain::id::TurnId) -> Ended {
    let mut follow = control.turns().follow(turn, None).expect("there");
    while let Some(update) = follow.next().await {
        match update.event {
            TurnEvent::Ended(ended) => return *ended,
            TurnEvent::Question(asked) => {
                let decision = match asked.kind {
                    QuestionKind::Approve { .. } => Decision::Approved,
                    QuestionKind::Ask { .. } => {
                        Decision::Accepted(JsonText::parse("{}").expect("JSON"))
                    }
                };
                let answered = control.turns().answer(asked.question, decision, "ann").await;
                answered.expect("answered");
            }
            _ => {}
        }
    }
    panic!("it has no end")
}

#[tokio::test]
async fn an_agent_in_the_sandbox_asks_for_everything_and_runs_again_on_its_record() {
    let place = Place::new();
    let files = guest("files", Body::Echo).called("write").with_side_effects().build();
    let mut config = place.config(&[&files]);
    config.embedded.push(probe());
    let mut policy = AgentPolicy::of_component("probe");
    policy.tools = vec!["files.*".parse().expect("a pattern")];
    config.agents.insert("agent".to_owned(), policy);
    let control = start(config).await;
    let agents = control.turns().agents();
    let component = agents[0].component.as_ref().expect("it is loaded");
    assert_eq!(component.title.as_deref(), Some("Probe"));

    let new = NewTurn {
        principal: foreshore_domain::identity::Principal::host(),
        agent: "agent".to_owned(),
        conversation: None,
        message: vec![Content::text(r#"{"do":"everything"}"#)],
        history: Vec::new(),
        parameters: None,
        budget: None,
    };
    let taken = control.turns().start(new).await.expect("taken");
    // Two questions: each ends a run, so the turn runs three times, on its record.
    let end = ended(&control, taken.turn).await;
    assert_eq!(end.end, TurnEnd::Completed, "{:?}", end.error);
    let told = crate::turns::excerpt(&end.reply);
    for expected in [
        "Unavailable(None)",
        "NotFound(\\\"tool files.read\\\")",
        "agent_not_granted",
        "memory_not_granted",
        "Accepted(\\\"{}\\\")",
    ] {
        assert!(told.contains(expected), "{expected} in {told}");
    }
    let events = call_events(&control).await;
    let of_the_tool: Vec<_> =
        events.iter().filter(|(_, payload)| payload["tool"] == "write").collect();
    let kinds: Vec<&str> = of_the_tool.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["call.started", "call.completed"], "it ran once");
    for (_, payload) in of_the_tool {
        assert_eq!(payload["agent"], "agent");
        assert_eq!(payload["turn"], taken.turn.to_string());
    }
    let report = control.turns().replay(taken.turn, ReplayOptions::default()).await;
    let report = report.expect("replayed");
    assert_eq!(report.divergence, None);
    assert_eq!(crate::turns::excerpt(&report.replayed.reply), told);
    let mut lines = Vec::new();
    let exported = control.conversations().export(&taken.conversation, |line| {
        lines.push(line);
        true
    });
    exported.expect("exported");
    assert!(lines.iter().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
    assert!(lines.iter().any(|line| line.contains("\"line\":\"variable\"")), "{lines:?}");
    assert_eq!(control.drain(std::time::Duration::from_secs(10)).await, crate::Drained::Completely);
}
