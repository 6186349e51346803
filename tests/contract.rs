//! The HTTP contract that other programs rely on.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::harness::http;
use crate::harness::server::{Server, Shared};

fn server() -> Arc<Server> {
    static SERVER: Shared = Shared::new();
    SERVER.get(|| {
        let repository = crate::harness::repository();
        let configuration = format!(
            "[components.files]\nmounts = [{{ host = {repository:?}, guest = \"/data\", access = \"read-only\" }}]\n"
        );
        Server::start(&configuration, &[("rogue", "rogue")])
    })
}

#[test]
fn tools_are_listed_with_schemas_and_marks() {
    let answer = server().get("/v1/tools");
    assert_eq!(answer.status, 200);
    let text = answer.json().to_string();
    for tool in ["files.search", "files.read", "query.jq", "interpret.javascript"] {
        assert!(text.contains(&format!("\"{tool}\"")), "{tool} is missing: {text}");
    }
    let one = server().get("/v1/tools/files.search").json();
    assert_eq!(one["name"], "files.search", "{one}");
    assert_eq!(one["input_schema"]["type"], "object", "{one}");
    assert!(one["description"].as_str().is_some_and(|text| text.len() > 40), "{one}");
}

#[test]
fn a_call_answers_with_content_structured_and_usage() {
    let answer =
        server().call("files.search", &json!({"path": "/data/host", "pattern": "fn main"}));
    let body = answer.json();
    assert_eq!(answer.status, 200, "{body}");
    assert!(body["call_id"].as_str().is_some_and(|id| id.starts_with("call_")), "{body}");
    assert_eq!(body["is_error"], false, "{body}");
    assert!(body["content"].as_array().is_some_and(|parts| !parts.is_empty()), "{body}");
    assert!(body["structured"].is_object(), "{body}");
    for figure in ["fuel", "peak_memory_bytes", "wall_us", "host_us", "egress_bytes"] {
        assert!(body["usage"][figure].is_u64(), "{figure}: {body}");
    }
    assert!(body["usage"]["fuel"].as_u64() > Some(0));
    assert!(body["usage"]["peak_memory_bytes"].as_u64() > Some(0));
}

fn problem(answer: &http::Response, status: u16, code: &str) -> Value {
    let body = answer.json();
    assert_eq!(answer.status, status, "{body}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{answer:?}");
    assert_eq!(body["code"], code, "{body}");
    assert_eq!(body["status"], status, "{body}");
    assert!(body["title"].is_string() && body["detail"].is_string(), "{body}");
    assert_eq!(body["request_id"].as_str(), answer.header("x-request-id"), "{answer:?}");
    body
}

#[test]
fn bad_arguments_are_422_with_a_pointer() {
    let answer = server().call("files.search", &json!({"path": "/data", "pattern": 7}));
    let body = problem(&answer, 422, "invalid_arguments");
    assert_eq!(body["pointer"], "/pattern", "{body}");
    let answer =
        server().call("files.search", &json!({"path": "/data", "pattern": "x", "nonsense": 1}));
    problem(&answer, 422, "invalid_arguments");
    let path = "/v1/tools/files.search/call";
    let headers = [("content-type", "application/json")];
    let answer =
        http::send(server().address, "POST", path, &headers, b"{\"path\":").expect("answers");
    problem(&answer, 422, "invalid_arguments");
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    let answer =
        server().call("rogue.echo", &json!({"deep": serde_json::from_str::<Value>(&deep).ok()}));
    problem(&answer, 422, "invalid_arguments");
}

#[test]
fn an_unknown_tool_is_404_and_names_the_nearest() {
    let body = problem(&server().call("files.serch", &json!({})), 404, "unknown_tool");
    assert!(body["detail"].as_str().is_some_and(|text| text.contains("files.search")), "{body}");
    problem(&server().call("nothing.here", &json!({})), 404, "unknown_tool");
}

#[test]
fn a_denied_call_is_403_with_the_grant_that_would_allow_it() {
    let answer = server().call("files.search", &json!({"path": "/elsewhere", "pattern": "x"}));
    let body = problem(&answer, 403, "mount_not_granted");
    assert!(
        body["grant"].as_str().is_some_and(|text| text.contains("[components.files]")),
        "{body}"
    );
}

#[test]
fn a_component_that_was_not_granted_its_import_is_403() {
    let answer = server().call("fetch.request", &json!({"url": "https://example.com/"}));
    let body = problem(&answer, 403, "import_not_granted");
    assert!(
        body["grant"].as_str().is_some_and(|text| text.contains("[components.fetch")),
        "{body}"
    );
    let components = server().get("/v1/components").json().to_string();
    assert!(components.contains("import_not_granted"), "{components}");
}

#[test]
fn limits_are_shown_with_units_and_ceilings() {
    let limits = server().get("/v1/limits").json().to_string();
    for name in
        ["fuel", "deadline_ms", "memory_max_bytes", "result_max_bytes", "hostcall_max_bytes"]
    {
        assert!(limits.contains(name), "{name}: {limits}");
    }
}

#[test]
fn the_description_of_the_api_names_every_route() {
    let api = server().get("/openapi.json").json();
    for path in [
        "/v1/tools",
        "/v1/tools/{tool}/call",
        "/v1/components",
        "/v1/limits",
        "/healthz",
        "/readyz",
    ] {
        assert!(api["paths"][path].is_object(), "{path}: {}", api["paths"]);
    }
}

#[test]
fn health_and_readiness_answer() {
    assert_eq!(server().get("/healthz").status, 200);
    assert_eq!(server().get("/readyz").status, 200);
    problem(&server().get("/nowhere"), 404, "not_found");
    let answer = http::send(server().address, "DELETE", "/v1/tools", &[], b"").expect("answers");
    problem(&answer, 405, "method_not_allowed");
    assert!(answer.header("allow").is_some_and(|allow| allow.contains("GET")), "{answer:?}");
}

#[test]
fn a_foreign_host_or_origin_is_refused() {
    let address = server().address;
    let request = "GET /v1/tools HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n";
    let answer = http::raw(address, request.as_bytes()).expect("answers");
    assert!(matches!(answer.status, 403 | 421), "{answer:?}");
    let answer =
        server().call_with("rogue.echo", &json!({}), &[("origin", "https://evil.example")]);
    assert_eq!(answer.status, 403, "{answer:?}");
}

#[test]
fn a_body_over_the_limit_is_413() {
    let big = json!({"text": "x".repeat(2 << 20)});
    let answer = server().call("rogue.echo", &big);
    assert_eq!(answer.status, 413, "{answer:?}");
}
