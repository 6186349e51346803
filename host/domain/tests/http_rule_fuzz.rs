//! Properties of egress rules: reading one never panics, writing one loses nothing, and none
//! ever allows another host than it names. The corpus beside this file is replayed on each run.

use bolero::check;
use foreshore_domain::http_rule::HttpRule;
use http::Method;
use proptest::prelude::*;
use url::Url;

/// Parts of rules and URLs that have a meaning somewhere.
const PARTS: &[&str] = &[
    "GET",
    "POST",
    "*",
    ",",
    " ",
    "http",
    "https",
    "://",
    "/",
    "//",
    "\\",
    "**",
    "/*",
    "/**",
    "/..",
    "/.",
    "%2e",
    "%2f",
    "%5c",
    "%00",
    "%25",
    "%",
    ";",
    "?",
    "#",
    "@",
    ":",
    ":*",
    ":80",
    ":443",
    ":8080",
    "example.com",
    "example.org",
    "*.example.com",
    "a.example.com",
    "EXAMPLE.COM",
    "example.com.",
    "evil.test",
    "127.0.0.1",
    "0x7f.1",
    "2130706433",
    "[::1]",
    "[::ffff:1.2.3.4]",
    "localhost",
    "ß",
    "．",
    "\t",
    "\n",
    "\0",
    "a",
    "b",
    "-",
    "_",
    ".",
    "xn--",
    "user:pw@",
    "~",
];

fn assembled(choices: &[u8]) -> String {
    choices.iter().map(|choice| PARTS[usize::from(*choice) % PARTS.len()]).collect()
}

/// The checks that hold for every rule and every URL.
fn check_pair(rule: &str, target: &str) {
    let parsed = rule.parse::<HttpRule>();
    if let Ok(parsed) = &parsed {
        let written = parsed.to_string();
        assert_eq!(written.parse().as_ref(), Ok(parsed), "{rule:?} was written as {written:?}");
    }
    let Ok(target) = Url::parse(target) else { return };
    if let Ok(parsed) = &parsed
        && parsed.allows(&Method::GET, &target)
    {
        check_host(&parsed.to_string(), &target);
    }
    if let Some(exact) = HttpRule::exactly(&Method::GET, &target) {
        let read_back: HttpRule = exact.to_string().parse().expect("the narrowest rule is a rule");
        assert_eq!(read_back, exact);
        assert!(read_back.allows(&Method::GET, &target), "{exact} does not allow {target}");
    }
}

/// The reference: text alone, from the target as it would be sent, without the rule's own code.
fn check_host(rule: &str, target: &Url) {
    let authority = |text: &str| {
        let (_, rest) = text.split_once("://").expect("has a scheme");
        let end = rest.find('/').expect("has a path");
        let authority = &rest[..end];
        let port = if authority.ends_with(']') { None } else { authority.rfind(':') };
        authority[..port.unwrap_or(end)].to_owned()
    };
    let (allowed, dialled) = (authority(rule), authority(target.as_str()));
    match allowed.strip_prefix('*') {
        None => assert_eq!(dialled, allowed, "{rule} allows {target}"),
        Some(suffix) => {
            assert!(dialled.ends_with(suffix), "{rule} allows {target}");
            assert!(dialled.len() > suffix.len(), "{rule} allows the apex {target}");
            assert!(!dialled.starts_with('.') && !dialled.contains(".."), "{rule} allows {target}");
        }
    }
}

#[test]
fn any_bytes() {
    check!().for_each(|input: &[u8]| {
        let text = String::from_utf8_lossy(input);
        let (rule, target) = text.split_once("\n---\n").unwrap_or((&text, &text));
        check_pair(rule, target);
        let _ = target.parse::<HttpRule>();
    });
}

#[test]
fn parts_that_mean_something() {
    check!().with_iterations(20_000).with_type::<(Vec<u8>, Vec<u8>)>().for_each(
        |(rule, target)| {
            check_pair(&assembled(rule), &assembled(target));
            // Most assemblies fail at the first part, so go on from a sound beginning as well.
            let rule = format!("* http://example.com{}", assembled(rule));
            check_pair(&rule, &format!("http://example.com{}", assembled(target)));
            check_pair("* http://*.example.com:*/**", &format!("http://{}", assembled(target)));
            check_pair("* http://example.com:*/**", &format!("http:{}", assembled(target)));
        },
    );
}

/// A path pattern read in the plainest way there is.
fn plain_match(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern, path) {
        ([], []) => true,
        (["*" | "**"], path) => !path.is_empty(),
        (["**", rest @ ..], path) => (0..=path.len()).any(|skip| plain_match(rest, &path[skip..])),
        ([first, rest @ ..], [part, path @ ..]) => {
            let first: Vec<char> = first.chars().collect();
            let part: Vec<char> = part.chars().collect();
            let bare_star = first == ['*'] && part.is_empty();
            !bare_star && plain_text_match(&first, &part) && plain_match(rest, path)
        }
        _ => false,
    }
}

fn plain_text_match(pattern: &[char], text: &[char]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        (['*', rest @ ..], text) => {
            (0..=text.len()).any(|skip| plain_text_match(rest, &text[skip..]))
        }
        ([a, rest @ ..], [b, text @ ..]) => a == b && plain_text_match(rest, text),
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_path_matches_as_the_plainest_reading_says(
        pattern in prop::collection::vec("[ab]?\\*?[ab]{1,2}\\*?|\\*|\\*\\*|", 1..6),
        path in prop::collection::vec("[ab]{0,3}", 1..7),
    ) {
        let rule: HttpRule =
            format!("GET http://a.example/{}", pattern.join("/")).parse().expect("a rule");
        let target = Url::parse(&format!("http://a.example/{}", path.join("/"))).expect("a URL");
        let pattern: Vec<&str> = pattern.iter().map(String::as_str).collect();
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        prop_assert_eq!(
            rule.allows(&Method::GET, &target),
            plain_match(&pattern, &path),
            "{} {}", rule, target
        );
    }

    #[test]
    fn any_url_can_be_granted_by_the_line_its_denial_shows(
        path in "(/[a-zA-Z0-9 äß*'\"$&()+,;=:@!~._-]{0,8}){1,5}", port in 1_u16.., https: bool,
    ) {
        let scheme = if https { "https" } else { "http" };
        let target = Url::parse(&format!("{scheme}://a.example:{port}{path}")).expect("a URL");
        match HttpRule::exactly(&Method::GET, &target) {
            Some(rule) => {
                let read_back: HttpRule = rule.to_string().parse().expect("a rule");
                prop_assert!(read_back.allows(&Method::GET, &target));
            }
            None => prop_assert!(foreshore_domain::http_rule::refused_path(&target).is_some()),
        }
    }
}
