//! Who may do what, from an empty directory on.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::harness::server::Server;
use crate::harness::{self, http};

fn run(server: &Server, arguments: &[&str]) -> harness::Ran {
    let data = server.data().to_str().expect("UTF-8");
    harness::foreshore(&[arguments, &["--data", data]].concat())
}

fn ok(ran: harness::Ran) -> String {
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.stdout
}

/// Issues a key by the command line; its id and its text.
fn issue(server: &Server, arguments: &[&str]) -> (String, String) {
    let all = [&["token", "issue", "a test", "--json"], arguments].concat();
    let issued: Value = serde_json::from_str(&ok(run(server, &all))).expect("JSON");
    let text = |name: &str| issued[name].as_str().expect("text").to_owned();
    (text("id"), text("secret"))
}

fn ask(server: &Server, method: &str, path: &str, token: &str, body: &Value) -> http::Response {
    let shown = format!("Bearer {token}");
    server.send_with(method, path, &[("authorization", &shown)], body)
}

fn code(answer: &http::Response) -> String {
    answer.json()["code"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn nothing_is_open_and_the_first_start_makes_an_administrator() {
    let server = Server::start("", &[]);
    let unseen = |path: &str| {
        http::send(server.address, "GET", path, &[("authorization", "")], b"").expect("answers")
    };
    for path in ["/v1/tools", "/v1/memory", "/openapi.json", "/", "/nowhere", "/api/tags"] {
        let answer = unseen(path);
        assert_eq!(answer.status, 401, "{path}");
        assert!(answer.header("www-authenticate").is_some(), "{path}");
    }
    for path in ["/healthz", "/readyz"] {
        assert_eq!(unseen(path).status, 200, "{path}");
    }
    let file = server.data().join("admin.token");
    let mode = std::fs::metadata(&file).expect("written").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let token = std::fs::read_to_string(&file).expect("readable");
    assert_eq!(ask(&server, "GET", "/v1/tools", token.trim(), &json!({})).status, 200);
    let who = ok(run(&server, &["token", "whoami", "--json"]));
    assert!(who.contains("tokens.manage"), "the command line needs no set-up: {who}");
    assert!(!server.stderr().contains(token.trim()), "it is in no log");
}

#[test]
fn a_key_does_what_its_role_and_reach_say_over_a_restart_and_until_it_is_revoked() {
    let mut server = Server::start("", &[("rogue", "rogue")]);
    let (id, key) = issue(&server, &["--role", "caller", "--tool", "rogue.echo"]);
    let echo = |server: &Server| {
        ask(server, "POST", "/v1/tools/rogue.echo/call", &key, &json!({ "text": "hi" }))
    };
    assert_eq!(echo(&server).status, 200);
    let beyond = ask(&server, "POST", "/v1/tools/rogue.exit/call", &key, &json!({}));
    assert_eq!((beyond.status, code(&beyond).as_str()), (403, "tool_not_permitted"));
    let listed = ask(&server, "GET", "/v1/tools", &key, &json!({})).json();
    let names: Vec<&str> = listed["tools"]
        .as_array()
        .expect("tools")
        .iter()
        .filter_map(|tool| tool["name"].as_str())
        .collect();
    assert_eq!(names, ["rogue.echo"], "it sees what it may call");
    let denied = ask(&server, "POST", "/v1/store/check", &key, &json!({}));
    assert_eq!((denied.status, code(&denied).as_str()), (403, "permission_denied"));

    server.kill();
    server.restart();
    assert_eq!(echo(&server).status, 200, "what was issued is on disk");
    let listed = ok(run(&server, &["token", "list"]));
    assert!(listed.contains(&id) && !listed.contains(&key), "{listed}");
    ok(run(&server, &["token", "revoke", &id]));
    let after = echo(&server);
    assert_eq!((after.status, code(&after).as_str()), (401, "invalid_token"));
    server.kill();
    server.restart();
    assert_eq!(echo(&server).status, 401, "what was revoked stays so");
}

#[test]
fn each_refusal_is_in_the_audit_under_the_id_that_the_client_saw() {
    let server = Server::start("", &[]);
    let (_, viewer) = issue(&server, &["--role", "viewer"]);
    let mut seen = Vec::new();
    for (token, path, expected) in [
        ("nonsense", "/v1/tools", "credential_malformed"),
        (&viewer[..viewer.len() - 3], "/v1/tools", "credential_malformed"),
        (&viewer, "/v1/audit", "permission_denied"),
    ] {
        let answer = ask(&server, "GET", path, token, &json!({}));
        assert!(matches!(answer.status, 401 | 403), "{answer:?}");
        let id = answer.header("x-request-id").expect("an id").to_owned();
        seen.push((id, expected));
    }
    let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
    let recorded = loop {
        let recorded = server.get("/v1/audit?kind=request.refused&limit=100").json();
        // They are on disk soon, not at once: nobody waits for a refusal's record.
        let count = recorded["events"].as_array().map_or(0, Vec::len);
        if count >= seen.len() || std::time::Instant::now() > end {
            break recorded;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    for (id, expected) in seen {
        let event = recorded["events"]
            .as_array()
            .expect("events")
            .iter()
            .find(|event| event["payload"]["request"] == id.as_str());
        let event = event.unwrap_or_else(|| panic!("{id} is not in {recorded}"));
        assert_eq!(event["payload"]["code"], expected);
    }
    let text = recorded.to_string();
    assert!(!text.contains(&viewer[40..]), "no credential is in the record");
}

#[test]
fn a_server_without_authentication_is_for_this_machine_alone() {
    let server = Server::start_with("", &[], &["--insecure-no-auth"]);
    let open = http::send(server.address, "GET", "/v1/tools", &[("authorization", "")], b"");
    assert_eq!(open.expect("answers").status, 200);
    assert!(server.stderr().contains("insecure"), "{}", server.stderr());
    let ran = harness::foreshore(&["serve", "--listen", "0.0.0.0:0"]);
    assert!(ran.code == 7 && ran.stderr.contains("in the clear"), "{ran:?}");
    let directory = tempfile::tempdir().expect("made");
    let plain = "[server]\nplaintext = true\nlisten = \"0.0.0.0:0\"\n";
    std::fs::write(directory.path().join("foreshore.toml"), plain).expect("written");
    let ran = harness::foreshore_in(directory.path(), &["serve", "--insecure-no-auth"]);
    assert!(ran.code == 2 && ran.stderr.contains("loopback"), "{ran:?}");
}

#[test]
fn roles_of_the_configuration_count_and_a_wrong_one_stops_the_start() {
    let configuration = r#"
[roles.auditor]
permissions = ["audit.read", "events.read"]
"#;
    let server = Server::start(configuration, &[]);
    let (_, auditor) = issue(&server, &["--role", "auditor", "--expires-in", "1h"]);
    assert_eq!(ask(&server, "GET", "/v1/audit", &auditor, &json!({})).status, 200);
    assert_eq!(ask(&server, "GET", "/v1/tools", &auditor, &json!({})).status, 403);

    let directory = tempfile::tempdir().expect("made");
    let wrong = "[roles.auditor]\npermissions = [\"audit.raed\"]\n";
    std::fs::write(directory.path().join("foreshore.toml"), wrong).expect("written");
    let ran = harness::foreshore_in(directory.path(), &["config", "check"]);
    assert_ne!(ran.code, 0);
    assert!(ran.stderr.contains("did you mean \"audit.read\""), "{ran:?}");
}

#[test]
fn an_access_token_is_refreshed_once_and_a_stolen_refresh_token_ends_all() {
    let server = Server::start("", &[]);
    let issue = ["token", "issue", "ann", "--role", "viewer", "--access", "--json"];
    let issued: Value = serde_json::from_str(&ok(run(&server, &issue))).expect("JSON");
    let text = |value: &Value, name: &str| value[name].as_str().expect("text").to_owned();
    let access = text(&issued, "access_token");
    let who = ask(&server, "GET", "/v1/whoami", &access, &json!({}));
    assert_eq!(who.json()["subject"], "foreshore:ann");
    assert_eq!(ask(&server, "POST", "/v1/store/check", &access, &json!({})).status, 403);

    let refresh = |token: &str| {
        let body = json!({ "refresh_token": token });
        server.send_with("POST", "/v1/auth/refresh", &[("authorization", "")], &body)
    };
    let first = text(&issued, "refresh_token");
    let next = refresh(&first);
    assert_eq!((next.status, next.json()["expires_in"].as_u64()), (200, Some(1_800)));
    let access = text(&next.json(), "access_token");
    assert_eq!(ask(&server, "GET", "/v1/whoami", &access, &json!({})).status, 200);
    assert_eq!(refresh(&first).status, 401, "it was used");
    assert_eq!(refresh(&text(&next.json(), "refresh_token")).status, 401, "so all are over");
    let after = ask(&server, "GET", "/v1/whoami", &access, &json!({}));
    assert_eq!((after.status, code(&after).as_str()), (401, "invalid_token"));
    let mode = std::fs::metadata(server.data().join("issuer.pem")).expect("made");
    assert_eq!(mode.permissions().mode() & 0o777, 0o600);
}

#[test]
fn the_audit_is_searched_by_who_it_was_and_exported_for_spreadsheets() {
    let server = Server::start("", &[("rogue", "rogue")]);
    let (id, key) = issue(&server, &["--role", "caller"]);
    let call = json!({ "text": "hi" });
    assert_eq!(ask(&server, "POST", "/v1/tools/rogue.echo/call", &key, &call).status, 200);
    assert_eq!(ask(&server, "GET", "/v1/audit", &key, &json!({})).status, 403);
    let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
    let found = loop {
        let found = server.get(&format!("/v1/audit?principal={id}")).json();
        let kinds: Vec<String> = found["events"]
            .as_array()
            .expect("events")
            .iter()
            .map(|event| event["kind"].as_str().unwrap_or_default().to_owned())
            .collect();
        if ["call.completed", "request.refused"].iter().all(|kind| kinds.iter().any(|k| k == kind))
            || std::time::Instant::now() > end
        {
            break kinds;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    assert!(found.iter().any(|kind| kind == "call.completed"), "{found:?}");
    assert!(found.iter().any(|kind| kind == "request.refused"), "{found:?}");
    assert!(server.get("/v1/audit?principal=key_0").json()["events"] == json!([]));
    let text = ok(run(&server, &["audit", "log", "--principal", &id, "--csv"]));
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("seq,at,stream,kind,component,principal,code,payload"));
    assert!(lines.all(|line| line.contains(&id)) && text.contains("permission_denied"), "{text}");
}

#[test]
fn a_stream_of_events_ends_with_the_key_that_opened_it() {
    let server = Server::start("", &[]);
    let (id, key) = issue(&server, &["--role", "viewer"]);
    let mut stream = std::net::TcpStream::connect(server.address).expect("a connection");
    stream.set_read_timeout(Some(std::time::Duration::from_secs(60))).expect("set");
    let head = format!(
        "GET /v1/events HTTP/1.0\r\nhost: {}\r\naccept: text/event-stream\r\nauthorization: Bearer {key}\r\n\r\n",
        server.address
    );
    std::io::Write::write_all(&mut stream, head.as_bytes()).expect("sent");
    let mut first = [0; 12];
    std::io::Read::read_exact(&mut stream, &mut first).expect("an answer");
    assert!(first.ends_with(b" 200"), "{}", String::from_utf8_lossy(&first));
    ok(run(&server, &["token", "revoke", &id]));
    server.send("PUT", "/v1/memory/notes/later", &json!({ "value": "after" }));
    let mut rest = Vec::new();
    // It ends; the time limit of the socket would be an error.
    std::io::Read::read_to_end(&mut stream, &mut rest).expect("the end of the stream");
    assert!(!String::from_utf8_lossy(&rest).contains("notes"), "nothing came after that");
}
