//! `/v1/components`: what is loaded, what is refused and why, and what each asks for.
//!
//! A component that is put is served once the answer is given; what was called before keeps
//! running on the component it began with.

use std::sync::Arc;

use foreshore_control::{ComponentState, ComponentSummary, Control};
use foreshore_domain::component::check_name;
use http::request::Parts;
use http::{Method, Response, StatusCode};
use hyper::body::Incoming;
use tokio::sync::SemaphorePermit;

use crate::body::{Body, BodyLimit, Reader};
use crate::connection::Peer;
use crate::negotiation;
use crate::problem::{Problem, Refusal};
use crate::pulse::Phase;
use crate::request::{Answer, Edge, json};
use crate::wire::{self, ComponentSchema, ComponentsSchema, Named, ProblemSchema};

/// List the components, loaded and refused.
#[utoipa::path(
    get,
    path = "/v1/components",
    operation_id = "listComponents",
    tag = "components",
    responses(
        (status = 200, description = "All components", body = ComponentsSchema),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) fn list(edge: &Edge, head: &Parts) -> Answer {
    negotiation::accepts_json(&head.headers)?;
    let summaries = edge.control.components();
    let components: Vec<_> = summaries.iter().map(ComponentSchema::from).collect();
    Ok(json(wire::json(&Named("components", &components), 16 << 10)))
}

/// `GET`, `PUT` and `DELETE` of one component.
pub(crate) async fn one(peer: &Arc<Peer>, head: &Parts, body: Incoming, name: &str) -> Answer {
    match head.method {
        Method::PUT => put(peer, head, body, name).await,
        Method::DELETE => delete(peer, name).await,
        _ => show(&peer.edge, head, name),
    }
}

/// Show one component.
#[utoipa::path(
    get,
    path = "/v1/components/{name}",
    operation_id = "showComponent",
    tag = "components",
    params(("name" = String, Path, description = "`name` or `name@version`", example = "files")),
    responses(
        (status = 200, description = "The component", body = ComponentSchema<'static>),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
fn show(edge: &Edge, head: &Parts, name: &str) -> Answer {
    negotiation::accepts_json(&head.headers)?;
    let component = find(&edge.control, name)?;
    Ok(json(wire::json(&ComponentSchema::from(&component), 4 << 10)))
}

/// Add or replace a component.
///
/// Answered once it is served; calls that run on the one before end on it.
#[utoipa::path(
    put,
    path = "/v1/components/{name}",
    operation_id = "putComponent",
    tag = "components",
    params(("name" = String, Path, description = "`name` or `name@version`", example = "files")),
    request_body(content = Vec<u8>, description = "The component", content_type = "application/wasm"),
    responses(
        (status = 200, description = "The component as it is served now", body = ComponentSchema<'static>),
        (status = 403, description = "It asks for what is not granted; `grant` is the configuration that grants it", body = ProblemSchema<'static>, content_type = "application/problem+json"),
        (status = 422, description = "It is no component that this host runs", body = ProblemSchema<'static>, content_type = "application/problem+json"),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
async fn put(peer: &Arc<Peer>, head: &Parts, body: Incoming, name: &str) -> Answer {
    negotiation::require_wasm(&head.headers)?;
    parse(name)?;
    let (bytes, place) = uploaded(peer, body).await?;
    let reference = peer.edge.control.put_component(bytes, Some(name)).await?;
    drop(place);
    // Somebody else may have removed it by now; then it is not there.
    let component = find(&peer.edge.control, &reference.to_string())?;
    Ok(json(wire::json(&ComponentSchema::from(&component), 4 << 10)))
}

/// The bytes of a component, and its place among the uploads there may be at a time: held until
/// it is loaded.
pub(crate) async fn uploaded(
    peer: &Peer,
    body: Incoming,
) -> Result<(bytes::Bytes, SemaphorePermit<'_>), Refusal> {
    let limits = &peer.edge.config.limits;
    let max_bytes = limits.component_max_bytes;
    let mut body = Reader::new(body, BodyLimit { setting: "component_max_bytes", max_bytes })?;
    let uploads = &peer.edge.uploads;
    let place = uploads.try_acquire().map_err(|_| Problem::too_many_uploads(limits.uploads_max))?;
    peer.pulse.enter(Phase::Body);
    let bytes = body.whole().await?;
    peer.pulse.body_read();
    Ok((bytes, place))
}

/// Remove a component; without a version, all of its versions.
#[utoipa::path(
    delete,
    path = "/v1/components/{name}",
    operation_id = "removeComponent",
    tag = "components",
    params(("name" = String, Path, description = "`name` or `name@version`", example = "files")),
    responses(
        (status = 204, description = "It is gone"),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
async fn delete(peer: &Arc<Peer>, name: &str) -> Answer {
    let (name, version) = parse(name)?;
    peer.edge.control.remove_component(name, version.as_ref()).await?;
    let mut response = Response::new(Body::from(bytes::Bytes::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

/// The component of a name and version; of a name alone, the one that the name means.
pub(crate) fn find(control: &Control, text: &str) -> Result<ComponentSummary, Refusal> {
    let (name, version) = parse(text)?;
    let is_meant = |summary: &ComponentSummary| {
        summary.reference.as_ref().is_some_and(|reference| {
            *reference.name == *name && version.as_ref().is_none_or(|v| *v == reference.version)
        })
    };
    // The name alone means the highest version, and one that is loaded before one that is not.
    control
        .components()
        .into_iter()
        .filter(is_meant)
        .max_by_key(|summary| {
            let is_loaded = matches!(summary.state, ComponentState::Loaded { .. });
            (is_loaded, summary.reference.clone())
        })
        .ok_or_else(|| Problem::unknown_component(text))
}

/// `name` or `name@1.2.3`.
fn parse(text: &str) -> Result<(&str, Option<semver::Version>), Refusal> {
    let (name, version) = match text.split_once('@') {
        None => (text, None),
        Some((name, version)) => {
            let version = version.parse().map_err(|_| Problem::unknown_component(text))?;
            (name, Some(version))
        }
    };
    check_name("component", name).map_err(|_| Problem::unknown_component(text))?;
    Ok((name, version))
}
