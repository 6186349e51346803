//! File integrity: which directories are watched, what changed in them and who did it, and
//! putting it back.
//!
//! `foreshore-integrity` looks; this decides which roots there are and answers people.
//! Deliberately absent: following links or joining paths, since all file work goes through the
//! handle of a root. The invariant: what is put back was recorded before, byte for byte.

mod announce;
mod ledger;
mod retention;

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bytes::Bytes;
use foreshore_domain::blob::BlobDigest;
use foreshore_domain::event::{EventKind, Stream, Tenant};
use foreshore_domain::id::CallId;
use foreshore_domain::integrity::{
    Change, ChangeRecord, EntryPath, EntryState, FileChanged, FilesApproved, RootName, RootPolicy,
};
use foreshore_domain::ports::FileChanges;
use foreshore_integrity::{
    Conflict, Depth, DifferenceLimits, Ledger, LedgerError, Observer, OpenError, Report,
    RetentionLimits, RootConfig, ScanReport, UndoError, Watch, WatchConfig, WatchedRoot,
    difference, resume, undo,
};
pub use foreshore_integrity::{Difference, WatchState};
use foreshore_store::files::FileVersion;
use foreshore_store::{Commit, Journal, ReadError};

use self::announce::Announcements;
use self::ledger::JournalLedger;

/// The most entries of one answer.
pub const PAGE_MAX: usize = 1_000;
/// Paths that are approved by one event.
const APPROVED_AT_ONCE: usize = 100;

/// The roots that are watched.
pub struct Integrity {
    journal: Journal,
    ledger: Arc<JournalLedger>,
    roots: Vec<Watched>,
    alerts: Arc<Alerts>,
    retention: RetentionLimits,
    /// Undos hold it together, and dropping versions alone: a plan that is being made needs
    /// versions that it does not name yet.
    undoing: RwLock<()>,
}

struct Watched {
    root: Arc<WatchedRoot>,
    path: PathBuf,
    policy: RootPolicy,
    watch: Mutex<Option<Watch>>,
}

/// A root as people see it.
#[derive(Clone, Debug)]
pub struct RootSummary {
    /// Its name.
    pub name: RootName,
    /// Where it is.
    pub path: PathBuf,
    /// What is done about changes from outside.
    pub policy: RootPolicy,
    /// How it is watched.
    pub state: WatchState,
    /// Whether its baseline, or the first scan since the start, is complete.
    pub is_ready: bool,
    /// Paths that changed from outside and nobody approved, the first of them.
    pub unapproved: Vec<EntryPath>,
    /// What was reported of it last: alerts, restores, fights, failures.
    pub reports: Vec<String>,
}

/// What was asked of files could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FilesFault {
    /// No root has this name.
    #[error("no root is called \"{name}\"; there are: {known}")]
    UnknownRoot {
        /// What was asked for.
        name: String,
        /// Those there are.
        known: String,
    },
    /// Nothing of this is recorded.
    #[error("{message}")]
    NotFound {
        /// What.
        message: String,
    },
    /// Files are not as the call left them.
    #[error("nothing was changed: {} of the call's changes cannot be taken back", conflicts.len())]
    Conflicts {
        /// Which, and why.
        conflicts: Vec<Conflict>,
    },
    /// It could not be put back.
    #[error("{message}")]
    NotRestored {
        /// Why.
        message: String,
    },
    /// The record cannot be written or read.
    #[error("{message}")]
    Record {
        /// Why.
        message: String,
    },
}

impl FilesFault {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownRoot { .. } => "unknown_root",
            Self::NotFound { .. } => "not_recorded",
            Self::Conflicts { .. } => "undo_conflict",
            Self::NotRestored { .. } => "not_restored",
            Self::Record { .. } => "store_read_only",
        }
    }
}

impl From<LedgerError> for FilesFault {
    fn from(error: LedgerError) -> Self {
        Self::Record { message: error.to_string() }
    }
}

impl From<ReadError> for FilesFault {
    fn from(error: ReadError) -> Self {
        Self::Record { message: error.to_string() }
    }
}

/// Keeps the last reports of each root, and tells the log.
#[derive(Default)]
struct Alerts(Mutex<Vec<(RootName, String)>>);

/// Reports that are kept.
const REPORTS_MAX: usize = 256;

impl Observer for Alerts {
    fn report(&self, root: &RootName, report: Report) {
        let text = match report {
            Report::Alert(change) => {
                tracing::warn!(%root, path = %change.path, kind = ?change.kind, "a watched file changed from outside");
                format!("alert: {} changed from outside", change.path)
            }
            Report::Restored(path) => {
                tracing::warn!(%root, %path, "the approved version is back");
                format!("restored: {path}")
            }
            Report::NotRestored { path, error } => {
                tracing::error!(%root, %path, %error, "the approved version could not be put back");
                format!("not restored: {path}: {error}")
            }
            Report::Fought { path, again_in } => {
                tracing::error!(%root, %path, ?again_in, "somebody changes a file as often as it is put back");
                format!("fought: {path}; the next try is in {} s", again_in.as_secs())
            }
            Report::Quarantined { path, to } => {
                tracing::warn!(%root, %path, to = %to.display(), "moved into quarantine");
                format!("quarantined: {path}")
            }
            Report::NotQuarantined { path, error } => {
                tracing::error!(%root, %path, %error, "could not be moved into quarantine");
                format!("not quarantined: {path}: {error}")
            }
            Report::NotScanned(message) => {
                tracing::error!(%root, %message, "a scan failed; it is tried again");
                format!("not scanned: {message}")
            }
            Report::State(state) => {
                tracing::debug!(%root, ?state, "how a root is watched");
                return;
            }
            Report::Scanned(report) => {
                tracing::info!(%root, entries = report.entries, took = ?report.took, "scanned");
                return;
            }
            _ => return,
        };
        let mut reports = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if reports.len() >= REPORTS_MAX {
            reports.remove(0);
        }
        reports.push((root.clone(), text));
    }
}

impl Alerts {
    fn of(&self, root: &RootName) -> Vec<String> {
        let reports = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        reports.iter().filter(|(name, _)| name == root).map(|(_, text)| text.clone()).collect()
    }
}

impl Integrity {
    /// Opens the roots, and makes the directories of their quarantines. Nothing is watched yet;
    /// see [`Self::watch`].
    ///
    /// # Errors
    /// A directory that does not open, or a pattern that is none.
    pub(crate) fn open(journal: Journal, configs: Vec<RootConfig>) -> Result<Self, OpenError> {
        let ledger = Arc::new(JournalLedger::new(journal.clone(), Tenant::DEFAULT));
        let alerts = Arc::new(Alerts::default());
        let roots = configs
            .into_iter()
            .map(|config| {
                if let Some(quarantine) = &config.quarantine {
                    make_private(quarantine)?;
                }
                let (path, policy) = (config.path.clone(), config.policy);
                let (ledger, alerts) = (Arc::clone(&ledger), Arc::clone(&alerts));
                let root = WatchedRoot::open(config, ledger, alerts)?;
                Ok(Watched { root, path, policy, watch: Mutex::default() })
            })
            .collect::<Result<_, OpenError>>()?;
        let (retention, undoing) = (RetentionLimits::default(), RwLock::default());
        Ok(Self { journal, ledger, roots, alerts, retention, undoing })
    }

    /// Finishes what a crash left half-way, and begins to watch. Blocks.
    pub(crate) fn watch(&self) {
        match resume(&self.handles()) {
            Ok(resumed) => {
                for (call_id, outcome) in resumed {
                    tracing::warn!(%call_id, ?outcome, "an undo that was interrupted is ended");
                }
            }
            Err(error) => tracing::error!(%error, "interrupted undos are not known"),
        }
        for watched in &self.roots {
            let watch = watched.root.watch(WatchConfig::default());
            *watched.watch.lock().unwrap_or_else(PoisonError::into_inner) = Some(watch);
        }
    }

    /// Ends the watches; blocks until their threads have ended.
    pub(crate) fn stop(&self) {
        for watched in &self.roots {
            watched.watch.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
    }

    /// Where calls announce what they change; `None` if nothing is watched.
    pub(crate) fn announcements(&self) -> Option<Arc<dyn FileChanges>> {
        if self.roots.is_empty() {
            return None;
        }
        let roots = self.roots.iter();
        let roots = roots.map(|watched| (watched.path.clone(), Arc::clone(&watched.root)));
        let ledger: Arc<dyn Ledger> = self.ledger.clone();
        Some(Arc::new(Announcements::new(roots.collect(), &ledger)))
    }

    fn handles(&self) -> Vec<Arc<WatchedRoot>> {
        self.roots.iter().map(|watched| Arc::clone(&watched.root)).collect()
    }

    /// The roots there are.
    ///
    /// # Errors
    /// [`FilesFault::Record`].
    pub fn roots(&self) -> Result<Vec<RootSummary>, FilesFault> {
        self.roots.iter().map(|watched| self.summary(watched)).collect()
    }

    fn summary(&self, watched: &Watched) -> Result<RootSummary, FilesFault> {
        let name = watched.root.name().clone();
        let unapproved = self.ledger.unapproved(&name, None, PAGE_MAX)?;
        let watch = watched.watch.lock().unwrap_or_else(PoisonError::into_inner);
        let not_watched = || WatchState::Missing { why: "the watch has not begun".to_owned() };
        Ok(RootSummary {
            path: watched.path.clone(),
            policy: watched.policy,
            state: watch.as_ref().map_or_else(not_watched, Watch::state),
            is_ready: watch.as_ref().is_some_and(Watch::is_ready),
            unapproved,
            reports: self.alerts.of(&name),
            name,
        })
    }

    fn root(&self, name: &str) -> Result<&Watched, FilesFault> {
        self.roots.iter().find(|watched| watched.root.name().as_str() == name).ok_or_else(|| {
            let known: Vec<&str> =
                self.roots.iter().map(|watched| watched.root.name().as_str()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            FilesFault::UnknownRoot { name: name.to_owned(), known }
        })
    }

    /// Changes after event `since`, in order: of one root, or of all. Blocks.
    ///
    /// # Errors
    /// [`FilesFault`].
    pub fn changes(
        &self,
        root: Option<&str>,
        since: u64,
        limit: usize,
    ) -> Result<Vec<ChangeRecord>, FilesFault> {
        let limit = limit.min(PAGE_MAX);
        let names: Vec<&RootName> = match root {
            Some(name) => vec![self.root(name)?.root.name()],
            None => self.roots.iter().map(|watched| watched.root.name()).collect(),
        };
        let mut found = Vec::new();
        for name in names {
            let stream = Stream::Root(name.as_str().to_owned());
            let (mut from, mut of_root) = (since.saturating_add(1), 0);
            while of_root < limit {
                let events = self.journal.read_stream(&Tenant::DEFAULT, &stream, from, 500)?;
                let Some(last) = events.last() else { break };
                from = last.seq + 1;
                for event in &events {
                    if event.kind == EventKind::FileChanged.as_str()
                        && let Ok(changed) = serde_json::from_slice::<FileChanged>(&event.payload)
                    {
                        of_root += 1;
                        found.push(ChangeRecord::new(event.seq, event.at_unix_ms, &changed.change));
                    }
                }
            }
        }
        found.sort_by_key(|record| record.seq);
        found.truncate(limit);
        Ok(found)
    }

    /// The kept versions of a file, newest first.
    ///
    /// # Errors
    /// [`FilesFault`].
    pub fn versions(&self, root: &str, path: &EntryPath) -> Result<Vec<FileVersion>, FilesFault> {
        let name = self.root(root)?.root.name();
        Ok(self.ledger.read(|files| files.versions(name, path))?)
    }

    /// What differs between two versions of a file, by their hashes; without them between the
    /// approved version and the known one. Blocks.
    ///
    /// # Errors
    /// [`FilesFault`].
    pub fn diff(
        &self,
        root: &str,
        path: &EntryPath,
        from: Option<BlobDigest>,
        to: Option<BlobDigest>,
    ) -> Result<Difference, FilesFault> {
        let name = self.root(root)?.root.name();
        let states = self.ledger.read(|files| files.states(name, path))?;
        let hash = |state: Option<EntryState>| state.as_ref().and_then(EntryState::hash);
        let from = from.or_else(|| hash(states.approved));
        let to = to.or_else(|| hash(states.known));
        let (old, new) = (self.bytes(path, from)?, self.bytes(path, to)?);
        let names = (format!("a/{path}"), format!("b/{path}"));
        Ok(difference(&old, &new, (&names.0, &names.1), DifferenceLimits::default()))
    }

    fn bytes(&self, path: &EntryPath, hash: Option<BlobDigest>) -> Result<Bytes, FilesFault> {
        let Some(hash) = hash else { return Ok(Bytes::new()) };
        let bytes = self.ledger.version(hash)?;
        bytes.ok_or_else(|| FilesFault::NotFound {
            message: format!("no version of {path} with the hash {hash} is kept"),
        })
    }

    /// Puts a version of a file back: the one with this hash, or else the approved one. Blocks.
    ///
    /// # Errors
    /// [`FilesFault`].
    pub fn restore(
        &self,
        root: &str,
        path: &EntryPath,
        hash: Option<BlobDigest>,
    ) -> Result<Vec<Change>, FilesFault> {
        let root = &self.root(root)?.root;
        let states = self.ledger.read(|files| files.states(root.name(), path))?;
        let wanted = match hash {
            None => states.approved,
            Some(hash) => {
                let versions = self.ledger.read(|files| files.versions(root.name(), path))?;
                let version = versions.iter().find(|version| version.hash == hash);
                let like = states.known.or(states.approved);
                let (Some(version), Some(like)) = (version, like) else {
                    let message = format!("no version of {path} with the hash {hash} is kept");
                    return Err(FilesFault::NotFound { message });
                };
                let kind =
                    foreshore_domain::integrity::EntryKind::File { hash: Some(version.hash) };
                Some(EntryState { kind, size_bytes: version.size_bytes, ..like })
            }
        };
        root.restore(path, wanted.as_ref())
            .map_err(|error| FilesFault::NotRestored { message: error.to_string() })
    }

    /// Says that what is known is good: of one path and what is below it, or of the whole root.
    /// Gives back how many paths were not approved before. Blocks.
    ///
    /// # Errors
    /// [`FilesFault`].
    pub fn approve(&self, root: &str, path: Option<&EntryPath>) -> Result<usize, FilesFault> {
        let name = self.root(root)?.root.name();
        let (mut after, mut approved) = (None, 0);
        loop {
            let page = self.ledger.unapproved(name, after.as_ref(), PAGE_MAX)?;
            let Some(last) = page.last() else { return Ok(approved) };
            after = Some(last.clone());
            let covered =
                |each: &&EntryPath| path.is_none_or(|path| *each == path || each.is_below(path));
            let paths: Vec<EntryPath> = page.iter().filter(covered).cloned().collect();
            for paths in paths.chunks(APPROVED_AT_ONCE) {
                let payload = FilesApproved { root: name.clone(), paths: paths.to_vec() };
                let stream = Stream::Root(name.as_str().to_owned());
                let event = self.ledger.event(stream, EventKind::FileApproved, &payload)?;
                self.ledger.commit(Commit { events: vec![event], ..Commit::default() })?;
                approved += paths.len();
            }
        }
    }

    /// The host itself changed this file: what is there now is good. Blocks.
    pub(crate) fn approve_own(&self, file: &Path) {
        let (Some(directory), Some(name)) = (file.parent(), file.file_name()) else { return };
        let Some(watched) = self.roots.iter().find(|watched| watched.path == directory) else {
            return;
        };
        let Ok(path) = EntryPath::root().join(name.as_encoded_bytes()) else { return };
        let approved =
            watched.root.check(&path).map_err(|error| error.to_string()).and_then(|_| {
                let root = watched.root.name().as_str();
                self.approve(root, Some(&path)).map_err(|error| error.to_string())
            });
        if let Err(error) = approved {
            tracing::warn!(%path, %error, "a file that the host changed is not approved");
        }
    }

    /// Takes back what a call changed, all of it or nothing. Blocks.
    ///
    /// # Errors
    /// [`FilesFault::Conflicts`] where a file changed since; [`FilesFault`].
    pub fn undo(&self, call_id: CallId) -> Result<Vec<Change>, FilesFault> {
        let _undoing = self.undoing.read().unwrap_or_else(PoisonError::into_inner);
        let seqs = self.ledger.read(|files| files.changes_of(&call_id.to_string()))?;
        let mut changes = Vec::with_capacity(seqs.len());
        for seq in seqs {
            let events = self.journal.read(seq, 1)?;
            let changed = events
                .first()
                .and_then(|event| serde_json::from_slice::<FileChanged>(&event.payload).ok());
            changes.extend(changed.map(|changed| changed.change));
        }
        if changes.is_empty() {
            let message = format!("{call_id} changed no file of a watched root");
            return Err(FilesFault::NotFound { message });
        }
        undo(&self.handles(), call_id, &changes).map_err(|error| match error {
            UndoError::Conflicts { conflicts } => FilesFault::Conflicts { conflicts },
            UndoError::Change(error) => FilesFault::Record { message: error.to_string() },
            error => FilesFault::NotRestored { message: error.to_string() },
        })
    }

    /// Reads and hashes everything in a root now. Blocks.
    ///
    /// # Errors
    /// [`FilesFault`].
    pub fn scan(&self, root: &str) -> Result<ScanReport, FilesFault> {
        let root = &self.root(root)?.root;
        root.scan(Depth::Full, &|_| {}, &|| false)
            .map_err(|error| FilesFault::Record { message: error.to_string() })
    }
}

/// Makes a directory that only its owner reaches, unless it is there.
fn make_private(path: &Path) -> Result<(), OpenError> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| OpenError::Directory { path: path.to_owned(), source })
}

/// Reads a path as people write it: percent-escaped where it is no plain text.
///
/// # Errors
/// It leads out of the root, or is too long.
pub fn entry_path(text: &str) -> Result<EntryPath, foreshore_domain::integrity::PathError> {
    EntryPath::from_str(text)
}
