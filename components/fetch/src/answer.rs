//! An answer as a model reads it: JSON as JSON, a page as Markdown, the rest as text.
//!
//! The invariant: whatever a server sends, the result fits what the host carries, is valid JSON
//! of the contract's depth, and says what was left out.

use std::collections::BTreeMap;

use base64::Engine as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use url::Url;

use crate::charset::{self, Kind};
use crate::failure::Failure;
use crate::markdown;
use crate::media::{ContentType, Media};

/// The host's default limit for a result is 1 MiB, and a result is carried twice.
const TEXT_MAX_BYTES: usize = 400 << 10;
/// Base64 is four thirds of it.
const RAW_MAX_BYTES: usize = 300 << 10;
/// The contract allows 32 levels, and the body lies inside of one.
const DEPTH_MAX: usize = 30;
const HEADER_MAX_BYTES: usize = 1 << 10;

/// The headers that are shown: those that say what the answer is and what to do next.
const SHOWN_HEADERS: [&str; 18] = [
    "age",
    "allow",
    "cache-control",
    "content-disposition",
    "content-language",
    "content-length",
    "content-type",
    "date",
    "etag",
    "expires",
    "last-modified",
    "link",
    "location",
    "retry-after",
    "server",
    "vary",
    "warning",
    "www-authenticate",
];

/// The form in which the body is wanted.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Wanted {
    /// By its content type: JSON as `json`, HTML as Markdown, other text as it is, the rest as
    /// base64.
    #[default]
    Auto,
    /// As a JSON value; a failure if it is none.
    Json,
    /// As text, whatever it is: the source of a page, for instance.
    Text,
    /// HTML as Markdown with its links; other text as it is.
    Markdown,
    /// The bytes in base64.
    Raw,
}

/// The form in which the body is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    Json,
    Text,
    Markdown,
    Base64,
    /// There is no body.
    Empty,
}

/// The answer to a request.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Answer {
    /// The status code. 4xx and 5xx are answers too: look at it.
    #[schemars(range(min = 100, max = 999))]
    pub(crate) status: u16,
    /// Where the answer came from, after redirects.
    pub(crate) url: String,
    /// The addresses that redirected, in order.
    pub(crate) redirected_from: Vec<String>,
    /// The headers that say what the answer is; names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    /// Which of `json`, `text` and `base64` holds the body.
    pub(crate) format: Format,
    /// The body as a JSON value.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    pub(crate) json: Option<Box<RawValue>>,
    /// The body as text or Markdown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<String>,
    /// The body in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) base64: Option<String>,
    /// The title of a page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) title: Option<String>,
    /// The character set the text came in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) charset: Option<String>,
    /// How many bytes of the body were read.
    pub(crate) body_bytes: u64,
    /// There is more than this: the body has more than `max_bytes`, or its text is more than a
    /// result can carry.
    pub(crate) truncated: bool,
    /// Some bytes were no text and are shown as U+FFFD.
    pub(crate) lossy: bool,
}

/// What came back, as it came.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) status: u16,
    pub(crate) url: Url,
    pub(crate) redirected_from: Vec<String>,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) is_cut: bool,
}

/// # Errors
/// A body that is no JSON where JSON is wanted.
pub(crate) fn present(received: Received, wanted: Wanted) -> Result<Answer, Failure> {
    let header = |name: &str| {
        let found = received.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    };
    let content_type = ContentType::of(header("content-type"), &received.body);
    let mut answer = Answer {
        status: received.status,
        url: without_fragment(&received.url),
        redirected_from: received.redirected_from,
        headers: shown_headers(&received.headers),
        format: Format::Empty,
        json: None,
        text: None,
        base64: None,
        title: None,
        charset: None,
        body_bytes: u64::try_from(received.body.len()).unwrap_or(u64::MAX),
        truncated: received.is_cut,
        lossy: false,
    };
    let body =
        Body { bytes: &received.body, is_cut: received.is_cut, content_type, url: received.url };
    if body.bytes.is_empty() && wanted != Wanted::Json {
        return Ok(answer);
    }
    match (wanted, body.content_type.media) {
        (Wanted::Raw, _) | (Wanted::Auto, Media::Binary) => body.as_base64(&mut answer),
        (Wanted::Json, _) => body.as_json(&mut answer).map_err(|message| Failure::Form {
            url: answer.url.clone(),
            status: answer.status,
            message,
        })?,
        // What says it is JSON and is not is shown as it is: often it is an error page.
        (Wanted::Auto, Media::Json) => {
            if body.as_json(&mut answer).is_err() {
                body.as_text(&mut answer);
            }
        }
        (Wanted::Auto | Wanted::Markdown, Media::Html) => body.as_markdown(&mut answer),
        (Wanted::Auto | Wanted::Markdown | Wanted::Text, _) => body.as_text(&mut answer),
    }
    Ok(answer)
}

/// A body with what is known of it.
struct Body<'a> {
    bytes: &'a [u8],
    is_cut: bool,
    content_type: ContentType,
    url: Url,
}

impl Body<'_> {
    fn decoded(&self, answer: &mut Answer) -> String {
        let is_html = self.content_type.media == Media::Html;
        let kind = if is_html { Kind::Html } else { Kind::Other };
        let charset = self.content_type.charset.as_deref();
        let decoded = charset::decode(self.bytes, charset, kind, self.is_cut);
        answer.charset = Some(decoded.charset.to_ascii_lowercase());
        answer.lossy = decoded.lossy;
        decoded.text
    }

    fn as_text(&self, answer: &mut Answer) {
        let text = self.decoded(answer);
        let shown = fit(&text, TEXT_MAX_BYTES).to_owned();
        answer.truncated |= shown.len() < text.len();
        answer.text = Some(shown);
        answer.format = Format::Text;
    }

    fn as_markdown(&self, answer: &mut Answer) {
        let html = self.decoded(answer);
        let page = markdown::from_html(&html, &self.url, TEXT_MAX_BYTES);
        let shown = fit(&page.text, TEXT_MAX_BYTES).to_owned();
        answer.truncated |= page.is_cut || shown.len() < page.text.len();
        answer.text = Some(shown);
        answer.title = page.title;
        answer.format = Format::Markdown;
    }

    fn as_base64(&self, answer: &mut Answer) {
        let shown = self.bytes.get(..RAW_MAX_BYTES).unwrap_or(self.bytes);
        answer.truncated |= shown.len() < self.bytes.len();
        answer.base64 = Some(base64::engine::general_purpose::STANDARD.encode(shown));
        answer.format = Format::Base64;
    }

    /// The reason why not, where it is no JSON that can be given.
    fn as_json(&self, answer: &mut Answer) -> Result<(), String> {
        if self.is_cut {
            return Err(format!(
                "the JSON goes on after {} bytes; raise max_bytes, or take it as text",
                self.bytes.len()
            ));
        }
        if self.bytes.len() > TEXT_MAX_BYTES {
            return Err(format!(
                "{} bytes of JSON are more than the {TEXT_MAX_BYTES} that a result can carry; take \
                 it as text to see its start",
                self.bytes.len()
            ));
        }
        if depth_of(self.bytes) > DEPTH_MAX {
            return Err(format!(
                "the JSON is nested deeper than {DEPTH_MAX} levels; take it as text"
            ));
        }
        // Through a value: half a surrogate pair and the like are refused, blanks are left out.
        let value: serde_json::Value = serde_json::from_slice(without_mark(self.bytes))
            .map_err(|error| format!("the body is no JSON: {error}"))?;
        let json = RawValue::from_string(value.to_string()).map_err(|error| error.to_string())?;
        answer.json = Some(json);
        answer.format = Format::Json;
        Ok(())
    }
}

fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes)
}

fn without_fragment(url: &Url) -> String {
    let mut url = url.clone();
    url.set_fragment(None);
    url.into()
}

fn shown_headers(headers: &[(String, String)]) -> BTreeMap<String, String> {
    let mut shown: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in headers {
        let is_rate = name.starts_with("ratelimit") || name.starts_with("x-ratelimit");
        if !is_rate && !SHOWN_HEADERS.contains(&name.as_str()) {
            continue;
        }
        // Lines of one name are one list (RFC 9110, 5.3).
        let line = shown.entry(name.clone()).or_default();
        if !line.is_empty() {
            line.push_str(", ");
        }
        line.push_str(fit(value, HEADER_MAX_BYTES.saturating_sub(line.len())));
    }
    shown
}

fn depth_of(json: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// The longest beginning of a text that takes at most `budget` bytes inside of a JSON string.
fn fit(text: &str, budget: usize) -> &str {
    let mut used = 0;
    for (index, byte) in text.bytes().enumerate() {
        used += match byte {
            b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0C => 2,
            0x00..=0x1F => 6,
            _ => 1,
        };
        if used > budget {
            return &text[..text.floor_char_boundary(index)];
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(content_type: &str, body: &[u8]) -> Received {
        Received {
            status: 200,
            url: Url::parse("https://a.org/x#part").expect("a url"),
            redirected_from: Vec::new(),
            headers: vec![("content-type".to_owned(), content_type.to_owned())],
            body: body.to_vec(),
            is_cut: false,
        }
    }

    fn answered(content_type: &str, body: &[u8], wanted: Wanted) -> Answer {
        present(received(content_type, body), wanted).expect("an answer")
    }

    #[test]
    fn each_kind_of_body_has_its_form() {
        let json = answered("application/json", b" {\"a\": [1, 2]} ", Wanted::Auto);
        assert_eq!(json.format, Format::Json);
        assert_eq!(json.json.expect("json").get(), r#"{"a":[1,2]}"#);
        let page = answered("text/html", b"<title>T</title><a href=/y>b</a>", Wanted::Auto);
        assert_eq!(page.format, Format::Markdown);
        assert_eq!(page.text.as_deref(), Some("[b](https://a.org/y)\n"));
        assert_eq!(page.title.as_deref(), Some("T"));
        assert_eq!(page.url, "https://a.org/x");
        let text = answered("text/plain; charset=latin1", b"caf\xE9", Wanted::Auto);
        assert_eq!(
            (text.text.as_deref(), text.charset.as_deref()),
            (Some("café"), Some("windows-1252"))
        );
        let picture = answered("image/png", b"\x89PNG", Wanted::Auto);
        assert_eq!((picture.format, picture.base64.as_deref()), (Format::Base64, Some("iVBORw==")));
        assert_eq!(answered("text/html", b"", Wanted::Auto).format, Format::Empty);
    }

    #[test]
    fn a_form_that_is_asked_for_is_given() {
        let source = answered("text/html", b"<p>a</p>", Wanted::Text);
        assert_eq!((source.format, source.text.as_deref()), (Format::Text, Some("<p>a</p>")));
        assert_eq!(answered("text/plain", b"[1]", Wanted::Json).format, Format::Json);
        assert_eq!(answered("text/plain", b"a", Wanted::Raw).base64.as_deref(), Some("YQ=="));
        assert_eq!(answered("text/plain", b"<p>", Wanted::Markdown).format, Format::Text);
    }

    #[test]
    fn what_is_no_json_is_shown_unless_json_is_asked_for() {
        let page = answered("application/json", b"<h1>Bad gateway</h1>", Wanted::Auto);
        assert_eq!(page.format, Format::Text);
        let error =
            present(received("application/json", b"{\"a\":"), Wanted::Json).expect_err("no json");
        assert!(
            error.to_string().starts_with("https://a.org/x (status 200): the body is no JSON"),
            "{error}"
        );
        let deep = "[".repeat(31) + &"]".repeat(31);
        assert_eq!(
            answered("application/json", deep.as_bytes(), Wanted::Auto).format,
            Format::Text
        );
    }

    #[test]
    fn an_answer_stays_within_what_can_be_carried() {
        let control = vec![1; 300 << 10];
        for (content_type, wanted) in [
            ("text/plain", Wanted::Auto),
            ("text/html", Wanted::Auto),
            ("application/json", Wanted::Auto),
            ("image/png", Wanted::Auto),
            ("text/plain", Wanted::Raw),
        ] {
            for body in [control.clone(), vec![b'x'; 2 << 20], b"<p>\"\"\"\"</p>".repeat(100_000)] {
                let answer = answered(content_type, &body, wanted);
                let json = serde_json::to_string(&answer).expect("json");
                assert!(json.len() < (420 << 10), "{content_type} {}", json.len());
                assert!(answer.truncated || body.len() <= RAW_MAX_BYTES, "{content_type}");
            }
        }
    }

    #[test]
    fn a_cut_body_says_so() {
        let mut cut = received("application/json", b"{\"a\": 1");
        cut.is_cut = true;
        let answer = present(cut, Wanted::Auto).expect("an answer");
        assert_eq!((answer.format, answer.truncated), (Format::Text, true));
    }

    #[test]
    fn headers_are_chosen_joined_and_bounded() {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let shown = shown_headers(&[
            header("link", "<a>; rel=next"),
            header("link", "<b>; rel=prev"),
            header("set-cookie", "secret"),
            header("x-ratelimit-remaining", "3"),
            header("server", &"x".repeat(5_000)),
        ]);
        assert_eq!(shown["link"], "<a>; rel=next, <b>; rel=prev");
        assert_eq!(shown["x-ratelimit-remaining"], "3");
        assert_eq!(shown["server"].len(), HEADER_MAX_BYTES);
        assert!(!shown.contains_key("set-cookie"));
    }
}
