//! `/v1/conversations`: what was said, found again, forked, taken away.

use std::sync::Arc;

use bytes::Bytes;
use foreshore_control::conversations::PAGE_MAX;
use foreshore_control::store::conversations::{ConversationFilter, TurnOrder};
use foreshore_domain::conversation::Conversation;
use foreshore_domain::memory::VariableName;
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::api::journal::last_event_id;
use crate::api::turns;
use crate::auth;
use crate::body::whole;
use crate::connection::Peer;
use crate::negotiation;
use crate::problem::{Problem, Refusal};
use crate::query::Query;
use crate::request::{Answer, json, typed};
use crate::wire::{self, *};

/// Entries of one answer, where the client does not say.
const PAGE: usize = 50;
const HITS: usize = 20;
/// The most versions of each variable: those that are kept.
const VERSIONS_MAX: usize = 100;

/// List the conversations.
#[utoipa::path(
    get,
    path = "/v1/conversations",
    operation_id = "listConversations",
    tag = "conversations",
    params(
        ("agent" = Option<String>, Query, description = "Only those with this agent"),
        ("archived" = Option<bool>, Query, description = "Only those that are out of the way, or are not"),
        ("delegated" = Option<bool>, Query, description = "`true`: those too that a turn of an agent began for its work"),
        ("before" = Option<u64>, Query, description = "`next_before` of the page before"),
        ("limit" = Option<usize>, Query, description = "1 to 200; 50 if left out"),
    ),
    responses(
        (status = 200, description = "A page, the one updated last first", body = ConversationsSchema<'static>),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) fn list(peer: &Peer, head: &Parts) -> Answer {
    negotiation::accepts_json(&head.headers)?;
    let query = Query::read(&head.uri, &["agent", "archived", "delegated", "before", "limit"])?;
    let filter = ConversationFilter {
        agent: query.get("agent"),
        archived: query.number("archived")?,
        delegated: (!query.number("delegated")?.unwrap_or(false)).then_some(false),
    };
    let limit = query.limit(PAGE, PAGE_MAX)?;
    let page = auth::conversations(peer, head).list(filter, query.number("before")?, limit)?;
    let conversations = page.conversations.iter().map(ConversationSchema::from).collect();
    let page = ConversationsSchema { conversations, next_before: page.next_before };
    Ok(json(wire::json(&page, 4 << 10)))
}

/// `GET` and `POST` of all.
pub(crate) async fn all(peer: &Peer, head: &Parts, body: Incoming) -> Answer {
    if head.method == Method::POST { create(peer, head, body).await } else { list(peer, head) }
}

/// Begin a conversation.
///
/// Not needed before a first turn, which begins one by itself.
#[utoipa::path(
    post,
    path = "/v1/conversations",
    operation_id = "createConversation",
    tag = "conversations",
    request_body = NewConversationSchema,
    responses(
        (status = 201, description = "Begun", body = ConversationMadeSchema<'static>),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn create(peer: &Peer, head: &Parts, body: Incoming) -> Answer {
    let asked: NewConversationSchema = read(peer, head, body).await?;
    if !peer.edge.control.turns().policies().contains_key(&asked.agent) {
        let text =
            format!("no agent is called \"{}\"; /v1/agents lists those there are", asked.agent);
        return Err(Problem::invalid_body("/agent", text));
    }
    let made = auth::conversations(peer, head).create(&asked.agent, asked.title.as_deref()).await?;
    Ok(made_answer(&made))
}

fn made_answer(made: &Conversation) -> http::Response<crate::body::Body> {
    let mut response = json(wire::json(&ConversationMadeSchema { id: made.as_str() }, 64));
    *response.status_mut() = StatusCode::CREATED;
    response
}

/// `GET`, `PATCH` and `DELETE` of one conversation.
pub(crate) async fn one(peer: &Peer, head: &Parts, body: Incoming, id: &str) -> Answer {
    match head.method {
        Method::PATCH => change(peer, head, body, id).await,
        Method::DELETE => delete(peer, head, id).await,
        _ => show(peer, head, id),
    }
}

/// Read a conversation.
#[utoipa::path(
    get,
    path = "/v1/conversations/{id}",
    operation_id = "showConversation",
    tag = "conversations",
    params(("id" = String, Path)),
    responses(
        (status = 200, description = "The conversation, without its turns", body = ConversationSchema<'static>),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) fn show(peer: &Peer, head: &Parts, id: &str) -> Answer {
    negotiation::accepts_json(&head.headers)?;
    Query::read(&head.uri, &[])?;
    let entry =
        auth::conversations(peer, head).get(&turns::conversation(id)?)?.ok_or_else(|| none(id))?;
    Ok(json(wire::json(&ConversationSchema::from(&entry), 1 << 10)))
}

/// Rename a conversation, put it out of the way, or take it back.
#[utoipa::path(
    patch,
    path = "/v1/conversations/{id}",
    operation_id = "changeConversation",
    tag = "conversations",
    params(("id" = String, Path)),
    request_body = ConversationPatchSchema,
    responses(
        (status = 200, description = "As it is now", body = ConversationSchema<'static>),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn change(peer: &Peer, head: &Parts, body: Incoming, id: &str) -> Answer {
    let asked: ConversationPatchSchema = read(peer, head, body).await?;
    let conversation = turns::conversation(id)?;
    auth::conversations(peer, head)
        .change(&conversation, asked.title.as_deref(), asked.archived)
        .await?;
    show(peer, head, id)
}

/// Delete a conversation, with its turns and variables.
///
/// Refused while a turn of it is open.
#[utoipa::path(
    delete,
    path = "/v1/conversations/{id}",
    operation_id = "deleteConversation",
    tag = "conversations",
    params(("id" = String, Path)),
    responses(
        (status = 204, description = "Deleted"),
        (status = 409, description = "A turn of it has not ended", body = ProblemSchema<'static>, content_type = "application/problem+json"),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn delete(peer: &Peer, head: &Parts, id: &str) -> Answer {
    Query::read(&head.uri, &[])?;
    auth::conversations(peer, head).delete(&turns::conversation(id)?).await?;
    let mut response = http::Response::new(Bytes::new().into());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

/// Read the turns of a conversation.
#[utoipa::path(
    get,
    path = "/v1/conversations/{id}/turns",
    operation_id = "listTurns",
    tag = "conversations",
    params(
        ("id" = String, Path),
        ("from" = Option<u64>, Query, description = "Turns from this number on, oldest first"),
        ("before" = Option<u64>, Query, description = "Turns before this number, newest first; the newest of all if neither is said"),
        ("limit" = Option<usize>, Query, description = "1 to 200; 50 if left out"),
    ),
    responses(
        (status = 200, description = "Turns, with what was said", body = TurnsSchema<'static>),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) fn list_turns(peer: &Peer, head: &Parts, id: &str) -> Answer {
    negotiation::accepts_json(&head.headers)?;
    let query = Query::read(&head.uri, &["from", "before", "limit"])?;
    let order = match (query.number("from")?, query.number("before")?) {
        (Some(from), None) => TurnOrder::From(from),
        (None, before) => TurnOrder::Before(before.unwrap_or(u64::MAX)),
        (Some(_), Some(_)) => return Err(Problem::invalid_query("say from or before, not both")),
    };
    let limit = query.limit(PAGE, PAGE_MAX)?;
    let said = auth::conversations(peer, head).turns(&turns::conversation(id)?, order, limit)?;
    let schema = TurnsSchema { turns: said.iter().map(TurnSchema::from).collect() };
    Ok(json(wire::json(&schema, 16 << 10)))
}

/// Export a conversation: each turn as a line of JSON.
#[utoipa::path(
    get,
    path = "/v1/conversations/{id}/export",
    operation_id = "exportConversation",
    tag = "conversations",
    params(("id" = String, Path)),
    responses(
        (status = 200, description = "Each turn as a `Turn` on a line of its own, oldest first", body = String, content_type = "application/jsonl"),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) fn export(peer: &Peer, head: &Parts, id: &str) -> Answer {
    Query::read(&head.uri, &[])?;
    let conversation = turns::conversation(id)?;
    let (mut lines, mut from) = (Vec::new(), 0);
    loop {
        let said = auth::conversations(peer, head).turns(
            &conversation,
            TurnOrder::From(from),
            PAGE_MAX,
        )?;
        let Some(last) = said.last() else { break };
        from = last.number + 1;
        for turn in &said {
            lines.extend_from_slice(&wire::json(&TurnSchema::from(turn), 4 << 10));
            lines.push(b'\n');
        }
    }
    Ok(typed(Bytes::from(lines).into(), HeaderValue::from_static("application/jsonl")))
}

/// Begin a conversation with the turns of this one, up to one of them.
#[utoipa::path(
    post,
    path = "/v1/conversations/{id}/fork",
    operation_id = "forkConversation",
    tag = "conversations",
    params(("id" = String, Path)),
    request_body = ForkSchema,
    responses(
        (status = 201, description = "Begun", body = ConversationMadeSchema<'static>),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn fork(peer: &Peer, head: &Parts, body: Incoming, id: &str) -> Answer {
    let asked: ForkSchema = read(peer, head, body).await?;
    let conversation = turns::conversation(id)?;
    let title = asked.title.as_deref();
    let made =
        auth::conversations(peer, head).fork(&conversation, asked.through_turn, title).await?;
    Ok(made_answer(&made))
}

/// Follow a conversation: the events of all of its turns.
#[utoipa::path(
    get,
    path = "/v1/conversations/{id}/events",
    operation_id = "followConversation",
    tag = "conversations",
    params(
        ("id" = String, Path),
        ("Last-Event-ID" = Option<u64>, Header, description = "The last event that the client has; from now on if left out"),
    ),
    responses(
        (status = 200, description = "The events, without an end", body = String, content_type = "text/event-stream"),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) fn events(peer: &Arc<Peer>, head: &Parts, id: &str) -> Answer {
    Query::read(&head.uri, &[])?;
    let (conversation, after) = (turns::conversation(id)?, last_event_id(head)?);
    let follow = auth::turns(peer, head).follow_conversation(&conversation, after)?;
    Ok(turns::stream(peer, auth::principal(head), follow))
}

/// Search what was said.
#[utoipa::path(
    post,
    path = "/v1/conversations/search",
    operation_id = "searchConversations",
    tag = "conversations",
    request_body = ConversationQuerySchema,
    responses(
        (status = 200, description = "Where the words were said, best first", body = ConversationsFoundSchema<'static>),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn search(peer: &Peer, head: &Parts, body: Incoming) -> Answer {
    let asked: ConversationQuerySchema = read(peer, head, body).await?;
    let limit = asked.limit.unwrap_or(HITS);
    if limit == 0 || limit > PAGE_MAX {
        return Err(Problem::invalid_body("/limit", format!("it is from 1 to {PAGE_MAX}")));
    }
    let hits =
        auth::conversations(peer, head).search(&asked.query, asked.agent.as_deref(), limit)?;
    let hits = hits.iter().map(ConversationHitSchema::from).collect();
    Ok(json(wire::json(&ConversationsFoundSchema { hits }, 4 << 10)))
}

/// List the variables of a conversation.
#[utoipa::path(
    get,
    path = "/v1/conversations/{id}/variables",
    operation_id = "listVariables",
    tag = "conversations",
    params(
        ("id" = String, Path),
        ("versions" = Option<usize>, Query, description = "Tell so many versions of each too, 1 to 100"),
    ),
    responses(
        (status = 200, description = "The variables, by name, without their values", body = VariablesSchema<'static>),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) fn variables(peer: &Peer, head: &Parts, id: &str) -> Answer {
    negotiation::accepts_json(&head.headers)?;
    let query = Query::read(&head.uri, &["versions"])?;
    let versions = query.number::<usize>("versions")?;
    if versions.is_some_and(|versions| !(1..=VERSIONS_MAX).contains(&versions)) {
        return Err(Problem::invalid_query(&format!("versions is from 1 to {VERSIONS_MAX}")));
    }
    let conversation = turns::conversation(id)?;
    let all = auth::conversations(peer, head);
    all.get(&conversation)?.ok_or_else(|| none(id))?;
    let index = all.variables(&conversation)?;
    let history = |name: &str| match versions {
        None => Ok(Vec::new()),
        Some(limit) => all.variable_versions(&conversation, name, limit),
    };
    let history: Vec<_> = index.iter().map(|one| history(&one.name)).collect::<Result<_, _>>()?;
    let variables = index.iter().zip(&history);
    let variables = variables.map(|(one, history)| VariableSchema::new(one, history)).collect();
    let schema = VariablesSchema { variables };
    Ok(json(wire::json(&schema, 1 << 10)))
}

/// `GET` and `PUT` of one variable.
pub(crate) async fn variable(
    peer: &Peer,
    head: &Parts,
    body: Incoming,
    (id, name): (&str, &str),
) -> Answer {
    let names = (turns::conversation(id)?, variable_name(name)?);
    if head.method == Method::PUT {
        set_variable(peer, head, body, names).await
    } else {
        show_variable(peer, head, names)
    }
}

/// Read a variable.
#[utoipa::path(
    get,
    path = "/v1/conversations/{id}/variables/{name}",
    operation_id = "showVariable",
    tag = "conversations",
    params(
        ("id" = String, Path),
        ("name" = String, Path),
        ("version" = Option<u64>, Query, description = "The latest if left out"),
    ),
    responses(
        (status = 200, description = "The value", body = VariableValueSchema<'static>),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) fn show_variable(
    peer: &Peer,
    head: &Parts,
    (conversation, name): (Conversation, VariableName),
) -> Answer {
    negotiation::accepts_json(&head.headers)?;
    let query = Query::read(&head.uri, &["version"])?;
    let version = query.number("version")?;
    let read = auth::conversations(peer, head).variable(&conversation, &name, version)?;
    let read =
        read.ok_or_else(|| Problem::not_found(&format!("there is no variable \"{name}\"")))?;
    let value: &RawValue =
        serde_json::from_str(&read.json).map_err(|error| Problem::host(&error.to_string()))?;
    let schema = VariableValueSchema {
        name: name.as_str(),
        version: read.version,
        set_at_unix_ms: read.set_at_unix_ms,
        value,
    };
    Ok(json(wire::json(&schema, 128 + read.json.len())))
}

/// Set a variable: the body is its value.
#[utoipa::path(
    put,
    path = "/v1/conversations/{id}/variables/{name}",
    operation_id = "setVariable",
    tag = "conversations",
    params(("id" = String, Path), ("name" = String, Path)),
    request_body(content = Object, description = "Any JSON", content_type = "application/json"),
    responses(
        (status = 200, description = "The version, which is on disk", body = MemoryWrittenSchema),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn set_variable(
    peer: &Peer,
    head: &Parts,
    body: Incoming,
    (conversation, name): (Conversation, VariableName),
) -> Answer {
    let value: Box<RawValue> = read(peer, head, body).await?;
    let version =
        auth::conversations(peer, head).set_variable(&conversation, &name, value.get()).await?;
    Ok(json(wire::json(&MemoryWrittenSchema { version }, 32)))
}

async fn read<T: DeserializeOwned>(
    peer: &Peer,
    head: &Parts,
    body: Incoming,
) -> Result<T, Refusal> {
    negotiation::accepts_json(&head.headers)?;
    negotiation::require_json(&head.headers)?;
    Query::read(&head.uri, &[])?;
    let body = whole(peer, body).await?;
    serde_json::from_slice(&body).map_err(|error| Problem::invalid_body("", error.to_string()))
}

fn variable_name(name: &str) -> Result<VariableName, Refusal> {
    VariableName::parse(name).map_err(|error| Problem::not_found(&error.to_string()))
}

fn none(id: &str) -> Refusal {
    Problem::not_found(&format!("there is no conversation \"{id}\""))
}
