//! How a client stands with a quota, in the fields `RateLimit` and `RateLimit-Policy`
//! (draft-ietf-httpapi-ratelimit-headers-10): the quota and its window, what is left of it, and in
//! how many seconds all of it is there again; where none is left, in how many there is one.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::quota::{Quota, Taken};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// How a client stands with a quota.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    quota: Quota,
    taken: Taken,
}

impl Standing {
    pub(super) fn new(quota: Quota, taken: Taken) -> Self {
        Self { quota, taken }
    }

    /// Says so in a response.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        let (left, ns) = match self.taken {
            Taken::Yes { left, full_ns } => (left, full_ns),
            Taken::No { wait_ns } => (0, wait_ns),
        };
        let Quota { name, burst, .. } = self.quota;
        let window_s = seconds(self.quota.window_ns());
        put(headers, POLICY, format!("\"{name}\";q={burst};w={window_s}"));
        put(headers, RATE_LIMIT, format!("\"{name}\";r={left};t={}", seconds(ns)));
    }
}

fn put(headers: &mut HeaderMap, name: HeaderName, text: String) {
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(name, value);
    }
}

/// Whole seconds, rounded up: whoever waits so long does not come too early.
fn seconds(ns: u64) -> u64 {
    ns.div_ceil(1_000_000_000)
}
