//! `/v1/graph`: relations between keys of a namespace.

use std::sync::Arc;

use foreshore_control::memory::PAGE_MAX;
use foreshore_domain::memory::{Origin, Predicate, Relation};
use http::Method;
use http::request::Parts;
use hyper::body::Incoming;

use super::memory::{at, key, memory, namespace, read, tenant};
use crate::body::whole;
use crate::connection::Peer;
use crate::negotiation;
use crate::problem::{Problem, Refusal};
use crate::query::Query;
use crate::request::{Answer, json};
use crate::wire::{self, *};

/// `GET`, `POST` and `DELETE` of the relations of a namespace.
pub(crate) async fn relations(
    peer: &Arc<Peer>,
    head: &Parts,
    body: Incoming,
    name: &str,
) -> Answer {
    match head.method {
        Method::POST => relate(peer, head, body, name).await,
        Method::DELETE => unrelate(peer, head, name).await,
        _ => neighbours(peer, head, name),
    }
}

/// List the relations of a key, in either direction.
#[utoipa::path(
    get,
    path = "/v1/graph/{namespace}/relations",
    operation_id = "listRelations",
    tag = "memory",
    params(
        ("namespace" = String, Path, example = "notes"),
        ("key" = String, Query, description = "Whose"),
        ("limit" = Option<usize>, Query, description = "1 to 1,000; 100 if left out"),
    ),
    responses(
        (status = 200, description = "The relations", body = RelationsSchema),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
fn neighbours(peer: &Peer, head: &Parts, name: &str) -> Answer {
    negotiation::accepts_json(&head.headers)?;
    let query = Query::read(&head.uri, &["key", "limit"])?;
    let (namespace, key) = (namespace(name)?, key(query.required("key")?)?);
    let limit = query.limit(100, PAGE_MAX)?;
    let found = memory(peer).neighbours(&tenant(head), &namespace, &key, limit)?;
    let relations = found.iter().map(RelatedSchema::from).collect();
    Ok(json(wire::json(&RelationsSchema { relations }, 1 << 10)))
}

/// Relate two keys.
#[utoipa::path(
    post,
    path = "/v1/graph/{namespace}/relations",
    operation_id = "relate",
    tag = "memory",
    params(("namespace" = String, Path, example = "notes")),
    request_body(content = RelationSchema, content_type = "application/json"),
    responses(
        (status = 200, description = "They are related, on disk", body = RelationChangedSchema),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
async fn relate(peer: &Arc<Peer>, head: &Parts, body: Incoming, name: &str) -> Answer {
    negotiation::require_json(&head.headers)?;
    Query::read(&head.uri, &[])?;
    let namespace = namespace(name)?;
    let body = whole(peer, body).await?;
    let RelationSchema { subject, predicate, object } = read(&body)?;
    let relation = relation(&subject, &predicate, &object)?;
    let changed = memory(peer).relate(&tenant(head), namespace, relation, Origin::Person).await?;
    Ok(json(wire::json(&RelationChangedSchema { changed }, 32)))
}

/// Take a relation away.
#[utoipa::path(
    delete,
    path = "/v1/graph/{namespace}/relations",
    operation_id = "unrelate",
    tag = "memory",
    params(
        ("namespace" = String, Path, example = "notes"),
        ("subject" = String, Query),
        ("predicate" = String, Query),
        ("object" = String, Query),
    ),
    responses(
        (status = 200, description = "They are not related", body = RelationChangedSchema),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
async fn unrelate(peer: &Arc<Peer>, head: &Parts, name: &str) -> Answer {
    let query = Query::read(&head.uri, &["subject", "predicate", "object"])?;
    let namespace = namespace(name)?;
    let relation = relation(
        query.required("subject")?,
        query.required("predicate")?,
        query.required("object")?,
    )?;
    let changed = memory(peer).unrelate(&tenant(head), namespace, relation, Origin::Person).await?;
    Ok(json(wire::json(&RelationChangedSchema { changed }, 32)))
}

/// Find the shortest paths between two keys.
#[utoipa::path(
    get,
    path = "/v1/graph/{namespace}/paths",
    operation_id = "findPaths",
    tag = "memory",
    params(
        ("namespace" = String, Path, example = "notes"),
        ("from" = String, Query),
        ("to" = String, Query),
    ),
    responses(
        (status = 200, description = "The paths; none if there is none of at most 4 relations", body = PathsSchema),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn paths(peer: &Arc<Peer>, head: &Parts, name: &str) -> Answer {
    negotiation::accepts_json(&head.headers)?;
    let query = Query::read(&head.uri, &["from", "to"])?;
    let namespace = namespace(name)?;
    let (from, to) = (key(query.required("from")?)?, key(query.required("to")?)?);
    let (memory, tenant) = (memory(peer).clone(), tenant(head));
    let found = tokio::task::spawn_blocking(move || memory.paths(&tenant, &namespace, &from, &to));
    let found = found.await.map_err(|error| Problem::host(&error.to_string()))??;
    let paths =
        found.paths.iter().map(|path| path.iter().map(RelationSchema::from).collect()).collect();
    Ok(json(wire::json(&PathsSchema { paths, complete: found.complete }, 1 << 10)))
}

fn relation(subject: &str, predicate: &str, object: &str) -> Result<Relation, Refusal> {
    Ok(Relation {
        subject: key(subject)?,
        predicate: Predicate::parse(predicate).map_err(at("/predicate"))?,
        object: key(object)?,
    })
}
