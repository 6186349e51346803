//! What an agent asks comes to the door as its effect, and back as its outcome.

use foreshore_domain::component::ImportVerdict;
use foreshore_domain::effect::{AgentEffect, ReplyPart};
use serde_json::json;

use crate::bench::{Bench, seen};
use crate::door::Does;

#[tokio::test]
async fn an_agent_says_what_it_is_and_all_that_it_may_ask_is_linked() {
    let bench = Bench::new(Does::Give).await;
    let agent = bench.probe.agent().expect("an agent");
    assert_eq!(agent.definition.name, "probe");
    assert!(agent.check_parameters(&json!({"depth": 2})).is_ok());
    assert_eq!(
        agent.check_parameters(&json!({"depth": "x"})).expect_err("no number").pointer,
        "/depth"
    );
    assert!(bench.probe.tools().is_empty());
    let imports = &bench.probe.inspection().imports;
    for interface in [
        "inference",
        "tools",
        "agents",
        "memory",
        "variables",
        "conversation",
        "reply",
        "approval",
        "events",
        "budget",
        "elicit",
        "secrets",
        "progress",
        "log",
    ] {
        let name = format!("foreshore:{interface}/{interface}@0.1.0");
        let import = imports.iter().find(|import| import.name == name);
        assert_eq!(import.map(|import| &import.verdict), Some(&ImportVerdict::Linked), "{name}");
    }
}

#[tokio::test]
async fn a_turn_is_given_to_the_agent_as_it_is() {
    let bench = Bench::new(Does::Give).await;
    let report = bench.told(json!({"do": "turn"})).await;
    assert_eq!(seen(&report), json!(["c-1", 5, "{\"depth\":2}"]));
    assert!(report.usage.fuel > 0);
}

#[tokio::test]
async fn each_import_comes_to_the_door_as_its_effect_and_back_as_its_outcome() {
    let bench = Bench::new(Does::Give).await;
    let report = bench.told(json!({"do": "everything"})).await;
    let seen = seen(&report);
    let mut kinds = bench.kinds();
    let known: Vec<&str> = AgentEffect::KINDS.to_vec();
    assert_eq!(kinds.len(), known.len(), "the last four are refused before they are effects");
    kinds.sort();
    let mut sorted = known.clone();
    sorted.sort_unstable();
    assert_eq!(kinds, sorted, "each kind once");

    let asked = bench.door.asked.lock().expect("lock").clone();
    let infer = &asked[0]["infer"];
    assert_eq!(infer["stream_to_reply"], true);
    assert_eq!(infer["request"]["model"], "small");
    assert_eq!(infer["request"]["sampling"], json!({"temperature": 0.5, "seed": 7}));
    assert_eq!(infer["request"]["messages"][0]["content"][1]["image"]["mime_type"], "image/png");
    let all = asked[1]["infer-all"].as_array().expect("requests");
    assert_eq!(all.len(), 2, "the malformed one is none of the effect");
    let find = |kind: &str| asked.iter().find_map(|one| one.get(kind)).expect("asked").clone();
    assert_eq!(find("call-tools")[1]["name"], "files.write");
    assert_eq!(find("delegate")["limits"]["tool_calls_max"], 1);
    assert_eq!(find("recent-messages")["limit"], 200, "no more than the interface says");
    assert_eq!(find("set-variable"), json!({"name": "plan", "value": [1]}));

    let says = |at: usize, words: &[&str]| {
        let text = seen[at].as_str().expect("text");
        for word in words {
            assert!(text.contains(word), "{at}: {text} lacks {word}");
        }
    };
    says(0, &["I see", "Fallback", "4294967295"]);
    says(1, &["\"A\"", "/config/temperature", "Unavailable(Some(7))"]);
    says(2, &["0.25, 0.5"]);
    says(3, &["4096"]);
    says(4, &["READ_ONLY", "IDEMPOTENT", "needs-approval: true"]);
    says(5, &["bytes", "{\\\"n\\\": 1}", "UnknownOutcome(\"files.write\")"]);
    says(7, &["done for you", "Budget"]);
    says(9, &["Ok(3)"]);
    says(13, &["turn: 4", "before"]);
    says(14, &["so far", "2"]);
    says(16, &["Accepted"]);
    says(20, &["tool-calls: 4294967295"]);
    says(23, &["/name"]);
    says(24, &["/value", "not JSON"]);
    says(25, &["30 days"]);
    says(26, &["/kind"]);

    let parts = bench.door.parts.lock().expect("lock").clone();
    assert_eq!(
        parts,
        [
            ReplyPart::Phase { name: "asking".to_owned(), message: Some("everything".to_owned()) },
            ReplyPart::Text("so ".to_owned()),
            ReplyPart::Thinking("hm".to_owned()),
        ]
    );
    assert_eq!(report.logs.lines.len(), 1);
}
