//! What a server says when it refuses: in the shapes that are in use.

use http::{HeaderMap, header};
use serde_json::Value;

use crate::failure::Failure;
use crate::http_client::Answer;

/// An error's text may be this long; the rest is not read.
const ERROR_MAX_BYTES: usize = 64 << 10;

/// The answer, if its status is 2xx.
///
/// # Errors
/// What it says instead.
pub(super) async fn checked(answer: Answer) -> Result<Answer, Failure> {
    if answer.status.is_success() {
        return Ok(answer);
    }
    let retry_after_ms = retry_after_ms(&answer.headers);
    // A body that cannot be read leaves the status, which says enough.
    let body = answer.body.whole(ERROR_MAX_BYTES).await.unwrap_or_default();
    let said = error_text(&body);
    Err(Failure::of_status(answer.status, &said, retry_after_ms))
}

/// `{"error": "text"}`, `{"error": {"message": "text"}}`, `{"message": "text"}`, or plain text.
fn error_text(body: &[u8]) -> String {
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        return String::from_utf8_lossy(body).trim().to_owned();
    };
    let error = value.get("error").unwrap_or(&value);
    text_of(error).unwrap_or_else(|| error.to_string())
}

/// The text of an error that is a text, or an object with a message and a code.
pub(super) fn text_of(error: &Value) -> Option<String> {
    if let Some(text) = error.as_str() {
        return Some(text.to_owned());
    }
    let message = error.get("message")?.as_str()?;
    match error.get("code").and_then(Value::as_str) {
        Some(code) => Some(format!("{message} ({code})")),
        None => Some(message.to_owned()),
    }
}

fn retry_after_ms(headers: &HeaderMap) -> Option<u64> {
    let seconds: u64 = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(seconds.saturating_mul(1_000))
}
