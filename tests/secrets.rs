//! Secrets from the outside: set by a command, seen by their audience, and by nobody else: not by
//! the guest that asks, not by whoever calls it, and not by who reads the disk.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::harness::server::Server;
use crate::harness::web::Web;
use crate::harness::{self, http};

const KEY: &str = "sk-live-9fQ2xLr7TzVb4Wc8NmKe";

/// A server that sends back the head of each request, and keeps it.
fn echo() -> (Web, Arc<Mutex<Vec<String>>>) {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&heads);
    let web = Web::start(move |head, stream| {
        kept.lock().expect("lock").push(head.to_owned());
        let _ = write!(
            stream,
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{head}",
            head.len()
        );
    });
    (web, heads)
}

fn server(audience: &Web, other: &Web) -> Server {
    let (to, other) = (audience.address, other.address);
    let configuration = format!(
        "[components.rogue-http.http]
allow = [\"* http://{to}/**\", \"* http://{other}/**\"]
networks = [\"127.0.0.0/8\"]
secrets = [{{ name = \"api-key\", header = \"authorization\", prefix = \"Bearer \", audience = \"{to}\" }}]
[components.rogue-http.limits]
fuel = 5_000_000_000
deadline_ms = 20_000
"
    );
    Server::start(&configuration, &[("rogue-http", "rogue-http")])
}

fn run(server: &Server, arguments: &[&str], input: Option<&str>) -> (i32, String, String) {
    let directory = tempfile::tempdir().expect("made");
    let mut command = harness::command(directory.path());
    command.args(arguments).arg("--data").arg(server.data());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("starts");
    let mut stdin = child.stdin.take().expect("piped");
    // A command that reads nothing may be gone by now.
    let _ = stdin.write_all(input.unwrap_or_default().as_bytes());
    drop(stdin);
    let (mut out, mut err) = (String::new(), String::new());
    child.stdout.take().expect("piped").read_to_string(&mut out).expect("text");
    child.stderr.take().expect("piped").read_to_string(&mut err).expect("text");
    (child.wait().expect("ends").code().unwrap_or(-1), out, err)
}

fn turned(text: &str) -> Vec<u8> {
    text.bytes().map(|byte| !byte).collect()
}

fn ask(server: &Server, web: &Web) -> Value {
    let arguments = json!({
        "authority": web.address.to_string(),
        "path": "/",
        "turned": [turned(KEY), turned(&KEY[..12]), turned(&KEY[16..]), turned("host: 127.0.0.1")],
    });
    let answer = server.call("rogue-http.find-in-memory", &arguments);
    assert_eq!(answer.status, 200, "{}", answer.json());
    answer.json()["structured"].clone()
}

#[test]
fn a_secret_goes_to_its_audience_and_no_guest_ever_holds_it() {
    let ((audience, heads), (other, others)) = (echo(), echo());
    let mut server = server(&audience, &other);
    let (code, out, err) = run(&server, &["secret", "set", "api-key", "--stdin"], Some(KEY));
    assert_eq!((code, out.as_str()), (0, "api-key is set\n"), "{err}");

    let check = |server: &Server, count: usize| {
        let seen = ask(server, &audience);
        let text = seen["answer"]["text"].as_str().expect("text");
        assert!(text.contains("authorization: Bearer [secret:api-key]"), "{text}");
        // The last is what the guest was given, so its memory is searched indeed.
        assert_eq!(seen["found"], json!([false, false, false, true]), "{seen}");
        let heads = heads.lock().expect("lock");
        assert_eq!(heads.len(), count);
        assert!(heads[count - 1].contains(&format!("authorization: Bearer {KEY}")), "{heads:?}");
    };
    check(&server, 1);
    ask(&server, &other);
    let without = others.lock().expect("lock").concat();
    assert!(!without.contains("authorization") && !without.contains(KEY), "{without}");

    let (_, listed, _) = run(&server, &["secret", "list"], None);
    assert!(listed.contains("api-key") && !listed.contains("sk-live"), "{listed}");
    let (code, rekeyed, err) = run(&server, &["secret", "rekey"], None);
    assert_eq!(code, 0, "{err}");
    assert!(rekeyed.starts_with("1 secrets are sealed with the key "), "{rekeyed}");
    check(&server, 2);
    server.kill();
    server.restart();
    check(&server, 3);

    let key = server.data().join("secrets.key");
    let mode = std::fs::metadata(&key).expect("made").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    for entry in std::fs::read_dir(server.data()).expect("a directory").flatten() {
        let Ok(bytes) = std::fs::read(entry.path()) else { continue };
        let holds = bytes.windows(12).any(|window| window == &KEY.as_bytes()[..12]);
        assert!(!holds, "{}", entry.path().display());
    }
    assert!(!server.stderr().contains("sk-live"));

    assert_eq!(run(&server, &["secret", "rm", "api-key"], None).0, 0);
    let arguments = json!({"authority": audience.address.to_string(), "path": "/"});
    let answer = server.call("rogue-http.request", &arguments).json();
    assert_eq!(answer["denials"][0]["code"], "secret_unusable", "{answer}");
    assert_eq!(heads.lock().expect("lock").len(), 3, "and nothing was sent");
}

#[test]
fn what_a_guest_was_handed_it_can_neither_send_nor_tell() {
    let ((audience, heads), (other, others)) = (echo(), echo());
    let server = server(&audience, &other);
    assert_eq!(run(&server, &["secret", "set", "api-key", "--stdin"], Some(KEY)).0, 0);
    let to = other.address.to_string();
    for arguments in [
        json!({"authority": to, "path": format!("/?q={KEY}")}),
        json!({"authority": to, "path": "/", "headers": {"x-a": KEY}}),
        json!({"authority": to, "path": "/", "method": "POST", "body": format!("it is {KEY}")}),
    ] {
        let answer = server.call("rogue-http.request", &arguments).json();
        let codes: Vec<&Value> = answer["denials"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|denial| &denial["code"])
            .collect();
        assert_eq!(codes, ["secret_leak"], "{answer}");
        assert!(!answer.to_string().contains("sk-live"), "{answer}");
    }
    assert!(heads.lock().expect("lock").is_empty());
    assert!(!others.lock().expect("lock").concat().contains("sk-live"));
    // An error of the guest's own that repeats it.
    let told =
        server.call("rogue-http.bad-field", &json!({"name": "x", "value": format!("{KEY}\n")}));
    assert!(!String::from_utf8_lossy(&told.body).contains("sk-live"), "{told:?}");
    let events = server.get("/v1/events?limit=1000");
    let events = String::from_utf8_lossy(&events.body).into_owned();
    assert!(events.contains("holds the secret") && !events.contains("sk-live"), "{events}");
}

#[test]
fn a_value_is_never_repeated_by_what_refuses_it() {
    let server = Server::start("", &[]);
    let (code, out, err) = run(&server, &["secret", "set", "api-key"], None);
    assert_eq!(code, 2, "no terminal, and no word of where else: {out}{err}");
    let (code, out, err) = run(&server, &["secret", "set", "api-key", "--stdin"], Some("hunter2"));
    assert_ne!(code, 0);
    assert!(err.contains("at least 8 bytes") && !(out + &err).contains("hunter2"), "{err}");
    for body in ["{\"value\": \"sk-live-1\", \"x\": 1}", "{\"value\": sk-live-1}", "\"sk-live-1\""]
    {
        let fields = [("content-type", "application/json")];
        let answer = http::send(server.address, "PUT", "/v1/secrets/a", &fields, body.as_bytes());
        let answer = answer.expect("answers");
        assert_eq!(answer.status, 422);
        assert!(!String::from_utf8_lossy(&answer.body).contains("sk-live"), "{answer:?}");
    }
    let none = server.send("DELETE", "/v1/secrets/none", &json!({}));
    assert_eq!((none.status, none.json()["code"].as_str()), (404, Some("unknown_secret")));
    let listed = server.get("/v1/secrets").json();
    assert_eq!(listed["secrets"], json!([]));
}
