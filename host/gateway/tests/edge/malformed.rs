//! What is not HTTP, or pretends to be: each case ends with the refusal named here, and the host
//! answers the next client as if nothing had been.

use crate::harness::{Client, Host, Setup, call};

/// Bytes, and the statuses that they may be answered with.
type Case = (&'static str, Vec<u8>, &'static [u16]);

const REFUSED: &[u16] = &[400];
/// No answer: a client that speaks another protocol would not understand one.
const ENDED: &[u16] = &[0];

fn cases() -> Vec<Case> {
    let many = |count: usize| "x-a: b\r\n".repeat(count);
    let text = |what, text: &str, statuses: &'static [u16]| -> Case {
        (what, text.as_bytes().to_vec(), statuses)
    };
    let mut cases: Vec<Case> = vec![
        // Smuggling: two lengths, or a length and a coding.
        text(
            "two lengths",
            "POST /v1/tools/probe.echo/call HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}x",
            REFUSED,
        ),
        text(
            "a list of lengths",
            "POST /v1/tools/probe.echo/call HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2, 3\r\n\r\n{}",
            REFUSED,
        ),
        text(
            "a list of one length",
            "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2, 2\r\n\r\n{}",
            REFUSED,
        ),
        text(
            "a signed length",
            "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: +2\r\n\r\n{}",
            REFUSED,
        ),
        text(
            "a negative length",
            "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n",
            REFUSED,
        ),
        text(
            "a hexadecimal length",
            "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0x2\r\n\r\n{}",
            REFUSED,
        ),
        text(
            "an enormous length",
            "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999999999999999999\r\n\r\n",
            REFUSED,
        ),
        text(
            "the largest length",
            "POST /v1/tools/probe.echo/call HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 18446744073709551615\r\n\r\n",
            &[400, 413, 431],
        ),
        text(
            "a coding that is not known",
            "POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: gzip\r\n\r\n",
            REFUSED,
        ),
        text(
            "chunked that is not last",
            "POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
            REFUSED,
        ),
        text(
            "a misspelled chunked",
            "POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
            REFUSED,
        ),
        text(
            "a space before the colon",
            "POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding : chunked\r\n\r\n0\r\n\r\n",
            REFUSED,
        ),
        text("a folded line", "GET / HTTP/1.1\r\nhost: localhost\r\nx-a: b\r\n c\r\n\r\n", REFUSED),
        text(
            "a coding in HTTP/1.0",
            "POST / HTTP/1.0\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            REFUSED,
        ),
        text(
            "a chunk of no size",
            "POST /v1/tools/probe.echo/call HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n{}\r\n0\r\n\r\n",
            REFUSED,
        ),
        text(
            "a chunk that overflows",
            "POST /v1/tools/probe.echo/call HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}\r\n0\r\n\r\n",
            REFUSED,
        ),
        text(
            "a chunk without its end",
            "POST /v1/tools/probe.echo/call HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}zz0\r\n\r\n",
            REFUSED,
        ),
        // Targets that are not for us.
        text(
            "absolute form",
            "GET http://localhost/healthz HTTP/1.1\r\nhost: localhost\r\n\r\n",
            REFUSED,
        ),
        text(
            "absolute form elsewhere",
            "GET http://evil.example/healthz HTTP/1.1\r\nhost: localhost\r\n\r\n",
            REFUSED,
        ),
        text(
            "CONNECT",
            "CONNECT evil.example:443 HTTP/1.1\r\nhost: evil.example:443\r\n\r\n",
            REFUSED,
        ),
        text("asterisk form", "OPTIONS * HTTP/1.1\r\nhost: localhost\r\n\r\n", REFUSED),
        text(
            "a target without a slash",
            "GET healthz HTTP/1.1\r\nhost: localhost\r\n\r\n",
            REFUSED,
        ),
        text(
            "two slashes",
            "GET //evil.example/healthz HTTP/1.1\r\nhost: localhost\r\n\r\n",
            &[404],
        ),
        text("dots", "GET /v1/tools/../../healthz HTTP/1.1\r\nhost: localhost\r\n\r\n", &[404]),
        text(
            "a tool of bad UTF-8",
            "GET /v1/tools/%ff%fe HTTP/1.1\r\nhost: localhost\r\n\r\n",
            &[404],
        ),
        text(
            "a tool of control characters",
            "GET /v1/tools/a%00.b%0d%0a HTTP/1.1\r\nhost: localhost\r\n\r\n",
            &[404],
        ),
        text("no host", "GET /healthz HTTP/1.1\r\n\r\n", REFUSED),
        text(
            "two hosts",
            "GET /healthz HTTP/1.1\r\nhost: localhost\r\nhost: localhost\r\n\r\n",
            REFUSED,
        ),
        text("an empty host", "GET /healthz HTTP/1.1\r\nhost: \r\n\r\n", REFUSED),
        text("a foreign host", "GET /healthz HTTP/1.1\r\nhost: evil.example\r\n\r\n", &[421]),
        text(
            "a host with a user",
            "GET /healthz HTTP/1.1\r\nhost: localhost@evil.example\r\n\r\n",
            REFUSED,
        ),
        // Request lines and fields that are none.
        text("no version", "GET /healthz\r\n\r\n", REFUSED),
        text("a version to come", "GET /healthz HTTP/9.9\r\nhost: localhost\r\n\r\n", REFUSED),
        text("no method", " /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n", REFUSED),
        text(
            "a method of odd characters",
            "G\u{e9}T /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n",
            REFUSED,
        ),
        text("a method nobody knows", "BREW /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n", &[405]),
        text(
            "a method of another case",
            "get /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n",
            &[405],
        ),
        text("TRACE", "TRACE /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n", &[405]),
        text("a line that is a greeting", "EHLO example\r\n\r\n", REFUSED),
        text(
            "a field without a colon",
            "GET /healthz HTTP/1.1\r\nhost: localhost\r\nnonsense\r\n\r\n",
            REFUSED,
        ),
        text(
            "a field without a name",
            "GET /healthz HTTP/1.1\r\nhost: localhost\r\n: x\r\n\r\n",
            REFUSED,
        ),
        text(
            "a NUL in a field",
            "GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-a: a\0b\r\n\r\n",
            REFUSED,
        ),
        text("a NUL in the target", "GET /heal\0thz HTTP/1.1\r\nhost: localhost\r\n\r\n", REFUSED),
        text(
            "an escape in a field",
            "GET /nowhere HTTP/1.1\r\nhost: localhost\r\nx-request-id: \u{1b}[31m\r\n\r\n",
            REFUSED,
        ),
        text(
            "a bare carriage return",
            "GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-a: a\rb\r\n\r\n",
            REFUSED,
        ),
        // Sizes.
        (
            "65 fields",
            format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\n{}\r\n", many(64)).into_bytes(),
            &[431],
        ),
        (
            "1,000 fields",
            format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\n{}\r\n", many(1_000)).into_bytes(),
            &[431],
        ),
        (
            "a field of 17 KiB",
            format!(
                "GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-a: {}\r\n\r\n",
                "b".repeat(17 << 10)
            )
            .into_bytes(),
            &[431],
        ),
        (
            "a field of 1 MiB",
            format!(
                "GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-a: {}\r\n\r\n",
                "b".repeat(1 << 20)
            )
            .into_bytes(),
            &[431],
        ),
        (
            "a target of 3 KiB",
            format!("GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n", "a".repeat(3 << 10))
                .into_bytes(),
            &[414],
        ),
        (
            "a target of 1 MiB",
            format!("GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n", "a".repeat(1 << 20))
                .into_bytes(),
            &[414, 431],
        ),
        // Other protocols.
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec(), ENDED),
        ("TLS", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03".to_vec(), REFUSED),
        ("zeros", vec![0; 4_096], REFUSED),
    ];
    // JSON that is meant to hurt.
    let arguments: [(&'static str, Vec<u8>); 7] = [
        ("deep arrays", [b"[".repeat(500_000), b"]".repeat(500_000)].concat()),
        ("deep objects", b"{\"text\":".repeat(100_000)),
        ("bad UTF-8", b"{\"text\":\"\xff\xfe\"}".to_vec()),
        ("a lone surrogate", br#"{"text":"\ud800"}"#.to_vec()),
        ("a huge number", br#"{"text":1e999999999}"#.to_vec()),
        ("control characters", b"{\"text\":\"\x00\x01\"}".to_vec()),
        ("two values", b"{} {}".to_vec()),
    ];
    for (what, body) in arguments {
        let head = call("probe.echo", "")
            .replace("content-length: 0", &format!("content-length: {}", body.len()));
        cases.push((what, [head.into_bytes(), body].concat(), &[413, 422]));
    }
    cases
}

#[tokio::test]
async fn what_is_malformed_is_refused_and_the_host_goes_on() {
    let host = Host::start(Setup::default()).await;
    for (what, bytes, statuses) in cases() {
        let mut client = host.client().await;
        client.send(&bytes).await;
        let response = client.response().await;
        let status = response.as_ref().map_or(0, crate::harness::Response::status);
        assert!(statuses.contains(&status), "{what}: {status} {response:?}");
        let well = host.get("/healthz").await;
        assert_eq!(well.status(), 200, "after {what}");
    }
    assert_eq!(host.request(&call("probe.echo", "{}")).await.status(), 200);
}

/// The second request that a length hides from one reader and shows to another.
const SMUGGLED: &str = "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";

#[tokio::test]
async fn nothing_after_an_ambiguous_length_is_taken_for_a_request() {
    let host = Host::start(Setup::default()).await;
    for fields in [
        "content-length: 4\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 4\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n",
        "transfer-encoding: identity\r\ntransfer-encoding: chunked\r\ncontent-length: 4\r\n",
        "content-length: 5\r\ncontent-length: 4\r\n",
    ] {
        let mut client = host.client().await;
        let request = format!(
            "POST /v1/tools/probe.echo/call HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{fields}\r\n2\r\n{{}}\r\n0\r\n\r\n{SMUGGLED}"
        );
        client.send(request.as_bytes()).await;
        assert_one_answer(&mut client, fields).await;
    }
}

/// One answer, and then the end of the connection.
async fn assert_one_answer(client: &mut Client, what: &str) {
    let all = client.rest().await;
    assert_eq!(all.matches("HTTP/1.1 ").count(), 1, "{what}: {all}");
    assert!(!all.contains(r#"{"status":"ok"}"#), "{what}: {all}");
}

#[tokio::test]
async fn a_refusal_reaches_a_client_that_is_still_sending() {
    let host = Host::start(Setup::default()).await;
    let mut client = host.client().await;
    let mut request = b"POST /v1/tools/probe.echo/call HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 3000000\r\n\r\n".to_vec();
    request.resize(1_500_000, b'x');
    client.send(&request).await;
    let response = client.response().await.expect("the refusal");
    assert_eq!((response.status(), response.problem().as_str()), (413, "body_too_large"));
    assert_eq!(client.rest().await, "", "nothing follows");
}
