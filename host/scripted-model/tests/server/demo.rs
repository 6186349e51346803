//! The embedded demonstration, played by a loop such as an agent has.

use std::collections::BTreeMap;

use foreshore_scripted_model::{Script, ScriptedServer};
use serde_json::{Value, json};

use crate::client::{any_port, post};

/// The shipped tools, with a separator as an agent may choose it.
fn tools(separator: &str) -> Value {
    let names = [
        "files.list",
        "files.read",
        "files.read-range",
        "query.jq",
        "memory.remember",
        "memory.recall",
    ];
    let tool = |name: &&str| json!({ "type": "function", "function": { "name": name.replace('.', separator) } });
    names.iter().map(tool).collect()
}

/// One turn: which tools were called with what, and what was said in the end.
fn turn(
    separator: &str,
    says: &str,
    results: &BTreeMap<&str, &str>,
) -> (Vec<(String, Value)>, String) {
    let server = ScriptedServer::start(Script::demo(), any_port()).expect("a free port");
    let mut messages = vec![
        json!({ "role": "system", "content": "You are an assistant with tools." }),
        json!({ "role": "user", "content": says }),
    ];
    let mut called = Vec::new();
    for _ in 0..6 {
        let request = json!({
            "model": "demo", "stream": false, "messages": messages, "tools": tools(separator)
        });
        let message = post(&server, "/api/chat", &request).json()["message"].clone();
        let Some(calls) = message["tool_calls"].as_array() else {
            return (called, message["content"].as_str().expect("a text").to_owned());
        };
        messages.push(message.clone());
        for call in calls {
            let name = call["function"]["name"].as_str().expect("a name");
            let plain = name.replace(separator, ".");
            called.push((plain.clone(), call["function"]["arguments"].clone()));
            let content = results.get(plain.as_str()).expect("a tool of the test");
            messages.push(json!({ "role": "tool", "tool_name": name, "content": content }));
        }
    }
    panic!("the turn does not end: {called:?}");
}

#[test]
fn a_table_is_queried_and_the_answer_remembered() {
    let results = BTreeMap::from([
        ("query.jq", r#"{"results":[{"planet":"Saturn","density_kg_m3":687}],"count":1}"#),
        ("memory.remember", r#"{"namespace":"notes","key":"demo/query","version":1}"#),
    ]);
    let says = "Which planets in /tables/planets.csv are less dense than water?";
    for separator in [".", "__", "_", "-"] {
        let (called, answer) = turn(separator, says, &results);
        assert_eq!(called.len(), 1, "{called:?}");
        assert_eq!(called[0].0, "query.jq");
        assert_eq!(called[0].1["path"], "/tables/planets.csv");
        assert!(answer.contains("Saturn"), "{answer}");
        let (called, answer) = turn(separator, &format!("{says} Remember the answer."), &results);
        let names: Vec<_> = called.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["query.jq", "memory.remember"]);
        assert!(called[1].1["value"].as_str().is_some_and(|it| it.contains("Saturn")));
        assert!(answer.contains("remembered"), "{answer}");
    }
}

#[test]
fn files_are_read_and_listed_and_failures_told() {
    let results = BTreeMap::from([
        ("files.read", r##"{"path":"/source/README.md","text":"# Foreshore"}"##),
        ("files.list", "error: nothing is mounted at /secret"),
    ]);
    let (called, answer) = turn("__", "Please read /source/README.md.", &results);
    assert_eq!(called, [("files.read".to_owned(), json!({ "path": "/source/README.md" }))]);
    assert!(answer.contains("# Foreshore"), "{answer}");
    let (called, answer) = turn("__", "What is in /secret/ ?", &results);
    assert_eq!(called, [("files.list".to_owned(), json!({ "path": "/secret/" }))]);
    assert!(answer.contains("I could not do that: nothing is mounted"), "{answer}");
}

#[test]
fn what_is_said_is_remembered_and_recalled() {
    let results = BTreeMap::from([
        ("memory.remember", "{}"),
        ("memory.recall", r#"{"matches":[{"value":"the survey is due on 3 May"}]}"#),
    ]);
    let (called, _) = turn("__", "Remember that the survey is due on 3 May.", &results);
    assert_eq!(called[0].1["value"], "the survey is due on 3 May.");
    let (called, answer) = turn("__", "What do you know about the survey?", &results);
    assert_eq!(called, [("memory.recall".to_owned(), json!({ "query": "the survey" }))]);
    assert!(answer.contains("3 May"), "{answer}");
    let (called, answer) = turn("__", "Hello!", &results);
    assert!(called.is_empty() && answer.contains("scripted model"), "{answer}");
}
