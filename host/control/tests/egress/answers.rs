//! What comes back: bounded in bytes as decoded, in time, and in form.

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use foreshore_domain::effect::{EffectError, HttpBodyError};

use crate::server::{Answer, Server};
use crate::world::{open_world, read, request};

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

async fn got(answer: Answer, limit: u64) -> (Server, Result<Vec<u8>, HttpBodyError>) {
    let server = Server::start(answer).await;
    let world = open_world().limit("http_response_max_bytes", limit).build();
    let response = world.get(&format!("http://allowed.test:{}/", server.port())).await.unwrap();
    let body = read(response).await.map(|bytes| bytes.to_vec());
    (server, body)
}

#[track_caller]
fn assert_too_large(result: Result<Vec<u8>, HttpBodyError>, limit: u64) {
    match result {
        Err(HttpBodyError::TooLarge { max_bytes }) if max_bytes == limit => {}
        other => panic!("{:?}", other.map(|body| body.len())),
    }
}

fn chunked(parts: &[&[u8]]) -> Answer {
    let mut bytes = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for part in parts {
        bytes.extend(format!("{:x}\r\n", part.len()).into_bytes());
        bytes.extend_from_slice(part);
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"0\r\n\r\n");
    Answer::Bytes(bytes)
}

fn gzip_answer(decoded: &[u8]) -> Answer {
    Answer::with("200 OK", &["content-encoding: gzip"], &gzipped(decoded))
}

#[tokio::test]
async fn a_body_may_have_its_limit_and_not_a_byte_more() {
    let limit = 10_000;
    for length in [0_usize, 1, 9_999, 10_000, 10_001, 20_000] {
        let body = vec![b'x'; length];
        let close_delimited =
            Answer::Bytes([b"HTTP/1.1 200 OK\r\n\r\n".as_slice(), &body].concat());
        let (first, second) = body.split_at(length / 2);
        let in_chunks = if length < 2 { chunked(&[]) } else { chunked(&[first, second]) };
        let answers = [Answer::ok(&body), close_delimited, gzip_answer(&body), in_chunks];
        for (form, answer) in answers.into_iter().enumerate() {
            let (_, result) = got(answer, limit).await;
            if length > 10_000 {
                assert_too_large(result, limit);
            } else if form < 3 || length > 1 {
                assert_eq!(result.unwrap(), body, "form {form}, {length} bytes");
            }
        }
    }
}

#[tokio::test]
async fn a_length_that_is_too_large_is_not_waited_for() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 10001\r\n\r\n".to_vec();
    let answer = Answer::Endless { head, part: vec![b'x'], pause: Duration::from_secs(3_600) };
    let reading = tokio::time::timeout(Duration::from_secs(2), got(answer, 10_000));
    let (server, result) = reading.await.expect("no waiting");
    assert_too_large(result, 10_000);
    assert!(server.sent_bytes() < 1_000);
}

#[tokio::test]
async fn a_gzip_bomb_ends_at_the_limit_and_costs_no_more_than_that() {
    // 256 MiB of zeros in 256 KiB, of which a part is read.
    let megabyte = vec![0_u8; 1 << 20];
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..256 {
        encoder.write_all(&megabyte).unwrap();
    }
    let bomb = encoder.finish().unwrap();
    let before = peak_memory_bytes();
    let answer = Answer::with("200 OK", &["content-encoding: gzip"], &bomb);
    let begun = std::time::Instant::now();
    let (_, result) = got(answer, 1 << 20).await;
    assert_too_large(result, 1 << 20);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let grown = peak_memory_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "grew by {grown} bytes");
}

/// The most memory that the process ever held, from the kernel.
fn peak_memory_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0");
    line.split_whitespace().next().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0) << 10
}

#[tokio::test]
async fn many_members_of_gzip_count_together() {
    let members = [gzipped(&[b'a'; 6_000]), gzipped(&[b'b'; 6_000])].concat();
    let answer = || Answer::with("200 OK", &["content-encoding: x-gzip"], &members);
    assert_too_large(got(answer(), 10_000).await.1, 10_000);
    assert_eq!(got(answer(), 12_000).await.1.unwrap().len(), 12_000);
}

#[tokio::test]
async fn codings_that_were_not_asked_for_are_refused_before_they_are_decoded() {
    for coding in ["br", "zstd", "deflate", "gzip, gzip", "gzip, br", "compress", "x"] {
        let field = format!("content-encoding: {coding}");
        let server = Server::start(Answer::with("200 OK", &[&field], &gzipped(b"x"))).await;
        let world = open_world().build();
        let uri = format!("http://allowed.test:{}/", server.port());
        let error = world.get(&uri).await.err().expect("refused");
        assert!(
            matches!(&error, EffectError::BadResponse { message, .. } if message.contains("only gzip")),
            "{coding}: {error}"
        );
    }
    let twice = ["content-encoding: gzip", "content-encoding: gzip"];
    let server = Server::start(Answer::with("200 OK", &twice, &gzipped(&gzipped(b"x")))).await;
    let world = open_world().build();
    let error = world.get(&format!("http://allowed.test:{}/", server.port())).await.err();
    assert!(matches!(error, Some(EffectError::BadResponse { .. })));
}

#[tokio::test]
async fn a_decoded_body_no_longer_claims_to_be_coded() {
    let server = Server::start(gzip_answer(b"plain")).await;
    let world = open_world().build();
    let response = world.get(&format!("http://allowed.test:{}/", server.port())).await.unwrap();
    assert!(!response.headers.contains_key("content-encoding"));
    assert!(!response.headers.contains_key("content-length"));
    assert_eq!(read(response).await.unwrap(), "plain");
}

#[tokio::test]
async fn a_head_request_and_an_empty_answer_are_not_decoded() {
    let server = Server::start(Answer::Bytes(
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 99\r\n\r\n".to_vec(),
    ))
    .await;
    let world = open_world().build();
    let head = request("HEAD", &format!("http://allowed.test:{}/", server.port()));
    let response = world.send(head).await.unwrap();
    assert_eq!(response.headers["content-length"], "99");
    assert_eq!(read(response).await.unwrap(), "");
}

#[tokio::test]
async fn broken_gzip_is_an_error_and_not_an_end() {
    let mut cut = gzipped(&[b'x'; 5_000]);
    cut.truncate(cut.len() - 6);
    for body in [cut, b"not gzip at all".to_vec(), Vec::from([0x1f, 0x8b])] {
        let answer = Answer::with("200 OK", &["content-encoding: gzip"], &body);
        let (_, result) = got(answer, 10_000).await;
        assert!(
            matches!(&result, Err(HttpBodyError::Broken(why)) if why.starts_with("gzip")),
            "{result:?}"
        );
    }
}

#[tokio::test]
async fn endless_chunks_end_at_the_limit_and_the_server_is_stopped() {
    let answer = Answer::Endless {
        head: b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec(),
        part: [b"1000\r\n".as_slice(), &[b'x'; 0x1000], b"\r\n"].concat(),
        pause: Duration::ZERO,
    };
    let (server, result) = got(answer, 1 << 20).await;
    assert_too_large(result, 1 << 20);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let sent = server.sent_bytes();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(server.sent_bytes(), sent, "the server still sends");
    assert!(sent < 32 << 20, "{sent} bytes were taken for a limit of 1 MiB");
}

#[tokio::test]
async fn a_guest_that_does_not_read_stops_the_server() {
    let answer = Answer::Endless {
        head: b"HTTP/1.1 200 OK\r\n\r\n".to_vec(),
        part: vec![b'x'; 64 << 10],
        pause: Duration::ZERO,
    };
    let server = Server::start(answer).await;
    let world = open_world().limit("http_response_max_bytes", 1 << 30).build();
    let response = world.get(&format!("http://allowed.test:{}/", server.port())).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let sent = server.sent_bytes();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(server.sent_bytes(), sent, "somebody reads ahead of the guest");
    drop(response);
}

#[tokio::test]
async fn a_slow_drip_is_given_up_between_two_bytes() {
    let answer = Answer::Endless {
        head: b"HTTP/1.1 200 OK\r\n\r\n".to_vec(),
        part: b"x".to_vec(),
        pause: Duration::from_secs(3_600),
    };
    let server = Server::start(answer).await;
    let world = open_world()
        .config(|config| config.between_bytes_timeout = Duration::from_millis(100))
        .build();
    let uri = format!("http://allowed.test:{}/", server.port());
    let response = world.get(&uri).await.unwrap();
    let result = read(response).await;
    assert!(matches!(result, Err(HttpBodyError::Stalled { limit_ms: 100 })), "{result:?}");

    // The same through a decoder, and at the guest's own wish.
    let head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n".to_vec();
    let part = gzipped(b"x")[..12].to_vec();
    let server =
        Server::start(Answer::Endless { head, part, pause: Duration::from_secs(3_600) }).await;
    let mut get = request("GET", &format!("http://allowed.test:{}/", server.port()));
    get.timeouts.between_bytes = Some(Duration::from_millis(50));
    let result = read(world.send(get).await.unwrap()).await;
    assert!(matches!(result, Err(HttpBodyError::Stalled { limit_ms: 50 })), "{result:?}");
}

#[tokio::test]
async fn a_steady_drip_is_no_stall() {
    let answer = Answer::Endless {
        head: b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n".to_vec(),
        part: b"x".to_vec(),
        pause: Duration::from_millis(20),
    };
    let server = Server::start(answer).await;
    let world = open_world()
        .config(|config| config.between_bytes_timeout = Duration::from_millis(300))
        .build();
    let response = world.get(&format!("http://allowed.test:{}/", server.port())).await.unwrap();
    assert_eq!(read(response).await.unwrap().len(), 20);
}

#[tokio::test]
async fn a_head_that_is_no_head_is_refused() {
    let many_fields: String = (0..200).map(|n| format!("x-{n}: y\r\n")).collect();
    for (answer, hint) in [
        ("SSH-2.0-OpenSSH\r\n".to_owned(), "HTTP"),
        ("HTTP/1.1 200 OK\r\nno colon\r\n\r\n".to_owned(), "HTTP"),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab".to_owned(),
            "content-length",
        ),
        ("HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n".to_owned(), "content-length"),
        (format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(9_000)), "larger than 8192"),
        (format!("HTTP/1.1 200 OK\r\n{many_fields}\r\n"), "large"),
        (
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"
                .to_owned(),
            "protocols",
        ),
    ] {
        let server = Server::start(Answer::Bytes(answer.clone().into_bytes())).await;
        let world = open_world().limit("http_fields_max_bytes", 8_192).build();
        let uri = format!("http://allowed.test:{}/", server.port());
        let error = world.get(&uri).await.err().unwrap_or_else(|| panic!("{answer}"));
        assert!(
            matches!(&error, EffectError::BadResponse { message, .. } if message.contains(hint)),
            "{hint}: {error}"
        );
    }
    let server = Server::start(Answer::Bytes(b"HTTP/1.1 200 OK\r\n".to_vec())).await;
    let world = open_world().build();
    let error = world.get(&format!("http://allowed.test:{}/", server.port())).await.err();
    assert!(matches!(error, Some(EffectError::ConnectionFailed { .. })), "{error:?}");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_an_error_and_not_an_end() {
    let short = Answer::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc".to_vec());
    let (_, result) = got(short, 100).await;
    assert!(matches!(result, Err(HttpBodyError::Broken(_))), "{result:?}");
}

#[tokio::test]
async fn what_the_server_says_about_the_connection_stays_here() {
    let fields = [
        "connection: close, x-hop",
        "x-hop: 1",
        "keep-alive: 5",
        "x-end: 2",
        "proxy-authenticate: B",
    ];
    let server = Server::start(Answer::with("200 OK", &fields, b"")).await;
    let world = open_world().build();
    let response = world.get(&format!("http://allowed.test:{}/", server.port())).await.unwrap();
    for gone in ["connection", "x-hop", "keep-alive", "proxy-authenticate"] {
        assert!(!response.headers.contains_key(gone), "{gone}");
    }
    assert_eq!(response.headers["x-end"], "2");
}
