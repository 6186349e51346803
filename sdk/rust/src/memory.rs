//! Memory: records that stay from call to call, with versions, relations and search.
//!
//! It decides nothing: which namespaces a component reaches is the operator's grant, and what it
//! writes carries the component's name as its origin for ever. Values are whatever serde reads and
//! writes as JSON. Outside a component (in `cargo test`) every function fails and says why.
//!
//! ```no_run
//! use foreshore_sdk::memory::{Namespace, Put, Query};
//! use foreshore_sdk::{Deserialize, Error, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Reef {
//!     name: String,
//!     depth_m: f64,
//! }
//!
//! # fn main() -> Result<(), Error> {
//! let notes = Namespace::new("notes");
//! let reef = Reef { name: "Outer reef".into(), depth_m: 12.5 };
//! notes.put("reef/outer", &reef, Put { tags: vec!["reef".into()], ..Put::default() })?;
//! let known = notes.get::<Reef>("reef/outer")?;
//! let found = notes.search::<Reef>(&Query { text: "outer".into(), ..Query::default() })?;
//! # let _ = (known, found);
//! # Ok(())
//! # }
//! ```

#[doc(hidden)]
pub mod bindings;

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use self::bindings::foreshore::memory::memory as wit;
use crate::Error;

/// The contract's own types, for whoever stands in for the host in a test.
#[cfg(feature = "agent")]
pub use self::bindings::foreshore::memory::memory as wire;

/// Asks the host: with agents about, through their seam, so that tests can stand in for it.
macro_rules! host {
    ($seam:ident, $function:ident($($argument:expr),*)) => {{
        #[cfg(feature = "agent")]
        {
            crate::agent::ask(|host| host.$seam($($argument),*))
        }
        #[cfg(not(feature = "agent"))]
        {
            host(|| wit::$function($($argument),*))
        }
    }};
}

/// A namespace of memory, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    name: String,
}

/// A version of a record.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry<T> {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: T,
    /// Which version, from 1.
    pub version: u64,
    /// Its tags, sorted.
    pub tags: Vec<String>,
    /// How much it matters, from 0 to 1.
    pub importance: f32,
    /// When it was written, in milliseconds since 1970.
    pub written_at_unix_ms: u64,
    /// Where its text came from: `person`, `agent:NAME`, `tool:NAME`, `url:HOST`.
    pub origin: String,
}

/// What a record is written with, besides key and value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Put {
    /// Words to filter by, at most 16.
    pub tags: Vec<String>,
    /// How much it matters, from 0 to 1.
    pub importance: f32,
    /// Forgotten so long after now; whole seconds, at least one.
    pub ttl: Option<Duration>,
    /// The version that must stand there now: 0 for none. `None` writes over any. Where another
    /// stands there, [`is_conflict`] says so of the error.
    pub expected_version: Option<u64>,
}

/// What to search for.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// Words, any of which a hit has. With none, the filters alone choose.
    pub text: String,
    /// A hit has all of them.
    pub tags: Vec<String>,
    /// A hit was written then or later, in milliseconds since 1970.
    pub since_unix_ms: Option<u64>,
    /// At most so many hits: 1 to 100.
    pub limit: u32,
}

impl Default for Query {
    fn default() -> Self {
        Self { text: String::new(), tags: Vec::new(), since_unix_ms: None, limit: 10 }
    }
}

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found<T> {
    /// Best first.
    pub hits: Vec<Hit<T>>,
    /// How.
    pub method: Method,
}

/// A record that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit<T> {
    /// The record.
    pub entry: Entry<T>,
    /// Higher is better; comparable within one answer only.
    pub score: f32,
}

/// How records were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// By words alone.
    Lexical,
    /// By words and meaning.
    Hybrid,
}

/// A directed, labelled edge between two keys. The keys need not be those of records.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Relation {
    /// From.
    pub subject: String,
    /// How.
    pub predicate: String,
    /// To.
    pub object: String,
}

/// Each function can fail with [`Error::Denied`] where the namespace was not granted,
/// [`Error::Invalid`] for a name or value that memory does not take, [`Error::Exhausted`] over a
/// quota or where the answer is too large, and [`Error::Unavailable`] while the store takes
/// nothing.
impl Namespace {
    /// The namespace of this name. Nothing is asked of the host yet.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The latest version of a record; `None` if there is no record.
    ///
    /// # Errors
    /// See [`Namespace`], and [`Error::Failed`] for a value that is no `T`.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<Entry<T>>, Error> {
        host!(memory_get, get(&self.name, key))?.map(entry).transpose()
    }

    /// Writes a record; its version, which is on disk.
    ///
    /// # Errors
    /// See [`Namespace`]; a version other than [`Put::expected_version`] is one that
    /// [`is_conflict`] knows.
    pub fn put<T: Serialize + ?Sized>(&self, key: &str, value: &T, put: Put) -> Result<u64, Error> {
        let write = wit::Write {
            key: key.to_owned(),
            value: serde_json::to_string(value)?,
            tags: put.tags,
            importance: put.importance,
            ttl_s: put.ttl.map(|ttl| ttl.as_secs()),
            expected_version: put.expected_version,
        };
        host!(memory_put, put(&self.name, &write))
    }

    /// Deletes a record; whether there was one. Its versions stay.
    ///
    /// # Errors
    /// See [`Namespace`].
    pub fn delete(&self, key: &str) -> Result<bool, Error> {
        host!(memory_delete, delete(&self.name, key))
    }

    /// Keys that begin with `prefix`, in order, after the key `after`: at most `limit`, and at
    /// most 1,000.
    ///
    /// # Errors
    /// See [`Namespace`].
    pub fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, Error> {
        host!(memory_list, list(&self.name, prefix, after, limit))
    }

    /// The versions of a record, newest first: at most `limit`, and at most 100.
    ///
    /// # Errors
    /// See [`Namespace::get`].
    pub fn versions<T: DeserializeOwned>(
        &self,
        key: &str,
        limit: u32,
    ) -> Result<Vec<Entry<T>>, Error> {
        host!(memory_versions, versions(&self.name, key, limit))?.into_iter().map(entry).collect()
    }

    /// The records that match best.
    ///
    /// # Errors
    /// See [`Namespace::get`]. Where values have several forms, search for
    /// [`serde_json::Value`].
    pub fn search<T: DeserializeOwned>(&self, query: &Query) -> Result<Found<T>, Error> {
        let wanted = wit::Query {
            text: query.text.clone(),
            tags: query.tags.clone(),
            since: query.since_unix_ms,
            limit: query.limit,
        };
        let (hits, method) = host!(memory_search, search(&self.name, &wanted))?;
        let hits =
            hits.into_iter().map(|hit| Ok(Hit { entry: entry(hit.entry)?, score: hit.score }));
        Ok(Found {
            hits: hits.collect::<Result<_, Error>>()?,
            method: match method {
                wit::Method::Lexical => Method::Lexical,
                wit::Method::Hybrid => Method::Hybrid,
            },
        })
    }

    /// Adds a relation; one that is there stays.
    ///
    /// # Errors
    /// See [`Namespace`].
    pub fn relate(&self, relation: &Relation) -> Result<(), Error> {
        let relation = wit::Relation {
            subject: relation.subject.clone(),
            predicate: relation.predicate.clone(),
            object: relation.object.clone(),
        };
        host!(memory_relate, relate(&self.name, &relation))
    }

    /// The relations of a key in either direction: at most `limit`, and at most 1,000.
    ///
    /// # Errors
    /// See [`Namespace`].
    pub fn neighbours(&self, key: &str, limit: u32) -> Result<Vec<Relation>, Error> {
        Ok(relations(host!(memory_neighbours, neighbours(&self.name, key, limit))?))
    }

    /// The shortest paths between two keys: at most 10, each at most 4 relations long.
    ///
    /// # Errors
    /// See [`Namespace`].
    pub fn paths(&self, from_key: &str, to_key: &str) -> Result<Vec<Vec<Relation>>, Error> {
        let paths = host!(memory_paths, paths(&self.name, from_key, to_key))?;
        Ok(paths.into_iter().map(relations).collect())
    }
}

/// A namespace that was granted, or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// A name; or the beginning of names, followed by `*`.
    pub pattern: String,
    /// Whether it may be written to.
    pub writable: bool,
}

/// What the operator granted; empty for nothing.
pub fn namespaces() -> Vec<Granted> {
    #[cfg(feature = "agent")]
    let granted = crate::agent::ask(|host| host.memory_namespaces());
    #[cfg(not(feature = "agent"))]
    let granted = if cfg!(target_family = "wasm") { wit::namespaces() } else { Vec::new() };
    let read = |one: wit::Granted| Granted { pattern: one.pattern, writable: one.writable };
    granted.into_iter().map(read).collect()
}

/// Whether a [`Namespace::put`] failed because another version stands there than expected.
pub fn is_conflict(error: &Error) -> bool {
    matches!(error, Error::Invalid { pointer, .. } if pointer == "/expected-version")
}

/// Asks the host, if there is one.
#[cfg(not(feature = "agent"))]
fn host<T>(
    ask: impl FnOnce() -> Result<T, crate::bindings::foreshore::types::types::Error>,
) -> Result<T, Error> {
    if cfg!(target_family = "wasm") {
        ask().map_err(Error::from)
    } else {
        Err(Error::failed("there is no memory outside a component"))
    }
}

fn entry<T: DeserializeOwned>(entry: wit::Entry) -> Result<Entry<T>, Error> {
    let value = serde_json::from_str(&entry.value)
        .map_err(|error| Error::failed(format!("the value of \"{}\": {error}", entry.key)))?;
    Ok(Entry {
        key: entry.key,
        value,
        version: entry.version,
        tags: entry.tags,
        importance: entry.importance,
        written_at_unix_ms: entry.written_at,
        origin: entry.origin,
    })
}

fn relations(relations: Vec<wit::Relation>) -> Vec<Relation> {
    let read = |relation: wit::Relation| Relation {
        subject: relation.subject,
        predicate: relation.predicate,
        object: relation.object,
    };
    relations.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outside_a_component_it_fails_and_says_so() {
        let error = Namespace::new("notes").get::<String>("a").expect_err("no host");
        assert!(error.to_string().contains("outside a component"), "{error}");
    }

    #[test]
    fn a_value_of_another_form_is_named() {
        let stored = wit::Entry {
            key: "a".to_owned(),
            value: "\"text\"".to_owned(),
            version: 1,
            tags: Vec::new(),
            importance: 0.0,
            written_at: 0,
            origin: "person".to_owned(),
        };
        assert_eq!(entry::<String>(stored.clone()).expect("text").value, "text");
        let error = entry::<u64>(stored).expect_err("no number");
        assert!(error.to_string().starts_with("the value of \"a\": "), "{error}");
    }

    #[test]
    fn a_conflict_is_told_from_other_errors() {
        assert!(is_conflict(&Error::invalid("/expected-version", "has version 2")));
        assert!(!is_conflict(&Error::invalid("/key", "empty")));
    }
}
