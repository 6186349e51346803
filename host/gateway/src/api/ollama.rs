//! `/api/*`: what Ollama's clients speak, so that `OLLAMA_HOST` can point here. Agents are models
//! that are called `agent:NAME`.
//!
//! What changes the models that all share is in [`super::models`].

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use foreshore_control::turns::{Ended, NewTurn, TurnEvent};
use foreshore_domain::conversation::TurnEnd;
use foreshore_domain::identity::{Permission, Principal};
use foreshore_domain::inference::InferenceError;
use http::header::RETRY_AFTER;
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};
use hyper::body::Incoming;

use crate::api::openai::{AGENT, completed, content, inference};
use crate::auth::{may, principal};
use crate::body::{Body, whole};
use crate::connection::Peer;
use crate::ollama::{self, Asked, EmbedAsked, Lines as Answers, Listed, Timings, Unusable};
use crate::pieces::{Piece, passing, rest};
use crate::problem::Refusal;
use crate::request::{Answer, json, typed};
use crate::streaming::{Lines, alive, joined, streamed, task};
use crate::wire::text_of;

/// Chat, as Ollama's API does.
#[utoipa::path(
    post,
    path = "/api/chat",
    operation_id = "ollamaChat",
    tag = "ollama",
    request_body(content = Object, description = "As Ollama's API; `model` may be `agent:NAME`", content_type = "application/json"),
    responses((status = 200, description = "Lines of JSON, or one object", body = Object, content_type = "application/x-ndjson")),
)]
pub(crate) async fn chat(peer: &Arc<Peer>, head: &Parts, body: Incoming) -> Answer {
    answered(try_ask(peer, principal(head), body, ollama::chat).await)
}

/// Complete a prompt, as Ollama's API does.
#[utoipa::path(
    post,
    path = "/api/generate",
    operation_id = "ollamaGenerate",
    tag = "ollama",
    request_body(content = Object, description = "As Ollama's API; `model` may be `agent:NAME`", content_type = "application/json"),
    responses((status = 200, description = "Lines of JSON, or one object", body = Object, content_type = "application/x-ndjson")),
)]
pub(crate) async fn generate(peer: &Arc<Peer>, head: &Parts, body: Incoming) -> Answer {
    answered(try_ask(peer, principal(head), body, ollama::generate).await)
}

/// A refusal in Ollama's shape.
pub(crate) fn refused(problem: Refusal) -> Response<Body> {
    Failure::from(problem).response()
}

/// Why a request was not served: a status, a text, and when to come back.
pub(super) struct Failure {
    status: StatusCode,
    pub(super) line: Vec<u8>,
    retry_after: Option<HeaderValue>,
}

impl From<Refusal> for Failure {
    fn from(problem: Refusal) -> Self {
        let retry_after = problem.header.as_ref().filter(|(name, _)| name == RETRY_AFTER);
        let retry_after = retry_after.map(|(_, value)| value.clone());
        Self { retry_after, ..Self::new(problem.status, &problem.detail) }
    }
}

impl From<Unusable> for Failure {
    fn from(Unusable(text): Unusable) -> Self {
        Self::new(StatusCode::BAD_REQUEST, &text)
    }
}

impl From<&InferenceError> for Failure {
    fn from(error: &InferenceError) -> Self {
        let (status, line) = ollama::failure(error);
        let seconds = error.retry_after().map(|wait| wait.as_millis().div_ceil(1_000).max(1));
        let seconds = seconds.map(|seconds| u32::try_from(seconds).unwrap_or(u32::MAX));
        Self { status, line, retry_after: seconds.map(HeaderValue::from) }
    }
}

impl Failure {
    pub(super) fn new(status: StatusCode, text: &str) -> Self {
        let mut line = serde_json::json!({ "error": text }).to_string().into_bytes();
        line.push(b'\n');
        Self { status, line, retry_after: None }
    }

    fn response(self) -> Response<Body> {
        let Self { status, line, retry_after } = self;
        let mut response = json(line.into());
        *response.status_mut() = status;
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(RETRY_AFTER, seconds);
        }
        response
    }
}

pub(super) fn answered(result: Result<Response<Body>, Failure>) -> Answer {
    Ok(result.unwrap_or_else(Failure::response))
}

async fn try_ask(
    peer: &Arc<Peer>,
    who: Arc<Principal>,
    body: Incoming,
    read: fn(&[u8]) -> Result<Asked, Unusable>,
) -> Result<Response<Body>, Failure> {
    // Ollama's own clients do not all say that they send JSON, so it is not asked for; a page of
    // another site is refused by its origin.
    let body = whole(peer, body).await?;
    let asked = read(&body)?;
    let name = asked.request.model.clone().unwrap_or_default();
    match name.strip_prefix(AGENT) {
        Some(agent) => ask_agent(peer, who, agent.to_owned(), name.clone(), asked).await,
        None => {
            may(&who, Permission::UseModels)?;
            ask_model(peer, who, name, asked).await
        }
    }
}

async fn ask_model(
    peer: &Arc<Peer>,
    who: Arc<Principal>,
    name: String,
    asked: Asked,
) -> Result<Response<Body>, Failure> {
    let started = Instant::now();
    let inference = inference(peer)?.clone();
    let mut answers = Answers::new(asked.kind, name);
    if asked.is_load() {
        // The host loads and unloads models as they are needed.
        return Ok(json(answers.loaded(&now()).into()));
    }
    if !asked.stream {
        let waited = alive(peer, inference.chat(asked.request, &who, None)).await;
        let completion = waited.map_err(|error| Failure::from(&error))?;
        return Ok(json(answers.whole(&now(), &completion, took(started)).into()));
    }
    let (sink, mut pieces) = passing();
    let passing = Arc::clone(&sink);
    let asking = async move { inference.chat(asked.request, &who, Some(passing)).await };
    let mut asking = task(asking);
    // Nothing is sent before something is known: a failure then has its status.
    let first = tokio::select! {
        biased;
        piece = alive(peer, pieces.recv()) => piece,
        ended = &mut asking => {
            let completion = joined(ended).map_err(|error| Failure::from(&error))?;
            let mut text = rest(&mut pieces, |piece| line(&mut answers, piece));
            text.extend(answers.end(&now(), &completion, took(started)));
            return Ok(typed(Bytes::from(text).into(), NDJSON));
        }
    };
    let waiting = Arc::clone(peer);
    let lines = async move |lines: Lines| {
        let mut next = first;
        while let Some(piece) = next {
            lines.send(line(&mut answers, &piece)).await?;
            next = tokio::select! {
                biased;
                piece = alive(&waiting, pieces.recv()) => piece,
                ended = &mut asking => {
                    let mut text = rest(&mut pieces, |piece| line(&mut answers, piece));
                    text.extend(match joined(ended) {
                        Ok(_) if sink.has_overflowed() => {
                            let slow = "the client reads too slowly";
                            Failure::new(StatusCode::INTERNAL_SERVER_ERROR, slow).line
                        }
                        Ok(completion) => answers.end(&now(), &completion, took(started)),
                        Err(error) => ollama::failure(&error).1,
                    });
                    return lines.send(text).await;
                }
            };
        }
        Some(())
    };
    Ok(streamed(peer, NDJSON, lines))
}

pub(super) const NDJSON: HeaderValue = HeaderValue::from_static("application/x-ndjson");

fn line(answers: &mut Answers, piece: &Piece) -> Vec<u8> {
    match piece {
        Piece::Text(text) => answers.text(&now(), text),
        Piece::Thinking(text) => answers.thinking(&now(), text),
        Piece::ToolCall(call) => answers.tool_call(&now(), call),
    }
}

async fn ask_agent(
    peer: &Arc<Peer>,
    principal: Arc<Principal>,
    agent: String,
    name: String,
    asked: Asked,
) -> Result<Response<Body>, Failure> {
    let started = Instant::now();
    let answers = Answers::new(asked.kind, name);
    if asked.is_load() {
        return Ok(json(answers.loaded(&now()).into()));
    }
    if !asked.request.tools.is_empty() {
        let text = "an agent brings its own tools: leave tools out, or ask a model";
        return Err(Unusable(text.to_owned()).into());
    }
    let mut history = asked.request.messages;
    let Some(last) = history.pop() else {
        return Err(Unusable("there is no message".to_owned()).into());
    };
    let message = content(&last);
    let new = NewTurn {
        principal,
        agent,
        conversation: None,
        message,
        parameters: None,
        budget: None,
        history,
    };
    let turns = peer.edge.control.turns().of(&new.principal.tenant);
    let taken = turns.start(new).await.map_err(Refusal::from)?;
    let mut follow = turns.follow(taken.turn, None).map_err(Refusal::from)?;
    if !asked.stream {
        let ended = crate::api::agents::end(peer, follow).await?;
        if ended.end != TurnEnd::Completed {
            return Err(failed(&ended));
        }
        return Ok(json(answers.whole(&now(), &completed(&ended), took(started)).into()));
    }
    let waiting = Arc::clone(peer);
    let lines = async move |lines: Lines| {
        let mut said = false;
        while let Some(update) = alive(&waiting, follow.next()).await {
            let text = match update.event {
                TurnEvent::MessageDelta(text) => {
                    said = true;
                    answers.text(&now(), &text)
                }
                TurnEvent::ThinkingDelta(text) => answers.thinking(&now(), &text),
                TurnEvent::Ended(ended) if ended.end == TurnEnd::Completed => {
                    let mut text = Vec::new();
                    if !said {
                        text.extend(answers.text(&now(), &text_of(&ended.reply)));
                    }
                    text.extend(answers.end(&now(), &completed(&ended), took(started)));
                    text
                }
                TurnEvent::Ended(ended) => failed(&ended).line,
                _ => continue,
            };
            lines.send(text).await?;
        }
        Some(())
    };
    Ok(streamed(peer, NDJSON, lines))
}

fn failed(ended: &Ended) -> Failure {
    let error = crate::api::openai::failed(ended);
    Failure::new(error.status, &error.body.message)
}

/// Turn texts into vectors, as Ollama's API does.
#[utoipa::path(
    post,
    path = "/api/embed",
    operation_id = "ollamaEmbed",
    tag = "ollama",
    request_body(content = Object, description = "As Ollama's API", content_type = "application/json"),
    responses((status = 200, description = "The vectors", body = Object)),
)]
pub(crate) async fn embed(peer: &Peer, head: &Parts, body: Incoming) -> Answer {
    answered(try_embed(peer, &principal(head), body).await)
}

/// Turn a text into a vector, as Ollama's older API does.
#[utoipa::path(
    post,
    path = "/api/embeddings",
    operation_id = "ollamaEmbeddings",
    tag = "ollama",
    request_body(content = Object, description = "As Ollama's API", content_type = "application/json"),
    responses((status = 200, description = "The vector", body = Object)),
)]
pub(crate) async fn embeddings(peer: &Peer, head: &Parts, body: Incoming) -> Answer {
    answered(try_embed(peer, &principal(head), body).await)
}

async fn try_embed(
    peer: &Peer,
    who: &Principal,
    body: Incoming,
) -> Result<Response<Body>, Failure> {
    let started = Instant::now();
    let body = whole(peer, body).await?;
    let EmbedAsked { request, single } = ollama::embed(&body)?;
    let model = request.model.clone().unwrap_or_default();
    let answer = alive(peer, inference(peer)?.embed(request, who)).await;
    let answer = answer.map_err(|error| Failure::from(&error))?;
    Ok(json(ollama::embedded(&model, &answer, single, took(started)).into()))
}

/// List models and agents, as Ollama's API does.
#[utoipa::path(
    get,
    path = "/api/tags",
    operation_id = "ollamaTags",
    tag = "ollama",
    responses((status = 200, description = "Models, and agents as `agent:NAME`", body = Object)),
)]
pub(crate) async fn tags(peer: &Peer, _head: &Parts) -> Answer {
    let models = models(peer).await;
    let agents = agents(peer);
    let mut listed: Vec<Listed<'_>> =
        models.iter().map(|model| Listed { name: &model.name, model: Some(model) }).collect();
    listed.extend(agents.iter().map(|name| Listed { name, model: None }));
    Ok(json(ollama::tags(&listed).into()))
}

/// Read one model, as Ollama's API does.
#[utoipa::path(
    post,
    path = "/api/show",
    operation_id = "ollamaShow",
    tag = "ollama",
    request_body(content = Object, description = "`{\"model\": NAME}`", content_type = "application/json"),
    responses((status = 200, description = "The model", body = Object)),
)]
pub(crate) async fn show(peer: &Peer, _head: &Parts, body: Incoming) -> Answer {
    answered(try_show(peer, body).await)
}

async fn try_show(peer: &Peer, body: Incoming) -> Result<Response<Body>, Failure> {
    let body = whole(peer, body).await?;
    let name = ollama::name(&body)?;
    if agents(peer).contains(&name) {
        return Ok(json(ollama::show(&Listed { name: &name, model: None }).into()));
    }
    let found = inference(peer)?.broker().show(&name).await;
    let model = found.map_err(|error| Failure::from(&error))?;
    Ok(json(ollama::show(&Listed { name: &name, model: Some(&model) }).into()))
}

/// List the models in memory, as Ollama's API does.
#[utoipa::path(
    get,
    path = "/api/ps",
    operation_id = "ollamaPs",
    tag = "ollama",
    responses((status = 200, description = "The models in memory", body = Object)),
)]
pub(crate) async fn running(peer: &Peer, _head: &Parts) -> Answer {
    let running = match peer.edge.control.inference() {
        Some(inference) => inference.running().await,
        None => Vec::new(),
    };
    Ok(json(ollama::running(&running.iter().collect::<Vec<_>>()).into()))
}

/// Say which version this is, as Ollama's API does.
#[utoipa::path(
    get,
    path = "/api/version",
    operation_id = "ollamaVersion",
    tag = "ollama",
    responses((status = 200, description = "The version of this host", body = Object)),
)]
pub(crate) fn version() -> Answer {
    let text = serde_json::json!({ "version": env!("CARGO_PKG_VERSION") }).to_string();
    Ok(json(text.into()))
}

async fn models(peer: &Peer) -> Vec<foreshore_domain::inference::Model> {
    match peer.edge.control.inference() {
        Some(inference) => inference.models().await,
        None => Vec::new(),
    }
}

fn agents(peer: &Peer) -> Vec<String> {
    peer.edge.control.turns().policies().keys().map(|name| format!("{AGENT}{name}")).collect()
}

fn took(started: Instant) -> Timings {
    Timings { total_ns: u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX) }
}

/// RFC 3339, in UTC.
fn now() -> String {
    foreshore_domain::moment::rfc3339(foreshore_control::now_unix_ms())
}
