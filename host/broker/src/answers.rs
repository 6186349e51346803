//! Answers that are kept, so that an equal request need not be asked again.
//!
//! Only requests that a model answers alike each time (temperature 0), only for the tenant who
//! asked. A fresh one stands in for a model; an old one only where no backend answers. Bounded
//! in number and bytes: what was used longest ago goes first.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use foreshore_domain::inference::{ChatRequest, Completion};
use tokio::time::Instant;

use crate::config::CacheConfig;

/// A request: the digest of all of it, with the tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RequestKey(blake3::Hash);

impl RequestKey {
    /// `None` for a request that cannot be written down, which is then like no other.
    pub(crate) fn of(tenant: &str, model: &str, request: &ChatRequest) -> Option<Self> {
        let mut hasher = blake3::Hasher::new();
        for part in [tenant, model] {
            // Lengths first: no two different lists of parts give the same bytes.
            hasher.update(&u64::try_from(part.len()).ok()?.to_le_bytes());
            hasher.update(part.as_bytes());
        }
        hasher.update(&serde_json::to_vec(request).ok()?);
        Some(Self(hasher.finalize()))
    }
}

/// How old an answer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Age {
    Fresh,
    Any,
}

/// The answers.
pub(crate) struct Answers {
    config: CacheConfig,
    kept: HashMap<RequestKey, Kept>,
    /// By when they were used last.
    used: BTreeMap<u64, RequestKey>,
    uses: u64,
    bytes: usize,
}

struct Kept {
    completion: Completion,
    bytes: usize,
    at: Instant,
    used: u64,
}

impl Answers {
    pub(crate) fn new(config: CacheConfig) -> Self {
        Self { config, kept: HashMap::new(), used: BTreeMap::new(), uses: 0, bytes: 0 }
    }

    pub(crate) fn find(&mut self, key: &RequestKey, age: Age) -> Option<Completion> {
        let kept = self.kept.get_mut(key)?;
        let is_fresh = kept.at.elapsed() < Duration::from_secs(self.config.ttl_s);
        if age == Age::Fresh && !is_fresh {
            return None;
        }
        self.used.remove(&kept.used);
        self.uses += 1;
        kept.used = self.uses;
        self.used.insert(self.uses, *key);
        Some(kept.completion.clone())
    }

    pub(crate) fn keep(&mut self, key: RequestKey, completion: &Completion) {
        let bytes = size(completion);
        if self.config.entries == 0 || bytes > self.config.max_bytes {
            return;
        }
        self.forget(&key);
        self.uses += 1;
        let (used, at) = (self.uses, Instant::now());
        self.kept.insert(key, Kept { completion: completion.clone(), bytes, at, used });
        self.used.insert(used, key);
        self.bytes += bytes;
        while self.kept.len() > self.config.entries || self.bytes > self.config.max_bytes {
            let Some((_, oldest)) = self.used.first_key_value() else { break };
            let oldest = *oldest;
            self.forget(&oldest);
        }
    }

    fn forget(&mut self, key: &RequestKey) {
        if let Some(kept) = self.kept.remove(key) {
            self.used.remove(&kept.used);
            self.bytes -= kept.bytes;
        }
    }
}

/// What an answer takes, about.
fn size(completion: &Completion) -> usize {
    let message = &completion.message;
    let calls = message.tool_calls.iter();
    let calls: usize = calls.map(|call| call.name.len() + call.arguments_json.len()).sum();
    let thinking = message.thinking.as_ref().map_or(0, String::len);
    ENTRY_BYTES + message.plain_text().len() + thinking + calls
}

/// What an entry takes beside its texts.
const ENTRY_BYTES: usize = 512;

#[cfg(test)]
mod tests;
