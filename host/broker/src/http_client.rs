//! HTTP/1.1 to one model server: connections that are kept, limits on what it may send.
//!
//! Deliberately absent: proxies from the environment (a prompt goes where the configuration
//! says, and nowhere else), redirects (likewise), cookies, compression. Invariants: a connection
//! is used again only when the answer before was read to its end; whoever drops an answer in the
//! middle closes its connection, which is how a server learns that nobody listens any more.

mod body;
mod connection;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::Full;

use crate::config::BackendConfig;
use crate::tls::TlsClient;

pub(crate) use body::{AnswerBody, BodyError, Lines};
use connection::{Connection, Target};

/// Connections that are kept while nobody uses them.
const IDLE_MAX: usize = 16;
/// What a server may send before the body.
const HEAD_MAX_BYTES: usize = 64 << 10;

/// A client of one server.
pub(crate) struct HttpClient {
    target: Target,
    path: String,
    authorization: Option<HeaderValue>,
    tls: TlsClient,
    idle: Arc<Idle>,
}

/// Connections that wait for the next request.
#[derive(Default)]
pub(crate) struct Idle(Mutex<Vec<Connection>>);

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("cannot connect to {authority}: {message}")]
    Connect { authority: String, message: String },
    #[error("no connection to {authority} within {limit_ms} ms")]
    ConnectTimedOut { authority: String, limit_ms: u64 },
    #[error("{authority} broke off before it answered: {message}")]
    Broken { authority: String, message: String },
}

/// An answer, of which the body has not been read.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: AnswerBody,
}

/// A request that is not sent yet.
#[derive(Clone)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) body: Bytes,
}

impl Ask {
    pub(crate) fn get(path: &'static str) -> Self {
        Self { method: Method::GET, path, body: Bytes::new() }
    }

    pub(crate) fn post(path: &'static str, body: &serde_json::Value) -> Self {
        Self { method: Method::POST, path, body: body.to_string().into() }
    }

    pub(crate) fn delete(path: &'static str, body: &serde_json::Value) -> Self {
        Self { method: Method::DELETE, path, body: body.to_string().into() }
    }
}

impl HttpClient {
    /// A client of a server whose configuration was checked.
    pub(crate) fn new(config: &BackendConfig) -> Self {
        let bearer = |key: &crate::config::ApiKey| {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", key.expose())).ok()?;
            value.set_sensitive(true);
            Some(value)
        };
        Self {
            target: Target::of(&config.url),
            path: config.url.path().trim_end_matches('/').to_owned(),
            authorization: config.api_key.as_ref().and_then(bearer),
            tls: TlsClient::default(),
            idle: Arc::new(Idle::default()),
        }
    }

    /// Sends a request and waits for the head of its answer. Only connecting has a limit here.
    ///
    /// # Errors
    /// [`HttpError`].
    pub(crate) async fn send(&self, ask: Ask, connect: Duration) -> Result<Answer, HttpError> {
        // A kept connection may have been closed by the server at this very moment. What was
        // not sent, or not answered by a byte, goes over a new one, once.
        if let Some(mut kept) = self.idle.take() {
            match kept.ask(self.request(&ask)).await {
                Ok(answer) => return Ok(self.answer(answer, kept)),
                Err(error) if is_stale(&error) => {}
                Err(error) => return Err(self.broken(&error)),
            }
        }
        let mut connection = self.connected(connect).await?;
        let answer = connection.ask(self.request(&ask)).await;
        let answer = answer.map_err(|error| self.broken(&error))?;
        Ok(self.answer(answer, connection))
    }

    /// A connection that cannot be stale, kept for the next request.
    async fn connected(&self, limit: Duration) -> Result<Connection, HttpError> {
        let authority = || self.target.authority().to_owned();
        match tokio::time::timeout(limit, Connection::open(&self.target, &self.tls)).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(message)) => Err(HttpError::Connect { authority: authority(), message }),
            Err(_) => {
                let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
                Err(HttpError::ConnectTimedOut { authority: authority(), limit_ms })
            }
        }
    }

    fn request(&self, ask: &Ask) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(ask.body.clone()));
        *request.method_mut() = ask.method.clone();
        // Both parts were parsed before: the path by the URL, the rest is written in this crate.
        if let Ok(uri) = format!("{}{}", self.path, ask.path).parse() {
            *request.uri_mut() = uri;
        }
        let headers = request.headers_mut();
        headers.insert(header::HOST, self.target.host_header().clone());
        headers.insert(header::USER_AGENT, HeaderValue::from_static("foreshore"));
        if !ask.body.is_empty() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(authorization) = &self.authorization {
            headers.insert(header::AUTHORIZATION, authorization.clone());
        }
        request
    }

    fn answer(&self, answer: http::Response<hyper::body::Incoming>, on: Connection) -> Answer {
        let (head, incoming) = answer.into_parts();
        let body = AnswerBody::new(incoming, on, Arc::clone(&self.idle));
        Answer { status: head.status, headers: head.headers, body }
    }

    fn broken(&self, error: &hyper::Error) -> HttpError {
        let authority = self.target.authority().to_owned();
        HttpError::Broken { authority, message: with_source(error) }
    }
}

impl Idle {
    fn take(&self) -> Option<Connection> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(connection) = kept.pop() {
            if connection.is_usable() {
                return Some(connection);
            }
        }
        None
    }

    fn keep(&self, connection: Connection) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(Connection::is_usable);
        if kept.len() < IDLE_MAX {
            kept.push(connection);
        }
    }
}

/// The server closed the connection while it was kept.
fn is_stale(error: &hyper::Error) -> bool {
    error.is_canceled() || error.is_closed() || error.is_incomplete_message()
}

pub(crate) fn with_source(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
