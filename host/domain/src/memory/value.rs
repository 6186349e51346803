//! The value of a record: JSON of its own, or the digest of a blob that holds it.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::error::MemoryError;
use crate::blob::BlobDigest;

/// The largest value that is kept in the event itself.
pub const VALUE_INLINE_MAX_BYTES: usize = 48 << 10;
/// The most text of a blob that search reads.
pub const VALUE_TEXT_MAX_BYTES: usize = 16 << 10;
/// How deep arrays and objects may nest.
const DEPTH_MAX: usize = 64;

/// Where a value is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ValueRef {
    /// Here.
    Inline(JsonText),
    /// In the blobs.
    Blob(Blob),
}

impl ValueRef {
    /// What the value is.
    pub fn json_type(&self) -> JsonType {
        match self {
            Self::Inline(json) => json.json_type(),
            Self::Blob(blob) => blob.json_type,
        }
    }

    /// The size of the JSON, wherever it is.
    pub fn size_bytes(&self) -> u64 {
        match self {
            Self::Inline(json) => u64::try_from(json.as_str().len()).unwrap_or(u64::MAX),
            Self::Blob(blob) => blob.size_bytes,
        }
    }
}

/// A value that is kept under its digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blob {
    /// Of the JSON's bytes.
    pub digest: BlobDigest,
    /// How many there are.
    pub size_bytes: u64,
    /// What the value is.
    pub json_type: JsonType,
    /// The words by which search finds it: at most [`VALUE_TEXT_MAX_BYTES`], chosen by
    /// whoever wrote the blob, since a view reads no blobs.
    #[serde(default, deserialize_with = "blob_text")]
    pub text: String,
}

/// The kind of a JSON value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names say it")]
pub enum JsonType {
    Object,
    Array,
    String,
    Number,
    Boolean,
    Null,
}

impl JsonType {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Object, Self::Array, Self::String, Self::Number, Self::Boolean, Self::Null];

    /// `object`, `array`, `string`, `number`, `boolean` or `null`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Null => "null",
        }
    }
}

/// JSON as it was written, byte for byte, nested at most 64 deep; in an event at most
/// [`VALUE_INLINE_MAX_BYTES`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonText(Box<str>);

impl JsonText {
    /// Reads it.
    ///
    /// # Errors
    /// [`MemoryError::ValueTooLarge`], [`MemoryError::TooDeep`], [`MemoryError::NotJson`].
    pub fn parse(text: impl Into<Box<str>>) -> Result<Self, MemoryError> {
        Self::parse_within(text, VALUE_INLINE_MAX_BYTES)
    }

    /// Reads what has at most so many bytes.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_within(text: impl Into<Box<str>>, max_bytes: usize) -> Result<Self, MemoryError> {
        let text = text.into();
        // Size and depth first: work on what a guest sends is bounded before it is done.
        if text.len() > max_bytes {
            return Err(MemoryError::ValueTooLarge { bytes: text.len(), max_bytes });
        }
        Self::parse_of_any_size(text)
    }

    /// Reads it, however large it is: for values that are kept as blobs. Whoever takes the text
    /// bounds it.
    ///
    /// # Errors
    /// [`MemoryError::TooDeep`], [`MemoryError::NotJson`].
    pub fn parse_of_any_size(text: impl Into<Box<str>>) -> Result<Self, MemoryError> {
        let text = text.into();
        if depth(&text) > DEPTH_MAX {
            return Err(MemoryError::TooDeep { max: DEPTH_MAX });
        }
        // Into a value and not into a `RawValue`, which takes lone surrogates.
        serde_json::from_str::<serde_json::Value>(&text)
            .map_err(|error| MemoryError::NotJson { message: error.to_string() })?;
        Ok(Self(text))
    }

    /// What was read from a [`JsonText`] before, and is not checked again.
    pub fn from_checked(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The JSON.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What it is.
    pub fn json_type(&self) -> JsonType {
        match self.0.trim_start().bytes().next() {
            Some(b'{') => JsonType::Object,
            Some(b'[') => JsonType::Array,
            Some(b'"') => JsonType::String,
            Some(b't' | b'f') => JsonType::Boolean,
            Some(b'n') => JsonType::Null,
            _ => JsonType::Number,
        }
    }
}

impl Serialize for JsonText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(&self.0).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for JsonText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Self::parse(Box::<str>::from(raw)).map_err(serde::de::Error::custom)
    }
}

/// How deep JSON nests, at least where it is valid.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

fn blob_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.len() > VALUE_TEXT_MAX_BYTES {
        let (bytes, max_bytes) = (text.len(), VALUE_TEXT_MAX_BYTES);
        return Err(serde::de::Error::custom(MemoryError::TextTooLarge { bytes, max_bytes }));
    }
    Ok(text)
}
