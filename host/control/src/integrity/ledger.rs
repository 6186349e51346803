//! The record of files: `foreshore-integrity`'s port, over the journal.
//!
//! Each method blocks, on a thread that may: those of the watch, and of the blocking pool. Bytes
//! that are to be kept wait in memory until a record names them, and are stored in the same
//! commit. The invariant: what `record` returned from is on disk, with the bytes it names.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use foreshore_domain::blob::BlobDigest;
use foreshore_domain::event::{EventKind, NewEvent, Stream, Tenant};
use foreshore_domain::id::CallId;
use foreshore_domain::integrity::{
    Change, ChangeKind, EntryPath, EntryState, FileBaselined, FileChanged, RootName, UndoEnded,
    UndoPlanned,
};
use foreshore_integrity::{Ledger, LedgerError, PlanOutcome, UndoPlan};
use foreshore_store::{
    AppendError, Blob, COMMIT_BLOB_BYTES_MAX, COMMIT_EVENTS_MAX, Commit, Journal, ReadError,
};
use tokio::runtime::Handle;

use crate::clock;

/// The most bytes that wait for a record to name them; the oldest go first.
const WAITING_MAX_BYTES: usize = 96 << 20;
/// The most bytes of JSON in one event of a baseline: an event has 64 KiB.
const BASELINE_EVENT_BYTES: usize = 48 << 10;
/// What leaves room for other bytes of the commit's events.
const EVENT_BYTES_MAX: usize = 3 << 20;

pub(super) struct JournalLedger {
    journal: Journal,
    tenant: Tenant,
    runtime: Handle,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    blobs: HashMap<BlobDigest, Blob>,
    order: VecDeque<BlobDigest>,
    bytes: usize,
}

/// Entries of the journal that become one commit.
#[derive(Default)]
struct Entry {
    commit: Commit,
    event_bytes: usize,
    blob_bytes: usize,
    stored: BTreeSet<BlobDigest>,
}

impl JournalLedger {
    /// Must be called on a runtime, which then serves the blocking calls.
    pub(super) fn new(journal: Journal, tenant: Tenant) -> Self {
        Self { journal, tenant, runtime: Handle::current(), waiting: Mutex::default() }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn commit(&self, commit: Commit) -> Result<(), LedgerError> {
        self.runtime
            .block_on(self.journal.commit(commit))
            .map(drop)
            .map_err(|error| not_recorded(&error))
    }

    pub(super) fn event(
        &self,
        stream: Stream,
        kind: EventKind,
        payload: &impl serde::Serialize,
    ) -> Result<NewEvent, LedgerError> {
        let payload = serde_json::to_vec(payload).map_err(failed)?;
        let at_unix_ms = clock::now_unix_ms();
        Ok(NewEvent { at_unix_ms, tenant: self.tenant.clone(), stream, kind, payload })
    }

    /// Which of these bytes are kept, and the blobs that are still to be stored for it.
    fn kept(
        &self,
        states: &[Option<&EntryState>],
    ) -> Result<(Vec<BlobDigest>, Vec<Blob>), LedgerError> {
        let (mut digests, mut blobs) = (Vec::new(), Vec::new());
        for digest in states.iter().filter_map(|state| state.and_then(EntryState::hash)) {
            if digests.contains(&digest) {
                continue;
            }
            let waiting = self.waiting().blobs.get(&digest).cloned();
            if let Some(blob) = waiting {
                digests.push(digest);
                blobs.push(blob);
            } else if self.journal.has_blob(&digest).map_err(|error| unread(&error))? {
                digests.push(digest);
            }
        }
        Ok((digests, blobs))
    }

    fn changes(&self, changes: &[Change]) -> Result<Vec<Entry>, LedgerError> {
        let mut entries = vec![Entry::default()];
        for change in changes {
            let (before, after) = (change.before.as_ref(), change.after.as_ref());
            // What was there is kept by the record that told of it, unless nobody kept it then.
            let path = match &change.kind {
                ChangeKind::Renamed { from } => from,
                _ => &change.path,
            };
            let versions = self.read(|files| files.versions(&change.root, path))?;
            let is_kept = |state: &&EntryState| {
                versions.iter().any(|version| Some(version.hash) == state.hash())
            };
            let before = before.filter(|state| !is_kept(state));
            let (digests, blobs) = self.kept(&[after, before])?;
            let payload = FileChanged { change: change.clone(), blobs: digests };
            let stream = Stream::Root(change.root.as_str().to_owned());
            let event = self.event(stream, EventKind::FileChanged, &payload)?;
            add(&mut entries, event, blobs);
        }
        Ok(entries)
    }

    fn write(&self, entries: Vec<Entry>) -> Result<(), LedgerError> {
        for entry in entries {
            if entry.commit.events.is_empty() {
                continue;
            }
            let stored: Vec<BlobDigest> = entry.stored.iter().copied().collect();
            self.commit(entry.commit)?;
            self.waiting().forget(&stored);
        }
        Ok(())
    }
}

impl Waiting {
    fn forget(&mut self, digests: &[BlobDigest]) {
        for digest in digests {
            if let Some(blob) = self.blobs.remove(digest) {
                self.bytes -= blob.bytes().len();
            }
        }
        let blobs = &self.blobs;
        self.order.retain(|digest| blobs.contains_key(digest));
    }
}

/// Adds an event with its blobs to the last entry, or to a new one if that is full.
fn add(entries: &mut Vec<Entry>, event: NewEvent, blobs: Vec<Blob>) {
    let event_bytes = event.payload.len() + 256;
    let blob_bytes: usize = blobs.iter().map(|blob| blob.bytes().len()).sum();
    let is_full = entries.last().is_none_or(|entry| {
        entry.commit.events.len() >= COMMIT_EVENTS_MAX
            || entry.event_bytes + event_bytes > EVENT_BYTES_MAX
            || entry.blob_bytes + blob_bytes > COMMIT_BLOB_BYTES_MAX
    });
    if is_full {
        entries.push(Entry::default());
    }
    let Some(entry) = entries.last_mut() else { return };
    entry.event_bytes += event_bytes;
    for blob in blobs {
        if entry.stored.insert(blob.digest()) {
            entry.blob_bytes += blob.bytes().len();
            entry.commit.blobs.push(blob);
        }
    }
    entry.commit.events.push(event);
}

impl Ledger for JournalLedger {
    fn is_baselined(&self, root: &RootName) -> Result<bool, LedgerError> {
        self.read(|files| files.is_baselined(root))
    }

    fn baseline(
        &self,
        root: &RootName,
        entries: &[(EntryPath, EntryState)],
        complete: bool,
    ) -> Result<(), LedgerError> {
        let mut written = vec![Entry::default()];
        let mut rest = entries;
        loop {
            // As many as one event takes. Bytes that two of them hold are kept once an event.
            let (mut taken, mut bytes, mut blobs) = (0, 0, Vec::new());
            let mut kept: BTreeSet<BlobDigest> = BTreeSet::new();
            for entry in rest {
                let (digests, more) = self.kept(&[Some(&entry.1)])?;
                let again = digests.iter().any(|digest| kept.contains(digest));
                let size = serde_json::to_string(entry).map_err(failed)?.len() + 80;
                if taken > 0 && (again || bytes + size > BASELINE_EVENT_BYTES) {
                    break;
                }
                taken += 1;
                bytes += size;
                kept.extend(digests);
                blobs.extend(more);
            }
            let (now, later) = rest.split_at(taken);
            rest = later;
            let payload = FileBaselined {
                root: root.clone(),
                entries: now.to_vec(),
                complete: complete && rest.is_empty(),
                blobs: kept.into_iter().collect(),
            };
            if !now.is_empty() || payload.complete {
                let stream = Stream::Root(root.as_str().to_owned());
                add(&mut written, self.event(stream, EventKind::FileBaselined, &payload)?, blobs);
            }
            if rest.is_empty() {
                return self.write(written);
            }
        }
    }

    fn known(&self, root: &RootName, path: &EntryPath) -> Result<Option<EntryState>, LedgerError> {
        Ok(self.read(|files| files.states(root, path))?.known)
    }

    fn approved(
        &self,
        root: &RootName,
        path: &EntryPath,
    ) -> Result<Option<EntryState>, LedgerError> {
        Ok(self.read(|files| files.states(root, path))?.approved)
    }

    fn unapproved(
        &self,
        root: &RootName,
        after: Option<&EntryPath>,
        count_max: usize,
    ) -> Result<Vec<EntryPath>, LedgerError> {
        self.read(|files| files.unapproved(root, after, count_max))
    }

    fn known_below(
        &self,
        root: &RootName,
        directory: &EntryPath,
        after: Option<&EntryPath>,
        count_max: usize,
    ) -> Result<Vec<EntryPath>, LedgerError> {
        self.read(|files| files.known_below(root, directory, after, count_max))
    }

    fn record(&self, changes: &[Change]) -> Result<(), LedgerError> {
        self.write(self.changes(changes)?)
    }

    fn keep(&self, bytes: &[u8]) -> Result<BlobDigest, LedgerError> {
        let blob = Blob::new(Bytes::copy_from_slice(bytes));
        let digest = blob.digest();
        let mut waiting = self.waiting();
        if waiting.blobs.contains_key(&digest) {
            return Ok(digest);
        }
        waiting.bytes += bytes.len();
        waiting.blobs.insert(digest, blob);
        waiting.order.push_back(digest);
        while waiting.bytes > WAITING_MAX_BYTES
            && let Some(oldest) = waiting.order.pop_front()
        {
            if let Some(blob) = waiting.blobs.remove(&oldest) {
                waiting.bytes -= blob.bytes().len();
            }
        }
        Ok(digest)
    }

    fn version(&self, digest: BlobDigest) -> Result<Option<Bytes>, LedgerError> {
        if let Some(blob) = self.waiting().blobs.get(&digest) {
            return Ok(Some(blob.bytes().clone()));
        }
        let bytes = self.journal.blob(&digest).map_err(|error| unread(&error))?;
        Ok(bytes.map(Bytes::from))
    }

    fn plan_opened(&self, plan: &UndoPlan) -> Result<(), LedgerError> {
        let blob = Blob::new(serde_json::to_vec(plan).map_err(failed)?);
        let call_id = plan.call_id.to_string();
        let payload = UndoPlanned { call_id, blobs: [blob.digest()] };
        let stream = Stream::Call(plan.call_id);
        let event = self.event(stream, EventKind::FileUndoPlanned, &payload)?;
        self.commit(Commit { events: vec![event], blobs: vec![blob], ..Commit::default() })
    }

    fn plan_closed(
        &self,
        call_id: CallId,
        outcome: PlanOutcome,
        changes: &[Change],
    ) -> Result<(), LedgerError> {
        let text = call_id.to_string();
        let open = self.read(|files| files.open_plans())?;
        let outcome = match outcome {
            PlanOutcome::Undone => "undone",
            PlanOutcome::RolledBack => "rolled-back",
        };
        let ended = UndoEnded { call_id: text.clone(), outcome: outcome.to_owned() };
        let mut entries = self.changes(changes)?;
        let stream = || Stream::Call(call_id);
        add(&mut entries, self.event(stream(), EventKind::FileUndone, &ended)?, Vec::new());
        if let Some((_, digest)) = open.iter().find(|(call, _)| *call == text) {
            let released = serde_json::json!({ "blobs": [digest] });
            let event = self.event(stream(), EventKind::BlobReleased, &released)?;
            add(&mut entries, event, Vec::new());
        }
        self.write(entries)
    }

    fn open_plans(&self) -> Result<Vec<UndoPlan>, LedgerError> {
        let open = self.read(|files| files.open_plans())?;
        open.into_iter()
            .map(|(call, digest)| {
                let bytes = self.version(digest)?;
                let bytes = bytes.ok_or_else(|| LedgerError {
                    message: format!("the plan to undo {call} is not kept"),
                })?;
                serde_json::from_slice(&bytes).map_err(failed)
            })
            .collect()
    }
}

impl JournalLedger {
    pub(super) fn read<T>(
        &self,
        work: impl FnOnce(&foreshore_store::files::FilesReader) -> Result<T, foreshore_store::ViewError>,
    ) -> Result<T, LedgerError> {
        let files = self.journal.files(&self.tenant).map_err(|error| unread(&error))?;
        work(&files).map_err(failed)
    }
}

fn failed(error: impl std::fmt::Display) -> LedgerError {
    LedgerError { message: error.to_string() }
}

fn unread(error: &ReadError) -> LedgerError {
    failed(error)
}

fn not_recorded(error: &AppendError) -> LedgerError {
    failed(error)
}
