//! `/api/blobs/sha256:...`: files that a model is made of.
//!
//! They are hashed and forgotten: what is kept is that they came. Deliberately absent: an entry
//! in the log, whose bodies are JSON.

use std::sync::Arc;

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use sha2::{Digest, Sha256};

use super::errors::Failure;
use super::library::hex;
use crate::body::{Payload, whole};
use crate::server::Shared;

/// The longest blob, in bytes.
const BLOB_MAX_BYTES: usize = 16 * 1024 * 1024 * 1024;

pub(crate) async fn answer(
    shared: &Arc<Shared>,
    digest: &str,
    request: Request<Incoming>,
) -> Response<Payload> {
    let status = match (request.method(), digest.strip_prefix("sha256:").is_some_and(is_hash)) {
        (_, false) => Err(Failure::bad_request(format!("invalid digest format: {digest:?}"))),
        (&Method::HEAD, true) if shared.shelf.has_blob(digest) => Ok(StatusCode::OK),
        (&Method::HEAD, true) => Ok(StatusCode::NOT_FOUND),
        (&Method::POST, true) => receive(shared, digest, request.into_body()).await,
        (method, true) => Err(Failure::new(
            StatusCode::METHOD_NOT_ALLOWED,
            format!("{method} is not for blobs: HEAD asks for one, POST sends one"),
        )),
    };
    let mut response = Response::new(whole(bytes::Bytes::new()));
    match status {
        Ok(status) => *response.status_mut() = status,
        Err(failure) => return failure.response(false).unwrap_or(response),
    }
    response
}

fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|it| it.is_ascii_digit() || (b'a'..=b'f').contains(&it))
}

async fn receive(
    shared: &Arc<Shared>,
    digest: &str,
    mut body: Incoming,
) -> Result<StatusCode, Failure> {
    let (mut hash, mut length) = (Sha256::new(), 0_usize);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Failure::bad_request(error.to_string()))?;
        let Some(data) = frame.data_ref() else { continue };
        length = length.saturating_add(data.len());
        if length > BLOB_MAX_BYTES {
            let text = format!("the blob has more than {BLOB_MAX_BYTES} bytes");
            return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, text));
        }
        hash.update(data);
    }
    let found = format!("sha256:{}", hex(&hash.finalize()));
    if found != digest {
        let text = format!("digest mismatch, expected {digest:?}, got {found:?}");
        return Err(Failure::bad_request(text));
    }
    match shared.shelf.add_blob(found) {
        true => Ok(StatusCode::CREATED),
        false => Err(Failure::internal("there are too many blobs: start the server anew")),
    }
}
