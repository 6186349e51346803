//! Components added, replaced and removed while calls run.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::guests;
use crate::harness::server::Server;

fn marker(version: u32) -> String {
    format!("version-marker-{version:010}")
}

#[test]
fn two_hundred_swaps_under_load_fail_no_call_and_serve_no_old_version() {
    let server = Server::start("", &[]);
    assert!(server.put_component("rogue", &guests::marked(0)).status < 300);
    let acknowledged = AtomicU32::new(0);
    let done = AtomicBool::new(false);
    let calls = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut calls = 0_u32;
                    while !done.load(Ordering::SeqCst) {
                        let at_least = acknowledged.load(Ordering::SeqCst);
                        let answer = server.call("rogue.version-marker", &json!({}));
                        assert_eq!(answer.status, 200, "{answer:?}");
                        let body = answer.json();
                        let seen = body["structured"].as_str().expect("a marker").to_owned();
                        assert!(
                            seen >= marker(at_least),
                            "{seen} after {at_least} was acknowledged"
                        );
                        calls += 1;
                        // The compiler of each new version wants a turn on small machines too.
                        std::thread::sleep(Duration::from_millis(5));
                    }
                    calls
                })
            })
            .collect();
        for swap in 1..=200_u32 {
            let answer = server.put_component("rogue", &guests::marked(swap));
            assert!(answer.status < 300, "swap {swap}: {answer:?}");
            acknowledged.store(swap, Ordering::SeqCst);
        }
        done.store(true, Ordering::SeqCst);
        clients.into_iter().map(|client| client.join().expect("a client")).sum::<u32>()
    });
    assert!(calls > 200, "{calls} calls ran beside the swaps");
}

#[test]
fn a_file_that_appears_changes_or_goes_is_followed() {
    let server = Server::start("", &[]);
    let directory = server.components_directory();
    let until = |what: &str, reached: &dyn Fn() -> bool| {
        let end = Instant::now() + Duration::from_secs(30);
        while !reached() {
            assert!(Instant::now() < end, "not in 30 s: {what}\n{}", server.stderr());
            std::thread::sleep(Duration::from_millis(25));
        }
    };
    let serves = |version: u32| {
        let answer = server.call("late.version-marker", &json!({}));
        answer.status == 200 && answer.json()["structured"] == marker(version)
    };
    assert_eq!(server.call("late.version-marker", &json!({})).status, 404);
    std::fs::write(directory.join("late.wasm"), guests::marked(1)).expect("written");
    until("added", &|| serves(1));
    let staged = directory.join(".late.part");
    std::fs::write(&staged, guests::marked(2)).expect("written");
    std::fs::rename(&staged, directory.join("late.wasm")).expect("renamed");
    until("replaced", &|| serves(2));
    // What does not load replaces nothing.
    std::fs::write(directory.join("late.wasm"), b"not a component").expect("written");
    until("refused", &|| server.get("/v1/components").json().to_string().contains("refused"));
    assert!(serves(2));
    std::fs::remove_file(directory.join("late.wasm")).expect("removed");
    until("removed", &|| server.call("late.version-marker", &json!({})).status == 404);
}

#[test]
fn two_versions_are_served_side_by_side() {
    let server = Server::start("", &[]);
    assert!(server.put_component("rogue@1.0.0", &guests::marked(1)).status < 300);
    assert!(server.put_component("rogue@2.0.0", &guests::marked(2)).status < 300);
    let seen = |tool: &str| server.call(tool, &json!({})).json()["structured"].clone();
    assert_eq!(seen("rogue@1.0.0.version-marker"), marker(1));
    assert_eq!(seen("rogue@2.0.0.version-marker"), marker(2));
    assert_eq!(seen("rogue.version-marker"), marker(2), "the highest version is meant");
    let answer = crate::harness::http::send(
        server.address,
        "DELETE",
        "/v1/components/rogue@2.0.0",
        &[],
        b"",
    )
    .expect("answers");
    assert!(answer.status < 300, "{answer:?}");
    assert_eq!(seen("rogue.version-marker"), marker(1));
}

#[test]
fn a_component_that_is_no_component_is_refused_with_a_reason() {
    let server = Server::start("", &[]);
    for (wasm, reason) in [
        (b"".to_vec(), "component"),
        (b"not wasm at all".to_vec(), "component"),
        (b"\0asm\x01\0\0\0".to_vec(), "module"),
        (vec![0; 9 << 20], "bytes"),
    ] {
        let answer = server.put_component("broken", &wasm);
        assert!(matches!(answer.status, 413 | 422), "{answer:?}");
        assert!(String::from_utf8_lossy(&answer.body).contains(reason), "{reason}: {answer:?}");
    }
    assert_eq!(server.get("/healthz").status, 200);
}
