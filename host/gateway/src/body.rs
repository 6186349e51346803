//! Bodies: a request's, read into one `Bytes` within its limits; a response's, whole or streamed.
//!
//! A body that came in one piece with its head is passed on without a copy.

use std::convert::Infallible;
use std::future::poll_fn;
use std::num::NonZeroU64;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

use crate::config::size;
use crate::connection::Peer;
use crate::problem::{Problem, Refusal};
use crate::pulse::Phase;
use crate::shape::{self, Fault};

/// How large a body may be, and the setting that says so.
#[derive(Clone, Copy)]
pub(crate) struct BodyLimit {
    pub(crate) setting: &'static str,
    pub(crate) max_bytes: NonZeroU64,
}

/// Reads a request's body. Dropping the future of a read loses nothing.
pub(crate) struct Reader {
    body: Incoming,
    limit: BodyLimit,
    first: Bytes,
    rest: BytesMut,
}

impl Reader {
    /// # Errors
    /// A body that is too large by its own account; none of it is read then.
    pub(crate) fn new(body: Incoming, limit: BodyLimit) -> Result<Self, Refusal> {
        if body.size_hint().lower() > limit.max_bytes.get() {
            return Err(Problem::body_too_large(limit.setting, limit.max_bytes));
        }
        Ok(Self { body, limit, first: Bytes::new(), rest: BytesMut::new() })
    }

    /// The whole body if it has arrived by now, without waiting.
    pub(crate) async fn at_once(&mut self) -> Option<Result<Bytes, Refusal>> {
        poll_fn(|cx| match self.poll(cx) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    /// The whole body.
    pub(crate) async fn whole(&mut self) -> Result<Bytes, Refusal> {
        poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Refusal>> {
        while let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            let frame = frame.map_err(|error| {
                tracing::debug!(%error, "a request's body broke off");
                Problem::body_broken()
            })?;
            // Trailer fields are not asked for, so they are dropped.
            if let Ok(data) = frame.into_data() {
                self.push(data)?;
            }
        }
        let first = std::mem::take(&mut self.first);
        Poll::Ready(Ok(if self.rest.is_empty() { first } else { self.rest.split().freeze() }))
    }

    fn push(&mut self, data: Bytes) -> Result<(), Refusal> {
        let held = self.first.len().max(self.rest.len());
        if held + data.len() > size(self.limit.max_bytes) {
            return Err(Problem::body_too_large(self.limit.setting, self.limit.max_bytes));
        }
        if held == 0 {
            self.first = data;
            return Ok(());
        }
        if self.rest.is_empty() {
            // The length that the peer promised has been checked against the limit.
            let promised = usize::try_from(self.body.size_hint().lower()).unwrap_or(0);
            self.rest.reserve(held + data.len().max(promised));
            self.rest.extend_from_slice(&self.first);
        }
        self.rest.extend_from_slice(&data);
        Ok(())
    }
}

/// The whole body of JSON of a request that takes no place among the calls. One that does not arrive at
/// once is waited for among a bounded number of others.
pub(crate) async fn whole(peer: &Peer, body: Incoming) -> Result<Bytes, Refusal> {
    let max_bytes = peer.edge.config.limits.body_max_bytes;
    let mut body = Reader::new(body, BodyLimit { setting: "body_max_bytes", max_bytes })?;
    peer.pulse.enter(Phase::Body);
    let bytes = match body.at_once().await {
        Some(bytes) => bytes?,
        None => slow(peer, &mut body).await?,
    };
    peer.pulse.body_read();
    well_shaped(peer, &bytes)?;
    Ok(bytes)
}

/// Refuses JSON that is too deep, or that says the same thing twice.
pub(crate) fn well_shaped(peer: &Peer, json: &[u8]) -> Result<(), Refusal> {
    let depth_max = peer.edge.config.limits.json_depth_max;
    shape::check(json, size(depth_max)).map_err(|fault| match fault {
        Fault::TooDeep => Problem::json_too_deep(depth_max),
        Fault::Twice(name) => Problem::name_twice(&name),
    })
}

/// A body that does not arrive at once; how many may be waited for is bounded.
pub(crate) async fn slow(peer: &Peer, body: &mut Reader) -> Result<Bytes, Refusal> {
    let max = peer.edge.config.limits.slow_bodies_max;
    let _place =
        peer.edge.slow_bodies.try_acquire().map_err(|_| Problem::too_many_slow_bodies(max))?;
    body.whole().await
}

/// Refuses arguments of a tool that say the same thing twice: the schema is held against one of
/// the two, and the tool may take the other. How deep they are is said where they are checked.
pub(crate) fn said_once(json: &[u8]) -> Result<(), Refusal> {
    match shape::check(json, usize::MAX) {
        Err(Fault::Twice(name)) => Err(Problem::name_twice(&name)),
        Ok(()) | Err(Fault::TooDeep) => Ok(()),
    }
}

/// A response's body.
pub(crate) enum Body {
    /// All of it; `None` once it was taken.
    Whole(Option<Bytes>),
    /// Server-sent events.
    Events(Box<dyn Events>),
}

impl Body {
    /// Keeps something until the body has been sent; one that is whole needs nothing any more.
    pub(crate) fn holding<T: Send + 'static>(self, held: T) -> Self {
        match self {
            Self::Whole(bytes) => Self::Whole(bytes),
            Self::Events(events) => Self::Events(Box::new(Holding { events, _held: held })),
        }
    }
}

struct Holding<T> {
    events: Box<dyn Events>,
    _held: T,
}

impl<T: Send> Events for Holding<T> {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.events.poll_next(cx)
    }
}

/// Where server-sent events come from.
pub(crate) trait Events: Send {
    /// The next event; `None` after the last.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>>;
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::Whole(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Events(events) => {
                events.poll_next(cx).map(|event| event.map(|bytes| Ok(Frame::data(bytes))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => {
                let length = bytes.as_ref().map_or(0, Bytes::len);
                SizeHint::with_exact(u64::try_from(length).unwrap_or(u64::MAX))
            }
            Self::Events(_) => SizeHint::default(),
        }
    }
}
