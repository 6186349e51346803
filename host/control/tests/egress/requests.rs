//! What is sent: rebuilt from what was checked, and counted.

use std::time::{Duration, Instant};

use bytes::Bytes;
use foreshore_domain::denial::DenialCode;
use foreshore_domain::effect::{EffectError, HttpBodyError};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};

use crate::server::{Answer, Server};
use crate::world::{World, body, open_world, read, request, soon};

#[tokio::test]
async fn a_granted_request_arrives_in_origin_form_and_every_byte_is_counted() {
    let server = Server::start(Answer::ok(b"hello")).await;
    let world = open_world().build();
    let mut post =
        request("POST", &format!("http://Allowed.TEST:{}/a/../b%20c?q=%2F", server.port()));
    post.headers.insert("accept-encoding", "br, zstd".parse().unwrap());
    post.headers.insert("authorization", "Bearer its-own".parse().unwrap());
    post.body = body(b"payload");
    let response = world.send(post).await.unwrap();
    assert_eq!(response.status, 200);
    assert_eq!(read(response).await.unwrap(), "hello");

    let received = server.requests().remove(0);
    assert!(received.starts_with("POST /b%20c?q=%2F HTTP/1.1\r\n"), "{received}");
    assert!(received.contains(&format!("host: allowed.test:{}\r\n", server.port())), "{received}");
    assert!(received.contains("accept-encoding: gzip\r\n"), "{received}");
    assert!(received.contains("authorization: Bearer its-own\r\n"), "{received}");
    assert!(received.ends_with("\r\n\r\npayload"), "{received}");
    let counted = world.call.meter.egress_bytes();
    assert_eq!(counted, u64::try_from(received.len()).unwrap());
}

#[tokio::test]
async fn a_range_is_asked_for_without_compression() {
    let server = Server::start(Answer::ok(b"")).await;
    let world = open_world().build();
    let mut get = request("GET", &format!("http://allowed.test:{}/", server.port()));
    get.headers.insert("range", "bytes=0-9".parse().unwrap());
    world.send(get).await.unwrap();
    let received = server.requests().remove(0);
    assert!(received.contains("accept-encoding: identity\r\n"), "{received}");
}

#[tokio::test]
async fn fields_of_the_connection_and_a_foreign_host_never_leave() {
    let server = Server::start(Answer::ok(b"")).await;
    let world = open_world().build();
    let own = format!("allowed.test:{}", server.port());
    for (name, value) in [
        ("connection", "close"),
        ("connection", "x-internal"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("proxy-authorization", "Basic eDp5"),
        ("proxy-authenticate", "Basic"),
        ("te", "trailers"),
        ("trailer", "x"),
        ("transfer-encoding", "chunked"),
        ("transfer-encoding", "identity, chunked"),
        ("upgrade", "websocket"),
        ("upgrade", "h2c"),
        ("http2-settings", "AAMAAABk"),
        ("host", "evil.test"),
        ("host", "allowed.test"),
        ("host", "allowed.test:1"),
        ("host", ""),
        ("host", "allowed.test.evil.test"),
        ("host", "u@allowed.test"),
        ("content-length", "5, 6"),
        ("content-length", "+5"),
        ("content-length", ""),
        ("content-length", "99999999999999999999999"),
    ] {
        let mut get = request("GET", &format!("http://{own}/"));
        get.headers.insert(name, value.parse().unwrap());
        let denial = world.denial(get).await;
        World::assert_denied(&denial, DenialCode::HttpRequestNotAllowed, "");
        assert!(denial.subject.contains(name), "{denial}");
    }
    for (name, first, second) in [
        ("host", own.as_str(), "evil.test"),
        ("content-length", "5", "6"),
        ("content-length", "5", "5"),
    ] {
        let mut get = request("GET", &format!("http://{own}/"));
        get.headers.append(name, first.parse().unwrap());
        get.headers.append(name, second.parse().unwrap());
        let denial = world.denial(get).await;
        World::assert_denied(&denial, DenialCode::HttpRequestNotAllowed, "");
    }
    assert_eq!(server.connections(), 0);

    let mut get = request("GET", &format!("http://{own}/"));
    get.headers.insert("host", own.to_uppercase().parse().unwrap());
    world.send(get).await.expect("the host that the URL names is no trick");
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn forms_that_two_parsers_read_differently_never_leave() {
    let server = Server::start(Answer::ok(b"")).await;
    let world = open_world().build();
    let own = format!("allowed.test:{}", server.port());
    for (method, uri, reason) in [
        ("CONNECT", own.clone(), "never let out"),
        ("CONNECT", format!("http://{own}/"), "never let out"),
        ("TRACE", format!("http://{own}/"), "never let out"),
        ("GET", "/only/a/path".to_owned(), "no scheme"),
        ("GET", own.clone(), "no scheme"),
        ("OPTIONS", "*".to_owned(), "no scheme"),
        ("GET", format!("ftp://{own}/"), "http or https"),
        ("GET", format!("file://{own}/etc/passwd"), "http or https"),
        ("GET", format!("http://user:pw@{own}/"), "user and password"),
        ("GET", format!("http://@{own}/"), "user and password"),
        ("GET", format!("http://evil.test@{own}/"), "user and password"),
        ("GET", format!("http://{own}@evil.test/"), "user and password"),
        ("GET", format!("http://allowed.test.:{}/", server.port()), "dot at the end"),
        ("GET", "http://allowed.test:0/".to_owned(), "port 0"),
        ("GET", format!("http://{own}/a%2fb"), "slash"),
        ("GET", format!("http://{own}/..%5cb"), "slash"),
        ("GET", format!("http://{own}/a%00b"), "control"),
        ("GET", format!("http://{own}/a%0d%0aHost:%20evil.test"), "control"),
        ("GET", format!("http://{own}/%252e%252e/b"), "twice"),
        ("GET", format!("http://{own}/..;/b"), "\"..\""),
        ("GET", format!("http://{own}/%c0%af"), "UTF-8"),
    ] {
        let Ok(uri) = uri.parse() else { panic!("{uri} is refused before it gets here") };
        let mut get = request(method, "http://x/");
        get.uri = uri;
        let denial = world.denial(get).await;
        World::assert_denied(&denial, DenialCode::HttpRequestNotAllowed, "");
        assert!(denial.subject.contains(reason), "{denial} should say {reason}");
        assert!(!denial.subject.contains("pw"), "{denial}");
    }
    assert_eq!(server.connections(), 0);
    assert_eq!(world.resolver.asked(), Vec::<String>::new());
}

#[test]
fn line_breaks_and_nul_cannot_be_put_in_a_request_at_all() {
    for byte in ["\r", "\n", "\0"] {
        assert!(format!("a{byte}b").parse::<http::HeaderValue>().is_err());
        assert!(format!("a{byte}b").parse::<http::HeaderName>().is_err());
        assert!(format!("a{byte}b").parse::<http::Method>().is_err());
        assert!(format!("http://a/{byte}b").parse::<http::Uri>().is_err());
        assert!(format!("http://a{byte}b/").parse::<http::Uri>().is_err());
    }
}

#[tokio::test]
async fn path_and_fields_are_bounded_together() {
    let server = Server::start(Answer::ok(b"")).await;
    let world = open_world().limit("http_fields_max_bytes", 1_000).build();
    let uri = format!("http://allowed.test:{}/", server.port());
    let mut fits = request("GET", &uri);
    fits.headers.insert("x", "v".repeat(1_000 - 2).parse().unwrap());
    world.send(fits).await.unwrap();
    let mut too_large = request("GET", &uri);
    too_large.headers.insert("x", "v".repeat(1_000 - 1).parse().unwrap());
    let denial = world.denial(too_large).await;
    World::assert_denied(&denial, DenialCode::HttpRequestNotAllowed, "");
    assert!(denial.subject.contains("http_fields_max_bytes = 1000"), "{denial}");
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_request_body_may_have_its_limit_and_not_a_byte_more() {
    let server = Server::start(Answer::ok(b"")).await;
    let world = open_world().limit("http_request_max_bytes", 1_000).build();
    let uri = format!("http://allowed.test:{}/", server.port());
    for (parts, fits) in [
        (vec![1_000], true),
        (vec![500, 500], true),
        (vec![1_001], false),
        (vec![1_000, 1], false),
        (vec![400, 400, 400], false),
    ] {
        let mut post = request("POST", &uri);
        let frames: Vec<_> =
            parts.iter().map(|n| Ok(Frame::data(Bytes::from(vec![b'x'; *n])))).collect();
        post.body = BodyExt::boxed_unsync(StreamBody::new(Frames(frames.into())));
        match world.send(post).await {
            Ok(_) => assert!(fits, "{parts:?}"),
            Err(EffectError::RequestBody(HttpBodyError::TooLarge { max_bytes: 1_000 })) => {
                assert!(!fits, "{parts:?}");
            }
            Err(other) => panic!("{parts:?}: {other}"),
        }
    }
}

#[tokio::test]
async fn a_request_body_that_announces_too_much_is_not_begun() {
    let server = Server::start(Answer::ok(b"")).await;
    let world = open_world().limit("http_request_max_bytes", 1_000).build();
    let uri = format!("http://allowed.test:{}/", server.port());
    let mut by_field = request("POST", &uri);
    by_field.headers.insert("content-length", "1001".parse().unwrap());
    let mut by_size = request("POST", &uri);
    by_size.body = body(&[b'x'; 1_001]);
    for post in [by_field, by_size] {
        let error = world.send(post).await.err().expect("too large");
        let too_large = HttpBodyError::TooLarge { max_bytes: 1_000 };
        assert_eq!(error.to_string(), EffectError::RequestBody(too_large).to_string());
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_request_body_that_breaks_off_says_so() {
    let server = Server::start(Answer::Silence).await;
    let world = open_world().build();
    let mut post = request("POST", &format!("http://allowed.test:{}/", server.port()));
    let frames = [Ok(Frame::data(Bytes::from("x"))), Err(HttpBodyError::Broken("gone".to_owned()))];
    post.body = BodyExt::boxed_unsync(StreamBody::new(Frames(frames.into())));
    let error = world.send(post).await.err().expect("broken");
    assert!(
        matches!(&error, EffectError::RequestBody(HttpBodyError::Broken(why)) if why == "gone"),
        "{error:?}"
    );
}

#[tokio::test]
async fn each_time_limit_fires_by_its_own_name() {
    let silent = Server::start(Answer::Silence).await;
    let uri = format!("http://allowed.test:{}/", silent.port());

    let world = open_world().config(|config| config.first_byte_timeout = soon()).build();
    let error = world.get(&uri).await.err().expect("silence");
    assert!(
        matches!(error, EffectError::TimedOut { what: "the first byte", limit_ms: 200 }),
        "{error}"
    );

    // A guest may ask for less, down to nothing, but not for more.
    let world = open_world().config(|config| config.first_byte_timeout = soon()).build();
    for (wanted, limit_ms) in
        [(Duration::MAX, 200), (Duration::from_millis(20), 20), (Duration::ZERO, 0)]
    {
        let mut get = request("GET", &uri);
        get.timeouts.first_byte = Some(wanted);
        let begun = Instant::now();
        let error = world.send(get).await.err().expect("silence");
        let fired =
            matches!(error, EffectError::TimedOut { limit_ms: fired, .. } if fired == limit_ms);
        assert!(fired && begun.elapsed() < 10 * soon(), "{wanted:?}: {error}");
    }

    // TLS with a server that says nothing is part of connecting.
    let world = crate::world::WorldBuilder::new(&["* https://allowed.test:*/**"])
        .networks(&["127.0.0.0/8"])
        .config(|config| config.connect_timeout = 5 * soon())
        .build();
    let error = world.get(&uri.replace("http:", "https:")).await.err().expect("silence");
    assert!(
        matches!(error, EffectError::TimedOut { what: "connecting", limit_ms: 1_000 }),
        "{error}"
    );
}

#[tokio::test]
async fn what_goes_wrong_on_the_way_is_named() {
    let world =
        open_world().resolver(crate::world::Script::new(&[("allowed.test", &[&[]])])).build();
    let error = world.get("http://allowed.test:1/").await.err().expect("no address");
    assert!(
        matches!(&error, EffectError::NameNotResolved { host, .. } if host == "allowed.test"),
        "{error}"
    );

    let free = Server::start(Answer::Silence).await.port();
    let world = open_world().build();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let error = world.get(&format!("http://allowed.test:{free}/")).await.err().expect("refused");
    let authority = format!("allowed.test:{free}");
    assert!(
        matches!(&error, EffectError::ConnectionFailed { authority: a, .. } if *a == authority),
        "{error}"
    );
}

#[tokio::test]
async fn a_call_that_is_given_up_ends_its_connection() {
    let endless = Answer::Endless {
        head: b"HTTP/1.1 200 OK\r\n\r\n".to_vec(),
        part: vec![b'x'; 1_000],
        pause: Duration::from_millis(5),
    };
    let server = Server::start(endless).await;
    let world = open_world().build();
    let response = world.get(&format!("http://allowed.test:{}/", server.port())).await.unwrap();
    drop(response);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let sent = server.sent_bytes();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(server.sent_bytes(), sent, "the server still sends");
}

/// A stream of frames.
struct Frames(std::collections::VecDeque<Result<Frame<Bytes>, HttpBodyError>>);

impl futures_core::Stream for Frames {
    type Item = Result<Frame<Bytes>, HttpBodyError>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Ready(self.0.pop_front())
    }
}
