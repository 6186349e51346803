//! What is known of the files of a watched directory, and of each change to them.
//!
//! Deliberately absent: looking, which is `integrity`'s, and recording, which is `control`'s.
//! The invariant: a path is kept byte for byte, whatever it holds, and has one spelling.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::blob::BlobDigest;
use crate::id::CallId;

mod events;
mod path;

pub use self::events::{
    FileBaselined, FileChanged, FilesApproved, UndoEnded, UndoPlanned, VersionName, VersionsDropped,
};
pub use self::path::{EntryPath, PathError, escape, unescape};

/// Names a watched directory: 1 to 128 characters, none of them a control character.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RootName(Arc<str>);

/// A text that is no name of a root.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not the name of a root: use 1 to 128 characters, none of them control")]
pub struct RootNameError {
    text: String,
}

impl RootName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RootName {
    type Err = RootNameError;

    fn from_str(text: &str) -> Result<Self, RootNameError> {
        let length = text.chars().take(129).count();
        if (1..=128).contains(&length) && !text.chars().any(char::is_control) {
            Ok(Self(text.into()))
        } else {
            Err(RootNameError { text: text.chars().take(128).collect() })
        }
    }
}

impl TryFrom<String> for RootName {
    type Error = RootNameError;

    fn try_from(text: String) -> Result<Self, RootNameError> {
        text.parse()
    }
}

impl From<RootName> for String {
    fn from(name: RootName) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl fmt::Display for RootName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RootName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// What is done about a change that no component and not the host made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RootPolicy {
    /// Record it.
    #[default]
    Record,
    /// Record it and tell people.
    Alert,
    /// Record it and put the approved version back.
    Restore,
    /// Record it and move what is there out of the root.
    Quarantine,
}

/// Who changed a file.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "AuthorShape", into = "AuthorShape")]
pub enum Author {
    /// A component, in a call.
    Component {
        /// Name and version: `files@0.1.0`.
        component: Arc<str>,
        /// Which call.
        call_id: CallId,
    },
    /// The host itself.
    Host(HostAct),
    /// Anybody else on this machine.
    Outside,
}

/// Why the host changed a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostAct {
    /// It put an approved version back.
    Restore,
    /// It moved a file out of the root.
    Quarantine,
    /// It took a call's changes back.
    Undo,
}

/// `{"component":…,"call_id":…}`, `{"host":"undo"}` or `"outside"`.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum AuthorShape {
    Component { component: Arc<str>, call_id: String },
    Host { host: HostAct },
    Word(Word),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Outside,
}

impl From<Author> for AuthorShape {
    fn from(author: Author) -> Self {
        match author {
            Author::Component { component, call_id } => {
                Self::Component { component, call_id: call_id.to_string() }
            }
            Author::Host(host) => Self::Host { host },
            Author::Outside => Self::Word(Word::Outside),
        }
    }
}

impl TryFrom<AuthorShape> for Author {
    type Error = &'static str;

    fn try_from(shape: AuthorShape) -> Result<Self, Self::Error> {
        Ok(match shape {
            AuthorShape::Component { component, call_id } => {
                let call_id = CallId::parse(&call_id).ok_or("the call_id is not a call's id")?;
                Self::Component { component, call_id }
            }
            AuthorShape::Host { host } => Self::Host(host),
            AuthorShape::Word(Word::Outside) => Self::Outside,
        })
    }
}

/// What an entry of a directory is and holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryState {
    /// What it is.
    #[serde(flatten)]
    pub kind: EntryKind,
    /// Bytes of a regular file; 0 for anything else.
    pub size_bytes: u64,
    /// The 12 permission bits; 0 for a symbolic link, which has none of its own.
    pub mode: u32,
    /// Numeric user and group.
    pub owner: (u32, u32),
    /// Digest of the sorted names and values of the extended attributes; none where the file
    /// system has none, where the entry has none, and for what is never opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xattrs: Option<BlobDigest>,
    /// Which file it is, under whatever name.
    pub identity: Identity,
    /// When it changed.
    pub stamp: Stamp,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum EntryKind {
    /// A regular file.
    File {
        /// BLAKE3 of its bytes; none if it is larger than what is hashed: then its size, times
        /// and inode stand for its content.
        hash: Option<BlobDigest>,
    },
    /// A directory.
    Directory,
    /// A symbolic link; never followed.
    Symlink {
        /// Where it points, percent-escaped as an [`EntryPath`] is.
        target: String,
        /// BLAKE3 of the bytes of the target.
        hash: BlobDigest,
    },
    /// A FIFO; never opened.
    Fifo,
    /// A socket; never opened.
    Socket,
    /// A block or character device; never opened.
    Device,
}

/// Which file something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The device of the file system.
    pub device: u64,
    /// Its number there. Numbers of deleted files are used again.
    pub inode: u64,
    /// How many names it has.
    pub links: u64,
}

/// When an entry changed, in nanoseconds since 1970 by the clock of its file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Its content, as far as nobody set this time (`mtime`).
    pub modified_ns: i64,
    /// Anything about it (`ctime`).
    pub changed_ns: i64,
    /// Whether `changed_ns` was so long ago when the entry was looked at that any later change
    /// through the file system's calls has another.
    pub settled: bool,
}

impl EntryState {
    /// The hash of what it holds: of a file's bytes, of a link's target.
    pub fn hash(&self) -> Option<BlobDigest> {
        match &self.kind {
            EntryKind::File { hash } => *hash,
            EntryKind::Symlink { hash, .. } => Some(*hash),
            _ => None,
        }
    }

    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.kind == EntryKind::Directory
    }

    /// Whether both hold the same under the same permissions, whichever file it is.
    pub fn same_as(&self, other: &Self) -> bool {
        matches!(ChangeKind::between(Some(self), Some(other)), None | Some(ChangeKind::Replaced))
    }

    fn same_content(&self, other: &Self) -> bool {
        match (&self.kind, &other.kind) {
            (EntryKind::File { hash: None }, EntryKind::File { hash: None }) => {
                self.size_bytes == other.size_bytes
                    && self.identity.inode == other.identity.inode
                    && self.stamp.modified_ns == other.stamp.modified_ns
                    && self.stamp.changed_ns == other.stamp.changed_ns
            }
            (kind, other) => kind == other,
        }
    }
}

/// What happened to an entry. Where several things did, the first in this order; the states
/// before and after say all of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ChangeKind {
    /// It was not there.
    Created,
    /// It is no longer there.
    Deleted,
    /// It was there under another name: the kernel said so, and it is the same file with the
    /// same content.
    Renamed {
        /// The name before.
        from: EntryPath,
    },
    /// It is something else: a file where a link was.
    Type,
    /// It holds something else.
    Modified,
    /// Other permission bits, or another owner.
    Mode,
    /// Other extended attributes.
    Xattrs,
    /// Another file with the same content took its place.
    Replaced,
}

impl ChangeKind {
    /// What happened between two looks at one path; a rename is not seen from one path.
    pub fn between(before: Option<&EntryState>, after: Option<&EntryState>) -> Option<Self> {
        let (before, after) = match (before, after) {
            (None, None) => return None,
            (None, Some(_)) => return Some(Self::Created),
            (Some(_), None) => return Some(Self::Deleted),
            (Some(before), Some(after)) => (before, after),
        };
        let same_type = std::mem::discriminant(&before.kind) == std::mem::discriminant(&after.kind);
        let same_file = (before.identity.device, before.identity.inode)
            == (after.identity.device, after.identity.inode);
        if !same_type {
            Some(Self::Type)
        } else if !before.same_content(after) {
            Some(Self::Modified)
        } else if (before.mode, before.owner) != (after.mode, after.owner) {
            Some(Self::Mode)
        } else if before.xattrs != after.xattrs {
            Some(Self::Xattrs)
        } else if !same_file {
            Some(Self::Replaced)
        } else {
            None
        }
    }
}

/// A change to one path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// In which root.
    pub root: RootName,
    /// Where.
    pub path: EntryPath,
    /// What happened.
    #[serde(flatten)]
    pub kind: ChangeKind,
    /// What was there.
    pub before: Option<EntryState>,
    /// What is there now.
    pub after: Option<EntryState>,
    /// Who did it.
    pub author: Author,
}

/// A recorded change as it is listed: `{seq, at, root, path, kind, old_hash, new_hash, author}`,
/// and `from` where `kind` is `renamed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeRecord {
    /// Its place in the journal.
    pub seq: u64,
    /// When it was recorded, in milliseconds since 1970.
    pub at: u64,
    /// In which root.
    pub root: RootName,
    /// Where.
    pub path: EntryPath,
    /// What happened.
    #[serde(flatten)]
    pub kind: ChangeKind,
    /// What the entry held, if it held anything that is hashed.
    pub old_hash: Option<BlobDigest>,
    /// What it holds.
    pub new_hash: Option<BlobDigest>,
    /// Who did it.
    pub author: Author,
}

impl ChangeRecord {
    /// The record of a change.
    pub fn new(seq: u64, at_unix_ms: u64, change: &Change) -> Self {
        let hash = |state: &Option<EntryState>| state.as_ref().and_then(EntryState::hash);
        Self {
            seq,
            at: at_unix_ms,
            root: change.root.clone(),
            path: change.path.clone(),
            kind: change.kind.clone(),
            old_hash: hash(&change.before),
            new_hash: hash(&change.after),
            author: change.author.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(hash: u8) -> EntryState {
        EntryState {
            kind: EntryKind::File { hash: Some(BlobDigest::from_bytes([hash; 32])) },
            size_bytes: 3,
            mode: 0o644,
            owner: (0, 0),
            xattrs: None,
            identity: Identity { device: 1, inode: 2, links: 1 },
            stamp: Stamp { modified_ns: 0, changed_ns: 0, settled: false },
        }
    }

    #[test]
    fn a_change_is_listed_in_the_documented_shape() {
        let change = Change {
            root: "files:/notes".parse().expect("a name"),
            path: "a%2525".parse().expect("a path"),
            kind: ChangeKind::Modified,
            before: Some(file(1)),
            after: Some(file(2)),
            author: Author::Component { component: "files@0.1.0".into(), call_id: CallId::new(1) },
        };
        let record = ChangeRecord::new(7, 9, &change);
        let json = serde_json::to_value(&record).expect("serializes");
        assert_eq!(json["kind"], "modified");
        assert_eq!(json["path"], "a%2525");
        assert_eq!(json["author"]["component"], "files@0.1.0");
        assert_eq!(json["old_hash"], format!("blake3:{}", "01".repeat(32)));
        let keys: Vec<&str> = json.as_object().expect("an object").keys().map(|k| &**k).collect();
        let mut expected =
            vec!["seq", "at", "root", "path", "kind", "old_hash", "new_hash", "author"];
        expected.sort_unstable();
        assert_eq!(keys, expected);
        assert_eq!(serde_json::from_value::<ChangeRecord>(json).expect("reads"), record);
        let whole = serde_json::to_string(&change).expect("serializes");
        assert_eq!(serde_json::from_str::<Change>(&whole).expect("reads"), change);
    }

    #[test]
    fn each_author_survives_a_round_trip_and_outside_is_a_word() {
        for author in [
            Author::Outside,
            Author::Host(HostAct::Undo),
            Author::Component { component: "files@0.1.0".into(), call_id: CallId::new(5) },
        ] {
            let text = serde_json::to_string(&author).expect("serializes");
            assert_eq!(serde_json::from_str::<Author>(&text).expect("reads"), author);
        }
        assert_eq!(serde_json::to_string(&Author::Outside).expect("serializes"), "\"outside\"");
        assert!(serde_json::from_str::<Author>("\"inside\"").is_err());
    }

    #[test]
    fn what_differs_names_the_change_and_times_alone_do_not() {
        let between = |change: fn(&mut EntryState)| {
            let mut after = file(1);
            change(&mut after);
            ChangeKind::between(Some(&file(1)), Some(&after))
        };
        assert_eq!(between(|state| state.stamp.modified_ns = 5), None);
        assert_eq!(between(|state| state.identity.links = 5), None);
        assert_eq!(between(|state| state.identity.inode = 5), Some(ChangeKind::Replaced));
        assert_eq!(between(|state| state.mode = 0o600), Some(ChangeKind::Mode));
        assert_eq!(between(|state| state.owner.1 = 1), Some(ChangeKind::Mode));
        assert_eq!(between(|state| state.kind = file(2).kind), Some(ChangeKind::Modified));
        assert_eq!(between(|state| state.kind = EntryKind::Fifo), Some(ChangeKind::Type));
        let xattrs = Some(BlobDigest::from_bytes([1; 32]));
        let mut after = file(1);
        after.xattrs = xattrs;
        assert_eq!(ChangeKind::between(Some(&file(1)), Some(&after)), Some(ChangeKind::Xattrs));
        let mut large = file(1);
        large.kind = EntryKind::File { hash: None };
        let mut touched = large.clone();
        touched.stamp.changed_ns = 1;
        assert_eq!(ChangeKind::between(Some(&large), Some(&touched)), Some(ChangeKind::Modified));
    }
}
