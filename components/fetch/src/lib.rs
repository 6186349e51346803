//! `fetch`: requests to addresses that the operator allows.
//!
//! What leaves is the host's decision, for the first address and for each redirect alike; this
//! component follows redirects, keeps credentials with their origin, and makes of the answer what
//! a model can read. The invariant: a denial of the host is passed on as what it is.

mod answer;
mod arguments;
mod charset;
mod exchange;
mod failure;
mod markdown;
mod media;

use std::time::Duration;

use foreshore_sdk::http::{Request, Response};
use foreshore_sdk::{Error, tool};

use crate::answer::{Answer, Received};
use crate::arguments::Arguments;
use crate::exchange::{Hop, Reply, Transport};
use crate::failure::Failure;

/// Send an HTTP request and read the answer. JSON comes as a value, a web page as Markdown with its
/// links, other text as text, anything else in base64; "as" asks for another form ("text" gives
/// the source of a page). An answer with status 404 or 500 is an answer, not a failure: look at
/// "status". Only addresses that the operator allows can be reached; the failure of any other says
/// which grant is missing.
///
/// Up to 5 redirects are followed, never from https to http; to another origin only headers go
/// along that are known to carry no credentials. The body is read up to "max_bytes", and
/// "truncated" says whether there is more.
///
/// Examples: {"url": "https://example.com/docs"};
/// {"url": "https://api.example.com/items", "method": "POST", "json": {"name": "reef"},
/// "headers": {"accept": "application/json"}}
#[tool(title = "Send an HTTP request", destructive, open_world)]
fn request(arguments: Arguments) -> Result<Answer, Error> {
    let hop = arguments.hop()?;
    let mut host = Host { timeout: arguments.timeout_ms };
    let answered = exchange::follow(&mut host, hop, arguments.max_redirects())?;
    let status = answered.reply.status();
    let headers = text_headers(&answered.reply.0);
    let part = answered.reply.0.part(arguments.max_bytes())?;
    let received = Received {
        status,
        url: answered.url,
        redirected_from: answered.redirected_from,
        headers,
        body: part.bytes,
        is_cut: part.is_cut,
    };
    Ok(answer::present(received, arguments.wanted)?)
}

foreshore_sdk::export!(request);

/// The host, which decides about each request.
struct Host {
    timeout: Option<u32>,
}

struct HostReply(Response);

impl Transport for Host {
    type Reply = HostReply;

    fn send(&mut self, hop: &Hop) -> Result<HostReply, Failure> {
        let mut url = hop.url.clone();
        // A fragment is for the reader of the answer; it is never sent.
        url.set_fragment(None);
        let mut request = Request::new(hop.method.as_str(), url).body(hop.body.clone());
        for (name, value) in &hop.headers {
            request = request.header(name, value.as_bytes());
        }
        if let Some(timeout_ms) = self.timeout {
            request = request.timeout(Duration::from_millis(timeout_ms.into()));
        }
        request.send().map(HostReply).map_err(Failure::Transport)
    }
}

impl Reply for HostReply {
    fn status(&self) -> u16 {
        self.0.status()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.0.header(name)
    }
}

/// The headers of an answer as text; what is no UTF-8 is shown with U+FFFD.
fn text_headers(response: &Response) -> Vec<(String, String)> {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    response.headers().iter().map(|(name, value)| (name.clone(), text(value))).collect()
}
