//! What Ollama's clients speak, over raw HTTP: models and agents, whole and streamed, tools of
//! the client, vectors, and errors in their shape.

use serde_json::{Value, json};

use super::{host, notes};
use crate::harness::http::Response;
use crate::harness::server::Server;

fn chat(server: &Server, body: &Value) -> Response {
    server.send("POST", "/api/chat", body)
}

fn asking(model: &str, text: &str) -> Value {
    json!({"model": model, "stream": false, "messages": [{"role": "user", "content": text}]})
}

/// Streaming is what is done where a client does not say.
fn streaming(model: &str, text: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": text}]})
}

fn lines(response: &Response) -> Vec<Value> {
    assert_eq!(response.status, 200, "{}", String::from_utf8_lossy(&response.body));
    assert_eq!(response.header("content-type"), Some("application/x-ndjson"));
    let text = std::str::from_utf8(&response.body).expect("text");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn models_and_agents_chat_whole_and_in_lines() {
    let server = host();
    for model in ["demo", "agent:assistant"] {
        let whole = chat(&server, &asking(model, "Is it so?")).json();
        assert_eq!((&whole["model"], &whole["done"]), (&json!(model), &json!(true)), "{whole}");
        assert_eq!(whole["message"]["content"], "So it is, and no more.");
        assert_eq!(whole["done_reason"], "stop");
        assert!(whole["eval_count"].as_u64() > Some(0), "{whole}");

        let all = lines(&chat(&server, &streaming(model, "Is it so?")));
        let said: String =
            all.iter().filter_map(|line| line["message"]["content"].as_str()).collect();
        assert_eq!(said, "So it is, and no more.");
        let (last, before) = all.split_last().expect("lines");
        assert_eq!((&last["done"], &last["done_reason"]), (&json!(true), &json!("stop")), "{last}");
        assert!(before.len() > 1 && before.iter().all(|line| line["done"] == false));
    }
}

#[test]
fn a_prompt_is_completed() {
    let server = host();
    let body = json!({"model": "demo", "prompt": "Is it so?", "stream": false});
    let whole = server.send("POST", "/api/generate", &body).json();
    assert_eq!(
        (&whole["response"], &whole["done"]),
        (&json!("So it is, and no more."), &json!(true))
    );
    let body = json!({"model": "demo", "prompt": "Is it so?"});
    let all = lines(&server.send("POST", "/api/generate", &body));
    let said: String = all.iter().filter_map(|line| line["response"].as_str()).collect();
    assert_eq!(said, "So it is, and no more.");
    assert_eq!(all.last().expect("lines")["done"], true);
}

#[test]
fn an_agent_uses_its_own_tools_and_a_model_those_of_the_client() {
    let (server, notes) = (host(), notes());
    let _ = std::fs::remove_file(notes.join("ollama-a.txt"));
    let answer = chat(&server, &asking("agent:assistant", "write ollama-a.txt and ollama-b.txt"));
    assert_eq!(answer.json()["message"]["content"], "Both are written.");
    assert!(notes.join("ollama-a.txt").exists());

    let mut body = asking("demo", "What is the weather in Oslo?");
    let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    body["tools"] = json!([
        {"type": "function", "function": {"name": "weather", "parameters": parameters}}
    ]);
    let answer = chat(&server, &body).json();
    let call = &answer["message"]["tool_calls"][0]["function"];
    assert_eq!(
        (&call["name"], &call["arguments"]),
        (&json!("weather"), &json!({"city": "Oslo"})),
        "{answer}"
    );
    let messages = body["messages"].as_array_mut().expect("messages");
    messages.push(answer["message"].clone());
    messages
        .push(json!({"role": "tool", "tool_name": "weather", "content": "{\"sky\": \"clear\"}"}));
    let answer = chat(&server, &body).json();
    assert_eq!(answer["message"]["content"], "It is clear.", "{answer}");

    body["model"] = json!("agent:assistant");
    let refused = chat(&server, &body);
    assert_eq!(refused.status, 400);
    assert!(refused.json()["error"].is_string());
}

#[test]
fn vectors_come_for_one_text_and_for_several() {
    let server = host();
    let body = json!({"model": "demo", "input": ["the tide comes in", "and goes out"]});
    let both = server.send("POST", "/api/embed", &body).json();
    let vectors = both["embeddings"].as_array().expect("vectors");
    assert_eq!(vectors.len(), 2);
    assert!(vectors.iter().all(|one| one.as_array().map(Vec::len) == Some(8)), "{both}");
    assert_ne!(vectors[0], vectors[1]);
    let body = json!({"model": "demo", "prompt": "the tide comes in"});
    let one = server.send("POST", "/api/embeddings", &body).json();
    assert_eq!(one["embedding"], vectors[0], "the same text has the same vector");
}

#[test]
fn models_and_agents_are_listed_and_shown_and_not_changed() {
    let server = host();
    let all = server.get("/api/tags").json();
    let names: Vec<&str> = all["models"]
        .as_array()
        .expect("models")
        .iter()
        .filter_map(|one| one["name"].as_str())
        .collect();
    assert!(names.iter().any(|name| name.starts_with("demo")), "{names:?}");
    assert!(names.contains(&"agent:assistant"), "{names:?}");
    for model in ["demo", "agent:assistant"] {
        let shown = server.send("POST", "/api/show", &json!({"model": model}));
        assert_eq!(shown.status, 200, "{}", shown.json());
        assert!(shown.json()["details"].is_object());
    }
    assert!(server.get("/api/ps").json()["models"].is_array());
    assert!(server.get("/api/version").json()["version"].is_string());
}

#[test]
fn models_are_brought_in_copied_and_deleted_by_whoever_manages_them() {
    let directory = tempfile::tempdir().expect("made");
    let script = directory.path().join("script.toml");
    let text = "[[rules]]\nanswer.text = \"hello\"\n[[models]]\nname = \"old\"\n[[models]]\nname = \"new\"\npull = { steps = 3 }\n";
    std::fs::write(&script, text).expect("written");
    let server = Server::start(
        &format!(
            "[[inference.backends]]\nname = \"script\"\nkind = \"scripted\"\nscript = {script:?}\n[inference]\ndefault_model = \"old\"\n"
        ),
        &[],
    );
    let listed = |name: &str| {
        let tags = server.get("/api/tags").json();
        let models = tags["models"].as_array().expect("a list").clone();
        models.iter().any(|one| one["name"].as_str().is_some_and(|n| n.starts_with(name)))
    };
    let pulled = server.send("POST", "/api/pull", &json!({"model": "new"}));
    let lines = String::from_utf8(pulled.body.clone()).expect("text");
    assert_eq!(pulled.status, 200, "{lines}");
    assert!(lines.lines().count() > 1 && lines.trim_end().ends_with("{\"status\":\"success\"}"));
    assert!(listed("new"), "what was got is there");
    let copied = server.send("POST", "/api/copy", &json!({"source": "old", "destination": "twin"}));
    assert_eq!(copied.status, 200, "{copied:?}");
    assert!(listed("twin"));
    assert_eq!(server.send("DELETE", "/api/delete", &json!({"model": "twin"})).status, 200);
    assert!(!listed("twin"));
    assert_eq!(server.send("DELETE", "/api/delete", &json!({"model": "twin"})).status, 404);
    assert_eq!(server.send("POST", "/api/push", &json!({"model": "old"})).status, 501);
    let key = json!({ "name": "a test", "roles": ["caller"] });
    let key = server.send("POST", "/v1/tokens", &key).json()["secret"]
        .as_str()
        .expect("a key")
        .to_owned();
    let shown = format!("Bearer {key}");
    let headers = [("authorization", shown.as_str())];
    let refused = server.send_with("POST", "/api/pull", &headers, &json!({"model": "new"}));
    assert_eq!(refused.status, 403);
    assert!(refused.json()["error"].is_string(), "in Ollama's shape");
}

#[test]
fn errors_are_a_text_with_a_status() {
    let server = host();
    let refused = |body: &Value, status: u16| {
        let answer = chat(&server, body);
        assert_eq!(answer.status, status, "{body}");
        assert!(answer.json()["error"].is_string(), "{body}");
    };
    for ask in [asking, streaming] {
        refused(&ask("absent", "x"), 404);
        refused(&ask("agent:nobody", "x"), 404);
        refused(&ask("stopped", "x"), 503);
    }
    refused(&asking("agent:stranded", "x"), 503);
    let embed = json!({"model": "absent", "input": "x"});
    assert_eq!(server.send("POST", "/api/embed", &embed).status, 404);
    let show = json!({"model": "absent"});
    assert_eq!(server.send("POST", "/api/show", &show).status, 404);
}

#[test]
fn an_answer_that_breaks_in_the_middle_ends_with_an_error() {
    let server = host();
    for model in ["breaks", "agent:broken", "agent:stranded"] {
        let all = lines(&chat(&server, &streaming(model, "x")));
        assert!(all.last().expect("lines")["error"].is_string(), "{model}: {all:?}");
        assert!(all.iter().all(|line| line["done"] != true), "{model}: {all:?}");
    }
}
