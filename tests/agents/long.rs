//! A conversation of 200 turns with the shipped assistant: what the model is asked does not grow,
//! and a fact of the first turn is known in the last one.
//!
//! What the model is asked is read from what its server was sent. The server keeps nothing: it
//! can say the fact only from what a tool of the assistant gave it in the same turn.

use std::path::Path;

use foreshore_scripted_model::{Format, Script, ScriptedServer};
use serde_json::{Value, json};

use super::turn;
use crate::harness::server::Server;

const TURNS: usize = 200;

/// Wordy, but for a mooring that it keeps in a variable and looks up there, and charts that it
/// reads from a file.
const SCRIPT: &str = r#"
[[models]]
name = "wordy"
loaded = true
capabilities = ["completion", "tools"]

[[rules]]
name = "a summary"
when.system = "You keep the summary"
answer.text = "{{repeat 20 They talked about the sea, at length. }}"

[[rules]]
when = { last_user = "Remember: our mooring is", tool_result = true }
answer.text = "I will."
[[rules]]
when.last_user = { regex = 'Remember: our mooring is ([\w ]+)' }
answer.tool_calls = [{ name = "variable_set", arguments = { name = "mooring", value = "{{1}}" } }]

[[rules]]
when = { last_user = "Which mooring is ours?", tool_name = "variable_get" }
answer.text = "It is {{tool_result}}."
[[rules]]
when = { last_user = { regex = '"variable":"mooring"[\s\S]*Which mooring is ours' } }
answer.tool_calls = [{ name = "variable_get", arguments = { name = "mooring" } }]

[[rules]]
when = { last_user = "Read the chart", tool_result = false }
answer.tool_calls = [{ name = "files__read", arguments = { path = "/charts/chart.txt" } }]

[[rules]]
name = "much ado"
answer.text = "{{repeat 30 The sea is wide there, and deep. }}"
"#;

fn server(model: &ScriptedServer, charts: &Path) -> Server {
    let configuration = format!(
        r#"
        [inference]
        default_model = "wordy"
        [[inference.backends]]
        name = "wordy"
        kind = "ollama"
        url = "{}"
        [inference.models.wordy]
        num_ctx = 8192
        [agents.assistant]
        tools = ["files.read"]
        [components.files]
        mounts = [{{ host = {charts:?}, guest = "/charts", access = "read-only" }}]
        "#,
        model.url()
    );
    Server::start(&configuration, &[])
}

/// Everything that the model was asked, but for summaries; the server forgets it.
fn asked(model: &ScriptedServer) -> Vec<Value> {
    let all = model.requests();
    model.clear();
    let asks = |body: &Value| {
        let messages = body["messages"].as_array();
        let system = messages.and_then(|all| all.first()).map(|first| &first["content"]);
        system.and_then(Value::as_str).is_some_and(|text| !text.starts_with("You keep the summary"))
    };
    all.into_iter().filter(|one| one.path == "/api/chat").map(|one| one.body).filter(asks).collect()
}

/// What a model reads of a request, in bytes.
fn size(request: &Value) -> usize {
    request["messages"].to_string().len() + request["tools"].to_string().len()
}

#[test]
fn the_prompt_of_turn_200_is_that_of_turn_20_and_a_fact_of_turn_1_is_known() {
    let charts = tempfile::tempdir().expect("made");
    let chart = "a depth of 12 m\n".repeat(2_000);
    std::fs::write(charts.path().join("chart.txt"), chart).expect("written");
    let script = Script::parse(SCRIPT, Format::Toml).expect("the script is sound");
    let model = ScriptedServer::start(script, ([127, 0, 0, 1], 0).into()).expect("a port");
    let server = server(&model, charts.path());

    let (mut conversation, mut said) = (Value::Null, 0);
    // The largest prompt of each turn.
    let mut sizes = Vec::new();
    for number in 1..=TURNS {
        let message = match number {
            1 => "Remember: our mooring is B 17".to_owned(),
            TURNS => "Which mooring is ours?".to_owned(),
            number if number % 3 == 0 => format!("Read the chart for bay {number}."),
            number => format!("Tell me of bay {number}, {}.", "and of its weather".repeat(3)),
        };
        let mut body = json!({"message": message});
        if !conversation.is_null() {
            body["conversation"] = conversation.clone();
        }
        let turn = turn(&server, "assistant", &body);
        assert_eq!(turn["state"], "completed", "turn {number}: {turn}");
        assert_eq!(turn["reply"]["finish"], "stop", "turn {number}: {turn}");
        conversation = turn["conversation"].clone();
        let reply = turn["reply"]["text"].as_str().expect("a text");
        said += message.len() + reply.len();
        let asked = asked(&model);
        sizes.push(asked.iter().map(size).max().expect("it was asked"));
        if number == TURNS {
            assert_eq!(reply, "It is B 17.");
            assert_eq!(asked.len(), 2, "it looked it up: {turn}");
        }
    }

    let of = |number: usize| sizes[number - 1];
    let most = |numbers: std::ops::RangeInclusive<usize>| numbers.map(of).max().expect("some");
    println!("turn 20: {} bytes; turn 200: {} bytes; said: {said}", of(20), of(200));
    assert!(of(200) <= of(20) * 11 / 10, "{} and {}", of(20), of(200));
    // Some turns read a chart, and some follow a summary: so all of two weeks are compared too.
    assert!(most(187..=200) <= most(15..=28) * 11 / 10, "{} {}", most(15..=28), most(187..=200));
    assert!(said > 10 * of(200), "the conversation is far longer than a prompt: {said}");
    let shown = server.get(&format!("/v1/conversations/{}", conversation.as_str().expect("an id")));
    assert_eq!(shown.json()["turns"], TURNS);
}
