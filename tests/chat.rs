//! Agents on the command line: a chat, the conversation that it leaves, its turn run again. A
//! model that answers by rules stands in for one that thinks.

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use crate::harness::server::Server;
use crate::harness::{Ran, command, foreshore_in};

const RULES: &str = r#"
[[rules]]
when = { tool_name = { regex = '(?i)javascript$' } }
answer.text = "It is forty-two."

[[rules]]
when.last_user = { regex = 'how much' }
answer.tool_calls = [{ name = '{{tool (?i)javascript$}}', arguments = { code = "6 * 7" } }]

[[rules]]
when.last_user = { regex = 'hello' }
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
fn lines_of_a_pipe_are_messages_and_commands() {
    let directory = tempfile::tempdir().expect("made");
    let server = server(directory.path());
    let mut chat = command(Path::new("/"))
        .args(["chat", "--data", &server.data().display().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
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
