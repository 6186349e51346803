//! Starting, stopping, recording.

use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use foreshore_scripted_model::{Outcome, Script, ScriptedServer};

use crate::client::{any_port, post, send, serve, until, user, user_at_once};

#[test]
fn a_stopped_server_refuses_and_comes_back_on_the_same_port() {
    let server = serve("[[rules]]\nanswer.text = \"x\"\n[[models]]\nname = \"m\"\n");
    assert_eq!(post(&server, "/api/chat", &user_at_once("x")).status, 200);
    let address = server.address();
    for _ in 0..3 {
        server.stop();
        let refused = TcpStream::connect(address).expect_err("nothing listens");
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        server.restart().expect("the port is free");
        assert_eq!(server.address(), address);
        assert_eq!(post(&server, "/api/chat", &user_at_once("x")).status, 200);
    }
    assert_eq!(server.loads("m"), 4, "a server that starts knows of no model in memory");
    assert_eq!((server.request_count(), server.connection_count()), (4, 4));
}

#[test]
fn stopping_ends_what_is_being_answered() {
    let server = serve("[[rules]]\nanswer = { text = \"a b\", chunk_delay_ms = 60000 }");
    let mut sent = send(&server, "POST", "/api/chat", user("x").to_string().as_bytes());
    until("the answer has begun", || server.in_flight() == 1);
    while sent.bytes_within(std::time::Duration::from_millis(20)).is_empty() {}
    server.stop();
    assert_eq!(server.in_flight(), 0);
    assert_eq!(server.requests()[0].outcome, Outcome::Abandoned);
    assert!(!sent.seen().whole);
}

#[test]
fn a_script_can_be_changed_and_the_log_cleared() {
    let server = ScriptedServer::start(
        Script::refusing(503, "server {{busy").expect("a status"),
        any_port(),
    )
    .expect("a free port");
    let seen = post(&server, "/api/chat", &user("x"));
    assert_eq!((seen.status, &seen.json()["error"]), (503, &"server {{busy".into()));
    server.set_script(Script::saying("{{model}} is back").expect("a template"));
    server.clear();
    let answer = post(&server, "/api/chat", &user_at_once("x")).json();
    assert_eq!(answer["message"]["content"], "m is back");
    assert_eq!(server.requests().len(), 1);
    assert_eq!(server.requests()[0].number, 2);
}

#[test]
fn a_recorder_is_told_of_each_request_once() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&told);
    let server = ScriptedServer::start_recording(Script::echo(), any_port(), move |it| {
        record.lock().expect("no panic").push(it.clone());
    })
    .expect("a free port");
    post(&server, "/api/chat", &user("x"));
    post(&server, "/api/nothing", &user("x"));
    server.stop();
    let told = told.lock().expect("no panic");
    assert_eq!(*told, server.requests());
    let line = serde_json::to_value(&told[0]).expect("JSON");
    assert_eq!(line["outcome"], serde_json::json!({ "answered": 200 }));
    assert_eq!(line["rule"], "1");
}
