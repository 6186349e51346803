//! `/v1/agents`: who can be asked; `POST /v1/agents/{name}/turns`: asking.
//!
//! A turn that was taken goes on whether or not the client stays: it is read again under
//! `/v1/turns/{id}`, and its events under `/v1/turns/{id}/events`.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use foreshore_control::turns::{AgentSummary, Ended, Follow, NewTurn, TakenTurn, TurnEvent};
use foreshore_domain::outcome::{Content, ContentBody, Media};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use hyper::body::Incoming;

use crate::api::turns;
use crate::auth::{self, principal};
use crate::body::whole;
use crate::connection::Peer;
use crate::negotiation::{self, Form};
use crate::problem::{Problem, Refusal};
use crate::pulse::Phase;
use crate::query::Query;
use crate::request::{Answer, json};
use crate::wire::{
    self, AgentSchema, AgentsSchema, MessageSchema, NewTurnSchema, PartSchema, ProblemSchema,
    TakenTurnSchema, TurnSchema,
};

const PREFER: HeaderName = HeaderName::from_static("prefer");
/// How often a client that waits for a turn is given its time anew: the turn's own budget bounds
/// it, not the time that a request may take.
const BEAT_EVERY: Duration = Duration::from_secs(5);

/// List the agents.
#[utoipa::path(
    get,
    path = "/v1/agents",
    operation_id = "listAgents",
    tag = "agents",
    responses(
        (status = 200, description = "The agents, by name", body = AgentsSchema<'static>),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) fn list(peer: &Peer, head: &Parts) -> Answer {
    negotiation::accepts_json(&head.headers)?;
    Query::read(&head.uri, &[])?;
    let turns = peer.edge.control.turns();
    let summaries = turns.agents();
    let agents = summaries
        .iter()
        .map(|AgentSummary { name, policy, component }| {
            let component = component.as_ref().ok();
            AgentSchema {
                name,
                component: &policy.component,
                description: component.map(|component| component.description.as_str()),
                model: policy.model.as_deref(),
                tools: policy.tools.iter().map(ToString::to_string).collect(),
                agents: &policy.agents,
                parameters: component.and_then(|it| it.parameters_schema.as_ref()),
                budget: policy.budget,
            }
        })
        .collect();
    Ok(json(wire::json(&AgentsSchema { agents }, 1 << 10)))
}

/// Ask an agent.
///
/// The answer is the turn as it ended, or with `Accept: text/event-stream` its events:
/// `turn.queued`, `turn.started`, `message.delta`, `thinking.delta`, `turn.phase`, `tool.call`,
/// `tool.result`, `model.answered`, `approval.required`, `question.asked`, and at the end
/// `turn.completed` or `error` (both a `Turn`). Events with an `id` are on record: a client that
/// lost the stream goes on at `/v1/turns/{turn}/events` with `Last-Event-ID`. With
/// `Prefer: respond-async` the answer is 202 and comes at once.
#[utoipa::path(
    post,
    path = "/v1/agents/{name}/turns",
    operation_id = "takeTurn",
    tag = "agents",
    params(
        ("name" = String, Path, example = "assistant"),
        ("Prefer" = Option<String>, Header, description = "`respond-async`: do not wait for the end"),
    ),
    request_body = NewTurnSchema,
    responses(
        (status = 200, description = "How the turn ended", content(
            (TurnSchema<'static> = "application/json"),
            (String = "text/event-stream"),
        )),
        (status = 202, description = "Taken; it goes on", body = TakenTurnSchema<'static>),
        (status = 404, description = "No such agent or conversation", body = ProblemSchema<'static>, content_type = "application/problem+json"),
        (status = 429, description = "A budget for models is used up; `Retry-After` says when there is more", body = ProblemSchema<'static>, content_type = "application/problem+json"),
        (status = 503, description = "Too many turns wait; come back after `Retry-After`", body = ProblemSchema<'static>, content_type = "application/problem+json"),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn take_turn(
    peer: &Arc<Peer>,
    head: &Parts,
    body: Incoming,
    agent: &str,
) -> Answer {
    let form = negotiation::form(&head.headers)?;
    negotiation::require_json(&head.headers)?;
    Query::read(&head.uri, &[])?;
    let body = whole(peer, body).await?;
    let asked: NewTurnSchema = serde_json::from_slice(&body)
        .map_err(|error| Problem::invalid_body("", error.to_string()))?;
    let budget = asked.budget.as_deref().map(wire::turn_budget).transpose();
    let budget = budget.map_err(|(pointer, message)| Problem::invalid_body(&pointer, message))?;
    let new = NewTurn {
        principal: principal(head),
        agent: agent.to_owned(),
        conversation: asked.conversation.map(|id| turns::conversation(&id)).transpose()?,
        message: message(asked.message)?,
        history: Vec::new(),
        parameters: asked.parameters,
        budget,
    };
    let own_turns = auth::turns(peer, head);
    let taken = own_turns.start(new).await?;
    if wants_no_wait(&head.headers) {
        return Ok(accepted(&taken));
    }
    let follow = own_turns.follow(taken.turn, None)?;
    match form {
        Form::Events => Ok(turns::stream(peer, principal(head), follow)),
        Form::Json => {
            let ended = end(peer, follow).await?;
            Ok(json(wire::json(&TurnSchema::from(&*ended), 4 << 10)))
        }
    }
}

/// Waits for the end of a turn, and keeps the request alive meanwhile.
pub(crate) async fn end(peer: &Peer, mut follow: Follow) -> Result<Box<Ended>, Refusal> {
    loop {
        match tokio::time::timeout(BEAT_EVERY, follow.next()).await {
            Err(_) => peer.pulse.enter(Phase::Work),
            Ok(None) => return Err(Problem::host("the end of a turn was not told")),
            Ok(Some(update)) => {
                if let TurnEvent::Ended(ended) = update.event {
                    return Ok(ended);
                }
            }
        }
        if peer.edge.is_draining() {
            return Err(foreshore_domain::call::CallError::ShuttingDown.into());
        }
    }
}

fn accepted(taken: &TakenTurn) -> http::Response<crate::body::Body> {
    let schema = TakenTurnSchema {
        turn_id: taken.turn.to_string(),
        conversation: taken.conversation.as_str(),
        number: taken.number,
        state: "queued",
        status_url: format!("/v1/turns/{}", taken.turn),
    };
    let mut response = json(wire::json(&schema, 256));
    *response.status_mut() = StatusCode::ACCEPTED;
    let applied = HeaderValue::from_static("respond-async");
    response.headers_mut().insert(HeaderName::from_static("preference-applied"), applied);
    response
}

/// RFC 7240, section 4.1.
fn wants_no_wait(headers: &HeaderMap) -> bool {
    headers
        .get_all(PREFER)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|preference| preference.trim().eq_ignore_ascii_case("respond-async"))
}

fn message(schema: MessageSchema) -> Result<Vec<Content>, Refusal> {
    let parts = match schema {
        MessageSchema::Text(text) => return Ok(vec![Content::text(text)]),
        MessageSchema::Parts(parts) => parts,
    };
    parts
        .into_iter()
        .enumerate()
        .map(|(index, part)| match part {
            PartSchema::Text { text } => Ok(Content::text(text)),
            PartSchema::Image { mime_type, data } => {
                let data = STANDARD.decode(data).map_err(|_| {
                    Problem::invalid_body(&format!("/message/{index}/data"), "it is not base64")
                })?;
                let body = ContentBody::Image(Media { data, mime_type });
                Ok(Content { body, annotations: None })
            }
        })
        .collect()
}
