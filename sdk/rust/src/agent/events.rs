//! Tell others, and be woken.

use serde::Serialize;

use super::ask;
use crate::Error;

/// Puts an event on the conversation's record. A kind is 1 to 64 of a-z, 0-9, `.`, `-` and `_`,
/// first a letter or digit.
///
/// # Errors
/// [`Error::Invalid`] for another kind, [`Error::Exhausted`] over quota.
pub fn emit<T: Serialize + ?Sized>(kind: &str, payload: &T) -> Result<(), Error> {
    let payload = serde_json::to_string(payload)?;
    ask(|host| host.emit(kind, &payload))
}

/// Sleeps until a time, in milliseconds since 1970; also through a restart of the host. Waiting
/// costs the host nothing.
///
/// # Errors
/// [`Error::Invalid`] for a time more than 30 days ahead.
pub fn wake_at(time_unix_ms: u64) -> Result<(), Error> {
    ask(|host| host.wake_at(time_unix_ms))
}
