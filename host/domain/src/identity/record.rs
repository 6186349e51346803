//! What is recorded of credentials: never one itself, only a digest of its secret part.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::role::{Reach, RoleName};
use crate::conversation::Name;
use crate::event::{EventKind, NewEvent, Stream, Tenant};
use crate::id::KeyId;

/// The kinds of events about credentials, as the journal names them.
pub mod kind {
    use crate::event::EventKind;

    /// [`super::KeyIssued`].
    pub const KEY_ISSUED: &str = "key.issued";
    /// [`super::KeyRevoked`].
    pub const KEY_REVOKED: &str = "key.revoked";
    /// [`super::FamilyStarted`].
    pub const FAMILY_STARTED: &str = "tokens.started";
    /// [`super::FamilyRotated`].
    pub const FAMILY_ROTATED: &str = "tokens.rotated";
    /// [`super::FamilyRevoked`].
    pub const FAMILY_REVOKED: &str = "tokens.revoked";

    /// All of them.
    pub const ALL: [EventKind; 5] = [
        EventKind::KeyIssued,
        EventKind::KeyRevoked,
        EventKind::TokensStarted,
        EventKind::TokensRotated,
        EventKind::TokensRevoked,
    ];
}

/// The digest of a secret of 256 random bits. It needs no salt and no slow hash: there is nothing
/// to guess. Compared in constant time.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretHash(blake3::Hash);

impl SecretHash {
    /// The digest of a secret that is used for one purpose.
    pub fn of(purpose: &'static str, secret: &[u8]) -> Self {
        Self(blake3::Hash::from_bytes(blake3::derive_key(purpose, secret)))
    }
}

impl PartialEq for SecretHash {
    fn eq(&self, other: &Self) -> bool {
        // In constant time, by the promise of `blake3::Hash`.
        self.0 == other.0
    }
}

impl Eq for SecretHash {}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(..)")
    }
}

impl From<SecretHash> for String {
    fn from(hash: SecretHash) -> Self {
        hash.0.to_hex().to_string()
    }
}

impl TryFrom<String> for SecretHash {
    type Error = blake3::HexError;

    fn try_from(text: String) -> Result<Self, blake3::HexError> {
        blake3::Hash::from_hex(text).map(Self)
    }
}

/// Names one line of refresh tokens: each but the last was replaced by the next.
pub type FamilyId = KeyId;

/// An API key was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyIssued {
    /// Which.
    pub key: KeyId,
    /// What for, for people.
    pub name: Name,
    /// What it may do.
    pub roles: Vec<RoleName>,
    /// With which tools and agents, at most.
    #[serde(default = "Reach::all", skip_serializing_if = "Reach::is_all")]
    pub reach: Reach,
    /// Of its secret part.
    pub hash: SecretHash,
    /// When it ends, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at_unix_ms: Option<u64>,
    /// By whom.
    pub by: Name,
}

/// An API key counts no longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRevoked {
    /// Which.
    pub key: KeyId,
    /// By whom.
    pub by: Name,
}

/// Somebody was given an access token and the first refresh token of a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FamilyStarted {
    /// Which line.
    pub family: FamilyId,
    /// Whose: the `sub` of the access tokens.
    pub subject: Name,
    /// What they may do.
    pub roles: Vec<RoleName>,
    /// With which tools and agents, at most.
    #[serde(default = "Reach::all", skip_serializing_if = "Reach::is_all")]
    pub reach: Reach,
    /// Of the refresh token's secret part.
    pub hash: SecretHash,
    /// When the refresh token ends, in milliseconds since 1970.
    pub expires_at_unix_ms: u64,
    /// By whom.
    pub by: Name,
}

/// A refresh token was used, and replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FamilyRotated {
    /// Which line.
    pub family: FamilyId,
    /// Of the new one's secret part.
    pub hash: SecretHash,
    /// When the new one ends, in milliseconds since 1970.
    pub expires_at_unix_ms: u64,
}

/// No token of a line counts any longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FamilyRevoked {
    /// Which line.
    pub family: FamilyId,
    /// Why.
    pub because: RevokedBecause,
    /// By whom.
    pub by: Name,
}

/// Why a line of tokens ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RevokedBecause {
    /// Somebody said so.
    Revoked,
    /// A refresh token came that had been replaced: one of two who have it stole it (RFC 9700,
    /// section 4.14.2).
    Reused,
}

/// A request was refused for who asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The request's id, as its answer names it.
    pub request: String,
    /// Why: the code of the answer.
    pub code: String,
    /// Who asked, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// From where.
    pub address: String,
    /// The method.
    pub method: String,
    /// The path, cut short.
    pub path: String,
    /// What was missing, where a permission was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permission: Option<String>,
}

macro_rules! events {
    ($($name:ident: $kind:ident, $id:ident;)+) => {$(
        impl $name {
            /// The event that records it.
            pub fn event(&self, at_unix_ms: u64, tenant: Tenant) -> NewEvent {
                NewEvent {
                    at_unix_ms,
                    tenant,
                    stream: Stream::Credential(self.$id),
                    kind: EventKind::$kind,
                    payload: json(self),
                }
            }
        }
    )+};
}

events! {
    KeyIssued: KeyIssued, key;
    KeyRevoked: KeyRevoked, key;
    FamilyStarted: TokensStarted, family;
    FamilyRotated: TokensRotated, family;
    FamilyRevoked: TokensRevoked, family;
}

impl Refused {
    /// The event that records it.
    pub fn event(&self, at_unix_ms: u64, tenant: Tenant) -> NewEvent {
        let (stream, kind) = (Stream::Host, EventKind::RequestRefused);
        NewEvent { at_unix_ms, tenant, stream, kind, payload: json(self) }
    }
}

fn json(fact: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(fact).expect("invariant: names of members are text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_in_its_record_and_matches_only_itself() {
        let hash = SecretHash::of("a purpose", b"hunter2");
        let json = serde_json::to_string(&hash).expect("JSON");
        assert!(!json.contains("hunter2") && !format!("{hash:?}").contains("hunter"));
        let read: SecretHash = serde_json::from_str(&json).expect("its own form");
        assert_eq!(read, hash);
        assert_ne!(SecretHash::of("a purpose", b"hunter3"), hash);
        assert_ne!(SecretHash::of("another purpose", b"hunter2"), hash);
        assert!(serde_json::from_str::<SecretHash>("\"00\"").is_err());
    }

    #[test]
    fn kinds_are_named_as_the_journal_names_them() {
        let names = [
            kind::KEY_ISSUED,
            kind::KEY_REVOKED,
            kind::FAMILY_STARTED,
            kind::FAMILY_ROTATED,
            kind::FAMILY_REVOKED,
        ];
        assert_eq!(kind::ALL.map(EventKind::as_str), names);
    }
}
