//! Changes of memory as events, for a commit of somebody else's.
//!
//! Whoever records one of them has to hold the namespace's stream at where it was before it was
//! asked for: what is checked here is checked before the commit, and not in it.

use foreshore_domain::event::{EventKind, NewEvent, Tenant};
use foreshore_domain::memory::{Key, MemoryDeleted, MemoryRelated, Namespace, Origin, Relation};
use foreshore_store::Blob;

use super::{Memory, MemoryFault, Put, event, quota, stream};
use crate::clock;

impl Memory {
    /// The event that writes a record, and the blob that goes with it.
    pub(crate) fn prepare_put(
        &self,
        tenant: &Tenant,
        put: Put,
    ) -> Result<(NewEvent, Option<Blob>), MemoryFault> {
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
        self.hold_to_quota(tenant, &put, now)?;
        self.put_event(tenant, put, now)
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

    /// The event that deletes a record; `None` where there is none.
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

    /// The event that adds a relation.
    pub(crate) fn prepare_relate(
        &self,
        tenant: &Tenant,
        namespace: Namespace,
        relation: Relation,
        origin: Origin,
    ) -> Result<NewEvent, MemoryFault> {
        let now = clock::now_unix_ms();
        let reader = self.journal.memory(tenant, now)?;
        let (usage, max) = (reader.usage(namespace.as_str())?, self.quotas.relations);
        if usage.relations >= max && !reader.is_related(namespace.as_str(), &relation)? {
            quota::hold(&namespace, "relations", usage.relations, 1, max)?;
        }
        drop(reader);
        let stream = stream(&namespace);
        let payload = MemoryRelated { namespace, relation, origin };
        event(tenant, now, stream, EventKind::MemoryRelated, &payload)
    }
}
