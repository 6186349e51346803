//! The payloads of the events about files.
//!
//! Bytes that an event makes kept are named in `blobs`, which is where the store looks for them;
//! no two entries of one event may hold the same bytes and have them kept, so that each kept
//! version is one reference.

use serde::{Deserialize, Serialize};

use super::{Change, EntryPath, EntryState, RootName};
use crate::blob::BlobDigest;

/// `file.baselined`: entries taken as known and approved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileBaselined {
    /// Of which root.
    pub root: RootName,
    /// Which.
    pub entries: Vec<(EntryPath, EntryState)>,
    /// Whether these are the last.
    pub complete: bool,
    /// Versions that are kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blobs: Vec<BlobDigest>,
}

/// `file.changed`: a change, whoever made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChanged {
    /// What, where and by whom.
    pub change: Change,
    /// Versions that are kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blobs: Vec<BlobDigest>,
}

/// `file.approved`: what is known of these paths is good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilesApproved {
    /// Of which root.
    pub root: RootName,
    /// Which.
    pub paths: Vec<EntryPath>,
}

/// `file.undo_planned`: an undo is about to be performed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UndoPlanned {
    /// Of which call.
    pub call_id: String,
    /// How: the plan, in a blob.
    pub blobs: [BlobDigest; 1],
}

/// `file.undone`: an undo ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UndoEnded {
    /// Of which call.
    pub call_id: String,
    /// `undone` or `rolled-back`.
    pub outcome: String,
}

/// `file.dropped`: versions that are no longer kept; `blob.released` goes with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionsDropped {
    /// Which.
    pub versions: Vec<VersionName>,
}

/// One kept version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionName {
    /// Of which root.
    pub root: RootName,
    /// Of which file.
    pub path: EntryPath,
    /// The event that made it kept.
    pub seq: u64,
    /// What it holds.
    pub hash: BlobDigest,
}
