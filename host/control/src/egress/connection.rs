//! One connection: to a checked address, with TLS where the URL says so.
//!
//! Knows no names: what it dials are [`CheckedAddresses`]. The name is used only for what the
//! server's certificate must say.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use foreshore_domain::call::CallContext;
use foreshore_domain::effect::EffectError;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::client::TlsStream;
use url::Host;

use super::addresses::CheckedAddresses;
use super::target::Target;
use super::tls::TlsClient;

/// How far apart attempts on the addresses of one name begin: RFC 8305, section 5.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Opens a connection to one of the addresses.
///
/// # Errors
/// No connection, or no TLS. The time is bounded by the caller.
pub(super) async fn open(
    call: &Arc<CallContext>,
    target: &Target,
    addresses: &CheckedAddresses,
    tls: &TlsClient,
) -> Result<Connection, EffectError> {
    let stream =
        dialled(addresses.as_slice()).await.map_err(|error| EffectError::ConnectionFailed {
            authority: target.authority.clone(),
            message: error.to_string(),
        })?;
    let stream = if target.is_https() {
        Stream::Tls(Box::new(secured(stream, target, tls).await?))
    } else {
        Stream::Plain(stream)
    };
    Ok(Connection { stream, call: Arc::clone(call) })
}

/// The first address that answers; each is given a head start over the next.
async fn dialled(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let stream = match addresses {
        [only] => TcpStream::connect(only).await?,
        several => {
            let mut attempts = JoinSet::new();
            let mut delay = Duration::ZERO;
            for address in several.iter().copied() {
                attempts.spawn(async move {
                    tokio::time::sleep(delay).await;
                    TcpStream::connect(address).await
                });
                delay += ATTEMPT_DELAY;
            }
            first_success(attempts).await?
        }
    };
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn first_success(mut attempts: JoinSet<io::Result<TcpStream>>) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    while let Some(attempt) = attempts.join_next().await {
        match attempt.map_err(io::Error::other).flatten() {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn secured(
    stream: TcpStream,
    target: &Target,
    tls: &TlsClient,
) -> Result<TlsStream<TcpStream>, EffectError> {
    let failed =
        |message: String| EffectError::TlsFailed { authority: target.authority.clone(), message };
    let name = match &target.host {
        Host::Domain(name) => {
            ServerName::try_from(name.clone()).map_err(|error| failed(error.to_string()))?
        }
        Host::Ipv4(address) => ServerName::from(std::net::IpAddr::V4(*address)),
        Host::Ipv6(address) => ServerName::from(std::net::IpAddr::V6(*address)),
    };
    let connector = tls.connector().await.map_err(failed)?;
    connector.connect(name, stream).await.map_err(|error| failed(error.to_string()))
}

/// An open connection. Counts what the guest sends, as plain text, into the call's meter.
pub(super) struct Connection {
    stream: Stream,
    call: Arc<CallContext>,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Calls a method of whichever stream it is.
macro_rules! on_stream {
    ($self:ident, $method:ident($($argument:expr),*)) => {
        match &mut $self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).$method($($argument),*),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).$method($($argument),*),
        }
    };
}

impl Connection {
    fn count(&self, sent: usize) {
        self.call.meter.add_egress_bytes(u64::try_from(sent).unwrap_or(u64::MAX));
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        on_stream!(self, poll_read(cx, buf))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.as_mut();
        let sent = ready!(on_stream!(this, poll_write(cx, buf)))?;
        self.count(sent);
        Poll::Ready(Ok(sent))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.as_mut();
        let sent = ready!(on_stream!(this, poll_write_vectored(cx, bufs)))?;
        self.count(sent);
        Poll::Ready(Ok(sent))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(self, poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(self, poll_shutdown(cx))
    }
}
