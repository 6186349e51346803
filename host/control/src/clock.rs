//! The wall clock: the only place in the host that reads it, so that what is recorded can be
//! replayed under another one. Durations are measured with `Instant`, which needs no permission.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970; 0 on a machine whose clock is before that.
pub fn now_unix_ms() -> u64 {
    #[allow(clippy::disallowed_methods, reason = "this is the one place that may")]
    let now = SystemTime::now();
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
