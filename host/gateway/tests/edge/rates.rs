//! How often somebody may ask, where they come from, and what every answer says to browsers.

use std::time::{Duration, Instant};

use foreshore_control::identities::NewCredential;
use foreshore_domain::conversation::Name;
use foreshore_domain::event::Tenant;
use foreshore_domain::identity::{BuiltIn, Principal, Reach};

use crate::harness::{Host, Response, Setup, call, call_with, get, limit};

async fn key(host: &Host, role: BuiltIn) -> String {
    let new = NewCredential {
        name: Name::parse("a test").expect("a name"),
        tenant: Tenant::DEFAULT,
        roles: vec![role.name()],
        reach: Reach::ALL,
        expires_at_unix_ms: None,
    };
    let issued = host.control.identities().issue(new, &Principal::host()).await;
    issued.expect("issued").1.reveal().to_owned()
}

/// `GET` with a token, and whatever an `X-Forwarded-For` says.
async fn ask(host: &Host, path: &str, token: &str, forwarded: Option<&str>) -> Response {
    let forwarded = forwarded.map(|said| format!("x-forwarded-for: {said}\r\n"));
    host.request(&format!(
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n{}\r\n",
        forwarded.unwrap_or_default()
    ))
    .await
}

fn behind_a_proxy(mut setup: Setup) -> Setup {
    setup.gateway.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
    setup
}

fn post(path: &str, json: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{json}",
        json.len()
    )
}

fn assert_limited(response: &Response, setting: &str) {
    assert_eq!(response.status(), 429, "{}", response.text());
    assert_eq!(response.problem(), "rate_limited");
    assert_eq!(response.json()["setting"], setting);
    let after = response.header("retry-after").expect("when to come back");
    assert!(after.parse::<u32>().is_ok_and(|seconds| seconds > 0), "{after}");
}

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_come_back_and_others_are_served() {
    let mut setup = Setup::asking();
    setup.gateway.rates.burst = limit(3);
    setup.gateway.rates.per_principal_per_s = limit(1);
    let host = Host::start(setup).await;
    let (eager, other) = (key(&host, BuiltIn::Admin).await, key(&host, BuiltIn::Admin).await);
    // In a second one more is given, so one more may be served before the end comes.
    let mut served = 0;
    let refused = loop {
        let response = ask(&host, "/v1/whoami", &eager, None).await;
        let policy = response.header("ratelimit-policy");
        assert_eq!(policy.as_deref(), Some("\"principal\";q=3;w=3"));
        if response.status() != 200 {
            break response;
        }
        let standing = response.header("ratelimit").expect("how it stands");
        assert!(standing.starts_with("\"principal\";r="), "{standing}");
        served += 1;
        assert!(served < 100, "nothing ends it");
    };
    assert!(served >= 3, "{served}");
    assert_limited(&refused, "server.rates.per_principal_per_s");
    assert_eq!(refused.header("ratelimit").as_deref(), Some("\"principal\";r=0;t=1"));
    assert_eq!(ask(&host, "/v1/whoami", &other, None).await.status(), 200);
    // What people decide has a lane of its own, and so have probes.
    assert_eq!(ask(&host, "/v1/approvals", &eager, None).await.status(), 200);
    assert_eq!(host.get("/healthz").await.status(), 200);
}

#[tokio::test]
async fn what_a_principal_has_at_work_is_bounded_streams_included() {
    let mut setup = Setup::default();
    setup.gateway.rates.concurrent_per_principal = limit(2);
    let host = Host::start(setup).await;
    let fields = "foreshore-limits: deadline_ms=2000\r\naccept: text/event-stream\r\n";
    let mut busy = Vec::new();
    for _ in 0..2 {
        let mut client = host.client().await;
        client.send(call_with("probe.spins", fields, "{}").as_bytes()).await;
        client.until("200 OK").await;
        busy.push(client);
    }
    let refused = host.get("/v1/tools").await;
    assert_limited(&refused, "server.rates.concurrent_per_principal");
    assert_eq!(host.get("/healthz").await.status(), 200);
    assert_eq!(host.get("/v1/approvals").await.status(), 200);
    for client in &mut busy {
        client.until("event: error").await;
    }
    drop(busy);
    let end = Instant::now() + Duration::from_secs(10);
    while host.get("/v1/tools").await.status() != 200 {
        assert!(Instant::now() < end, "the places are given back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn an_address_that_guesses_is_not_heard_any_more_and_the_next_one_is() {
    let mut setup = behind_a_proxy(Setup::asking());
    setup.gateway.rates.failed_auth_per_min = limit(5);
    let host = Host::start(setup).await;
    let good = key(&host, BuiltIn::Admin).await;
    let (bad_from, good_from) = (Some("203.0.113.7"), Some("1.2.3.4, 203.0.113.8"));
    for guess in 0..5 {
        let response = ask(&host, "/v1/whoami", &format!("fsk_{guess}"), bad_from).await;
        assert_eq!(response.status(), 401, "guess {guess}");
    }
    let refused = ask(&host, "/v1/whoami", "fsk_5", bad_from).await;
    assert_limited(&refused, "server.rates.failed_auth_per_min");
    assert!(refused.header("www-authenticate").is_none());
    let refused = ask(&host, "/v1/whoami", &good, bad_from).await;
    assert_limited(&refused, "server.rates.failed_auth_per_min");
    assert_eq!(ask(&host, "/v1/whoami", &good, good_from).await.status(), 200);
    // Whoever shows nothing guesses nothing.
    for _ in 0..20 {
        let fields = "x-forwarded-for: 203.0.113.9\r\n";
        let bare = format!("GET /v1/whoami HTTP/1.1\r\nhost: localhost\r\n{fields}\r\n");
        assert_eq!(host.request(&bare).await.status(), 401);
    }
    assert_eq!(ask(&host, "/v1/whoami", &good, Some("203.0.113.9")).await.status(), 200);
}

#[tokio::test]
async fn an_address_has_a_rate_of_its_own_and_this_machine_has_none() {
    let mut setup = behind_a_proxy(Setup::asking());
    setup.gateway.rates.burst = limit(4);
    setup.gateway.rates.per_address_per_s = limit(1);
    setup.gateway.rates.per_principal_per_s = limit(1_000_000);
    let host = Host::start(setup).await;
    let mut statuses = Vec::new();
    for _ in 0..8 {
        let healthy =
            "GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-forwarded-for: 203.0.113.7\r\n\r\n";
        statuses.push(host.request(healthy).await.status());
    }
    assert_eq!(&statuses[..4], [200; 4]);
    assert!(statuses.contains(&429), "{statuses:?}");
    for _ in 0..20 {
        assert_eq!(host.get("/healthz").await.status(), 200, "from this machine");
    }
}

#[tokio::test]
async fn only_a_proxy_of_ours_says_where_a_request_comes_from() {
    for (is_behind, counts) in [(false, "127.0.0.1"), (true, "203.0.113.7")] {
        let setup = Setup::asking();
        let host = Host::start(if is_behind { behind_a_proxy(setup) } else { setup }).await;
        let admin = key(&host, BuiltIn::Admin).await;
        let said = Some("198.51.100.1, 203.0.113.7");
        assert_eq!(ask(&host, "/v1/whoami", "fsk_nonsense", said).await.status(), 401);
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let audit = ask(&host, "/v1/audit", &admin, None).await;
            assert_eq!(audit.status(), 200, "{}", audit.text());
            if audit.text().contains("credential_malformed") {
                let of = format!("\"address\":\"{counts}\"");
                let text = audit.text().replace("\\\"", "\"");
                assert!(text.contains(&of), "{text}");
                assert!(!text.contains("198.51.100.1"), "{text}");
                break;
            }
            assert!(Instant::now() < end, "the refusal is recorded: {}", audit.text());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn a_host_without_authentication_is_for_this_machine_and_not_for_its_proxys_clients() {
    let host = Host::start(behind_a_proxy(Setup::default())).await;
    assert_eq!(host.get("/v1/whoami").await.status(), 200);
    let refused = ask(&host, "/v1/whoami", "x", Some("203.0.113.7")).await;
    assert_eq!((refused.status(), refused.problem().as_str()), (401, "loopback_only"));
    assert_eq!(ask(&host, "/v1/whoami", "x", Some("203.0.113.7, 127.0.0.1")).await.status(), 401);
}

#[tokio::test]
async fn every_answer_tells_browsers_to_make_nothing_of_it() {
    let host = Host::start(Setup::default()).await;
    let foreign = "GET /healthz HTTP/1.1\r\nhost: evil.example\r\n\r\n".to_owned();
    let stream = call_with("probe.reports", "accept: text/event-stream\r\n", "{}");
    let requests = [
        (get("/healthz"), 200),
        (get("/v1/tools"), 200),
        (get("/nowhere"), 404),
        (get("/v1/tools/probe.echo/call"), 405),
        (call("probe.echo", "{"), 422),
        (call("probe.echo", "{}"), 200),
        (stream, 200),
        (foreign, 421),
    ];
    for (request, status) in requests {
        let response = host.request(&request).await;
        assert_eq!(response.status(), status, "{request}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(response.header(name).as_deref(), Some(value), "{request}");
        }
        let policy = response.header("content-security-policy").expect("a policy");
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        assert!(response.header("permissions-policy").is_some());
        let transport = response.header("strict-transport-security");
        assert_eq!(transport, None, "there is no TLS");
    }
    let proxied = Host::start(behind_a_proxy(Setup::default())).await;
    let fields = "x-forwarded-proto: https\r\n";
    let request = format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\n{fields}\r\n");
    let response = proxied.request(&request).await;
    assert!(response.header("strict-transport-security").is_some(), "the proxy has TLS");
    assert_eq!(host.request(&request).await.header("strict-transport-security"), None);
}

#[tokio::test]
async fn json_that_is_too_deep_or_says_a_thing_twice_is_refused_before_it_is_read() {
    let host = Host::start(Setup::default()).await;
    let deep = |levels: usize| {
        let roles = format!("{}{}", "[".repeat(levels - 1), "]".repeat(levels - 1));
        post("/v1/tokens", &format!("{{\"name\":\"a\",\"roles\":{roles}}}"))
    };
    // 32 levels are no fault of their own: what should stand there has its say.
    let fine = host.request(&deep(32)).await;
    assert_eq!((fine.status(), fine.problem().as_str()), (422, "invalid_body"));
    assert!(fine.json()["setting"].is_null(), "{}", fine.text());
    let refused = host.request(&deep(33)).await;
    assert_eq!((refused.status(), refused.problem().as_str()), (422, "invalid_body"));
    assert_eq!(refused.json()["setting"], "server.limits.json_depth_max");

    let key = r#"{"name":"a","roles":["viewer"],"roles":["admin"]}"#;
    let escaped = r#"{"name":"a","roles":["viewer"],"\u0072oles":["admin"]}"#;
    for (path, body) in [
        ("/v1/tokens", key),
        ("/v1/tokens", escaped),
        ("/v1/auth/refresh", r#"{"refresh_token":"a","refresh_token":"b"}"#),
        ("/v1/agents/x/turns", r#"{"message":"a","message":"b"}"#),
        ("/v1/tools/probe.echo/call", r#"{"text":"a","text":"b"}"#),
        ("/v1/tools/probe.echo/call", r#"{"text":"a","x":{"y":1,"y":2}}"#),
    ] {
        let request = post(path, body);
        let response = host.request(&request).await;
        assert_eq!(
            (response.status(), response.problem().as_str()),
            (422, "invalid_body"),
            "{body}"
        );
        assert!(response.text().contains("twice"), "{}", response.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_and_approvals_are_answered_while_the_host_sheds() {
    let host = Host::start(Setup::default().one_call()).await;
    // Five times what it has places for (one at work, one that waits), again and again.
    let mut load = Vec::new();
    for _ in 0..10 {
        let mut client = host.client().await;
        load.push(tokio::spawn(async move {
            let fields = "foreshore-limits: deadline_ms=50\r\n";
            let request = call_with("probe.spins", fields, "{}");
            let mut shed = 0_u32;
            for _ in 0..40 {
                client.send(request.as_bytes()).await;
                let response = client.response().await.expect("an answer");
                match response.status() {
                    422 => {}
                    503 => {
                        assert!(response.header("retry-after").is_some());
                        shed += 1;
                    }
                    other => panic!("{other}: {}", response.text()),
                }
            }
            shed
        }));
    }
    let (mut answered, mut late) = (0_u32, 0_u32);
    while load.iter().any(|client| !client.is_finished()) {
        for path in ["/healthz", "/v1/approvals"] {
            let asked = Instant::now();
            let response = host.get(path).await;
            assert_eq!(response.status(), 200, "{path}: {}", response.text());
            answered += 1;
            late += u32::from(asked.elapsed() > Duration::from_secs(1));
        }
    }
    let mut shed = 0;
    for client in load {
        shed += client.await.expect("no client failed");
    }
    assert!(shed > 0, "there was too much to do");
    assert!(answered >= 10, "{answered}");
    assert!(late * 100 <= answered, "{late} of {answered} took more than a second");
}
