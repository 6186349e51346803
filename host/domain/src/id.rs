//! Identifiers. Each is a newtype that can only hold a well-formed value.

use std::fmt;

use sha2::{Digest as _, Sha256};

macro_rules! ids {
    ($($(#[doc = $doc:literal])+ $name:ident: $prefix:literal;)+) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(uuid::Uuid);

        impl $name {
            /// A new id. `now_unix_ms` is passed in: the domain has no clock.
            pub fn new(now_unix_ms: u64) -> Self {
                Self(new_v7(now_unix_ms))
            }

            /// Reads the form that [`fmt::Display`] writes.
            pub fn parse(text: &str) -> Option<Self> {
                let hex = text.strip_prefix($prefix)?;
                uuid::Uuid::try_parse(hex).ok().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut buffer = uuid::Uuid::encode_buffer();
                f.write_str($prefix)?;
                f.write_str(self.0.simple().encode_lower(&mut buffer))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::parse(&text).ok_or_else(|| {
                    serde::de::Error::custom(concat!("no id of the form ", $prefix, "<32 hex digits>"))
                })
            }
        }
    )+};
}

ids! {
    /// Names one call of a tool: `call_` and a UUIDv7 in 32 hex digits, so ids sort by time.
    CallId: "call_";
    /// Names one turn of an agent: `turn_` and a UUIDv7 in 32 hex digits.
    TurnId: "turn_";
    /// Names one question to a person: `ask_` and a UUIDv7 in 32 hex digits.
    QuestionId: "ask_";
    /// Names one API key or one line of refresh tokens: `key_` and a UUIDv7 in 32 hex digits. No
    /// secret: it is in lists and in records.
    KeyId: "key_";
    /// Names one request for approval by rule: `apr_` and a UUIDv7 in 32 hex digits.
    ApprovalId: "apr_";
}

fn new_v7(now_unix_ms: u64) -> uuid::Uuid {
    let seconds = now_unix_ms / 1_000;
    let nanos = u32::try_from(now_unix_ms % 1_000).unwrap_or_default() * 1_000_000;
    uuid::Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanos))
}

/// SHA-256 of a component's bytes, as OCI registries write it: `sha256:<64 hex digits>`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Reads the form that [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.strip_prefix("sha256:").filter(|hex| hex.len() == 64 && hex.is_ascii())?;
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).ok()?;
            // A sign would be taken by the parser of numbers.
            let plain = pair.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
            *byte = u8::from_str_radix(pair, 16).ok().filter(|_| plain)?;
        }
        Some(Self(bytes))
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 hex digits, without the algorithm.
    pub fn hex(&self) -> String {
        use fmt::Write as _;
        self.0.iter().fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_id_survives_a_round_trip_and_sorts_by_time() {
        let early = CallId::new(1_000);
        let late = CallId::new(2_000);
        assert!(early < late);
        assert_eq!(CallId::parse(&early.to_string()), Some(early));
        assert_eq!(early.to_string().len(), "call_".len() + 32);
        assert_eq!(CallId::parse("call_xyz"), None);
        assert_eq!(CallId::parse(&early.to_string()[5..]), None);
    }

    #[test]
    fn a_digest_is_written_as_registries_write_it() {
        assert_eq!(
            Digest::of(b"").to_string(),
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        let digest = Digest::of(b"x");
        assert_eq!(Digest::parse(&digest.to_string()), Some(digest));
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        for bad in ["", hex, "sha256:", &format!("sha256:+3{}", &hex[2..])] {
            assert_eq!(Digest::parse(bad), None, "{bad}");
        }
    }
}
