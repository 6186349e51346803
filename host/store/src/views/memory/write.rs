//! What events do to records.

use foreshore_domain::blob::BlobDigest;
use foreshore_domain::memory::{Embedding, MemoryDeleted, MemoryExpired, MemoryPut, ValueRef};

use super::super::codec::{Rows, put_part, wide};
use super::super::{EventRef, Receipt, ViewError, storage};
use super::cache::Touched;
use super::head::{Head, Live, is_past};
use super::record::{Entry, State, Version, row_key};
use super::search::{self, Document, Vector};
use super::space::{Space, model_or_create};
use super::{MALFORMED, VERSIONS_KEPT};

pub(super) fn put(
    rows: &mut Rows<'_>,
    event: &EventRef<'_>,
    put: &MemoryPut,
    released: &mut Vec<BlobDigest>,
) -> Result<Receipt, ViewError> {
    let blob = match &put.value {
        ValueRef::Inline(_) => None,
        ValueRef::Blob(blob) => Some(blob.digest),
    };
    // What is counted with the event is what is released with the version.
    if !put.blobs.iter().eq(&blob) {
        return Err(ViewError::payload(event, &"its blobs are not that of its value"));
    }
    let name = (put.namespace.as_str(), put.key.as_str());
    let entry = Entry {
        value: put.value.clone(),
        tags: put.tags.clone(),
        importance: put.importance,
        origin: put.origin.clone(),
        expires_at_unix_ms: put.ttl_s.map(|ttl| ttl.expires_at_unix_ms(event.at_unix_ms)),
    };
    let keep = Keep::open(rows, event, name, released)?;
    put_entry(keep, entry, put.embedding.as_ref())
}

fn put_entry(
    mut keep: Keep<'_, '_, '_>,
    entry: Entry,
    embedding: Option<&Embedding>,
) -> Result<Receipt, ViewError> {
    keep.take_latest_away()?;
    let vector = keep.vector(embedding)?;
    keep.add_version(State::Written(entry), vector)?;
    keep.close()
}

/// Writes an entry that needs no blob under a key that has none.
pub(super) fn add(
    rows: &mut Rows<'_>,
    event: &EventRef<'_>,
    name: (&str, &str),
    entry: Entry,
) -> Result<(), ViewError> {
    put_entry(Keep::open(rows, event, name, &mut Vec::new())?, entry, None).map(drop)
}

/// Takes away what [`add`] wrote, and leaves nothing of it.
pub(super) fn erase(
    rows: &mut Rows<'_>,
    event: &EventRef<'_>,
    name: (&str, &str),
) -> Result<(), ViewError> {
    let mut released = Vec::new();
    let mut keep = Keep::open(rows, event, name, &mut released)?;
    if keep.head.live.is_none() {
        return Ok(());
    }
    keep.take_latest_away()?;
    keep.remove_version(keep.head.latest)?;
    keep.space.store(keep.rows)?;
    Head::remove(keep.rows, keep.space.id, keep.key)
}

pub(super) fn delete(
    rows: &mut Rows<'_>,
    event: &EventRef<'_>,
    deleted: &MemoryDeleted,
    released: &mut Vec<BlobDigest>,
) -> Result<Receipt, ViewError> {
    let name = (deleted.namespace.as_str(), deleted.key.as_str());
    let mut keep = Keep::open(rows, event, name, released)?;
    if keep.head.live.is_none() {
        return Ok(keep.unchanged());
    }
    keep.take_latest_away()?;
    keep.add_version(State::Deleted { origin: deleted.origin.clone() }, None)?;
    keep.close()
}

/// Takes the value of a version that is past its time; where that is the latest one, a
/// tombstone follows it.
pub(super) fn expire(
    rows: &mut Rows<'_>,
    event: &EventRef<'_>,
    expired: &MemoryExpired,
    released: &mut Vec<BlobDigest>,
) -> Result<Receipt, ViewError> {
    let name = (expired.namespace.as_str(), expired.key.as_str());
    let mut keep = Keep::open(rows, event, name, released)?;
    let version = Version::load(keep.rows, keep.space.id, keep.key, expired.version)?;
    if !version.is_some_and(|version| is_past(version.expires_at_unix_ms(), event.at_unix_ms)) {
        return Ok(keep.unchanged());
    }
    if keep.head.live.is_some() && keep.head.latest == expired.version {
        keep.take_latest_away()?;
        keep.add_version(State::Expired, None)?;
    }
    keep.remove_version(expired.version)?;
    keep.close()
}

/// A key being changed.
struct Keep<'e, 'r, 't> {
    rows: &'r mut Rows<'t>,
    event: &'e EventRef<'e>,
    namespace: &'e str,
    key: &'e str,
    space: Space,
    head: Head,
    /// Blobs of versions that were removed.
    released: &'r mut Vec<BlobDigest>,
}

impl<'e, 'r, 't> Keep<'e, 'r, 't> {
    fn open(
        rows: &'r mut Rows<'t>,
        event: &'e EventRef<'e>,
        (namespace, key): (&'e str, &'e str),
        released: &'r mut Vec<BlobDigest>,
    ) -> Result<Self, ViewError> {
        let space = Space::load_or_create(rows, event.tenant, namespace)?;
        let head = Head::load(rows, space.id, key)?.unwrap_or_default();
        Ok(Self { rows, event, namespace, key, space, head, released })
    }

    fn take_latest_away(&mut self) -> Result<(), ViewError> {
        let Some(live) = self.head.live.take() else { return Ok(()) };
        take(&mut self.space.usage.entries, 1)?;
        take(&mut self.space.usage.bytes, live.bytes)?;
        let space = self.space.id;
        let version = Version::load(self.rows, space, self.key, self.head.latest)?;
        let version = version.ok_or(MALFORMED)?;
        let vector = (live.model != 0).then(|| Vector { model: live.model, bytes: Vec::new() });
        let document = Document { key: self.key, version: &version, vector };
        search::remove(self.rows, &mut self.space, live.doc, &document)
    }

    fn vector(&mut self, embedding: Option<&Embedding>) -> Result<Option<Vector>, ViewError> {
        let Some(embedding) = embedding else { return Ok(None) };
        let model = model_or_create(self.rows, embedding.model().as_str())?;
        let bytes = embedding.vector().iter().flat_map(|number| number.to_le_bytes()).collect();
        Ok(Some(Vector { model, bytes }))
    }

    fn add_version(&mut self, state: State, vector: Option<Vector>) -> Result<(), ViewError> {
        let version = Version {
            version: self.head.latest + 1,
            seq: self.event.seq,
            written_at_unix_ms: self.event.at_unix_ms,
            state,
        };
        let bytes = self.bytes(&version);
        let expires_at_unix_ms = version.expires_at_unix_ms();
        self.head.latest = version.version;
        if version.entry().is_some() {
            let model = vector.as_ref().map_or(0, |vector| vector.model);
            let document = Document { key: self.key, version: &version, vector };
            let doc = search::add(self.rows, &mut self.space, &document)?;
            self.head.live = Some(Live { expires_at_unix_ms, bytes, doc, model });
            self.space.usage.entries += 1;
            self.space.usage.bytes += bytes;
        }
        self.space.usage.versions += 1;
        self.space.usage.versions_bytes += bytes;
        let row_key = row_key(self.space.id, self.key, version.version);
        self.rows.insert(&*row_key, &*version.encode()).map_err(storage)?;
        if expires_at_unix_ms != 0 {
            let mut row = Vec::new();
            put_part(&mut row, self.event.tenant.as_bytes());
            put_part(&mut row, self.namespace.as_bytes());
            let key = self.expiry_key(expires_at_unix_ms, version.version);
            self.rows.insert(&*key, &*row).map_err(storage)?;
        }
        match version.version.checked_sub(VERSIONS_KEPT) {
            Some(oldest @ 1..) => self.remove_version(oldest),
            _ => Ok(()),
        }
    }

    fn remove_version(&mut self, number: u64) -> Result<(), ViewError> {
        let Some(version) = Version::load(self.rows, self.space.id, self.key, number)? else {
            return Ok(());
        };
        let bytes = self.bytes(&version);
        take(&mut self.space.usage.versions, 1)?;
        take(&mut self.space.usage.versions_bytes, bytes)?;
        if let Some(ValueRef::Blob(blob)) = version.entry().map(|entry| &entry.value) {
            self.released.push(blob.digest);
        }
        let row_key = row_key(self.space.id, self.key, number);
        self.rows.remove(&*row_key).map_err(storage)?;
        if version.expires_at_unix_ms() != 0 {
            let key = self.expiry_key(version.expires_at_unix_ms(), number);
            self.rows.remove(&*key).map_err(storage)?;
        }
        Ok(())
    }

    fn close(self) -> Result<Receipt, ViewError> {
        self.head.store(self.rows, self.space.id, self.key)?;
        self.space.store(self.rows)?;
        let touched = Touched::new(self.event.tenant, self.namespace, self.key);
        Ok(Receipt { version: self.head.latest, changed: true, touched: Some(touched) })
    }

    /// Nothing is stored: an event that changes nothing makes no namespace either.
    fn unchanged(self) -> Receipt {
        Receipt { version: self.head.latest, changed: false, touched: None }
    }

    fn bytes(&self, version: &Version) -> u64 {
        wide(self.key.len()) + version.bytes()
    }

    fn expiry_key(&self, expires_at_unix_ms: u64, version: u64) -> Vec<u8> {
        expiry_key(expires_at_unix_ms, &row_key(self.space.id, self.key, version))
    }
}

/// Takes away what was counted before.
fn take(count: &mut u64, number: u64) -> Result<(), ViewError> {
    *count = count.checked_sub(number).ok_or(MALFORMED)?;
    Ok(())
}

/// `x`, the time, and the version's own key without its letter.
fn expiry_key(expires_at_unix_ms: u64, row_key: &[u8]) -> Vec<u8> {
    let mut key = vec![b'x'];
    key.extend_from_slice(&expires_at_unix_ms.to_be_bytes());
    key.extend_from_slice(row_key.get(1..).unwrap_or_default());
    key
}
