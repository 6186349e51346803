//! A server's life: start, drain, configuration that is refused.

use std::time::Duration;

use serde_json::json;

use crate::harness::server::Server;
use crate::harness::{command, foreshore_in};

#[test]
fn a_server_told_to_stop_finishes_what_it_took() {
    let server = Server::start("", &[("rogue", "rogue")]);
    let address = server.address;
    let calls: Vec<_> = (0..8)
        .map(|_| {
            std::thread::spawn(move || {
                crate::harness::http::send(
                    address,
                    "POST",
                    "/v1/tools/rogue.sleep-forever/call",
                    &[
                        ("content-type", "application/json"),
                        ("foreshore-limits", "deadline_ms=700"),
                    ],
                    b"{}",
                )
            })
        })
        .collect();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(server.terminate(Duration::from_secs(20)), 0);
    for call in calls {
        let answer = call.join().expect("a client").expect("an accepted request is answered");
        assert_eq!(answer.json()["code"], "deadline_exceeded", "{answer:?}");
    }
}

#[test]
fn a_policy_that_does_not_parse_stops_the_start() {
    let directory = tempfile::tempdir().expect("made");
    for (configuration, names) in [
        ("[components.files]\nmounts = 7\n", "mounts"),
        ("[components.files]\nmount = []\n", "mount"),
        ("[components.files.limits]\nfuel = 0\n", "fuel"),
        ("[components.fetch.http]\nallow = [\"everything\"]\n", "everything"),
        ("nonsense", "foreshore.toml"),
    ] {
        std::fs::write(directory.path().join("foreshore.toml"), configuration).expect("written");
        let ran = foreshore_in(directory.path(), &["config", "check"]);
        assert_ne!(ran.code, 0, "{configuration}");
        assert!(ran.stderr.contains(names), "{configuration}: {}", ran.stderr);
        let served = command(directory.path())
            .args(["serve", "--listen", "127.0.0.1:0"])
            .output()
            .expect("the binary starts");
        assert_ne!(served.status.code(), Some(0), "{configuration}");
        assert!(served.stdout.is_empty(), "{configuration}");
    }
}

#[test]
fn an_address_beyond_loopback_is_refused() {
    let directory = tempfile::tempdir().expect("made");
    let ran = foreshore_in(directory.path(), &["serve", "--listen", "0.0.0.0:0"]);
    assert_ne!(ran.code, 0);
    assert!(ran.stderr.contains("loopback"), "{}", ran.stderr);
}

#[test]
fn a_server_under_load_loses_no_accepted_request_when_it_stops() {
    for _ in 0..3 {
        let server = Server::start("", &[("rogue", "rogue")]);
        assert_eq!(server.call("rogue.echo", &json!({})).status, 200);
        let address = server.address;
        let clients: Vec<_> = (0..8)
            .map(|_| {
                std::thread::spawn(move || {
                    let mut answered = 0_u32;
                    loop {
                        let sent = crate::harness::http::send(
                            address,
                            "POST",
                            "/v1/tools/rogue.echo/call",
                            &[("content-type", "application/json")],
                            b"{\"n\":1}",
                        );
                        match sent {
                            Ok(answer) if answer.status == 200 => answered += 1,
                            Ok(answer) => {
                                assert_eq!(answer.status, 503, "{answer:?}");
                                return answered;
                            }
                            // Refused or reset before it was taken: the listener is gone.
                            Err(_) => return answered,
                        }
                    }
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(server.terminate(Duration::from_secs(20)), 0);
        for client in clients {
            assert!(client.join().expect("a client") > 0);
        }
    }
}
