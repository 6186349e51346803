//! `/healthz`, `/readyz` and `/openapi.json`: small answers that need no place among the calls,
//! so they come while the host is full.

use foreshore_domain::identity::Permission;
use http::request::Parts;
use http::{HeaderValue, StatusCode};

use crate::auth;
use crate::connection::Peer;
use crate::negotiation;
use crate::openapi;
use crate::problem::Problem;
use crate::request::{Answer, json};
use crate::tls::Certificates;
use crate::wire::{self, HealthSchema, ReadinessSchema};

/// Whether the process runs and answers.
#[utoipa::path(
    get,
    path = "/healthz",
    operation_id = "health",
    tag = "host",
    responses((status = 200, description = "It does", body = HealthSchema)),
)]
pub(crate) fn health() -> Answer {
    Ok(json(wire::json(&HealthSchema { status: "ok" }, 32)))
}

/// Whether the host takes calls; with `?verbose`, and a credential that may see it, why or why
/// not.
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "ready",
    tag = "host",
    params(("verbose" = Option<bool>, Query, description = "Say why or why not", allow_reserved)),
    responses(
        (status = 200, description = "It does", body = ReadinessSchema<'static>),
        (status = 503, description = "It does not, or nothing can be recorded now: what only reads is answered all the same", body = ReadinessSchema<'static>),
    ),
)]
pub(crate) fn ready(peer: &Peer, head: &Parts, id: &HeaderValue) -> Answer {
    let verbose = match head.uri.query() {
        None | Some("") => false,
        Some("verbose" | "verbose=true" | "verbose=1") => true,
        Some(_) => return Err(Problem::invalid_query("this path takes ?verbose")),
    };
    if verbose {
        auth::require(peer, head, id, Permission::ReadSystem)?;
    }
    let edge = &peer.edge;
    let readiness = edge.control.readiness();
    let is_ready = readiness.is_ready() && !edge.is_draining();
    let tls = edge.config.tls.as_ref().map(|tls| tls_state(tls));
    let tls = tls.as_deref();
    let readiness = ReadinessSchema::new(&readiness, edge.is_draining(), tls, verbose);
    let mut response = json(wire::json(&readiness, 512));
    if !is_ready {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    Ok(response)
}

/// What there is to say of the certificate. A new one that is broken stands in nobody's way.
fn tls_state(certificates: &Certificates) -> String {
    match certificates.fault() {
        None => format!("certificate sha256:{}", certificates.sha256()),
        Some(fault) => format!("the certificate from before is in force: {fault}"),
    }
}

/// What this API is, for programs.
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "openapi",
    tag = "host",
    responses((status = 200, description = "This document", body = Object)),
)]
pub(crate) fn openapi(head: &Parts) -> Answer {
    negotiation::accepts_json(&head.headers)?;
    Ok(json(openapi::text()))
}
