//! The end: nothing that was accepted fails.

use std::time::{Duration, Instant};

use foreshore_gateway::Drained;

use crate::harness::{Host, Setup, call, call_with, get, limit};

#[tokio::test]
async fn requests_in_flight_finish_and_the_next_connection_is_not_accepted() {
    let host = Host::start(Setup::default()).await;
    let address = host.address;
    let mut busy = host.client().await;
    busy.send(call_with("probe.spins", "foreshore-limits: deadline_ms=1000\r\n", "{}").as_bytes())
        .await;
    let mut idle = host.client().await;
    idle.send(get("/healthz").as_bytes()).await;
    assert_eq!(idle.response().await.expect("before").status(), 200);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let served = host.stop();
    tokio::time::sleep(Duration::from_millis(50)).await;
    // An idle connection may bring one more, which is told that it is the last.
    idle.send(call("probe.echo", "{}").as_bytes()).await;
    let last = idle.response().await.expect("within the linger");
    assert_eq!((last.status(), last.header("connection").as_deref()), (200, Some("close")));
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "nobody listens any more");
    let answer = busy.response().await.expect("it was accepted, so it is answered");
    assert_eq!(answer.status(), 422);
    let drained = served.await.expect("no panic").expect("it served");
    assert_eq!(drained, Drained { finished: 2, cut_off: 0 });
}

#[tokio::test]
async fn patience_ends() {
    let setup = Setup::limits(|limits| {
        limits.drain_linger_ms = limit(10);
        limits.drain_patience_ms = limit(200);
    });
    let host = Host::start(setup).await;
    let mut busy = host.client().await;
    busy.send(call("probe.spins", "{}").as_bytes()).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let started = Instant::now();
    let drained = host.stop().await.expect("no panic").expect("it served");
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    assert_eq!(drained.cut_off, 1);
    assert!(busy.is_closed_within(Duration::from_secs(1)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_of_a_loaded_host_fails_while_it_drains() {
    for _ in 0..5 {
        let host = Host::start(Setup::default()).await;
        let mut clients = Vec::new();
        for _ in 0..16 {
            let mut client = host.client().await;
            clients.push(tokio::spawn(async move {
                let mut answered = 0_u32;
                loop {
                    client.send(call("probe.echo", "{\"text\":\"x\"}").as_bytes()).await;
                    let response = client.response().await.expect("an answer to what was sent");
                    assert_eq!(response.status(), 200, "{}", response.text());
                    answered += 1;
                    if response.header("connection").as_deref() == Some("close") {
                        return answered;
                    }
                }
            }));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        let served = host.stop();
        for client in clients {
            assert!(client.await.expect("no request failed") > 0);
        }
        assert_eq!(served.await.expect("no panic").expect("it served").cut_off, 0);
    }
}
