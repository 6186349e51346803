//! One connection: hyper's state machine, the watch over it, and an end at which nothing is lost.
//!
//! hyper's own header timer stays off, as [`crate::pulse`] does its work without a timer per
//! request. What hyper cannot parse it answers by itself, with a bare status.

use std::future::{Future as _, poll_fn};
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::HeaderMap;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until};

use crate::config::{EdgeLimits, size};
use crate::forwarded::Client;
use crate::pulse::{Look, Orders, Pulse, Verdict, look_interval};
use crate::request::{Edge, respond};
use crate::tls::Stream;

/// What the requests of one connection share.
pub(crate) struct Peer {
    pub(crate) edge: Arc<Edge>,
    pub(crate) pulse: Pulse,
    /// The address that the client connected to.
    pub(crate) local: IpAddr,
    /// The other end of the connection: the client, or a proxy.
    pub(crate) remote: IpAddr,
}

impl Peer {
    pub(crate) fn new(edge: Arc<Edge>, local: IpAddr, remote: IpAddr) -> Arc<Self> {
        Arc::new(Self { edge, pulse: Pulse::new(), local, remote })
    }

    /// Where a request of this connection comes from.
    pub(crate) fn client(&self, headers: &HeaderMap) -> Client {
        let has_tls = self.edge.tls.is_some();
        Client::of(&self.edge.config.trusted_proxies, self.remote, has_tls, headers)
    }
}

/// How long a peer that is no longer listened to may take to notice.
const LINGER: Duration = Duration::from_millis(500);

/// Serves a connection to its end.
pub(crate) async fn run(stream: TcpStream, peer: Arc<Peer>) {
    let stream = match &peer.edge.tls {
        None => Stream::Plain(stream),
        Some(tls) => match tls.handshake(stream, &peer).await {
            Some(stream) => stream,
            None => return,
        },
    };
    let io = Watched { io: TokioIo::new(stream), peer: Arc::clone(&peer) };
    let service = {
        let peer = Arc::clone(&peer);
        hyper::service::service_fn(move |request| respond(Arc::clone(&peer), request))
    };
    let mut http = builder(&peer.edge.config.limits).serve_connection(io, service);
    let mut watch = pin!(sleep(look_interval(&peer.edge.config.limits)));
    let mut look = Look::new(&peer.pulse);
    let mut leaving = false;
    let end = poll_fn(|cx| {
        peer.pulse.wakes(cx.waker());
        loop {
            if let Poll::Ready(result) = Pin::new(&mut http).poll(cx) {
                return Poll::Ready(End::Http(result));
            }
            match peer.pulse.orders(&look) {
                Orders::CloseNow => return Poll::Ready(End::CutOff),
                // Ends an idle connection now and a busy one after its answer.
                Orders::Leave if !leaving => {
                    leaving = true;
                    Pin::new(&mut http).graceful_shutdown();
                    continue;
                }
                Orders::Leave | Orders::Stay => {}
            }
            if watch.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            match look.again(&peer.pulse, &peer.edge.config.limits) {
                Verdict::Fine | Verdict::Expired => {}
                Verdict::Dead => return Poll::Ready(End::CutOff),
            }
            let next = Instant::now() + look_interval(&peer.edge.config.limits);
            watch.as_mut().reset(next);
        }
    })
    .await;
    let parse_error = matches!(&end, End::Http(Err(error)) if error.is_parse());
    if let End::Http(Err(error)) = &end {
        tracing::debug!(%error, "a connection ended early");
    }
    if matches!(end, End::Http(_)) {
        let unread = parse_error || peer.pulse.is_unread();
        close(http.into_parts().io.io.into_inner(), unread).await;
    }
}

enum End {
    Http(hyper::Result<()>),
    CutOff,
}

fn builder(limits: &EdgeLimits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        // Not `pipeline_flush`: with it hyper keeps back its own refusal of what it cannot parse.
        .header_read_timeout(None)
        // Room for heads that are too large, so that they are refused with a reason.
        .max_buf_size(size(limits.head_max_bytes).saturating_mul(2).max(64 << 10));
    builder
}

/// Closes a connection such that the last answer arrives: a socket that is closed with unread
/// bytes is reset, and the peer would lose what it has not read yet (RFC 9112, section 9.6).
async fn close(mut stream: Stream, unread: bool) {
    if stream.shutdown().await.is_err() || !unread {
        return;
    }
    let deadline = sleep_until(Instant::now() + LINGER);
    let discard = async {
        let mut scrap = [0; 8 << 10];
        // Bounded in bytes too, so that closing costs less than serving.
        for _ in 0..256 {
            if !matches!(stream.read(&mut scrap).await, Ok(1..)) {
                break;
            }
        }
    };
    tokio::select! {
        () = discard => {}
        () = deadline => {}
    }
}

/// A socket that tells the watch when bytes come in.
struct Watched {
    io: TokioIo<Stream>,
    peer: Arc<Peer>,
}

impl Read for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.io).poll_read(cx, buffer);
        if read.is_ready() {
            self.peer.pulse.received();
        }
        read
    }
}

impl Write for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    /// Left to [`close`], which knows whether the peer is still sending.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, buffers)
    }
}
