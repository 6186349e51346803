//! Turns: their events in order and again, tools, budgets, cancelling, full queues, models that
//! are away.

use serde_json::{Value, json};

use super::{begin, ended, host, notes, shown, slow, turn, until};
use crate::harness::events::{Event, Events};
use crate::harness::server::Server;

fn text(turn: &Value) -> &str {
    turn["reply"]["text"].as_str().unwrap_or_default()
}

fn names(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.name.as_str()).collect()
}

#[test]
fn agents_are_listed_with_what_they_may_reach() {
    let agents = host().get("/v1/agents").json();
    let agents = agents["agents"].as_array().expect("a list");
    let find = |name: &str| agents.iter().find(|agent| agent["name"] == name).expect(name);
    assert_eq!(find("assistant")["tools"], json!(["files.*"]));
    assert_eq!(find("stranded")["component"], "assistant");
    assert_eq!(find("probe")["description"], "Does what it is told.");
    assert_eq!(find("planner")["agents"], json!(["assistant"]));
}

#[test]
fn a_turn_with_tools_is_answered_as_json() {
    let (server, notes) = (host(), notes());
    for name in ["json-a.txt", "json-b.txt"] {
        let _ = std::fs::remove_file(notes.join(name));
    }
    let turn = turn(&server, "assistant", &json!({"message": "write json-a.txt and json-b.txt"}));
    assert_eq!(turn["state"], "completed");
    assert_eq!(text(&turn), "Both are written.");
    assert_eq!(turn["reply"]["finish"], "stop");
    assert_eq!(turn["steps"], 4, "two answers of the model and two calls: {turn}");
    assert_eq!(turn["usage"]["tool_calls"], 2);
    assert_eq!(turn["served_by"], json!({"backend": "script", "model": "demo", "step": "primary"}));
    let read = |name: &str| std::fs::read_to_string(notes.join(name)).expect("written");
    assert_eq!((read("json-a.txt").as_str(), read("json-b.txt").as_str()), ("one", "two"));

    let again = shown(&server, turn["turn_id"].as_str().expect("an id"));
    assert_eq!(again["message"]["text"], "write json-a.txt and json-b.txt");
    for field in ["reply", "usage", "steps", "served_by", "state"] {
        assert_eq!(again[field], turn[field], "{field}");
    }
}

#[test]
fn a_turn_is_told_in_events_that_resume_where_a_client_lost_them() {
    let server = host();
    let body = json!({"message": "write event-a.txt and event-b.txt"});
    let all = Events::open(server.address, "/v1/agents/assistant/turns", None, Some(&body));
    let all: Vec<Event> = all.expect("events").collect();

    let recorded: Vec<&Event> = all.iter().filter(|event| event.id.is_some()).collect();
    let ids: Vec<u64> = recorded.iter().filter_map(|event| event.id).collect();
    assert!(ids.windows(2).all(|two| two[0] <= two[1]), "{ids:?}");
    let steps: Vec<&str> = recorded
        .iter()
        .map(|event| event.name.as_str())
        .filter(|name| *name != "turn.phase")
        .collect();
    assert_eq!(
        steps,
        [
            "turn.queued",
            "turn.started",
            "model.answered",
            "tool.call",
            "tool.call",
            "tool.result",
            "tool.result",
            "model.answered",
            "turn.completed",
        ]
    );
    let said: String = all
        .iter()
        .filter(|event| event.name == "message.delta")
        .filter_map(|event| event.data["text"].as_str())
        .collect();
    assert_eq!(said, "Both are written.");
    // What is said is told after the phase that it was said in.
    let before = all.iter().take_while(|event| event.name != "message.delta");
    let phases = before.filter(|event| event.name == "turn.phase");
    let phases: Vec<&Value> = phases.map(|event| &event.data["name"]).collect();
    assert_eq!(phases, ["thinking", "calling tools", "thinking"]);
    let last = all.last().expect("events");
    assert_eq!(text(&last.data), said);

    // From anywhere, what comes after it, and nothing twice.
    let turn = last.data["turn_id"].as_str().expect("an id");
    let path = format!("/v1/turns/{turn}/events");
    let again = Events::open(server.address, &path, None, None).expect("events");
    let again: Vec<Event> = again.collect();
    let whole: Vec<Event> = recorded.into_iter().cloned().collect();
    assert_eq!(again, whole, "what is on record is told again as it was");
    for lost_at in [ids[0], ids[ids.len() / 2], ids[ids.len() - 2]] {
        let rest = Events::open(server.address, &path, Some(lost_at), None).expect("events");
        let rest: Vec<Event> = rest.collect();
        let expected: Vec<Event> =
            whole.iter().filter(|event| event.id > Some(lost_at)).cloned().collect();
        assert_eq!(names(&rest), names(&expected));
        assert_eq!(rest, expected);
    }
}

#[test]
fn what_cannot_be_asked_is_said_why() {
    let server = host();
    let refused = |agent: &str, body: Value, status: u16, code: &str| {
        let answer = server.send("POST", &format!("/v1/agents/{agent}/turns"), &body);
        let said = answer.json();
        assert_eq!((answer.status, said["code"].as_str()), (status, Some(code)), "{said}");
        said["detail"].as_str().unwrap_or_default().to_owned()
    };
    let detail = refused("nobody", json!({"message": "x"}), 404, "unknown_agent");
    assert!(detail.contains("[agents.nobody]") && detail.contains("assistant"), "{detail}");
    let elsewhere = json!({"message": "x", "conversation": "conv_of_nobody"});
    refused("assistant", elsewhere, 404, "unknown_conversation");
    for budget in [json!({"tokens": 0}), json!({"pages": 3}), json!({"tokens": -1})] {
        let body = json!({"message": "x", "budget": budget});
        refused("assistant", body, 422, "invalid_body");
    }
    refused("assistant", json!({"message": "x", "stream": true}), 422, "invalid_body");
    assert_eq!(server.get("/v1/turns/turn_00000000000000000000000000000000").status, 404);
    assert_eq!(server.get("/v1/turns/first").status, 404);
}

#[test]
fn a_budget_that_is_used_up_ends_a_turn_with_what_there_is() {
    let body = json!({
        "message": "write budget-a.txt and budget-b.txt", "budget": {"iterations": 1}
    });
    let turn = turn(&host(), "assistant", &body);
    assert_eq!(turn["reply"]["finish"], "budget", "{turn}");
    assert_eq!(turn["usage"]["iterations"], 1);
    assert_eq!(turn["usage"]["tool_calls"], 0, "the last round offers no tools");
}

#[test]
fn a_turn_is_cancelled_while_its_model_thinks() {
    let server = host();
    let (id, _) = begin(&server, "assistant", &slow());
    until("it runs", || (shown(&server, &id)["state"] == "running").then_some(()));
    let answer = server.send("POST", &format!("/v1/turns/{id}/cancel"), &Value::Null);
    assert_eq!(answer.status, 202, "{}", answer.json());
    let turn = ended(&server, &id);
    assert_eq!(turn["state"], "cancelled", "{turn}");
    assert_eq!(turn["reply"], Value::Null);
    let events = Events::open(server.address, &format!("/v1/turns/{id}/events"), None, None);
    let last = events.expect("events").last().expect("an event");
    assert_eq!((last.name.as_str(), &last.data["state"]), ("error", &json!("cancelled")));
    let again = server.send("POST", &format!("/v1/turns/{id}/cancel"), &Value::Null);
    assert_eq!(again.status, 409, "{}", again.json());
}

#[test]
fn a_conversation_takes_as_many_turns_as_may_wait_and_sends_the_next_away() {
    let server = host();
    let (first, conversation) = begin(&server, "assistant", &slow());
    until("the first runs", || (shown(&server, &first)["state"] == "running").then_some(()));
    let more = json!({"message": "And then?", "conversation": conversation});
    let waiting: Vec<String> = (0..2).map(|_| begin(&server, "assistant", &more).0).collect();
    let refused = server.send("POST", "/v1/agents/assistant/turns", &more);
    assert_eq!(refused.status, 503, "{}", refused.json());
    assert!(refused.header("retry-after").is_some());
    let deleted = server.send("DELETE", &format!("/v1/conversations/{conversation}"), &Value::Null);
    assert_eq!(deleted.status, 409, "a turn is open: {:?}", deleted.json());

    // One that waits is over at once; when the first is, the other has its turn.
    let cancel =
        |turn: &str| server.send("POST", &format!("/v1/turns/{turn}/cancel"), &Value::Null);
    assert_eq!(cancel(&waiting[0]).json()["state"], "cancelled");
    assert_eq!(shown(&server, &waiting[1])["state"], "queued");
    assert_eq!(cancel(&first).status, 202);
    assert_eq!(ended(&server, &waiting[1])["state"], "completed");
}

#[test]
fn a_turn_whose_model_is_away_or_breaks_fails_and_says_so() {
    let server = host();
    let turn = turn(&server, "stranded", &json!({"message": "Are you there?"}));
    assert_eq!(turn["state"], "failed", "{turn}");
    let code = turn["error"]["code"].as_str().expect("a code");
    assert!(code.contains("unavailable"), "{turn}");
    let body = json!({"message": "Are you there?"});
    let events = Events::open(server.address, "/v1/agents/broken/turns", None, Some(&body));
    let last = events.expect("events").last().expect("an event");
    assert_eq!((last.name.as_str(), &last.data["state"]), ("error", &json!("failed")));
    let message = last.data["error"]["message"].as_str().expect("a message");
    assert!(message.contains("the runner is gone"), "{message}");
}

#[test]
fn a_turn_whose_model_there_is_not_says_which_and_where_it_is_named() {
    let server = host();
    let turn = turn(&server, "misled", &json!({"message": "Are you there?"}));
    assert_eq!(
        (&turn["state"], &turn["error"]["code"]),
        (&json!("failed"), &json!("model_not_found"))
    );
    let message = turn["error"]["message"].as_str().expect("a message");
    assert!(message.contains("model absent"), "{message}");
    assert!(message.contains("[agents.misled] model"), "{message}");
}

#[test]
fn a_bad_budget_of_a_turn_is_pointed_at() {
    let server = host();
    for (budget, pointer) in [
        (json!({"tokens": 0}), "/budget/tokens"),
        (json!({"tokns": 5}), "/budget/tokns"),
        (json!(5), "/budget"),
    ] {
        let body = json!({"message": "x", "budget": budget});
        let refused = server.send("POST", "/v1/agents/assistant/turns", &body);
        let problem = refused.json();
        assert_eq!((refused.status, &problem["pointer"]), (422, &json!(pointer)), "{problem}");
    }
}

#[test]
fn how_many_agents_run_at_once_is_changed_while_they_do() {
    let server = Server::start("", &[]);
    let now = server.get("/v1/concurrency").json();
    assert_eq!((now["agents_max"].as_u64(), now["agents_running"].as_u64()), (Some(4), Some(0)));
    let data = server.data().to_str().expect("UTF-8");
    let set = ["agent", "concurrency", "--set", "2", "--data", data];
    let ran = crate::harness::foreshore(&set);
    assert!(ran.code == 0 && ran.stdout.contains("0 of 2 agents run"), "{ran:?}");
    assert_eq!(server.get("/v1/concurrency").json()["agents_max"], 2);
    for bad in [json!({ "agents_max": 0 }), json!({ "agents_max": 5000 }), json!({ "agents": 2 })] {
        assert_eq!(server.send("PATCH", "/v1/concurrency", &bad).status, 422, "{bad}");
    }
    assert_eq!(server.get("/v1/concurrency").json()["agents_max"], 2);
}
