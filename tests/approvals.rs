//! Calls that wait for a person: over HTTP, on the command line, across kills, and from agents.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::agents::{begin, ended, until};
use crate::harness::server::Server;
use crate::harness::{self, http};

/// A server whose tool `files.append` waits for an approver, and an agent that may call it.
fn server(notes: &Path) -> Server {
    let script = notes.join("script.toml");
    let rules = r#"
        [[models]]
        name = "demo"
        capabilities = ["completion", "tools"]
        [[rules]]
        when = { tool_content = "not twice" }
        answer.text = "They said: not twice."
        [[rules]]
        when = { tool_result = true }
        answer.text = "Done."
        [[rules]]
        when = { last_user = "append" }
        answer.tool_calls = [{ name = "files__append", arguments = { path = "/notes/agent", text = "by an agent\n" } }]
    "#;
    std::fs::write(&script, rules).expect("written");
    let mount = notes.join("mount");
    std::fs::create_dir_all(&mount).expect("made");
    let configuration = format!(
        r#"
        [approvals]
        [[approvals.rules]]
        tool = "files.append"
        arguments = {{ "/path" = {{ matches = "^/notes/free" }} }}
        decision = "allow"
        [[approvals.rules]]
        tool = "files.append"
        arguments = {{ "/path" = {{ matches = "^/notes/never" }} }}
        decision = "deny"
        reason = "nobody writes there"
        [[approvals.rules]]
        tool = "files.append"
        decision = "ask"
        risk = "high"
        reason = "it is kept for good"
        approvers = ["approver", "admin"]
        [inference]
        default_model = "demo"
        [[inference.backends]]
        name = "script"
        kind = "scripted"
        script = {script:?}
        [inference.models.demo]
        [agents.assistant]
        tools = ["files.append"]
        [components.files]
        mounts = [{{ host = {mount:?}, guest = "/notes", access = "read-write" }}]
        [components.rogue-http.http]
        allow = ["POST http://127.0.0.1:*/*"]
        networks = ["127.0.0.0/8"]
        "#
    );
    Server::start(&configuration, &[("rogue-http", "rogue-http")])
}

fn run(server: &Server, arguments: &[&str]) -> harness::Ran {
    let data = server.data().to_str().expect("UTF-8");
    harness::foreshore(&[arguments, &["--data", data]].concat())
}

fn ok(ran: harness::Ran) -> String {
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.stdout
}

/// The text of a key with a role.
fn key(server: &Server, role: &str) -> String {
    let issued = ok(run(server, &["token", "issue", "a test", "--json", "--role", role]));
    let issued: Value = serde_json::from_str(&issued).expect("JSON");
    issued["secret"].as_str().expect("a text").to_owned()
}

/// Calls `files.append` with further fields.
fn append(
    address: std::net::SocketAddr,
    key: &str,
    (path, text): (&str, &str),
    fields: &[(&str, &str)],
) -> http::Response {
    let body = json!({"path": path, "text": text}).to_string();
    let shown = format!("Bearer {key}");
    let own = [("authorization", &*shown), ("content-type", "application/json")];
    let headers = [&own[..], fields].concat();
    http::send(address, "POST", "/v1/tools/files.append/call", &headers, body.as_bytes())
        .expect("it answers")
}

fn ask(server: &Server, key: &str, path: &str, text: &str) -> String {
    let answer = append(server.address, key, (path, text), &[]);
    assert_eq!(answer.status, 202, "{answer:?}");
    let waits = answer.json();
    let id = waits["approval_id"].as_str().expect("an id").to_owned();
    assert_eq!(waits["status_url"], format!("/v1/approvals/{id}"));
    id
}

fn decide(server: &Server, key: &str, id: &str, said: &Value) -> http::Response {
    let shown = format!("Bearer {key}");
    let path = format!("/v1/approvals/{id}");
    server.send_with("POST", &path, &[("authorization", &shown)], said)
}

fn lines(notes: &Path, file: &str) -> usize {
    std::fs::read_to_string(notes.join("mount").join(file)).map_or(0, |text| text.lines().count())
}

fn code(answer: &http::Response) -> String {
    answer.json()["code"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_call_waits_for_an_approver_over_kills_and_runs_once() {
    let notes = tempfile::tempdir().expect("made");
    let mut server = server(notes.path());
    let (caller, approver) = (key(&server, "caller"), key(&server, "approver"));
    let free = append(server.address, &caller, ("/notes/free", "a\n"), &[]);
    assert_eq!(free.status, 200, "a rule lets it: {free:?}");
    let never = append(server.address, &caller, ("/notes/never", "a\n"), &[]);
    assert_eq!((never.status, code(&never).as_str()), (403, "denied_by_rule"));

    let id = ask(&server, &caller, "/notes/kept", "one\n");
    assert_eq!(ask(&server, &caller, "/notes/kept", "one\n"), id, "it is not asked for twice");
    server.kill();
    server.restart();
    let listed = ok(run(&server, &["approvals"]));
    assert!(listed.contains(&id) && listed.contains("high"), "{listed}");
    let denied = decide(&server, &caller, &id, &json!({"decision": "approve"}));
    assert_eq!(denied.status, 403, "nobody approves for themselves: {denied:?}");
    let shown = [("foreshore-approval", id.as_str())];
    let early = append(server.address, &caller, ("/notes/kept", "one\n"), &shown);
    assert_eq!(early.status, 202, "nobody has decided: {early:?}");
    let decided = decide(&server, &approver, &id, &json!({"decision": "approve"}));
    assert_eq!((decided.status, &decided.json()["state"]), (200, &json!("approved")));
    server.kill();
    server.restart();

    let other = append(server.address, &caller, ("/notes/other", "one\n"), &shown);
    assert_eq!((other.status, code(&other).as_str()), (409, "approval_stale"), "{other:?}");
    let foreign = append(server.address, &key(&server, "caller"), ("/notes/kept", "one\n"), &shown);
    assert_eq!(code(&foreign), "approval_stale", "somebody else's");
    assert_eq!(lines(notes.path(), "kept"), 0);
    let used = append(server.address, &caller, ("/notes/kept", "one\n"), &shown);
    assert_eq!(used.status, 200, "{used:?}");
    let again = append(server.address, &caller, ("/notes/kept", "one\n"), &shown);
    assert_eq!((again.status, code(&again).as_str()), (409, "approval_stale"), "{again:?}");
    assert_eq!((lines(notes.path(), "kept"), lines(notes.path(), "other")), (1, 0));
    let entry = server.get(&format!("/v1/approvals/{id}")).json();
    assert_eq!(entry["state"], "used");
    assert!(entry["call"]["used_by"].as_str().is_some_and(|call| call.starts_with("call_")));
}

#[test]
fn rules_that_changed_make_what_was_approved_stale() {
    let notes = tempfile::tempdir().expect("made");
    let mut server = server(notes.path());
    let (caller, approver) = (key(&server, "caller"), key(&server, "approver"));
    let id = ask(&server, &caller, "/notes/kept", "one\n");
    assert_eq!(decide(&server, &approver, &id, &json!({"decision": "approve"})).status, 200);
    server.kill();
    server.reconfigure(|text| text.replace("it is kept for good", "another reason"));
    server.restart();
    let shown = [("foreshore-approval", id.as_str())];
    let used = append(server.address, &caller, ("/notes/kept", "one\n"), &shown);
    assert_eq!((used.status, code(&used).as_str()), (409, "approval_stale"), "{used:?}");
    assert_eq!(lines(notes.path(), "kept"), 0);
}

#[test]
fn a_caller_that_waits_gets_what_was_approved_as_it_was_edited() {
    let notes = tempfile::tempdir().expect("made");
    let server = server(notes.path());
    let caller = key(&server, "caller");
    let address = server.address;
    let waiting = std::thread::spawn(move || {
        append(address, &caller, ("/notes/kept", "one\n"), &[("prefer", "wait=30")])
    });
    let id = until("it waits", || {
        let all = server.get("/v1/approvals").json();
        all["approvals"][0]["id"].as_str().map(str::to_owned)
    });
    let edited = r#"{"path": "/notes/edited", "text": "two\n"}"#;
    let said = ok(run(&server, &["approve", &id, "--scope", "always", "--arguments", edited]));
    assert!(said.contains("approved") || said.contains("used"), "{said}");
    let answer = waiting.join().expect("it ends");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!((lines(notes.path(), "kept"), lines(notes.path(), "edited")), (0, 1));
    let entry = server.get(&format!("/v1/approvals/{id}")).json();
    assert_eq!(entry["call"]["arguments"]["path"], "/notes/edited", "{entry}");
    assert_eq!(entry["call"]["arguments_before"]["path"], "/notes/kept", "{entry}");
    assert!(entry["call"]["edited_by"].is_string(), "{entry}");
    let standing = ok(run(&server, &["approvals", "standing"]));
    assert!(standing.contains(&id) && standing.contains("always"), "{standing}");
    ok(run(&server, &["approvals", "revoke", &id]));
    assert!(!ok(run(&server, &["approvals", "standing"])).contains(&id));
}

/// `FORESHORE_APPROVAL_KILLS` kills, each at another moment of the use of an approval.
#[test]
fn a_kill_between_decision_and_end_runs_the_call_at_most_once() {
    let kills: u64 = std::env::var("FORESHORE_APPROVAL_KILLS")
        .ok()
        .and_then(|kills| kills.parse().ok())
        .unwrap_or(6);
    let notes = tempfile::tempdir().expect("made");
    let mut server = server(notes.path());
    let (caller, approver) = (key(&server, "caller"), key(&server, "approver"));
    let (mut once, mut lost) = (0, 0);
    for kill in 0..kills {
        let file = format!("file{kill}");
        let path = format!("/notes/{file}");
        let id = ask(&server, &caller, &path, "one\n");
        assert_eq!(decide(&server, &approver, &id, &json!({"decision": "approve"})).status, 200);
        let (address, used) = (server.address, (caller.clone(), path.clone(), id.clone()));
        let using = std::thread::spawn(move || {
            let (caller, path, id) = used;
            let body = json!({"path": path, "text": "one\n"}).to_string();
            let shown = format!("Bearer {caller}");
            let headers = [
                ("authorization", &*shown),
                ("content-type", "application/json"),
                ("foreshore-approval", &*id),
            ];
            // The server may be gone before it answers.
            let call = "/v1/tools/files.append/call";
            http::send(address, "POST", call, &headers, body.as_bytes()).ok()
        });
        std::thread::sleep(Duration::from_micros(kill * 700 % 9_000));
        server.kill();
        let answered = using.join().expect("it ends");
        server.restart();
        let shown = [("foreshore-approval", id.as_str())];
        let again = append(server.address, &caller, (&path, "one\n"), &shown);
        let done = lines(notes.path(), &file);
        assert!(done <= 1, "kill {kill}: it ran {done} times");
        match again.status {
            // It had not begun.
            200 => assert_eq!(done, 1, "kill {kill}"),
            409 => assert_eq!(code(&again), "approval_stale", "kill {kill}"),
            status => panic!("kill {kill}: {status} {again:?}"),
        }
        if answered.is_some_and(|answer| answer.status == 200) {
            assert_eq!((done, again.status), (1, 409), "kill {kill}: it was acknowledged");
        }
        if done == 1 { once += 1 } else { lost += 1 }
    }
    eprintln!("{kills} kills: {once} calls ran once, {lost} did not, none twice");
}

#[test]
fn an_agents_call_waits_over_a_kill_and_goes_on_with_the_decision() {
    let notes = tempfile::tempdir().expect("made");
    let mut server = server(notes.path());
    let (turn, _) = begin(&server, "assistant", &json!({"message": "append"}));
    let waiting = |server: &Server| {
        until("a person is asked", || {
            let all = server.get("/v1/approvals").json();
            let all = all["approvals"].as_array().expect("a list").clone();
            all.into_iter().find(|one| one["kind"] == "call" && one["turn_id"] == turn)
        })
    };
    let asked = waiting(&server);
    server.kill();
    server.restart();
    assert_eq!(waiting(&server)["id"], asked["id"], "it waits still");
    assert_eq!(lines(notes.path(), "agent"), 0);
    let id = asked["id"].as_str().expect("an id");
    ok(run(&server, &["approve", id]));
    let ended = ended(&server, &turn);
    assert_eq!(ended["state"], "completed", "{ended}");
    assert_eq!(lines(notes.path(), "agent"), 1);
    assert_eq!(server.get(&format!("/v1/approvals/{id}")).json()["state"], "used");

    let (turn, _) = begin(&server, "assistant", &json!({"message": "append"}));
    let asked = until("a person is asked again", || {
        let all = server.get("/v1/approvals").json();
        all["approvals"].as_array().expect("a list").first().cloned()
    });
    let id = asked["id"].as_str().expect("an id");
    ok(run(&server, &["deny", id, "--reason", "not twice"]));
    let ended = crate::agents::ended(&server, &turn);
    assert!(ended["reply"]["text"].as_str().is_some_and(|text| text.contains("not twice")));
    assert_eq!(lines(notes.path(), "agent"), 1);
}

#[test]
fn a_guest_that_reaches_the_api_decides_nothing() {
    let notes = tempfile::tempdir().expect("made");
    let server = server(notes.path());
    let id = ask(&server, &key(&server, "caller"), "/notes/kept", "one\n");
    let target = json!({
        "method": "POST",
        "authority": server.address.to_string(),
        "path": format!("/v1/approvals/{id}"),
        "body": "{\"decision\": \"approve\"}",
    });
    let answer = server.call("rogue-http.request", &target).json();
    assert_eq!(answer["structured"][0]["status"], 401, "it has no token: {answer}");
    assert_eq!(server.get(&format!("/v1/approvals/{id}")).json()["state"], "pending");
}
