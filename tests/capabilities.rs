//! Each effect, granted and denied: the same attempt with the grant and without it.
//!
//! The table is held to the domain's list of effects, so that a new one without its pair of
//! cases fails here.

use foreshore_domain::effect::Effect;
use serde_json::{Value, json};

use crate::harness::server::Server;
use crate::harness::web::Web;

/// An effect, what is seen of it where it is granted, and what where it is not.
type Twin = (&'static str, fn(), fn());

const TWINS: &[Twin] = &[
    ("http-request", a_granted_request_is_answered, a_request_that_is_not_granted_is_denied),
    ("change-file", a_file_of_a_read_write_mount_changes, a_file_of_a_read_only_mount_does_not),
    ("recall", a_granted_namespace_is_read, a_namespace_that_is_not_granted_is_not_read),
    ("remember", a_read_write_namespace_changes, a_read_only_namespace_does_not),
    ("progress", progress_is_seen_by_who_watches, progress_past_its_limit_is_dropped),
    ("log", a_line_is_seen_by_who_watches, lines_past_their_limit_are_dropped),
];

#[test]
fn every_effect_has_a_granted_and_a_denied_case_and_both_hold() {
    let listed: Vec<_> = TWINS.iter().map(|(effect, _, _)| *effect).collect();
    assert_eq!(listed, Effect::KINDS, "an effect without its pair of cases");
    for (effect, granted, denied) in TWINS {
        eprintln!("{effect}, granted");
        granted();
        eprintln!("{effect}, denied");
        denied();
    }
}

fn ask(web: &Web, allow: &str) -> Value {
    let configuration = format!(
        "[components.rogue-http.http]\nallow = [{allow:?}]\nnetworks = [\"127.0.0.0/8\"]\n"
    );
    let server = Server::start(&configuration, &[("rogue-http", "rogue-http")]);
    let target = json!({"authority": web.address.to_string(), "path": "/x"});
    let body = server.call("rogue-http.request", &target).json();
    json!({"seen": body["structured"][0], "denials": body["denials"]})
}

fn a_granted_request_is_answered() {
    let web = Web::saying("hello");
    let answer = ask(&web, &format!("GET http://{}/*", web.address));
    assert_eq!(answer["seen"]["text"], "hello", "{answer}");
    assert!(answer["denials"].is_null(), "{answer}");
    assert_eq!(web.connections(), 1);
}

fn a_request_that_is_not_granted_is_denied() {
    let web = Web::saying("hello");
    let answer = ask(&web, "GET http://example.com/*");
    assert_eq!(answer["denials"][0]["code"], "http_not_granted", "{answer}");
    let grant = answer["denials"][0]["grant"].as_str().unwrap_or_default();
    assert!(grant.starts_with("[components.rogue-http.http] allow = "), "{answer}");
    assert_eq!(web.connections(), 0);
}

/// What writing a file in a mount gave, and what is in the file then.
fn write(access: &str) -> (Value, String) {
    let root = tempfile::tempdir().expect("made");
    std::fs::write(root.path().join("note.txt"), "before").expect("written");
    let configuration = format!(
        "[components.rogue]\nmounts = [{{ host = {:?}, guest = \"/data\", access = {access:?} }}]\n",
        root.path()
    );
    let server = Server::start(&configuration, &[("rogue", "rogue")]);
    let arguments = json!({"path": "/data/note.txt", "text": "after"});
    let body = server.call("rogue.write", &arguments).json();
    (body, std::fs::read_to_string(root.path().join("note.txt")).expect("still there"))
}

fn a_file_of_a_read_write_mount_changes() {
    let (body, text) = write("read-write");
    assert_eq!(body["is_error"], false, "{body}");
    assert_eq!(text, "after");
}

fn a_file_of_a_read_only_mount_does_not() {
    let (body, text) = write("read-only");
    assert_eq!(body["denials"][0]["code"], "mount_read_only", "{body}");
    assert_eq!(text, "before");
}

/// A guest with two namespaces of the same start, one of which it may change; what `tool` gave.
fn remember_and_recall(writable: &str, tool: &str, namespace: &str) -> Value {
    let configuration = format!(
        "[components.rogue-memory]\nkeyvalue = true\n[components.rogue-memory.memory]\nnamespaces = [{{ name = {writable:?}, access = \"read-write\" }}, {{ name = \"fixed\" }}]\n"
    );
    let server = Server::start(&configuration, &[("rogue-memory", "rogue-memory")]);
    let entry = json!({"namespace": writable, "key": "a", "value": "kept"});
    server.call("rogue-memory.put", &entry);
    let arguments = json!({"namespace": namespace, "key": "a", "value": "changed"});
    let body = server.call(&format!("rogue-memory.{tool}"), &arguments).json();
    let after =
        server.call("rogue-memory.get", &json!({"namespace": namespace, "key": "a"})).json();
    json!({"body": body, "after": after["structured"]})
}

fn a_granted_namespace_is_read() {
    let answer = remember_and_recall("notes", "get", "notes");
    assert_eq!(answer["body"]["structured"]["value"], "\"kept\"", "{answer}");
    assert!(answer["body"]["denials"].is_null(), "{answer}");
}

fn a_namespace_that_is_not_granted_is_not_read() {
    let answer = remember_and_recall("notes", "get", "notes-of-others");
    let denial = &answer["body"]["denials"][0];
    assert_eq!(denial["code"], "memory_not_granted", "{answer}");
    let grant = denial["grant"].as_str().unwrap_or_default();
    assert!(grant.starts_with("[components.rogue-memory.memory] namespaces = "), "{answer}");
}

fn a_read_write_namespace_changes() {
    let answer = remember_and_recall("notes", "put", "notes");
    assert_eq!(answer["body"]["structured"], 2, "{answer}");
    assert_eq!(answer["after"]["value"], "\"changed\"", "{answer}");
}

fn a_read_only_namespace_does_not() {
    let answer = remember_and_recall("notes", "put", "fixed");
    assert_eq!(answer["body"]["denials"][0]["code"], "memory_read_only", "{answer}");
    assert_eq!(answer["after"], Value::Null, "{answer}");
}

/// The events of a call of which somebody watches the stream.
fn watched(tool: &str, arguments: &Value) -> String {
    let server = Server::start("", &[("rogue", "rogue")]);
    let answer = server.call_with(tool, arguments, &[("accept", "text/event-stream")]);
    String::from_utf8(answer.body).expect("text")
}

fn progress_is_seen_by_who_watches() {
    let events = watched("rogue.flood-progress", &json!({"reports": 0}));
    assert_eq!(events.matches("event: tool.progress").count(), 1, "{events}");
}

fn progress_past_its_limit_is_dropped() {
    let events = watched("rogue.flood-progress", &json!({"reports": 100_000}));
    let seen = events.matches("event: tool.progress").count();
    assert!((1..1_000).contains(&seen), "{seen} of 100,000 reports were sent");
    assert!(events.contains("event: tool.result"), "the call ended as it would have");
}

fn a_line_is_seen_by_who_watches() {
    let events = watched("rogue.flood-log", &json!({"lines": 1, "length": 10}));
    assert_eq!(events.matches("event: tool.log").count(), 1, "{events}");
}

fn lines_past_their_limit_are_dropped() {
    let events = watched("rogue.flood-log", &json!({"lines": 10_000, "length": 10}));
    let seen = events.matches("event: tool.log").count();
    // The default of `log_lines_max`, and the line that says that there were more; a watcher
    // that does not keep up sees fewer.
    assert!((1..=257).contains(&seen), "{seen} of 10,000 lines were sent");
}
