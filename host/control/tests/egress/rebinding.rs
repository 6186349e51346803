//! Names that lead elsewhere than they seem, and redirects.

use foreshore_domain::denial::DenialCode;

use crate::server::{Answer, Server};
use crate::world::{Script, World, WorldBuilder, open_world, request};

fn without_second_key() -> WorldBuilder {
    WorldBuilder::new(&["* http://allowed.test:*/**", "* http://*.wild.test:*/**"])
}

#[tokio::test]
async fn a_name_that_leads_to_a_special_address_needs_the_second_key() {
    let server = Server::start(Answer::ok(b"")).await;
    for host in ["allowed.test", "a.wild.test", "127.0.0.1.wild.test"] {
        let world = without_second_key().build();
        let denial =
            world.denial(request("GET", &format!("http://{host}:{}/", server.port()))).await;
        World::assert_denied(
            &denial,
            DenialCode::HttpAddressNotGranted,
            "[components.fetch.http] networks = [\"127.0.0.1/32\"]",
        );
        assert!(denial.subject.contains("127.0.0.1 (loopback)"), "{denial}");
    }
    assert_eq!(server.connections(), 0);

    // With the line that the denial shows, it works.
    let world = without_second_key().networks(&["127.0.0.1/32"]).build();
    world.get(&format!("http://allowed.test:{}/", server.port())).await.unwrap();
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_mixed_answer_is_refused_as_a_whole_in_any_order() {
    let server = Server::start(Answer::ok(b"")).await;
    let mixtures: [&[&str]; 6] = [
        &["203.0.114.1", "127.0.0.1"],
        &["127.0.0.1", "203.0.114.1"],
        &["203.0.114.1", "203.0.114.2", "::1"],
        &["2606:4700::1", "::ffff:127.0.0.1"],
        &["203.0.114.1", "169.254.169.254"],
        &[
            "203.0.114.1",
            "203.0.114.1",
            "203.0.114.1",
            "203.0.114.1",
            "203.0.114.1",
            "203.0.114.1",
            "203.0.114.1",
            "203.0.114.1",
            "127.0.0.1",
        ],
    ];
    for answer in mixtures {
        let resolver = Script::new(&[("allowed.test", &[answer])]);
        let world = without_second_key().resolver(resolver).build();
        let uri = format!("http://allowed.test:{}/", server.port());
        let denial = world.denial(request("GET", &uri)).await;
        World::assert_denied(&denial, DenialCode::HttpAddressNotGranted, "networks = [");
        assert!(!denial.grant.contains("203."), "a public address needs no key: {denial}");
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_name_that_changes_its_answer_is_looked_up_once_and_checked_each_time() {
    let server = Server::start(Answer::ok(b"")).await;
    // First an address that is granted and answers, then one that is not.
    let resolver =
        Script::new(&[("allowed.test", &[&["127.0.0.1"], &["127.0.0.2"], &["127.0.0.1"]])]);
    let trap =
        Server::start_at(format!("127.0.0.2:{}", server.port()).parse().unwrap(), Answer::ok(b""))
            .await;
    let world = open_world().networks(&["127.0.0.1/32"]).resolver(resolver.clone()).build();
    let uri = format!("http://allowed.test:{}/", server.port());

    world.get(&uri).await.unwrap();
    assert_eq!(resolver.asked().len(), 1, "one look-up for one request");
    let denial = world.denial(request("GET", &uri)).await;
    World::assert_denied(&denial, DenialCode::HttpAddressNotGranted, "\"127.0.0.2/32\"");
    world.get(&uri).await.unwrap();
    assert_eq!(resolver.asked().len(), 3);
    assert_eq!((server.connections(), trap.connections()), (2, 0));
}

#[tokio::test]
async fn a_mapped_address_is_judged_and_dialled_as_what_it_is() {
    let server = Server::start(Answer::ok(b"")).await;
    let resolver = Script::new(&[("allowed.test", &[&["::ffff:127.0.0.1"]])]);
    let uri = format!("http://allowed.test:{}/", server.port());
    let world = without_second_key().resolver(resolver.clone()).build();
    let denial = world.denial(request("GET", &uri)).await;
    World::assert_denied(&denial, DenialCode::HttpAddressNotGranted, "\"127.0.0.1/32\"");
    // A key for the IPv6 spelling is a key to another network.
    let world = without_second_key().networks(&["::/0"]).resolver(resolver.clone()).build();
    world.denial(request("GET", &uri)).await;
    assert_eq!(server.connections(), 0);
    let world = without_second_key().networks(&["127.0.0.0/8"]).resolver(resolver).build();
    world.get(&uri).await.unwrap();
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn the_next_address_is_tried_where_the_first_does_not_answer() {
    let server = Server::start(Answer::ok(b"here")).await;
    let resolver = Script::new(&[("allowed.test", &[&["127.0.0.3", "127.0.0.1"]])]);
    let world = open_world().resolver(resolver).build();
    let response = world.get(&format!("http://allowed.test:{}/", server.port())).await.unwrap();
    assert_eq!(crate::world::read(response).await.unwrap(), "here");
}

#[tokio::test]
async fn a_redirect_goes_to_the_guest_and_its_next_hop_is_a_new_decision() {
    let trap = Server::start(Answer::ok(b"secret")).await;
    for location in [
        format!("http://127.0.0.1:{}/", trap.port()),
        format!("http://[::ffff:127.0.0.1]:{}/", trap.port()),
        format!("http://other.test:{}/", trap.port()),
        format!("//other.test:{}/", trap.port()),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "file:///etc/passwd".to_owned(),
    ] {
        let field = format!("location: {location}");
        for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"]
        {
            let server = Server::start(Answer::with(status, &[&field], b"")).await;
            let world = open_world().build();
            let response =
                world.get(&format!("http://allowed.test:{}/", server.port())).await.unwrap();
            assert!(response.status.is_redirection());
            assert_eq!(response.headers["location"], *location);
            assert_eq!(server.connections(), 1);
            if location.starts_with("http:") {
                let denial = world.denial(request("GET", &location)).await;
                World::assert_denied(&denial, DenialCode::HttpNotGranted, "allow = [\"GET http://");
            }
        }
    }
    assert_eq!(trap.connections(), 0);
}

#[tokio::test]
async fn every_hop_of_a_chain_costs_a_request() {
    let server = Server::start(Answer::with("302 Found", &["location: /again"], b"")).await;
    let world = open_world().limit("http_requests_max", 10).build();
    let uri = format!("http://allowed.test:{}/again", server.port());
    for _ in 0..10 {
        assert_eq!(world.get(&uri).await.unwrap().status, 302);
    }
    let denial = world.denial(request("GET", &uri)).await;
    World::assert_denied(
        &denial,
        DenialCode::HttpRequestsExhausted,
        "[components.fetch.limits] http_requests_max = 20",
    );
    assert_eq!(server.connections(), 10);
}

#[tokio::test]
async fn a_downgrade_from_https_is_another_rule() {
    let world =
        WorldBuilder::new(&["GET https://allowed.test/*"]).networks(&["127.0.0.0/8"]).build();
    let denial = world.denial(request("GET", "http://allowed.test/")).await;
    World::assert_denied(&denial, DenialCode::HttpNotGranted, "\"GET http://allowed.test/\"");
    assert_eq!(world.resolver.asked(), Vec::<String>::new());
}
