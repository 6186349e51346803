//! Files: what is known of each path of a watched root, what of it is approved, which versions
//! are kept, and what each call changed.
//!
//! One table, whose keys start with a letter for what the row is:
//!
//! ```text
//! r tenant 0 root                 -> whether its baseline is complete
//! s tenant 0 root 0 path          -> States: known and approved, as JSON
//! u tenant 0 root 0 path          -> the two differ
//! v tenant 0 root 0 path 0 seq n  -> digest, size, time: a version that is kept
//! c tenant 0 call 0 seq           -> a change that the call made
//! p tenant 0 call                 -> the digest of an undo that was planned and has not ended
//! ```
//!
//! Deliberately absent: what a policy makes of a change. The invariant: the known state of a path
//! is that of its last event, and the approved one too, except after a change from outside.

use std::collections::BTreeSet;

use foreshore_domain::blob::BlobDigest;
use foreshore_domain::integrity::{
    Author, ChangeKind, EntryPath, EntryState, FileBaselined, FileChanged, FilesApproved, RootName,
    UndoEnded, UndoPlanned, VersionsDropped,
};
use redb::ReadableTable as _;
use serde::{Deserialize, Serialize};

use super::codec::{self, Definition, Fields, Readable, Rows, after};
use super::{EventRef, Receipt, ViewError, payload, storage};

const TABLE: Definition = Definition::new("files_v1");
const MALFORMED: ViewError = ViewError::Malformed { what: "files" };

/// The kinds of event that this view follows.
pub(crate) mod kind {
    pub(crate) const BASELINED: &str = "file.baselined";
    pub(crate) const CHANGED: &str = "file.changed";
    pub(crate) const APPROVED: &str = "file.approved";
    pub(crate) const UNDO_PLANNED: &str = "file.undo_planned";
    pub(crate) const UNDONE: &str = "file.undone";
    pub(crate) const DROPPED: &str = "file.dropped";
}

/// What is recorded of a path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct States {
    /// The state of the last record; none if nothing is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<EntryState>,
    /// The last good one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved: Option<EntryState>,
}

/// A version of a file that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileVersion {
    /// Of which root.
    pub root: RootName,
    /// Of which file.
    pub path: EntryPath,
    /// The event that made it kept.
    pub seq: u64,
    /// When, in milliseconds since 1970.
    pub at_unix_ms: u64,
    /// What it holds.
    pub hash: BlobDigest,
    /// How much.
    pub size_bytes: u64,
}

/// Follows the events of [`kind`].
pub(crate) fn apply(
    transaction: &redb::WriteTransaction,
    event: &EventRef<'_>,
) -> Result<Receipt, ViewError> {
    let mut rows = transaction.open_table(TABLE).map_err(storage)?;
    match event.kind {
        kind::BASELINED => baselined(&mut rows, event, payload(event)?),
        kind::CHANGED => changed(&mut rows, event, &payload(event)?),
        kind::APPROVED => approved(&mut rows, event, &payload(event)?),
        kind::UNDO_PLANNED => {
            let planned: UndoPlanned = payload(event)?;
            let key = key(b'p', &[event.tenant, &planned.call_id]);
            insert(&mut rows, &key, planned.blobs[0].as_bytes())
        }
        kind::UNDONE => {
            let ended: UndoEnded = payload(event)?;
            remove(&mut rows, &key(b'p', &[event.tenant, &ended.call_id]))
        }
        kind::DROPPED => dropped(&mut rows, event, &payload(event)?),
        _ => Err(ViewError::Kind { seq: event.seq, kind: event.kind.to_owned() }),
    }?;
    Ok(Receipt::NONE)
}

fn baselined(
    rows: &mut Rows<'_>,
    event: &EventRef<'_>,
    baselined: FileBaselined,
) -> Result<(), ViewError> {
    let root = baselined.root.as_str();
    let kept: BTreeSet<BlobDigest> = baselined.blobs.into_iter().collect();
    for (path, state) in baselined.entries {
        keep_version(rows, event, root, &path, &state, &kept, 1)?;
        let states = States { known: Some(state.clone()), approved: Some(state) };
        put_states(rows, event.tenant, root, &path, &states)?;
    }
    if baselined.complete {
        insert(rows, &key(b'r', &[event.tenant, root]), &[1])?;
    }
    Ok(())
}

fn changed(
    rows: &mut Rows<'_>,
    event: &EventRef<'_>,
    changed: &FileChanged,
) -> Result<(), ViewError> {
    let change = &changed.change;
    let (tenant, root) = (event.tenant, change.root.as_str());
    let is_good = change.author != Author::Outside;
    if let ChangeKind::Renamed { from } = &change.kind {
        let mut states = states(rows, tenant, root, from)?;
        states.known = None;
        if is_good {
            states.approved = None;
        }
        put_states(rows, tenant, root, from, &states)?;
    }
    let mut states = states(rows, tenant, root, &change.path)?;
    states.known = change.after.clone();
    if is_good {
        states.approved = change.after.clone();
    }
    put_states(rows, tenant, root, &change.path, &states)?;
    let mut kept: BTreeSet<BlobDigest> = changed.blobs.iter().copied().collect();
    if let Some(state) = &change.after {
        keep_version(rows, event, root, &change.path, state, &kept, 1)?;
        // The same bytes are one reference.
        kept.retain(|digest| state.hash() != Some(*digest));
    }
    if let Some(state) = &change.before {
        let path = match &change.kind {
            ChangeKind::Renamed { from } => from,
            _ => &change.path,
        };
        keep_version(rows, event, root, path, state, &kept, 0)?;
    }
    if let Author::Component { call_id, .. } = &change.author {
        let mut key = key(b'c', &[tenant, &call_id.to_string()]);
        key.push(0);
        key.extend_from_slice(&event.seq.to_be_bytes());
        insert(rows, &key, &[])?;
    }
    Ok(())
}

fn approved(
    rows: &mut Rows<'_>,
    event: &EventRef<'_>,
    approved: &FilesApproved,
) -> Result<(), ViewError> {
    let root = approved.root.as_str();
    for path in &approved.paths {
        let mut states = states(rows, event.tenant, root, path)?;
        states.approved = states.known.clone();
        put_states(rows, event.tenant, root, path, &states)?;
    }
    Ok(())
}

fn dropped(
    rows: &mut Rows<'_>,
    event: &EventRef<'_>,
    dropped: &VersionsDropped,
) -> Result<(), ViewError> {
    for version in &dropped.versions {
        let prefix = version_prefix(event.tenant, version.root.as_str(), &version.path);
        for which in [0, 1] {
            let key = [&prefix[..], &version.seq.to_be_bytes(), &[which]].concat();
            let holds = |row: &[u8]| row.get(..32) == Some(version.hash.as_bytes());
            let is_it = rows.get(&*key).map_err(storage)?.is_some_and(|row| holds(row.value()));
            if is_it {
                remove(rows, &key)?;
            }
        }
    }
    Ok(())
}

fn keep_version(
    rows: &mut Rows<'_>,
    event: &EventRef<'_>,
    root: &str,
    path: &EntryPath,
    state: &EntryState,
    kept: &BTreeSet<BlobDigest>,
    which: u8,
) -> Result<(), ViewError> {
    let Some(hash) = state.hash().filter(|hash| kept.contains(hash)) else { return Ok(()) };
    let prefix = version_prefix(event.tenant, root, path);
    let key = [&prefix[..], &event.seq.to_be_bytes(), &[which]].concat();
    let mut row = hash.as_bytes().to_vec();
    row.extend_from_slice(&state.size_bytes.to_le_bytes());
    row.extend_from_slice(&event.at_unix_ms.to_le_bytes());
    insert(rows, &key, &row)
}

/// Takes every row away.
pub(crate) fn clear(transaction: &redb::WriteTransaction) -> Result<(), ViewError> {
    transaction.delete_table(TABLE).map(drop).map_err(storage)
}

/// Every row, in order.
pub(crate) fn dump(transaction: &redb::ReadTransaction) -> Result<Vec<u8>, ViewError> {
    codec::dump(transaction, TABLE, None)
}

/// Reads what is known of files, as it stood at one moment. Every function can fail with
/// [`ViewError::Storage`] and [`ViewError::Malformed`].
pub struct FilesReader {
    rows: Option<codec::ReadRows>,
    tenant: String,
}

impl FilesReader {
    /// The files of a tenant.
    ///
    /// # Errors
    /// [`ViewError::Storage`].
    pub fn open(transaction: &redb::ReadTransaction, tenant: &str) -> Result<Self, ViewError> {
        Ok(Self { rows: codec::open(transaction, TABLE)?, tenant: tenant.to_owned() })
    }

    /// Whether a baseline of the root was completed.
    ///
    /// # Errors
    /// See [`FilesReader`].
    pub fn is_baselined(&self, root: &RootName) -> Result<bool, ViewError> {
        let Some(rows) = &self.rows else { return Ok(false) };
        let key = key(b'r', &[&self.tenant, root.as_str()]);
        Ok(rows.get(&*key).map_err(storage)?.is_some())
    }

    /// What is recorded of a path.
    ///
    /// # Errors
    /// See [`FilesReader`].
    pub fn states(&self, root: &RootName, path: &EntryPath) -> Result<States, ViewError> {
        let Some(rows) = &self.rows else { return Ok(States::default()) };
        states(rows, &self.tenant, root.as_str(), path)
    }

    /// Paths whose known and approved states differ, in order, at most `max` after `after`.
    ///
    /// # Errors
    /// See [`FilesReader`].
    pub fn unapproved(
        &self,
        root: &RootName,
        after: Option<&EntryPath>,
        max: usize,
    ) -> Result<Vec<EntryPath>, ViewError> {
        let prefix = root_prefix(b'u', &self.tenant, root.as_str());
        let from = after.map_or_else(|| prefix.clone(), |path| next_path(&prefix, path));
        self.paths(&prefix, from, max, |_| Ok(true))
    }

    /// The known paths below a directory, in order, at most `max` after `after`.
    ///
    /// # Errors
    /// See [`FilesReader`].
    pub fn known_below(
        &self,
        root: &RootName,
        directory: &EntryPath,
        after: Option<&EntryPath>,
        max: usize,
    ) -> Result<Vec<EntryPath>, ViewError> {
        let top = root_prefix(b's', &self.tenant, root.as_str());
        let mut below = top.clone();
        below.extend_from_slice(directory.as_bytes());
        if !directory.is_root() {
            below.push(b'/');
        }
        let from = after.map_or_else(|| below.clone(), |path| next_path(&top, path));
        let is_known = |row: &[u8]| Ok(read_states(row)?.known.is_some());
        let mut paths = self.paths(&below, from.max(below.clone()), max, is_known)?;
        paths.retain(|path| path.is_below(directory));
        Ok(paths)
    }

    fn paths(
        &self,
        prefix: &[u8],
        from: Vec<u8>,
        max: usize,
        wanted: impl Fn(&[u8]) -> Result<bool, ViewError>,
    ) -> Result<Vec<EntryPath>, ViewError> {
        let Some(rows) = &self.rows else { return Ok(Vec::new()) };
        let end = after(prefix);
        let mut paths = Vec::new();
        if from >= end {
            return Ok(paths);
        }
        for row in rows.range::<&[u8]>(&*from..&*end).map_err(storage)? {
            if paths.len() >= max {
                break;
            }
            let (key, row) = row.map_err(storage)?;
            if wanted(row.value())? {
                // The letter, the tenant and the root come before the path.
                let path = key.value().splitn(3, |byte| *byte == 0).nth(2).ok_or(MALFORMED)?;
                paths.push(EntryPath::from_bytes(path).map_err(|_| MALFORMED)?);
            }
        }
        Ok(paths)
    }

    /// The kept versions of a file, newest first.
    ///
    /// # Errors
    /// See [`FilesReader`].
    pub fn versions(
        &self,
        root: &RootName,
        path: &EntryPath,
    ) -> Result<Vec<FileVersion>, ViewError> {
        let mut versions =
            self.versions_under(&version_prefix(&self.tenant, root.as_str(), path), usize::MAX)?;
        versions.reverse();
        Ok(versions)
    }

    /// The kept versions of the first file after another, by root and path, oldest first; empty
    /// after the last.
    ///
    /// # Errors
    /// See [`FilesReader`].
    pub fn versions_after(
        &self,
        file: Option<(&RootName, &EntryPath)>,
    ) -> Result<Vec<FileVersion>, ViewError> {
        let Some(rows) = &self.rows else { return Ok(Vec::new()) };
        let mut all = key(b'v', &[&self.tenant]);
        all.push(0);
        let from = file.map_or_else(
            || all.clone(),
            |(root, path)| after(&version_prefix(&self.tenant, root.as_str(), path)),
        );
        let mut range = rows.range::<&[u8]>(&*from..&*after(&all)).map_err(storage)?;
        let Some(row) = range.next() else { return Ok(Vec::new()) };
        let (key, row) = row.map_err(storage)?;
        let first = read_version(key.value(), row.value()).ok_or(MALFORMED)?;
        let prefix = version_prefix(&self.tenant, first.root.as_str(), &first.path);
        self.versions_under(&prefix, usize::MAX)
    }

    fn versions_under(&self, prefix: &[u8], max: usize) -> Result<Vec<FileVersion>, ViewError> {
        let Some(rows) = &self.rows else { return Ok(Vec::new()) };
        let range = rows.range::<&[u8]>(prefix..&*after(prefix)).map_err(storage)?;
        range
            .take(max)
            .map(|row| {
                let (key, row) = row.map_err(storage)?;
                read_version(key.value(), row.value()).ok_or(MALFORMED)
            })
            .collect()
    }

    /// The numbers of the events of the changes that a call made, in order.
    ///
    /// # Errors
    /// See [`FilesReader`].
    pub fn changes_of(&self, call_id: &str) -> Result<Vec<u64>, ViewError> {
        let Some(rows) = &self.rows else { return Ok(Vec::new()) };
        let mut prefix = key(b'c', &[&self.tenant, call_id]);
        prefix.push(0);
        let range = rows.range::<&[u8]>(&*prefix..&*after(&prefix)).map_err(storage)?;
        range
            .map(|row| {
                let key = row.map_err(storage)?.0;
                let seq = key.value().last_chunk().ok_or(MALFORMED)?;
                Ok(u64::from_be_bytes(*seq))
            })
            .collect()
    }

    /// Undos that were planned and have not ended: call and plan.
    ///
    /// # Errors
    /// See [`FilesReader`].
    pub fn open_plans(&self) -> Result<Vec<(String, BlobDigest)>, ViewError> {
        let Some(rows) = &self.rows else { return Ok(Vec::new()) };
        let mut prefix = key(b'p', &[&self.tenant]);
        prefix.push(0);
        let range = rows.range::<&[u8]>(&*prefix..&*after(&prefix)).map_err(storage)?;
        range
            .map(|row| {
                let (key, row) = row.map_err(storage)?;
                let call = key.value().get(prefix.len()..).unwrap_or_default();
                let call = std::str::from_utf8(call).map_err(|_| MALFORMED)?.to_owned();
                let digest = row.value().first_chunk().ok_or(MALFORMED)?;
                Ok((call, BlobDigest::from_bytes(*digest)))
            })
            .collect()
    }
}

fn read_version(key: &[u8], row: &[u8]) -> Option<FileVersion> {
    let (key, tail) = key.split_at_checked(key.len().checked_sub(10)?)?;
    let seq = u64::from_be_bytes(*tail.get(1..9)?.first_chunk()?);
    let mut parts = key.splitn(3, |byte| *byte == 0);
    let (_, root, path) = (parts.next()?, parts.next()?, parts.next()?);
    let (hash, rest) = row.split_first_chunk()?;
    let mut fields = Fields(rest);
    Some(FileVersion {
        root: std::str::from_utf8(root).ok()?.parse().ok()?,
        path: EntryPath::from_bytes(path).ok()?,
        seq,
        hash: BlobDigest::from_bytes(*hash),
        size_bytes: fields.u64()?,
        at_unix_ms: fields.u64()?,
    })
}

fn states(
    rows: &impl Readable,
    tenant: &str,
    root: &str,
    path: &EntryPath,
) -> Result<States, ViewError> {
    let mut key = root_prefix(b's', tenant, root);
    key.extend_from_slice(path.as_bytes());
    let row = rows.get(&*key).map_err(storage)?;
    row.map_or_else(|| Ok(States::default()), |row| read_states(row.value()))
}

fn read_states(row: &[u8]) -> Result<States, ViewError> {
    serde_json::from_slice(row).map_err(|_| MALFORMED)
}

fn put_states(
    rows: &mut Rows<'_>,
    tenant: &str,
    root: &str,
    path: &EntryPath,
    states: &States,
) -> Result<(), ViewError> {
    let mut key = root_prefix(b's', tenant, root);
    let mut differs = root_prefix(b'u', tenant, root);
    for key in [&mut key, &mut differs] {
        key.extend_from_slice(path.as_bytes());
    }
    let agree = match (&states.known, &states.approved) {
        (None, None) => true,
        (Some(known), Some(approved)) => known.same_as(approved),
        _ => false,
    };
    if agree {
        remove(rows, &differs)?;
    } else {
        insert(rows, &differs, &[])?;
    }
    if *states == States::default() {
        return remove(rows, &key);
    }
    let row = serde_json::to_vec(states).map_err(|_| MALFORMED)?;
    insert(rows, &key, &row)
}

fn insert(rows: &mut Rows<'_>, key: &[u8], row: &[u8]) -> Result<(), ViewError> {
    rows.insert(key, row).map(drop).map_err(storage)
}

fn remove(rows: &mut Rows<'_>, key: &[u8]) -> Result<(), ViewError> {
    rows.remove(key).map(drop).map_err(storage)
}

/// A letter and names, with zeros between: no name holds one.
fn key(letter: u8, names: &[&str]) -> Vec<u8> {
    let mut key = vec![letter];
    key.extend_from_slice(names.join("\0").as_bytes());
    key
}

fn root_prefix(letter: u8, tenant: &str, root: &str) -> Vec<u8> {
    let mut key = key(letter, &[tenant, root]);
    key.push(0);
    key
}

fn version_prefix(tenant: &str, root: &str, path: &EntryPath) -> Vec<u8> {
    let mut key = root_prefix(b'v', tenant, root);
    key.extend_from_slice(path.as_bytes());
    key.push(0);
    key
}

/// The least key after that of a path.
fn next_path(prefix: &[u8], path: &EntryPath) -> Vec<u8> {
    [prefix, path.as_bytes(), &[0]].concat()
}

#[cfg(test)]
mod tests;
