//! Where checkpoints are sent: one URL of the operator's, with a bounded number of tries.
//!
//! Deliberately absent: redirects, credentials in the URL, and plain HTTP to anywhere but this
//! machine. The answer's body is not read.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Request};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use url::{Host, Url};

use crate::egress::TlsClient;

/// A URL that checkpoints may be sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookUrl(Url);

/// Why a URL is not one of those.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookUrlError {
    /// It does not parse.
    #[error("it is no URL: {0}")]
    NotAUrl(String),
    /// Another scheme, or one that would show the checkpoint to the network.
    #[error("it is https, or http to 127.0.0.1, [::1] or localhost")]
    Scheme,
    /// A name or a password in it.
    #[error("it has no user name and no password: put a token into its path or query")]
    Credentials,
}

impl FromStr for WebhookUrl {
    type Err = WebhookUrlError;

    fn from_str(text: &str) -> Result<Self, WebhookUrlError> {
        let url = Url::parse(text).map_err(|error| WebhookUrlError::NotAUrl(error.to_string()))?;
        let is_here = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        if !(url.scheme() == "https" && url.has_host() || url.scheme() == "http" && is_here) {
            return Err(WebhookUrlError::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(WebhookUrlError::Credentials);
        }
        Ok(Self(url))
    }
}

/// How often and how long it is tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// For one checkpoint.
    pub(crate) tries: u32,
    /// Before the second; twice as long before each that follows.
    pub(crate) first_pause: Duration,
    /// For one of them, from the look-up of the name to the answer.
    pub(crate) timeout: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { tries: 6, first_pause: Duration::from_secs(1), timeout: Duration::from_secs(10) }
    }
}

/// A place to send checkpoints to. Shown as its host alone: the rest may hold a token.
pub(crate) struct Webhook {
    url: WebhookUrl,
    tls: TlsClient,
    patience: Patience,
}

impl fmt::Display for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.authority())
    }
}

impl Webhook {
    pub(crate) fn new(url: WebhookUrl, tls: TlsClient, patience: Patience) -> Self {
        Self { url, tls, patience }
    }

    /// How long to wait after so many failures; `None` when there were enough.
    pub(crate) fn pause_after(&self, failures: u32) -> Option<Duration> {
        let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
        (failures < self.patience.tries).then(|| self.patience.first_pause * doubled)
    }

    /// Sends a checkpoint; an error says why it is not known to have arrived.
    pub(super) async fn post(&self, line: &str) -> Result<(), String> {
        self.post_with(line, None).await
    }

    /// Sends JSON with a field of the sender's.
    pub(crate) async fn post_with(
        &self,
        line: &str,
        field: Option<(&str, &str)>,
    ) -> Result<(), String> {
        let timeout = self.patience.timeout;
        match tokio::time::timeout(timeout, self.try_to_post(line, field)).await {
            Ok(answered) => answered,
            Err(_) => Err(format!("no answer in {timeout:?}")),
        }
    }

    async fn try_to_post(&self, line: &str, field: Option<(&str, &str)>) -> Result<(), String> {
        let url = &self.url.0;
        let host = url.host_str().unwrap_or_default();
        let name = host.trim_start_matches('[').trim_end_matches(']');
        let port = url.port_or_known_default().unwrap_or(443);
        let stream = TcpStream::connect((name, port)).await.map_err(|error| error.to_string())?;
        if url.scheme() == "http" {
            return self.exchange(stream, line, field).await;
        }
        let name = ServerName::try_from(name.to_owned()).map_err(|error| error.to_string())?;
        let connector = self.tls.connector().await?;
        let stream = connector.connect(name, stream).await.map_err(|error| error.to_string())?;
        self.exchange(stream, line, field).await
    }

    async fn exchange(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        line: &str,
        field: Option<(&str, &str)>,
    ) -> Result<(), String> {
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        let url = &self.url.0;
        let target = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(target)
            .header(HOST, self.authority())
            .header(CONTENT_TYPE, "application/json");
        if let Some((name, value)) = field {
            request = request.header(name, value);
        }
        let request = request
            .body(Full::new(Bytes::copy_from_slice(line.as_bytes())))
            .map_err(|error| error.to_string())?;
        let answer = sender.send_request(request);
        tokio::pin!(connection, answer);
        let answer = tokio::select! {
            answer = &mut answer => answer,
            ended = &mut connection => match ended {
                // The answer may have come with the end.
                Ok(()) => answer.await,
                Err(error) => Err(error),
            },
        };
        let status = answer.map_err(|error| error.to_string())?.status();
        if status.is_success() { Ok(()) } else { Err(format!("it answered {status}")) }
    }

    fn authority(&self) -> String {
        let host = self.url.0.host_str().unwrap_or_default();
        self.url.0.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }
}
