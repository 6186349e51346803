//! Model servers that are away, seen through the binary: left alone after five failures, done
//! without where there is another, back by themselves. What did not reach a server is counted
//! there, by its connections.

use foreshore_scripted_model::{Format, Script, ScriptedServer};
use serde_json::{Value, json};

use super::{turn, until};
use crate::harness::events::{Event, Events};
use crate::harness::http::Response;
use crate::harness::server::Server;

/// A server whose connections all end before an answer.
const DEAD: &str = r#"
[[models]]
name = "lonely"
loaded = true
[[models]]
name = "guarded"
loaded = true
[[rules]]
when.path = "*"
answer.break = { with = "cut" }
"#;

/// The same server, as it was meant to be.
const WELL: &str = r#"
[[models]]
name = "lonely"
loaded = true
[[models]]
name = "guarded"
loaded = true
[[rules]]
answer.text = "I am back."
"#;

/// Another one.
const SPARE: &str = r#"
[[models]]
name = "spare"
loaded = true
[[models]]
name = "breaks"
loaded = true
[[rules]]
when.model = "breaks"
answer.text = "This is not the end of it"
answer.break = { after = 2, with = "error", message = "the runner is gone" }
[[rules]]
answer.text = "The spare one says so."
"#;

/// Failures after which a server is left alone.
const FAILURES: u64 = 5;

fn parsed(script: &str) -> Script {
    Script::parse(script, Format::Toml).expect("the script is sound")
}

fn scripted(script: &str) -> ScriptedServer {
    ScriptedServer::start(parsed(script), ([127, 0, 0, 1], 0).into()).expect("a port")
}

/// A host with both servers; the first is left alone for `open_ms`, and looked at that often.
fn host(first: &ScriptedServer, second: &ScriptedServer, open_ms: u64) -> Server {
    let (first, second) = (first.url(), second.url());
    let configuration = format!(
        r#"
        [inference]
        probe_every_ms = {open_ms}
        [[inference.backends]]
        name = "first"
        kind = "ollama"
        url = "{first}"
        [[inference.backends]]
        name = "second"
        kind = "ollama"
        url = "{second}"
        [inference.retries]
        max = 0
        [inference.breaker]
        open_ms = {open_ms}
        [inference.models.lonely]
        backend = "first"
        [inference.models.guarded]
        backend = "first"
        fallback = ["spare"]
        [inference.models.absent]
        backend = "second"
        fallback = ["spare"]
        [inference.models.breaks]
        backend = "second"
        fallback = ["spare"]
        [inference.models.spare]
        backend = "second"
        [agents.guarded]
        component = "assistant"
        model = "guarded"
        [agents.breaks]
        component = "assistant"
        model = "breaks"
        "#
    );
    Server::start(&configuration, &[])
}

fn chat(server: &Server, model: &str) -> Response {
    let messages = json!([{"role": "user", "content": "Are you there?"}]);
    server.send("POST", "/v1/chat/completions", &json!({"model": model, "messages": messages}))
}

/// What the host says of its model servers.
fn models(server: &Server) -> String {
    let ready = server.get("/readyz?verbose").json();
    let checks = ready["checks"].as_array().expect("checks");
    let models = checks.iter().find(|check| check["name"] == "models").expect("one of models");
    models["message"].as_str().expect("a message").to_owned()
}

/// Requests for text of a model that its server has had.
fn chats(server: &ScriptedServer, model: &str) -> usize {
    let requests = server.requests();
    let of_model = requests.iter().filter(|request| {
        request.body["model"] == model
            && request.body["messages"].as_array().is_some_and(|all| !all.is_empty())
    });
    of_model.count()
}

#[test]
fn a_dead_server_is_left_alone_after_five_failures_and_done_without_where_there_is_another() {
    let (dead, spare) = (scripted(DEAD), scripted(SPARE));
    // Nobody looks after it in the time of this test.
    let server = host(&dead, &spare, 3_600_000);
    let mut calls = 0;
    while !models(&server).contains("lonely open") {
        let before = dead.connection_count();
        let answer = chat(&server, "lonely");
        assert_eq!(answer.status, 503, "{}", answer.json());
        assert!(dead.connection_count() > before, "it was tried: {}", models(&server));
        calls += 1;
        assert!(calls <= FAILURES, "{}", models(&server));
    }
    let connections = dead.connection_count();
    for _ in 0..50 {
        let answer = chat(&server, "lonely");
        assert_eq!(answer.status, 503, "{}", answer.json());
        assert!(answer.header("retry-after").is_some(), "it says when to come again");
        assert_eq!(answer.json()["error"]["type"], "server_error");
    }
    assert_eq!(dead.connection_count(), connections, "it was left alone");

    // Another model of the same server has failures of its own, and a model to fall back to.
    for _ in 0..2 * FAILURES {
        let body = json!({"message": "Are you there?"});
        let turn = turn(&server, "guarded", &body);
        assert_eq!(turn["reply"]["text"], "The spare one says so.", "{turn}");
        let served = json!({"backend": "second", "model": "spare", "step": "fallback"});
        assert_eq!(turn["served_by"], served);
    }
    assert!(models(&server).contains("guarded open"), "{}", models(&server));
    let connections = dead.connection_count();
    let answer = chat(&server, "guarded").json();
    assert_eq!(answer["choices"][0]["message"]["content"], "The spare one says so.");
    assert_eq!(dead.connection_count(), connections, "it is fallen back from without a try");
}

#[test]
fn a_server_that_is_back_is_used_again_without_anybody_asking_for_it() {
    let (first, spare) = (scripted(DEAD), scripted(SPARE));
    let server = host(&first, &spare, 100);
    for _ in 0..FAILURES {
        assert_eq!(chat(&server, "lonely").status, 503);
    }
    // Those who look for it change the word to "half-open" now and then.
    assert!(models(&server).contains("open"), "{}", models(&server));
    first.set_script(parsed(WELL));
    until("it is closed again", || models(&server).contains("lonely closed").then_some(()));
    let answer = chat(&server, "lonely").json();
    assert_eq!(answer["choices"][0]["message"]["content"], "I am back.", "{answer}");
}

#[test]
fn a_model_that_is_not_there_gives_way_to_the_next_and_is_no_failure() {
    let (first, spare) = (scripted(WELL), scripted(SPARE));
    let server = host(&first, &spare, 3_600_000);
    for _ in 0..2 * FAILURES {
        let answer = chat(&server, "absent").json();
        assert_eq!(answer["choices"][0]["message"]["content"], "The spare one says so.");
    }
    assert!(!models(&server).contains("open"), "{}", models(&server));
}

#[test]
fn an_answer_that_breaks_off_is_told_as_such_and_nobody_else_is_asked_to_go_on() {
    let (first, spare) = (scripted(WELL), scripted(SPARE));
    let server = host(&first, &spare, 3_600_000);
    let messages = json!([{"role": "user", "content": "Go on."}]);
    let body = json!({"model": "breaks", "messages": messages, "stream": true});
    let answer = server.send("POST", "/v1/chat/completions", &body);
    let text = String::from_utf8(answer.body).expect("text");
    let chunks: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    let last: Value = serde_json::from_str(chunks.last().expect("chunks")).expect("JSON");
    assert!(last["error"]["message"].to_string().contains("the runner is gone"), "{text}");
    assert!(text.contains("This ") && !text.contains("[DONE]"), "{text}");

    let body = json!({"message": "Go on."});
    let events = Events::open(server.address, "/v1/agents/breaks/turns", None, Some(&body));
    let events: Vec<Event> = events.expect("events").collect();
    let said: String = events
        .iter()
        .filter(|event| event.name == "message.delta")
        .filter_map(|event| event.data["text"].as_str())
        .collect();
    assert_eq!(said, "This is ", "what had come is shown");
    let last = events.last().expect("events");
    assert_eq!((last.name.as_str(), &last.data["state"]), ("error", &json!("failed")));
    assert!(last.data["error"]["message"].to_string().contains("the runner is gone"), "{last:?}");
    assert_eq!((chats(&spare, "breaks"), chats(&spare, "spare")), (2, 0), "once each");
}
