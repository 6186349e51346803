//! Outgoing requests: a small blocking client over `wasi:http`.
//!
//! It decides nothing: whether a request may leave is up to the host, which answers a request that
//! policy does not allow with a denial (here [`Error::Denied`] with its stable code). It follows no
//! redirects, since each hop is a new decision, and it never holds more of a response than asked
//! for. Outside a component (in `cargo test`) [`Request::send`] fails and says why.

mod connection;
mod url;

use std::time::Duration;

use crate::Error;
pub use connection::Body;
pub use url::Url;

/// A request to be.
#[derive(Clone, Debug)]
#[must_use = "nothing is sent before send()"]
pub struct Request {
    method: String,
    url: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    timeout: Option<Duration>,
}

impl Request {
    /// A request with a method and an absolute `http` or `https` URL.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            method: method.into(),
            url: url.into(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout: None,
        }
    }

    /// `GET`.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new("GET", url)
    }

    /// `POST` with a body.
    pub fn post(url: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        Self::new("POST", url).body(body)
    }

    /// Adds a header; a second one of the same name is a second line.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body. Its length is sent along.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The most that each step may take: connecting, the first byte, the pause between two. The
    /// host's own deadline of the call holds all the same.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sends it and waits for status and headers; the body has yet to be read.
    ///
    /// # Errors
    /// [`Error::Denied`] where policy does not allow it, [`Error::Invalid`] for a method, URL or
    /// header that cannot be one, [`Error::Exhausted`] for a message above the host's limits, and
    /// [`Error::Failed`] for what went wrong on the way.
    pub fn send(self) -> Result<Response, Error> {
        let url = Url::parse(&self.url)?;
        connection::send(self, &url)
    }
}

/// `GET` a URL; short for `Request::get(url).send()`.
///
/// # Errors
/// As [`Request::send`].
pub fn get(url: impl Into<String>) -> Result<Response, Error> {
    Request::get(url).send()
}

/// Status and headers of a response, and its body to be read.
#[derive(Debug)]
pub struct Response {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    body: Body,
}

/// As much of a body as was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Whether there are more.
    pub is_cut: bool,
}

impl Response {
    /// The status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The headers in the order they came; names in lower case.
    pub fn headers(&self) -> &[(String, Vec<u8>)] {
        &self.headers
    }

    /// The first header of this name, in any case, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok()
    }

    /// The body, to be read piece by piece; it is an [`std::io::Read`] as well.
    pub fn body(&mut self) -> &mut Body {
        &mut self.body
    }

    /// The whole body.
    ///
    /// # Errors
    /// [`Error::Failed`] for a body of more than `max_bytes`, of which no more than that is read;
    /// otherwise as [`Body::chunk`].
    pub fn bytes(self, max_bytes: usize) -> Result<Vec<u8>, Error> {
        let part = self.part(max_bytes)?;
        if part.is_cut {
            return Err(Error::failed(format!("the response has more than {max_bytes} bytes")));
        }
        Ok(part.bytes)
    }

    /// The first `max_bytes` of the body, and whether there are more.
    ///
    /// # Errors
    /// As [`Body::chunk`].
    pub fn part(mut self, max_bytes: usize) -> Result<Part, Error> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.body.chunk()? {
            let room = max_bytes - bytes.len();
            if chunk.len() > room {
                bytes.extend_from_slice(&chunk[..room]);
                return Ok(Part { bytes, is_cut: true });
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Part { bytes, is_cut: false })
    }

    /// The whole body as text.
    ///
    /// # Errors
    /// As [`Response::bytes`], and [`Error::Failed`] for a body that is no UTF-8.
    pub fn text(self, max_bytes: usize) -> Result<String, Error> {
        Ok(String::from_utf8(self.bytes(max_bytes)?)?)
    }

    /// The whole body, read as JSON.
    ///
    /// # Errors
    /// As [`Response::bytes`], and [`Error::Failed`] for a body that does not match the type.
    pub fn json<T: serde::de::DeserializeOwned>(self, max_bytes: usize) -> Result<T, Error> {
        Ok(serde_json::from_slice(&self.bytes(max_bytes)?)?)
    }
}
