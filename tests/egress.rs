//! Outgoing requests, seen from the network's side.

use std::io::Write as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::server::Server;
use crate::harness::web::Web;

fn server(allow: &[String], networks: &[&str], limits: &str) -> Server {
    let configuration = format!(
        "[components.rogue-http.http]\nallow = {allow:?}\nnetworks = {networks:?}\n[components.rogue-http.limits]\n{limits}\n"
    );
    Server::start(&configuration, &[("rogue-http", "rogue-http")])
}

fn ask(server: &Server, arguments: &Value) -> Value {
    let answer = server.call("rogue-http.request", arguments);
    let body = answer.json();
    assert_eq!(answer.status, 200, "{arguments}: {body}");
    body["structured"][0].clone()
}

#[test]
fn a_granted_request_arrives_and_a_denied_one_never_connects() {
    let web = Web::saying("hello");
    let rule = format!("GET http://{}/granted/*", web.address);
    let server = server(&[rule], &["127.0.0.0/8"], "");
    let authority = web.address.to_string();
    let seen = ask(&server, &json!({"authority": authority, "path": "/granted/x"}));
    assert_eq!((&seen["status"], &seen["text"]), (&json!(200), &json!("hello")), "{seen}");
    assert_eq!(web.connections(), 1);
    for denied in [
        json!({"authority": authority, "path": "/other"}),
        json!({"authority": authority, "path": "/granted/../other"}),
        json!({"authority": authority, "path": "/granted/%2e%2e/other"}),
        json!({"authority": authority, "path": "/granted/x", "method": "POST", "body": "b"}),
        json!({"authority": authority, "path": "/granted/x", "method": "CONNECT"}),
        json!({"authority": authority, "path": "/granted/x", "scheme": "https"}),
        json!({"authority": authority, "path": "/granted/x", "scheme": "ftp"}),
        json!({"authority": format!("user@{authority}"), "path": "/granted/x"}),
        json!({"authority": format!("localhost:{}", web.address.port()), "path": "/granted/x"}),
        json!({"authority": authority, "path": "/granted/x", "headers": {"host": "example.com"}}),
        json!({"authority": authority, "path": format!("http://{authority}/granted/x")}),
        json!({"path": "/granted/x"}),
    ] {
        let seen = ask(&server, &denied);
        assert!(seen["error"].is_string(), "{denied}: {seen}");
    }
    assert_eq!(web.connections(), 1, "a denied request never connects");
}

#[test]
fn loopback_needs_the_second_key_however_it_is_spelled() {
    let web = Web::saying("hello");
    let port = web.address.port();
    let names = [
        "127.0.0.1",
        "localhost",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.0.1",
        "0",
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::]",
        "localhost.",
        "LOCALHOST",
        "127.0.0.1.",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "127.255.255.254",
    ];
    // Every name is allowed by rule, as far as a rule can say it; none has the second key.
    let rules: Vec<String> =
        ["127.0.0.1", "localhost", "[::1]", "127.255.255.254", "0.0.0.0", "[::]"]
            .iter()
            .map(|name| format!("* http://{name}:{port}/*"))
            .collect();
    let server = server(&rules, &[], "http_requests_max = 100");
    for name in names {
        let seen = ask(&server, &json!({"authority": format!("{name}:{port}"), "path": "/"}));
        assert!(seen["error"].is_string(), "{name}: {seen}");
    }
    assert_eq!(web.connections(), 0);
}

#[test]
fn a_redirect_is_the_guests_to_follow_and_each_hop_a_new_decision() {
    let inner = Web::saying("inner");
    let target = inner.address;
    let web = Web::start(move |_, stream| {
        let _ = write!(
            stream,
            "HTTP/1.1 302 Found\r\nlocation: http://{target}/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        );
    });
    let server = server(&[format!("GET http://{}/*", web.address)], &["127.0.0.0/8"], "");
    let seen = ask(&server, &json!({"authority": web.address.to_string(), "path": "/"}));
    assert_eq!(seen["status"], 302, "{seen}");
    let seen = ask(&server, &json!({"authority": target.to_string(), "path": "/"}));
    assert!(seen["error"].is_string(), "{seen}");
    assert_eq!(inner.connections(), 0);
}

#[test]
fn requests_are_counted_against_the_limit() {
    let web = Web::saying("hello");
    let server = server(
        &[format!("GET http://{}/*", web.address)],
        &["127.0.0.0/8"],
        "http_requests_max = 3",
    );
    let answer = server.call(
        "rogue-http.request",
        &json!({"authority": web.address.to_string(), "path": "/", "count": 5}),
    );
    let seen = answer.json()["structured"].clone();
    let ok = seen.as_array().map_or(0, |all| all.iter().filter(|one| one["status"] == 200).count());
    assert_eq!(ok, 3, "{seen}");
    assert_eq!(web.connections(), 3);
}

#[test]
fn a_response_without_end_is_cut_at_the_limit() {
    let web = Web::start(|_, stream| {
        let _ = write!(stream, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        let chunk = [b'x'; 16 << 10];
        loop {
            if write!(stream, "4000\r\n").is_err()
                || stream.write_all(&chunk).is_err()
                || write!(stream, "\r\n").is_err()
            {
                return;
            }
        }
    });
    let server = server(
        &[format!("GET http://{}/*", web.address)],
        &["127.0.0.0/8"],
        "http_response_max_bytes = 200_000",
    );
    let seen = ask(&server, &json!({"authority": web.address.to_string(), "path": "/"}));
    assert!(seen["bytes"].as_u64().is_some_and(|bytes| bytes <= 200_000), "{seen}");
    assert_ne!(seen["ended"], "closed", "{seen}");
}

#[test]
fn a_server_that_drips_is_ended_by_the_deadline() {
    let web = Web::start(|_, stream| {
        let _ = write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n");
        for _ in 0..600 {
            if stream.write_all(b"x").and_then(|()| stream.flush()).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    let server =
        server(&[format!("GET http://{}/*", web.address)], &["127.0.0.0/8"], "deadline_ms = 500");
    let start = Instant::now();
    let answer = server
        .call("rogue-http.request", &json!({"authority": web.address.to_string(), "path": "/"}));
    assert_eq!(answer.json()["code"], "deadline_exceeded", "{answer:?}");
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn timeouts_of_nothing_and_of_everything_are_taken_in_stride() {
    let web = Web::saying("hello");
    let server = server(&[format!("GET http://{}/*", web.address)], &["127.0.0.0/8"], "");
    for nanoseconds in [0, 1, u64::MAX] {
        let answer = server.call(
            "rogue-http.timeouts",
            &json!({"authority": web.address.to_string(), "path": "/", "nanoseconds": nanoseconds}),
        );
        assert!(matches!(answer.status, 200 | 422), "{nanoseconds}: {answer:?}");
    }
}

#[test]
fn fields_are_bounded_and_well_formed() {
    let server = server(&["GET https://example.com/*".to_owned()], &[], "");
    let answer = server.call("rogue-http.many-fields", &json!({"fields": 32_768}));
    let body = answer.json();
    assert!(answer.status == 422 || body["is_error"] == true, "{body}");
    for (name, value) in [("x-a\r\nx-b", "v"), ("x-a", "v\r\nx-b: w"), ("x-a\u{0}", "v"), ("", "v")]
    {
        let answer = server.call("rogue-http.bad-field", &json!({"name": name, "value": value}));
        assert_eq!(answer.json()["is_error"], true, "{name:?}: {value:?}");
    }
}
