//! A model that takes 90 seconds to load, in real time: slow is not broken. `.ci/run` runs this
//! beside the other tests; by default the broker shows the same by a clock that it is given
//! (`host/broker/tests/broker/loads.rs`).

use std::time::{Duration, Instant};

use foreshore_scripted_model::{Format, Script, ScriptedServer};
use serde_json::{Value, json};

use super::{begin, shown};
use crate::harness::server::Server;

const LOAD: Duration = Duration::from_secs(90);
/// How long all may take on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(300);

const SCRIPT: &str = r#"
[[models]]
name = "cold"
load_ms = 90000
[[rules]]
answer.text = "At last."
"#;

/// What the host says of its model servers; they are well all the time.
fn well(server: &Server) {
    let ready = server.get("/readyz?verbose");
    let said = ready.json();
    assert_eq!(ready.status, 200, "{said}");
    let checks = said["checks"].as_array().expect("checks");
    let models = checks.iter().find(|check| check["name"] == "models").expect("one of models");
    let models = models["message"].as_str().expect("a message");
    assert!(models.contains("cold closed") && !models.contains("not reached"), "{models}");
}

fn is_open(turn: &Value) -> bool {
    turn["state"] == "running" || turn["state"] == "queued"
}

#[test]
#[ignore = "takes 90 seconds; .ci/run runs it"]
fn slow_a_load_of_90_seconds_neither_trips_a_breaker_nor_times_out() {
    let script = Script::parse(SCRIPT, Format::Toml).expect("the script is sound");
    let model = ScriptedServer::start(script, ([127, 0, 0, 1], 0).into()).expect("a port");
    let configuration = format!(
        r#"
        [inference]
        default_model = "cold"
        [inference.models.cold]
        [[inference.backends]]
        name = "slow"
        kind = "ollama"
        url = "{}"
        "#,
        model.url()
    );
    let server = Server::start(&configuration, &[]);
    let began = Instant::now();
    let body = json!({"message": "Are you there?"});
    let mut turns: Vec<String> = (0..2).map(|_| begin(&server, "assistant", &body).0).collect();
    while began.elapsed() < LOAD / 2 {
        well(&server);
        assert!(turns.iter().all(|turn| is_open(&shown(&server, turn))));
        std::thread::sleep(Duration::from_secs(1));
    }
    turns.push(begin(&server, "assistant", &body).0);
    let ended = loop {
        well(&server);
        let all: Vec<_> = turns.iter().map(|turn| shown(&server, turn)).collect();
        if !all.iter().any(is_open) {
            break all;
        }
        assert!(began.elapsed() < PATIENCE, "{all:?}");
        std::thread::sleep(Duration::from_secs(1));
    };
    assert!(began.elapsed() >= LOAD, "it did load");
    for turn in ended {
        assert_eq!(
            (&turn["state"], &turn["reply"]["text"]),
            (&json!("completed"), &json!("At last."))
        );
        assert_eq!(turn["served_by"]["step"], "primary");
    }
    assert_eq!(model.loads("cold"), 1);
    let requests = model.requests();
    let asked = requests.iter().filter(|request| {
        request.body["messages"].as_array().is_some_and(|messages| !messages.is_empty())
    });
    assert_eq!(asked.count(), 3, "nobody was asked again");
}
