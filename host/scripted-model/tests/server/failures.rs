//! Refusals, and everything that can go wrong with a line.

use std::time::{Duration, Instant};

use foreshore_scripted_model::{Outcome, Script, ScriptedServer};
use serde_json::json;

use crate::client::{Seen, any_port, get, post, send, serve, until, user, user_at_once};

/// The answer to one chat with a script of one rule.
fn chat(answer: &str) -> (ScriptedServer, Seen) {
    let server = serve(&format!("[[rules]]\n[rules.answer]\n{answer}"));
    let seen = post(&server, "/api/chat", &user("hello"));
    (server, seen)
}

fn outcome(server: &ScriptedServer) -> Outcome {
    until("the request ends", || server.in_flight() == 0);
    server.requests().pop().expect("a request").outcome
}

#[test]
fn a_refusal_has_its_status_and_the_shape_of_an_error() {
    for status in [400, 404, 500, 503] {
        let (server, seen) = chat(&format!("status = {status}\nerror = \"no: {{{{model}}}}\""));
        assert_eq!(seen.status, status);
        assert_eq!(seen.json(), json!({ "error": "no: m" }));
        assert_eq!(outcome(&server), Outcome::Answered(status));
    }
}

#[test]
fn a_refusal_can_have_no_body_and_headers_of_its_own() {
    let (_server, seen) = chat("status = 403\nbody = \"\"");
    assert_eq!((seen.status, seen.body.len()), (403, 0));
    let (_server, seen) = chat("status = 503\nheaders = { retry-after = \"7\" }");
    assert!(seen.head.contains("retry-after: 7"), "{}", seen.head);
    assert_eq!(seen.json(), json!({ "error": "service unavailable" }));
}

#[test]
fn an_error_in_the_middle_is_a_line_under_200() {
    let (server, seen) = chat(
        "text = \"one two three\"\nbreak = { after = 2, with = \"error\", message = \"lost\" }",
    );
    assert_eq!((seen.status, seen.whole), (200, true));
    let lines = seen.lines();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[1]["message"]["content"], "two ");
    assert_eq!(lines[2], json!({ "error": "lost" }));
    assert_eq!(outcome(&server), Outcome::Broken);
}

#[test]
fn a_truncated_stream_ends_in_order_but_without_done() {
    let (_server, seen) = chat("text = \"one two\"\nbreak = { after = 1, with = \"truncate\" }");
    assert!(seen.whole, "the framing is complete");
    let lines = seen.lines();
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["done"], false);
}

#[test]
fn a_cut_ends_the_connection_in_the_middle_of_the_body() {
    let (server, seen) = chat("text = \"one two\"\nbreak = { after = 1, with = \"cut\" }");
    assert_eq!((seen.status, seen.whole, seen.reset), (200, false, false));
    assert_eq!(outcome(&server), Outcome::Broken);
    let (_server, seen) = chat("text = \"one\"\nbreak = { with = \"cut\" }");
    assert_eq!((seen.status, seen.body.len()), (0, 0), "closed before the headers");
}

#[test]
fn a_reset_is_a_reset() {
    let (_server, seen) = chat("text = \"one two\"\nbreak = { after = 1, with = \"reset\" }");
    assert!(seen.reset && !seen.whole, "{seen:?}");
    let (_server, seen) = chat("text = \"one\"\nbreak = { with = \"reset\" }");
    assert!(seen.reset && seen.status == 0, "{seen:?}");
}

#[test]
fn a_line_of_garbage_is_no_json() {
    let (_server, seen) = chat("text = \"one two\"\nbreak = { after = 1, with = \"garbage\" }");
    let text = seen.text();
    let last = text.lines().last().expect("a line");
    assert!(serde_json::from_str::<serde_json::Value>(last).is_err(), "{last}");
}

#[test]
fn a_stall_keeps_the_connection_and_sends_no_more() {
    let server = serve(
        "[[rules]]\nanswer = { text = \"one two\", break = { after = 1, with = \"stall\" } }",
    );
    let mut sent = send(&server, "POST", "/api/chat", user("hello").to_string().as_bytes());
    let first = sent.bytes_within(Duration::from_millis(400));
    let text = String::from_utf8(first).expect("text");
    assert!(text.contains("one ") && !text.contains("two"), "{text}");
    assert_eq!(server.in_flight(), 1);
    drop(sent);
    assert_eq!(outcome(&server), Outcome::Broken);
}

#[test]
fn a_stall_before_the_headers_sends_nothing() {
    let server = serve("[[rules]]\nanswer = { text = \"one\", break = { with = \"stall\" } }");
    let mut sent = send(&server, "POST", "/api/chat", user("hello").to_string().as_bytes());
    assert_eq!(sent.bytes_within(Duration::from_millis(200)), b"");
    assert_eq!(server.in_flight(), 1);
    drop(sent);
    assert_eq!(outcome(&server), Outcome::Broken);
}

#[test]
fn a_client_that_goes_away_leaves_the_request_abandoned_and_the_model_free() {
    let server = serve("[[rules]]\nanswer = { text = \"a b c d e\", chunk_delay_ms = 60000 }");
    let mut sent = send(&server, "POST", "/api/chat", user("hello").to_string().as_bytes());
    until("the request is there", || server.in_flight() == 1);
    assert!(!sent.bytes_within(Duration::from_millis(100)).is_empty());
    drop(sent);
    assert_eq!(outcome(&server), Outcome::Abandoned);
    server.set_script(Script::echo());
    assert_eq!(post(&server, "/api/chat", &user_at_once("again")).status, 200);
}

#[test]
fn delays_are_kept() {
    let began = Instant::now();
    let (_server, seen) = chat("text = \"one two three\"\ndelay_ms = 60\nchunk_delay_ms = 20");
    assert!(began.elapsed() >= Duration::from_millis(120), "{:?}", began.elapsed());
    assert_eq!(seen.lines().len(), 4);
}

#[test]
fn lines_come_in_as_many_writes_as_the_script_says() {
    let (_server, seen) = chat("text = \"one two\"\nwrite_bytes = 7");
    let lines = seen.lines();
    assert_eq!(lines.len(), 3, "put together, the lines are whole");
    let server = serve("[[rules]]\nanswer = { text = \"one\", write_bytes = 7 }");
    let mut sent = send(&server, "POST", "/api/chat", user("hello").to_string().as_bytes());
    let raw = String::from_utf8(sent.bytes_within(Duration::from_millis(300))).expect("text");
    let sizes = raw.split("\r\n").filter(|it| *it == "7").count();
    assert!(sizes > 10, "chunks of 7 bytes each: {raw}");
}

#[test]
fn lines_can_be_huge() {
    let (_server, seen) = chat("text = \"one\"\npadding_bytes = 3000000");
    let lines = seen.lines();
    assert_eq!(lines[0]["padding"].as_str().map(str::len), Some(3_000_000));
    let (_server, seen) = chat("text = \"{{repeat 2000000 x}}\"\nchunks = \"whole\"");
    assert_eq!(seen.lines()[0]["message"]["content"].as_str().map(str::len), Some(2_000_000));
}

#[test]
fn a_reply_at_once_fails_as_one_document_can() {
    let fails = |with: &str| {
        let answer =
            format!("answer = {{ text = \"one\", break = {{ after = 1, with = \"{with}\" }} }}");
        let server = serve(&format!("[[rules]]\n{answer}"));
        post(&server, "/api/chat", &user_at_once("hello"))
    };
    let error = fails("error");
    assert_eq!(error.status, 500);
    assert!(error.json()["error"].is_string());
    assert!(serde_json::from_slice::<serde_json::Value>(&fails("truncate").body).is_err());
    assert!(serde_json::from_slice::<serde_json::Value>(&fails("garbage").body).is_err());
    assert_eq!(fails("cut").status, 0);
    assert!(fails("reset").reset);
}

#[test]
fn answers_follow_one_another() {
    let ask = |server: &ScriptedServer| {
        post(server, "/api/chat", &user_at_once("x")).json()["message"]["content"].clone()
    };
    let server = serve("[[rules]]\nanswers = [{ text = \"a\" }, { text = \"b{{call}}\" }]\n");
    assert_eq!([ask(&server), ask(&server), ask(&server)], ["a", "b2", "b3"]);
    let server =
        serve("[[rules]]\nthen = \"restart\"\nanswers = [{ text = \"a\" }, { text = \"b\" }]\n");
    assert_eq!([ask(&server), ask(&server), ask(&server)], ["a", "b", "a"]);
    let server = serve(
        "[[rules]]\nthen = \"pass\"\nanswers = [{ text = \"a\" }]\n[[rules]]\nanswer.text = \"z\"\n",
    );
    assert_eq!([ask(&server), ask(&server)], ["a", "z"]);
    let server =
        serve("[[rules]]\ntimes = 2\nanswer.text = \"a\"\n[[rules]]\nanswer.text = \"z\"\n");
    assert_eq!([ask(&server), ask(&server), ask(&server)], ["a", "a", "z"]);
}

#[test]
fn a_rule_with_a_path_reaches_whatever_it_names() {
    let server = serve(
        "[[rules]]\nwhen.path = \"/api/{tags,embed}\"\nanswer = { status = 500, error = \"down\" }",
    );
    assert_eq!(get(&server, "/api/tags").status, 500);
    assert_eq!(post(&server, "/api/embed", &json!({ "model": "m", "input": "x" })).status, 500);
    assert_eq!(get(&server, "/api/version").status, 200);
}

#[test]
fn malformed_requests_get_an_error_that_says_what_is_wrong() {
    let server = ScriptedServer::start(Script::echo(), any_port()).expect("a free port");
    let wrong: [(&[u8], &str); 7] = [
        (b"{", "invalid JSON"),
        (b"", "missing request body"),
        (b"{}", "model is required"),
        (b"[]", "expected"),
        (br#"{"model":"m","messages":[{"role":"robot","content":"x"}]}"#, "invalid role"),
        (br#"{"model":"m","messages":[],"keep_alive":"soon"}"#, "invalid duration"),
        (br#"{"model":"m","messages":[],"options":{"num_ctx":"big"}}"#, "num_ctx"),
    ];
    for (body, says) in wrong {
        let seen = send(&server, "POST", "/api/chat", body).seen();
        let error = seen.json()["error"].to_string();
        assert_eq!(seen.status, 400, "{error}");
        assert!(error.contains(says), "{error} does not say {says:?}");
    }
    assert_eq!(post(&server, "/api/chatt", &json!({})).status, 404);
    until("all have ended", || server.in_flight() == 0);
    assert!(server.requests().iter().all(|it| matches!(it.outcome, Outcome::Answered(400 | 404))));
}
