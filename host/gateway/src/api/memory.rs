//! `/v1/memory`: records in namespaces, their versions, and search.
//!
//! A version is answered once it is on disk. What people write here has the origin `person`.

use std::sync::Arc;

use foreshore_control::memory::{Memory, PAGE_MAX, Put, Search};
use foreshore_control::store::memory::HITS_MAX;
use foreshore_domain::event::Tenant;
use foreshore_domain::memory::{
    Embedding, Importance, JsonText, Key, MemoryError, ModelName, Namespace, Origin, Tags, Ttl,
};
use http::request::Parts;
use http::{Method, StatusCode};
use hyper::body::Incoming;

use crate::auth::principal;
use crate::body::whole;
use crate::connection::Peer;
use crate::negotiation;
use crate::problem::{Problem, Refusal};
use crate::query::Query;
use crate::request::{Answer, json};
use crate::wire::{self, *};

/// Entries of one answer, where the client does not say.
const PAGE: usize = 100;
const HITS: usize = 10;

/// List the namespaces.
#[utoipa::path(
    get,
    path = "/v1/memory",
    operation_id = "listNamespaces",
    tag = "memory",
    responses(
        (status = 200, description = "The namespaces that have ever held a record, and how far they are embedded", body = MemoryNamespacesSchema),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn namespaces(peer: &Peer, head: &Parts) -> Answer {
    negotiation::accepts_json(&head.headers)?;
    Query::read(&head.uri, &[])?;
    let namespaces = memory(peer).namespaces(&tenant(head))?;
    let namespaces = namespaces.into_iter().map(MemoryNamespaceSchema::from).collect();
    // How far it is counts all tenants, so it is for the host's own.
    let embedding = match tenant(head) == Tenant::DEFAULT {
        true => memory(peer).meaning_status().await?.map(MemoryEmbeddingSchema::from),
        false => None,
    };
    Ok(json(wire::json(&MemoryNamespacesSchema { namespaces, embedding }, 1 << 10)))
}

/// List the keys of a namespace.
#[utoipa::path(
    get,
    path = "/v1/memory/{namespace}",
    operation_id = "listRecords",
    tag = "memory",
    params(
        ("namespace" = String, Path, example = "notes"),
        ("prefix" = Option<String>, Query, description = "Only keys that start so"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("limit" = Option<usize>, Query, description = "1 to 1,000; 100 if left out"),
    ),
    responses(
        (status = 200, description = "A page of keys", body = MemoryKeysSchema),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) fn list(peer: &Peer, head: &Parts, name: &str) -> Answer {
    negotiation::accepts_json(&head.headers)?;
    let query = Query::read(&head.uri, &["prefix", "cursor", "limit"])?;
    let namespace = namespace(name)?;
    let (prefix, cursor) = (query.get("prefix").unwrap_or_default(), query.get("cursor"));
    let limit = query.limit(PAGE, PAGE_MAX)?;
    let page = memory(peer).list(&tenant(head), &namespace, prefix, cursor, limit)?;
    let page = MemoryKeysSchema { keys: page.keys, next_cursor: page.next_after };
    Ok(json(wire::json(&page, 4 << 10)))
}

/// `GET`, `PUT` and `DELETE` of one record.
pub(crate) async fn record(
    peer: &Arc<Peer>,
    head: &Parts,
    body: Incoming,
    names: (&str, &str),
) -> Answer {
    let (namespace, key) = (namespace(names.0)?, self::key(names.1)?);
    match head.method {
        Method::PUT => put(peer, head, body, namespace, key).await,
        Method::DELETE => delete(peer, head, namespace, key).await,
        _ => show(peer, head, &namespace, &key),
    }
}

/// Read a record.
#[utoipa::path(
    get,
    path = "/v1/memory/{namespace}/{key}",
    operation_id = "readRecord",
    tag = "memory",
    params(
        ("namespace" = String, Path, example = "notes"),
        ("key" = String, Path, description = "Percent-encoded"),
        ("version" = Option<u64>, Query, description = "An older version; the latest if left out"),
    ),
    responses(
        (status = 200, description = "The record", body = MemoryRecordSchema<'static>),
        (status = 404, description = "There is none", body = ProblemSchema<'static>, content_type = "application/problem+json"),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
fn show(peer: &Peer, head: &Parts, namespace: &Namespace, key: &Key) -> Answer {
    negotiation::accepts_json(&head.headers)?;
    let query = Query::read(&head.uri, &["version"])?;
    let version = query.number("version")?;
    let missing = || no_record(namespace, key, version);
    let found = memory(peer).get(&tenant(head), namespace, key, version)?.ok_or_else(missing)?;
    let record = MemoryRecordSchema::new(key.as_str(), &found);
    if !record.is_abridged() {
        return Ok(json(wire::json(&record, 1 << 10)));
    }
    // A value this large is written out in a moment; it may have gone since it was found.
    let value = memory(peer).value(&found)?.ok_or_else(missing)?;
    let size = value.as_str().len() + (1 << 10);
    Ok(json(wire::json(&record.with_value(&value), size)))
}

/// Write a record.
///
/// Answered once the version is on disk. With `expected_version`, 409 if another one stands
/// there.
#[utoipa::path(
    put,
    path = "/v1/memory/{namespace}/{key}",
    operation_id = "writeRecord",
    tag = "memory",
    params(
        ("namespace" = String, Path, example = "notes"),
        ("key" = String, Path, description = "Percent-encoded"),
    ),
    request_body(content = MemoryPutSchema, content_type = "application/json"),
    responses(
        (status = 200, description = "Its version", body = MemoryWrittenSchema),
        (status = 409, description = "Another version stands there: `actual_version`", body = ProblemSchema<'static>, content_type = "application/problem+json"),
        (status = 503, description = "Nothing can be recorded now; come back after `Retry-After`", body = ProblemSchema<'static>, content_type = "application/problem+json"),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
async fn put(
    peer: &Arc<Peer>,
    head: &Parts,
    body: Incoming,
    namespace: Namespace,
    key: Key,
) -> Answer {
    negotiation::require_json(&head.headers)?;
    Query::read(&head.uri, &[])?;
    let body = whole(peer, body).await?;
    let given: MemoryPutSchema = read(&body)?;
    let put = Put {
        namespace,
        key,
        value: JsonText::parse_of_any_size(Box::<str>::from(given.value)).map_err(at("/value"))?,
        tags: Tags::parse(given.tags).map_err(at("/tags"))?,
        importance: Importance::try_from(given.importance).map_err(at("/importance"))?,
        ttl: given.ttl_s.map(Ttl::try_from).transpose().map_err(at("/ttl_s"))?,
        origin: Origin::Person,
        embedding: given.embedding.map(embedding).transpose()?,
        expected_version: given.expected_version,
    };
    let version = memory(peer).put(&tenant(head), put).await?;
    Ok(json(wire::json(&MemoryWrittenSchema { version }, 32)))
}

/// Delete a record. Its versions stay to be read, and the deletion is one of them.
#[utoipa::path(
    delete,
    path = "/v1/memory/{namespace}/{key}",
    operation_id = "deleteRecord",
    tag = "memory",
    params(
        ("namespace" = String, Path, example = "notes"),
        ("key" = String, Path, description = "Percent-encoded"),
        ("expected_version" = Option<u64>, Query, description = "The version that must stand there now"),
    ),
    responses(
        (status = 200, description = "The version that says that it is gone", body = MemoryWrittenSchema),
        (status = 404, description = "There is none", body = ProblemSchema<'static>, content_type = "application/problem+json"),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
async fn delete(peer: &Arc<Peer>, head: &Parts, namespace: Namespace, key: Key) -> Answer {
    let query = Query::read(&head.uri, &["expected_version"])?;
    let expected = query.number("expected_version")?;
    let (origin, name) = (Origin::Person, (namespace.clone(), key.clone()));
    let deleted = memory(peer).delete(&tenant(head), namespace, key, origin, expected).await?;
    let version = deleted.ok_or_else(|| no_record(&name.0, &name.1, None))?;
    Ok(json(wire::json(&MemoryWrittenSchema { version }, 32)))
}

/// List the versions of a record that are kept, newest first.
#[utoipa::path(
    get,
    path = "/v1/memory/{namespace}/{key}/versions",
    operation_id = "listVersions",
    tag = "memory",
    params(
        ("namespace" = String, Path, example = "notes"),
        ("key" = String, Path, description = "Percent-encoded"),
        ("limit" = Option<usize>, Query, description = "1 to 1,000; 100 if left out"),
    ),
    responses(
        (status = 200, description = "The versions; none for a record that never was", body = MemoryVersionsSchema<'static>),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) fn versions(peer: &Peer, head: &Parts, names: (&str, &str)) -> Answer {
    negotiation::accepts_json(&head.headers)?;
    let query = Query::read(&head.uri, &["limit"])?;
    let (namespace, key) = (namespace(names.0)?, key(names.1)?);
    let limit = query.limit(PAGE, PAGE_MAX)?;
    let found = memory(peer).versions(&tenant(head), &namespace, &key, limit)?;
    let versions = found.iter().map(|v| MemoryRecordSchema::new(key.as_str(), v)).collect();
    Ok(json(wire::json(&MemoryVersionsSchema { versions }, 4 << 10)))
}

/// Search a namespace.
///
/// By words and, where a model embeds memory, by meaning. Without that model's answer in time
/// the search goes by words alone, and says so in `degraded`.
#[utoipa::path(
    post,
    path = "/v1/memory/{namespace}/search",
    operation_id = "searchRecords",
    tag = "memory",
    params(("namespace" = String, Path, example = "notes")),
    request_body(content = MemoryQuerySchema, content_type = "application/json"),
    responses(
        (status = 200, description = "The records that match best, and how they were found", body = MemoryFoundSchema<'static>),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn search(peer: &Arc<Peer>, head: &Parts, body: Incoming, name: &str) -> Answer {
    negotiation::require_json(&head.headers)?;
    Query::read(&head.uri, &[])?;
    let namespace = namespace(name)?;
    let body = whole(peer, body).await?;
    let given: MemoryQuerySchema = read(&body)?;
    let limit = given.limit.unwrap_or(HITS);
    if !(1..=HITS_MAX).contains(&limit) {
        let text = format!("a limit of {limit} is refused: it is 1 to {HITS_MAX}");
        return Err(Problem::invalid_body("/limit", text));
    }
    let embedding = given.embedding.map(embedding).transpose()?;
    let search = Search {
        text: given.query,
        embedding,
        tags: given.tags,
        since_unix_ms: given.since,
        limit,
    };
    let found = memory(peer).search(&tenant(head), &namespace, search).await?;
    let found = MemoryFoundSchema {
        method: wire::method(found.method),
        degraded: found.degraded,
        hits: found.hits.iter().map(MemoryHitSchema::from).collect(),
    };
    Ok(json(wire::json(&found, 4 << 10)))
}

pub(super) fn tenant(head: &Parts) -> Tenant {
    principal(head).tenant.clone()
}

pub(super) fn memory(peer: &Peer) -> &Memory {
    peer.edge.control.memory()
}

/// Reads a JSON body into its type.
pub(super) fn read<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| Problem::invalid_body("", error.to_string()))
}

pub(super) fn namespace(text: &str) -> Result<Namespace, Refusal> {
    Namespace::parse(text).map_err(at(""))
}

pub(super) fn key(text: &str) -> Result<Key, Refusal> {
    Key::parse(text).map_err(at(""))
}

/// The refusal of a part of the body.
pub(super) fn at(pointer: &'static str) -> impl Fn(MemoryError) -> Refusal {
    move |error| Problem::invalid_body(pointer, error.to_string())
}

fn embedding(given: EmbeddingSchema) -> Result<Embedding, Refusal> {
    let model = ModelName::parse(given.model).map_err(at("/embedding/model"))?;
    Embedding::new(model, given.vector).map_err(at("/embedding/vector"))
}

fn no_record(namespace: &Namespace, key: &Key, version: Option<u64>) -> Refusal {
    let version = version.map(|v| format!(" in version {v}")).unwrap_or_default();
    Problem::new(
        StatusCode::NOT_FOUND,
        "no_such_record",
        "There is no such record",
        format!("namespace \"{}\" has no \"{}\"{version}", namespace.as_str(), key.as_str()),
    )
}
