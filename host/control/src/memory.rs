//! Memory for people and for guests: checks what is asked, records it, and reads the views.
//!
//! Deliberately absent: who may do what (the caller's: the door for guests, the gateway for
//! people) and how records are found (the store's). The invariant: **a version that is given
//! back is on disk.** Quotas are looked at before a write and not within its transaction, so
//! writers at the same moment may pass one by what they write together.

use std::sync::Arc;
use std::time::Duration;

use foreshore_domain::event::{EventKind, NewEvent, Stream, Tenant};
use foreshore_domain::memory::{
    Embedding, Importance, JsonText, Key, MemoryDeleted, MemoryError, MemoryPut, MemoryRelated,
    Namespace, Origin, Relation, Tags, Ttl, ValueRef,
};
use foreshore_store::memory::{Found, Keys, Paths, Query, Related, Usage, Version};
use foreshore_store::{AppendError, Commit, Condition, Journal, ReadError, Receipt};
use tokio_util::sync::CancellationToken;

use crate::clock;

/// The most records of a namespace.
pub const NAMESPACE_RECORDS_MAX: u64 = 1_000_000;
/// The most bytes of a namespace: keys, values and tags of all versions that are kept.
pub const NAMESPACE_BYTES_MAX: u64 = 4 << 30;
/// The most relations of a namespace.
pub const NAMESPACE_RELATIONS_MAX: u64 = 1_000_000;
/// The most keys, versions or relations of one answer.
pub const PAGE_MAX: usize = 1_000;

/// How often what has expired is swept, and how much at once.
const SWEEP_EVERY: Duration = Duration::from_secs(30);
const SWEEP_AT_ONCE: usize = 200;

/// Memory, of one tenant at a time. Cheap to clone.
#[derive(Clone)]
pub struct Memory {
    journal: Journal,
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

/// Memory did not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryFault {
    /// It cannot be kept.
    #[error(transparent)]
    Invalid(#[from] MemoryError),
    /// It is too large as a whole.
    #[error(
        "a record of {bytes} bytes is refused: with its tags and embedding it may have {max_bytes}"
    )]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// How large it may be.
        max_bytes: usize,
    },
    /// Something else stands there.
    #[error("\"{key}\" has version {actual}, not {expected}; read it again and decide anew")]
    Conflict {
        /// Which record.
        key: String,
        /// What was expected.
        expected: u64,
        /// What is; 0 for none.
        actual: u64,
    },
    /// The namespace is full.
    #[error("namespace \"{namespace}\" has its {max} {what}; delete what is not needed")]
    Exhausted {
        /// Which.
        namespace: String,
        /// Of what.
        what: &'static str,
        /// The most there may be.
        max: u64,
    },
    /// The store takes nothing now.
    #[error("the store is read-only until the disk takes writes again: {message}")]
    ReadOnly {
        /// What the disk or redb said.
        message: String,
    },
    /// The store failed.
    #[error("{message}")]
    Store {
        /// How; for the operator's log.
        message: String,
    },
}

impl MemoryFault {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid_memory",
            Self::TooLarge { .. } => "memory_too_large",
            Self::Conflict { .. } => "version_conflict",
            Self::Exhausted { .. } => "memory_quota_exhausted",
            Self::ReadOnly { .. } => "store_read_only",
            Self::Store { .. } => "host_error",
        }
    }
}

impl From<AppendError> for MemoryFault {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::TooLarge { bytes, max_bytes } => Self::TooLarge { bytes, max_bytes },
            AppendError::Conflict(conflict) => {
                let key = match &conflict.condition {
                    Condition::RecordVersion { key, .. } => key.as_str().to_owned(),
                    _ => String::new(),
                };
                Self::Conflict { key, expected: conflict.expected, actual: conflict.actual }
            }
            AppendError::Failed { message } | AppendError::Write { message } => {
                Self::ReadOnly { message }
            }
            error => Self::Store { message: error.to_string() },
        }
    }
}

impl From<ReadError> for MemoryFault {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::NotOpen => Self::ReadOnly { message: error.to_string() },
            error => Self::Store { message: error.to_string() },
        }
    }
}

impl From<foreshore_store::ViewError> for MemoryFault {
    fn from(error: foreshore_store::ViewError) -> Self {
        Self::Store { message: error.to_string() }
    }
}

impl Memory {
    pub(crate) fn new(journal: Journal) -> Self {
        Self { journal }
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
        let condition = put.expected_version.map(|version| Condition::RecordVersion {
            tenant: tenant.clone(),
            namespace: put.namespace.clone(),
            key: put.key.clone(),
            now_unix_ms: now,
            version,
        });
        let event = self.put_event(tenant, now, put)?;
        Ok(self.record(event, beside, condition).await?.version)
    }

    /// The event that writes a record, for a commit of the caller's own, which has to hold the
    /// namespace's stream at where it was before this was asked: the expected version is looked
    /// at here.
    pub(crate) fn prepare_put(&self, tenant: &Tenant, put: Put) -> Result<NewEvent, MemoryFault> {
        let now = clock::now_unix_ms();
        if let Some(expected) = put.expected_version {
            let reader = self.journal.memory(tenant, now)?;
            let there = reader.get(put.namespace.as_str(), put.key.as_str())?;
            let actual = there.map_or(0, |version| version.version);
            if actual != expected {
                let key = put.key.as_str().to_owned();
                return Err(MemoryFault::Conflict { key, expected, actual });
            }
        }
        self.put_event(tenant, now, put)
    }

    fn put_event(&self, tenant: &Tenant, now: u64, put: Put) -> Result<NewEvent, MemoryFault> {
        let usage = self.journal.memory(tenant, now)?.usage(put.namespace.as_str())?;
        let adds = u64::try_from(put.key.as_str().len() + put.value.as_str().len());
        let adds = adds.unwrap_or(u64::MAX);
        exhausted(&put.namespace, "records", usage.entries, 0, NAMESPACE_RECORDS_MAX)?;
        exhausted(&put.namespace, "bytes", usage.versions_bytes, adds, NAMESPACE_BYTES_MAX)?;
        let stream = stream(&put.namespace);
        let payload = MemoryPut {
            namespace: put.namespace,
            key: put.key,
            value: ValueRef::Inline(put.value),
            tags: put.tags,
            importance: put.importance,
            ttl_s: put.ttl,
            origin: put.origin,
            embedding: put.embedding,
        };
        event(tenant, now, stream, EventKind::MemoryPut, &payload)
    }

    /// The newest version of a record, deletions included; 0 where it never was.
    pub(crate) fn latest_version(
        &self,
        tenant: &Tenant,
        namespace: &Namespace,
        key: &Key,
    ) -> Result<u64, MemoryFault> {
        let newest = self.versions(tenant, namespace, key, 1)?;
        Ok(newest.first().map_or(0, |version| version.version))
    }

    /// As [`Self::prepare_put`], for a deletion; `None` where there is nothing to delete.
    pub(crate) fn prepare_delete(
        &self,
        tenant: &Tenant,
        namespace: Namespace,
        key: Key,
        origin: Origin,
    ) -> Result<Option<NewEvent>, MemoryFault> {
        let now = clock::now_unix_ms();
        let there = self.journal.memory(tenant, now)?.get(namespace.as_str(), key.as_str())?;
        if there.is_none() {
            return Ok(None);
        }
        let stream = stream(&namespace);
        let payload = MemoryDeleted { namespace, key, origin };
        event(tenant, now, stream, EventKind::MemoryDeleted, &payload).map(Some)
    }

    /// As [`Self::prepare_put`], for a relation.
    pub(crate) fn prepare_relate(
        &self,
        tenant: &Tenant,
        namespace: Namespace,
        relation: Relation,
        origin: Origin,
    ) -> Result<NewEvent, MemoryFault> {
        let now = clock::now_unix_ms();
        let usage = self.journal.memory(tenant, now)?.usage(namespace.as_str())?;
        exhausted(&namespace, "relations", usage.relations, 0, NAMESPACE_RELATIONS_MAX)?;
        let stream = stream(&namespace);
        let payload = MemoryRelated { namespace, relation, origin };
        event(tenant, now, stream, EventKind::MemoryRelated, &payload)
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
        let receipt = self.record(event, beside, condition).await?;
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
        Ok(self.record(event, beside, None).await?.changed)
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
        Ok(self.record(event, None, None).await?.changed)
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

    /// The records that match best.
    ///
    /// # Errors
    /// See [`Self::get`].
    pub fn search(
        &self,
        tenant: &Tenant,
        namespace: &Namespace,
        query: &Query<'_>,
    ) -> Result<Found, MemoryFault> {
        let reader = self.journal.memory(tenant, clock::now_unix_ms())?;
        Ok(reader.search(namespace.as_str(), query)?)
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
        condition: Option<Condition>,
    ) -> Result<Receipt, MemoryFault> {
        let commit = Commit {
            events: [event].into_iter().chain(beside).collect(),
            conditions: condition.into_iter().collect(),
            blobs: Vec::new(),
        };
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

fn exhausted(
    namespace: &Namespace,
    what: &'static str,
    used: u64,
    adds: u64,
    max: u64,
) -> Result<(), MemoryFault> {
    if used < max && adds <= max - used {
        return Ok(());
    }
    Err(MemoryFault::Exhausted { namespace: namespace.as_str().to_owned(), what, max })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_namespace_says_which_of_its_bounds_it_has_reached() {
        let namespace = Namespace::parse("notes").expect("a namespace");
        assert!(exhausted(&namespace, "bytes", 90, 10, 100).is_ok(), "it just fits");
        for (what, used, adds) in [("records", 100, 0), ("bytes", 91, 10), ("relations", 200, 0)] {
            let fault = exhausted(&namespace, what, used, adds, 100).expect_err(what);
            assert_eq!(fault.code(), "memory_quota_exhausted");
            let text = format!("namespace \"notes\" has its 100 {what}; delete what is not needed");
            assert_eq!(fault.to_string(), text);
        }
    }
}
