//! `GET /v1/limits`: the limits in force, from the same tables that enforce them.

use std::borrow::Cow;

use foreshore_control::{ComponentState, Control};
use foreshore_domain::limits::Limits;
use http::request::Parts;

use crate::api::components;
use crate::negotiation;
use crate::problem::{Problem, Refusal};
use crate::request::{Answer, Edge, json};
use crate::wire::{self, LimitSchema, LimitsSchema, ProblemSchema};

/// Show the limits in force.
#[utoipa::path(
    get,
    path = "/v1/limits",
    operation_id = "showLimits",
    tag = "host",
    params(("component" = Option<String>, Query, description = "Whose calls: `name` or `name@version`")),
    responses(
        (status = 200, description = "Each limit with unit, default and ceiling", body = LimitsSchema<'static>),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) fn show(edge: &Edge, head: &Parts) -> Answer {
    negotiation::accepts_json(&head.headers)?;
    let component = component_asked_for(head)?;
    let limits = match &component {
        None => edge.control.limits(),
        Some(name) => limits_of(&edge.control, name)?,
    };
    let answer = LimitsSchema {
        component: component.as_deref(),
        limits: limits.table().into_iter().map(LimitSchema::from).collect(),
        gateway: edge.config.limits.table().into_iter().map(LimitSchema::from).collect(),
        rates: edge.config.rates.table().into_iter().map(LimitSchema::from).collect(),
    };
    Ok(json(wire::json(&answer, 8 << 10)))
}

/// The limits of a component's calls; of one that is refused, those it would have.
fn limits_of(control: &Control, name: &str) -> Result<Limits, Refusal> {
    let component = components::find(control, name)?;
    Ok(match (component.state, component.reference) {
        (ComponentState::Loaded { policy, .. }, _) => policy.limits,
        (_, Some(reference)) => control.policies().of(&reference).limits,
        (_, None) => control.limits(),
    })
}

/// `?component=NAME`; any other query is refused rather than ignored.
fn component_asked_for(head: &Parts) -> Result<Option<Cow<'_, str>>, Refusal> {
    let Some(query) = head.uri.query().filter(|query| !query.is_empty()) else { return Ok(None) };
    query
        .strip_prefix("component=")
        .filter(|name| !name.contains('&'))
        .and_then(|name| percent_encoding::percent_decode_str(name).decode_utf8().ok())
        .map(Some)
        .ok_or_else(|| Problem::invalid_query("this path takes ?component=NAME"))
}
