//! One connection.

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;
use url::{Host, Url};

use super::HEAD_MAX_BYTES;
use crate::tls::TlsClient;

/// Where it goes.
pub(super) struct Target {
    host: Host<String>,
    port: u16,
    is_https: bool,
    authority: String,
    host_header: HeaderValue,
}

impl Target {
    /// Of a URL that was checked: without a host it is nowhere, and connecting fails.
    pub(super) fn of(url: &Url) -> Self {
        let host = url.host().map_or(Host::Domain(String::new()), |host| host.to_owned());
        let port = url.port_or_known_default().unwrap_or_default();
        let authority = format!("{host}:{port}");
        let written = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_string(),
        };
        let host_header =
            HeaderValue::from_str(&written).unwrap_or_else(|_| HeaderValue::from_static(""));
        Self { host, port, is_https: url.scheme() == "https", authority, host_header }
    }

    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    pub(super) fn host_header(&self) -> &HeaderValue {
        &self.host_header
    }
}

/// A connection. Dropping it closes it.
pub(super) struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    _driver: AbortOnDropHandle<()>,
}

impl Connection {
    /// Opens one. The time is bounded by the caller.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub(super) async fn open(target: &Target, tls: &TlsClient) -> Result<Self, String> {
        let dialled = match &target.host {
            Host::Domain(name) => TcpStream::connect((name.as_str(), target.port)).await,
            Host::Ipv4(address) => TcpStream::connect((*address, target.port)).await,
            Host::Ipv6(address) => TcpStream::connect((*address, target.port)).await,
        };
        let stream = dialled.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        if !target.is_https {
            return Self::over(stream).await;
        }
        let name = match &target.host {
            Host::Domain(name) => {
                ServerName::try_from(name.clone()).map_err(|error| error.to_string())?
            }
            Host::Ipv4(address) => ServerName::from(std::net::IpAddr::V4(*address)),
            Host::Ipv6(address) => ServerName::from(std::net::IpAddr::V6(*address)),
        };
        let secured = tls.connector().await?.connect(name, stream).await;
        Self::over(secured.map_err(|error| error.to_string())?).await
    }

    async fn over<S>(stream: S) -> Result<Self, String>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (sender, driver) = http1::Builder::new()
            .max_header_size(HEAD_MAX_BYTES)
            .max_buf_size(2 * HEAD_MAX_BYTES)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| super::with_source(&error))?;
        // Its errors reach whoever asks.
        let driver = AbortOnDropHandle::new(tokio::spawn(async move { drop(driver.await) }));
        Ok(Self { sender, _driver: driver })
    }

    pub(super) async fn ask(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> hyper::Result<Response<Incoming>> {
        self.sender.ready().await?;
        self.sender.send_request(request).await
    }

    pub(super) fn is_usable(&self) -> bool {
        !self.sender.is_closed()
    }
}
