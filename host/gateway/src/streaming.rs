//! Answers that come bit by bit, and waiting that keeps a request alive.
//!
//! What bounds such a request is the work itself: a turn has its budget and a model its limits in
//! time. Each bit, and each beat while there is none, starts the time anew that a request may
//! take; a client that reads nothing still runs into it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use foreshore_domain::inference::InferenceError;
use http::{HeaderValue, Response};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};

use crate::body::{Body, Events};
use crate::connection::Peer;
use crate::pulse::Phase;
use crate::request::typed;

/// How often a request that waits is given its time anew.
const BEAT_EVERY: Duration = Duration::from_secs(5);
/// Bits that wait for a client at once.
const WAITING_MAX: usize = 64;

/// Waits for something that has its own limit in time.
pub(crate) async fn alive<T>(peer: &Peer, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        match tokio::time::timeout(BEAT_EVERY, work.as_mut()).await {
            Ok(value) => return value,
            Err(_) => peer.pulse.enter(Phase::Work),
        }
    }
}

/// Where the bits of an answer go.
pub(crate) struct Lines(mpsc::Sender<Bytes>);

impl Lines {
    /// Sends a bit; `None` if the client is gone.
    pub(crate) async fn send(&self, bit: impl Into<Bytes>) -> Option<()> {
        self.0.send(bit.into()).await.ok()
    }

    /// Waits for something, and tells the client now and then that it is listened to; `None` if
    /// the client is gone. Only for server-sent events, where a line may be a comment.
    pub(crate) async fn beating<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = std::pin::pin!(work);
        loop {
            match tokio::time::timeout(BEAT_EVERY, work.as_mut()).await {
                Ok(value) => return Some(value),
                Err(_) => self.send(&b": listening\n\n"[..]).await?,
            }
        }
    }
}

/// Answers with what `write` sends. It is dropped when the client leaves.
pub(crate) fn streamed<F>(
    peer: &Arc<Peer>,
    content_type: HeaderValue,
    write: impl FnOnce(Lines) -> F,
) -> Response<Body>
where
    F: Future<Output = Option<()>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    let writer = tokio::spawn(write(Lines(sender)));
    let bits = Bits { peer: Arc::clone(peer), receiver, writer };
    typed(Body::Events(Box::new(bits)), content_type)
}

struct Bits {
    peer: Arc<Peer>,
    receiver: mpsc::Receiver<Bytes>,
    writer: JoinHandle<Option<()>>,
}

impl Events for Bits {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let next = self.receiver.poll_recv(cx);
        if matches!(next, Poll::Ready(Some(_))) {
            self.peer.pulse.enter(Phase::Work);
        }
        next
    }
}

impl Drop for Bits {
    fn drop(&mut self) {
        self.writer.abort();
        self.peer.pulse.enter(Phase::Idle);
    }
}

/// Work in a task of its own that ends when nobody waits for it any more.
pub(crate) struct Task<T>(JoinHandle<T>);

/// Starts it.
pub(crate) fn task<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Task<T> {
    Task(tokio::spawn(work))
}

impl<T> Future for Task<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a task that asked a model came to.
pub(crate) fn joined<T>(
    ended: Result<Result<T, InferenceError>, JoinError>,
) -> Result<T, InferenceError> {
    ended.unwrap_or_else(|error| {
        tracing::error!(%error, "a task that asked a model ended early");
        Err(InferenceError::Cancelled)
    })
}
