//! `foreshore:memory`: records, relations and search in namespaces.
//!
//! Granted by `Grant::memory`; linked only for tools that have it, and for agents. This file
//! translates: what is asked goes to the door as [`Effect::Recall`] or [`Effect::Remember`];
//! what an agent asks is numbered and recorded, so it goes as [`AgentEffect`]. It bounds what a
//! guest may ask for at once, and counts each thing asked for as an operation. Nothing here
//! decides who may reach a namespace, or says where a text came from.

use foreshore_domain::effect::{
    AgentEffect, AgentOutcome, Effect, EffectError, EffectOutcome, MemoryEntry, MemoryRead,
    MemoryReadKind, MemoryRecord, MemoryRefusal, MemoryWrite, MemoryWriteKind, Recalled,
    Remembered, SearchMethod, Space,
};
use foreshore_domain::grant::Access;
use foreshore_domain::memory as domain;
use foreshore_domain::memory::{Key, MemoryError, Namespace, Predicate};
use wasmtime::Result;
use wasmtime::component::{HasSelf, Linker};

use crate::bindings::foreshore::memory::memory;
use crate::bindings::types;
use crate::capability::told::{Answer, invalid};
use crate::limiter::{count, size};
use crate::state::{CallScope, State};

/// The most keys or relations of one answer.
const PAGE_MAX: u32 = 1_000;
/// The most versions of a record of one answer.
const VERSIONS_MAX: u32 = 100;
/// The most bytes of a value that a guest writes: what a request has by default.
const VALUE_MAX_BYTES: usize = 1 << 20;
/// The most hits of a search, as the interface says.
const HITS_MAX: u32 = 100;
/// What a search, or a walk over the graph, counts for: it takes the host up to 20 ms.
const SEARCH_OPERATIONS: u64 = 1_000;

pub(crate) fn link(linker: &mut Linker<State>) -> Result<()> {
    memory::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

impl CallScope {
    /// Counts what is asked of memory, before it is asked.
    pub(crate) async fn asks_memory(&self, operations: u64, bytes: usize) -> Result<()> {
        self.count_operations(operations)?;
        self.copied(bytes);
        self.breathe().await;
        Ok(())
    }

    pub(crate) async fn recall(
        &self,
        space: Space,
        kind: MemoryReadKind,
    ) -> std::result::Result<Recalled, EffectError> {
        let read = MemoryRead { space, kind };
        let recalled = if self.context.turn.is_some() {
            match self.perform(AgentEffect::Recall(read)).await? {
                Some(AgentOutcome::Recalled(recalled)) => Some(recalled),
                _ => None,
            }
        } else {
            match self.effects.perform(&self.context, Effect::Recall(read)).await? {
                EffectOutcome::Recalled(recalled) => Some(recalled),
                _ => None,
            }
        };
        recalled.ok_or_else(|| MemoryRefusal::Store.into())
    }

    pub(crate) async fn remember(
        &self,
        space: Space,
        kind: MemoryWriteKind,
    ) -> std::result::Result<Remembered, EffectError> {
        let write = MemoryWrite { space, kind };
        let remembered = if self.context.turn.is_some() {
            match self.perform(AgentEffect::Remember(write)).await? {
                Some(AgentOutcome::Remembered(remembered)) => Some(remembered),
                _ => None,
            }
        } else {
            match self.effects.perform(&self.context, Effect::Remember(write)).await? {
                EffectOutcome::Remembered(remembered) => Some(remembered),
                _ => None,
            }
        };
        remembered.ok_or_else(|| MemoryRefusal::Store.into())
    }

    /// An answer that is no larger than what one host call may copy.
    pub(crate) fn bounded<T>(&self, answer: T, bytes: usize) -> Answer<T> {
        if count(bytes) > self.context.limits.hostcall_max_bytes.get() {
            return Err(types::Error::Exhausted(types::Budget::Bytes));
        }
        self.copied(bytes);
        Ok(answer)
    }

    async fn look_up(
        &self,
        namespace: String,
        kind: Answer<MemoryReadKind>,
    ) -> Result<Answer<Recalled>> {
        match space(namespace).and_then(|space| Ok((space, kind?))) {
            Ok((space, kind)) => self.answer(self.recall(space, kind).await),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn change(
        &self,
        namespace: String,
        kind: Answer<MemoryWriteKind>,
    ) -> Result<Answer<Remembered>> {
        match space(namespace).and_then(|space| Ok((space, kind?))) {
            Ok((space, kind)) => self.answer(self.remember(space, kind).await),
            Err(error) => Ok(Err(error)),
        }
    }
}

impl memory::Host for State {
    /// What the operator wrote; no effect, since a guest's own grant is no secret from it.
    async fn namespaces(&mut self) -> Result<Vec<memory::Granted>> {
        let scope = &self.scope;
        let granted = scope.context.grant.memory.as_ref();
        let granted: Vec<_> = granted.map_or(&[][..], |grant| &grant.namespaces).iter().collect();
        let patterns: Vec<String> = granted.iter().map(|one| one.pattern.to_string()).collect();
        scope.asks_memory(1, patterns.iter().map(String::len).sum()).await?;
        let writable = granted.iter().map(|one| one.access == Access::ReadWrite);
        let wire = |(pattern, writable)| memory::Granted { pattern, writable };
        Ok(patterns.into_iter().zip(writable).map(wire).collect())
    }

    async fn get(
        &mut self,
        namespace: String,
        key: String,
    ) -> Result<Answer<Option<memory::Entry>>> {
        let scope = &self.scope;
        scope.asks_memory(1, namespace.len() + key.len()).await?;
        let kind = parsed(Key::parse(key)).map(|key| MemoryReadKind::Get { key });
        Ok(match scope.look_up(namespace, kind).await? {
            Ok(Recalled::Entry(entry)) => {
                let bytes = entry.as_ref().map_or(0, entry_bytes);
                scope.bounded(entry.map(wire), bytes)
            }
            other => Err(unexpected(other)),
        })
    }

    async fn put(&mut self, namespace: String, write: memory::Write) -> Result<Answer<u64>> {
        let scope = &self.scope;
        let tags: usize = write.tags.iter().map(String::len).sum();
        let bytes = namespace.len() + write.key.len() + write.value.len() + tags;
        scope.asks_memory(1, bytes).await?;
        let kind = record(write).map(MemoryWriteKind::Put);
        Ok(match scope.change(namespace, kind).await? {
            Ok(Remembered::Version(version)) => Ok(version),
            other => Err(unexpected(other)),
        })
    }

    async fn delete(&mut self, namespace: String, key: String) -> Result<Answer<bool>> {
        let scope = &self.scope;
        scope.asks_memory(1, namespace.len() + key.len()).await?;
        let kind = parsed(Key::parse(key)).map(|key| MemoryWriteKind::Delete { key });
        Ok(match scope.change(namespace, kind).await? {
            Ok(Remembered::Deleted(was_there)) => Ok(was_there),
            other => Err(unexpected(other)),
        })
    }

    async fn list(
        &mut self,
        namespace: String,
        prefix: String,
        after: Option<String>,
        limit: u32,
    ) -> Result<Answer<Vec<String>>> {
        let scope = &self.scope;
        let limit = limit.min(PAGE_MAX);
        let bytes = namespace.len() + prefix.len() + after.as_ref().map_or(0, String::len);
        scope.asks_memory(1 + u64::from(limit), bytes).await?;
        let kind = MemoryReadKind::List { prefix, after, limit: size(limit.into()) };
        Ok(match scope.look_up(namespace, Ok(kind)).await? {
            Ok(Recalled::Keys(keys)) => {
                let bytes = keys.iter().map(String::len).sum();
                scope.bounded(keys, bytes)
            }
            other => Err(unexpected(other)),
        })
    }

    async fn versions(
        &mut self,
        namespace: String,
        key: String,
        limit: u32,
    ) -> Result<Answer<Vec<memory::Entry>>> {
        let scope = &self.scope;
        let limit = limit.min(VERSIONS_MAX);
        scope.asks_memory(1 + u64::from(limit), namespace.len() + key.len()).await?;
        let kind = parsed(Key::parse(key))
            .map(|key| MemoryReadKind::Versions { key, limit: size(limit.into()) });
        Ok(match scope.look_up(namespace, kind).await? {
            Ok(Recalled::Entries(entries)) => {
                let bytes = entries.iter().map(entry_bytes).sum();
                scope.bounded(entries.into_iter().map(wire).collect(), bytes)
            }
            other => Err(unexpected(other)),
        })
    }

    async fn search(
        &mut self,
        namespace: String,
        query: memory::Query,
    ) -> Result<Answer<(Vec<memory::Hit>, memory::Method)>> {
        let scope = &self.scope;
        let tags: usize = query.tags.iter().map(String::len).sum();
        let bytes = namespace.len() + query.text.len() + tags;
        scope.asks_memory(SEARCH_OPERATIONS, bytes).await?;
        Ok(match scope.look_up(namespace, search(query)).await? {
            Ok(Recalled::Hits(hits, method)) => {
                let bytes = hits.iter().map(|hit| entry_bytes(&hit.entry)).sum();
                let method = match method {
                    SearchMethod::Lexical => memory::Method::Lexical,
                    SearchMethod::Hybrid => memory::Method::Hybrid,
                };
                let hits = hits.into_iter();
                let hits = hits.map(|hit| memory::Hit { entry: wire(hit.entry), score: hit.score });
                scope.bounded((hits.collect(), method), bytes)
            }
            other => Err(unexpected(other)),
        })
    }

    async fn relate(
        &mut self,
        namespace: String,
        relation: memory::Relation,
    ) -> Result<Answer<()>> {
        let scope = &self.scope;
        scope.asks_memory(1, namespace.len() + relation_bytes(&relation)).await?;
        let kind = read_relation(relation).map(MemoryWriteKind::Relate);
        Ok(match scope.change(namespace, kind).await? {
            Ok(Remembered::Related) => Ok(()),
            other => Err(unexpected(other)),
        })
    }

    async fn neighbours(
        &mut self,
        namespace: String,
        key: String,
        limit: u32,
    ) -> Result<Answer<Vec<memory::Relation>>> {
        let scope = &self.scope;
        let limit = limit.min(PAGE_MAX);
        scope.asks_memory(1 + u64::from(limit), namespace.len() + key.len()).await?;
        let kind = parsed(Key::parse(key))
            .map(|key| MemoryReadKind::Neighbours { key, limit: size(limit.into()) });
        Ok(match scope.look_up(namespace, kind).await? {
            Ok(Recalled::Relations(relations)) => {
                let relations: Vec<_> = relations.into_iter().map(wire_relation).collect();
                let bytes = relations.iter().map(relation_bytes).sum();
                scope.bounded(relations, bytes)
            }
            other => Err(unexpected(other)),
        })
    }

    async fn paths(
        &mut self,
        namespace: String,
        from_key: String,
        to_key: String,
    ) -> Result<Answer<Vec<Vec<memory::Relation>>>> {
        let scope = &self.scope;
        let bytes = namespace.len() + from_key.len() + to_key.len();
        scope.asks_memory(SEARCH_OPERATIONS, bytes).await?;
        let kind = parsed(Key::parse(from_key)).and_then(|from| {
            parsed(Key::parse(to_key)).map(|to| MemoryReadKind::Paths { from, to })
        });
        Ok(match scope.look_up(namespace, kind).await? {
            Ok(Recalled::Paths(paths)) => {
                let paths = paths.into_iter();
                let paths: Vec<Vec<_>> =
                    paths.map(|path| path.into_iter().map(wire_relation).collect()).collect();
                let bytes = paths.iter().flatten().map(relation_bytes).sum();
                scope.bounded(paths, bytes)
            }
            other => Err(unexpected(other)),
        })
    }
}

fn space(namespace: String) -> Answer<Space> {
    parsed(Namespace::parse(namespace)).map(Space::Namespace)
}

fn record(write: memory::Write) -> Answer<MemoryRecord> {
    Ok(MemoryRecord {
        key: parsed(Key::parse(write.key))?,
        value: parsed(domain::JsonText::parse_within(write.value, VALUE_MAX_BYTES))?,
        tags: parsed(domain::Tags::parse(write.tags))?,
        importance: parsed(write.importance.try_into())?,
        ttl: write.ttl_s.map(|seconds| parsed(seconds.try_into())).transpose()?,
        expected_version: write.expected_version,
    })
}

fn search(query: memory::Query) -> Answer<MemoryReadKind> {
    if !(1..=HITS_MAX).contains(&query.limit) {
        return Err(invalid("/limit", format!("a search gives 1 to {HITS_MAX} hits")));
    }
    if query.tags.len() > domain::TAGS_MAX {
        let message = format!("a record has at most {} tags", domain::TAGS_MAX);
        return Err(invalid("/tags", message));
    }
    Ok(MemoryReadKind::Search {
        text: query.text,
        tags: query.tags,
        since_unix_ms: query.since,
        limit: size(query.limit.into()),
    })
}

fn read_relation(relation: memory::Relation) -> Answer<domain::Relation> {
    Ok(domain::Relation {
        subject: at("/subject", Key::parse(relation.subject))?,
        predicate: at("/predicate", Predicate::parse(relation.predicate))?,
        object: at("/object", Key::parse(relation.object))?,
    })
}

fn wire(entry: MemoryEntry) -> memory::Entry {
    memory::Entry {
        key: entry.key,
        value: entry.value,
        version: entry.version,
        tags: entry.tags,
        importance: entry.importance.get(),
        written_at: entry.written_at_unix_ms,
        origin: entry.origin.to_string(),
    }
}

fn wire_relation(relation: domain::Relation) -> memory::Relation {
    memory::Relation {
        subject: relation.subject.as_str().to_owned(),
        predicate: relation.predicate.as_str().to_owned(),
        object: relation.object.as_str().to_owned(),
    }
}

fn entry_bytes(entry: &MemoryEntry) -> usize {
    let tags: usize = entry.tags.iter().map(String::len).sum();
    entry.key.len() + entry.value.len() + tags
}

fn relation_bytes(relation: &memory::Relation) -> usize {
    relation.subject.len() + relation.predicate.len() + relation.object.len()
}

/// What memory does not take, at the field of the interface that it stands in.
fn parsed<T>(value: std::result::Result<T, MemoryError>) -> Answer<T> {
    value.map_err(|error| {
        let pointer = match &error {
            MemoryError::Name { what: "tag", .. } | MemoryError::TooManyTags { .. } => {
                "/tags".to_owned()
            }
            MemoryError::Name { what, .. } => format!("/{what}"),
            MemoryError::Importance { .. } => "/importance".to_owned(),
            MemoryError::Ttl { .. } => "/ttl-s".to_owned(),
            _ => "/value".to_owned(),
        };
        invalid(pointer, error.to_string())
    })
}

fn at<T>(pointer: &str, value: std::result::Result<T, MemoryError>) -> Answer<T> {
    value.map_err(|error| invalid(pointer, error.to_string()))
}

/// The error; an answer to another question would be the door's own mistake.
fn unexpected<T>(answer: Answer<T>) -> types::Error {
    match answer {
        Err(error) => error,
        Ok(_) => types::Error::Failed(MemoryRefusal::Store.to_string()),
    }
}
