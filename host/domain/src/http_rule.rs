//! One line of an egress allow-list: `GET,HEAD https://api.example.org/v2/*`.
//!
//! ```text
//! METHOD[,METHOD] SCHEME://HOST[:PORT]/PATH
//! ```
//!
//! - METHOD: as it is sent, in capitals; `*` is any. CONNECT, TRACE and TRACK are never let out.
//! - SCHEME: `http` or `https`.
//! - HOST: a name, `*.example.org` (one or more labels more, never `example.org` itself), or an
//!   IP literal in its canonical form, IPv6 in brackets. Names beyond ASCII are kept as IDNA.
//! - PORT: the scheme's own if left out; `:*` is any.
//! - PATH: compared with the path as it is sent, percent-decoded once. `*` is any text within one
//!   segment, and as a whole segment at least one character. `**` as a whole segment is any number
//!   of segments, none included. A last segment of `*` or `**` is everything below: `/v2/*` allows
//!   `/v2/`, `/v2/a` and `/v2/a/b`, but not `/v2`. A star itself is written `%2A`.
//!
//! The query is free, and a rule names none. What could be read in two ways is refused with a
//! message that says what to write; a request whose path could be read in two ways matches no
//! rule (see [`PathRefusal`]). A rule does not look at addresses: see [`crate::address`].

use std::fmt;
use std::str::FromStr;

use http::Method;
use url::Url;

use self::host::{HostPattern, PortPattern};
pub use self::path::PathRefusal;
use self::path::{PathPattern, decoded_segments};

mod host;
mod path;
#[cfg(test)]
mod tests;

/// Which requests are let out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRule {
    methods: Methods,
    scheme: Scheme,
    host: HostPattern,
    port: PortPattern,
    path: PathPattern,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Methods {
    Any,
    Listed(Vec<Method>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

impl Scheme {
    fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl HttpRule {
    /// Whether this rule allows a request.
    pub fn allows(&self, method: &Method, url: &Url) -> bool {
        let methods = match &self.methods {
            Methods::Any => true,
            Methods::Listed(listed) => listed.contains(method),
        };
        methods
            && !is_never_let_out(method)
            && url.scheme() == self.scheme.as_str()
            && url.username().is_empty()
            && url.password().is_none()
            && url.host().is_some_and(|host| self.host.allows(&host))
            && url.port_or_known_default().is_some_and(|port| self.port.allows(port))
            && decoded_segments(url.path()).is_ok_and(|segments| self.path.allows(&segments))
    }

    /// The narrowest rule that allows a request; `None` if no rule ever could.
    pub fn exactly(method: &Method, url: &Url) -> Option<Self> {
        let scheme = match url.scheme() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return None,
        };
        let rule = Self {
            methods: Methods::Listed(vec![method.clone()]),
            scheme,
            host: HostPattern::exactly(&url.host()?)?,
            port: PortPattern::Only(url.port_or_known_default()?),
            path: PathPattern::exactly(&decoded_segments(url.path()).ok()?),
        };
        rule.allows(method, url).then_some(rule)
    }
}

/// Whether no grant lets a method out: CONNECT makes a tunnel, TRACE and TRACK echo fields that
/// the host adds.
pub fn is_never_let_out(method: &Method) -> bool {
    ["CONNECT", "TRACE", "TRACK"].iter().any(|never| method.as_str().eq_ignore_ascii_case(never))
}

/// Why no rule can speak of a URL's path; `None` if one can.
pub fn refused_path(url: &Url) -> Option<PathRefusal> {
    decoded_segments(url.path()).err()
}

impl FromStr for HttpRule {
    type Err = HttpRuleError;

    fn from_str(text: &str) -> Result<Self, HttpRuleError> {
        parsed(text).map_err(|message| HttpRuleError {
            text: text.chars().take(200).flat_map(char::escape_debug).collect(),
            message,
        })
    }
}

fn parsed(text: &str) -> Result<HttpRule, String> {
    let (methods, target) = text
        .split_once(' ')
        .ok_or("it needs a method, one space and a URL; * stands for any method")?;
    if let Some(odd) = target.chars().find(|c| c.is_whitespace() || c.is_control()) {
        return Err(format!("{odd:?} has no place in a URL"));
    }
    let methods = parsed_methods(methods)?;
    let (scheme, rest) =
        target.split_once("://").ok_or("the URL needs a scheme: write http:// or https://")?;
    let scheme = match scheme {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        _ => return Err("the scheme is http or https, in small letters".to_owned()),
    };
    for (mark, message) in [
        ('\\', "a backslash can be read in two ways: write /"),
        ('?', "leave out the query: a rule allows every query of its path"),
        ('#', "leave out the fragment: it is never sent"),
    ] {
        if rest.contains(mark) {
            return Err(message.to_owned());
        }
    }
    let (authority, path) = match rest.find('/') {
        Some(start) => rest.split_at(start),
        None => return Err("add a path: /* for everything on the host".to_owned()),
    };
    if authority.contains('@') {
        return Err("leave out user and password: they are never sent".to_owned());
    }
    let (host, port) = host::parsed(authority, scheme.default_port())?;
    Ok(HttpRule { methods, scheme, host, port, path: path::parsed(path)? })
}

fn parsed_methods(text: &str) -> Result<Methods, String> {
    if text == "*" {
        return Ok(Methods::Any);
    }
    let mut listed = Vec::new();
    for name in text.split(',') {
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_uppercase() || b == b'-') {
            return Err(
                "methods are capitals with commas between, such as GET,HEAD; * is any".to_owned()
            );
        }
        let method = Method::from_bytes(name.as_bytes())
            .map_err(|_| format!("\"{name}\" is no HTTP method"))?;
        if is_never_let_out(&method) {
            return Err(format!("{name} is never let out"));
        }
        if !listed.contains(&method) {
            listed.push(method);
        }
    }
    Ok(Methods::Listed(listed))
}

impl fmt::Display for HttpRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.methods {
            Methods::Any => f.write_str("*")?,
            Methods::Listed(listed) => {
                for (index, method) in listed.iter().enumerate() {
                    let comma = if index == 0 { "" } else { "," };
                    write!(f, "{comma}{method}")?;
                }
            }
        }
        write!(f, " {}://{}", self.scheme.as_str(), self.host)?;
        match self.port {
            PortPattern::Any => f.write_str(":*")?,
            PortPattern::Only(port) if port == self.scheme.default_port() => {}
            PortPattern::Only(port) => write!(f, ":{port}")?,
        }
        fmt::Display::fmt(&self.path, f)
    }
}

/// A rule that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is refused: {message}; write a rule as \"GET https://api.example.org/v2/*\"")]
pub struct HttpRuleError {
    /// What was given, shortened, control characters escaped.
    pub text: String,
    /// What is wrong with it, and what to write.
    pub message: String,
}
