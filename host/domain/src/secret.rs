//! Secrets: their names, where one may go, and what is recorded of them.
//!
//! Deliberately absent: any value. A grant names a secret, and a record holds what is sealed; the
//! value is with `control` alone, which puts it into requests that a grant covers.

use std::fmt;
use std::str::FromStr;

use http::HeaderName;
use serde::{Deserialize, Serialize};
use url::{Host, Url};

use crate::conversation::Name;
use crate::event::{EventKind, NewEvent, Stream, Tenant};

/// The kinds of events about secrets, as the journal names them.
pub mod kind {
    use crate::event::EventKind;

    /// [`super::SecretSet`].
    pub const SET: &str = "secret.set";
    /// [`super::SecretRemoved`].
    pub const REMOVED: &str = "secret.removed";
    /// [`super::SecretResealed`].
    pub const RESEALED: &str = "secret.resealed";

    /// All of them.
    pub const ALL: [EventKind; 3] =
        [EventKind::SecretSet, EventKind::SecretRemoved, EventKind::SecretResealed];
}

/// What a secret is called: `[a-z0-9][a-z0-9._-]{0,63}`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretName(String);

/// What a secret is used for cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// No name.
    #[error(
        "{text:?} is no name of a secret: use 1 to 64 of a-z, 0-9, '.', '_' and '-', a letter or digit first"
    )]
    Name {
        /// What was given.
        text: String,
    },
    /// No audience.
    #[error("{text:?} is no audience: write one host, such as api.example.org or localhost:8080")]
    Audience {
        /// What was given.
        text: String,
    },
    /// No field of a request.
    #[error("{text:?} is no header that a secret can be put into: {reason}")]
    Header {
        /// What was given.
        text: String,
        /// Why not.
        reason: &'static str,
    },
    /// No name of a query parameter or of a body's field.
    #[error("{text:?} is no name of a {what}: use 1 to 256 visible characters")]
    Field {
        /// What was given.
        text: String,
        /// Of what.
        what: &'static str,
    },
    /// No prefix of a header.
    #[error("a prefix of a header is at most 256 visible characters and blanks of ASCII")]
    Prefix,
}

impl SecretName {
    /// # Errors
    /// [`SecretError::Name`].
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = text.as_bytes();
        let well_formed = bytes.len() <= 64
            && bytes.first().is_some_and(|first| plain(*first))
            && bytes.iter().all(|byte| plain(*byte) || matches!(byte, b'.' | b'_' | b'-'));
        if well_formed {
            Ok(Self(text.to_owned()))
        } else {
            Err(SecretError::Name { text: text.chars().take(64).collect() })
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SecretName {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, SecretError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for SecretName {
    type Error = SecretError;

    fn try_from(text: String) -> Result<Self, SecretError> {
        Self::parse(&text)
    }
}

impl From<SecretName> for String {
    fn from(name: SecretName) -> Self {
        name.0
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A secret that the host puts into the requests of a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretUse {
    /// Which.
    pub name: SecretName,
    /// Where in the request.
    pub place: SecretPlace,
    /// Into requests to whom, and to nobody else.
    pub audience: Audience,
}

/// Where in a request a secret is put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretPlace {
    /// A header, after a prefix.
    Header {
        /// Its name.
        name: HeaderName,
        /// What comes before the secret: `Bearer `.
        prefix: String,
    },
    /// A parameter of the query.
    Query(String),
    /// A field of a body that is a JSON object or a form.
    Body(String),
}

impl SecretPlace {
    /// A header with a prefix.
    ///
    /// # Errors
    /// [`SecretError::Header`], [`SecretError::Prefix`].
    pub fn header(name: &str, prefix: &str) -> Result<Self, SecretError> {
        let refused = |reason| SecretError::Header { text: name.to_owned(), reason };
        let header: HeaderName = name.parse().map_err(|_| refused("it is no name of one"))?;
        // What the host itself says of a request.
        const OF_THE_HOST: [&str; 16] = [
            "host",
            "connection",
            "content-length",
            "content-type",
            "content-encoding",
            "transfer-encoding",
            "accept-encoding",
            "keep-alive",
            "proxy-connection",
            "proxy-authenticate",
            "proxy-authorization",
            "te",
            "trailer",
            "upgrade",
            "http2-settings",
            "range",
        ];
        if OF_THE_HOST.contains(&header.as_str()) {
            return Err(refused("it speaks about the connection or the message"));
        }
        let is_plain = |byte: u8| (0x20..0x7f).contains(&byte);
        if prefix.len() > 256 || !prefix.bytes().all(is_plain) {
            return Err(SecretError::Prefix);
        }
        Ok(Self::Header { name: header, prefix: prefix.to_owned() })
    }

    /// A parameter of the query.
    ///
    /// # Errors
    /// [`SecretError::Field`].
    pub fn query(name: &str) -> Result<Self, SecretError> {
        field(name, "query parameter").map(Self::Query)
    }

    /// A field of the body.
    ///
    /// # Errors
    /// [`SecretError::Field`].
    pub fn body(name: &str) -> Result<Self, SecretError> {
        field(name, "body's field").map(Self::Body)
    }
}

impl fmt::Display for SecretPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header { name, .. } => write!(f, "the header \"{name}\""),
            Self::Query(name) => write!(f, "the query parameter \"{name}\""),
            Self::Body(name) => write!(f, "the body's field \"{name}\""),
        }
    }
}

fn field(name: &str, what: &'static str) -> Result<String, SecretError> {
    let is_plain = |c: char| !c.is_control() && !c.is_whitespace();
    if name.is_empty() || name.len() > 256 || !name.chars().all(is_plain) {
        return Err(SecretError::Field { text: name.chars().take(64).collect(), what });
    }
    Ok(name.to_owned())
}

/// The one host that a secret may be sent to. Without a port, that of the scheme is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audience {
    host: Host,
    port: Option<u16>,
}

impl Audience {
    /// Whether a URL leads there.
    pub fn covers(&self, url: &Url) -> bool {
        let standard = match url.scheme() {
            "https" => 443,
            "http" => 80,
            _ => return false,
        };
        url.host().is_some_and(|host| host.to_owned() == self.host)
            && url.port_or_known_default() == Some(self.port.unwrap_or(standard))
    }
}

impl FromStr for Audience {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, SecretError> {
        let refused = || SecretError::Audience { text: text.chars().take(255).collect() };
        if text.is_empty() || text.contains(['/', '\\', '?', '#', '@', '*', '%']) {
            return Err(refused());
        }
        // The parser that targets of requests are read with, so that both read the same host.
        let url = Url::parse(&format!("https://{text}/")).map_err(|_| refused())?;
        let host = url.host().ok_or_else(refused)?.to_owned();
        if matches!(&host, Host::Domain(name) if name.is_empty() || name.ends_with('.')) {
            return Err(refused());
        }
        // A port that is the scheme's own is dropped by the parser.
        let port = match text.rsplit_once(':') {
            Some((_, port)) if !text.ends_with(']') => {
                Some(port.parse().ok().filter(|port| *port != 0).ok_or_else(refused)?)
            }
            _ => None,
        };
        Ok(Self { host, port })
    }
}

impl fmt::Display for Audience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => write!(f, "{}", self.host),
        }
    }
}

/// A secret has a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretSet {
    /// Which.
    pub name: SecretName,
    /// The value, sealed.
    pub sealed: String,
    /// By whom.
    pub by: Name,
}

/// A secret has no value any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretRemoved {
    /// Which.
    pub name: SecretName,
    /// By whom.
    pub by: Name,
}

/// The value of a secret is sealed with another key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretResealed {
    /// Which.
    pub name: SecretName,
    /// The same value, sealed anew.
    pub sealed: String,
    /// By whom.
    pub by: Name,
}

macro_rules! events {
    ($($fact:ident)+) => {$(
        impl $fact {
            /// The event that records it. Secrets are the host's, as components are.
            pub fn event(&self, at_unix_ms: u64) -> NewEvent {
                let stream = Stream::Secret(self.name.as_str().to_owned());
                let payload =
                    serde_json::to_vec(self).expect("invariant: names of members are text");
                let (tenant, kind) = (Tenant::DEFAULT, EventKind::$fact);
                NewEvent { at_unix_ms, tenant, stream, kind, payload }
            }
        }
    )+};
}

events! { SecretSet SecretRemoved SecretResealed }

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(audience: &str, url: &str) -> bool {
        let audience: Audience = audience.parse().expect("an audience");
        audience.covers(&url.parse().expect("a URL"))
    }

    #[test]
    fn an_audience_is_one_host_and_one_port() {
        assert!(covers("api.example.org", "https://api.example.org/v1"));
        assert!(covers("API.example.org", "https://api.EXAMPLE.org:443/v1"));
        assert!(covers("api.example.org:8443", "https://api.example.org:8443/"));
        assert!(covers("bücher.example", "https://xn--bcher-kva.example/"));
        assert!(covers("[::1]:8080", "http://[0:0::1]:8080/"));
        assert!(covers("127.0.0.1:8080", "http://127.1:8080/"));
        for (audience, url) in [
            ("api.example.org", "https://api.example.org.evil.test/"),
            ("api.example.org", "https://evil.test/api.example.org"),
            ("api.example.org", "https://example.org/"),
            ("api.example.org", "https://a.api.example.org/"),
            ("api.example.org", "https://api.example.org:8443/"),
            ("api.example.org:443", "http://api.example.org/"),
            ("api.example.org:8443", "https://api.example.org/"),
            ("api.example.org", "https://api.example.org./"),
            ("api.example.org", "ftp://api.example.org/"),
        ] {
            assert!(!covers(audience, url), "{audience} {url}");
        }
        for bad in [
            "",
            "*.example.org",
            "https://a.test",
            "a.test/x",
            "u@a.test",
            "a.test:0",
            "a.test:x",
            "a.test.",
        ] {
            assert!(bad.parse::<Audience>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_place_is_none_that_the_host_fills_itself() {
        assert!(SecretPlace::header("Authorization", "Bearer ").is_ok());
        assert!(SecretPlace::header("x-api-key", "").is_ok());
        for bad in ["", "a b", "Host", "Content-Length", "transfer-encoding", "Connection"] {
            assert!(SecretPlace::header(bad, "").is_err(), "{bad}");
        }
        assert_eq!(SecretPlace::header("x", "a\r\nb"), Err(SecretError::Prefix));
        assert!(SecretPlace::query("key").is_ok() && SecretPlace::body("api_key").is_ok());
        assert!(SecretPlace::query("").is_err() && SecretPlace::body("a b").is_err());
    }

    #[test]
    fn a_name_is_short_and_plain() {
        for good in ["a", "api-key", "0.x_y"] {
            assert_eq!(SecretName::parse(good).map(|name| name.to_string()).as_deref(), Ok(good));
        }
        for bad in ["", "A", "-a", "a b", "a]", "é", &"x".repeat(65)] {
            assert!(SecretName::parse(bad).is_err(), "{bad}");
        }
    }
}
