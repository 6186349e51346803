//! The body that a guest sends: bounded while it is sent.
//!
//! The HTTP client drops a body's own error, so it is kept aside: the guest shall read "larger
//! than 1048576 bytes" and not "connection closed".

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use foreshore_domain::effect::{HttpBody, HttpBodyError};
use http::header::{self, HeaderMap};
use http_body::{Body, Frame, SizeHint};

/// Why the body broke off, if it did.
pub(super) type BodyFailure = Arc<OnceLock<HttpBodyError>>;

/// A body that says beforehand that it is too large is not begun.
///
/// # Errors
/// A length, in the fields or of the body itself, above the limit.
pub(super) fn check_announced(
    headers: &HeaderMap,
    body: &HttpBody,
    max_bytes: u64,
) -> Result<(), HttpBodyError> {
    let field = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let in_fields = field.and_then(|text| text.parse::<u64>().ok()).unwrap_or_default();
    if in_fields.max(body.size_hint().lower()) > max_bytes {
        return Err(HttpBodyError::TooLarge { max_bytes });
    }
    Ok(())
}

/// A body of at most so many bytes, and where its failure will be.
pub(super) fn bounded(body: HttpBody, max_bytes: u64) -> (RequestBody, BodyFailure) {
    let failure = BodyFailure::default();
    let body = RequestBody { body, max_bytes, left_bytes: max_bytes, failure: failure.clone() };
    (body, failure)
}

/// A guest's body on its way out.
pub(super) struct RequestBody {
    body: HttpBody,
    max_bytes: u64,
    left_bytes: u64,
    failure: BodyFailure,
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = HttpBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpBodyError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let checked = frame.map(|frame| {
            let frame = frame?;
            let length = frame.data_ref().map_or(0, Bytes::len);
            let left = u64::try_from(length).ok().and_then(|n| self.left_bytes.checked_sub(n));
            self.left_bytes = left.ok_or(HttpBodyError::TooLarge { max_bytes: self.max_bytes })?;
            Ok(frame)
        });
        if let Some(Err(error)) = &checked {
            // A second error would only be the echo of the first.
            let _ = self.failure.set(HttpBodyError::clone(error));
        }
        Poll::Ready(checked)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
