//! `POST /v1/tools/{component}.{tool}/call`: the hot path.
//!
//! Everything that can refuse a call without its body is asked first, admission last, and only
//! then is the body read. If the client goes away the future is dropped: `control` ends a read
//! and lets a side effect run to its end.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use foreshore_control::{Invocation, Permit};
use foreshore_domain::approval::ApprovalState;
use foreshore_domain::call::CallError;
use foreshore_domain::component::ToolName;
use foreshore_domain::id::ApprovalId;
use foreshore_domain::outcome::Outcome;
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};
use hyper::body::Incoming;
use tokio::time::timeout;

use crate::api::events;
use crate::auth::principal;
use crate::body::{self, Body, BodyLimit, Reader};
use crate::connection::Peer;
use crate::negotiation::{self, Form};
use crate::problem::{Problem, Refusal};
use crate::pulse::Phase;
use crate::request::{Answer, json};
use crate::wire::{self, ApprovalRequiredSchema, CallResult, ProblemSchema};

/// How long a call keeps its place while its body arrives.
const PROMPT: Duration = Duration::from_millis(100);

/// Call a tool.
///
/// A tool's own failure is 200 with `is_error`. With `Accept: text/event-stream` the answer is a
/// stream of the events `tool.progress` (`Progress`), `tool.log` (`LogLine`), and at the end
/// `tool.result` (`CallResult`) or `error` (`Problem`).
#[utoipa::path(
    post,
    path = "/v1/tools/{tool}/call",
    operation_id = "callTool",
    tag = "tools",
    params(
        ("tool" = String, Path, description = "`component.tool` or `component@version.tool`", example = "files.search"),
        ("Foreshore-Approval" = Option<String>, Header, description = "The approval that lets this call run", example = "apr_0197f3a4c2d97c018f6a3d2e5b7c9d10"),
        ("Prefer" = Option<String>, Header, description = "How long to wait for a person, at most 30 s", example = "wait=30"),
        ("Foreshore-Limits" = Option<String>, Header, description = "Limits to lower for this call", example = "fuel=1000000, deadline_ms=100"),
    ),
    request_body(content = Object, description = "The arguments, as the tool's `input_schema` says", content_type = "application/json"),
    responses(
        (status = 200, description = "What the tool gave back", content(
            (CallResult<'static> = "application/json"),
            (String = "text/event-stream"),
        )),
        (status = 202, description = "A person has to approve it: call again with `Foreshore-Approval` when that has happened", body = ApprovalRequiredSchema),
        (status = 403, description = "Denied; `grant` is the configuration that would allow it", body = ProblemSchema<'static>, content_type = "application/problem+json"),
        (status = 404, description = "No such tool; `suggestion` is the nearest name", body = ProblemSchema<'static>, content_type = "application/problem+json"),
        (status = 422, description = "The arguments do not match the schema (`pointer`), or a limit fired (`setting`)", body = ProblemSchema<'static>, content_type = "application/problem+json"),
        (status = 503, description = "The host is full or shutting down; come back after `Retry-After`", body = ProblemSchema<'static>, content_type = "application/problem+json"),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn call(
    peer: &Arc<Peer>,
    head: &Parts,
    body: Incoming,
    tool: &str,
    request_id: &HeaderValue,
) -> Answer {
    let form = negotiation::form(&head.headers)?;
    negotiation::require_json(&head.headers)?;
    let limits = negotiation::lowered_limits(&head.headers)?;
    let tool = tool_name(tool)?;
    let max_bytes = peer.edge.config.limits.body_max_bytes;
    let body = Reader::new(body, BodyLimit { setting: "body_max_bytes", max_bytes })?;
    let approval = negotiation::approval(&head.headers)?;
    let (permit, arguments) = admit(peer, body).await?;
    let principal = principal(head);
    let invocation = Invocation { tool, arguments, limits, principal, observer: None, approval };
    match form {
        Form::Json => {
            let again = negotiation::wait(&head.headers).map(|wait| (wait, invocation.again()));
            let outcome = match peer.edge.control.invoke_with(permit, invocation).await {
                Ok(outcome) => outcome,
                Err(failure) => match failure.error {
                    CallError::ApprovalRequired { approval, expires_at_unix_ms } => {
                        match decided(peer, approval, again).await? {
                            Some(outcome) => outcome,
                            None => return Ok(waiting((approval, expires_at_unix_ms))),
                        }
                    }
                    _ => return Err(failure.into()),
                },
            };
            let result = CallResult::from(&outcome);
            Ok(json(wire::json(&result, result.room())))
        }
        Form::Events => Ok(events::stream(peer, permit, invocation, request_id)),
    }
}

/// Waits for a person as long as the caller would, and makes the call that was approved; `None`
/// while nobody has decided. If the caller goes away meanwhile, nothing is made: what was approved
/// can still be used.
async fn decided(
    peer: &Peer,
    approval: ApprovalId,
    again: Option<(Duration, Invocation)>,
) -> Result<Option<Outcome>, Refusal> {
    let Some((wait, mut invocation)) = again else { return Ok(None) };
    let control = &peer.edge.control;
    let decided = control.approvals().decided(&invocation.principal.tenant, approval);
    let entry = match timeout(wait, decided).await {
        Err(_) => return Ok(None),
        Ok(entry) => entry?,
    };
    if entry.state == ApprovalState::Approved {
        // What was agreed to, which may be other arguments than were asked for.
        invocation.arguments = Bytes::from(entry.arguments().as_str().to_owned());
    }
    invocation.approval = Some(approval);
    let permit = control.admit().await?;
    Ok(Some(control.invoke_with(permit, invocation).await?))
}

/// A call that waits for a person.
fn waiting((approval, expires_at_unix_ms): (ApprovalId, u64)) -> Response<Body> {
    let approval_id = approval.to_string();
    let status_url = format!("/v1/approvals/{approval_id}");
    let waits =
        ApprovalRequiredSchema { approval_id, status_url, state: "pending", expires_at_unix_ms };
    let mut response = json(wire::json(&waits, 256));
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

/// # Errors
/// A name that no tool can have.
pub(crate) fn tool_name(text: &str) -> Result<ToolName, Refusal> {
    text.parse::<ToolName>().map_err(|error| Problem::unknown_tool(error.to_string(), None))
}

/// A permit and the body, in this order. A body that does not arrive at once gives the permit
/// back while it is waited for, so that clients which send slowly do not keep out those which
/// do not; how many may do so at once is bounded.
async fn admit(peer: &Peer, mut body: Reader) -> Result<(Permit, Bytes), Refusal> {
    let control = &peer.edge.control;
    let permit = control.admit().await?;
    peer.pulse.enter(Phase::Body);
    let arrived = match body.at_once().await {
        Some(arguments) => Some(arguments),
        None => timeout(PROMPT, body.whole()).await.ok(),
    };
    let (permit, arguments) = match arrived {
        Some(arguments) => (permit, arguments?),
        None => {
            drop(permit);
            let arguments = body::slow(peer, &mut body).await?;
            (control.admit().await?, arguments)
        }
    };
    peer.pulse.body_read();
    body::said_once(&arguments)?;
    Ok((permit, arguments))
}
