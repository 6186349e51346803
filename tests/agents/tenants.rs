//! Tenants share a host and see nothing of each other: not by a list, not by an id, not by an
//! event.

use serde_json::{Value, json};

use super::{host, until};
use crate::harness::http;
use crate::harness::server::Server;

/// Somebody with a key of a tenant.
struct Tenant<'a> {
    server: &'a Server,
    key: String,
}

impl<'a> Tenant<'a> {
    fn new(server: &'a Server, name: &str) -> Self {
        let new = json!({ "name": "a test", "tenant": name, "roles": ["admin"] });
        let issued = server.send("POST", "/v1/tokens", &new);
        assert_eq!(issued.status, 201, "{}", issued.json());
        let key = issued.json()["secret"].as_str().expect("a key").to_owned();
        Self { server, key }
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> http::Response {
        let shown = format!("Bearer {}", self.key);
        self.server.send_with(method, path, &[("authorization", &shown)], body)
    }

    fn get(&self, path: &str) -> http::Response {
        self.send("GET", path, &json!({}))
    }

    /// Takes a turn that asks a person, and waits until it does; turn, conversation, question.
    fn asks(&self) -> (String, String, String) {
        let shown = format!("Bearer {}", self.key);
        let headers = [("authorization", shown.as_str()), ("prefer", "respond-async")];
        let body = json!({ "message": "{\"do\": \"everything\"}" });
        let taken = self.server.send_with("POST", "/v1/agents/probe/turns", &headers, &body);
        assert_eq!(taken.status, 202, "{}", taken.json());
        let word = |name: &str| taken.json()[name].as_str().expect("a text").to_owned();
        let turn = word("turn_id");
        let question = until("a person is asked", || {
            let all = self.get("/v1/approvals?state=pending").json();
            let all = all["approvals"].as_array()?.clone();
            let own = all.into_iter().find(|one| one["turn_id"] == turn.as_str())?;
            Some(own["id"].as_str()?.to_owned())
        });
        (turn, word("conversation"), question)
    }
}

#[test]
fn a_tenant_reaches_nothing_of_another_by_any_route() {
    let server = host();
    let (red, blue) = (Tenant::new(&server, "red"), Tenant::new(&server, "blue"));
    let who = red.get("/v1/whoami").json();
    assert_eq!(who["tenant"], "red");

    let put = red.send("PUT", "/v1/memory/notes/secret", &json!({ "value": "crimson" }));
    assert!(put.status < 300, "{}", put.json());
    let (turn, conversation, question) = red.asks();
    assert_eq!(red.get(&format!("/v1/turns/{turn}")).status, 200);
    assert_eq!(red.get(&format!("/v1/conversations/{conversation}")).status, 200);
    let set = format!("/v1/conversations/{conversation}/variables/color");
    assert!(red.send("PUT", &set, &json!({ "value": "crimson" })).status < 300);

    let mut tried = 0;
    for (method, path, body) in [
        ("GET", format!("/v1/turns/{turn}"), json!({})),
        ("GET", format!("/v1/turns/{turn}/events"), json!({})),
        ("POST", format!("/v1/turns/{turn}/cancel"), json!({})),
        ("POST", format!("/v1/turns/{turn}/replay"), json!({})),
        ("GET", format!("/v1/approvals/{question}"), json!({})),
        ("POST", format!("/v1/approvals/{question}"), json!({ "decision": "decline" })),
        ("GET", format!("/v1/conversations/{conversation}"), json!({})),
        ("PATCH", format!("/v1/conversations/{conversation}"), json!({ "title": "mine" })),
        ("DELETE", format!("/v1/conversations/{conversation}"), json!({})),
        ("GET", format!("/v1/conversations/{conversation}/turns"), json!({})),
        ("GET", format!("/v1/conversations/{conversation}/events"), json!({})),
        ("POST", format!("/v1/conversations/{conversation}/fork"), json!({ "through_turn": 0 })),
        ("GET", format!("/v1/conversations/{conversation}/export"), json!({})),
        ("GET", set.clone(), json!({})),
        ("GET", format!("/v1/conversations/{conversation}/variables"), json!({})),
        ("GET", "/v1/memory/notes/secret".to_owned(), json!({})),
        (
            "POST",
            "/v1/agents/probe/turns".to_owned(),
            json!({ "conversation": conversation, "message": "hello" }),
        ),
    ] {
        let answer = blue.send(method, &path, &body);
        let text = String::from_utf8_lossy(&answer.body);
        assert_eq!(answer.status, 404, "{method} {path}: {text}");
        assert!(!text.contains("crimson"), "{method} {path}: {text}");
        tried += 1;
    }
    assert_eq!(tried, 17);

    for path in [
        "/v1/conversations".to_owned(),
        "/v1/approvals?state=pending".to_owned(),
        "/v1/memory".to_owned(),
        "/v1/memory/notes".to_owned(),
        "/v1/memory/notes/secret/versions".to_owned(),
        "/v1/events?limit=1000".to_owned(),
        "/v1/audit?limit=1000".to_owned(),
        "/v1/tokens".to_owned(),
    ] {
        let answer = blue.get(&path);
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        for word in [&turn, &conversation, &question, "crimson", "\"red\""] {
            assert!(!text.contains(word), "{path} shows {word}: {text}");
        }
    }
    for (path, body) in [
        ("/v1/memory/notes/search", json!({ "text": "crimson" })),
        ("/v1/conversations/search", json!({ "text": "everything" })),
    ] {
        let found = blue.send("POST", path, &body);
        let text = String::from_utf8_lossy(&found.body).into_owned();
        assert!(!text.contains("crimson") && !text.contains(&conversation), "{path}: {text}");
    }

    // What is red's is as it was, and red's alone to end.
    assert_eq!(red.get(&format!("/v1/turns/{turn}")).json()["state"], "waiting");
    let own = red.get("/v1/events?limit=1000");
    assert!(String::from_utf8_lossy(&own.body).contains(&turn));
    let answer =
        red.send("POST", &format!("/v1/approvals/{question}"), &json!({ "decision": "decline" }));
    assert_eq!(answer.status, 200, "{}", answer.json());
    let ended = red.send("POST", &format!("/v1/turns/{turn}/cancel"), &json!({})).status;
    assert!(matches!(ended, 200 | 202), "{ended}");
}

#[test]
fn the_host_itself_is_for_its_own_tenant_alone() {
    let server = host();
    let green = Tenant::new(&server, "green");
    for (method, path) in [
        ("GET", "/v1/files/roots"),
        ("POST", "/v1/files/scan"),
        ("DELETE", "/v1/components/files"),
        ("GET", "/v1/store/stats"),
        ("POST", "/v1/store/backup"),
        ("GET", "/v1/limits"),
        ("GET", "/readyz?verbose"),
        ("POST", "/api/pull"),
    ] {
        let answer = green.send(method, path, &json!({}));
        assert_eq!(answer.status, 403, "{method} {path}: {answer:?}");
    }
    let other = json!({ "name": "a test", "tenant": "default", "roles": ["viewer"] });
    let refused = green.send("POST", "/v1/tokens", &other);
    let code = refused.json()["code"].as_str().unwrap_or_default().to_owned();
    assert_eq!((refused.status, code.as_str()), (403, "credential_exceeds_issuer"));
}

#[test]
fn a_key_reaches_by_an_agent_no_tool_that_it_does_not_reach_itself() {
    let server = host();
    let issue = |body: &Value| {
        let issued = server.send("POST", "/v1/tokens", body);
        assert_eq!(issued.status, 201, "{}", issued.json());
        issued.json()["secret"].as_str().expect("a key").to_owned()
    };
    let narrow = json!({
        "name": "a test", "roles": ["caller"], "agents": ["probe"], "tools": ["query.*"],
    });
    let narrow = Tenant { server: &server, key: issue(&narrow) };
    let other = narrow.send("POST", "/v1/agents/assistant/turns", &json!({ "message": "hello" }));
    let code = other.json()["code"].as_str().unwrap_or_default().to_owned();
    assert_eq!((other.status, code.as_str()), (403, "agent_not_permitted"));

    let call = json!({ "message": "{\"do\": \"call\", \"calls\": [[\"files.read\", {\"path\": \"/notes/x\"}]]}" });
    let denied = narrow.send("POST", "/v1/agents/probe/turns", &call);
    assert_eq!(denied.status, 200, "{}", denied.json());
    let text = denied.json()["reply"]["text"].to_string();
    assert!(text.contains("not_granted"), "the agent may, its caller may not: {text}");
    let wide =
        Tenant { server: &server, key: issue(&json!({ "name": "a test", "roles": ["caller"] })) };
    let reached = wide.send("POST", "/v1/agents/probe/turns", &call);
    let text = reached.json()["reply"]["text"].to_string();
    assert!(!text.contains("not_granted"), "{text}");
}
