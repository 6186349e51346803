//! What memory keeps: the payloads of its events, each part valid by type.
//!
//! Deliberately absent: versions and times (the journal's order gives both), quotas (the
//! caller's), and how anything is stored or found. The invariant: **a payload that
//! deserializes holds to every bound named here**, so a view never meets one that does not.

mod embedding;
mod error;
mod name;
mod origin;
mod value;

use serde::{Deserialize, Serialize};

use crate::blob::BlobDigest;

pub use embedding::{DIMENSION_MAX, Embedding};
pub use error::MemoryError;
pub use name::{Conversation, Key, ModelName, Namespace, Predicate, Tag, VariableName};
pub use origin::Origin;
pub use value::{Blob, JsonText, JsonType, VALUE_INLINE_MAX_BYTES, VALUE_TEXT_MAX_BYTES, ValueRef};

/// The most tags of a record.
pub const TAGS_MAX: usize = 16;
/// The longest time to live: a hundred years of 365 days, in seconds.
pub const TTL_MAX_S: u64 = 100 * 365 * 24 * 60 * 60;

/// The kinds of event that change memory.
pub mod kind {
    /// [`super::MemoryPut`].
    pub const PUT: &str = "memory.put";
    /// [`super::MemoryDeleted`].
    pub const DELETED: &str = "memory.deleted";
    /// [`super::MemoryExpired`].
    pub const EXPIRED: &str = "memory.expired";
    /// [`super::MemoryRelated`].
    pub const RELATED: &str = "memory.related";
    /// [`super::MemoryRelated`].
    pub const UNRELATED: &str = "memory.unrelated";
    /// All of them.
    pub const ALL: [&str; 5] = [PUT, DELETED, EXPIRED, RELATED, UNRELATED];
}

/// `memory.put`: a new version of a record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemoryPut {
    /// Where.
    pub namespace: Namespace,
    /// Under which name.
    pub key: Key,
    /// What.
    pub value: ValueRef,
    /// Words to filter by.
    #[serde(default)]
    pub tags: Tags,
    /// How much it matters.
    #[serde(default)]
    pub importance: Importance,
    /// Forgotten so long after the event's time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_s: Option<Ttl>,
    /// Where its text came from. Kept with this version for ever.
    pub origin: Origin,
    /// Its place in a model's space, for search by meaning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedding: Option<Embedding>,
    /// The blob of the value, if it is one: an event names its blobs in one list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blobs: Vec<BlobDigest>,
}

/// `memory.deleted`: the record is gone; its versions stay, and this is one of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemoryDeleted {
    /// Where.
    pub namespace: Namespace,
    /// Which record.
    pub key: Key,
    /// Who deleted it.
    pub origin: Origin,
}

/// `memory.expired`: a version's time is over, and its value leaves the view. Readers hid it
/// from the moment it expired; this only takes it away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemoryExpired {
    /// Where.
    pub namespace: Namespace,
    /// Which record.
    pub key: Key,
    /// Which version of it.
    pub version: u64,
}

/// `memory.related`, `memory.unrelated`: an edge of the graph appears or goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemoryRelated {
    /// Where.
    pub namespace: Namespace,
    /// The edge.
    pub relation: Relation,
    /// Who said so.
    pub origin: Origin,
}

/// A directed, labelled edge between two keys. The keys need not be those of records.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Relation {
    /// From.
    pub subject: Key,
    /// How.
    pub predicate: Predicate,
    /// To.
    pub object: Key,
}

/// At most [`TAGS_MAX`] tags, sorted, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Tag>")]
pub struct Tags(Vec<Tag>);

impl Tags {
    /// The tags, sorted.
    pub fn as_slice(&self) -> &[Tag] {
        &self.0
    }

    /// Reads tags as a guest writes them.
    ///
    /// # Errors
    /// [`MemoryError::Name`] for one that is empty, too long or has control characters,
    /// [`MemoryError::TooManyTags`].
    pub fn parse(tags: impl IntoIterator<Item = impl Into<String>>) -> Result<Self, MemoryError> {
        let tags: Result<Vec<Tag>, _> = tags.into_iter().map(Tag::parse).collect();
        tags?.try_into()
    }
}

impl TryFrom<Vec<Tag>> for Tags {
    type Error = MemoryError;

    fn try_from(mut tags: Vec<Tag>) -> Result<Self, MemoryError> {
        tags.sort();
        tags.dedup();
        if tags.len() > TAGS_MAX {
            return Err(MemoryError::TooManyTags { count: tags.len(), max: TAGS_MAX });
        }
        Ok(Self(tags))
    }
}

/// From 0, worth little, to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f32")]
pub struct Importance(f32);

impl Importance {
    /// The number.
    pub fn get(self) -> f32 {
        self.0
    }
}

impl TryFrom<f32> for Importance {
    type Error = MemoryError;

    fn try_from(value: f32) -> Result<Self, MemoryError> {
        if (0.0..=1.0).contains(&value) {
            // Adding zero turns -0 into 0, so that equal numbers have equal bytes.
            Ok(Self(value + 0.0))
        } else {
            Err(MemoryError::Importance { value })
        }
    }
}

/// A time to live in seconds, from 1 to [`TTL_MAX_S`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u64")]
pub struct Ttl(u64);

impl Ttl {
    /// The first millisecond at which what was written at `at_unix_ms` is no longer there.
    pub fn expires_at_unix_ms(self, at_unix_ms: u64) -> u64 {
        at_unix_ms.saturating_add(self.0.saturating_mul(1_000))
    }
}

impl TryFrom<u64> for Ttl {
    type Error = MemoryError;

    fn try_from(seconds: u64) -> Result<Self, MemoryError> {
        if (1..=TTL_MAX_S).contains(&seconds) {
            Ok(Self(seconds))
        } else {
            Err(MemoryError::Ttl { seconds, max: TTL_MAX_S })
        }
    }
}

#[cfg(test)]
mod tests;
