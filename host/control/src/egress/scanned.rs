//! Bodies that are looked at while they pass: what a guest sends holds no secret, and what it is
//! given holds none any more.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use foreshore_domain::call::CallContext;
use foreshore_domain::effect::{EffectError, HttpBody, HttpBodyError, HttpResponse};
use foreshore_secrets::{Leak, Stream};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;

use super::secrets::{fields, leak};
use crate::secrets::custody::Held;

/// A guest's body that breaks off before the first byte of a secret.
pub(super) fn outgoing(body: HttpBody, held: Arc<Held>, call: Arc<CallContext>) -> HttpBody {
    Scanned::new(body, held, Direction::Out(call)).boxed_unsync()
}

/// A response in which the places of secrets are marked.
pub(super) fn incoming(response: HttpResponse, held: Arc<Held>) -> HttpResponse {
    let HttpResponse { status, mut headers, body } = response;
    scrub(&mut headers, &held);
    // What is replaced has another length.
    headers.remove(header::CONTENT_LENGTH);
    let body = Scanned::new(body, held, Direction::In).boxed_unsync();
    HttpResponse { status, headers, body }
}

/// An error in which the places of secrets are marked: it may repeat what the other side said.
pub(super) fn failure(mut error: EffectError, held: &Held) -> EffectError {
    match &mut error {
        EffectError::NameNotResolved { message, .. }
        | EffectError::ConnectionFailed { message, .. }
        | EffectError::TlsFailed { message, .. }
        | EffectError::BadResponse { message, .. }
        | EffectError::RequestBody(HttpBodyError::Broken(message)) => held.text(message),
        _ => {}
    }
    error
}

fn scrub(headers: &mut HeaderMap, held: &Held) {
    let scanner = &held.scanner;
    let is_clean = |name: &HeaderName, value: &HeaderValue| {
        scanner.find(name.as_str().as_bytes()).is_none() && scanner.find(value.as_bytes()).is_none()
    };
    if headers.iter().all(|(name, value)| is_clean(name, value)) {
        return;
    }
    let mut clean = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers.iter() {
        // A name has no room for a mark.
        if scanner.find(name.as_str().as_bytes()).is_some() {
            continue;
        }
        let value = match scanner.redacted(value.as_bytes()) {
            None => Some(value.clone()),
            Some(redacted) => HeaderValue::from_bytes(&redacted).ok(),
        };
        if let Some(value) = value {
            clean.append(name, value);
        }
    }
    *headers = clean;
}

enum Direction {
    Out(Arc<CallContext>),
    In,
}

struct Scanned {
    body: HttpBody,
    held: Arc<Held>,
    direction: Direction,
    stream: Stream,
    trailers: Option<HeaderMap>,
    ended: bool,
}

impl Scanned {
    fn new(body: HttpBody, held: Arc<Held>, direction: Direction) -> Self {
        let stream = Stream::default();
        Self { body, held, direction, stream, trailers: None, ended: false }
    }

    fn data(&mut self, part: &[u8]) -> Result<Bytes, HttpBodyError> {
        let scanner = &self.held.scanner;
        match &self.direction {
            Direction::In => Ok(self.stream.redacted(scanner, part).into()),
            Direction::Out(call) => {
                let checked = self.stream.checked(scanner, part);
                let leaked = |Leak { name }| leak(call, "the body of a request", &name).into();
                checked.map(Bytes::from).map_err(leaked)
            }
        }
    }

    fn trailers(&self, mut trailers: HeaderMap) -> Result<HeaderMap, HttpBodyError> {
        match &self.direction {
            Direction::In => scrub(&mut trailers, &self.held),
            Direction::Out(call) => {
                let checked = fields(call, &self.held, "a trailer of a request", &trailers);
                checked.map_err(|error| match error {
                    EffectError::Denied(denial) => HttpBodyError::Denied(denial),
                    error => HttpBodyError::Broken(error.to_string()),
                })?;
            }
        }
        Ok(trailers)
    }
}

impl Body for Scanned {
    type Data = Bytes;
    type Error = HttpBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpBodyError>>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(this.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
        }
        loop {
            let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
            let part = match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => this.data(&data),
                    Err(frame) => {
                        let trailers = frame.into_trailers().unwrap_or_default();
                        this.ended = true;
                        match this.trailers(trailers) {
                            Ok(trailers) => {
                                this.trailers = Some(trailers);
                                Ok(this.stream.end(&this.held.scanner).into())
                            }
                            Err(error) => Err(error),
                        }
                    }
                },
                Some(Err(error)) => Err(error),
                None => {
                    this.ended = true;
                    Ok(this.stream.end(&this.held.scanner).into())
                }
            };
            return Poll::Ready(match part {
                Ok(part) if !part.is_empty() => Some(Ok(Frame::data(part))),
                Ok(_) if this.ended => this.trailers.take().map(|t| Ok(Frame::trailers(t))),
                // All of it is held back until more is there.
                Ok(_) => continue,
                Err(error) => {
                    this.ended = true;
                    Some(Err(error))
                }
            });
        }
    }

    fn is_end_stream(&self) -> bool {
        let is_over = self.ended || self.body.is_end_stream();
        is_over && self.stream.held_bytes() == 0 && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.direction {
            // What is replaced has another length.
            Direction::In => SizeHint::default(),
            // As long as what the guest wrote, or broken off.
            Direction::Out(_) => {
                let mut hint = self.body.size_hint();
                let held = u64::try_from(self.stream.held_bytes()).unwrap_or(u64::MAX);
                if let Some(upper) = hint.upper() {
                    hint.set_upper(upper.saturating_add(held));
                }
                hint.set_lower(hint.lower().saturating_add(held));
                hint
            }
        }
    }
}
