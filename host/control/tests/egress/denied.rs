//! What a denial says, what it costs, and that no spelling of an address is a way around it.

use foreshore_domain::denial::DenialCode;
use foreshore_domain::effect::EffectError;
use foreshore_domain::http_rule::HttpRule;
use http::Method;
use url::Url;

use crate::server::{Answer, Server};
use crate::world::{World, WorldBuilder, open_world, request};

#[tokio::test]
async fn a_denial_names_the_line_that_would_allow_it_and_the_line_does() {
    let server = Server::start(Answer::ok(b"")).await;
    let world = WorldBuilder::new(&[]).networks(&["127.0.0.0/8"]).build();
    let uri = format!("http://api.test:{}/v1/it's*%20here?key=secret", server.port());
    let denial = world.denial(request("PUT", &uri)).await;
    let rule = format!("PUT http://api.test:{}/v1/it%27s%2A%20here", server.port());
    assert_eq!(denial.code, DenialCode::HttpNotGranted);
    assert_eq!(
        denial.grant,
        format!(
            "[components.fetch.http] allow = [\"{rule}\"] (or, for one call: --allow-http '{rule}')"
        )
    );
    assert!(!denial.to_string().contains("secret"), "{denial}");
    assert_eq!((server.connections(), world.resolver.asked().len()), (0, 0));

    let world = WorldBuilder::new(&[&rule]).networks(&["127.0.0.0/8"]).build();
    world.send(request("PUT", &uri)).await.unwrap();
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_denied_request_uses_none_of_the_budget_and_one_too_many_is_denied() {
    let server = Server::start(Answer::ok(b"")).await;
    let world = open_world().limit("http_requests_max", 3).build();
    let uri = format!("http://allowed.test:{}/", server.port());
    for _ in 0..10 {
        world.denial(request("GET", "http://other.test/")).await;
        world.denial(request("CONNECT", &uri)).await;
    }
    for _ in 0..3 {
        world.get(&uri).await.unwrap();
    }
    for _ in 0..3 {
        let denial = world.denial(request("GET", &uri)).await;
        World::assert_denied(&denial, DenialCode::HttpRequestsExhausted, "http_requests_max = 6");
    }
    assert_eq!(server.connections(), 3);
}

#[tokio::test]
async fn requests_sent_at_once_share_the_budget() {
    let server = Server::start(Answer::ok(b"")).await;
    let world = std::sync::Arc::new(open_world().limit("http_requests_max", 5).build());
    let uri = format!("http://allowed.test:{}/", server.port());
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (world, uri) = (std::sync::Arc::clone(&world), uri.clone());
        all.spawn(async move { world.get(&uri).await.is_ok() });
    }
    let sent = all.join_all().await.into_iter().filter(|sent| *sent).count();
    assert_eq!((sent, server.connections()), (5, 5));
}

#[tokio::test]
async fn a_grant_without_http_denies() {
    let mut world = open_world().build();
    let call = std::sync::Arc::get_mut(&mut world.call).expect("invariant: nobody else has it");
    call.grant = std::sync::Arc::default();
    let denial = world.denial(request("GET", "http://allowed.test/")).await;
    World::assert_denied(&denial, DenialCode::HttpNotGranted, "allow = [");
}

/// Every loopback address that a spelling leads to listens on one port, and nothing may come.
#[tokio::test]
async fn no_spelling_of_a_special_address_is_a_way_around_the_second_key() {
    let first = Server::start(Answer::ok(b"")).await;
    let port = first.port();
    let mut traps = vec![first];
    for address in ["127.0.0.2", "127.127.127.127", "127.255.255.254", "[::1]"] {
        let Ok(address) = format!("{address}:{port}").parse() else { panic!("{address}") };
        traps.push(Server::start_at(address, Answer::ok(b"")).await);
    }
    let spellings = include_str!("../../../domain/tests/address_spellings.txt");
    let (mut tried, mut by_address) = (0, 0);
    for spelling in spellings.lines().filter(|line| !line.starts_with('#')) {
        let text = format!("http://{spelling}:{port}/");
        // As far as this can be said at all, the operator even named this very host.
        let exact = Url::parse(&text).ok().and_then(|url| HttpRule::exactly(&Method::GET, &url));
        let exact = exact.map(|rule| rule.to_string());
        let wide = format!("* http://*.example.com:{port}/**");
        let rules: Vec<&str> = exact.iter().map(String::as_str).chain([wide.as_str()]).collect();
        let world = WorldBuilder::new(&rules).build();
        let Ok(uri) = text.parse::<http::Uri>() else { continue };
        tried += 1;
        let mut get = request("GET", "http://x/");
        get.uri = uri;
        let denial = world.denial(get).await;
        by_address += usize::from(denial.code == DenialCode::HttpAddressNotGranted);
        assert!(
            exact.is_none() || denial.code != DenialCode::HttpNotGranted,
            "{spelling}: the rule for it was not taken: {denial}"
        );
    }
    assert!(tried >= 160, "only {tried} spellings can be written in a request");
    assert!(by_address >= 120, "only {by_address} got as far as the address");
    for trap in &traps {
        assert_eq!(trap.connections(), 0, "{} was reached", trap.address);
    }

    // The traps do work.
    let world = WorldBuilder::new(&["GET http://[::1]:*/*", "GET http://127.0.0.1:*/*"])
        .networks(&["127.0.0.0/8", "::1/128"])
        .build();
    for (trap, host) in [(&traps[0], "0x7f.1"), (&traps[4], "[0::1]")] {
        world.get(&format!("http://{host}:{port}/")).await.unwrap();
        assert_eq!(trap.connections(), 1);
    }
}

#[tokio::test]
async fn a_key_for_one_network_is_no_key_for_its_neighbour() {
    let server = Server::start_at("127.0.0.2:0".parse().unwrap(), Answer::ok(b"")).await;
    let rules = ["GET http://127.0.0.2:*/*"];
    let uri = format!("http://127.0.0.2:{}/", server.port());
    for networks in [&["127.0.0.1/32"][..], &["127.0.0.0/31"], &["::/0"], &["10.0.0.0/8"]] {
        let world = WorldBuilder::new(&rules).networks(networks).build();
        match world.get(&uri).await {
            Err(EffectError::Denied(denial)) => {
                World::assert_denied(&denial, DenialCode::HttpAddressNotGranted, "127.0.0.2/32");
            }
            other => panic!("{networks:?}: {:?}", other.err()),
        }
    }
    assert_eq!(server.connections(), 0);
    WorldBuilder::new(&rules).networks(&["127.0.0.2/31"]).build().get(&uri).await.unwrap();
    assert_eq!(server.connections(), 1);
}
