//! `POST /v1/turns/{turn}/replay`: a past turn again, beside its record.
//!
//! Nothing is changed by it: no tool is called, nothing is recorded, and a component that is sent
//! along is loaded as any other, run, and forgotten. A client that leaves ends it.

use std::time::Duration;

use foreshore_control::turns::{ReplayComponent, ReplayOptions};
use foreshore_control::{Origin, Source};
use foreshore_domain::outcome::Content;
use http::request::Parts;
use hyper::body::Incoming;

use crate::api::{components, turns};
use crate::auth;
use crate::body::whole;
use crate::connection::Peer;
use crate::negotiation;
use crate::problem::{Problem, Refusal};
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
///
/// A component that is not served is tried by sending it as the body, `application/wasm`: then
/// what else is asked for stands in the query. It is never registered.
#[utoipa::path(
    post,
    path = "/v1/turns/{turn}/replay",
    operation_id = "replayTurn",
    tag = "agents",
    params(
        ("turn" = String, Path),
        ("name" = Option<String>, Query, description = "With a component as the body: its name, perhaps with a version, and so which limits it has"),
        ("model" = Option<String>, Query, description = "With a component as the body: as in JSON"),
        ("prompt" = Option<String>, Query, description = "With a component as the body: as in JSON"),
        ("live_inference" = Option<bool>, Query, description = "With a component as the body: as in JSON"),
    ),
    request_body(content(
        (ReplayRequestSchema = "application/json"),
        (Vec<u8> = "application/wasm"),
    )),
    responses(
        (status = 200, description = "Both, side by side", body = ReplaySchema<'static>),
        (status = 404, description = "No such turn, or it never began", body = ProblemSchema<'static>, content_type = "application/problem+json"),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn replay(peer: &Peer, head: &Parts, body: Incoming, id: &str) -> Answer {
    negotiation::accepts_json(&head.headers)?;
    let turn = turns::turn(id)?;
    let options = if negotiation::is_wasm(&head.headers) {
        with_component(peer, head, body).await?
    } else {
        as_asked(peer, head, body).await?
    };
    let turns = auth::turns(peer, head);
    let mut replay = std::pin::pin!(turns.replay(turn, options));
    let report = loop {
        match tokio::time::timeout(BEAT_EVERY, &mut replay).await {
            Err(_) => peer.pulse.enter(Phase::Work),
            Ok(report) => break report?,
        }
    };
    Ok(json(wire::json(&ReplaySchema::from(&report), 8 << 10)))
}

async fn as_asked(peer: &Peer, head: &Parts, body: Incoming) -> Result<ReplayOptions, Refusal> {
    negotiation::require_json(&head.headers)?;
    Query::read(&head.uri, &[])?;
    let body = whole(peer, body).await?;
    let asked: ReplayRequestSchema = serde_json::from_slice(&body)
        .map_err(|error| Problem::invalid_body("", error.to_string()))?;
    Ok(ReplayOptions {
        component: asked.component.map(ReplayComponent::Named),
        model: asked.model,
        parameters: None,
        message: asked.prompt.map(message),
        live_inference: asked.live_inference,
    })
}

async fn with_component(
    peer: &Peer,
    head: &Parts,
    body: Incoming,
) -> Result<ReplayOptions, Refusal> {
    negotiation::require_wasm(&head.headers)?;
    let query = Query::read(&head.uri, &["name", "model", "prompt", "live_inference"])?;
    let live_inference = query.number("live_inference")?.unwrap_or(false);
    let (bytes, place) = components::uploaded(peer, body).await?;
    let file_stem = query.get("name").map(str::to_owned);
    let source = Source { bytes, file_stem, origin: Origin::Api };
    peer.pulse.enter(Phase::Work);
    let loaded = peer.edge.control.try_load(source).await;
    drop(place);
    let component = loaded.map_err(|failure| Problem::load(failure.error))?;
    Ok(ReplayOptions {
        component: Some(ReplayComponent::Loaded(component)),
        model: query.get("model").map(str::to_owned),
        parameters: None,
        message: query.get("prompt").map(|text| message(text.to_owned())),
        live_inference,
    })
}

fn message(text: String) -> Vec<Content> {
    vec![Content::text(text)]
}
