//! A call as a stream of events: `tool.progress` and `tool.log` while it runs, then
//! `tool.result` or `error`.
//!
//! The call runs in a task of its own, so that a client which reads slowly cannot hold it past
//! its deadline; dropping the stream drops the call. What a slow client does not take in time is
//! left out (progress and logs), but never the result.

use std::collections::VecDeque;
use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use foreshore_control::{Control, Invocation, Permit};
use foreshore_domain::call::{Observer, Progress};
use foreshore_domain::outcome::LogLine;
use http::{HeaderValue, Response};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::body::{Body, Events};
use crate::connection::Peer;
use crate::problem::{Problem, Refusal};
use crate::pulse::Phase;
use crate::request::typed;
use crate::wire;

/// Events that wait for a client at once.
const WAITING_MAX: usize = 64;

/// Starts a call and answers with its events.
pub(crate) fn stream(
    peer: &Arc<Peer>,
    permit: Permit,
    mut invocation: Invocation,
    request_id: &HeaderValue,
) -> Response<Body> {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    invocation.observer = Some(Arc::new(Watcher(sender)));
    let request_id = request_id.to_str().unwrap_or_default().to_owned();
    let call = run(Arc::clone(&peer.edge.control), permit, invocation, request_id.clone());
    let events = CallEvents {
        peer: Arc::clone(peer),
        request_id,
        receiver,
        call: Some(tokio::spawn(call)),
        last: VecDeque::new(),
    };
    typed(Body::Events(Box::new(events)), HeaderValue::from_static("text/event-stream"))
}

/// Runs the call; its last event.
async fn run(
    control: Arc<Control>,
    permit: Permit,
    invocation: Invocation,
    request_id: String,
) -> Bytes {
    match control.invoke_with(permit, invocation).await {
        Ok(outcome) => wire::event("tool.result", &wire::CallResult::from(&outcome)),
        Err(failure) => error_event(&failure.into(), &request_id),
    }
}

fn error_event(problem: &Refusal, request_id: &str) -> Bytes {
    wire::event("error", &wire::ProblemSchema::new(problem, request_id))
}

/// Turns what a guest reports into events. Never blocks: what finds no room is left out.
struct Watcher(mpsc::Sender<Bytes>);

impl Observer for Watcher {
    fn progress(&self, progress: &Progress) {
        if let Ok(place) = self.0.try_reserve() {
            place.send(wire::event("tool.progress", &wire::ProgressSchema::from(progress)));
        }
    }

    fn log(&self, line: &LogLine) {
        if let Ok(place) = self.0.try_reserve() {
            place.send(wire::event("tool.log", &wire::LogSchema::from(line)));
        }
    }
}

/// The events of one call, in order.
struct CallEvents {
    peer: Arc<Peer>,
    request_id: String,
    receiver: mpsc::Receiver<Bytes>,
    /// `None` once the call has ended.
    call: Option<JoinHandle<Bytes>>,
    /// What is left to send once the call has ended.
    last: VecDeque<Bytes>,
}

impl Events for CallEvents {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(call) = &mut self.call {
            if let Poll::Ready(Some(event)) = self.receiver.poll_recv(cx) {
                return Poll::Ready(Some(event));
            }
            let end = if self.peer.pulse.expired().is_some() {
                call.abort();
                let limit = self.peer.edge.config.limits.request_timeout_ms;
                error_event(&Problem::request_timeout(limit), &self.request_id)
            } else {
                match Pin::new(call).poll(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(event)) => event,
                    Poll::Ready(Err(error)) => {
                        error_event(&Problem::host(&error.to_string()), &self.request_id)
                    }
                }
            };
            self.call = None;
            // What the guest reported just before the end comes before the end.
            while let Ok(event) = self.receiver.try_recv() {
                self.last.push_back(event);
            }
            self.last.push_back(end);
        }
        Poll::Ready(self.last.pop_front())
    }
}

impl Drop for CallEvents {
    fn drop(&mut self) {
        if let Some(call) = self.call.take() {
            call.abort();
        }
        self.peer.pulse.enter(Phase::Idle);
    }
}
