//! `POST /v1/turns/{turn}/replay`: a past turn again, beside its record.
//!
//! Nothing is changed by it: no tool is called, nothing is recorded. A client that leaves ends it.

use std::time::Duration;

use foreshore_control::turns::{ReplayComponent, ReplayOptions};
use foreshore_domain::outcome::Content;
use http::request::Parts;
use hyper::body::Incoming;

use crate::api::turns;
use crate::body::whole;
use crate::connection::Peer;
use crate::negotiation;
use crate::problem::Problem;
use crate::pulse::Phase;
use crate::query::Query;
use crate::request::{Answer, json};
use crate::wire::{self, ProblemSchema, ReplayRequestSchema, ReplaySchema};

/// How often a client that waits is given its time anew: the turn's own budget bounds the run.
const BEAT_EVERY: Duration = Duration::from_secs(5);

/// Run a past turn again.
///
/// On its record it gives the same again, or says where it does not. With another component,
/// model or message, or with live inference, the two are compared. No tool is called: calls are
/// answered from the record, and those that are not on it are listed.
#[utoipa::path(
    post,
    path = "/v1/turns/{turn}/replay",
    operation_id = "replayTurn",
    tag = "agents",
    params(("turn" = String, Path)),
    request_body = ReplayRequestSchema,
    responses(
        (status = 200, description = "Both, side by side", body = ReplaySchema<'static>),
        (status = 404, description = "No such turn, or it never began", body = ProblemSchema<'static>, content_type = "application/problem+json"),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn replay(peer: &Peer, head: &Parts, body: Incoming, id: &str) -> Answer {
    negotiation::accepts_json(&head.headers)?;
    negotiation::require_json(&head.headers)?;
    Query::read(&head.uri, &[])?;
    let turn = turns::turn(id)?;
    let body = whole(peer, body).await?;
    let asked: ReplayRequestSchema = serde_json::from_slice(&body)
        .map_err(|error| Problem::invalid_body("", error.to_string()))?;
    let options = ReplayOptions {
        component: asked.component.map(ReplayComponent::Named),
        model: asked.model,
        parameters: None,
        message: asked.prompt.map(|text| vec![Content::text(text)]),
        live_inference: asked.live_inference,
    };
    let mut replay = std::pin::pin!(peer.edge.control.turns().replay(turn, options));
    let report = loop {
        match tokio::time::timeout(BEAT_EVERY, &mut replay).await {
            Err(_) => peer.pulse.enter(Phase::Work),
            Ok(report) => break report?,
        }
    };
    Ok(json(wire::json(&ReplaySchema::from(&report), 8 << 10)))
}
