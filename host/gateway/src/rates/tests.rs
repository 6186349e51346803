use std::num::NonZeroU64;

use super::*;

fn of(value: u64) -> NonZeroU64 {
    NonZeroU64::new(value).expect("not zero")
}

fn rates() -> Rates {
    Rates::new(&EdgeRates {
        per_principal_per_s: of(1),
        per_address_per_s: of(1),
        burst: of(3),
        concurrent_per_principal: of(2),
        failed_auth_per_min: of(2),
        connections_per_address: of(2),
    })
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn principal(subject: &str) -> Principal {
    let subject = Subject::Token { issuer: "x".into(), subject: subject.into() };
    Principal { subject, ..Principal::clone(&Principal::host()) }
}

#[tokio::test(start_paused = true)]
async fn each_principal_and_each_lane_has_a_quota_of_its_own() {
    let rates = rates();
    let (one, other) = (principal("one"), principal("other"));
    for _ in 0..3 {
        assert!(rates.of_principal(&one, Lane::Work).1.is_ok());
    }
    let (standing, refused) = rates.of_principal(&one, Lane::Work);
    let problem = refused.expect_err("it has used its quota");
    assert_eq!((problem.status.as_u16(), problem.code), (429, "rate_limited"));
    assert_eq!(problem.setting.as_deref(), Some("server.rates.per_principal_per_s"));
    let mut headers = http::HeaderMap::new();
    standing.write(&mut headers);
    assert_eq!(headers["ratelimit"], "\"principal\";r=0;t=1");
    assert_eq!(headers["ratelimit-policy"], "\"principal\";q=3;w=3");
    assert!(rates.of_principal(&other, Lane::Work).1.is_ok());
    assert!(rates.of_principal(&one, Lane::Vital).1.is_ok(), "it can still decide");
    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    assert!(rates.of_principal(&one, Lane::Work).1.is_ok());
    assert!(rates.of_principal(&one, Lane::Work).1.is_err());
}

#[tokio::test(start_paused = true)]
async fn addresses_of_one_network_of_ipv6_are_one() {
    let rates = rates();
    for last in 1..=3 {
        let address = address(&format!("2001:db8::{last}"));
        assert!(rates.of_address(address, Lane::Work).is_ok());
    }
    assert!(rates.of_address(address("2001:db8::ffff:1:2:3"), Lane::Work).is_err());
    assert!(rates.of_address(address("2001:db8:0:1::1"), Lane::Work).is_ok());
    for _ in 0..3 {
        assert!(rates.of_address(address("203.0.113.7"), Lane::Work).is_ok());
    }
    assert!(rates.of_address(address("203.0.113.7"), Lane::Work).is_err());
    assert!(rates.of_address(address("203.0.113.8"), Lane::Work).is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_address_that_guesses_is_not_heard_for_a_while() {
    let rates = rates();
    let (bad, good) = (address("203.0.113.7"), address("203.0.113.8"));
    for _ in 0..2 {
        assert!(rates.is_heard(bad).is_ok());
        rates.auth_failed(bad);
    }
    let (_, problem) = rates.is_heard(bad).expect_err("too many guesses");
    assert_eq!((problem.status.as_u16(), problem.code), (429, "rate_limited"));
    assert!(rates.is_heard(good).is_ok());
    tokio::time::advance(std::time::Duration::from_secs(30)).await;
    assert!(rates.is_heard(bad).is_ok(), "one more each half a minute");
}

#[test]
fn places_are_given_back_and_leave_nothing_behind() {
    let rates = rates();
    let one = principal("one");
    let held: Vec<_> = (0..2).map(|_| rates.begin(&one, Lane::Work).ok()).collect();
    assert!(held.iter().all(Option::is_some));
    let problem = rates.begin(&one, Lane::Work).err().expect("it has two at work");
    assert_eq!(problem.setting.as_deref(), Some("server.rates.concurrent_per_principal"));
    assert!(rates.begin(&principal("other"), Lane::Work).is_ok());
    drop(held);
    assert!(rates.begin(&one, Lane::Work).is_ok());
    assert!(lock(&rates.at_work.0).is_empty());

    let from = address("203.0.113.7");
    let open: Vec<_> = (0..2).map(|_| rates.connection(from).expect("room")).collect();
    assert!(rates.connection(from).is_none());
    assert!(rates.connection(address("203.0.113.8")).is_some());
    drop(open);
    assert!(rates.connection(from).is_some());
    assert!(lock(&rates.connections.0).is_empty());
}
