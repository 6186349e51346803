//! What rules mean, one behaviour a test; properties and fuzzing are in `tests/http_rule_fuzz.rs`.

use http::Method;
use url::Url;

use super::{HttpRule, PathRefusal, refused_path};

fn rule(text: &str) -> HttpRule {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

fn url(text: &str) -> Url {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[track_caller]
fn assert_allows(text: &str, allowed: &[&str], denied: &[&str]) {
    let rule = rule(text);
    for target in allowed {
        assert!(rule.allows(&Method::GET, &url(target)), "{text} should allow {target}");
    }
    for target in denied {
        assert!(!rule.allows(&Method::GET, &url(target)), "{text} should deny {target}");
    }
}

#[test]
fn methods_are_compared_exactly_and_a_star_is_any() {
    let target = url("https://a.example/x");
    for (text, method, allowed) in [
        ("GET https://a.example/x", "GET", true),
        ("GET https://a.example/x", "POST", false),
        ("GET https://a.example/x", "get", false),
        ("GET,HEAD https://a.example/x", "HEAD", true),
        ("* https://a.example/x", "PATCH", true),
        ("* https://a.example/x", "M-SEARCH", true),
        ("* https://a.example/x", "CONNECT", false),
        ("* https://a.example/x", "connect", false),
        ("* https://a.example/x", "TRACE", false),
    ] {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        assert_eq!(rule(text).allows(&method, &target), allowed, "{text} {method}");
    }
}

#[test]
fn scheme_and_port_are_part_of_a_rule() {
    assert_allows(
        "GET https://a.example/*",
        &["https://a.example/", "https://a.example:443/", "HTTPS://A.EXAMPLE/x"],
        &[
            "http://a.example/",
            "https://a.example:8443/",
            "http://a.example:443/",
            "ftp://a.example/",
        ],
    );
    assert_allows(
        "GET http://a.example:8080/*",
        &["http://a.example:8080/"],
        &["http://a.example/"],
    );
    assert_allows(
        "GET http://a.example:*/*",
        &["http://a.example/", "http://a.example:1/", "http://a.example:65535/"],
        &["https://a.example/", "http://b.example/"],
    );
}

#[test]
fn a_wildcard_host_is_below_and_never_the_apex() {
    assert_allows(
        "GET https://*.example.org/*",
        &["https://a.example.org/", "https://a.b.example.org/", "https://A_1.Example.ORG/"],
        &[
            "https://example.org/",
            "https://.example.org/",
            "https://a..example.org/",
            "https://a.example.org./",
            "https://aexample.org/",
            "https://a.example.org.evil.test/",
            "https://a.notexample.org/",
            "https://*.example.org/",
            "https://127.0.0.1/",
        ],
    );
}

#[test]
fn a_host_is_one_however_it_is_spelled() {
    assert_allows(
        "GET https://bücher.example/*",
        &["https://xn--bcher-kva.example/", "https://BÜCHER.example/"],
        &["https://bucher.example/"],
    );
    assert_eq!(
        rule("GET https://bücher.example/*").to_string(),
        "GET https://xn--bcher-kva.example/*"
    );
    assert_allows(
        "GET http://127.0.0.1/*",
        &["http://2130706433/", "http://0x7f.1/"],
        &["http://[::1]/"],
    );
    assert_allows("GET http://[::1]/*", &["http://[0:0::1]/"], &["http://[::ffff:127.0.0.1]/"]);
}

#[test]
fn a_star_stays_within_its_segment() {
    assert_allows(
        "GET https://a.example/users/*/name",
        &["https://a.example/users/7/name", "https://a.example/users/%20/name"],
        &[
            "https://a.example/users/name",
            "https://a.example/users//name",
            "https://a.example/users/7/8/name",
            "https://a.example/users/7/name/x",
            "https://a.example/Users/7/name",
        ],
    );
    assert_allows(
        "GET https://a.example/v*.*.json",
        &["https://a.example/v1.2.json", "https://a.example/v..json"],
        &["https://a.example/v1.json", "https://a.example/v1/2.json", "https://a.example/v.json"],
    );
}

#[test]
fn a_last_star_is_everything_below_and_two_stars_are_any_depth() {
    for text in ["GET https://a.example/v2/*", "GET https://a.example/v2/**"] {
        assert_allows(
            text,
            &["https://a.example/v2/", "https://a.example/v2/a", "https://a.example/v2/a/b/?q=1"],
            &["https://a.example/v2", "https://a.example/v20/a", "https://a.example/"],
        );
        assert_eq!(rule(text).to_string(), "GET https://a.example/v2/*");
    }
    assert_allows(
        "GET https://a.example/a/**/z",
        &["https://a.example/a/z", "https://a.example/a/b/z", "https://a.example/a/z/z/y/z"],
        &["https://a.example/a/b", "https://a.example/z", "https://a.example/a/zz"],
    );
    assert_allows(
        "GET https://a.example/",
        &["https://a.example", "https://a.example/?x"],
        &["https://a.example/x"],
    );
}

#[test]
fn paths_are_compared_decoded_once_and_after_dots_are_resolved() {
    assert_allows(
        "GET https://a.example/public/*",
        &[
            "https://a.example/%70ublic/x",
            "https://a.example/x/../public/y",
            "https://a.example/public/%C3%A4",
        ],
        &[
            "https://a.example/public/../admin",
            "https://a.example/public/%2e%2e/admin",
            "https://a.example/public\\..\\admin",
        ],
    );
    assert_allows(
        "GET https://a.example/a%2Ab",
        &["https://a.example/a*b", "https://a.example/a%2ab"],
        &["https://a.example/axb"],
    );
}

#[test]
fn a_path_that_could_be_read_in_two_ways_matches_no_rule() {
    let everything = rule("* https://a.example/**");
    for (path, refusal) in [
        ("/a%2fb", PathRefusal::HiddenSlash),
        ("/a%2Fb", PathRefusal::HiddenSlash),
        ("/a%5cb", PathRefusal::HiddenSlash),
        ("/..%2fadmin", PathRefusal::HiddenSlash),
        ("/a%00", PathRefusal::HiddenControl),
        ("/a%0d%0aX", PathRefusal::HiddenControl),
        ("/a%7f", PathRefusal::HiddenControl),
        ("/..;/admin", PathRefusal::HiddenDots),
        ("/%2e%2e;a=b/admin", PathRefusal::HiddenDots),
        ("/.;/x", PathRefusal::HiddenDots),
        ("/..%3b/x", PathRefusal::HiddenDots),
        ("/%252e%252e/admin", PathRefusal::EncodedTwice),
        ("/a%252fb", PathRefusal::EncodedTwice),
        ("/a%25252fb", PathRefusal::EncodedTwice),
        ("/a%25c0%25af", PathRefusal::EncodedTwice),
        ("/a%c0%afb", PathRefusal::NotUtf8),
        ("/%ff", PathRefusal::NotUtf8),
        ("/100%", PathRefusal::BrokenEncoding),
        ("/%zz", PathRefusal::BrokenEncoding),
        ("/%1", PathRefusal::BrokenEncoding),
        ("/%u002f", PathRefusal::BrokenEncoding),
    ] {
        let target = url(&format!("https://a.example{path}"));
        assert_eq!(refused_path(&target), Some(refusal), "{path}");
        assert!(!everything.allows(&Method::GET, &target), "{path}");
    }
    assert_eq!(refused_path(&url("https://a.example/100%25/a%20b/ä;v=1/...")), None);
}

#[test]
fn a_url_with_user_or_password_matches_no_rule() {
    assert_allows(
        "GET https://a.example/*",
        &[],
        &["https://u@a.example/", "https://:p@a.example/", "https://u:p@a.example/"],
    );
}

#[test]
fn a_rule_that_is_not_clear_is_refused_and_says_what_to_write() {
    for (text, hint) in [
        ("", "a method"),
        ("https://a.example/*", "a method"),
        ("GET a.example/*", "http:// or https://"),
        ("GET //a.example/*", "http:// or https://"),
        ("GET ftp://a.example/*", "http or https"),
        ("GET HTTPS://a.example/*", "small letters"),
        ("get https://a.example/*", "capitals"),
        ("GET, HEAD https://a.example/*", "no place"),
        (",GET https://a.example/*", "capitals"),
        ("CONNECT https://a.example/*", "never let out"),
        ("TRACE https://a.example/*", "never let out"),
        ("GET  https://a.example/*", "no place"),
        ("GET https://a.example/* ", "no place"),
        ("GET https://a.example/\r\n", "no place"),
        ("GET https://a.example/a\0", "no place"),
        ("GET https://*", "add a path"),
        ("GET https://*/*", "every host"),
        ("GET https://*:443/*", "every host"),
        ("GET https://a.example", "add a path"),
        ("GET https:///x", "no host"),
        ("GET https://:443/x", "no host"),
        ("GET https://*.com/*", "two labels"),
        ("GET https://*.localhost/*", "two labels"),
        ("GET https://a*.example.org/*", "whole label"),
        ("GET https://*a.example.org/*", "whole label"),
        ("GET https://a.*.example.org/*", "whole label"),
        ("GET https://**.example.org/*", "whole label"),
        ("GET https://*.*.example.org/*", "whole label"),
        ("GET https://*.127.0.0.1/*", "names below"),
        ("GET https://*.[::1]/*", "names below"),
        ("GET https://a..example/*", "no host"),
        ("GET https://.a.example/*", "no host"),
        ("GET https://a.example./*", "dot at the end"),
        ("GET https://a%2eexample/*", "percent"),
        ("GET https://a_b!.example/*", "no host"),
        ("GET https://u@a.example/*", "user and password"),
        ("GET https://u:p@a.example/*", "user and password"),
        ("GET https://a.example/*?q=1", "query"),
        ("GET https://a.example/*#top", "fragment"),
        ("GET https://a.example\\x/", "backslash"),
        ("GET https://a.example:0/*", "65535"),
        ("GET https://a.example:080/*", "65535"),
        ("GET https://a.example:65536/*", "65535"),
        ("GET https://a.example:/*", "65535"),
        ("GET https://a.example:+80/*", "65535"),
        ("GET http://127.1/*", "127.0.0.1"),
        ("GET http://0x7f000001/*", "127.0.0.1"),
        ("GET http://2130706433/*", "127.0.0.1"),
        ("GET http://[0:0::1]/*", "[::1]"),
        ("GET http://[::ffff:127.0.0.1]/*", "127.0.0.1"),
        ("GET http://::1/*", "brackets"),
        ("GET http://[::1/*", "brackets"),
        ("GET https://a.example/a**b", "whole segment"),
        ("GET https://a.example/../x", "\"..\""),
        ("GET https://a.example/%2e%2e/x", "\"..\""),
        ("GET https://a.example/a%2fb", "slash"),
        ("GET https://a.example/a%00b", "control"),
        ("GET https://a.example/%zz", "%25"),
        ("GET https://a.example/%252e", "twice"),
    ] {
        let error = text.parse::<HttpRule>().expect_err(text);
        assert!(error.message.contains(hint), "{text:?}: {error}");
        assert!(error.to_string().contains("write a rule as"), "{error}");
    }
}

#[test]
fn the_narrowest_rule_can_be_written_down_and_allows_just_its_request() {
    for target in [
        "https://a.example/",
        "https://a.example/a%20b/c*d/e'f/**/%2A/ä\"?q=1",
        "http://a.example:8080//x//",
        "http://[::1]:1/x",
        "http://10.0.0.1/x;y=z",
    ] {
        let target = url(target);
        let exact = HttpRule::exactly(&Method::PUT, &target).expect("a rule");
        let written = exact.to_string();
        assert!(!written.contains(['\'', '"']), "{written}");
        assert_eq!(rule(&written), exact, "{written}");
        assert!(exact.allows(&Method::PUT, &target), "{written}");
        assert!(!exact.allows(&Method::GET, &target), "{written}");
        let mut other = target.clone();
        other.set_path("/else");
        assert!(!exact.allows(&Method::PUT, &other), "{written}");
    }
    for target in
        ["https://a.example./", "https://a.example/%2f", "http://[::ffff:1.1.1.1]/", "ftp://a/"]
    {
        assert_eq!(HttpRule::exactly(&Method::GET, &url(target)), None, "{target}");
    }
}

#[test]
fn no_spelling_of_a_special_address_or_look_alike_gets_through_a_rule_for_a_name() {
    let rules = [rule("* http://example.com:*/**"), rule("* http://*.example.com:*/**")];
    let spellings = include_str!("../../tests/address_spellings.txt");
    let spellings: Vec<&str> = spellings.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(spellings.len() >= 120, "{}", spellings.len());
    let mut addresses = 0;
    for spelling in spellings {
        let Ok(target) = Url::parse(&format!("http://{spelling}/")) else { continue };
        let address = match target.host() {
            Some(url::Host::Ipv4(address)) => Some(address.into()),
            Some(url::Host::Ipv6(address)) => Some(address.into()),
            Some(url::Host::Domain(_)) | None => None,
        };
        if let Some(address) = address {
            addresses += 1;
            let class = crate::address::AddressClass::of(address);
            assert!(!class.is_global(), "{spelling} is {address}, taken for global");
        }
        for rule in &rules {
            assert!(!rule.allows(&Method::GET, &target), "{rule} lets {spelling} through");
        }
    }
    assert!(addresses >= 120, "only {addresses} spellings are addresses: the table has rotted");
}
