//! Secrets in requests: sent to their audience alone, never the guest's to send, and never given
//! back. What was sent is read at the servers.

use std::sync::Arc;

use bytes::Bytes;
use flate2::write::GzEncoder;
use foreshore_control::secrets::Custody;
use foreshore_domain::denial::DenialCode;
use foreshore_domain::effect::{EffectError, HttpBodyError};
use foreshore_domain::secret::{SecretName, SecretPlace, SecretUse};
use foreshore_secrets::Zeroizing;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};

use crate::server::{Answer, Server};
use crate::world::{Script, World, WorldBuilder, body, open_world, read, request};

const KEY: &str = "sk-live-9fQ2xLr7TzVb4Wc8NmKe";

fn custody() -> Custody {
    let custody = Custody::default();
    let value = Arc::new(Zeroizing::new(KEY.as_bytes().to_vec()));
    custody.hold([(name("api-key"), value)].into()).unwrap();
    custody
}

fn name(text: &str) -> SecretName {
    SecretName::parse(text).unwrap()
}

fn used(place: SecretPlace, audience: &str) -> SecretUse {
    SecretUse { name: name("api-key"), place, audience: audience.parse().unwrap() }
}

fn bearer(audience: &str) -> SecretUse {
    used(SecretPlace::header("authorization", "Bearer ").unwrap(), audience)
}

fn world(uses: Vec<SecretUse>) -> World {
    open_world().secrets(uses).holding(custody()).build()
}

fn at(server: &Server) -> String {
    format!("allowed.test:{}", server.port())
}

#[tokio::test]
async fn a_secret_goes_to_its_audience_in_each_of_its_places() {
    let server = Server::start(Answer::ok(b"")).await;
    let to = at(&server);
    world(vec![bearer(&to)]).get(&format!("http://{to}/")).await.unwrap();
    world(vec![used(SecretPlace::query("key").unwrap(), &to)])
        .get(&format!("http://{to}/?a=b"))
        .await
        .unwrap();
    for (kind, sent) in
        [("application/json", "{\"a\":1}"), ("application/x-www-form-urlencoded", "a=1")]
    {
        let mut post = request("POST", &format!("http://{to}/"));
        post.headers.insert("content-type", kind.parse().unwrap());
        post.headers.insert("content-length", sent.len().into());
        post.body = body(sent.as_bytes());
        let world = world(vec![used(SecretPlace::body("key").unwrap(), &to)]);
        world.send(post).await.unwrap();
    }
    let [header, query, json, form] = &server.requests()[..] else { panic!("four requests") };
    assert!(header.contains(&format!("authorization: Bearer {KEY}\r\n")), "{header}");
    assert!(query.starts_with(&format!("GET /?a=b&key={KEY} HTTP/1.1\r\n")), "{query}");
    let sent = format!("{{\"key\":\"{KEY}\",\"a\":1}}");
    assert!(json.ends_with(&format!("\r\n\r\n{sent}")), "{json}");
    assert!(json.contains(&format!("content-length: {}\r\n", sent.len())), "{json}");
    assert!(form.ends_with(&format!("\r\n\r\na=1&key={KEY}")), "{form}");
}

#[tokio::test]
async fn nobody_but_the_audience_is_sent_a_secret_not_even_after_a_redirect() {
    let other = Server::start(Answer::ok(b"")).await;
    let location = format!("location: http://{}/", at(&other));
    let server = Server::start(Answer::with("302 Found", &[&location], b"")).await;
    let to = at(&server);
    let uses = || {
        vec![
            bearer(&to),
            used(SecretPlace::query("key").unwrap(), &to),
            used(SecretPlace::body("key").unwrap(), &to),
        ]
    };
    let world = world(uses());
    let mut post = request("POST", &format!("http://{to}/"));
    post.headers.insert("content-type", "application/json".parse().unwrap());
    post.body = body(b"{}");
    let response = world.send(post).await.unwrap();
    let next = response.headers["location"].to_str().unwrap().to_owned();
    world.get(&next).await.unwrap();
    // Also by the same server under another name, and by the same name at another port.
    let names =
        WorldBuilder::new(&["* http://other.test:*/**", "* http://allowed.test.evil.test:*/**"])
            .networks(&["127.0.0.0/8"]);
    let names = names.secrets(uses()).holding(custody()).build();
    names.get(&format!("http://other.test:{}/", server.port())).await.unwrap();
    names.get(&format!("http://allowed.test.evil.test:{}/", server.port())).await.unwrap();

    let [given, named, similar] = &server.requests()[..] else { panic!("three requests") };
    assert_eq!(given.matches(KEY).count(), 3, "{given}");
    for without in [named, similar, &other.requests()[0]] {
        assert!(!without.contains(KEY) && !without.contains("authorization"), "{without}");
    }
}

#[tokio::test]
async fn a_secret_is_not_sent_in_the_clear_across_a_network() {
    let resolver = Script::new(&[("*", &[&["93.184.215.14"]])]);
    let world = WorldBuilder::new(&["* http://allowed.test/**"])
        .resolver(resolver)
        .secrets(vec![bearer("allowed.test")])
        .holding(custody())
        .build();
    let denial = world.denial(request("GET", "http://allowed.test/")).await;
    assert_eq!(denial.code, DenialCode::HttpRequestNotAllowed);
    assert!(denial.subject.contains("https alone"), "{denial}");
}

#[tokio::test]
async fn a_place_that_the_guest_fills_itself_is_refused_and_so_is_a_secret_without_a_value() {
    let server = Server::start(Answer::ok(b"")).await;
    let to = at(&server);
    let refused = async |place, change: &dyn Fn(&mut foreshore_domain::effect::HttpRequest)| {
        let world = world(vec![used(place, &to)]);
        let mut post = request("POST", &format!("http://{to}/?k%65y=1"));
        post.headers.insert("content-type", "application/json".parse().unwrap());
        change(&mut post);
        let denial = world.denial(post).await;
        assert_eq!(denial.code, DenialCode::HttpRequestNotAllowed, "{denial}");
        denial.subject
    };
    let header = SecretPlace::header("x-key", "").unwrap();
    let said = refused(header, &|post| {
        post.headers.insert("X-Key", "mine".parse().unwrap());
    });
    assert!(said.await.contains("the host's to fill"));
    let query = SecretPlace::query("key").unwrap();
    assert!(refused(query, &|_| {}).await.contains("the host's to fill"));
    let field = SecretPlace::body("key").unwrap();
    let said = refused(field.clone(), &|post| post.body = body(b"{\"key\":\"mine\"}"));
    assert!(said.await.contains("the host's to fill"));
    let said = refused(field, &|post| post.body = body(b"[]"));
    assert!(said.await.contains("neither a JSON object nor a form"));

    let unset = open_world().secrets(vec![bearer(&to)]).build();
    let denial = unset.denial(request("GET", &format!("http://{to}/"))).await;
    assert_eq!(denial.code, DenialCode::SecretUnusable);
    assert!(denial.grant.contains("foreshore secret set api-key"), "{denial}");
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn a_guest_sends_no_secret_in_any_part_of_a_request() {
    let server = Server::start(Answer::ok(b"")).await;
    let to = at(&server);
    let world = world(Vec::new());
    let half: String = KEY.bytes().map(|byte| format!("%{byte:02x}")).take(9).collect();
    let mixed = format!("{half}{}", &KEY[9..]);
    let twice = mixed.replace('%', "%25");
    for uri in [
        format!("http://{to}/{KEY}"),
        format!("http://{to}/?q={KEY}"),
        format!("http://{to}/?q={mixed}"),
        format!("http://{to}/?q={twice}"),
        format!("http://{}.allowed.test/", KEY.to_lowercase()),
    ] {
        let denial = world.denial(request("GET", &uri)).await;
        assert_eq!(denial.code, DenialCode::SecretLeak, "{uri}");
        assert_eq!(denial.subject, "the URL of a request holds the secret \"api-key\"");
    }
    let mut split = request("GET", &format!("http://{to}/"));
    split.headers.append("x-a", KEY[..13].parse().unwrap());
    split.headers.append("x-a", KEY[13..].parse().unwrap());
    assert_eq!(world.denial(split).await.code, DenialCode::SecretLeak);
    assert_eq!(server.connections(), 0);

    // A body is stopped before the first byte of a secret, wherever it is cut.
    for cut in [1, 9, KEY.len() - 1] {
        let server = Server::start(Answer::Silence).await;
        let parts = [b"before ".as_slice(), &KEY.as_bytes()[..cut], &KEY.as_bytes()[cut..]];
        let parts: Vec<Result<Frame<Bytes>, HttpBodyError>> =
            parts.iter().map(|part| Ok(Frame::data(Bytes::copy_from_slice(part)))).collect();
        let mut post = request("POST", &format!("http://{}/", at(&server)));
        post.body = StreamBody::new(Parts(parts.into())).boxed_unsync();
        let denial = world.denial(post).await;
        assert_eq!(denial.subject, "the body of a request holds the secret \"api-key\"");
        let sent = server.requests().concat();
        assert!(!sent.contains("sk-"), "{sent}");
    }
}

#[tokio::test]
async fn what_the_other_side_echoes_is_marked_before_the_guest_sees_it() {
    let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut gzip, format!("you sent {KEY}!").as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    let echo = format!("x-echo: Bearer {KEY}");
    let plain = Answer::with("200 OK", &[&echo], format!("you sent {KEY}!").as_bytes());
    let packed = Answer::with("200 OK", &[&echo, "content-encoding: gzip"], &gzip);
    for answer in [plain, packed] {
        let server = Server::start(answer).await;
        let to = at(&server);
        let response = world(vec![bearer(&to)]).get(&format!("http://{to}/")).await.unwrap();
        assert_eq!(response.headers["x-echo"], "Bearer [secret:api-key]");
        assert_eq!(read(response).await.unwrap(), "you sent [secret:api-key]!");
    }
    let odd = Answer::with("200 OK", &[&format!("content-encoding: {KEY}")], b"x");
    let server = Server::start(odd).await;
    let failed = world(Vec::new()).get(&format!("http://{}/", at(&server))).await;
    let Err(EffectError::BadResponse { message, .. }) = failed.map(|_| ()) else { panic!("bad") };
    assert!(message.contains("[secret:api-key]") && !message.contains(KEY), "{message}");
}

#[tokio::test]
async fn an_answer_that_comes_in_small_parts_is_marked_too() {
    let chunks: String = KEY.chars().map(|c| format!("1\r\n{c}\r\n")).collect();
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let server = Server::start(Answer::Bytes(format!("{head}{chunks}0\r\n\r\n").into())).await;
    let response = world(Vec::new()).get(&format!("http://{}/", at(&server))).await.unwrap();
    assert_eq!(read(response).await.unwrap(), "[secret:api-key]");
}

/// A stream of what is there.
struct Parts(std::collections::VecDeque<Result<Frame<Bytes>, HttpBodyError>>);

impl futures_core::Stream for Parts {
    type Item = Result<Frame<Bytes>, HttpBodyError>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Ready(self.0.pop_front())
    }
}
