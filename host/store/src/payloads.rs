//! Whether a payload goes into its event or into a blob.

use foreshore_domain::conversation::{Excerpt, Payload};
use foreshore_domain::memory::JsonText;

use crate::commit::Blob;

/// A payload that holds `json`, and the blob to be committed with it if it does not fit into an
/// event, or is nothing that an event may hold as it is: too deep, or not JSON to every reader.
pub fn pack(json: String, excerpt: Excerpt) -> (Payload, Option<Blob>) {
    let inline = JsonText::parse(json.as_str()).ok();
    if let Some(payload) = inline.and_then(|json| Payload::inline(json, excerpt.clone()).ok()) {
        return (payload, None);
    }
    let blob = Blob::new(json.into_bytes());
    let size_bytes = u64::try_from(blob.bytes().len()).unwrap_or(u64::MAX);
    (Payload::blob(blob.digest(), size_bytes, excerpt), Some(blob))
}
