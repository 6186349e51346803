//! Conversations: they know what was said, are found, named, put away, forked, taken along and
//! deleted; their variables.

use serde_json::{Value, json};

use super::{host, turn};
use crate::harness::server::Server;

/// A conversation of two turns, in which a word is said and asked for.
fn with_word(server: &Server, word: &str) -> String {
    let message = format!("Hear this: my word is {word}.");
    let first = turn(server, "assistant", &json!({"message": message}));
    let conversation = first["conversation"].as_str().expect("an id").to_owned();
    let body = json!({"conversation": conversation, "message": "So what is my word?"});
    let second = turn(server, "assistant", &body);
    assert_eq!(second["number"], 1);
    assert_eq!(second["reply"]["text"], format!("Your word is {word}."));
    conversation
}

fn listed(server: &Server, query: &str, id: &str) -> bool {
    let page = server.get(&format!("/v1/conversations?limit=200&{query}")).json();
    page["conversations"].as_array().expect("a list").iter().any(|one| one["id"] == id)
}

#[test]
fn a_conversation_goes_on_and_its_turns_are_read_again() {
    let server = host();
    let id = with_word(&server, "kelp");
    let shown = server.get(&format!("/v1/conversations/{id}")).json();
    assert_eq!((&shown["turns"], &shown["open_turns"]), (&json!(2), &json!(0)));
    assert_eq!(shown["agent"], "assistant");

    let turns = |query: &str| server.get(&format!("/v1/conversations/{id}/turns{query}")).json();
    let numbers = |page: &Value| -> Vec<u64> {
        let turns = page["turns"].as_array().expect("turns");
        turns.iter().filter_map(|turn| turn["number"].as_u64()).collect()
    };
    assert_eq!(numbers(&turns("?from=0")), [0, 1]);
    assert_eq!(numbers(&turns("")), [1, 0], "the newest first");
    assert_eq!(numbers(&turns("?before=1")), [0]);
    let other = json!({"conversation": id, "message": "x"});
    let answer = server.send("POST", "/v1/agents/planner/turns", &other);
    assert_eq!(answer.status, 409, "it is the assistant's: {}", answer.json());
}

#[test]
fn a_conversation_is_searched_renamed_and_archived() {
    let server = host();
    let id = with_word(&server, "bladderwrack");
    let search = json!({"query": "bladderwrack", "agent": "assistant"});
    let hits = server.send("POST", "/v1/conversations/search", &search).json();
    let hits = hits["hits"].as_array().expect("hits");
    let found = |place: &str| {
        hits.iter().any(|hit| hit["conversation"] == id.as_str() && hit["found_in"] == place)
    };
    assert!(found("message") && found("reply"), "{hits:?}");
    let none = json!({"query": "bladderwrack", "agent": "probe"});
    let none = server.send("POST", "/v1/conversations/search", &none).json();
    assert_eq!(none["hits"], json!([]));

    let path = format!("/v1/conversations/{id}");
    assert!(listed(&server, "archived=false", &id) && !listed(&server, "archived=true", &id));
    let change = json!({"title": "Seaweed", "archived": true});
    let changed = server.send("PATCH", &path, &change).json();
    assert_eq!((&changed["title"], &changed["archived"]), (&json!("Seaweed"), &json!(true)));
    assert!(listed(&server, "archived=true", &id) && !listed(&server, "archived=false", &id));
    assert!(listed(&server, "agent=assistant", &id) && !listed(&server, "agent=probe", &id));
    let back = server.send("PATCH", &path, &json!({"archived": false})).json();
    assert_eq!((&back["title"], &back["archived"]), (&json!("Seaweed"), &json!(false)));
}

#[test]
fn a_fork_knows_what_was_said_before_it_and_outlives_its_origin() {
    let server = host();
    let id = with_word(&server, "dulse");
    let fork = json!({"through_turn": 0, "title": "Another way"});
    let made = server.send("POST", &format!("/v1/conversations/{id}/fork"), &fork);
    assert_eq!(made.status, 201, "{}", made.json());
    let forked = made.json()["id"].as_str().expect("an id").to_owned();
    let shown = server.get(&format!("/v1/conversations/{forked}")).json();
    assert_eq!(shown["forked_from"], json!({"conversation": id, "through_turn": 0}));
    assert_eq!(shown["turns"], 1);

    let path = format!("/v1/conversations/{id}");
    assert_eq!(server.send("DELETE", &path, &Value::Null).status, 204);
    assert_eq!(server.get(&path).status, 404);
    assert!(!listed(&server, "", &id));
    let body = json!({"conversation": forked, "message": "So what is my word?"});
    let turn = turn(&server, "assistant", &body);
    assert_eq!(turn["number"], 1);
    assert_eq!(turn["reply"]["text"], "Your word is dulse.");
    assert_eq!(server.send("DELETE", &path, &Value::Null).status, 404, "it is gone already");
}

#[test]
fn an_export_is_a_line_for_each_turn() {
    let server = host();
    let id = with_word(&server, "sargassum");
    let export = server.get(&format!("/v1/conversations/{id}/export"));
    assert_eq!(export.header("content-type"), Some("application/jsonl"));
    let text = String::from_utf8(export.body).expect("text");
    let turns: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(turns.len(), 2);
    assert_eq!(turns[0]["message"]["text"], "Hear this: my word is sargassum.");
    assert_eq!(turns[1]["reply"]["text"], "Your word is sargassum.");
    assert_eq!(server.get("/v1/conversations/conv_of_nobody/export").status, 404);
}

#[test]
fn variables_are_set_and_read_by_version() {
    let server = host();
    let body = json!({"agent": "assistant", "title": "Variables"});
    let made = server.send("POST", "/v1/conversations", &body);
    assert_eq!(made.status, 201, "{}", made.json());
    let id = made.json()["id"].as_str().expect("an id").to_owned();
    let path = format!("/v1/conversations/{id}/variables");
    let plan = format!("{path}/plan");
    assert_eq!(server.get(&plan).status, 404);
    assert_eq!(server.send("PUT", &plan, &json!({"steps": 3})).json()["version"], 1);
    assert_eq!(server.send("PUT", &plan, &json!(["look", "leap"])).json()["version"], 2);
    assert_eq!(server.get(&plan).json()["value"], json!(["look", "leap"]));
    assert_eq!(server.get(&format!("{plan}?version=1")).json()["value"], json!({"steps": 3}));
    let listed = server.get(&path).json();
    assert_eq!(listed["variables"][0]["name"], "plan");
    assert_eq!(listed["variables"][0]["type"], "array");
    assert!(listed["variables"][0].get("history").is_none(), "it was not asked for: {listed}");
    let history = |versions: u64| {
        let listed = server.get(&format!("{path}?versions={versions}")).json();
        let history = listed["variables"][0]["history"].as_array().expect("versions").clone();
        let version = |one: &Value| (one["version"].as_u64(), one["first_line"].clone());
        history.iter().map(version).collect::<Vec<_>>()
    };
    let newest = (Some(2), json!(r#"["look","leap"]"#));
    assert_eq!(history(1), std::slice::from_ref(&newest));
    assert_eq!(history(100), [newest, (Some(1), json!(r#"{"steps":3}"#))]);
    for wrong in ["0", "101", "all"] {
        let answer = server.get(&format!("{path}?versions={wrong}"));
        assert_eq!(answer.json()["code"], "invalid_query", "{wrong}");
    }
    assert_eq!(server.send("PUT", &format!("{path}/Not%20A%20Name"), &json!(1)).status, 404);
    let body = json!({"agent": "nobody"});
    assert_eq!(server.send("POST", "/v1/conversations", &body).status, 422);
}
