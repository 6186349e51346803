//! The graph: relations of keys, found from either end.
//!
//! Relations stand beside records: a key may be related before it is written and after it is
//! deleted, so that bringing a record back brings it back whole.

use std::collections::{BTreeMap, BTreeSet};

use foreshore_domain::memory::{Key, MemoryRelated, Origin, Predicate, Relation};
use redb::ReadableTable as _;

use super::super::codec::{Fields, Readable, Rows, after, put_part};
use super::super::{EventRef, Receipt, ViewError, storage};
use super::MALFORMED;
use super::space::{Space, prefix};

/// The longest path that is looked for, in relations.
pub const PATH_RELATIONS_MAX: usize = 4;
/// The most paths that are given.
pub const PATHS_MAX: usize = 10;
/// The most relations that one search for paths reads: some 30 ms of work.
pub const PATH_READS_MAX: usize = 10_000;

/// A relation, and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Related {
    /// The relation.
    pub relation: Relation,
    /// The event that made it.
    pub seq: u64,
    /// When, in milliseconds since 1970.
    pub related_at_unix_ms: u64,
    /// Who said so.
    pub origin: Origin,
}

/// The answer of a search for paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paths {
    /// Paths of the least length, each with its relations in order from one key to the other;
    /// a relation may point either way. In the order of the keys they pass.
    pub paths: Vec<Vec<Relation>>,
    /// Whether everything within reach was read. If not, there may be other paths, and shorter
    /// ones, beyond the [`PATH_READS_MAX`] relations that were.
    pub complete: bool,
}

pub(super) fn relate(
    rows: &mut Rows<'_>,
    event: &EventRef<'_>,
    related: &MemoryRelated,
) -> Result<Receipt, ViewError> {
    let mut space = Space::load_or_create(rows, event.tenant, related.namespace.as_str())?;
    let [forward, backward] = row_keys(space.id, &related.relation);
    if rows.get(&*forward).map_err(storage)?.is_some() {
        return Ok(Receipt::default());
    }
    let mut row = event.seq.to_le_bytes().to_vec();
    row.extend_from_slice(&event.at_unix_ms.to_le_bytes());
    put_part(&mut row, related.origin.to_string().as_bytes());
    rows.insert(&*forward, &*row).map_err(storage)?;
    rows.insert(&*backward, &*row).map_err(storage)?;
    space.usage.relations += 1;
    space.store(rows)?;
    Ok(Receipt { changed: true, ..Receipt::default() })
}

pub(super) fn unrelate(
    rows: &mut Rows<'_>,
    event: &EventRef<'_>,
    related: &MemoryRelated,
) -> Result<Receipt, ViewError> {
    let Some(mut space) = Space::load(rows, event.tenant, related.namespace.as_str())? else {
        return Ok(Receipt::default());
    };
    let [forward, backward] = row_keys(space.id, &related.relation);
    if rows.remove(&*forward).map_err(storage)?.is_none() {
        return Ok(Receipt::default());
    }
    rows.remove(&*backward).map_err(storage)?;
    space.usage.relations = space.usage.relations.checked_sub(1).ok_or(MALFORMED)?;
    space.store(rows)?;
    Ok(Receipt { changed: true, ..Receipt::default() })
}

/// Whether a relation is there.
pub(super) fn is_related(
    rows: &impl Readable,
    space: u32,
    relation: &Relation,
) -> Result<bool, ViewError> {
    let [forward, _] = row_keys(space, relation);
    Ok(rows.get(&*forward).map_err(storage)?.is_some())
}

/// Relations of a key: those it is the subject of, then those it is the object of, each in
/// order of predicate and other end; a relation to itself once.
pub(super) fn neighbours(
    rows: &impl Readable,
    space: u32,
    key: &str,
    limit: usize,
) -> Result<Vec<Related>, ViewError> {
    let mut found = Vec::new();
    for direction in [b'f', b'b'] {
        let mut prefix = prefix(direction, space);
        prefix.extend_from_slice(key.as_bytes());
        prefix.push(0);
        for row in rows.range::<&[u8]>(&*prefix..&*after(&prefix)).map_err(storage)? {
            if found.len() >= limit {
                return Ok(found);
            }
            let (row_key, row) = row.map_err(storage)?;
            let rest = row_key.value().get(prefix.len()..).unwrap_or_default();
            let related = related(direction, key, rest, row.value()).ok_or(MALFORMED)?;
            if direction == b'f' || related.relation.subject != related.relation.object {
                found.push(related);
            }
        }
    }
    Ok(found)
}

/// The shortest paths, breadth first.
pub(super) fn paths(
    rows: &impl Readable,
    space: u32,
    from: &str,
    to: &str,
) -> Result<Paths, ViewError> {
    let (Ok(from), Ok(to)) = (Key::parse(from), Key::parse(to)) else {
        return Ok(Paths { paths: Vec::new(), complete: true });
    };
    let mut search = Search { reads_left: PATH_READS_MAX, ..Search::default() };
    let mut level = BTreeSet::from([from.clone()]);
    search.seen.insert(from.clone());
    for _ in 0..PATH_RELATIONS_MAX {
        if from == to || search.seen.contains(&to) {
            break;
        }
        level = search.widen(rows, space, &level)?;
    }
    let mut found = Vec::new();
    if from != to && search.seen.contains(&to) {
        search.collect(&from, &to, &mut Vec::new(), &mut found);
        found.sort_by_cached_key(|path| keys_of(&from, path));
    }
    Ok(Paths { paths: found, complete: search.reads_left > 0 })
}

#[derive(Default)]
struct Search {
    seen: BTreeSet<Key>,
    /// How each key was first reached: always from the level before its own.
    reached_by: BTreeMap<Key, BTreeSet<(Key, Relation)>>,
    reads_left: usize,
}

impl Search {
    /// The keys one relation further away.
    fn widen(
        &mut self,
        rows: &impl Readable,
        space: u32,
        level: &BTreeSet<Key>,
    ) -> Result<BTreeSet<Key>, ViewError> {
        let mut next = BTreeSet::new();
        for key in level {
            let relations = neighbours(rows, space, key.as_str(), self.reads_left)?;
            self.reads_left -= relations.len();
            for Related { relation, .. } in relations {
                let other =
                    if relation.subject == *key { &relation.object } else { &relation.subject };
                if !self.seen.contains(other) {
                    let reached = self.reached_by.entry(other.clone()).or_default();
                    next.insert(other.clone());
                    reached.insert((key.clone(), relation));
                }
            }
        }
        self.seen.extend(next.iter().cloned());
        Ok(next)
    }

    /// Walks back from `to`; `tail` is the path from there on, last relation first.
    fn collect(
        &self,
        from: &Key,
        to: &Key,
        tail: &mut Vec<Relation>,
        found: &mut Vec<Vec<Relation>>,
    ) {
        if from == to {
            found.push(tail.iter().rev().cloned().collect());
            return;
        }
        for (before, relation) in self.reached_by.get(to).into_iter().flatten() {
            if found.len() >= PATHS_MAX {
                return;
            }
            tail.push(relation.clone());
            self.collect(from, before, tail, found);
            tail.pop();
        }
    }
}

/// The keys that a path passes, and its relations.
fn keys_of(from: &Key, path: &[Relation]) -> (Vec<Key>, Vec<Relation>) {
    let mut at = from;
    let mut keys = Vec::new();
    for relation in path {
        at = if relation.subject == *at { &relation.object } else { &relation.subject };
        keys.push(at.clone());
    }
    (keys, path.to_vec())
}

fn row_keys(space: u32, relation: &Relation) -> [Vec<u8>; 2] {
    let (subject, object) = (relation.subject.as_str(), relation.object.as_str());
    [(b'f', subject, object), (b'b', object, subject)].map(|(direction, near, far)| {
        let mut key = prefix(direction, space);
        for part in [near, relation.predicate.as_str()] {
            key.extend_from_slice(part.as_bytes());
            key.push(0);
        }
        key.extend_from_slice(far.as_bytes());
        key
    })
}

fn related(direction: u8, near: &str, rest: &[u8], row: &[u8]) -> Option<Related> {
    let (predicate, far) = std::str::from_utf8(rest).ok()?.split_once('\0')?;
    let (near, far) = (Key::parse(near).ok()?, Key::parse(far).ok()?);
    let (subject, object) = if direction == b'f' { (near, far) } else { (far, near) };
    let mut fields = Fields(row);
    Some(Related {
        relation: Relation { subject, predicate: Predicate::parse(predicate).ok()?, object },
        seq: fields.u64()?,
        related_at_unix_ms: fields.u64()?,
        origin: Origin::parse(fields.text()?).ok()?,
    })
}
