//! Random bytes, and requests with random damage: no panic, no hang, no fault of the host.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::harness::{Host, Setup, call, get, limit};

/// Requests that are fine, to be damaged.
fn seeds() -> Vec<Vec<u8>> {
    let chunked = "POST /v1/tools/probe.echo/call HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
    let put = "PUT /v1/components/x@1.0.0 HTTP/1.1\r\nhost: localhost\r\ncontent-length: 8\r\n\r\n\0asm\x0d\0\x01\0";
    [
        get("/v1/tools"),
        get("/readyz?verbose"),
        get("/v1/limits?component=probe"),
        call("probe.echo", r#"{"text":"x"}"#),
        chunked.to_owned(),
        put.to_owned(),
    ]
    .map(String::into_bytes)
    .to_vec()
}

/// Where to strike, what to put there, how much to take away.
type Damage = (prop::sample::Index, Vec<u8>, usize);

fn damaged(mut bytes: Vec<u8>, damages: &[Damage]) -> Vec<u8> {
    for (at, put, take) in damages {
        let at = at.index(bytes.len() + 1);
        let end = (at + take).min(bytes.len());
        bytes.splice(at..end, put.iter().copied());
    }
    bytes
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let telling = prop::sample::select(b"\r\n :;,%?#/\\\0\x7f\xff{}[]\"0129af".to_vec());
    let put = vec(prop_oneof![telling, any::<u8>()], 0..6);
    let damages = vec((any::<prop::sample::Index>(), put, 0..12_usize), 1..6);
    let seed = prop::sample::select(seeds());
    prop_oneof![
        4 => (seed, damages).prop_map(|(seed, damages)| damaged(seed, &damages)),
        1 => vec(any::<u8>(), 0..2_000),
    ]
}

/// Connections at once: most cases are cut short, and end only when their time is up.
const AT_ONCE: usize = 32;

/// What was sent on each connection, and all that came back until it ended.
async fn all_at_once(host: &Host, batch: Vec<Vec<u8>>) -> Vec<(Vec<u8>, String)> {
    let mut ends = Vec::new();
    for bytes in batch {
        let mut client = host.client().await;
        ends.push(tokio::spawn(async move {
            client.send(&bytes).await;
            let answer = client.rest().await;
            (bytes, answer)
        }));
    }
    let mut answers = Vec::new();
    for end in ends {
        answers.push(end.await.expect("no hang"));
    }
    answers
}

#[test]
fn random_bytes_cause_no_panic_no_hang_and_no_fault_of_the_host() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let setup = Setup::limits(|limits| {
        // What is cut short is given up soon, so that many cases take little time.
        limits.header_timeout_ms = limit(50);
        limits.body_timeout_ms = limit(50);
        limits.idle_timeout_ms = limit(50);
    });
    let host = runtime.block_on(Host::start(setup));
    let batches = std::env::var("FORESHORE_RANDOM_BATCHES").ok().and_then(|n| n.parse().ok());
    let config =
        Config { cases: batches.unwrap_or(60), failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&vec(bytes(), AT_ONCE), |batch| {
            let answers = runtime.block_on(all_at_once(&host, batch));
            for (sent, answer) in answers {
                let fault = answer.split("HTTP/1.1 ").skip(1).any(|a| a.starts_with('5'));
                prop_assert!(!fault, "{:?}: {answer}", String::from_utf8_lossy(&sent));
            }
            Ok(())
        })
        .expect("no case fails");
    assert_eq!(runtime.block_on(host.get("/healthz")).status(), 200);
}
