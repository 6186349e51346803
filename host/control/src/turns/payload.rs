//! JSON that is kept: in its event, or in a blob beside it.

use foreshore_domain::conversation::{Body, Excerpt, PAYLOAD_INLINE_MAX_BYTES, Payload};
use foreshore_domain::event::NewEvent;
use foreshore_domain::memory::JsonText;
use foreshore_store::{Blob, Journal, ReadError};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Events that are recorded together, with their blobs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entry {
    pub(crate) events: Vec<NewEvent>,
    pub(crate) blobs: Vec<Blob>,
}

impl Entry {
    pub(crate) fn push(&mut self, event: NewEvent) {
        self.events.push(event);
    }

    /// Keeps a value for an event of this entry.
    pub(crate) fn keep(&mut self, value: &impl Serialize, excerpt: &str) -> Payload {
        // What is kept came out of JSON or is made of text and numbers, so this holds.
        let json = serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned());
        self.keep_json(json, excerpt)
    }

    /// Keeps JSON for an event of this entry: inline if it is small, else as a blob.
    pub(crate) fn keep_json(&mut self, json: String, excerpt: &str) -> Payload {
        let excerpt = Excerpt::cut(excerpt);
        let size_bytes = u64::try_from(json.len()).unwrap_or(u64::MAX);
        if json.len() <= PAYLOAD_INLINE_MAX_BYTES
            && let Ok(text) = JsonText::parse(json.as_str())
            && let Ok(payload) = Payload::inline(text, excerpt.clone())
        {
            return payload;
        }
        let blob = Blob::new(json.into_bytes());
        let payload = Payload::blob(blob.digest(), size_bytes, excerpt);
        if self.blobs.iter().all(|other| other.digest() != blob.digest()) {
            self.blobs.push(blob);
        }
        payload
    }

    /// What it holds in memory, about.
    pub(crate) fn bytes(&self) -> usize {
        let events: usize = self.events.iter().map(|event| event.payload.len()).sum();
        events + self.blobs.iter().map(|blob| blob.bytes().len()).sum::<usize>()
    }

    /// Adds what another holds, after what is here.
    pub(crate) fn append(&mut self, other: Self) {
        self.events.extend(other.events);
        for blob in other.blobs {
            if self.blobs.iter().all(|own| own.digest() != blob.digest()) {
                self.blobs.push(blob);
            }
        }
    }
}

/// Something that was kept cannot be read.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum KeptError {
    /// The journal.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Its blob is gone.
    #[error("the blob {0} is not stored")]
    Missing(foreshore_domain::blob::BlobDigest),
    /// It is of another form than this version reads.
    #[error("what was kept does not parse: {0}")]
    Form(String),
}

/// The JSON that was kept.
pub(crate) fn text(journal: &Journal, payload: &Payload) -> Result<String, KeptError> {
    match &payload.body {
        Body::Inline(json) => Ok(json.as_str().to_owned()),
        Body::Blob { digest, .. } => {
            let bytes = journal.blob(digest)?.ok_or(KeptError::Missing(*digest))?;
            String::from_utf8(bytes).map_err(|error| KeptError::Form(error.to_string()))
        }
    }
}

/// The value that was kept.
pub(crate) fn value<T: DeserializeOwned>(
    journal: &Journal,
    payload: &Payload,
) -> Result<T, KeptError> {
    let text = text(journal, payload)?;
    serde_json::from_str(&text).map_err(|error| KeptError::Form(error.to_string()))
}
