//! Clients that are slow, many or idle.

use std::time::{Duration, Instant};

use crate::harness::{Host, Setup, call, call_with, get, limit};

#[tokio::test]
async fn a_head_that_does_not_arrive_in_time_ends_the_connection() {
    let host = Host::start(Setup::limits(|limits| limits.header_timeout_ms = limit(200))).await;
    let started = Instant::now();
    let mut silent = host.client().await;
    let mut slow = host.client().await;
    slow.send(b"GET /healthz HTTP/1.1\r\nhost: loc").await;
    assert!(silent.is_closed_within(Duration::from_secs(3)).await, "a client that says nothing");
    // One byte more now and then does not help.
    let mut dripping = host.client().await;
    dripping.send(b"GET /healthz HTTP/1.1\r\nx: ").await;
    for _ in 0..40 {
        dripping.send(b"a").await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(dripping.is_closed_within(Duration::from_secs(3)).await, "a client that drips");
    assert!(slow.is_closed_within(Duration::from_secs(3)).await, "a client that stopped");
    assert!(started.elapsed() > Duration::from_millis(200), "never before its time");
}

#[tokio::test]
async fn an_idle_connection_is_ended_and_a_used_one_is_not() {
    let setup = Setup::limits(|limits| {
        limits.idle_timeout_ms = limit(300);
        limits.header_timeout_ms = limit(5_000);
    });
    let host = Host::start(setup).await;
    let mut used = host.client().await;
    for _ in 0..6 {
        used.send(get("/healthz").as_bytes()).await;
        assert_eq!(used.response().await.expect("a response").status(), 200);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(used.is_closed_within(Duration::from_secs(3)).await, "idle now");
}

#[tokio::test]
async fn a_body_that_does_not_arrive_in_time_is_answered_so() {
    let host = Host::start(Setup::limits(|limits| limits.body_timeout_ms = limit(300))).await;
    let mut client = host.client().await;
    client.send(call("probe.echo", "{\"text\":").as_bytes()).await;
    let mut short = call("probe.echo", "{}");
    short.pop();
    let mut waiting = host.client().await;
    waiting.send(short.as_bytes()).await;
    let response = waiting.response().await.expect("a response");
    assert_eq!((response.status(), response.problem().as_str()), (408, "body_timeout"));
    assert_eq!(response.json()["setting"], "server.limits.body_timeout_ms");
    assert_eq!(client.response().await.expect("whole, and not JSON").status(), 422);
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_given_up() {
    let host = Host::start(Setup::limits(|limits| limits.request_timeout_ms = limit(300))).await;
    let fields = "foreshore-limits: fuel=2000000000\r\n";
    let started = Instant::now();
    let response = host.request(&call_with("probe.spins", fields, "{}")).await;
    assert!(started.elapsed() < Duration::from_secs(4), "its own deadline is five seconds");
    assert_eq!((response.status(), response.problem().as_str()), (503, "request_timeout"));
}

#[tokio::test]
async fn slow_bodies_do_not_keep_out_those_who_send_at_once() {
    let mut setup = Setup::limits(|limits| limits.slow_bodies_max = limit(2));
    setup = setup.one_call();
    let host = Host::start(setup).await;
    let mut slow = Vec::new();
    for _ in 0..3 {
        let mut client = host.client().await;
        let mut request = call("probe.echo", "{}");
        request.pop();
        client.send(request.as_bytes()).await;
        slow.push(client);
        // Each holds the only place for a moment, then gives it back.
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    for _ in 0..5 {
        assert_eq!(host.request(&call("probe.echo", "{}")).await.status(), 200);
    }
    let third = slow[2].response().await.expect("one too many");
    assert_eq!((third.status(), third.problem().as_str()), (503, "overloaded"));
    assert_eq!(third.json()["setting"], "server.limits.slow_bodies_max");
    for client in &mut slow[..2] {
        client.send(b"}").await;
        assert_eq!(client.response().await.expect("it came in the end").status(), 200);
    }
}

#[tokio::test]
async fn a_full_host_says_when_to_come_back_and_still_says_how_it_is() {
    let host = Host::start(Setup::default().one_call()).await;
    let mut busy = host.client().await;
    busy.send(call("probe.spins", "{}").as_bytes()).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    // Refused before its body is read: it says that it will send one, and never does.
    let mut unread = host.client().await;
    unread
        .send(call("probe.echo", "").replace("content-length: 0", "content-length: 9").as_bytes())
        .await;
    let started = Instant::now();
    let refused = unread.response().await.expect("a response");
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert_eq!((refused.status(), refused.problem().as_str()), (503, "overloaded"));
    assert!(
        refused
            .header("retry-after")
            .is_some_and(|after| after.parse::<u32>().is_ok_and(|n| n > 0))
    );
    let started = Instant::now();
    assert_eq!(host.get("/healthz").await.status(), 200);
    assert_eq!(host.get("/readyz").await.status(), 200);
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
}

#[tokio::test]
async fn connections_that_only_stay_open_make_room_for_those_that_ask() {
    let host = Host::start(Setup::limits(|limits| limits.connections_max = limit(8))).await;
    let mut idle = Vec::new();
    for _ in 0..40 {
        idle.push(host.client().await);
    }
    let started = Instant::now();
    for _ in 0..3 {
        assert_eq!(host.get("/healthz").await.status(), 200);
    }
    assert!(started.elapsed() < Duration::from_secs(9), "the header's time is ten seconds");
}

#[tokio::test]
async fn a_connection_at_work_does_not_make_room() {
    let host = Host::start(Setup::limits(|limits| limits.connections_max = limit(1))).await;
    let mut busy = host.client().await;
    let fields = "foreshore-limits: deadline_ms=1500\r\n";
    busy.send(call_with("probe.spins", fields, "{}").as_bytes()).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut waiting = host.client().await;
    waiting.send(get("/healthz").as_bytes()).await;
    // The busy one is answered, whichever limit ends it, and then the other is.
    assert_eq!(busy.response().await.expect("not cut off").status(), 422);
    assert_eq!(waiting.response().await.expect("its turn").status(), 200);
}

#[tokio::test]
async fn a_client_that_takes_no_answers_is_ended() {
    let setup = Setup::limits(|limits| {
        limits.idle_timeout_ms = limit(500);
        limits.request_timeout_ms = limit(500);
    });
    let host = Host::start(setup).await;
    let mut greedy = host.client().await;
    // More answers than the kernel holds for it: 2,000 documents of some 100 KiB.
    let requests = get("/openapi.json").repeat(2_000);
    let sending = greedy.send(requests.as_bytes());
    // When the server takes no more, what is left cannot be sent.
    let _ = tokio::time::timeout(Duration::from_secs(5), sending).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let answers = greedy.rest().await.matches("HTTP/1.1 200").count();
    assert!(answers > 0 && answers < 1_000, "it was not served to the end: {answers}");
    assert_eq!(host.get("/healthz").await.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_cost_little_and_keep_nobody_out() {
    let count = std::env::var("FORESHORE_IDLE_CONNECTIONS").ok().and_then(|n| n.parse().ok());
    let count: u64 = count.unwrap_or(500);
    let setup = Setup::limits(|limits| {
        limits.connections_max = limit(count + 16);
        limits.idle_timeout_ms = limit(600_000);
    });
    let host = Host::start(setup).await;
    let mut idle = Vec::new();
    for _ in 0..count {
        let mut client = host.client().await;
        client.send(get("/healthz").as_bytes()).await;
        assert_eq!(client.response().await.expect("served").status(), 200);
        idle.push(client);
    }
    for _ in 0..100 {
        assert_eq!(host.request(&call("probe.echo", "{}")).await.status(), 200);
    }
    // Each is still there, and served when it asks again.
    for client in &mut idle {
        client.send(get("/healthz").as_bytes()).await;
        assert_eq!(client.response().await.expect("still open").status(), 200);
    }
}
