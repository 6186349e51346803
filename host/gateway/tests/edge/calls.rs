//! Calls, as a client sees them.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Host, Setup, call, call_with, limit};

#[tokio::test]
async fn a_call_gives_the_result_in_the_shape_of_the_contract() {
    let host = Host::start(Setup::default()).await;
    let response = host.request(&call("probe.echo", r#"{"text":"hällo"}"#)).await;
    assert_eq!(response.status(), 200, "{}", response.text());
    assert_eq!(response.header("content-type").as_deref(), Some("application/json"));
    assert_eq!(response.header("cache-control").as_deref(), Some("no-store"));
    assert_eq!(response.header("x-content-type-options").as_deref(), Some("nosniff"));
    let result = response.json();
    assert!(result["call_id"].as_str().is_some_and(|id| id.starts_with("call_")));
    assert_eq!(result["is_error"], false);
    assert_eq!(result["content"], json!([{ "type": "text", "text": r#"{"text":"hällo"}"# }]));
    assert_eq!(result["structured"], json!({ "text": "hällo" }));
    for name in ["fuel", "peak_memory_bytes", "wall_us", "host_us", "egress_bytes"] {
        assert!(result["usage"][name].is_u64(), "{name}");
    }
    assert!(result["usage"]["fuel"].as_u64() > Some(0));
}

#[tokio::test]
async fn one_connection_carries_many_calls_pipelined_too() {
    let host = Host::start(Setup::default()).await;
    let mut client = host.client().await;
    let request = call("probe@1.0.0.echo", r#"{"text":"x"}"#).repeat(20);
    client.send(request.as_bytes()).await;
    for _ in 0..20 {
        assert_eq!(client.response().await.expect("a response").status(), 200);
    }
    client.send(call("probe.echo", "").as_bytes()).await;
    assert_eq!(client.response().await.expect("a response").status(), 200, "empty means {{}}");
}

#[tokio::test]
async fn a_tools_own_failure_is_a_result() {
    let host = Host::start(Setup::default()).await;
    let response = host.request(&call("probe.crashed8", "{}")).await;
    assert_eq!((response.status(), &response.json()["is_error"]), (200, &json!(true)));
}

#[tokio::test]
async fn each_failure_of_a_call_says_what_its_reader_needs() {
    let host = Host::start(Setup::default()).await;
    let unknown = host.request(&call("probe.ecko", "{}")).await;
    assert_eq!((unknown.status(), unknown.problem().as_str()), (404, "unknown_tool"));
    assert_eq!(unknown.json()["suggestion"], "probe.echo");
    let nameless = host.request(&call("probe", "{}")).await;
    assert_eq!((nameless.status(), nameless.problem().as_str()), (404, "unknown_tool"));

    for (arguments, pointer) in
        [(r#"{"text":5}"#, "/text"), ("[]", ""), ("{", ""), ("\u{feff}{}", "")]
    {
        let invalid = host.request(&call("probe.echo", arguments)).await;
        assert_eq!((invalid.status(), invalid.problem().as_str()), (422, "invalid_arguments"));
        assert_eq!(invalid.json()["pointer"], pointer, "{arguments}");
        assert!(invalid.json()["call_id"].is_string());
    }
    let deep = format!("{{\"text\":{}1{}}}", "[".repeat(40), "]".repeat(40));
    let deep = host.request(&call("probe.echo", &deep)).await;
    assert_eq!((deep.status(), deep.problem().as_str()), (422, "invalid_arguments"));
}

#[tokio::test]
async fn a_caller_can_lower_a_limit_and_is_told_which_one_fired() {
    let host = Host::start(Setup::default()).await;
    let fuel = call_with("probe.spins", "foreshore-limits: fuel=100000\r\n", "{}");
    let fuel = host.request(&fuel).await;
    assert_eq!((fuel.status(), fuel.problem().as_str()), (422, "fuel_exhausted"));
    let problem = fuel.json();
    assert_eq!(problem["setting"], "components.probe.limits.fuel");
    assert_eq!(problem["allowed"], 100_000);
    assert!(problem["usage"]["fuel"].as_u64() > Some(0), "{problem}");
    assert!(problem["call_id"].is_string());

    let started = Instant::now();
    let time =
        call_with("probe.spins", "foreshore-limits: deadline_ms=50, fuel=1000000000000\r\n", "{}");
    let time = host.request(&time).await;
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    // The operator's fuel may run out first on a fast machine; a caller cannot raise it.
    assert!(["deadline_exceeded", "fuel_exhausted"].contains(&time.problem().as_str()));

    for (field, code) in
        [("feul=1", "unknown_limit"), ("fuel=0", "invalid_limits"), ("fuel", "invalid_limits")]
    {
        let bad = call_with("probe.echo", &format!("foreshore-limits: {field}\r\n"), "{}");
        let bad = host.request(&bad).await;
        assert_eq!((bad.status(), bad.problem().as_str()), (400, code));
    }
}

#[tokio::test]
async fn a_stream_carries_progress_and_logs_before_the_result() {
    let host = Host::start(Setup::default()).await;
    let request = call_with("probe.reports", "accept: text/event-stream\r\n", r#"{"text":"x"}"#);
    let response = host.request(&request).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.header("content-type").as_deref(), Some("text/event-stream"));
    let text = response.text();
    let events: Vec<(&str, serde_json::Value)> = text
        .split_terminator("\n\n")
        .map(|event| {
            let (name, data) = event.split_once('\n').expect("two lines");
            let name = name.strip_prefix("event: ").expect("a name");
            (name, serde_json::from_str(data.strip_prefix("data: ").expect("data")).expect("JSON"))
        })
        .collect();
    let names: Vec<&str> = events.iter().map(|(name, _)| *name).collect();
    assert!(names.contains(&"tool.progress") && names.contains(&"tool.log"), "{names:?}");
    let (last, result) = events.last().expect("events");
    assert_eq!((*last, &result["structured"]["text"]), ("tool.result", &json!("x")));
    let progress = &events.iter().find(|(name, _)| *name == "tool.progress").expect("progress").1;
    assert_eq!(progress, &json!({ "done": 1.0, "total": 2.0, "message": "half way" }));
    let log = &events.iter().find(|(name, _)| *name == "tool.log").expect("a line").1;
    assert_eq!(log, &json!({ "level": "info", "message": "half way" }));
}

#[tokio::test]
async fn a_stream_ends_with_an_error_where_the_call_fails() {
    let host = Host::start(Setup::default()).await;
    let fields =
        "accept: text/event-stream\r\nforeshore-limits: fuel=100000\r\nx-request-id: mine\r\n";
    let response = host.request(&call_with("probe.spins", fields, "{}")).await;
    assert_eq!(response.status(), 200);
    let text = response.text();
    let data = text.trim_end().strip_prefix("event: error\ndata: ").expect("one event");
    let problem: serde_json::Value = serde_json::from_str(data).expect("JSON");
    assert_eq!(
        (&problem["code"], &problem["request_id"]),
        (&json!("fuel_exhausted"), &json!("mine"))
    );
}

#[tokio::test]
async fn what_a_call_may_not_look_like_is_refused() {
    let host = Host::start(Setup::default()).await;
    let plain = "POST /v1/tools/probe.echo/call HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\n{}";
    let plain = host.request(plain).await;
    assert_eq!((plain.status(), plain.problem().as_str()), (415, "unsupported_media_type"));
    assert_eq!(plain.header("accept").as_deref(), Some("application/json"));
    let untyped = "POST /v1/tools/probe.echo/call HTTP/1.1\r\nhost: localhost\r\n\r\n";
    assert_eq!(host.request(untyped).await.status(), 415);
    let picture = host.request(&call_with("probe.echo", "accept: image/png\r\n", "{}")).await;
    assert_eq!((picture.status(), picture.problem().as_str()), (406, "not_acceptable"));
    let got = host.get("/v1/tools/probe.echo/call").await;
    assert_eq!((got.status(), got.problem().as_str()), (405, "method_not_allowed"));
    assert_eq!(got.header("allow").as_deref(), Some("POST"));
    let foreign =
        host.request(&call_with("probe.echo", "origin: http://evil.example\r\n", "{}")).await;
    assert_eq!((foreign.status(), foreign.problem().as_str()), (403, "origin_not_allowed"));
    assert!(foreign.json()["grant"].is_string());
    assert_eq!(foreign.header("access-control-allow-origin"), None);
    let own = host.request(&call_with("probe.echo", "origin: http://localhost\r\n", "{}")).await;
    assert_eq!(own.status(), 200);
}

#[tokio::test]
async fn a_body_is_bounded_by_its_word_and_by_its_length() {
    let host = Host::start(Setup::limits(|limits| limits.body_max_bytes = limit(1_000))).await;
    let fits = format!("{{\"text\":\"{}\"}}", "x".repeat(989));
    assert_eq!(fits.len(), 1_000);
    assert_eq!(host.request(&call("probe.echo", &fits)).await.status(), 200);

    // Refused by its word, before a byte of it is sent.
    let mut client = host.client().await;
    client.send(b"POST /v1/tools/probe.echo/call HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 1001\r\n\r\n").await;
    let early = client.response().await.expect("a response");
    assert_eq!((early.status(), early.problem().as_str()), (413, "body_too_large"));
    assert_eq!(early.json()["setting"], "server.limits.body_max_bytes");
    assert_eq!(early.header("connection").as_deref(), Some("close"));

    // Refused while it streams, without its word.
    let mut client = host.client().await;
    let mut request = "POST /v1/tools/probe.echo/call HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n".to_owned();
    request.push_str(&format!("1f4\r\n{}\r\n", "x".repeat(500)).repeat(3));
    client.send(request.as_bytes()).await;
    let late = client.response().await.expect("a response");
    assert_eq!((late.status(), late.problem().as_str()), (413, "body_too_large"));

    // A chunked body that fits is taken.
    let fits = "POST /v1/tools/probe.echo/call HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{\"tex\r\n7\r\nt\":\"x\"}\r\n0\r\n\r\n";
    let fits = host.request(fits).await;
    assert_eq!((fits.status(), &fits.json()["structured"]["text"]), (200, &json!("x")));
}

#[tokio::test]
async fn a_client_that_expects_to_be_asked_is_asked_unless_it_is_refused() {
    let host = Host::start(Setup::default()).await;
    let mut client = host.client().await;
    let head = |length| {
        format!(
            "POST /v1/tools/probe.echo/call HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nexpect: 100-continue\r\ncontent-length: {length}\r\n\r\n"
        )
    };
    client.send(head(2).as_bytes()).await;
    assert_eq!(client.response().await.expect("asked").status(), 100);
    client.send(b"{}").await;
    assert_eq!(client.response().await.expect("answered").status(), 200);

    let mut client = host.client().await;
    client.send(head(10_000_000).as_bytes()).await;
    assert_eq!(client.response().await.expect("refused").status(), 413);
}

#[tokio::test]
async fn a_request_id_comes_back_and_into_the_problem() {
    let host = Host::start(Setup::default()).await;
    let mine = host
        .request("GET /nowhere HTTP/1.1\r\nhost: localhost\r\nx-request-id: mine-1\r\n\r\n")
        .await;
    assert_eq!((mine.status(), mine.problem().as_str()), (404, "not_found"));
    assert_eq!(mine.header("x-request-id").as_deref(), Some("mine-1"));
    let ours = host
        .request("GET /nowhere HTTP/1.1\r\nhost: localhost\r\nx-request-id: \"><script>\r\n\r\n")
        .await;
    assert!(ours.header("x-request-id").is_some_and(|id| id.starts_with("req_")));
}

#[tokio::test]
async fn a_client_that_goes_away_gives_its_place_back() {
    let host = Host::start(Setup::default().one_call()).await;
    let mut client = host.client().await;
    client.send(call("probe.spins", "{}").as_bytes()).await;
    // The only place is taken once somebody else is turned away.
    while host.request(&call("probe.echo", "{}")).await.status() == 200 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(client);
    let gone = Instant::now();
    while host.request(&call("probe.echo", "{}")).await.status() != 200 {
        // Its own deadline would end it after five seconds.
        assert!(gone.elapsed() < Duration::from_secs(2), "the call runs on for nobody");
    }
}

#[tokio::test]
async fn a_stream_that_nobody_reads_gives_its_place_back() {
    let host = Host::start(Setup::default().one_call()).await;
    let mut client = host.client().await;
    client.send(call_with("probe.spins", "accept: text/event-stream\r\n", "{}").as_bytes()).await;
    while host.request(&call("probe.echo", "{}")).await.status() == 200 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(client);
    let gone = Instant::now();
    while host.request(&call("probe.echo", "{}")).await.status() != 200 {
        assert!(gone.elapsed() < Duration::from_secs(2), "the call runs on for nobody");
    }
}
