//! Nothing off the list: many requests against one narrow rule, judged by what servers received.
//!
//! Every name leads to loopback and loopback is granted, so that the rule alone stands between
//! the guest and the servers. The reference is written in other words than the rule's code.

use foreshore_domain::denial::DenialCode;
use foreshore_domain::effect::EffectError;

use crate::server::{Answer, Server};
use crate::world::{World, WorldBuilder, request};

const HOST: &str = "allowed.test";

/// The server on the list, one on another port, and one on another address.
struct Servers {
    listed: Server,
    other_port: Server,
    other_address: Server,
}

impl Servers {
    async fn start() -> Self {
        let listed = Server::start(Answer::ok(b"")).await;
        let other = format!("127.0.0.2:{}", listed.port()).parse().unwrap();
        Self {
            other_port: Server::start(Answer::ok(b"")).await,
            other_address: Server::start_at(other, Answer::ok(b"")).await,
            listed,
        }
    }

    fn world(&self) -> World {
        WorldBuilder::new(&[&format!("GET,HEAD http://{HOST}:{}/public/*", self.listed.port())])
            .networks(&["127.0.0.0/8", "::1/128"])
            .limit("http_requests_max", 10_000)
            .build()
    }

    fn connections(&self) -> [usize; 3] {
        [&self.listed, &self.other_port, &self.other_address].map(Server::connections)
    }

    /// What arrived anywhere: only requests that the rule lists, at the one server.
    fn assert_only_listed(&self) {
        let host = format!("host: {HOST}:{}", self.listed.port());
        for received in self.listed.requests() {
            let mut lines = received.split("\r\n");
            let line = lines.next().unwrap_or_default();
            let words: Vec<&str> = line.split(' ').collect();
            let [method, target, "HTTP/1.1"] = words[..] else { panic!("{received}") };
            let path = decoded(target.split('?').next().unwrap_or_default());
            assert!(matches!(method, "GET" | "HEAD"), "{received}");
            assert!(path.starts_with("/public/"), "{received}");
            assert!(!path.contains(['\\', '\0', '\r', '\n', '\u{fffd}']), "{received}");
            // Nor does a second decoding bring climbing to light.
            assert!(!decoded(&path).contains("..") || path.contains(".."), "{received}");
            let climbs = |part: &str| part == ".." || part.starts_with("..;");
            assert!(!path.split('/').any(climbs), "{received}");
            // An encoded slash would make two segments of what was one when it was checked.
            assert_eq!(path.matches('/').count(), target_slashes(target), "{received}");
            let hosts: Vec<&str> = lines.filter(|line| line.starts_with("host:")).collect();
            assert_eq!(hosts, [host.as_str()], "{received}");
        }
        assert_eq!(self.connections()[1..], [0, 0]);
    }
}

/// Percent-decoded, in the plainest way there is.
fn decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        match part.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => bytes.extend([&[byte], &part.as_bytes()[2..]].concat()),
            None => bytes.extend([b"%", part.as_bytes()].concat()),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn target_slashes(target: &str) -> usize {
    target.split('?').next().unwrap_or_default().matches('/').count()
}

/// Sends a request and holds the answer against the servers' own count.
async fn tried(servers: &Servers, world: &World, method: &str, uri: http::Uri) -> bool {
    let before = servers.connections();
    let mut sent = request(method, "http://x/");
    sent.uri = uri.clone();
    let outcome = world.send(sent).await;
    let after = servers.connections();
    match outcome {
        Ok(_) => {
            assert_eq!(after, [before[0] + 1, before[1], before[2]], "{method} {uri}");
            true
        }
        Err(EffectError::Denied(denial)) => {
            let by_form_or_rule = matches!(
                denial.code,
                DenialCode::HttpNotGranted | DenialCode::HttpRequestNotAllowed
            );
            assert!(by_form_or_rule, "{method} {uri}: {denial}");
            assert_eq!(after, before, "{method} {uri} was denied and connected");
            false
        }
        Err(other) => panic!("{method} {uri}: {other}"),
    }
}

#[tokio::test]
async fn a_table_of_requests_reaches_the_listed_server_or_none() {
    let servers = Servers::start().await;
    let world = servers.world();
    let port = servers.listed.port();
    let methods =
        [("GET", true), ("HEAD", true), ("POST", false), ("get", false), ("DELETE", false)];
    let hosts = [
        (HOST.to_owned(), port, true),
        ("ALLOWED.test".to_owned(), port, true),
        ("%61llowed.test".to_owned(), port, true),
        (HOST.to_owned(), servers.other_port.port(), false),
        ("allowed.test.".to_owned(), port, false),
        ("allowed.test.evil.test".to_owned(), port, false),
        ("xallowed.test".to_owned(), port, false),
        ("x.allowed.test".to_owned(), port, false),
        ("allowed.tes".to_owned(), port, false),
        ("127.0.0.1".to_owned(), port, false),
        ("127.0.0.2".to_owned(), port, false),
        ("2130706433".to_owned(), port, false),
        ("[::1]".to_owned(), port, false),
        ("[::ffff:127.0.0.1]".to_owned(), port, false),
        ("allowed.test@127.0.0.2".to_owned(), port, false),
        ("u:p@allowed.test".to_owned(), port, false),
    ];
    let paths = [
        ("/public/", true),
        ("/public/a/b?c=/../../", true),
        ("/%70ublic/a", true),
        ("/x/../public/a", true),
        ("/public", false),
        ("/publicity/a", false),
        ("/PUBLIC/a", false),
        ("/", false),
        ("/private/a", false),
        ("/public/../private", false),
        ("/public/%2e%2e/private", false),
        ("/public/..%2fprivate", false),
        ("/public/%252e%252e/private", false),
        ("/public/..;/private", false),
        ("/public/%00", false),
        ("/?/public/a", false),
    ];
    let (mut cases, mut reached) = (0, 0);
    for (method, method_listed) in methods {
        for (host, port, host_listed) in &hosts {
            for (path, path_listed) in paths {
                // Some of these cannot even be written in a request; that is as good as denied.
                let Ok(uri) = format!("http://{host}:{port}{path}").parse() else { continue };
                cases += 1;
                let expected = method_listed && *host_listed && path_listed;
                let got_through = tried(&servers, &world, method, uri).await;
                assert_eq!(got_through, expected, "{method} http://{host}:{port}{path}");
                reached += usize::from(got_through);
            }
        }
    }
    assert!(cases >= 500, "{cases} cases");
    assert_eq!(servers.connections(), [reached, 0, 0]);
    assert!(reached > 0);
    servers.assert_only_listed();
}

/// A small generator with a seed, so that a failure can be had again (Vigna, SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }

    fn pick<'a>(&mut self, parts: &[&'a str]) -> &'a str {
        parts[self.below(parts.len())]
    }
}

const AUTHORITY_PARTS: &[&str] = &[
    "allowed.test",
    "ALLOWED.TEST",
    "evil.test",
    "127.0.0.2",
    "127.1",
    "0x7f.2",
    "[::1]",
    "localhost",
    ".",
    "..",
    "@",
    "u@",
    "u:p@",
    ":",
    "%2e",
    "%61",
    "%40",
    "%00",
    "-",
    "_",
    "~",
    "x",
    "xn--",
    "[",
    "]",
    "*",
    "*.",
    ";",
    "!",
    "'",
    "(",
    ",",
    "+",
    "=",
    "&",
    "$",
];

const PATH_PARTS: &[&str] = &[
    "/",
    "/",
    "/public",
    "/public/",
    "public",
    "/private",
    "..",
    "/..",
    "/../",
    ".",
    "%2e",
    "%2E%2e",
    "%2f",
    "%5c",
    "%00",
    "%25",
    "%252e",
    "%",
    ";",
    "?",
    "//",
    "\\",
    "*",
    "a",
    "%61",
    "@",
    ":",
    "|",
    "{",
    "\"",
    "http://",
    "evil.test",
    "%0d%0a",
    "%c0%af",
    "~",
    "'",
    "&",
];

/// A URI that is near the list: a sound one with a few parts put in, left out or put last.
fn near_the_list(random: &mut Random, ports: [u16; 2]) -> String {
    let mut authority = String::new();
    if random.below(4) > 0 {
        authority.push_str(HOST);
    }
    for _ in 0..random.below(3) {
        authority.insert_str(0, random.pick(AUTHORITY_PARTS));
    }
    for _ in 0..random.below(3) {
        authority.push_str(random.pick(AUTHORITY_PARTS));
    }
    if random.below(8) > 0 {
        authority.push_str(&format!(":{}", ports[usize::from(random.below(8) == 0)]));
    }
    let mut path = String::from(if random.below(3) > 0 { "/public/" } else { "/" });
    for _ in 0..random.below(6) {
        path.push_str(random.pick(PATH_PARTS));
    }
    let scheme = random.pick(&["http", "http", "http", "http", "HTTP", "https", "ftp", "ws"]);
    format!("{scheme}://{authority}{path}")
}

#[tokio::test]
async fn a_hundred_thousand_fuzzed_requests_reach_the_listed_server_or_none() {
    let servers = Servers::start().await;
    let ports = [servers.listed.port(), servers.other_port.port()];
    let mut random = Random(0x666f_7265_7368_6f72);
    let mut world = servers.world();
    let (mut written, mut reached) = (0, 0);
    while written < 100_000 {
        let text = near_the_list(&mut random, ports);
        let Ok(uri) = text.parse::<http::Uri>() else { continue };
        written += 1;
        // A new call now and then, before its budget ends.
        if written % 5_000 == 0 {
            world = servers.world();
        }
        let method = random.pick(&["GET", "GET", "GET", "HEAD", "POST", "CONNECT", "TRACE"]);
        reached += usize::from(tried(&servers, &world, method, uri).await);
    }
    assert_eq!(servers.connections(), [reached, 0, 0]);
    assert!((1_000..50_000).contains(&reached), "{reached} of {written} got through: no test");
    servers.assert_only_listed();
}
