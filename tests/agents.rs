//! Agents as a client sees them: turns, conversations, questions to people, and the faces that
//! OpenAI's and Ollama's clients speak to. The model is a scripted one, `tests/scripts`.

mod backends;
mod budgets;
mod cold;
mod conversations;
mod crash;
mod long;
mod ollama;
mod openai;
mod panel;
mod people;
mod planner;
mod tenants;
mod turns;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness;
use crate::harness::server::{Server, Shared};

/// How long what takes milliseconds may take on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(60);

/// The server that these tests share.
fn host() -> Arc<Server> {
    static SERVER: Shared = Shared::new();
    SERVER.get(|| {
        let guests = [("probe-agent", "probe"), ("rogue", "rogue")];
        Server::start(&configuration("tests/scripts/agents.toml"), &guests)
    })
}

/// An assistant with files, one whose model's server is stopped, and the probe.
fn configuration(script: &str) -> String {
    let script = harness::repository().join(script);
    let notes = notes();
    format!(
        r#"
        [concurrency]
        turns_queue_max = 2
        [inference]
        default_model = "demo"
        embedding_model = "demo"
        [[inference.backends]]
        name = "script"
        kind = "scripted"
        script = {script:?}
        [[inference.backends]]
        name = "gone"
        kind = "ollama"
        url = "http://127.0.0.1:1"
        [inference.retries]
        max = 0
        # Tests that share the server would open it for each other.
        [inference.breaker]
        failures = 100000
        [inference.models.demo]
        backend = "script"
        [inference.models.breaks]
        backend = "script"
        [inference.models.stopped]
        backend = "gone"
        [inference.models.absent]
        backend = "script"
        [agents.assistant]
        tools = ["files.*"]
        [agents.stranded]
        component = "assistant"
        model = "stopped"
        [agents.lost]
        component = "assistant"
        model = "nowhere"
        [agents.misled]
        component = "assistant"
        model = "absent"
        [agents.broken]
        component = "assistant"
        model = "breaks"
        [agents.probe]
        tools = ["files.read"]
        [components.files]
        mounts = [{{ host = {notes:?}, guest = "/notes", access = "read-write" }}]
        "#
    )
}

/// The directory that the assistant writes to. Each test uses names of its own.
fn notes() -> PathBuf {
    let notes = harness::shared_data().join("agents-notes");
    std::fs::create_dir_all(&notes).expect("made");
    notes
}

/// Takes a turn to its end; the turn.
fn turn(server: &Server, agent: &str, body: &Value) -> Value {
    let answer = server.send("POST", &format!("/v1/agents/{agent}/turns"), body);
    assert_eq!(answer.status, 200, "{}", answer.json());
    answer.json()
}

/// Takes a turn and does not wait; its id and conversation.
pub fn begin(server: &Server, agent: &str, body: &Value) -> (String, String) {
    let path = format!("/v1/agents/{agent}/turns");
    let answer = server.send_with("POST", &path, &[("prefer", "respond-async")], body);
    assert_eq!(answer.status, 202, "{}", answer.json());
    let taken = answer.json();
    let word = |name: &str| taken[name].as_str().expect("a text").to_owned();
    (word("turn_id"), word("conversation"))
}

/// A turn as it is now.
fn shown(server: &Server, turn: &str) -> Value {
    server.get(&format!("/v1/turns/{turn}")).json()
}

/// Asks until something is so.
pub fn until<T>(what: &str, mut asked: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = asked() {
            return found;
        }
        assert!(Instant::now() < end, "not in {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits for the end of a turn.
pub fn ended(server: &Server, turn: &str) -> Value {
    until("a turn ends", || {
        let now = shown(server, turn);
        let state = now["state"].as_str().expect("a state");
        ["completed", "failed", "cancelled"].contains(&state).then_some(now)
    })
}

/// A message that the scripted model keeps a turn busy with, until somebody cancels it.
fn slow() -> Value {
    json!({"message": "Please take your time."})
}
