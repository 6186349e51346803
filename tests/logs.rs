//! What is logged is one line for one event, whatever others put into it.

use serde_json::{Value, json};

use crate::harness::http;
use crate::harness::server::Server;

/// An escape of a terminal, a line of its own, and what some take for the end of one.
const EVIL: &str = "\u{1b}[31mred\u{7}\r\n2026-01-01 ERROR forged\u{85}\u{9b}\0";
const EVIL_ESCAPED: &str = "%1b%5b31mred%07%0d%0aERROR%20forged%c2%85%c2%9b%00";

/// Puts it wherever a request has room for it.
fn ask(server: &Server) {
    for path in [
        format!("/v1/tools/{EVIL_ESCAPED}.x/call"),
        format!("/v1/tools/files.{EVIL_ESCAPED}"),
        format!("/v1/components/{EVIL_ESCAPED}"),
        format!("/v1/memory/notes/{EVIL_ESCAPED}"),
        format!("/v1/conversations/{EVIL_ESCAPED}"),
        format!("/v1/limits?component={EVIL_ESCAPED}"),
        format!("/{EVIL_ESCAPED}"),
    ] {
        for method in ["GET", "POST", "PUT", "DELETE"] {
            let answer = server.send(method, &path, &json!({ "text": EVIL, EVIL: EVIL }));
            assert!((400..500).contains(&answer.status), "{method} {path}: {}", answer.status);
        }
    }
    let named = json!({ "name": EVIL, "roles": [EVIL], "tenant": EVIL, "tools": [EVIL] });
    assert_eq!(server.send("POST", "/v1/tokens", &named).status, 422);
    server.send("POST", "/v1/auth/refresh", &json!({ "refresh_token": EVIL }));
    // What no parser of HTTP should take at all, and what it takes without a look: bytes above 127.
    for field in [
        "x-request-id: \x1b[31m",
        "x-request-id: \u{9b}31m",
        "traceparent: \u{9b}",
        "x-forwarded-for: \u{9b}, \u{85}",
        "authorization: Bearer \u{9b}31m",
        "user-agent: \u{9b}",
        "authorization: Bearer a\x1bb",
        "origin: http://\u{9b}",
        "host: \u{9b}",
    ] {
        let request = format!(
            "GET /v1/tools HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{field}\r\n\r\n"
        );
        let answer = http::raw(server.address, request.as_bytes()).expect("an answer");
        assert!((400..500).contains(&answer.status), "{field:?}: {}", answer.status);
    }
}

#[test]
fn control_characters_of_others_stand_in_no_line_of_the_log() {
    for format in ["text", "json"] {
        let configuration = format!("[log]\nformat = \"{format}\"\n");
        let server = Server::start_with(&configuration, &[], &["--log", "debug"]);
        ask(&server);
        let log = server.stderr();
        assert!(log.contains("answered"), "each request is in it: {log}");
        let stray: Vec<&str> = log
            .lines()
            .filter(|line| line.contains(|c: char| c.is_control() && c != '\t'))
            .collect();
        assert!(stray.is_empty(), "{stray:?}");
        assert!(!log.lines().any(|line| line.starts_with("2026-01-01 ERROR")), "{log}");
        if format == "json" {
            for line in log.lines() {
                assert!(serde_json::from_str::<Value>(line).is_ok(), "{line}");
            }
        }
    }
}
