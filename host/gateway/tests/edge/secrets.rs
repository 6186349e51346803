//! Secrets over HTTP: set, listed without their values, removed, sealed anew.

use serde_json::{Value, json};

use crate::harness::{Host, Response, Setup};

async fn ask(host: &Host, method: &str, path: &str, body: Option<Value>) -> Response {
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let kind = if body.is_empty() { "" } else { "content-type: application/json\r\n" };
    let length = body.len();
    host.request(&format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\n{kind}content-length: {length}\r\n\r\n{body}"
    ))
    .await
}

#[tokio::test]
async fn a_secret_is_set_listed_and_removed_and_no_answer_holds_its_value() {
    let host = Host::start(Setup::default()).await;
    let path = "/v1/secrets/api-key";
    let value = json!({"value": "sk-live-9fQ2xLr7TzVb4Wc8"});
    let set = ask(&host, "PUT", path, Some(value)).await;
    assert_eq!((set.status(), set.text().len()), (204, 0));
    let listed = host.get("/v1/secrets").await;
    assert!(!listed.text().contains("sk-live"), "{}", listed.text());
    let listed = listed.json();
    let secret = &listed["secrets"][0];
    assert_eq!((&secret["name"], &secret["audiences"]), (&json!("api-key"), &json!(0)));
    assert!(secret["set_at"].is_string() && secret["set_by"].is_string(), "{secret}");
    let key = listed["key"].as_str().expect("a key").to_owned();

    let rekeyed = ask(&host, "POST", "/v1/rekey", None).await.json();
    assert_eq!(rekeyed["sealed"], 1);
    assert_ne!(rekeyed["key"], key.as_str());
    assert_eq!(host.get("/v1/secrets").await.json()["key"], rekeyed["key"]);

    assert_eq!(host.get(path).await.status(), 405, "there is no reading one");
    assert_eq!(ask(&host, "DELETE", path, None).await.status(), 204);
    assert_eq!(ask(&host, "DELETE", path, None).await.problem(), "unknown_secret");
    assert_eq!(host.get("/v1/secrets").await.json()["secrets"], json!([]));
}

#[tokio::test]
async fn what_cannot_be_a_secret_is_refused_without_being_repeated() {
    let host = Host::start(Setup::default()).await;
    for (path, body) in [
        ("/v1/secrets/a", json!({"value": "hunter2"})),
        ("/v1/secrets/a", json!({"value": "hunter2hunter2", "more": "hunter2"})),
        ("/v1/secrets/a", json!("hunter2hunter2")),
        ("/v1/secrets/a", json!({"value": ["hunter2hunter2"]})),
        ("/v1/secrets/A%20b", json!({"value": "hunter2hunter2"})),
    ] {
        let answer = ask(&host, "PUT", path, Some(body)).await;
        assert!(matches!(answer.status(), 400 | 422), "{path}: {}", answer.text());
        assert!(!answer.text().contains("hunter2"), "{}", answer.text());
    }
    assert_eq!(host.get("/v1/secrets").await.json()["secrets"], json!([]));
}
