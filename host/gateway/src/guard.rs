//! What a request's head must satisfy before anything else looks at it.
//!
//! hyper refuses what is not HTTP (control characters, conflicting lengths, unknown transfer
//! codings). This refuses what is HTTP and not for us: proxy forms, a foreign `Host` (DNS
//! rebinding), a foreign `Origin` (a web page that posts here), and heads that are too large.
//! It does not look at the body, nor at who asks.

use std::net::IpAddr;

use http::header::{HOST, ORIGIN};
use http::request::Parts;
use http::{HeaderMap, Method, Uri};

use crate::config::{EdgeLimits, GatewayConfig, size};
use crate::problem::{Problem, Refusal};

/// Checks one request's head. `local` is the address that the client connected to.
pub(crate) fn check(config: &GatewayConfig, local: IpAddr, head: &Parts) -> Result<(), Refusal> {
    check_target(&config.limits, &head.uri)?;
    check_size(&config.limits, head)?;
    let host = check_host(config, local, &head.headers)?;
    if is_unsafe(&head.method) {
        check_origin(config, host, &head.headers)?;
    }
    Ok(())
}

/// Methods that change things (RFC 9110, section 9.2.1).
fn is_unsafe(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Only the origin form (RFC 9112, section 3.2.1) means this server; the others are for proxies.
fn check_target(limits: &EdgeLimits, uri: &Uri) -> Result<(), Refusal> {
    if uri.scheme().is_some() || uri.authority().is_some() || !uri.path().starts_with('/') {
        return Err(Problem::target_form());
    }
    let length = uri.path_and_query().map_or(0, |target| target.as_str().len());
    if length > size(limits.target_max_bytes) {
        return Err(Problem::target_too_long(limits.target_max_bytes));
    }
    Ok(())
}

fn check_size(limits: &EdgeLimits, head: &Parts) -> Result<(), Refusal> {
    if head.headers.len() > size(limits.headers_max) {
        return Err(Problem::too_many_headers(limits.headers_max));
    }
    // Request line and fields as they came, but for optional white space.
    let line = head.method.as_str().len() + head.uri.path().len() + " HTTP/1.1\r\n".len();
    let fields: usize =
        head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if line + fields > size(limits.head_max_bytes) {
        return Err(Problem::head_too_large(limits.head_max_bytes));
    }
    Ok(())
}

fn check_host<'a>(
    config: &GatewayConfig,
    local: IpAddr,
    headers: &'a HeaderMap,
) -> Result<&'a str, Refusal> {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err(Problem::host_required());
    };
    let text = host.to_str().map_err(|_| Problem::host_required())?;
    let authority = Authority::parse(text).ok_or_else(Problem::host_required)?;
    if authority.is_allowed(config, local) {
        Ok(text)
    } else {
        Err(Problem::host_not_allowed(authority.host))
    }
}

/// Browsers send `Origin` with every request that changes things; programs send none.
fn check_origin(config: &GatewayConfig, host: &str, headers: &HeaderMap) -> Result<(), Refusal> {
    let allowed = headers.get_all(ORIGIN).iter().all(|origin| {
        origin.to_str().is_ok_and(|origin| {
            is_same_origin(origin, host)
                || config.origins.iter().any(|known| known.eq_ignore_ascii_case(origin))
        })
    });
    if allowed { Ok(()) } else { Err(Problem::origin_not_allowed()) }
}

fn is_same_origin(origin: &str, host: &str) -> bool {
    origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"))
        .is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

/// `host[:port]`, with an IPv6 address in brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Authority<'a> {
    /// A name or an address; an IPv6 address without its brackets.
    pub(crate) host: &'a str,
    /// The port, if there is one.
    pub(crate) port: Option<u16>,
}

impl<'a> Authority<'a> {
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        if let Some(rest) = text.strip_prefix('[') {
            let (host, port) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            let port = if port.is_empty() { None } else { Some(port.strip_prefix(':')?) };
            return Some(Self { host, port: parse_port(port)? });
        }
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        };
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        let fine = (1..=253).contains(&host.len()) && host.bytes().all(is_name);
        fine.then_some(Self { host, port: parse_port(port)? })
    }

    fn is_allowed(&self, config: &GatewayConfig, local: IpAddr) -> bool {
        match self.host.parse::<IpAddr>() {
            // An address is not a name that somebody could point elsewhere.
            Ok(address) => address.is_loopback() || address == local || self.is_listed(config),
            Err(_) => self.host.eq_ignore_ascii_case("localhost") || self.is_listed(config),
        }
    }

    fn is_listed(&self, config: &GatewayConfig) -> bool {
        config.hosts.iter().any(|known| {
            let known = known.trim_matches(['[', ']']);
            known.eq_ignore_ascii_case(self.host)
        })
    }
}

/// The outer `None` is a port that is not one.
fn parse_port(text: Option<&str>) -> Option<Option<u16>> {
    match text {
        None => Some(None),
        // `u16` would also parse "+80".
        Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok().map(Some),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 168, 1, 5));

    fn head(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect("valid").into_parts().0
    }

    fn code(config: &GatewayConfig, head: &Parts) -> Option<&'static str> {
        check(config, LOCAL, head).err().map(|problem| problem.code)
    }

    #[test]
    fn a_host_that_nobody_configured_is_refused() {
        let config =
            GatewayConfig { hosts: vec!["Foreshore.Example".into()], ..GatewayConfig::default() };
        let with = |host: &str| code(&config, &head("GET", "/", &[("host", host)]));
        for fine in [
            "localhost",
            "LOCALHOST:7433",
            "127.0.0.1:1",
            "127.9.9.9",
            "[::1]:7433",
            "192.168.1.5",
            "foreshore.example:80",
        ] {
            assert_eq!(with(fine), None, "{fine}");
        }
        for foreign in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "0.0.0.0",
            "10.0.0.1",
            "[::]",
            "xlocalhost",
        ] {
            assert_eq!(with(foreign), Some("host_not_allowed"), "{foreign}");
        }
        for broken in [
            "",
            "a b",
            "localhost:",
            "localhost:x",
            "localhost:99999",
            "user@localhost",
            "[::1",
            "[::1]x",
            "localhost/",
        ] {
            assert_eq!(with(broken), Some("host_required"), "{broken}");
        }
    }

    #[test]
    fn exactly_one_host_is_wanted() {
        let config = GatewayConfig::default();
        assert_eq!(code(&config, &head("GET", "/", &[])), Some("host_required"));
        let two = head("GET", "/", &[("host", "localhost"), ("host", "localhost")]);
        assert_eq!(code(&config, &two), Some("host_required"));
    }

    #[test]
    fn a_foreign_origin_cannot_change_things_and_can_read_nothing() {
        let config = GatewayConfig {
            origins: vec!["https://console.example".into()],
            ..GatewayConfig::default()
        };
        let with = |method: &str, origin: &str| {
            code(&config, &head(method, "/", &[("host", "localhost:7433"), ("origin", origin)]))
        };
        for method in ["POST", "PUT", "DELETE", "PATCH"] {
            for fine in
                ["http://localhost:7433", "https://localhost:7433", "https://console.example"]
            {
                assert_eq!(with(method, fine), None, "{method} {fine}");
            }
            for foreign in [
                "null",
                "http://evil.example",
                "http://localhost",
                "http://localhost:1",
                "https://console.example.evil",
                "file://",
            ] {
                assert_eq!(with(method, foreign), Some("origin_not_allowed"), "{method} {foreign}");
            }
        }
        assert_eq!(with("GET", "http://evil.example"), None);
    }

    #[test]
    fn only_the_origin_form_is_for_us() {
        let config = GatewayConfig::default();
        let host = [("host", "localhost")];
        for form in ["http://localhost/v1/tools", "localhost:80", "*"] {
            assert_eq!(code(&config, &head("GET", form, &host)), Some("target_form"), "{form}");
        }
    }

    #[test]
    fn heads_are_bounded_in_target_count_and_size() {
        let config = GatewayConfig::default();
        let long = format!("/{}", "a".repeat(2_048));
        assert_eq!(
            code(&config, &head("GET", &long, &[("host", "localhost")])),
            Some("target_too_long")
        );
        let mut many = vec![("x-a", "1"); 63];
        many.push(("host", "localhost"));
        assert_eq!(code(&config, &head("GET", "/", &many)), None);
        many.push(("x-a", "1"));
        assert_eq!(code(&config, &head("GET", "/", &many)), Some("too_many_headers"));
        let large = "a".repeat(16 << 10);
        let large = head("GET", "/", &[("host", "localhost"), ("x-a", &large)]);
        assert_eq!(code(&config, &large), Some("head_too_large"));
    }
}
