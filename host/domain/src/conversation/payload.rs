//! A message, effect or outcome: JSON of its own, or the digest of a blob that holds it.

use serde::{Deserialize, Serialize};

use super::Excerpt;
use super::error::ConversationError;
use crate::blob::BlobDigest;
use crate::memory::JsonText;

/// The largest payload that is kept in the event itself: two of them, and what goes with them,
/// fit one event.
pub const PAYLOAD_INLINE_MAX_BYTES: usize = 16 << 10;

/// JSON, wherever it is, and what it says in plain text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payload {
    /// The JSON.
    pub body: Body,
    /// Its text, for lists and search; empty where nobody looks for it.
    #[serde(default, skip_serializing_if = "Excerpt::is_empty")]
    pub excerpt: Excerpt,
}

/// Where JSON is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", try_from = "Unchecked")]
pub enum Body {
    /// Here: at most [`PAYLOAD_INLINE_MAX_BYTES`].
    Inline(JsonText),
    /// In the blobs.
    Blob {
        /// Of the JSON's bytes.
        digest: BlobDigest,
        /// How many there are.
        size_bytes: u64,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum Unchecked {
    Inline(JsonText),
    Blob { digest: BlobDigest, size_bytes: u64 },
}

impl Payload {
    /// JSON that is kept in the event.
    ///
    /// # Errors
    /// [`ConversationError::PayloadTooLarge`].
    pub fn inline(json: JsonText, excerpt: Excerpt) -> Result<Self, ConversationError> {
        let body = Body::try_from(Unchecked::Inline(json))?;
        Ok(Self { body, excerpt })
    }

    /// JSON that is kept in a blob.
    pub fn blob(digest: BlobDigest, size_bytes: u64, excerpt: Excerpt) -> Self {
        Self { body: Body::Blob { digest, size_bytes }, excerpt }
    }

    /// The blob that holds it, if one does.
    pub fn digest(&self) -> Option<BlobDigest> {
        match &self.body {
            Body::Inline(_) => None,
            Body::Blob { digest, .. } => Some(*digest),
        }
    }

    /// The size of the JSON, wherever it is.
    pub fn size_bytes(&self) -> u64 {
        match &self.body {
            Body::Inline(json) => u64::try_from(json.as_str().len()).unwrap_or(u64::MAX),
            Body::Blob { size_bytes, .. } => *size_bytes,
        }
    }
}

impl TryFrom<Unchecked> for Body {
    type Error = ConversationError;

    fn try_from(body: Unchecked) -> Result<Self, ConversationError> {
        match body {
            Unchecked::Inline(json) if json.as_str().len() > PAYLOAD_INLINE_MAX_BYTES => {
                let (bytes, max_bytes) = (json.as_str().len(), PAYLOAD_INLINE_MAX_BYTES);
                Err(ConversationError::PayloadTooLarge { bytes, max_bytes })
            }
            Unchecked::Inline(json) => Ok(Self::Inline(json)),
            Unchecked::Blob { digest, size_bytes } => Ok(Self::Blob { digest, size_bytes }),
        }
    }
}
