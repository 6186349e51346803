//! Work on the journal over HTTP.

use serde_json::{Value, json};

use crate::harness::{Host, Response, Setup};

async fn post(host: &Host, path: &str, body: &str) -> Response {
    let kind = if body.is_empty() { "" } else { "content-type: application/json\r\n" };
    let length = body.len();
    host.request(&format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\n{kind}content-length: {length}\r\n\r\n{body}"
    ))
    .await
}

async fn done(host: &Host, path: &str, body: &str) -> Value {
    let answer = post(host, path, body).await;
    assert_eq!(answer.status(), 200, "{path}: {}", answer.text());
    answer.json()
}

#[tokio::test]
async fn a_journal_is_measured_checked_verified_and_rebuilt_while_it_goes_on() {
    let host = Host::start(Setup::default()).await;
    let stats = host.get("/v1/store/stats").await.json();
    let seq = stats["seq"].as_u64().expect("a number");
    assert!(seq > 0 && stats["allocated_bytes"].as_u64() > Some(0), "{stats}");
    let checked = done(&host, "/v1/store/check", "").await;
    assert!(checked["views"].as_u64() > Some(0) && checked["seq"].as_u64() >= Some(seq));
    assert_eq!(done(&host, "/v1/store/verify", "{}").await["verified"], true);
    assert!(done(&host, "/v1/store/rebuild", "").await["seq"].as_u64() >= Some(seq));
}

#[tokio::test]
async fn a_request_names_no_file_and_brings_only_checkpoints() {
    let host = Host::start(Setup::default()).await;
    let refused = post(&host, "/v1/store/backup?path=/tmp/x", "").await;
    assert_eq!(refused.problem(), "invalid_query");
    assert_eq!(post(&host, "/v1/store/backup", "").await.problem(), "store_in_memory");
    let line = json!({ "checkpoints": ["{}"] }).to_string();
    let refused = post(&host, "/v1/store/verify", &line).await;
    assert_eq!(refused.problem(), "invalid_body");
    assert_eq!(host.get("/v1/store/backup").await.status(), 405);
}
