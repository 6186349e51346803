//! Attempts on the sandbox: each ends with the guard that is named, and the host goes on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::server::{Server, Shared};

/// Little of everything, so that each guard fires soon.
const CONFIGURATION: &str = r#"
[components.rogue.limits]
fuel = 3_000_000_000
deadline_ms = 4_000
memory_max_bytes = 33_554_432
"#;

/// One server for all of this file: guards that need other limits lower them by the header.
fn server() -> Arc<Server> {
    static SERVER: Shared = Shared::new();
    SERVER.get(|| Server::start(CONFIGURATION, &[("rogue", "rogue")]))
}

/// The code of the problem that a call ends with, with the usage there must be.
fn stopped_by(attempt: &str, arguments: Value, limits: &str) -> String {
    let server = server();
    let answer = server.call_with(
        &format!("rogue.{attempt}"),
        &arguments,
        if limits.is_empty() { vec![] } else { vec![("foreshore-limits", limits)] }.as_slice(),
    );
    let body = answer.json();
    assert_eq!(answer.status, 422, "{attempt}: {body}");
    assert!(body["usage"]["wall_us"].as_u64().is_some_and(|n| n > 0), "{body}");
    assert!(body["call_id"].as_str().is_some_and(|id| id.starts_with("call_")), "{body}");
    still_well();
    body["code"].as_str().unwrap_or_default().to_owned()
}

/// A call after an attack answers as before.
fn still_well() {
    let answer = server().call("rogue.echo", &json!({"well": true}));
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["structured"], json!({"well": true}));
}

fn structured(attempt: &str, arguments: Value) -> Value {
    let answer = server().call(&format!("rogue.{attempt}"), &arguments);
    let body = answer.json();
    assert_eq!(answer.status, 200, "{attempt}: {body}");
    assert_eq!(body["is_error"], false, "{attempt}: {body}");
    body["structured"].clone()
}

#[test]
fn a_spinning_guest_runs_out_of_fuel() {
    assert_eq!(stopped_by("spin-forever", json!({}), "fuel=50000000"), "fuel_exhausted");
}

#[test]
fn a_spinning_guest_with_fuel_left_is_stopped_at_its_deadline() {
    let start = Instant::now();
    assert_eq!(stopped_by("spin-forever", json!({}), "deadline_ms=100"), "deadline_exceeded");
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_guest_asleep_in_the_host_is_stopped_at_its_deadline() {
    assert_eq!(stopped_by("sleep-forever", json!({}), "deadline_ms=100"), "deadline_exceeded");
}

#[test]
fn memory_stops_at_its_limit() {
    assert_eq!(stopped_by("eat-memory", json!({}), ""), "memory_exhausted");
}

#[test]
fn memory_below_the_limit_is_there_to_use_and_is_metered() {
    let answer = server().call("rogue.eat-memory", &json!({"mebibytes": 8}));
    let body = answer.json();
    assert_eq!(body["structured"]["mebibytes"], 8, "{body}");
    assert!(body["usage"]["peak_memory_bytes"].as_u64().is_some_and(|n| n >= 8 << 20), "{body}");
}

#[test]
fn recursion_ends_with_the_stack_and_not_with_the_host() {
    let answer = server().call("rogue.recurse", &json!({}));
    let body = answer.json();
    // The guest's own shadow stack, in its linear memory, may give out before wasm's does; then
    // the guest crashes. Neither reads like a fault of the host.
    match answer.status {
        422 => assert_eq!(body["code"], "stack_exhausted", "{body}"),
        200 => assert_eq!(body["is_error"], true, "{body}"),
        other => panic!("{other}: {body}"),
    }
    still_well();
}

#[test]
fn a_panic_is_the_tools_own_failure_and_says_what_the_guest_said() {
    let answer = server().call("rogue.panic", &json!({"message": "at the canary"}));
    let body = answer.json();
    assert_eq!((answer.status, &body["is_error"]), (200, &json!(true)), "{body}");
    assert!(body["content"].to_string().contains("at the canary"), "{body}");
    still_well();
}

#[test]
fn an_exit_ends_the_call_alone() {
    let answer = server().call("rogue.exit", &json!({}));
    assert_eq!((answer.status, &answer.json()["is_error"]), (200, &json!(true)));
    still_well();
}

#[test]
fn a_result_that_is_too_large_is_refused() {
    assert_eq!(stopped_by("huge-result", json!({"bytes": 2 << 20}), ""), "result_too_large");
}

#[test]
fn a_result_within_the_limit_comes_whole() {
    let text = structured("huge-result", json!({"bytes": 100_000}));
    assert_eq!(text.as_str().map(str::len), Some(100_000));
}

#[test]
fn a_result_that_is_too_deep_is_the_tools_own_failure() {
    let answer = server().call("rogue.deep-result", &json!({"depth": 100}));
    let body = answer.json();
    assert_eq!((answer.status, &body["is_error"]), (200, &json!(true)), "{body}");
    assert!(body["content"].to_string().contains("deep"), "{body}");
}

#[test]
fn a_string_too_large_for_a_host_call_is_refused() {
    assert_eq!(stopped_by("big-string", json!({"bytes": 16 << 20}), ""), "hostcall_too_large");
}

#[test]
fn logs_are_bounded_in_lines_and_length() {
    let answer = structured("flood-log", json!({"lines": 10_000, "length": 4_000}));
    assert_eq!(answer, "logged");
    still_well();
}

#[test]
fn standard_output_of_a_gibibyte_in_one_line_costs_the_host_no_memory() {
    let server = server();
    let before = server.resident_bytes();
    let answer = server.call("rogue.flood-stdout", &json!({"bytes": 1_u64 << 30}));
    // Either the guest got through (each write is cheap) or one of its limits fired.
    let body = answer.json();
    let code = body["code"].as_str().unwrap_or("none");
    assert!(
        answer.status == 200
            || ["fuel_exhausted", "deadline_exceeded", "host_operations_exhausted"].contains(&code),
        "{body}"
    );
    assert!(server.resident_bytes() < before + (96 << 20));
    still_well();
}

#[test]
fn progress_reports_without_end_are_dropped() {
    assert_eq!(structured("flood-progress", json!({"reports": 100_000})), "reported");
}

#[test]
fn random_bytes_are_bounded_per_request() {
    let answer = server().call("rogue.random", &json!({"bytes": u64::MAX}));
    let body = answer.json();
    assert!(answer.status == 422 || body["is_error"] == true, "{body}");
    let few = structured("random", json!({"bytes": 4_096}));
    assert_eq!(few, json!({"bytes": 4_096, "different": true}));
    still_well();
}

#[test]
fn handles_are_bounded() {
    assert_eq!(stopped_by("leak-handles", json!({"handles": 1_000_000}), ""), "handles_exhausted");
    assert_eq!(structured("leak-handles", json!({"handles": 100})), json!({"held": 100}));
}

#[test]
fn a_poll_on_nothing_is_the_guests_own_crash() {
    let answer = server().call("rogue.poll", &json!({"count": 0}));
    assert_eq!((answer.status, &answer.json()["is_error"]), (200, &json!(true)));
    still_well();
}

#[test]
fn a_poll_on_a_million_is_refused_and_on_a_few_answered() {
    let answer = server().call("rogue.poll", &json!({"count": 1_000_000}));
    let body = answer.json();
    assert!(answer.status == 422 || body["is_error"] == true, "{body}");
    assert_eq!(structured("poll", json!({"count": 10})), json!({"ready": 10}));
    still_well();
}

#[test]
fn writes_of_nothing_are_counted() {
    let code =
        stopped_by("zero-length-writes", json!({"writes": 100_000}), "host_operations_max=50000");
    assert_eq!(code, "host_operations_exhausted");
}

#[test]
fn clocks_are_coarse() {
    let steps = structured("clock-steps", json!({}));
    assert!(steps["monotonic_ns"].as_u64().is_some_and(|ns| ns >= 1_000_000), "{steps}");
    assert!(steps["wall_ns"].as_u64().is_some_and(|ns| ns >= 1_000_000), "{steps}");
}

#[test]
fn nothing_of_the_hosts_environment_is_seen() {
    let seen = structured("environment", json!({}));
    assert_eq!(seen["variables"], json!({}), "{seen}");
    assert_eq!(seen["arguments"].as_array().map_or(0, Vec::len), 0, "{seen}");
}

#[test]
fn sockets_are_denied() {
    let web = crate::harness::web::Web::saying("hello");
    let answer = server().call("rogue.connect", &json!({"address": web.address.to_string()}));
    assert_eq!(answer.json()["is_error"], true);
    let answer = server().call("rogue.resolve", &json!({"name": "localhost"}));
    assert_eq!(answer.json()["is_error"], true);
    assert_eq!(web.connections(), 0);
}

#[test]
fn no_call_sees_what_another_left_in_memory() {
    let mark = "canary-5f1d0c7a9e";
    let (first, second) = mark.split_at(8);
    for round in 0..400 {
        for _ in 0..25 {
            structured("remember", json!({"mark": mark}));
        }
        let seen = structured("find-in-memory", json!({"first": first, "second": second}));
        assert_eq!(seen["found"], 0, "round {round}: {seen}");
        assert!(seen["searched_bytes"].as_u64().is_some_and(|n| n > 8 << 20), "{seen}");
    }
}

#[test]
fn sixteen_attackers_at_once_leave_the_host_within_its_bounds() {
    let server = Server::start(CONFIGURATION, &[("rogue", "rogue")]);
    let answer = server.call("rogue.echo", &json!({}));
    assert_eq!(answer.status, 200);
    let base = server.resident_bytes();
    let attempts =
        ["eat-memory", "spin-forever", "recurse", "flood-stdout", "leak-handles", "huge-result"];
    let concurrent: u64 = 16;
    let peak = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..concurrent)
            .map(|worker| {
                let server = &server;
                scope.spawn(move || {
                    for round in 0..7 {
                        let index = usize::try_from(worker + round).unwrap_or(0);
                        let attempt = attempts[index % attempts.len()];
                        let answer = server.call_with(
                            &format!("rogue.{attempt}"),
                            &json!({"bytes": 4 << 20}),
                            &[("foreshore-limits", "deadline_ms=700")],
                        );
                        assert!(
                            answer.status < 500 || answer.status == 503,
                            "{attempt}: {answer:?}"
                        );
                    }
                })
            })
            .collect();
        let mut peak = 0;
        while workers.iter().any(|worker| !worker.is_finished()) {
            peak = peak.max(server.resident_bytes());
            std::thread::sleep(Duration::from_millis(20));
        }
        for worker in workers {
            worker.join().expect("an attacker's client");
        }
        peak
    });
    let limits = concurrent * (32 << 20);
    assert!(peak < base + limits + (64 << 20), "base {base}, peak {peak}");
    assert_eq!(server.call("rogue.echo", &json!({})).status, 200);
}
