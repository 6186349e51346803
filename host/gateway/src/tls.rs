//! TLS in front of the edge: version 1.3 alone, HTTP/1.1 alone.
//!
//! Deliberately absent: certificates of clients, early data (it can be replayed, RFC 8446, section
//! 8), and HTTP/2. A handshake takes a bounded time, and of those that have begun to cost
//! something a bounded number is under way; who connects and says nothing takes no such place.

mod certificates;

use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::version::TLS13;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

pub use self::certificates::{Certificates, TlsError, TlsFiles, fingerprint};
use crate::config::{EdgeLimits, duration, size};
use crate::connection::Peer;
use crate::pulse::{Look, Orders, look_interval};

/// Makes connections of TLS out of those that were accepted.
pub(crate) struct Acceptor {
    config: Arc<ServerConfig>,
    places: Semaphore,
    timeout: Duration,
}

impl Acceptor {
    pub(crate) fn new(
        certificates: Arc<Certificates>,
        limits: &EdgeLimits,
    ) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(TlsError::Settings)?;
        let mut config = config.with_no_client_auth().with_cert_resolver(certificates);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            config: Arc::new(config),
            places: Semaphore::new(size(limits.handshakes_max)),
            timeout: duration(limits.handshake_timeout_ms),
        })
    }

    async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let hello = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream).await?;
        // The semaphore is never closed.
        let _place = self.places.acquire().await.map_err(io::Error::other)?;
        hello.into_stream(Arc::clone(&self.config)).await
    }

    /// The handshake of a connection; `None` if it came to nothing, or if the server wants the
    /// connection's place: no request is lost by that.
    pub(crate) async fn handshake(&self, stream: TcpStream, peer: &Peer) -> Option<Stream> {
        let mut accepting = pin!(timeout(self.timeout, self.accept(stream)));
        let interval = look_interval(&peer.edge.config.limits);
        let mut watch = pin!(sleep(interval));
        let mut look = Look::new(&peer.pulse);
        poll_fn(|cx| {
            peer.pulse.wakes(cx.waker());
            loop {
                if let Poll::Ready(result) = accepting.as_mut().poll(cx) {
                    return Poll::Ready(settled(result));
                }
                if !matches!(peer.pulse.orders(&look), Orders::Stay) {
                    return Poll::Ready(None);
                }
                if watch.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                // It is quiet for as long as no request has begun, and has a limit of its own.
                look.again(&peer.pulse, &peer.edge.config.limits);
                watch.as_mut().reset(Instant::now() + interval);
            }
        })
        .await
    }
}

fn settled(
    result: Result<io::Result<TlsStream<TcpStream>>, tokio::time::error::Elapsed>,
) -> Option<Stream> {
    match result {
        Ok(Ok(stream)) => Some(Stream::Tls(Box::new(stream))),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a handshake failed");
            None
        }
        Err(_) => {
            tracing::debug!("a handshake took too long");
            None
        }
    }
}

/// A connection, with TLS or without.
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, buffers),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, buffers),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
