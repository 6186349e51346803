//! An absolute URL, taken apart as far as a request needs it.
//!
//! Deliberately little: the host parses the URL again, by the full rules, before it decides. What
//! is refused here is what could mean two things to two readers.

use crate::Error;

/// Scheme, authority, and path with query of an absolute `http` or `https` URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Whether the scheme is `https`.
    pub is_https: bool,
    /// `host` or `host:port`.
    pub authority: String,
    /// `/path?query`; letters that may not stand in a URL are percent-encoded.
    pub path_with_query: String,
}

impl Url {
    /// Takes a URL apart; a fragment is left out, since it is never sent.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a URL of another scheme, without a host, with a user name, or with
    /// control characters.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let refused = |why: &str| Error::invalid("", format!("no URL to fetch: {why}: {text:?}"));
        if text.chars().any(char::is_control) {
            return Err(refused("it holds control characters"));
        }
        let (scheme, rest) = text
            .trim()
            .split_once("://")
            .ok_or_else(|| refused("it does not start with https:// or http://"))?;
        let is_https = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(refused("its scheme is neither https nor http")),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        // A backslash parts host and path for a browser and belongs to the host for others.
        let end = rest.find(['/', '?', '\\']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return Err(refused("it holds a user name"));
        }
        if authority.is_empty() || authority.starts_with(':') {
            return Err(refused("it names no host"));
        }
        if path.starts_with('\\') || !authority.is_ascii() || authority.contains([' ', '%']) {
            return Err(refused("its host is not written in plain letters"));
        }
        let slash = if path.starts_with('/') { "" } else { "/" };
        let path_with_query = format!("{slash}{}", encoded(path));
        Ok(Self { is_https, authority: authority.to_ascii_lowercase(), path_with_query })
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.is_https { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.path_with_query)
    }
}

/// Percent-encodes what may not stand in a path or query (RFC 3986), and leaves the rest, existing
/// percent signs included, as it is.
fn encoded(path: &str) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte) {
            text.push(char::from(byte));
        } else {
            write!(text, "%{byte:02X}").expect("invariant: a String takes any text");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let url = Url::parse("HTTPS://Example.com:8443/a b/ä?q=1&x=%20#part").expect("a URL");
        assert!(url.is_https);
        assert_eq!(url.authority, "example.com:8443");
        assert_eq!(url.path_with_query, "/a%20b/%C3%A4?q=1&x=%20");
        let bare = Url::parse("http://[::1]:80?q").expect("a URL");
        assert_eq!((bare.authority.as_str(), bare.path_with_query.as_str()), ("[::1]:80", "/?q"));
        assert_eq!(bare.to_string(), "http://[::1]:80/?q");
    }

    #[test]
    fn what_could_mean_two_things_is_refused() {
        let cases = [
            ("example.com/x", "does not start with"),
            ("ftp://example.com/", "neither https nor http"),
            ("https://", "names no host"),
            ("https://:80/", "names no host"),
            ("https://user:word@example.com/", "user name"),
            ("https://good.example\\@evil.example/", "plain letters"),
            ("https://ex%61mple.com/", "plain letters"),
            ("https://example.com/\r\nHost: x", "control characters"),
        ];
        for (text, expected) in cases {
            let error = Url::parse(text).expect_err(text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
