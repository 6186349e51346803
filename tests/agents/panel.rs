//! The panel through the real door: several members answer, a judge decides, and one that fails is
//! left out.

use foreshore_scripted_model::{Format, Script, ScriptedServer};
use serde_json::{Value, json};

use super::turn;
use crate::harness::events::{Event, Events};
use crate::harness::server::Server;

const SCRIPT: &str = r#"
[[models]]
name = "demo"
loaded = true
[[models]]
name = "other"
loaded = true
[[models]]
name = "broken"
loaded = true

[[rules]]
when = { system = "You judge", last_user = "twelve fathoms" }
answer.json = { winner = 2, reasons = "It is right." }
[[rules]]
when.model = "broken"
answer = { status = 500, error = "the runner is gone" }
[[rules]]
when = { model = "other", system = "Be exact." }
answer.text = "It is twelve fathoms."
[[rules]]
when.system = "Be brief."
answer.text = "Ten."
"#;

#[test]
fn several_answer_and_a_judge_who_does_not_know_them_decides() {
    let script = Script::parse(SCRIPT, Format::Toml).expect("the script is sound");
    let model = ScriptedServer::start(script, ([127, 0, 0, 1], 0).into()).expect("a port");
    let configuration = format!(
        r#"
        [inference]
        default_model = "demo"
        [[inference.backends]]
        name = "script"
        kind = "ollama"
        url = "{}"
        [inference.models.demo]
        [inference.models.other]
        [inference.models.broken]
        [inference.retries]
        max = 0
        [agents.panel]
        models = ["other", "broken"]
        "#,
        model.url()
    );
    let server = Server::start(&configuration, &[]);
    let parameters = json!({"members": [
        {"instructions": "Be brief."},
        {"instructions": "Be kind.", "model": "broken"},
        {"instructions": "Be exact.", "model": "other"},
    ]});
    let body = json!({"message": "How deep is it?", "parameters": parameters});
    let turn = turn(&server, "panel", &body);
    assert_eq!(turn["reply"]["text"], "It is twelve fathoms.", "{turn}");
    assert_eq!(turn["reply"]["finish"], "stop", "{turn}");

    let path = format!("/v1/turns/{}/events", turn["turn_id"].as_str().expect("an id"));
    let events = Events::open(server.address, &path, None, None).expect("events");
    let events: Vec<Event> = events.collect();
    let of = |name: &str, field: &str| -> Vec<Value> {
        let named = events.iter().filter(|event| event.name == name);
        named.map(|event| event.data[field].clone()).collect()
    };
    let phases = ["asking", "answered", "left out", "answered", "judging", "decided"];
    assert_eq!(of("turn.phase", "name"), phases);
    let kinds = ["panel.answer", "panel.failure", "panel.answer", "panel.verdict"];
    assert_eq!(of("turn.note", "kind"), kinds);
    let verdict = json!({"winner": 3, "model": "other", "reasons": "It is right."});
    assert_eq!(of("turn.note", "payload").last(), Some(&verdict));

    // Who judges is told the answers by number, and neither models nor what members were told.
    let requests = model.requests();
    let judged = requests.iter().map(|request| &request.body).find(|body| {
        body["messages"][0]["content"].as_str().is_some_and(|text| text.starts_with("You judge"))
    });
    let judged = judged.expect("a judge was asked");
    assert_eq!(judged["model"], "demo");
    let told = judged["messages"][1]["content"].as_str().expect("a text");
    for answer in
        [r#"{"answer":1,"text":"Ten."}"#, r#"{"answer":2,"text":"It is twelve fathoms."}"#]
    {
        assert!(told.contains(answer), "{told}");
    }
    assert!(!told.contains("other") && !told.contains("exact"), "{told}");

    // A model that the operator did not name is nobody's to ask.
    let body =
        json!({"message": "How deep is it?", "parameters": {"members": [{"model": "huge"}]}});
    let refused = server.send("POST", "/v1/agents/panel/turns", &body).json();
    assert_eq!(refused["state"], "failed", "{refused}");
    let message = refused["error"]["message"].as_str().expect("a message");
    assert!(message.contains("model huge is not granted"), "{message}");
}
