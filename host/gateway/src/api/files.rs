//! `/v1/files`: watched directories, what changed in them, and putting it back.
//!
//! Every answer reads files or the journal for as long as that takes, on a thread that may.

use std::sync::Arc;

use foreshore_control::Integrity;
use foreshore_control::integrity::{FilesFault, PAGE_MAX, entry_path};
use foreshore_domain::blob::BlobDigest;
use foreshore_domain::id::CallId;
use foreshore_domain::integrity::EntryPath;
use http::request::Parts;
use hyper::body::Incoming;

use super::memory::read;
use crate::body::whole;
use crate::connection::Peer;
use crate::negotiation;
use crate::problem::{Problem, Refusal};
use crate::query::Query;
use crate::request::{Answer, json};
use crate::wire::{self, *};

/// List the watched directories.
#[utoipa::path(
    get,
    path = "/v1/files/roots",
    operation_id = "listRoots",
    tag = "files",
    responses(
        (status = 200, description = "The roots, how they are watched, and what nobody approved", body = FileRootsSchema),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn roots(peer: &Arc<Peer>, head: &Parts) -> Answer {
    negotiation::accepts_json(&head.headers)?;
    Query::read(&head.uri, &[])?;
    let roots = blocking(peer, |integrity| integrity.roots()).await?;
    let roots = roots.into_iter().map(FileRootSchema::from).collect();
    Ok(json(wire::json(&FileRootsSchema { roots }, 1 << 10)))
}

/// List changes of files.
#[utoipa::path(
    get,
    path = "/v1/files/changes",
    operation_id = "listChanges",
    tag = "files",
    params(
        ("root" = Option<String>, Query, description = "Only of this root"),
        ("since" = Option<u64>, Query, description = "Only changes with a higher `seq`"),
        ("limit" = Option<usize>, Query, description = "1 to 1,000; 100 if left out"),
    ),
    responses(
        (status = 200, description = "The changes, oldest first, each with who made it", body = FileChangesSchema),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn changes(peer: &Arc<Peer>, head: &Parts) -> Answer {
    negotiation::accepts_json(&head.headers)?;
    let query = Query::read(&head.uri, &["root", "since", "limit"])?;
    let root = query.get("root").map(str::to_owned);
    let (since, limit) = (query.number("since")?.unwrap_or(0), query.limit(100, PAGE_MAX)?);
    let changes =
        blocking(peer, move |integrity| integrity.changes(root.as_deref(), since, limit)).await?;
    Ok(json(wire::json(&FileChangesSchema { changes }, 16 << 10)))
}

/// List the kept versions of a file.
#[utoipa::path(
    get,
    path = "/v1/files/versions",
    operation_id = "listFileVersions",
    tag = "files",
    params(("root" = String, Query), ("path" = String, Query)),
    responses(
        (status = 200, description = "The versions, newest first", body = FileVersionsSchema),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn versions(peer: &Arc<Peer>, head: &Parts) -> Answer {
    negotiation::accepts_json(&head.headers)?;
    let query = Query::read(&head.uri, &["root", "path"])?;
    let (root, path) = (query.required("root")?.to_owned(), queried_path(&query)?);
    let versions = blocking(peer, move |integrity| integrity.versions(&root, &path)).await?;
    let versions = versions.iter().map(FileVersionSchema::from).collect();
    Ok(json(wire::json(&FileVersionsSchema { versions }, 4 << 10)))
}

/// Show what differs between two versions of a file.
///
/// Without `from` and `to`, between the approved version and what is there.
#[utoipa::path(
    get,
    path = "/v1/files/diff",
    operation_id = "diffVersions",
    tag = "files",
    params(
        ("root" = String, Query),
        ("path" = String, Query),
        ("from" = Option<String>, Query, description = "A version, by its hash"),
        ("to" = Option<String>, Query, description = "A version, by its hash"),
    ),
    responses(
        (status = 200, description = "The difference", body = FileDiffSchema),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn diff(peer: &Arc<Peer>, head: &Parts) -> Answer {
    negotiation::accepts_json(&head.headers)?;
    let query = Query::read(&head.uri, &["root", "path", "from", "to"])?;
    let (root, path) = (query.required("root")?.to_owned(), queried_path(&query)?);
    let (from, to) = (queried_hash(&query, "from")?, queried_hash(&query, "to")?);
    let difference = blocking(peer, move |integrity| integrity.diff(&root, &path, from, to));
    Ok(json(wire::json(&FileDiffSchema::from(difference.await?), 4 << 10)))
}

/// Put a version of a file back: the approved one, or that with a hash.
#[utoipa::path(
    post,
    path = "/v1/files/restore",
    operation_id = "restoreFile",
    tag = "files",
    request_body(content = FileNameSchema, content_type = "application/json"),
    responses(
        (status = 200, description = "What was put back", body = FilesRestoredSchema),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn restore(peer: &Arc<Peer>, head: &Parts, body: Incoming) -> Answer {
    negotiation::require_json(&head.headers)?;
    let body = whole(peer, body).await?;
    let FileNameSchema { root, path, hash } = read(&body)?;
    let path = path.ok_or_else(|| Problem::invalid_body("/path", "the path is missing"))?;
    let (path, hash) = (self::path(&path)?, self::hash(hash.as_deref())?);
    let changes = blocking(peer, move |integrity| integrity.restore(&root, &path, hash)).await?;
    let paths = changes.iter().map(RestoredSchema::from).collect();
    Ok(json(wire::json(&FilesRestoredSchema { paths }, 1 << 10)))
}

/// Say that what is there is good.
#[utoipa::path(
    post,
    path = "/v1/files/approve",
    operation_id = "approveFiles",
    tag = "files",
    request_body(content = FileNameSchema, content_type = "application/json"),
    responses(
        (status = 200, description = "How many paths were not approved before", body = FilesApprovedSchema),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn approve(peer: &Arc<Peer>, head: &Parts, body: Incoming) -> Answer {
    negotiation::require_json(&head.headers)?;
    let body = whole(peer, body).await?;
    let FileNameSchema { root, path, .. } = read(&body)?;
    let path = path.as_deref().map(self::path).transpose()?;
    let approved = blocking(peer, move |integrity| integrity.approve(&root, path.as_ref())).await?;
    Ok(json(wire::json(&FilesApprovedSchema { approved }, 32)))
}

/// Take back what a call changed, all of it or nothing.
#[utoipa::path(
    post,
    path = "/v1/files/undo",
    operation_id = "undoCall",
    tag = "files",
    request_body(content = UndoSchema, content_type = "application/json"),
    responses(
        (status = 200, description = "What was put back", body = FilesRestoredSchema),
        (status = 409, description = "A file changed since, or cannot be put back; nothing was changed", body = ProblemSchema<'static>, content_type = "application/problem+json"),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn undo(peer: &Arc<Peer>, head: &Parts, body: Incoming) -> Answer {
    negotiation::require_json(&head.headers)?;
    let body = whole(peer, body).await?;
    let UndoSchema { call_id } = read(&body)?;
    let call_id = CallId::parse(&call_id)
        .ok_or_else(|| Problem::invalid_body("/call_id", "this is not the id of a call"))?;
    let changes = blocking(peer, move |integrity| integrity.undo(call_id)).await?;
    let paths = changes.iter().map(RestoredSchema::from).collect();
    Ok(json(wire::json(&FilesRestoredSchema { paths }, 1 << 10)))
}

/// Read and hash everything in a root now.
#[utoipa::path(
    post,
    path = "/v1/files/scan",
    operation_id = "scanRoot",
    tag = "files",
    request_body(content = FileNameSchema, content_type = "application/json"),
    responses(
        (status = 200, description = "What was found", body = FilesScannedSchema),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn scan(peer: &Arc<Peer>, head: &Parts, body: Incoming) -> Answer {
    negotiation::require_json(&head.headers)?;
    let body = whole(peer, body).await?;
    let FileNameSchema { root, .. } = read(&body)?;
    let report = blocking(peer, move |integrity| integrity.scan(&root)).await?;
    let scanned = FilesScannedSchema {
        entries: report.entries,
        hashed_bytes: report.hashed_bytes,
        differed: report.suspects,
        took_ms: u64::try_from(report.took.as_millis()).unwrap_or(u64::MAX),
    };
    Ok(json(wire::json(&scanned, 128)))
}

async fn blocking<T: Send + 'static>(
    peer: &Arc<Peer>,
    work: impl FnOnce(&Integrity) -> Result<T, FilesFault> + Send + 'static,
) -> Result<T, Refusal> {
    let integrity = Arc::clone(peer.edge.control.integrity());
    let done = tokio::task::spawn_blocking(move || work(&integrity)).await;
    Ok(done.map_err(|error| Problem::host(&error.to_string()))??)
}

fn path(text: &str) -> Result<EntryPath, Refusal> {
    entry_path(text).map_err(|error| Problem::invalid_body("/path", error.to_string()))
}

fn queried_path(query: &Query<'_>) -> Result<EntryPath, Refusal> {
    let refused = |error| Problem::invalid_query(&format!("\"path\" is refused: {error}"));
    entry_path(query.required("path")?).map_err(refused)
}

const HASH_FORM: &str = "a version is named by \"blake3:\" and 64 hex digits";

fn hash(text: Option<&str>) -> Result<Option<BlobDigest>, Refusal> {
    let refused = || Problem::invalid_body("/hash", HASH_FORM);
    text.map(|text| BlobDigest::parse(text).ok_or_else(refused)).transpose()
}

fn queried_hash(query: &Query<'_>, name: &str) -> Result<Option<BlobDigest>, Refusal> {
    let refused = || Problem::invalid_query(&format!("\"{name}\" is refused: {HASH_FORM}"));
    query.get(name).map(|text| BlobDigest::parse(text).ok_or_else(refused)).transpose()
}
