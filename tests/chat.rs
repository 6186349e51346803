//! Agents on the command line: a chat, the conversation that it leaves, its turn run again. A
//! model that answers by rules stands in for one that thinks.

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::harness::server::Server;
use crate::harness::{Ran, command, foreshore_in, guests};

const RULES: &str = r#"
[server]
parallel = 4

[[models]]
name = "any"
capabilities = ["completion", "tools", "thinking"]

[[rules]]
when.system = "You plan. Take"
answer.json = { steps = [{ id = "greet", description = "say hello", tools = [], depends_on = [] }] }

[[rules]]
when.system = "A plan was carried out"
answer.text = "They were greeted."

[[rules]]
when.last_user = "take your time"
answer.delay_ms = 60000
answer.text = "Here I am."

[[rules]]
when = { tool_name = { regex = '(?i)javascript$' } }
answer.text = "It is forty-two."

[[rules]]
when.last_user = { regex = 'how much' }
answer.tool_calls = [{ name = '{{tool (?i)javascript$}}', arguments = { code = "6 * 7" } }]

[[rules]]
when.last_user = { regex = 'hello' }
answer.thinking = "That is a greeting."
answer.text = "Good day."
"#;

fn server(directory: &Path) -> Server {
    let rules = directory.join("rules.toml");
    std::fs::write(&rules, RULES).expect("written");
    let configuration = format!(
        r#"
[[inference.backends]]
name = "rules"
kind = "scripted"
script = "{}"
concurrency = 4

[inference]
default_model = "any"
[inference.models.any]

[agents.assistant]
model = "any"
tools = ["interpret.*"]
"#,
        rules.display()
    );
    Server::start(&configuration, &[])
}

#[track_caller]
fn ok(server: &Server, arguments: &[&str]) -> Ran {
    let data = server.data().display().to_string();
    let mut all = arguments.to_vec();
    all.extend_from_slice(&["--data", &data]);
    let ran = foreshore_in(Path::new("/"), &all);
    assert_eq!(ran.code, 0, "{arguments:?}: {}{}", ran.stdout, ran.stderr);
    ran
}

#[test]
fn a_chat_leaves_a_conversation_that_is_read_forked_replayed_and_deleted() {
    let directory = tempfile::tempdir().expect("made");
    let server = server(directory.path());
    let chat = ok(&server, &["chat", "--message", "how much is it?", "--usage"]);
    assert_eq!(chat.stdout, "It is forty-two.\n", "the answer and nothing else");
    for wanted in
        ["+ interpret.javascript {\"code\":\"6 * 7\"} ok", "2 model calls", "1 tool calls"]
    {
        assert!(chat.stderr.contains(wanted), "{wanted} in {}", chat.stderr);
    }

    let all = ok(&server, &["conversation", "list", "--json"]).json();
    let id = all["conversations"][0]["id"].as_str().expect("there is one").to_owned();
    let trace = ok(&server, &["conversation", "show", &id, "--trace"]).stdout;
    for wanted in ["[0] > how much is it?", "* rules/any", "+ interpret.javascript", "forty-two"] {
        assert!(trace.contains(wanted), "{wanted} in {trace}");
    }
    let found = ok(&server, &["conversation", "search", "forty"]).stdout;
    assert!(found.contains(&id), "{found}");

    let shown = ok(&server, &["conversation", "show", &id, "--json"]).json();
    let turn = shown["said"][0]["turn_id"].as_str().expect("a turn").to_owned();
    let same = ok(&server, &["replay", &turn]).stdout;
    assert!(same.contains("no divergence"), "{same}");
    let other = ok(&server, &["replay", &turn, "--prompt", "hello", "--live", "inference"]).stdout;
    assert!(other.contains("diverges at step") && other.contains("Good day."), "{other}");

    let fork = ok(&server, &["conversation", "fork", &id, "--through-turn", "0"]).stdout;
    ok(&server, &["chat", "--conversation", fork.trim(), "--message", "hello"]);
    let forked = ok(&server, &["conversation", "show", fork.trim()]).stdout;
    assert!(forked.contains("how much is it?") && forked.contains("Good day."), "{forked}");
    ok(&server, &["conversation", "rename", &id, "Sums"]);
    ok(&server, &["conversation", "archive", &id]);
    let archived = ok(&server, &["conversation", "list", "--archived"]).stdout;
    assert!(archived.contains("Sums") && !archived.contains(fork.trim()), "{archived}");
    let exported = ok(&server, &["conversation", "export", &id]).stdout;
    assert_eq!(exported.lines().count(), 1, "a line for its turn: {exported}");
    ok(&server, &["conversation", "delete", &id]);
    let left = ok(&server, &["conversation", "list", "--json"]).json();
    assert_eq!(left["conversations"].as_array().map(Vec::len), Some(1), "{left}");
}

#[test]
fn thoughts_are_shown_in_a_pipe_where_they_are_asked_for_and_kept_for_the_trace() {
    let directory = tempfile::tempdir().expect("made");
    let server = server(directory.path());
    let silent = ok(&server, &["chat", "--message", "hello"]);
    assert!(!silent.stderr.contains("greeting"), "{}", silent.stderr);
    let aloud = ok(&server, &["chat", "--message", "hello", "--thinking"]);
    assert_eq!(aloud.stdout, "Good day.\n", "thoughts are no part of the answer");
    assert!(aloud.stderr.contains("That is a greeting."), "{}", aloud.stderr);
    // Of an agent without a parameter for it, what there is is shown, and nothing is refused.
    let planned = ok(&server, &["chat", "planner", "--message", "greet them", "--thinking"]);
    assert_eq!(planned.stdout, "They were greeted.\n");

    let all = ok(&server, &["conversation", "list", "--agent", "assistant", "--json"]).json();
    let ids: Vec<&str> = all["conversations"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|one| one["id"].as_str())
        .collect();
    let [thought, silent] = ids[..] else { panic!("two were asked: {all}") };
    let path = format!("/v1/conversations/{thought}/variables/plan");
    for plan in ["look", "leap"] {
        let set = server.send("PUT", &path, &serde_json::json!(plan));
        assert_eq!(set.status, 200, "{}", set.json());
    }
    let trace = ok(&server, &["conversation", "show", thought, "--trace"]).stdout;
    assert!(trace.contains("~ That is a greeting."), "{trace}");
    let [now, before] = ["leap", "look"].map(|plan| trace.find(plan).expect("each version"));
    assert!(now < before && trace[..now].contains("plan"), "the newest first: {trace}");
    let trace = ok(&server, &["conversation", "show", silent, "--trace"]).stdout;
    assert!(!trace.contains('~'), "{trace}");
}

#[test]
fn conversations_that_agents_began_for_their_work_are_listed_only_with_all() {
    let directory = tempfile::tempdir().expect("made");
    let server = server(directory.path());
    ok(&server, &["chat", "planner", "--message", "greet them"]);
    let listed = ok(&server, &["conversation", "list"]).stdout;
    assert!(listed.contains("planner") && !listed.contains("assistant"), "{listed}");
    let all = ok(&server, &["conversation", "list", "--all"]).stdout;
    assert!(all.contains("planner") && all.contains("assistant (delegated)"), "{all}");
    let own = server.get("/v1/conversations").json();
    assert_eq!(own["conversations"].as_array().map(Vec::len), Some(1), "{own}");
    let all = server.get("/v1/conversations?delegated=true").json();
    assert_eq!(all["conversations"].as_array().map(Vec::len), Some(2), "{all}");
}

#[test]
fn a_turn_is_replayed_with_a_component_from_a_file_that_is_served_to_nobody() {
    let directory = tempfile::tempdir().expect("made");
    let server = server(directory.path());
    ok(&server, &["chat", "--message", "hello"]);
    let all = ok(&server, &["conversation", "list", "--json"]).json();
    let id = all["conversations"][0]["id"].as_str().expect("there is one").to_owned();
    let shown = ok(&server, &["conversation", "show", &id, "--json"]).json();
    let turn = shown["said"][0]["turn_id"].as_str().expect("a turn").to_owned();

    let file = directory.path().join("pilot.wasm");
    std::fs::copy(guests::guest("probe-agent"), &file).expect("copied");
    let file = file.display().to_string();
    let report = ok(&server, &["replay", &turn, "--component", &file, "--json"]).json();
    assert_eq!(report["recorded"]["reply"]["text"], "Good day.");
    let name = report["replayed"]["component"].as_str().expect("a name");
    assert!(name.starts_with("pilot@"), "{report}");
    // A probe is told in JSON what to do, and says so otherwise.
    assert_eq!(report["replayed"]["end"], "failed", "{report}");
    let components = server.get("/v1/components").json();
    assert!(!components.to_string().contains("pilot"), "{components}");
    let told = r#"{"do": "turn"}"#;
    let options = ["replay", &turn, "--component", &file, "--prompt", told, "--json"];
    let report = ok(&server, &options).json();
    assert!(report["replayed"]["reply"]["text"].to_string().contains(&id), "{report}");

    let broken = directory.path().join("broken.wasm").display().to_string();
    std::fs::write(&broken, b"no component").expect("written");
    let data = server.data().display().to_string();
    for (component, says) in [(broken.as_str(), "component"), ("./absent.wasm", "absent.wasm")] {
        let options = ["replay", &turn, "--component", component, "--data", &data];
        let refused = foreshore_in(directory.path(), &options);
        assert_ne!(refused.code, 0, "{}", refused.stdout);
        assert!(refused.stderr.contains(says), "{}", refused.stderr);
    }
}

#[test]
fn the_status_names_the_turns_that_run() {
    let directory = tempfile::tempdir().expect("made");
    let server = server(directory.path());
    let status = || {
        let mut chat = spawned(&server);
        chat.stdin.take().expect("piped").write_all(b"!status\n").expect("it reads");
        let ran = chat.wait_with_output().expect("it ends");
        String::from_utf8_lossy(&ran.stdout).into_owned()
    };
    assert!(status().contains("turns: 0 open"), "{}", status());
    let body = serde_json::json!({"message": "Please take your time."});
    let prefer = [("prefer", "respond-async")];
    let taken = server.send_with("POST", "/v1/agents/assistant/turns", &prefer, &body).json();
    let turn = taken["turn_id"].as_str().expect("an id");
    let line = |state: &str| format!("{turn} assistant: {state}");
    let end = Instant::now() + Duration::from_secs(60);
    while !status().contains(&line("running")) {
        assert!(Instant::now() < end, "{}", status());
    }
    assert!(status().contains("turns: 1 open"), "{}", status());
}

fn spawned(server: &Server) -> std::process::Child {
    command(Path::new("/"))
        .args(["chat", "--data", &server.data().display().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts")
}

#[test]
fn lines_of_a_pipe_are_messages_and_commands() {
    let directory = tempfile::tempdir().expect("made");
    let server = server(directory.path());
    let mut chat = spawned(&server);
    let lines = "hello\n!interpret 6 * 7\n!history\n!consider_self\n!interpret.nothing {}\n";
    let mut stdin = chat.stdin.take().expect("piped");
    stdin.write_all(lines.as_bytes()).expect("it reads");
    drop(stdin);
    let ran = chat.wait_with_output().expect("it ends");
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(out.starts_with("Good day.\n"), "{out}");
    for wanted in ["42", "[0] > hello", "ok store: open"] {
        assert!(out.contains(wanted), "{wanted} in {out}");
    }
    assert!(err.contains("unknown_tool"), "{err}");
    assert_eq!(ran.status.code(), Some(3), "the chat went on, and tells of the call that failed");
}
