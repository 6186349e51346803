//! Watched directories, and what changed in them.

use foreshore_control::integrity::{Difference, RootSummary, WatchState};
use foreshore_control::store::files::FileVersion;
use foreshore_domain::integrity::{Change, ChangeRecord};

/// The watched directories.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = FileRoots)]
pub(crate) struct FileRootsSchema {
    pub(crate) roots: Vec<FileRootSchema>,
}

/// A watched directory.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = FileRoot)]
pub(crate) struct FileRootSchema {
    #[schema(example = "files:/notes")]
    name: String,
    /// Where it is on the host.
    path: String,
    /// `record`, `alert`, `restore` or `quarantine`: what is done about changes from outside.
    policy: &'static str,
    /// `watching`, `polling` or `missing`.
    state: &'static str,
    /// Why it is not watched by events.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// Whether its baseline, or the first scan since the start, is complete.
    ready: bool,
    /// Paths that changed from outside and that nobody approved.
    unapproved: Vec<String>,
    /// What was reported of it last.
    reports: Vec<String>,
}

impl From<RootSummary> for FileRootSchema {
    fn from(root: RootSummary) -> Self {
        use foreshore_domain::integrity::RootPolicy;
        let (state, why) = match root.state {
            WatchState::Watching { .. } => ("watching", None),
            WatchState::Polling { why, .. } => ("polling", Some(why)),
            WatchState::Missing { why } => ("missing", Some(why)),
            other => ("unknown", Some(format!("{other:?}"))),
        };
        Self {
            name: root.name.as_str().to_owned(),
            path: root.path.display().to_string(),
            policy: match root.policy {
                RootPolicy::Record => "record",
                RootPolicy::Alert => "alert",
                RootPolicy::Restore => "restore",
                RootPolicy::Quarantine => "quarantine",
            },
            state,
            why,
            ready: root.is_ready,
            unapproved: root.unapproved.iter().map(ToString::to_string).collect(),
            reports: root.reports,
        }
    }
}

/// Changes of files, in order.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = FileChanges)]
pub(crate) struct FileChangesSchema {
    /// Each as `{seq, at, root, path, kind, old_hash, new_hash, author}`, where `author` is
    /// `{component, call_id}`, `{host}` or `"outside"`.
    #[schema(value_type = Vec<Object>)]
    pub(crate) changes: Vec<ChangeRecord>,
}

/// What was put back.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = FilesRestored)]
pub(crate) struct FilesRestoredSchema {
    pub(crate) paths: Vec<RestoredSchema>,
}

/// A path that was put back.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = FileRestored)]
pub(crate) struct RestoredSchema {
    root: String,
    path: String,
}

impl From<&Change> for RestoredSchema {
    fn from(change: &Change) -> Self {
        Self { root: change.root.as_str().to_owned(), path: change.path.to_string() }
    }
}

/// The kept versions of a file, newest first.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = FileVersions)]
pub(crate) struct FileVersionsSchema {
    pub(crate) versions: Vec<FileVersionSchema>,
}

/// A version of a file that is kept.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = FileVersion)]
pub(crate) struct FileVersionSchema {
    /// The event that made it kept.
    seq: u64,
    /// Milliseconds since 1970.
    at: u64,
    /// `blake3:` and 64 hex digits.
    hash: String,
    size_bytes: u64,
}

impl From<&FileVersion> for FileVersionSchema {
    fn from(version: &FileVersion) -> Self {
        Self {
            seq: version.seq,
            at: version.at_unix_ms,
            hash: version.hash.to_string(),
            size_bytes: version.size_bytes,
        }
    }
}

/// What differs between two versions.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = FileDiff)]
pub(crate) struct FileDiffSchema {
    /// `same`, `text`, `binary` or `too-large`.
    kind: &'static str,
    /// A unified diff, of text.
    #[serde(skip_serializing_if = "Option::is_none")]
    diff: Option<String>,
    /// Old and new size in bytes, where there is no diff.
    #[serde(skip_serializing_if = "Option::is_none")]
    sizes: Option<[usize; 2]>,
}

impl From<Difference> for FileDiffSchema {
    fn from(difference: Difference) -> Self {
        let (kind, diff, sizes) = match difference {
            Difference::None => ("same", None, None),
            Difference::Text(text) => ("text", Some(text), None),
            Difference::Binary { sizes } => ("binary", None, Some([sizes.0, sizes.1])),
            Difference::TooLarge { sizes, .. } => ("too-large", None, Some([sizes.0, sizes.1])),
            _ => ("unknown", None, None),
        };
        Self { kind, diff, sizes }
    }
}

/// A path in a root.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[schema(as = FileName)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileNameSchema {
    pub(crate) root: String,
    /// Left out where the whole root is meant.
    #[serde(default)]
    pub(crate) path: Option<String>,
    /// A version, by its hash.
    #[serde(default)]
    pub(crate) hash: Option<String>,
}

/// The call to be undone.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[schema(as = Undo)]
#[serde(deny_unknown_fields)]
pub(crate) struct UndoSchema {
    #[schema(example = "call_0197f3a4c2d97c018f6a3d2e5b7c9d10")]
    pub(crate) call_id: String,
}

/// How many paths were approved.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = FilesApproved)]
pub(crate) struct FilesApprovedSchema {
    pub(crate) approved: usize,
}

/// What a full scan found.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = FilesScanned)]
pub(crate) struct FilesScannedSchema {
    pub(crate) entries: u64,
    pub(crate) hashed_bytes: u64,
    /// Entries that were not as they were known.
    pub(crate) differed: u64,
    pub(crate) took_ms: u64,
}
