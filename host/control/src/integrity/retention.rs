//! Old versions of files go, a few at a time, when there are more than the bounds allow.
//!
//! One file's versions are in memory at once, or the oldest few thousand of all. The invariant:
//! the approved version of a file stays, the known one too, and so does every version that an
//! undo needs which was planned and has not ended.

use std::collections::{BTreeSet, BinaryHeap};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use foreshore_domain::blob::BlobDigest;
use foreshore_domain::event::{EventKind, Stream};
use foreshore_domain::integrity::{EntryPath, EntryState, RootName, VersionName, VersionsDropped};
use foreshore_integrity::{KeptVersion, Ledger as _, RetentionLimits, versions_to_drop};
use foreshore_store::Commit;
use foreshore_store::files::FileVersion;
use tokio_util::sync::CancellationToken;

use super::{FilesFault, Integrity};

/// How often versions are held to their bounds.
const RETAIN_EVERY: Duration = Duration::from_secs(600);
/// Versions that are dropped by one event.
const DROPPED_AT_ONCE: usize = 100;
/// Versions of all files that are dropped after one look at them.
const OLDEST_AT_ONCE: usize = 4_096;

impl Integrity {
    /// Keeps the versions within their bounds, until it is stopped.
    pub(crate) async fn keep_bounds(self: Arc<Self>, stop: CancellationToken) {
        if self.roots.is_empty() {
            return;
        }
        let mut every = tokio::time::interval(RETAIN_EVERY);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = every.tick() => {}
            }
            let integrity = Arc::clone(&self);
            match tokio::task::spawn_blocking(move || integrity.retain()).await {
                Ok(Ok(0)) => {}
                Ok(Ok(dropped)) => tracing::info!(dropped, "old versions of files are dropped"),
                Ok(Err(error)) => {
                    tracing::warn!(%error, again_in = ?RETAIN_EVERY, "old versions of files were not dropped");
                }
                Err(error) => tracing::error!(%error, "dropping old versions of files panicked"),
            }
        }
    }

    /// Drops old versions beyond the bounds; says how many. Blocks.
    ///
    /// # Errors
    /// [`FilesFault::Record`].
    pub(crate) fn retain(&self) -> Result<usize, FilesFault> {
        let of_one_file =
            RetentionLimits { versions_max: usize::MAX, bytes_max: u64::MAX, ..self.retention };
        let (mut dropped, mut count, mut bytes) = (0, 0_usize, 0_u64);
        self.each_file(|versions| {
            let gone = self.drop_versions(&versions_to_drop(&versions, of_one_file))?;
            for version in versions.iter().filter(|version| !gone.contains(version)) {
                count += 1;
                bytes = bytes.saturating_add(version.size_bytes);
            }
            dropped += gone.len();
            Ok(())
        })?;
        loop {
            let (count_max, bytes_max) = (self.retention.versions_max, self.retention.bytes_max);
            let mut excess = Vec::new();
            let (mut count_then, mut bytes_then) = (count, bytes);
            if count > count_max || bytes > bytes_max {
                for version in self.oldest()? {
                    if count_then <= count_max && bytes_then <= bytes_max {
                        break;
                    }
                    count_then -= 1;
                    bytes_then = bytes_then.saturating_sub(version.size_bytes);
                    excess.push(version);
                }
            }
            let gone = self.drop_versions(&excess)?;
            if gone.is_empty() {
                return Ok(dropped);
            }
            dropped += gone.len();
            count = count.saturating_sub(gone.len());
            let gone_bytes: u64 = gone.iter().map(|version| version.size_bytes).sum();
            bytes = bytes.saturating_sub(gone_bytes);
        }
    }

    /// Shows the versions of each file, by root and path.
    fn each_file(
        &self,
        mut visit: impl FnMut(Vec<KeptVersion>) -> Result<(), FilesFault>,
    ) -> Result<(), FilesFault> {
        let planned = self.planned()?;
        let mut last: Option<(RootName, EntryPath)> = None;
        loop {
            let after = last.as_ref().map(|(root, path)| (root, path));
            let versions = self.ledger.read(|files| files.versions_after(after))?;
            let Some(FileVersion { root, path, .. }) = versions.first() else { return Ok(()) };
            let file = (root.clone(), path.clone());
            let states = self.ledger.read(|files| files.states(root, path))?;
            let mut needed: BTreeSet<BlobDigest> = planned.clone();
            let current = [states.approved, states.known];
            needed.extend(current.iter().flatten().filter_map(EntryState::hash));
            let kept = |version: FileVersion| {
                let FileVersion { root, path, seq, hash, size_bytes, .. } = version;
                KeptVersion { seq, root, path, hash, size_bytes, approved: needed.contains(&hash) }
            };
            visit(versions.into_iter().map(kept).collect())?;
            last = Some(file);
        }
    }

    /// The oldest versions of all files that may go, oldest first.
    fn oldest(&self) -> Result<Vec<KeptVersion>, FilesFault> {
        let mut oldest = BinaryHeap::new();
        self.each_file(|versions| {
            for version in versions.into_iter().filter(|version| !version.approved) {
                oldest.push(version);
                if oldest.len() > OLDEST_AT_ONCE {
                    oldest.pop();
                }
            }
            Ok(())
        })?;
        Ok(oldest.into_sorted_vec())
    }

    /// What undos need that were planned and have not ended.
    fn planned(&self) -> Result<BTreeSet<BlobDigest>, FilesFault> {
        let plans = self.ledger.open_plans()?;
        let steps = plans.iter().flat_map(|plan| &plan.steps);
        let states = steps.flat_map(|step| [&step.before, &step.after]);
        Ok(states.flatten().filter_map(EntryState::hash).collect())
    }

    /// Drops versions, but for those that an undo needs which was planned since they were looked
    /// at; says which.
    fn drop_versions(&self, versions: &[KeptVersion]) -> Result<Vec<KeptVersion>, FilesFault> {
        let mut gone = Vec::with_capacity(versions.len());
        for versions in versions.chunks(DROPPED_AT_ONCE) {
            let _no_undo = self.undoing.write().unwrap_or_else(PoisonError::into_inner);
            let planned = self.planned()?;
            let versions: Vec<&KeptVersion> =
                versions.iter().filter(|version| !planned.contains(&version.hash)).collect();
            if versions.is_empty() {
                continue;
            }
            let hashes: Vec<BlobDigest> = versions.iter().map(|version| version.hash).collect();
            let names = versions.iter().map(|version| VersionName {
                root: version.root.clone(),
                path: version.path.clone(),
                seq: version.seq,
                hash: version.hash,
            });
            let payload = VersionsDropped { versions: names.collect() };
            let event = self.ledger.event(Stream::Host, EventKind::FileDropped, &payload)?;
            let released = serde_json::json!({ "blobs": hashes });
            let released = self.ledger.event(Stream::Host, EventKind::BlobReleased, &released)?;
            self.ledger.commit(Commit { events: vec![event, released], ..Commit::default() })?;
            gone.extend(versions.into_iter().cloned());
        }
        Ok(gone)
    }
}

#[cfg(test)]
mod tests;
