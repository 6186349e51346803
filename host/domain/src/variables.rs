//! What a conversation keeps by name: the payload of its event, each part valid by type.
//!
//! Deliberately absent: versions and times (the journal's order gives both) and quotas (the
//! caller's).

use serde::{Deserialize, Serialize};

use crate::blob::BlobDigest;
use crate::memory::ValueRef;
pub use crate::memory::{Conversation, VariableName};

/// The kind of event that sets a variable: [`VariableSet`].
pub const KIND_SET: &str = "variable.set";

/// `variable.set`: a new version of a variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VariableSet {
    /// Whose.
    pub conversation: Conversation,
    /// Under which name.
    pub name: VariableName,
    /// What.
    pub value: ValueRef,
    /// The blob that holds it, if one does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blobs: Vec<BlobDigest>,
}
