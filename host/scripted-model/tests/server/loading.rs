//! Cold models, the queue, and what stays in memory.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{get, post, send, serve, until, user, user_at_once};

const COLD: &str = "[[rules]]\nanswer.text = \"warm\"\n[[models]]\nname = \"m\"\nload_ms = 300\n";

fn running(server: &foreshore_scripted_model::ScriptedServer) -> Vec<Value> {
    get(server, "/api/ps").json()["models"].as_array().expect("a list").clone()
}

#[test]
fn a_cold_load_sends_nothing_and_happens_once() {
    let server = serve(COLD);
    assert!(running(&server).is_empty());
    let began = Instant::now();
    let mut sent = send(&server, "POST", "/api/chat", user("x").to_string().as_bytes());
    let early = sent.bytes_within(Duration::from_millis(120));
    // On a machine that stood still for long the load may be over; then there is nothing to see.
    assert!(early.is_empty() || began.elapsed() > Duration::from_millis(300));
    let last = sent.seen().lines().pop().expect("a line");
    assert!(last["load_duration"].as_u64().is_some_and(|it| it >= 250_000_000), "{last}");
    let loaded = running(&server);
    assert_eq!(loaded[0]["name"], "m:latest");
    assert!(loaded[0]["expires_at"].is_string());
    let last = post(&server, "/api/chat", &user("x")).lines().pop().expect("a line");
    assert!(last["load_duration"].as_u64().is_some_and(|it| it < 250_000_000), "{last}");
    assert_eq!(server.loads("m"), 1);
}

#[test]
fn an_empty_request_loads_and_unloads() {
    let server = serve(COLD);
    let mut request = json!({ "model": "m", "messages": [] });
    let answer = post(&server, "/api/chat", &request).json();
    assert_eq!(answer["done_reason"], "load");
    assert_eq!(running(&server).len(), 1);
    request["keep_alive"] = json!(0);
    assert_eq!(post(&server, "/api/chat", &request).json()["done_reason"], "unload");
    assert!(running(&server).is_empty());
    let generate = json!({ "model": "m", "keep_alive": -1 });
    assert_eq!(post(&server, "/api/generate", &generate).json()["done_reason"], "load");
    let expires = running(&server)[0]["expires_at"].as_str().expect("a date").to_owned();
    assert!(expires.starts_with("21"), "for ever is far away: {expires}");
    assert_eq!(server.loads("m"), 2);
}

#[test]
fn other_options_of_the_runner_load_the_model_again() {
    let server = serve(COLD);
    let mut request = user_at_once("x");
    post(&server, "/api/chat", &request);
    request["options"] = json!({ "temperature": 0.5 });
    post(&server, "/api/chat", &request);
    assert_eq!(server.loads("m"), 1, "the temperature is none of them");
    request["options"] = json!({ "num_ctx": 4096 });
    post(&server, "/api/chat", &request);
    post(&server, "/api/chat", &request);
    assert_eq!(server.loads("m"), 2);
    assert_eq!(running(&server)[0]["context_length"], 4096);
}

#[test]
fn a_model_that_stays_no_time_is_unloaded() {
    let server = serve(
        "[[rules]]\nanswer.text = \"x\"\n[[models]]\nname = \"m\"\nkeep_alive_ms = 0\n\
         [[models]]\nname = \"there\"\nloaded = true\n",
    );
    let names = || running(&server).iter().map(|it| it["name"].clone()).collect::<Vec<_>>();
    assert_eq!(names(), ["there:latest"]);
    post(&server, "/api/chat", &user_at_once("x"));
    assert_eq!(names(), ["there:latest"]);
    assert_eq!((server.loads("m"), server.loads("there")), (1, 0));
}

#[test]
fn a_load_goes_on_when_its_request_goes_away_unless_the_script_says_otherwise() {
    for (on_cancel, status, loads) in [("keep-load", 200, 1), ("stop-load", 499, 1)] {
        let server = serve(&format!("{COLD}on_cancel = \"{on_cancel}\"\n"));
        let first = send(&server, "POST", "/api/chat", user("first").to_string().as_bytes());
        until("the load has begun", || server.loads("m") == 1);
        let second = send(&server, "POST", "/api/chat", user("second").to_string().as_bytes());
        until("the second waits", || server.waiting() >= 1 && server.in_flight() == 2);
        drop(first);
        assert_eq!(second.seen().status, status, "{on_cancel}");
        assert_eq!(server.loads("m"), loads, "{on_cancel}");
    }
}

#[test]
fn one_request_at_a_time_and_then_the_queue_is_full() {
    let server = serve(
        "server = { queue = 1 }\n[[rules]]\nanswer = { text = \"a b\", chunk_delay_ms = 60000 }\n\
         [[models]]\nname = \"m\"\nloaded = true\n",
    );
    let mut first = send(&server, "POST", "/api/chat", user("1").to_string().as_bytes());
    while first.bytes_within(Duration::from_millis(20)).is_empty() {}
    let mut second = send(&server, "POST", "/api/chat", user("2").to_string().as_bytes());
    until("the second waits", || server.waiting() == 1);
    assert_eq!(second.bytes_within(Duration::from_millis(50)), b"");
    let third = post(&server, "/api/chat", &user("3"));
    assert_eq!(third.status, 503);
    assert!(third.json()["error"].to_string().contains("server busy"), "{}", third.text());
    drop(first);
    until("the second has its turn", || server.waiting() == 0);
    assert!(!second.bytes_within(Duration::from_millis(200)).is_empty());
    assert_eq!(server.most_in_flight(), 3);
}

#[test]
fn many_at_once_load_once_and_all_are_answered() {
    let server = serve(COLD);
    let statuses: Vec<u16> = thread::scope(|scope| {
        let ask = || post(&server, "/api/chat", &user_at_once("x")).status;
        let threads: Vec<_> = (0..40).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|it| it.join().expect("no panic")).collect()
    });
    assert_eq!(statuses, [200; 40]);
    assert_eq!(server.loads("m"), 1);
    assert_eq!(server.in_flight(), 0);
}

#[test]
fn a_prompt_that_is_too_long_is_cut_or_refused() {
    let server = serve(
        "[[rules]]\nwhen.any_message = \"the key is 7\"\nanswer.text = \"7\"\n\
         [[rules]]\nanswer.text = \"no key\"\n[[models]]\nname = \"m\"\ncontext_length = 20\n",
    );
    let mut request = json!({ "model": "m", "stream": false, "messages": [
        { "role": "system", "content": "be brief" },
        { "role": "user", "content": "the key is 7" },
        { "role": "assistant", "content": "I see" },
        { "role": "user", "content": "which key?" },
    ]});
    let answer = |request: &Value| post(&server, "/api/chat", request);
    assert_eq!(answer(&request).json()["message"]["content"], "7");
    request["messages"][3]["content"] = json!("which key? ".repeat(5));
    assert_eq!(answer(&request).json()["message"]["content"], "no key", "it was cut in silence");
    request["truncate"] = json!(false);
    let refused = answer(&request);
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("exceeds the context length"), "{}", refused.text());
    request["options"] = json!({ "num_ctx": 100 });
    assert_eq!(answer(&request).json()["message"]["content"], "7");
}

#[test]
fn a_load_can_fail() {
    let server = serve(
        "[[rules]]\nwhen.path = \"/api/chat\"\nanswer = { status = 500, error = \"no memory\" }",
    );
    let seen = post(&server, "/api/chat", &json!({ "model": "m", "messages": [] }));
    assert_eq!((seen.status, seen.json()), (500, json!({ "error": "no memory" })));
    assert_eq!(server.loads("m"), 0);
}
