//! The arguments of `request`, and the first request they make.
//!
//! The invariant: a header that frames the message or names the host is the host's to write, so
//! one that the caller gives is refused and not sent.

use std::collections::BTreeMap;

use base64::Engine as _;
use schemars::JsonSchema;
use serde::Deserialize;
use url::Url;

use crate::answer::Wanted;
use crate::exchange::{Hop, Method, REDIRECTS_MAX};
use crate::failure::Failure;

const MAX_BYTES_CEILING: u32 = 2 << 20;
const USER_AGENT: &str = concat!("foreshore-fetch/", env!("CARGO_PKG_VERSION"));

/// Headers that the host writes.
const RESERVED: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Arguments of `request`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Arguments {
    /// Absolute http or https address, such as `https://example.com/search?q=reef`.
    #[schemars(length(min = 1, max = 8192))]
    url: String,
    #[serde(default)]
    method: Method,
    /// Headers to send, by name: {"accept-language": "de"}. Accept and user-agent are set where
    /// they are not given.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Body: a text. At most one of `text`, `json` and `base64`.
    #[serde(default)]
    text: Option<String>,
    /// Body: a JSON value, sent as application/json.
    #[serde(default)]
    json: Option<serde_json::Value>,
    /// Body: bytes in base64.
    #[serde(default)]
    base64: Option<String>,
    /// The form in which the body of the answer is wanted.
    #[serde(default, rename = "as")]
    pub(crate) wanted: Wanted,
    /// The most bytes of the answer's body to read; the rest is left unread.
    #[serde(default = "bytes_default")]
    #[schemars(range(min = 1, max = 2097152))]
    max_bytes: u32,
    /// How many redirects to follow; with 0 a redirect is the answer.
    #[serde(default = "redirects_default")]
    #[schemars(range(min = 0, max = 5))]
    max_redirects: u32,
    /// The most milliseconds to wait for each step: to connect, for the first byte, between two.
    /// The deadline of the call holds all the same.
    #[serde(default)]
    #[schemars(range(min = 1, max = 60000))]
    pub(crate) timeout_ms: Option<u32>,
}

impl Arguments {
    pub(crate) fn max_bytes(&self) -> usize {
        usize::try_from(self.max_bytes.clamp(1, MAX_BYTES_CEILING)).unwrap_or(usize::MAX)
    }

    pub(crate) fn max_redirects(&self) -> u32 {
        self.max_redirects.min(REDIRECTS_MAX)
    }

    /// The request before any redirect.
    ///
    /// # Errors
    /// An address, a header or a body that cannot be sent.
    pub(crate) fn hop(&self) -> Result<Hop, Failure> {
        let url = address(&self.url)?;
        let mut headers = self.checked_headers()?;
        let (body, content_type) = self.body()?;
        let mut add_default = |name: &str, value: &str| {
            if !headers.iter().any(|(known, _)| known == name) {
                headers.push((name.to_owned(), value.to_owned()));
            }
        };
        add_default("accept", accepted(self.wanted));
        add_default("user-agent", USER_AGENT);
        if let Some(content_type) = content_type {
            add_default("content-type", content_type);
        }
        Ok(Hop { method: self.method, url, headers, body })
    }

    fn checked_headers(&self) -> Result<Vec<(String, String)>, Failure> {
        let header = |(name, value): (&String, &String)| {
            let lower = name.to_ascii_lowercase();
            let pointer = || format!("/headers/{}", name.replace('~', "~0").replace('/', "~1"));
            if lower.is_empty() || !lower.bytes().all(is_token) {
                return Err(Failure::invalid(
                    pointer(),
                    format!("{name:?} is no name of a header"),
                ));
            }
            if RESERVED.contains(&lower.as_str()) {
                return Err(Failure::invalid(pointer(), format!("{lower} is set by the host")));
            }
            if value.bytes().any(|byte| byte == b'\r' || byte == b'\n' || byte == 0) {
                return Err(Failure::invalid(pointer(), "a header is one line"));
            }
            Ok((lower, value.clone()))
        };
        self.headers.iter().map(header).collect()
    }

    fn body(&self) -> Result<(Vec<u8>, Option<&'static str>), Failure> {
        let (body, content_type) = match (&self.text, &self.json, &self.base64) {
            (None, None, None) => return Ok((Vec::new(), None)),
            (Some(text), None, None) => (text.as_bytes().to_vec(), "text/plain; charset=utf-8"),
            (None, Some(json), None) => (json.to_string().into_bytes(), "application/json"),
            (None, None, Some(base64)) => {
                let bytes = base64::engine::general_purpose::STANDARD.decode(base64);
                let bytes =
                    bytes.map_err(|error| Failure::invalid("/base64", error.to_string()))?;
                (bytes, "application/octet-stream")
            }
            _ => {
                let message = "give at most one of \"text\", \"json\" and \"base64\"";
                return Err(Failure::invalid("", message));
            }
        };
        if matches!(self.method, Method::Get | Method::Head) {
            return Err(Failure::invalid(
                "/method",
                format!("{} has no body: say \"method\": \"POST\"", self.method.as_str()),
            ));
        }
        Ok((body, Some(content_type)))
    }
}

fn address(text: &str) -> Result<Url, Failure> {
    let url = Url::parse(text.trim()).map_err(|error| {
        Failure::invalid("/url", format!("{text:?} is no absolute address: {error}"))
    })?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Failure::invalid(
            "/url",
            format!("{:?} is neither http nor https", url.scheme()),
        ));
    }
    Ok(url)
}

fn accepted(wanted: Wanted) -> &'static str {
    match wanted {
        Wanted::Json => "application/json, application/*+json;q=0.9",
        Wanted::Markdown => "text/markdown, text/html;q=0.9, text/plain;q=0.8, */*;q=0.5",
        Wanted::Auto => "application/json, text/html;q=0.9, text/*;q=0.8, */*;q=0.5",
        Wanted::Text | Wanted::Raw => "*/*",
    }
}

/// A character of a token (RFC 9110, 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn bytes_default() -> u32 {
    1 << 20
}

fn redirects_default() -> u32 {
    REDIRECTS_MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn hop(arguments: Value) -> Result<Hop, Failure> {
        serde_json::from_value::<Arguments>(arguments).expect("arguments").hop()
    }

    fn pointer(arguments: Value) -> String {
        match hop(arguments).expect_err("bad arguments") {
            Failure::Invalid { pointer, .. } => pointer,
            other => panic!("{other}"),
        }
    }

    fn header<'a>(hop: &'a Hop, name: &str) -> Option<&'a str> {
        hop.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn a_plain_address_is_a_get() {
        let hop = hop(json!({"url": "https://a.org/x"})).expect("a request");
        assert_eq!((hop.method, hop.body.len()), (Method::Get, 0));
        assert!(header(&hop, "user-agent").expect("it is set").starts_with("foreshore-fetch/"));
        assert!(header(&hop, "accept").expect("it is set").starts_with("application/json"));
        assert_eq!(header(&hop, "content-type"), None);
    }

    #[test]
    fn a_body_says_what_it_is_unless_the_caller_does() {
        let sent = hop(json!({"url": "https://a.org", "method": "POST", "json": {"a": 1}}))
            .expect("a request");
        assert_eq!(
            (sent.body.as_slice(), header(&sent, "content-type")),
            (&b"{\"a\":1}"[..], Some("application/json"))
        );
        let headers = json!({"Content-Type": "text/csv"});
        let sent =
            hop(json!({"url": "https://a.org", "method": "PUT", "text": "a", "headers": headers}));
        assert_eq!(header(&sent.expect("a request"), "content-type"), Some("text/csv"));
        let sent = hop(json!({"url": "https://a.org", "method": "PUT", "base64": "AP8="}))
            .expect("a request");
        assert_eq!(sent.body, [0, 0xFF]);
    }

    #[test]
    fn what_cannot_be_sent_is_named() {
        let url = "https://a.org";
        assert_eq!(pointer(json!({"url": "a.org"})), "/url");
        assert_eq!(pointer(json!({"url": "file:///etc/passwd"})), "/url");
        assert_eq!(pointer(json!({"url": url, "text": "a"})), "/method");
        assert_eq!(pointer(json!({"url": url, "method": "POST", "text": "a", "json": 1})), "");
        assert_eq!(pointer(json!({"url": url, "method": "POST", "base64": "!"})), "/base64");
        assert_eq!(pointer(json!({"url": url, "headers": {"Host": "b.org"}})), "/headers/Host");
        assert_eq!(pointer(json!({"url": url, "headers": {"a b/c": ""}})), "/headers/a b~1c");
        assert_eq!(pointer(json!({"url": url, "headers": {"x": "a\r\nhost: b"}})), "/headers/x");
        for name in RESERVED {
            assert_eq!(
                pointer(json!({"url": url, "headers": {name: ""}})),
                format!("/headers/{name}")
            );
        }
    }
}
