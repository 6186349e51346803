//! Memory for an agent: under its own grant, through the same use cases as people and tools.
//!
//! What an agent writes has the origin `agent:NAME`, whatever it says. A change and the effect
//! that made it are one commit; the version that the agent is told is worked out before, and
//! the commit holds only if the namespace has not moved since.

use foreshore_domain::denial::{Denial, DenialCode};
use foreshore_domain::effect::{
    AgentError, AgentOutcome, BudgetKind, MemoryRead, MemoryRefusal, MemoryWrite, MemoryWriteKind,
    Remembered, Space,
};
use foreshore_domain::event::Stream;
use foreshore_domain::grant::{Access, Grant, memory_grant};
use foreshore_domain::memory::{Namespace, Origin};
use foreshore_store::Condition;

use super::super::memory::{look_up, put, refusal};
use super::{denied, invalid};
use crate::memory::MemoryFault;
use crate::turns::live::Live;
use crate::turns::payload::Entry;
use crate::turns::step::{Done, Outcome};

impl Live {
    pub(super) async fn recall(&self, read: &MemoryRead) -> Done {
        let namespace = match self.reached(&read.space, Access::ReadOnly) {
            Ok(namespace) => namespace,
            Err(error) => return Done::read(Err(error)),
        };
        let kind = read.kind.clone();
        let recalled = look_up(self.turns.memory(), self.turns.tenant(), namespace, kind).await;
        Done::read(recalled.map(AgentOutcome::Recalled).map_err(told))
    }

    pub(super) fn remember(&self, write: &MemoryWrite) -> Done {
        let namespace = match self.reached(&write.space, Access::ReadWrite) {
            Ok(namespace) => namespace,
            Err(error) => return Done::read(Err(error)),
        };
        let stream = Stream::Memory(namespace.as_str().to_owned());
        // The head first: what is read after it is at least as new.
        let seq = match self.turns.journal().stream_head(&self.turns.tenant(), &stream) {
            Ok(seq) => seq,
            Err(error) => return Done::read(Err(told(error.into()))),
        };
        match self.written(namespace, write) {
            Err(fault) => Done::read(Err(told(fault))),
            Ok((outcome, entry)) if entry.events.is_empty() => Done::read(outcome),
            Ok((outcome, entry)) => {
                let condition = Condition::StreamAt { tenant: self.turns.tenant(), stream, seq };
                Done { entry, conditions: vec![condition], ..Done::durable(outcome) }
            }
        }
    }

    /// The event of a change, and what the agent is told once it is recorded.
    fn written(
        &self,
        namespace: Namespace,
        write: &MemoryWrite,
    ) -> Result<(Outcome, Entry), MemoryFault> {
        let memory = self.turns.memory();
        let origin = Origin::Agent(self.agent.to_string());
        let mut entry = Entry::default();
        let remembered = match &write.kind {
            MemoryWriteKind::Put(record) => {
                let latest =
                    memory.latest_version(&self.turns.tenant(), &namespace, &record.key)?;
                let put = put(namespace, record.clone(), origin);
                let (event, blob) = memory.prepare_put(&self.turns.tenant(), put)?;
                entry.push(event);
                entry.blobs.extend(blob);
                Remembered::Version(latest + 1)
            }
            MemoryWriteKind::Delete { key } => {
                let event =
                    memory.prepare_delete(&self.turns.tenant(), namespace, key.clone(), origin)?;
                let was_there = event.is_some();
                entry.events.extend(event);
                Remembered::Deleted(was_there)
            }
            MemoryWriteKind::Relate(relation) => {
                entry.push(memory.prepare_relate(
                    &self.turns.tenant(),
                    namespace,
                    relation.clone(),
                    origin,
                )?);
                Remembered::Related
            }
        };
        Ok((Ok(AgentOutcome::Remembered(remembered)), entry))
    }

    /// The namespace that is meant, if the agent's grant lets it do this there.
    fn reached(&self, space: &Space, access: Access) -> Result<Namespace, AgentError> {
        let agent = &self.agent;
        let Space::Namespace(namespace) = space else {
            let subject = "memory of wasi:keyvalue".to_owned();
            let code = DenialCode::MemoryNotGranted;
            return Err(denied(Denial { code, subject, grant: String::new() }));
        };
        let grant = Grant { memory: self.policy.memory.clone(), ..Grant::default() };
        match grant.deny_namespace(&self.component, namespace, access) {
            None => Ok(namespace.clone()),
            Some(denial) if denial.grant.is_empty() => Err(denied(denial)),
            Some(denial) => {
                let line = memory_grant(agent, namespace.as_str(), access);
                let grant = line.replacen("[components.", "[agents.", 1);
                Err(denied(Denial { grant, ..denial }))
            }
        }
    }
}

/// Why memory did not do it, in an agent's words.
fn told(fault: MemoryFault) -> AgentError {
    match refusal(fault) {
        MemoryRefusal::Invalid(message) => invalid("", message),
        refusal @ MemoryRefusal::Conflict { .. } => {
            invalid("/expected-version", refusal.to_string())
        }
        MemoryRefusal::Exhausted(_) => AgentError::Exhausted(BudgetKind::Bytes),
        MemoryRefusal::Unavailable => AgentError::Unavailable(None),
        refusal => AgentError::Failed(refusal.to_string()),
    }
}
