//! Values that are too large for an event: kept as blobs, beside the start of their text, by
//! which search finds them.

use foreshore_domain::memory::{
    Blob as BlobValue, Embedding, JsonText, VALUE_INLINE_MAX_BYTES, VALUE_TEXT_MAX_BYTES, ValueRef,
};
use foreshore_store::memory::text_of_json;
use foreshore_store::{BLOB_MAX_BYTES, Blob, Journal};

use super::MemoryFault;

/// The largest value; what a request or a guest may send is bounded before, and lower.
pub const VALUE_MAX_BYTES: usize = BLOB_MAX_BYTES;

/// The value as its event holds it, and the blob that goes with it.
pub(super) fn kept(
    value: JsonText,
    embedding: Option<&Embedding>,
) -> Result<(ValueRef, Option<Blob>), MemoryFault> {
    let bytes = value.as_str().len();
    if bytes > VALUE_MAX_BYTES {
        return Err(MemoryFault::TooLarge { bytes, max_bytes: VALUE_MAX_BYTES });
    }
    // An embedding, four bytes a number in base64, is in the same event.
    let beside = embedding.map_or(0, |embedding| embedding.vector().len() * 16 / 3);
    if bytes <= VALUE_INLINE_MAX_BYTES.saturating_sub(beside) {
        return Ok((ValueRef::Inline(value), None));
    }
    let blob = Blob::new(value.as_str().as_bytes().to_vec());
    let reference = BlobValue {
        digest: blob.digest(),
        size_bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
        json_type: value.json_type(),
        text: start(&text_of_json(&value)),
    };
    Ok((ValueRef::Blob(reference), Some(blob)))
}

/// The start of a text: so much that its event has room for it, however it is escaped.
fn start(text: &str) -> String {
    let mut start = String::new();
    for character in text.chars() {
        if start.len() + character.len_utf8() > VALUE_TEXT_MAX_BYTES {
            break;
        }
        // A control character would take six bytes in JSON, and no word has one.
        start.push(if character.is_control() && character != '\n' { ' ' } else { character });
    }
    start
}

/// A value from where it is; `None` if its blob went since.
pub(super) fn read(journal: &Journal, value: &ValueRef) -> Result<Option<JsonText>, MemoryFault> {
    let blob = match value {
        ValueRef::Inline(json) => return Ok(Some(json.clone())),
        ValueRef::Blob(blob) => blob,
    };
    let Some(bytes) = journal.blob(&blob.digest)? else { return Ok(None) };
    // Its bytes are what was parsed when it was written: they are held to its digest.
    let text = String::from_utf8(bytes)
        .map_err(|error| MemoryFault::Store { message: error.to_string() })?;
    Ok(Some(JsonText::from_checked(text)))
}
