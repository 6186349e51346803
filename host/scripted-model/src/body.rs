//! Bodies of answers: whole ones, and lines that are written one by one.
//!
//! Invariant: each line, or part of one, is a write of its own. hyper would put lines together
//! that are ready together; the body is therefore not ready once after each, and hyper flushes.

use std::num::NonZeroUsize;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::{Either, Full};
use tokio::sync::mpsc;

/// The body of an answer.
pub(crate) type Payload = Either<Full<Bytes>, Lines>;

/// The connection is to be broken here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the script breaks the connection here")]
pub(crate) struct Broken;

/// All of a body.
pub(crate) fn whole(bytes: impl Into<Bytes>) -> Payload {
    Either::Left(Full::new(bytes.into()))
}

/// A body that is written line by line, and the end to write it from.
pub(crate) fn lines(write_bytes: Option<NonZeroUsize>) -> (Writer, Payload) {
    let (sender, receiver) = mpsc::channel(1);
    let lines = Lines { receiver, flush: false };
    (Writer { sender, write_bytes }, Either::Right(lines))
}

/// Writes a body. Dropping it ends the body.
pub(crate) struct Writer {
    sender: mpsc::Sender<Result<Bytes, Broken>>,
    write_bytes: Option<NonZeroUsize>,
}

/// Nobody reads any more.
pub(crate) struct Gone;

impl Writer {
    pub(crate) async fn write(&self, mut line: Bytes) -> Result<(), Gone> {
        let most = self.write_bytes.map_or(usize::MAX, NonZeroUsize::get);
        while !line.is_empty() {
            let part = line.split_to(most.min(line.len()));
            self.sender.send(Ok(part)).await.map_err(|_| Gone)?;
        }
        Ok(())
    }

    /// Closes the connection in the middle of the body.
    pub(crate) async fn cut(self) {
        // Nobody there to be cut off is just as well.
        let _ = self.sender.send(Err(Broken)).await;
    }

    /// Ends when the reader goes away.
    pub(crate) async fn gone(&self) -> Gone {
        self.sender.closed().await;
        Gone
    }
}

/// The reading end of a [`Writer`].
pub(crate) struct Lines {
    receiver: mpsc::Receiver<Result<Bytes, Broken>>,
    flush: bool,
}

impl Body for Lines {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if std::mem::take(&mut self.flush) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let received = std::task::ready!(self.receiver.poll_recv(cx));
        self.flush = received.is_some();
        Poll::Ready(received.map(|line| line.map(Frame::data)))
    }
}
