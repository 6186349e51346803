//! Memory for people and for guests: checks what is asked, records it, and reads the views.
//!
//! Deliberately absent: who may do what (the caller's: the door for guests, the gateway for
//! people) and how records are found (the store's). The invariant: **a version that is given
//! back is on disk.**

mod fault;
mod large;
mod meaning;
mod prepare;
mod quota;
mod search;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use foreshore_domain::event::{EventKind, NewEvent, Stream, Tenant};
use foreshore_domain::memory::{
    Embedding, Importance, JsonText, Key, MemoryDeleted, MemoryPut, MemoryRelated, Namespace,
    Origin, Relation, Tags, Ttl,
};
use foreshore_store::memory::{Keys, Paths, Related, Usage, Version};
use foreshore_store::{Blob, Commit, Condition, Journal, Receipt};
use tokio_util::sync::CancellationToken;

pub use self::fault::MemoryFault;
pub use self::large::VALUE_MAX_BYTES;
pub(crate) use self::meaning::Meaning;
pub use self::meaning::{
    BackfillState, Embedder, MeaningConfig, MeaningStatus, MeaningUpkeep, Urgency,
};
use self::quota::Quotas;
pub use self::search::{Findings, Search};
use crate::clock;

/// The most keys, versions or relations of one answer.
pub const PAGE_MAX: usize = 1_000;

/// How often what has expired is swept, and how much at once.
const SWEEP_EVERY: Duration = Duration::from_secs(30);
const SWEEP_AT_ONCE: usize = 200;

/// Memory, of one tenant at a time. Cheap to clone.
#[derive(Clone)]
pub struct Memory {
    journal: Journal,
    quotas: Quotas,
    /// Who embeds its texts; `None` where it is searched by words alone.
    meaning: Option<Arc<Meaning>>,
}

/// A record to be written.
#[derive(Clone, Debug)]
pub struct Put {
    /// Where.
    pub namespace: Namespace,
    /// Under which name.
    pub key: Key,
    /// What.
    pub value: JsonText,
    /// Words to filter by.
    pub tags: Tags,
    /// How much it matters.
    pub importance: Importance,
    /// Forgotten so long after now.
    pub ttl: Option<Ttl>,
    /// Where its text came from.
    pub origin: Origin,
    /// Its place in a model's space.
    pub embedding: Option<Embedding>,
    /// The version that must stand there now; 0 for none. `None` writes over any.
    pub expected_version: Option<u64>,
}

impl Memory {
    pub(crate) fn new(journal: Journal) -> Self {
        Self { journal, quotas: Quotas::default(), meaning: None }
    }

    /// Writes a record; gives back its version, which is on disk.
    ///
    /// # Errors
    /// [`MemoryFault`].
    pub async fn put(&self, tenant: &Tenant, put: Put) -> Result<u64, MemoryFault> {
        self.put_beside(tenant, put, None).await
    }

    /// As [`Self::put`], with an event that is recorded if and only if the write is.
    pub(crate) async fn put_beside(
        &self,
        tenant: &Tenant,
        put: Put,
        beside: Option<NewEvent>,
    ) -> Result<u64, MemoryFault> {
        let now = clock::now_unix_ms();
        self.hold_to_quota(tenant, &put, now)?;
        let condition = put.expected_version.map(|version| Condition::RecordVersion {
            tenant: tenant.clone(),
            namespace: put.namespace.clone(),
            key: put.key.clone(),
            now_unix_ms: now,
            version,
        });
        let (event, blob) = self.put_event(tenant, put, now)?;
        let conditions = condition.into_iter().collect();
        let blobs = blob.into_iter().collect();
        Ok(self.record(event, beside, conditions, blobs).await?.version)
    }

    /// The event that writes a record, and the blob that goes with it.
    fn put_event(
        &self,
        tenant: &Tenant,
        put: Put,
        now: u64,
    ) -> Result<(NewEvent, Option<Blob>), MemoryFault> {
        let stream = stream(&put.namespace);
        let (value, blob) = large::kept(put.value, put.embedding.as_ref())?;
        let payload = MemoryPut {
            namespace: put.namespace,
            key: put.key,
            value,
            tags: put.tags,
            importance: put.importance,
            ttl_s: put.ttl,
            origin: put.origin,
            embedding: put.embedding,
            blobs: blob.iter().map(Blob::digest).collect(),
        };
        Ok((event(tenant, now, stream, EventKind::MemoryPut, &payload)?, blob))
    }

    fn hold_to_quota(&self, tenant: &Tenant, put: &Put, now: u64) -> Result<(), MemoryFault> {
        let (namespace, key) = (&put.namespace, put.key.as_str());
        let reader = self.journal.memory(tenant, now)?;
        let usage = reader.usage(namespace.as_str())?;
        if usage.entries >= self.quotas.records && reader.get(namespace.as_str(), key)?.is_none() {
            quota::hold(namespace, "records", usage.entries, 1, self.quotas.records)?;
        }
        let adds = u64::try_from(key.len() + put.value.as_str().len()).unwrap_or(u64::MAX);
        quota::hold(namespace, "bytes", usage.versions_bytes, adds, self.quotas.bytes)
    }

    /// Deletes a record, which is a version of its own; `None` if there was none.
    ///
    /// # Errors
    /// [`MemoryFault`].
    pub async fn delete(
        &self,
        tenant: &Tenant,
        namespace: Namespace,
        key: Key,
        origin: Origin,
        expected_version: Option<u64>,
    ) -> Result<Option<u64>, MemoryFault> {
        self.delete_beside(tenant, namespace, key, origin, expected_version, None).await
    }

    /// As [`Self::delete`], with an event that is recorded if and only if the deletion is.
    pub(crate) async fn delete_beside(
        &self,
        tenant: &Tenant,
        namespace: Namespace,
        key: Key,
        origin: Origin,
        expected_version: Option<u64>,
        beside: Option<NewEvent>,
    ) -> Result<Option<u64>, MemoryFault> {
        let now = clock::now_unix_ms();
        let there = self.journal.memory(tenant, now)?.get(namespace.as_str(), key.as_str())?;
        if there.is_none() && expected_version.is_none_or(|version| version == 0) {
            return Ok(None);
        }
        let condition = expected_version.map(|version| Condition::RecordVersion {
            tenant: tenant.clone(),
            namespace: namespace.clone(),
            key: key.clone(),
            now_unix_ms: now,
            version,
        });
        let stream = stream(&namespace);
        let payload = MemoryDeleted { namespace, key, origin };
        let kind = EventKind::MemoryDeleted;
        let event = event(tenant, now, stream, kind, &payload)?;
        let conditions = condition.into_iter().collect();
        let receipt = self.record(event, beside, conditions, Vec::new()).await?;
        Ok(receipt.changed.then_some(receipt.version))
    }

    /// Adds a relation; `false` if it was there.
    ///
    /// # Errors
    /// [`MemoryFault`].
    pub async fn relate(
        &self,
        tenant: &Tenant,
        namespace: Namespace,
        relation: Relation,
        origin: Origin,
    ) -> Result<bool, MemoryFault> {
        self.relate_beside(tenant, namespace, relation, origin, None).await
    }

    /// As [`Self::relate`], with an event that is recorded if and only if the relation is.
    pub(crate) async fn relate_beside(
        &self,
        tenant: &Tenant,
        namespace: Namespace,
        relation: Relation,
        origin: Origin,
        beside: Option<NewEvent>,
    ) -> Result<bool, MemoryFault> {
        let event = self.prepare_relate(tenant, namespace, relation, origin)?;
        Ok(self.record(event, beside, Vec::new(), Vec::new()).await?.changed)
    }

    /// Takes a relation away; `false` if there was none.
    ///
    /// # Errors
    /// [`MemoryFault`].
    pub async fn unrelate(
        &self,
        tenant: &Tenant,
        namespace: Namespace,
        relation: Relation,
        origin: Origin,
    ) -> Result<bool, MemoryFault> {
        let now = clock::now_unix_ms();
        let stream = stream(&namespace);
        let payload = MemoryRelated { namespace, relation, origin };
        let event = event(tenant, now, stream, EventKind::MemoryUnrelated, &payload)?;
        Ok(self.record(event, None, Vec::new(), Vec::new()).await?.changed)
    }

    /// A record, or one version of it; `None` if there is none.
    ///
    /// # Errors
    /// [`MemoryFault::Store`]; so with every function below.
    pub fn get(
        &self,
        tenant: &Tenant,
        namespace: &Namespace,
        key: &Key,
        version: Option<u64>,
    ) -> Result<Option<Arc<Version>>, MemoryFault> {
        let reader = self.journal.memory(tenant, clock::now_unix_ms())?;
        Ok(match version {
            None => reader.get(namespace.as_str(), key.as_str())?,
            Some(version) => {
                reader.version(namespace.as_str(), key.as_str(), version)?.map(Arc::new)
            }
        })
    }

    /// The value of a version, wherever it is kept; `None` for a tombstone, and for one that is
    /// no longer kept since the version was read.
    ///
    /// # Errors
    /// See [`Self::get`].
    pub fn value(&self, version: &Version) -> Result<Option<JsonText>, MemoryFault> {
        let Some(entry) = version.entry() else { return Ok(None) };
        large::read(&self.journal, &entry.value)
    }

    /// The versions of a record that are kept, newest first, tombstones too.
    ///
    /// # Errors
    /// See [`Self::get`].
    pub fn versions(
        &self,
        tenant: &Tenant,
        namespace: &Namespace,
        key: &Key,
        limit: usize,
    ) -> Result<Vec<Version>, MemoryFault> {
        let reader = self.journal.memory(tenant, clock::now_unix_ms())?;
        Ok(reader.versions(namespace.as_str(), key.as_str(), limit.min(PAGE_MAX))?)
    }

    /// Keys under a prefix, after a key, in order.
    ///
    /// # Errors
    /// See [`Self::get`].
    pub fn list(
        &self,
        tenant: &Tenant,
        namespace: &Namespace,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Keys, MemoryFault> {
        let reader = self.journal.memory(tenant, clock::now_unix_ms())?;
        Ok(reader.list(namespace.as_str(), prefix, after, limit.min(PAGE_MAX))?)
    }

    /// The relations of a key, in either direction.
    ///
    /// # Errors
    /// See [`Self::get`].
    pub fn neighbours(
        &self,
        tenant: &Tenant,
        namespace: &Namespace,
        key: &Key,
        limit: usize,
    ) -> Result<Vec<Related>, MemoryFault> {
        let reader = self.journal.memory(tenant, clock::now_unix_ms())?;
        Ok(reader.neighbours(namespace.as_str(), key.as_str(), limit.min(PAGE_MAX))?)
    }

    /// The shortest paths between two keys.
    ///
    /// # Errors
    /// See [`Self::get`].
    pub fn paths(
        &self,
        tenant: &Tenant,
        namespace: &Namespace,
        from: &Key,
        to: &Key,
    ) -> Result<Paths, MemoryFault> {
        let reader = self.journal.memory(tenant, clock::now_unix_ms())?;
        Ok(reader.paths(namespace.as_str(), from.as_str(), to.as_str())?)
    }

    /// The namespaces there are, and what they amount to.
    ///
    /// # Errors
    /// See [`Self::get`].
    pub fn namespaces(&self, tenant: &Tenant) -> Result<Vec<(String, Usage)>, MemoryFault> {
        Ok(self.journal.memory(tenant, clock::now_unix_ms())?.namespaces()?)
    }

    /// The receipt is that of `event`, which comes first.
    async fn record(
        &self,
        event: NewEvent,
        beside: Option<NewEvent>,
        conditions: Vec<Condition>,
        blobs: Vec<Blob>,
    ) -> Result<Receipt, MemoryFault> {
        let events = [event].into_iter().chain(beside).collect();
        let commit = Commit { events, conditions, blobs };
        let committed = self.journal.commit(commit).await?;
        Ok(committed.receipts.first().copied().unwrap_or_default())
    }

    /// Takes away what has expired, until it is stopped.
    pub(crate) async fn sweep(self, stop: CancellationToken) {
        let mut every = tokio::time::interval(SWEEP_EVERY);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = every.tick() => {}
            }
            while let Ok(swept) = self.sweep_once().await
                && swept == SWEEP_AT_ONCE
                && !stop.is_cancelled()
            {}
        }
    }

    /// Sweeps some; says how many.
    pub(crate) async fn sweep_once(&self) -> Result<usize, MemoryFault> {
        let now = clock::now_unix_ms();
        let due = self.journal.memory(&Tenant::DEFAULT, now)?.due(SWEEP_AT_ONCE)?;
        let swept = due.len();
        let mut events = Vec::with_capacity(swept);
        for due in due {
            let tenant = Tenant::parse(&due.tenant)
                .map_err(|error| MemoryFault::Store { message: error.to_string() })?;
            let payload = serde_json::to_vec(&due.event)
                .map_err(|error| MemoryFault::Store { message: error.to_string() })?;
            let (stream, kind) = (stream(&due.event.namespace), EventKind::MemoryExpired);
            events.push(NewEvent { at_unix_ms: now, tenant, stream, kind, payload });
        }
        if !events.is_empty() {
            self.journal.commit(Commit { events, ..Commit::default() }).await?;
        }
        Ok(swept)
    }
}

fn stream(namespace: &Namespace) -> Stream {
    Stream::Memory(namespace.as_str().to_owned())
}

fn event(
    tenant: &Tenant,
    at_unix_ms: u64,
    stream: Stream,
    kind: EventKind,
    payload: &impl serde::Serialize,
) -> Result<NewEvent, MemoryFault> {
    let payload = serde_json::to_vec(payload)
        .map_err(|error| MemoryFault::Store { message: error.to_string() })?;
    Ok(NewEvent { at_unix_ms, tenant: tenant.clone(), stream, kind, payload })
}
