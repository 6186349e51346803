//! The response: its head, and a body that is decompressed and bounded while it is read.
//!
//! Nothing is read ahead of the guest but what fits the connection's buffer, so that a guest that
//! does not read stops the server. The bound is on decoded bytes: a bomb costs what it may hold.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_compression::tokio::bufread::GzipDecoder;
use bytes::{Bytes, BytesMut};
use foreshore_domain::effect::{EffectError, HttpBodyError, HttpResponse};
use http::header::{self, HeaderMap};
use http::{Request, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyDataStream, BodyExt};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncRead;
use tokio::time::Sleep;
use tokio_util::io::{StreamReader, poll_read_buf};
use tokio_util::task::AbortOnDropHandle;

use super::connection::Connection;
use super::fields;
use super::request_body::{BodyFailure, RequestBody};
use super::target::Target;

/// What the answer is checked against.
pub(super) struct Asked<'a> {
    pub(super) target: &'a Target,
    pub(super) body_failure: BodyFailure,
    pub(super) between_bytes: Duration,
    pub(super) max_bytes: u64,
    pub(super) fields_max_bytes: u64,
}

impl Asked<'_> {
    fn unusable(&self, message: String) -> EffectError {
        EffectError::BadResponse { authority: self.target.authority.clone(), message }
    }

    /// What went wrong, as precisely as the client says.
    fn failed(&self, error: &hyper::Error) -> EffectError {
        match self.body_failure.get() {
            Some(HttpBodyError::Denied(denial)) => return denial.clone().into(),
            Some(failure) => return EffectError::RequestBody(failure.clone()),
            None => {}
        }
        if error.is_parse_too_large() {
            return self
                .unusable(format!("its head is larger than {} bytes", self.fields_max_bytes));
        }
        if error.is_parse() {
            return self.unusable(with_source(error));
        }
        EffectError::ConnectionFailed {
            authority: self.target.authority.clone(),
            message: with_source(error),
        }
    }
}

fn with_source(error: &hyper::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// Sends a request and waits for the head of its response.
///
/// # Errors
/// What broke off, or an answer that cannot be used. The time is bounded by the caller.
pub(super) async fn of(
    connection: Connection,
    request: Request<RequestBody>,
    asked: Asked<'_>,
) -> Result<HttpResponse, EffectError> {
    let head_max_bytes = usize::try_from(asked.fields_max_bytes).unwrap_or(usize::MAX);
    let (mut sender, driver) = http1::Builder::new()
        .max_header_size(head_max_bytes)
        .max_buf_size(head_max_bytes.max(MIN_BUFFER_BYTES))
        .handshake(TokioIo::new(connection))
        .await
        .map_err(|error| asked.failed(&error))?;
    // The driver is a task of its own so that a guest may go on sending its body while it does
    // not yet read the response; it ends with the response's body. Its errors reach both ends.
    let driver = AbortOnDropHandle::new(tokio::spawn(async move { drop(driver.await) }));
    let answer = sender.send_request(request).await.map_err(|error| asked.failed(&error))?;
    received(answer, driver, &asked)
}

/// The least that hyper takes.
const MIN_BUFFER_BYTES: usize = 8 << 10;

fn received(
    answer: http::Response<Incoming>,
    driver: AbortOnDropHandle<()>,
    asked: &Asked<'_>,
) -> Result<HttpResponse, EffectError> {
    let (head, incoming) = answer.into_parts();
    let mut headers = head.headers;
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(asked.unusable("it switches protocols, which nobody asked for".to_owned()));
    }
    fields::strip_connection(&mut headers);
    let is_empty = incoming.is_end_stream();
    let coding = if is_empty { Coding::Identity } else { coding(&headers, asked)? };
    let raw =
        RawBody { incoming, between_bytes: asked.between_bytes, timer: None, _driver: driver };
    let body = match coding {
        Coding::Identity => Bounded::new(raw, asked.max_bytes).boxed_unsync(),
        Coding::Gzip => {
            headers.remove(header::CONTENT_ENCODING);
            headers.remove(header::CONTENT_LENGTH);
            Bounded::new(gunzipped(raw), asked.max_bytes).boxed_unsync()
        }
    };
    Ok(HttpResponse { status: head.status, headers, body })
}

enum Coding {
    Identity,
    Gzip,
}

fn coding(headers: &HeaderMap, asked: &Asked<'_>) -> Result<Coding, EffectError> {
    let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
    let Some(value) = values.next() else { return Ok(Coding::Identity) };
    let value = value.as_bytes();
    let is = |name: &str| value.eq_ignore_ascii_case(name.as_bytes());
    match values.next() {
        None if is("identity") => Ok(Coding::Identity),
        None if is("gzip") || is("x-gzip") => Ok(Coding::Gzip),
        // Also several on top of each other: a bomb in a bomb.
        _ => Err(asked.unusable(format!(
            "its content-encoding is {:?}, and only gzip was asked for",
            String::from_utf8_lossy(value)
        ))),
    }
}

/// The body as it comes, with a limit on the time between two parts.
struct RawBody {
    incoming: Incoming,
    between_bytes: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    _driver: AbortOnDropHandle<()>,
}

impl Body for RawBody {
    type Data = Bytes;
    type Error = HttpBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpBodyError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) {
            self.timer = None;
            let broken = |error: hyper::Error| HttpBodyError::Broken(with_source(&error));
            return Poll::Ready(frame.map(|frame| frame.map_err(broken)));
        }
        // Made only when there is something to wait for: a fast body needs none.
        let limit = self.between_bytes;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(timer.as_mut().poll(cx));
        let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        Poll::Ready(Some(Err(HttpBodyError::Stalled { limit_ms })))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// Bytes decompressed at a time.
const DECODED_PART_BYTES: usize = 16 << 10;

fn gunzipped(raw: RawBody) -> Decoded<impl AsyncRead> {
    let compressed = StreamReader::new(BodyDataStream::new(raw.map_err(io::Error::other)));
    let mut decoder = GzipDecoder::new(compressed);
    // RFC 1952, section 2.2: a file is a series of members.
    decoder.multiple_members(true);
    Decoded(Box::pin(decoder))
}

/// A body read from a decoder; trailers are lost.
struct Decoded<R>(Pin<Box<R>>);

impl<R: AsyncRead> Body for Decoded<R> {
    type Data = Bytes;
    type Error = HttpBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpBodyError>>> {
        let mut part = BytesMut::with_capacity(DECODED_PART_BYTES);
        Poll::Ready(match ready!(poll_read_buf(self.0.as_mut(), cx, &mut part)) {
            Ok(0) => None,
            Ok(_) => Some(Ok(Frame::data(part.freeze()))),
            Err(error) => Some(Err(match error.downcast::<HttpBodyError>() {
                Ok(from_below) => from_below,
                Err(error) => HttpBodyError::Broken(format!("gzip: {error}")),
            })),
        })
    }
}

/// A body that ends with an error once it is too large.
struct Bounded<B> {
    body: B,
    max_bytes: u64,
    left_bytes: u64,
    ended: bool,
}

impl<B: Body<Data = Bytes, Error = HttpBodyError> + Unpin> Bounded<B> {
    fn new(body: B, max_bytes: u64) -> Self {
        Self { body, max_bytes, left_bytes: max_bytes, ended: false }
    }

    fn checked(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, HttpBodyError> {
        let length = frame.data_ref().map_or(0, Bytes::len);
        let left = u64::try_from(length).ok().and_then(|n| self.left_bytes.checked_sub(n));
        self.left_bytes = left.ok_or(HttpBodyError::TooLarge { max_bytes: self.max_bytes })?;
        Ok(frame)
    }
}

impl<B: Body<Data = Bytes, Error = HttpBodyError> + Unpin> Body for Bounded<B> {
    type Data = Bytes;
    type Error = HttpBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpBodyError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        // A length that is announced and too large need not be waited for.
        let frame = if self.body.size_hint().lower() > self.left_bytes {
            Some(Err(HttpBodyError::TooLarge { max_bytes: self.max_bytes }))
        } else {
            let this = &mut *self;
            ready!(Pin::new(&mut this.body).poll_frame(cx)).map(|frame| this.checked(frame?))
        };
        self.ended = !matches!(frame, Some(Ok(_)));
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
