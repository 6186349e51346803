//! The name of a blob: bytes too large for an event, stored once under their digest.
//!
//! An event that needs blobs names them in the list `blobs` of its payload.
//! Deliberately absent: hashing, which is the store's.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// BLAKE3 of a blob's bytes: `blake3:` and 64 hex digits in lower case.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlobDigest([u8; 32]);

impl BlobDigest {
    /// What stands before the hex digits.
    pub const PREFIX: &str = "blake3:";
    /// How long the text is, in bytes.
    pub const TEXT_BYTES: usize = Self::PREFIX.len() + 64;

    /// From the 32 bytes that BLAKE3 gives.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads the form that [`fmt::Display`] writes, and no other.
    pub fn parse(text: &str) -> Option<Self> {
        from_hex(text.strip_prefix(Self::PREFIX)?).map(Self)
    }
}

/// 32 bytes as 64 hex digits in lower case.
pub(crate) struct Hex<'a>(pub(crate) &'a [u8; 32]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Reads what [`Hex`] writes, and nothing else.
pub(crate) fn from_hex(text: &str) -> Option<[u8; 32]> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    let mut bytes = [0; 32];
    if pairs.len() != bytes.len() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = nibble(*high)? << 4 | nibble(*low)?;
    }
    Some(bytes)
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for BlobDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", Self::PREFIX, Hex(&self.0))
    }
}

impl fmt::Debug for BlobDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for BlobDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BlobDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            serde::de::Error::custom("a blob is named by \"blake3:\" and 64 hex digits")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blobs_name_survives_a_round_trip_and_has_one_spelling() {
        let digest = BlobDigest::from_bytes([0xa7; 32]);
        let text = digest.to_string();
        assert_eq!(text.len(), BlobDigest::TEXT_BYTES);
        assert_eq!(BlobDigest::parse(&text), Some(digest));
        assert_eq!(BlobDigest::parse(&text.to_uppercase()), None);
        assert_eq!(BlobDigest::parse(&text[..70]), None);
        assert_eq!(BlobDigest::parse(&text[7..]), None);
        let json = serde_json::to_string(&digest).expect("serializes");
        assert_eq!(serde_json::from_str::<BlobDigest>(&json).expect("reads"), digest);
        assert!(serde_json::from_str::<BlobDigest>("\"blake3:00\"").is_err());
    }
}
