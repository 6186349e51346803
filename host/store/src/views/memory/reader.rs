//! What reads memory: one tenant's, as it stood at one moment.

use std::sync::Arc;

use foreshore_domain::memory::{MemoryExpired, Relation};

use super::super::codec::{self, Fields, ReadRows, after};
use super::super::{ViewError, storage};
use super::cache::{Place, ReadCache, Sight};
use super::graph::{self, Paths, Related};
use super::head::{Head, is_past};
use super::record::{Version, versions_prefix};
use super::search::{self, Found, Method, Query, VectorCache, Vectors};
use super::space::{Space, Usage, applied, prefix};
use super::{MALFORMED, TABLE, generation, meanings};

/// Reads one tenant's memory as it stood when the transaction began, at a time the caller
/// gives: what has expired by then is not there.
///
/// A namespace or key that is not well-formed is one that does not exist. Every function can
/// fail with [`ViewError::Storage`] and [`ViewError::Malformed`].
pub struct MemoryReader<'c> {
    rows: Option<ReadRows>,
    tenant: String,
    now_unix_ms: u64,
    sight: Sight,
    cache: Option<&'c ReadCache>,
    vectors: Option<&'c VectorCache>,
    meanings: Option<ReadRows>,
}

/// A page of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// In order of their bytes.
    pub keys: Vec<String>,
    /// What to ask for the next page with; `None` at the end.
    pub next_after: Option<String>,
}

/// A version whose time is over and whose value is still stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// Whose.
    pub tenant: String,
    /// The payload of the event that sweeps it.
    pub event: MemoryExpired,
}

impl<'c> MemoryReader<'c> {
    /// The memory of `tenant` at `now_unix_ms`.
    ///
    /// # Errors
    /// [`ViewError::Storage`].
    pub fn open(
        transaction: &redb::ReadTransaction,
        tenant: &str,
        now_unix_ms: u64,
    ) -> Result<Self, ViewError> {
        let rows = codec::open(transaction, TABLE)?;
        let tenant = tenant.to_owned();
        let sight = Sight::default();
        let (cache, vectors, meanings) = (None, None, None);
        Ok(Self { rows, tenant, now_unix_ms, sight, cache, vectors, meanings })
    }

    /// The same, with what was read before: [`MemoryReader::get`] asks `cache` first, and
    /// [`MemoryReader::search`] keeps vectors in `vectors`.
    ///
    /// # Errors
    /// [`ViewError::Storage`], [`ViewError::Malformed`].
    pub fn with_caches(
        mut self,
        cache: &'c ReadCache,
        vectors: &'c VectorCache,
    ) -> Result<Self, ViewError> {
        if let Some(rows) = &self.rows {
            self.sight = Sight { seq: applied(rows)?, generation: generation(rows)? };
            self.cache = Some(cache);
            self.vectors = Some(vectors);
        }
        Ok(self)
    }

    /// The same, with the vectors that the model in use made: [`MemoryReader::search`] finds
    /// records by them too. `transaction` is that of the reader.
    ///
    /// # Errors
    /// [`ViewError::Storage`].
    pub fn with_meanings(mut self, transaction: &redb::ReadTransaction) -> Result<Self, ViewError> {
        self.meanings = meanings::open(transaction)?;
        Ok(self)
    }

    /// The latest version of a record, if it is there.
    ///
    /// # Errors
    /// See [`MemoryReader`].
    pub fn get(&self, namespace: &str, key: &str) -> Result<Option<Arc<Version>>, ViewError> {
        let at = Place { tenant: &self.tenant, namespace, key };
        if let Some(cache) = self.cache
            && let Some(version) = cache.get(at, self.sight, self.now_unix_ms)
        {
            return Ok(Some(version));
        }
        let Some((rows, space)) = self.space(namespace)? else { return Ok(None) };
        let head = Head::load(rows, space.id, key)?;
        let Some(head) = head.filter(|head| head.is_there(self.now_unix_ms)) else {
            return Ok(None);
        };
        let version = Version::load(rows, space.id, key, head.latest)?.ok_or(MALFORMED)?;
        let version = Arc::new(version);
        if let Some(cache) = self.cache {
            cache.keep(at, self.sight, &version);
        }
        Ok(Some(version))
    }

    /// A version of a record, tombstones too. `None` for one that never was, is no longer kept
    /// ([`super::VERSIONS_KEPT`]) or is past its time.
    ///
    /// # Errors
    /// See [`MemoryReader`].
    pub fn version(
        &self,
        namespace: &str,
        key: &str,
        version: u64,
    ) -> Result<Option<Version>, ViewError> {
        let Some((rows, space)) = self.space(namespace)? else { return Ok(None) };
        let version = Version::load(rows, space.id, key, version)?;
        Ok(version.filter(|version| !is_past(version.expires_at_unix_ms(), self.now_unix_ms)))
    }

    /// At most `limit` versions of a record, newest first, tombstones too.
    ///
    /// # Errors
    /// See [`MemoryReader`].
    pub fn versions(
        &self,
        namespace: &str,
        key: &str,
        limit: usize,
    ) -> Result<Vec<Version>, ViewError> {
        let Some((rows, space)) = self.space(namespace)? else { return Ok(Vec::new()) };
        let prefix = versions_prefix(space.id, key);
        let range = rows.range::<&[u8]>(&*prefix..&*after(&prefix)).map_err(storage)?;
        let mut versions = Vec::new();
        for row in range.rev() {
            if versions.len() >= limit {
                break;
            }
            let (key, row) = row.map_err(storage)?;
            let number = key.value().last_chunk().map(|bytes| u64::from_be_bytes(*bytes));
            let version = number.and_then(|number| Version::decode(number, row.value()));
            let version = version.ok_or(MALFORMED)?;
            if !is_past(version.expires_at_unix_ms(), self.now_unix_ms) {
                versions.push(version);
            }
        }
        Ok(versions)
    }

    /// At most `limit` keys that start with `prefix`, after the key `after`.
    ///
    /// # Errors
    /// See [`MemoryReader`].
    pub fn list(
        &self,
        namespace: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Keys, ViewError> {
        let Some((rows, space)) = self.space(namespace)? else { return Ok(Keys::default()) };
        let start = super::space::prefix(b'h', space.id);
        let first = [&start, prefix.as_bytes()].concat();
        let end = codec::after(&first);
        let from = match after {
            Some(after) => first.clone().max([&start, after.as_bytes(), &[0]].concat()),
            None => first,
        };
        let mut page = Keys::default();
        if from >= end {
            return Ok(page);
        }
        for row in rows.range::<&[u8]>(&*from..&*end).map_err(storage)? {
            let (row_key, row) = row.map_err(storage)?;
            let head = Head::decode(row.value()).ok_or(MALFORMED)?;
            if !head.is_there(self.now_unix_ms) {
                continue;
            }
            if page.keys.len() >= limit {
                page.next_after = page.keys.last().cloned();
                break;
            }
            let key = row_key.value().get(start.len()..).unwrap_or_default();
            page.keys.push(std::str::from_utf8(key).map_err(|_| MALFORMED)?.to_owned());
        }
        Ok(page)
    }

    /// Relations of a key in either direction, at most `limit`: those it is the subject of
    /// first, in order of predicate and other end.
    ///
    /// # Errors
    /// See [`MemoryReader`].
    pub fn neighbours(
        &self,
        namespace: &str,
        key: &str,
        limit: usize,
    ) -> Result<Vec<Related>, ViewError> {
        let Some((rows, space)) = self.space(namespace)? else { return Ok(Vec::new()) };
        graph::neighbours(rows, space.id, key, limit)
    }

    /// Whether a relation is there.
    ///
    /// # Errors
    /// See [`MemoryReader`].
    pub fn is_related(&self, namespace: &str, relation: &Relation) -> Result<bool, ViewError> {
        let Some((rows, space)) = self.space(namespace)? else { return Ok(false) };
        graph::is_related(rows, space.id, relation)
    }

    /// The shortest paths between two keys, at most 4 relations long and at most 10, along
    /// relations of either direction. A key has no path to itself.
    ///
    /// # Errors
    /// See [`MemoryReader`].
    pub fn paths(&self, namespace: &str, from: &str, to: &str) -> Result<Paths, ViewError> {
        let none = Paths { paths: Vec::new(), complete: true };
        let Some((rows, space)) = self.space(namespace)? else { return Ok(none) };
        graph::paths(rows, space.id, from, to)
    }

    /// The records that match a query best.
    ///
    /// # Errors
    /// See [`MemoryReader`].
    pub fn search(&self, namespace: &str, query: &Query<'_>) -> Result<Found, ViewError> {
        let Some((rows, space)) = self.space(namespace)? else {
            return Ok(Found { hits: Vec::new(), method: Method::Lexical });
        };
        let cache = self.vectors.map(|vectors| (vectors, self.sight));
        let vectors = Vectors { cache, meanings: self.meanings.as_ref() };
        search::search(rows, &space, query, self.now_unix_ms, vectors)
    }

    /// What the namespace amounts to.
    ///
    /// # Errors
    /// See [`MemoryReader`].
    pub fn usage(&self, namespace: &str) -> Result<Usage, ViewError> {
        Ok(self.space(namespace)?.map_or(Usage::default(), |(_, space)| space.usage))
    }

    /// The tenant's namespaces, in order.
    ///
    /// # Errors
    /// See [`MemoryReader`].
    pub fn namespaces(&self) -> Result<Vec<(String, Usage)>, ViewError> {
        let Some(rows) = &self.rows else { return Ok(Vec::new()) };
        let prefix = super::space::row_key(&self.tenant, "");
        let range = rows.range::<&[u8]>(&*prefix..&*after(&prefix)).map_err(storage)?;
        range
            .map(|row| {
                let row_key = row.map_err(storage)?.0;
                let name = row_key.value().get(prefix.len()..).unwrap_or_default();
                let name = std::str::from_utf8(name).map_err(|_| MALFORMED)?;
                Ok((name.to_owned(), self.usage(name)?))
            })
            .collect()
    }

    /// At most `limit` versions of **any tenant** that are past their time, oldest first: what
    /// `memory.expired` events are owed for.
    ///
    /// # Errors
    /// See [`MemoryReader`].
    pub fn due(&self, limit: usize) -> Result<Vec<Due>, ViewError> {
        let Some(rows) = &self.rows else { return Ok(Vec::new()) };
        let mut end = vec![b'x'];
        end.extend_from_slice(&self.now_unix_ms.saturating_add(1).to_be_bytes());
        let mut due = Vec::new();
        for row in rows.range::<&[u8]>(&b"x"[..]..&*end).map_err(storage)?.take(limit) {
            let (key, row) = row.map_err(storage)?;
            due.push(read_due(key.value(), row.value()).ok_or(MALFORMED)?);
        }
        Ok(due)
    }

    fn space(&self, namespace: &str) -> Result<Option<(&ReadRows, Space)>, ViewError> {
        let Some(rows) = &self.rows else { return Ok(None) };
        Ok(Space::load(rows, &self.tenant, namespace)?.map(|space| (rows, space)))
    }
}

fn read_due(key: &[u8], row: &[u8]) -> Option<Due> {
    // The letter, the time and the namespace's number come before the key.
    let rest = key.get(prefix(b'x', 0).len() + 8..)?;
    let (rest, version) = rest.split_last_chunk()?;
    let key = std::str::from_utf8(rest.strip_suffix(&[0])?).ok()?;
    let mut fields = Fields(row);
    let tenant = fields.text()?.to_owned();
    let event = MemoryExpired {
        namespace: foreshore_domain::memory::Namespace::parse(fields.text()?).ok()?,
        key: foreshore_domain::memory::Key::parse(key).ok()?,
        version: u64::from_be_bytes(*version),
    };
    Some(Due { tenant, event })
}
