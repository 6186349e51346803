//! Memory through the command line and the server: what was acknowledged is there, whoever is
//! asked and however the server ended.

use serde_json::json;

use crate::harness::server::Server;
use crate::harness::{Ran, foreshore_in};

/// Runs `foreshore memory …` on a data directory.
fn memory(data: &std::path::Path, arguments: &[&str]) -> Ran {
    let data = data.display().to_string();
    let mut all = vec!["memory"];
    all.extend_from_slice(arguments);
    all.extend_from_slice(&["--data", &data]);
    foreshore_in(std::path::Path::new("/"), &all)
}

#[track_caller]
fn ok(ran: Ran) -> String {
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    ran.stdout
}

/// The story of a few records, told the same way with and without a server.
fn story(data: &std::path::Path) {
    let run = |arguments: &[&str]| memory(data, arguments);
    assert_eq!(
        ok(run(&["put", "notes", "a/b c", r#"{"liters":2}"#, "--tag", "food"])),
        "version 1\n"
    );
    assert_eq!(ok(run(&["put", "notes", "a/b c", "--text", "two liters of milk"])), "version 2\n");
    let record = run(&["get", "notes", "a/b c", "--json"]).json();
    assert_eq!((&record["value"], &record["version"]), (&json!("two liters of milk"), &json!(2)));
    let first = run(&["get", "notes", "a/b c", "--version", "1", "--json"]).json();
    assert_eq!((&first["value"], &first["tags"]), (&json!({"liters": 2}), &json!(["food"])));
    assert!(ok(run(&["get", "notes", "a/b c"])).starts_with("two liters of milk\n"));

    let missing = run(&["get", "notes", "nothing"]);
    assert_eq!(missing.code, 3, "{}", missing.stderr);
    assert!(missing.stderr.contains("no_such_record"), "{}", missing.stderr);
    let conflict = run(&["put", "notes", "a/b c", "1", "--expected-version", "1"]);
    assert_eq!(conflict.code, 4, "{}", conflict.stderr);
    assert_eq!(run(&["put", "notes", "x", "{no json"]).code, 2);
    assert_eq!(run(&["put", "no namespace", "x", "1"]).code, 3);

    let found = run(&["search", "notes", "milk", "--json"]).json();
    assert_eq!(found["method"], "lexical");
    assert_eq!(found["hits"][0]["key"], "a/b c");
    let said = ok(run(&["search", "notes", "milk"]));
    assert!(said.contains("1 hit, lexical search"), "{said}");
    ok(run(&["put", "notes", "b", "null"]));
    assert_eq!(ok(run(&["list", "notes"])), "a/b c\nb\n");
    assert_eq!(ok(run(&["list", "notes", "--prefix", "b"])), "b\n");
    assert_eq!(ok(run(&["relate", "notes", "a/b c", "before", "b"])), "related\n");
    assert!(ok(run(&["neighbours", "notes", "b"])).contains("before"));
    assert_eq!(ok(run(&["paths", "notes", "a/b c", "b"])), "a/b c -before-> b\n");
    assert_eq!(ok(run(&["unrelate", "notes", "a/b c", "before", "b"])), "not related now\n");
    assert_eq!(ok(run(&["delete", "notes", "b"])), "deleted; version 2\n");
    assert_eq!(run(&["delete", "notes", "b"]).code, 3);
    assert!(ok(run(&["versions", "notes", "b"])).contains("deleted"));
    assert!(ok(run(&["namespaces"])).contains("notes"));
}

#[test]
fn memory_is_kept_on_the_command_line_without_a_server() {
    let data = tempfile::tempdir().expect("made");
    story(data.path());
    assert!(!data.path().join("server.json").exists());
}

#[test]
fn commands_ask_the_server_that_has_the_data_directory() {
    let server = Server::start("", &[]);
    story(server.data());
    let record = server.get("/v1/memory/notes/a%2Fb%20c").json();
    assert_eq!(record["version"], 2, "the server itself was asked: {record}");
}

#[test]
fn a_server_that_was_killed_leaves_a_file_that_nobody_is_misled_by() {
    let mut server = Server::start("", &[]);
    ok(memory(server.data(), &["put", "notes", "kept", "1"]));
    server.kill();
    assert!(server.data().join("server.json").exists(), "it had no time to remove it");
    let record = memory(server.data(), &["get", "notes", "kept", "--json"]);
    assert_eq!((record.code, &record.json()["value"]), (0, &json!(1)), "{}", record.stderr);
}
