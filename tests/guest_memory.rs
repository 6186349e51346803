//! Memory and buckets, as guests reach them: who reaches what, and what stays with it.

use serde_json::{Value, json};

use crate::harness::http;
use crate::harness::server::Server;

/// Two components of the same bytes, each with a bucket, and namespaces that one of them shares.
const TWO: &str = r#"
[components.ada]
keyvalue = true
[components.ada.memory]
namespaces = [{ name = "notes", access = "read-write" }, { name = "*", access = "read-only" }]

[components.bob]
keyvalue = true
[components.bob.memory]
namespaces = [{ name = "notes", access = "read-write" }]
"#;

fn two() -> Server {
    Server::start(TWO, &[("rogue-memory", "ada"), ("rogue-memory", "bob")])
}

fn seen(server: &Server, tool: &str, arguments: Value) -> Value {
    let body = server.call(tool, &arguments).json();
    assert_eq!(body["is_error"], false, "{tool} {arguments}: {body}");
    body["structured"].clone()
}

fn in_bucket(server: &Server, component: &str, steps: Value) -> Value {
    seen(server, &format!("{component}.bucket"), json!({"name": "default", "steps": steps}))
}

#[test]
fn a_bucket_keeps_bytes_counts_and_lists_and_another_component_sees_none_of_it() {
    let server = two();
    let stored = in_bucket(
        &server,
        "ada",
        json!([
            {"do": "get", "key": "k"},
            {"do": "set", "key": "k", "value": [0, 255, 10]},
            {"do": "get", "key": "k"},
            {"do": "set", "key": "t", "value": "text"},
            {"do": "increment", "key": "n", "delta": 2},
            {"do": "increment", "key": "n", "delta": 40},
            {"do": "increment", "key": "t"},
            {"do": "keys"},
            {"do": "delete", "key": "t"},
            {"do": "exists", "key": "t"},
        ]),
    );
    assert_eq!(stored[0], Value::Null, "{stored}");
    assert_eq!(stored[2], json!([0, 255, 10]), "{stored}");
    assert_eq!((&stored[4], &stored[5]), (&json!(2), &json!(42)), "{stored}");
    assert!(stored[6]["error"].as_str().is_some_and(|e| e.contains("no number")), "{stored}");
    assert_eq!(stored[7], json!({"keys": ["k", "n", "t"], "cursor": null}), "{stored}");
    assert_eq!(stored[9], false, "{stored}");
    let other = in_bucket(&server, "bob", json!([{"do": "keys"}, {"do": "get", "key": "k"}]));
    assert_eq!(other, json!([{"keys": [], "cursor": null}, null]));
    // Another call of the first finds it again.
    assert_eq!(in_bucket(&server, "ada", json!([{"do": "get", "key": "n"}])), json!([b"42"]));
    for name in ["kv.bob", "bob", "../bob", "DEFAULT"] {
        let opened = seen(&server, "ada.bucket", json!({"name": name, "steps": []}));
        assert!(opened["error"].as_str().is_some_and(|e| e.contains("NoSuchStore")), "{opened}");
    }
}

#[test]
fn no_name_reaches_the_bucket_of_another_or_a_namespace_that_only_looks_granted() {
    let server = two();
    in_bucket(&server, "bob", json!([{"do": "set", "key": "secret", "value": "bobs"}]));
    // Ada may read every namespace: no bucket is one, not even her own.
    for namespace in ["kv.bob", "kv.ada"] {
        let arguments = json!({"namespace": namespace, "key": "secret"});
        let body = server.call("ada.get", &arguments).json();
        assert_eq!(body["denials"][0]["code"], "memory_not_granted", "{namespace}: {body}");
        assert!(!body.to_string().contains("bobs"), "{body}");
    }
    for namespace in ["notes2", "note", "notes.", "notes-", "notes_"] {
        let arguments = json!({"namespace": namespace, "key": "a", "value": 1});
        let body = server.call("bob.put", &arguments).json();
        assert_eq!(body["denials"][0]["code"], "memory_not_granted", "{namespace}: {body}");
    }
    for namespace in ["Notes", "notes ", " notes", "notes/", "n\u{43e}tes", "notes*", "*", ""] {
        let arguments = json!({"namespace": namespace, "key": "a", "value": 1});
        let body = server.call("bob.put", &arguments).json();
        let seen = body["structured"]["error"].as_str().unwrap_or_default();
        assert!(seen.contains("Invalid") && seen.contains("/namespace"), "{namespace}: {body}");
    }
    let body =
        server.call("ada.put", &json!({"namespace": "other", "key": "a", "value": 1})).json();
    assert_eq!(body["denials"][0]["code"], "memory_read_only", "{body}");
}

#[test]
fn each_version_keeps_the_label_of_who_wrote_it() {
    let server = two();
    let put = |component: &str, value: &str| {
        let arguments = json!({"namespace": "notes", "key": "plan", "value": value});
        seen(&server, &format!("{component}.put"), arguments)
    };
    let get = |component: &str| {
        let arguments = json!({"namespace": "notes", "key": "plan"});
        seen(&server, &format!("{component}.get"), arguments)
    };
    assert_eq!(put("ada", "of ada"), 1);
    assert_eq!(get("bob")["origin"], "tool:ada");
    assert_eq!(put("bob", "of bob"), 2);
    assert_eq!(get("ada"), json!({"value": "\"of bob\"", "version": 2, "origin": "tool:bob"}));
    let stale = json!({"namespace": "notes", "key": "plan", "value": 3, "expected_version": 1});
    let refused = seen(&server, "ada.put", stale);
    let error = refused["error"].as_str().unwrap_or_default();
    assert!(error.contains("/expected-version") && error.contains("version 2"), "{error}");
}

#[test]
fn a_search_counts_for_what_it_costs_and_takes_no_more_than_a_hundred_hits() {
    let server = Server::start(
        &format!("{TWO}\n[components.ada.limits]\nhost_operations_max = 5_000\n"),
        &[("rogue-memory", "ada")],
    );
    let arguments = json!({"namespace": "notes", "limit": 101});
    let refused = seen(&server, "ada.search", arguments);
    assert!(refused["error"].as_str().is_some_and(|e| e.contains("/limit")), "{refused}");
    let some = seen(&server, "ada.search", json!({"namespace": "notes", "times": 5}));
    assert_eq!(some["hits"], 0, "{some}");
    let body = server.call("ada.search", &json!({"namespace": "notes", "times": 6})).json();
    assert_eq!(body["code"], "host_operations_exhausted", "{body}");
}

#[test]
fn an_answer_larger_than_one_host_call_may_copy_is_not_given() {
    let server = Server::start(
        &format!("{TWO}\n[components.bob.limits]\nhostcall_max_bytes = 1_000\n"),
        &[("rogue-memory", "ada"), ("rogue-memory", "bob")],
    );
    let long = json!({"namespace": "notes", "key": "a", "value": "x".repeat(2_000)});
    assert_eq!(seen(&server, "ada.put", long), 1);
    let get = json!({"namespace": "notes", "key": "a"});
    assert_eq!(seen(&server, "ada.get", get.clone())["version"], 1);
    let refused = seen(&server, "bob.get", get);
    let error = refused["error"].as_str().unwrap_or_default();
    assert!(error.contains("Exhausted") && error.contains("Bytes"), "{refused}");
}

#[test]
fn the_shipped_tool_remembers_recalls_relates_and_forgets() {
    let server = Server::start(
        "[components.memory.memory]\nnamespaces = [{ name = \"notes\", access = \"read-write\" }]\n",
        &[],
    );
    let entry =
        json!({"key": "reef/deadline", "value": "The survey is due in May.", "tags": ["reef"]});
    let written = seen(&server, "memory.remember", entry);
    assert_eq!(written, json!({"namespace": "notes", "key": "reef/deadline", "version": 1}));
    let found = seen(&server, "memory.recall", json!({"query": "survey due"}));
    assert_eq!(found["method"], "lexical", "{found}");
    let hit = &found["entries"][0];
    assert_eq!((&hit["key"], &hit["origin"]), (&json!("reef/deadline"), &json!("tool:memory")));
    assert!(hit["snippet"].as_str().is_some_and(|text| text.contains("survey")), "{hit}");
    let whole = seen(&server, "memory.recall", json!({"key": "reef/deadline"}));
    assert_eq!(whole["entries"][0]["value"], "The survey is due in May.", "{whole}");
    for (subject, object) in [("reef/deadline", "person/ada"), ("person/ada", "team/coast")] {
        let relation = json!({"subject": subject, "predicate": "concerns", "object": object});
        server.call("memory.relate", &relation).json();
    }
    let near = seen(&server, "memory.related", json!({"key": "person/ada"}));
    assert_eq!(near["relations"].as_array().map(Vec::len), Some(2), "{near}");
    let way = json!({"key": "reef/deadline", "to": "team/coast"});
    let paths = seen(&server, "memory.related", way);
    assert_eq!(paths["paths"][0].as_array().map(Vec::len), Some(2), "{paths}");
    let stale = json!({"key": "reef/deadline", "value": 0, "expected_version": 7});
    let answer = server.call("memory.remember", &stale);
    let body = answer.json();
    assert_eq!((answer.status, &body["pointer"]), (422, &json!("/expected_version")), "{body}");
    let forgotten = seen(&server, "memory.forget", json!({"key": "reef/deadline"}));
    assert_eq!(forgotten, json!({"was_there": true}));
    let gone = seen(&server, "memory.recall", json!({"key": "reef/deadline"}));
    assert_eq!(gone["entries"], json!([]), "{gone}");
    let body = server.call("memory.recall", &json!({"key": "a", "namespace": "other"})).json();
    assert_eq!(body["code"], "memory_not_granted", "{body}");
    let tool =
        http::send(server.address, "GET", "/v1/tools/memory.forget", &[], b"").expect("answers");
    assert_eq!(tool.status, 200, "{tool:?}");
}

#[test]
fn without_its_grant_the_shipped_tool_is_refused_with_the_line_that_grants_it() {
    let server = Server::start("", &[]);
    let answer = server.call("memory.recall", &json!({"key": "a"}));
    let body = answer.json();
    assert_eq!((answer.status, &body["code"]), (403, &json!("import_not_granted")), "{body}");
    assert_eq!(
        body["grant"],
        "[components.memory.memory] namespaces = [{ name = \"notes\", access = \"read-write\" }]"
    );
}
