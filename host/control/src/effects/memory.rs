//! Memory at the door: policy, then the use cases of [`crate::memory`], then the guest's words
//! for what came of it.
//!
//! What a guest writes has the origin `tool:COMPONENT`, whatever it says. Deliberately absent:
//! an intent before a write. The write is an event of the journal itself, and the call's own
//! event about it is in the same commit. The invariant: **a guest reaches only namespaces that
//! its call's grant covers, and of all buckets only that of its own name.**

use foreshore_domain::call::CallContext;
use foreshore_domain::denial::Denial;
use foreshore_domain::effect::{
    EffectError, MemoryEntry, MemoryHit, MemoryRead, MemoryReadKind, MemoryRecord, MemoryRefusal,
    MemoryWrite, MemoryWriteKind, Recalled, Remembered, SearchMethod, Space,
};
use foreshore_domain::event::Tenant;
use foreshore_domain::grant::{Access, bucket};
use foreshore_domain::memory::{Namespace, Origin, ValueRef};
use foreshore_store::memory::{HITS_MAX, Method, Version};

use super::Door;
use crate::memory::{Memory, MemoryFault, Put, Search};
use crate::record::Recorder;

/// The most versions of a record of one answer: all that are kept.
const VERSIONS_MAX: usize = 100;

impl Door {
    pub(super) async fn recall(
        &self,
        call: &CallContext,
        read: MemoryRead,
    ) -> Result<Recalled, EffectError> {
        let namespace = reached(call, read.space, Access::ReadOnly)?;
        let tenant = call.principal.tenant.clone();
        look_up(&self.memory, tenant, namespace, read.kind).await.map_err(refused)
    }

    pub(super) async fn remember(
        &self,
        call: &CallContext,
        write: MemoryWrite,
    ) -> Result<Remembered, EffectError> {
        let namespace = reached(call, write.space, Access::ReadWrite)?;
        // Approval will stand here; the budget is the namespace's quota, which the use case holds to.
        let tenant = &call.principal.tenant;
        let origin = Origin::Tool(call.component.name.to_string());
        let beside = |verb: &str, what: &str| {
            let subject = format!("{verb} {namespace}/{what}");
            Some(Recorder::remembered(call.call_id, &subject, call.principal.tenant.clone()))
        };
        let changed = match write.kind {
            MemoryWriteKind::Put(record) => {
                let beside = beside("put", record.key.as_str());
                let put = put(namespace, record, origin);
                self.memory.put_beside(tenant, put, beside).await.map(Remembered::Version)
            }
            MemoryWriteKind::Delete { key } => {
                let beside = beside("delete", key.as_str());
                self.memory
                    .delete_beside(tenant, namespace, key, origin, None, beside)
                    .await
                    .map(|version| Remembered::Deleted(version.is_some()))
            }
            MemoryWriteKind::Relate(relation) => {
                let beside = beside("relate", relation.subject.as_str());
                self.memory
                    .relate_beside(tenant, namespace, relation, origin, beside)
                    .await
                    .map(|_| Remembered::Related)
            }
        };
        changed.map_err(refused)
    }
}

/// The namespace that is meant, if policy lets the call do this there.
fn reached(call: &CallContext, space: Space, access: Access) -> Result<Namespace, Denial> {
    let (denial, namespace) = match space {
        Space::Namespace(namespace) => {
            (call.grant.deny_namespace(&call.component, &namespace, access), namespace)
        }
        Space::Bucket => (call.grant.deny_bucket(&call.component), bucket(&call.component)),
    };
    match denial {
        None => Ok(namespace),
        Some(denial) => {
            call.denials.push(denial.clone());
            Err(denial)
        }
    }
}

/// What is asked for, read where it holds up nobody.
pub(super) async fn look_up(
    memory: &Memory,
    tenant: Tenant,
    namespace: Namespace,
    kind: MemoryReadKind,
) -> Result<Recalled, MemoryFault> {
    match kind {
        MemoryReadKind::Get { key } => {
            let version = memory.get(&tenant, &namespace, &key, None)?;
            let mut entry = version.as_deref().and_then(|version| entry(key.as_str(), version));
            if let (Some(version), Some(entry)) = (&version, &mut entry)
                && let Some(value) = memory.value(version)?
            {
                value.as_str().clone_into(&mut entry.value);
            }
            Ok(Recalled::Entry(entry))
        }
        MemoryReadKind::Versions { key, limit } => {
            read(memory, move |memory| {
                let limit = limit.min(VERSIONS_MAX);
                let versions = memory.versions(&tenant, &namespace, &key, limit)?;
                let entries = versions.iter().filter_map(|version| entry(key.as_str(), version));
                Ok(Recalled::Entries(entries.collect()))
            })
            .await
        }
        MemoryReadKind::List { prefix, after, limit } => {
            read(memory, move |memory| {
                let page = memory.list(&tenant, &namespace, &prefix, after.as_deref(), limit)?;
                Ok(Recalled::Keys(page.keys))
            })
            .await
        }
        MemoryReadKind::Search { text, tags, since_unix_ms, limit } => {
            let limit = limit.min(HITS_MAX);
            let search = Search { text, embedding: None, tags, since_unix_ms, limit };
            let found = memory.search(&tenant, &namespace, search).await?;
            let hits = found.hits.iter().filter_map(|hit| {
                Some(MemoryHit { entry: entry(&hit.key, &hit.version)?, score: hit.score })
            });
            let method = match found.method {
                Method::Lexical => SearchMethod::Lexical,
                Method::Hybrid => SearchMethod::Hybrid,
            };
            Ok(Recalled::Hits(hits.collect(), method))
        }
        MemoryReadKind::Neighbours { key, limit } => {
            read(memory, move |memory| {
                let related = memory.neighbours(&tenant, &namespace, &key, limit)?;
                let relations = related.into_iter().map(|related| related.relation);
                Ok(Recalled::Relations(relations.collect()))
            })
            .await
        }
        MemoryReadKind::Paths { from, to } => {
            read(memory, move |memory| {
                Ok(Recalled::Paths(memory.paths(&tenant, &namespace, &from, &to)?.paths))
            })
            .await
        }
    }
}

/// What may read thousands of rows does not hold a thread that serves calls.
async fn read(
    memory: &Memory,
    read: impl FnOnce(&Memory) -> Result<Recalled, MemoryFault> + Send + 'static,
) -> Result<Recalled, MemoryFault> {
    let memory = memory.clone();
    let read = tokio::task::spawn_blocking(move || read(&memory)).await;
    read.unwrap_or_else(|error| {
        Err(MemoryFault::Store { message: format!("a look-up ended early: {error}") })
    })
}

pub(super) fn put(namespace: Namespace, record: MemoryRecord, origin: Origin) -> Put {
    Put {
        namespace,
        key: record.key,
        value: record.value,
        tags: record.tags,
        importance: record.importance,
        ttl: record.ttl,
        origin,
        embedding: None,
        expected_version: record.expected_version,
    }
}

/// A version as guests see it; `None` for a deletion.
fn entry(key: &str, version: &Version) -> Option<MemoryEntry> {
    let entry = version.entry()?;
    let value = match &entry.value {
        ValueRef::Inline(json) => json.as_str().to_owned(),
        // In a list a guest gets what search reads of it; alone, it is read whole.
        ValueRef::Blob(blob) => serde_json::Value::from(blob.text.as_str()).to_string(),
    };
    Some(MemoryEntry {
        key: key.to_owned(),
        value,
        version: version.version,
        tags: entry.tags.as_slice().iter().map(|tag| tag.as_str().to_owned()).collect(),
        importance: entry.importance,
        written_at_unix_ms: version.written_at_unix_ms,
        origin: entry.origin.clone(),
    })
}

/// A guest is told what it can act on; how the store failed is for the operator.
fn refused(fault: MemoryFault) -> EffectError {
    refusal(fault).into()
}

/// As [`refused`], for a guest that is told in other words.
pub(super) fn refusal(fault: MemoryFault) -> MemoryRefusal {
    let text = fault.to_string();
    match fault {
        MemoryFault::Invalid(_) | MemoryFault::TooLarge { .. } => MemoryRefusal::Invalid(text),
        MemoryFault::Conflict { key, expected, actual } => {
            MemoryRefusal::Conflict { key, expected, actual }
        }
        MemoryFault::Exhausted { .. } => MemoryRefusal::Exhausted(text),
        MemoryFault::ReadOnly { .. } => MemoryRefusal::Unavailable,
        MemoryFault::Store { message } => {
            tracing::error!(%message, "memory failed a guest");
            MemoryRefusal::Store
        }
    }
}
