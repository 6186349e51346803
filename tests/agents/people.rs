//! Questions to people: a turn waits for them without running, and goes on with the answer.

use serde_json::{Value, json};

use super::{begin, ended, host, shown, until};
use crate::harness::events::Events;
use crate::harness::server::Server;

/// What a turn asks now, once it asks something of this kind.
fn asked(server: &Server, turn: &str, kind: &str) -> Value {
    until("a person is asked", || {
        let all = server.get("/v1/approvals?state=pending").json();
        let all = all["approvals"].as_array().expect("a list").clone();
        all.into_iter().find(|one| one["turn_id"] == turn && one["kind"] == kind)
    })
}

fn decide(server: &Server, question: &Value, decision: &Value) -> (u16, Value) {
    let id = question["id"].as_str().expect("an id");
    let answer = server.send("POST", &format!("/v1/approvals/{id}"), decision);
    (answer.status, answer.json())
}

/// What the probe saw, in the order of `everything`.
fn seen(turn: &Value) -> Vec<String> {
    let text = turn["reply"]["text"].as_str().expect("a reply");
    serde_json::from_str(text).expect("a list of texts")
}

/// A turn of the probe that asks, and then asks for approval.
fn asking(server: &Server) -> String {
    begin(server, "probe", &json!({"message": "{\"do\": \"everything\"}"})).0
}

#[test]
fn a_turn_goes_on_when_a_person_has_answered_and_approved() {
    let server = host();
    let turn = asking(&server);
    let question = asked(&server, &turn, "ask");
    assert_eq!(question["message"], "which?");
    assert_eq!(question["schema"], json!({"type": "object"}));
    assert_eq!(shown(&server, &turn)["state"], "waiting");
    let (status, refused) = decide(&server, &question, &json!({"decision": "answer"}));
    assert_eq!(status, 422, "an answer has an answer: {refused}");
    let answer = json!({"decision": "answer", "answer": {"city": "Bergen"}});
    let (status, decided) = decide(&server, &question, &answer);
    assert_eq!((status, &decided["state"]), (200, &json!("answered")), "{decided}");

    let approval = asked(&server, &turn, "approve");
    assert_eq!(approval["message"], "delete");
    let (status, decided) = decide(&server, &approval, &json!({"decision": "approve"}));
    assert_eq!((status, &decided["state"]), (200, &json!("approved")), "{decided}");
    let by = decided["decided_by"].as_str().expect("a name");
    assert!(by.starts_with("key_"), "{by}");
    let (status, second) = decide(&server, &approval, &json!({"decision": "deny"}));
    assert_eq!(status, 409, "{second}");

    let ended = ended(&server, &turn);
    assert_eq!(ended["state"], "completed", "{ended}");
    let seen = seen(&ended);
    assert!(seen.iter().any(|one| one.contains("Bergen")), "{seen:?}");
    let events = Events::open(server.address, &format!("/v1/turns/{turn}/events"), None, None);
    let names: Vec<String> = events.expect("events").map(|event| event.name).collect();
    let told = |name: &str| names.iter().filter(|told| *told == name).count();
    assert_eq!(
        (told("question.asked"), told("approval.required"), told("approval.decided")),
        (1, 1, 2),
        "{names:?}"
    );
}

#[test]
fn a_no_is_an_answer() {
    let server = host();
    let turn = asking(&server);
    let question = asked(&server, &turn, "ask");
    assert_eq!(decide(&server, &question, &json!({"decision": "decline"})).0, 200);
    let approval = asked(&server, &turn, "approve");
    let (status, decided) = decide(&server, &approval, &json!({"decision": "deny"}));
    assert_eq!((status, &decided["state"]), (200, &json!("denied")));
    let ended = ended(&server, &turn);
    assert_eq!(ended["state"], "completed", "{ended}");
    let seen = seen(&ended);
    assert!(seen.iter().any(|one| one.contains("Declined")), "{seen:?}");
    assert!(!seen.iter().any(|one| one.contains("Approved")), "{seen:?}");
}

#[test]
fn a_turn_that_waits_is_cancelled_with_its_question() {
    let server = host();
    let turn = asking(&server);
    let question = asked(&server, &turn, "ask");
    let answer = server.send("POST", &format!("/v1/turns/{turn}/cancel"), &Value::Null);
    assert_eq!(answer.status, 202);
    assert_eq!(answer.json()["state"], "cancelled", "one that waits is over at once");
    let (status, late) = decide(&server, &question, &json!({"decision": "decline"}));
    assert_eq!(status, 409, "{late}");
    let id = question["id"].as_str().expect("an id");
    assert_eq!(server.get(&format!("/v1/approvals/{id}")).json()["state"], "cancelled");
    assert_eq!(server.get("/v1/approvals/ask_00000000000000000000000000000000").status, 404);
}
