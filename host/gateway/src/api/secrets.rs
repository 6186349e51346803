//! `/v1/secrets`: which there are, setting and removing them. No route reads a value.

use foreshore_control::secrets::SecretFault;
use foreshore_domain::secret::SecretName;
use http::request::Parts;
use http::{Method, Response, StatusCode};
use hyper::body::Incoming;

use crate::auth::principal;
use crate::body::{Body, whole};
use crate::connection::Peer;
use crate::negotiation;
use crate::problem::{Problem, Refusal};
use crate::request::{Answer, json};
use crate::wire::{
    self, ProblemSchema, SecretSchema, SecretValueSchema, SecretsRekeyedSchema, SecretsSchema,
};

/// List the secrets.
///
/// Names, who set them and when, and how many grants use each; never a value.
#[utoipa::path(
    get,
    path = "/v1/secrets",
    operation_id = "listSecrets",
    tag = "secrets",
    responses(
        (status = 200, description = "The secrets, by name", body = SecretsSchema),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) fn list(peer: &Peer, head: &Parts) -> Answer {
    negotiation::accepts_json(&head.headers)?;
    let control = &peer.edge.control;
    let entries = control.secrets().list()?;
    let audiences = |name: &SecretName| control.policies().secret_audiences(name);
    let secrets = entries.iter().map(|entry| SecretSchema::new(entry, audiences(&entry.name)));
    let listed = SecretsSchema { secrets: secrets.collect(), key: control.secrets().key_id() };
    Ok(json(wire::json(&listed, 4 << 10)))
}

/// `PUT` and `DELETE` of one secret.
pub(crate) async fn secret(peer: &Peer, head: &Parts, name: &str, body: Incoming) -> Answer {
    if head.method == Method::PUT {
        set(peer, head, name, body).await
    } else {
        remove(peer, head, name).await
    }
}

/// Set a secret.
///
/// It is sealed before it is recorded, and counts from the answer on. It is shown to nobody again.
#[utoipa::path(
    put,
    path = "/v1/secrets/{name}",
    operation_id = "setSecret",
    tag = "secrets",
    params(("name" = String, Path)),
    request_body = SecretValueSchema,
    responses(
        (status = 204, description = "It has this value now"),
        (status = 422, description = "The name or the value cannot be", body = ProblemSchema<'static>, content_type = "application/problem+json"),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn set(peer: &Peer, head: &Parts, name: &str, body: Incoming) -> Answer {
    negotiation::require_json(&head.headers)?;
    let name = parsed(name)?;
    let body = whole(peer, body).await?;
    // What the parser says of a body may repeat a part of it, and this one holds a secret.
    let SecretValueSchema { value } = serde_json::from_slice(&body).map_err(|_| {
        Problem::invalid_body("", "write {\"value\": \"...\"} and nothing else".to_owned())
    })?;
    let by = principal(head);
    peer.edge.control.secrets().set(name, value.into_bytes().into(), &by).await?;
    Ok(done())
}

/// Remove a secret.
///
/// No request of a component that begins after the answer holds it.
#[utoipa::path(
    delete,
    path = "/v1/secrets/{name}",
    operation_id = "removeSecret",
    tag = "secrets",
    params(("name" = String, Path)),
    responses(
        (status = 204, description = "It has no value any more"),
        (status = 404, description = "There is none of this name", body = ProblemSchema<'static>, content_type = "application/problem+json"),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn remove(peer: &Peer, head: &Parts, name: &str) -> Answer {
    peer.edge.control.secrets().remove(&parsed(name)?, &principal(head)).await?;
    Ok(done())
}

/// Seal all secrets under another key.
///
/// A new one where the host keeps its own; the first of those given where the operator does.
#[utoipa::path(
    post,
    path = "/v1/rekey",
    operation_id = "rekeySecrets",
    tag = "secrets",
    responses(
        (status = 200, description = "All are sealed with this key", body = SecretsRekeyedSchema),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn rekey(peer: &Peer, head: &Parts) -> Answer {
    negotiation::accepts_json(&head.headers)?;
    let (key, sealed) = peer.edge.control.secrets().rekey(&principal(head)).await?;
    Ok(json(wire::json(&SecretsRekeyedSchema { key, sealed }, 1 << 10)))
}

fn parsed(name: &str) -> Result<SecretName, Refusal> {
    SecretName::parse(name).map_err(|error| Problem::invalid_body("", error.to_string()))
}

fn done() -> Response<Body> {
    let mut response = Response::new(Body::from(bytes::Bytes::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

impl From<SecretFault> for Refusal {
    fn from(fault: SecretFault) -> Self {
        let (code, detail) = (fault.code(), fault.to_string());
        let status = match &fault {
            SecretFault::Invalid { .. } => return Problem::invalid_body("/value", detail),
            SecretFault::NotFound { .. } => StatusCode::NOT_FOUND,
            SecretFault::Full { .. } => StatusCode::CONFLICT,
            SecretFault::ReadOnly { .. } => StatusCode::SERVICE_UNAVAILABLE,
            // Only whoever manages secrets asks, and the key is theirs to repair.
            SecretFault::NoKey { .. } | SecretFault::Sealed { .. } | SecretFault::Place(_) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
            _ => return Problem::host(&detail),
        };
        Problem::new(status, code, "The secret was not set or removed", detail)
    }
}
