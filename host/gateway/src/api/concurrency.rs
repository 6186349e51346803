//! `/v1/concurrency`: how many agents run at once, seen and changed while they do.

use std::num::NonZeroUsize;

use http::Method;
use http::request::Parts;
use hyper::body::Incoming;

use crate::body::whole;
use crate::connection::Peer;
use crate::negotiation;
use crate::problem::Problem;
use crate::request::{Answer, json};
use crate::wire::{self, ConcurrencyPatchSchema, ConcurrencySchema, ProblemSchema};

/// More would wait for each other anyway: each holds a sandbox and asks models.
const AGENTS_CEILING: usize = 1_024;

/// `GET` and `PATCH`.
pub(crate) async fn concurrency(peer: &Peer, head: &Parts, body: Incoming) -> Answer {
    if head.method == Method::PATCH { change(peer, head, body).await } else { show(peer, head) }
}

/// See how many agents run, and how many may.
#[utoipa::path(
    get,
    path = "/v1/concurrency",
    operation_id = "showConcurrency",
    tag = "host",
    responses(
        (status = 200, description = "What goes on now", body = ConcurrencySchema),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) fn show(peer: &Peer, head: &Parts) -> Answer {
    negotiation::accepts_json(&head.headers)?;
    let load = peer.edge.control.turns().load();
    Ok(json(wire::json(&ConcurrencySchema::from(load), 128)))
}

/// Change how many agents may run at once.
///
/// It holds at once, and until the host ends: the configuration says what the next start has.
/// Turns that run are not cut off.
#[utoipa::path(
    patch,
    path = "/v1/concurrency",
    operation_id = "changeConcurrency",
    tag = "host",
    request_body = ConcurrencyPatchSchema,
    responses(
        (status = 200, description = "What goes on now", body = ConcurrencySchema),
        (status = 422, description = "Not a number that there can be", body = ProblemSchema<'static>, content_type = "application/problem+json"),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn change(peer: &Peer, head: &Parts, body: Incoming) -> Answer {
    negotiation::require_json(&head.headers)?;
    let body = whole(peer, body).await?;
    let ConcurrencyPatchSchema { agents_max } = serde_json::from_slice(&body)
        .map_err(|error| Problem::invalid_body("", error.to_string()))?;
    if agents_max > NonZeroUsize::new(AGENTS_CEILING).unwrap_or(NonZeroUsize::MIN) {
        let text = format!("{agents_max} agents at once; there can be 1 to {AGENTS_CEILING}");
        return Err(Problem::invalid_body("/agents_max", text));
    }
    peer.edge.control.turns().set_agents_max(agents_max.get());
    let who = crate::auth::principal(head);
    tracing::info!(agents_max, by = %who.subject, "how many agents may run was changed");
    show(peer, head)
}
