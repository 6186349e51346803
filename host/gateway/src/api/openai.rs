//! `/v1/chat/completions`, `/v1/embeddings`, `/v1/models`: what OpenAI's clients speak.
//!
//! An agent is a model that is called `agent:NAME`. Its turn has a conversation of its own, in
//! which the client's messages are what was said before, unless the request names a
//! `conversation` to go on in; then only its last message counts.

use std::sync::Arc;

use foreshore_control::turns::{Ended, NewTurn, TurnEvent};
use foreshore_control::{Inference, now_unix_ms};
use foreshore_domain::conversation::TurnEnd;
use foreshore_domain::identity::{Permission, Principal};
use foreshore_domain::inference::{
    ChatRequest, Completion, FinishReason, Message, Role, ServedBy, Step, TokenUsage,
};
use foreshore_domain::outcome::Content;
use http::header::RETRY_AFTER;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Response};
use hyper::body::Incoming;

use crate::auth::{may, principal};
use crate::body::{Body, whole};
use crate::connection::Peer;
use crate::negotiation;
use crate::openai::{self, Chunks, EmbeddingsAsked, Head, ListedModel, OpenAiError};
use crate::pieces::{Piece, passing, rest};
use crate::problem::{Problem, Refusal};
use crate::request::{Answer, json, typed};
use crate::streaming::{Lines, streamed};
use crate::wire::text_of;

/// How agents are called among models.
pub(crate) const AGENT: &str = "agent:";
/// Says of an answer that asking again is of no use: the turn has run, or the budget is used up.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// Complete a chat, as OpenAI's API does.
#[utoipa::path(
    post,
    path = "/v1/chat/completions",
    operation_id = "createChatCompletion",
    tag = "openai",
    request_body(content = Object, description = "As OpenAI's API; `model` may be `agent:NAME`", content_type = "application/json"),
    responses(
        (status = 200, description = "A completion, or its chunks", content(
            (Object = "application/json"),
            (String = "text/event-stream"),
        )),
        (status = "default", description = "Why not, in OpenAI's shape", body = Object),
    ),
)]
pub(crate) async fn chat(peer: &Arc<Peer>, head: &Parts, body: Incoming) -> Answer {
    match try_chat(peer, head, body).await {
        Ok(response) => Ok(response),
        Err(error) => Ok(refused(&error)),
    }
}

async fn try_chat(
    peer: &Arc<Peer>,
    head: &Parts,
    body: Incoming,
) -> Result<Response<Body>, OpenAiError> {
    negotiation::require_json(&head.headers)?;
    let body = whole(peer, body).await?;
    let asked = openai::chat(&body)?;
    let name = asked.request.model.clone().unwrap_or_default();
    let answer_head = Head::new(random(), now_unix_ms() / 1_000, name.clone());
    let usage = asked.include_usage;
    match name.strip_prefix(AGENT) {
        Some(agent) => {
            let new = new_turn(principal(head), agent, asked.request, asked.conversation)?;
            if asked.stream {
                agent_stream(peer, new, answer_head, usage).await
            } else {
                agent_whole(peer, new, &answer_head).await
            }
        }
        None => {
            let who = principal(head);
            may(&who, Permission::UseModels)?;
            if asked.stream {
                return model_stream(peer, who, asked.request, answer_head, usage).await;
            }
            let inference = inference(peer)?;
            let waited = crate::streaming::alive(peer, inference.chat(asked.request, &who, None));
            let completion = waited.await.map_err(|error| OpenAiError::from(&error))?;
            Ok(json(openai::completion(&answer_head, &completion, None).into()))
        }
    }
}

/// A model's answer in chunks. An error before the first of them has its own status.
async fn model_stream(
    peer: &Arc<Peer>,
    who: Arc<Principal>,
    request: ChatRequest,
    head: Head,
    include_usage: bool,
) -> Result<Response<Body>, OpenAiError> {
    let inference = inference(peer)?.clone();
    let (sink, mut pieces) = passing();
    let passing = Arc::clone(&sink);
    let asking = async move { inference.chat(request, &who, Some(passing)).await };
    let mut asking = crate::streaming::task(asking);
    // Nothing is sent before something is known: a failure then has its status.
    let first = tokio::select! {
        biased;
        piece = crate::streaming::alive(peer, pieces.recv()) => piece,
        ended = &mut asking => {
            let completion = crate::streaming::joined(ended)
                .map_err(|error| OpenAiError::from(&error))?;
            let mut chunks = Chunks::new(head);
            let mut text = rest(&mut pieces, |piece| chunk(&mut chunks, piece));
            text.extend(end(&mut chunks, &completion, include_usage));
            return Ok(events(text));
        }
    };
    let waiting = Arc::clone(peer);
    let lines = async move |lines: Lines| {
        let mut chunks = Chunks::new(head);
        let mut next = first;
        while let Some(piece) = next {
            lines.send(chunk(&mut chunks, &piece)).await?;
            next = tokio::select! {
                biased;
                piece = crate::streaming::alive(&waiting, pieces.recv()) => piece,
                ended = &mut asking => {
                    let mut text = rest(&mut pieces, |piece| chunk(&mut chunks, piece));
                    text.extend(match crate::streaming::joined(ended) {
                        Ok(_) if sink.has_overflowed() => {
                            Chunks::failure(&OpenAiError::invalid("stream", "the client reads too slowly"))
                        }
                        Ok(completion) => end(&mut chunks, &completion, include_usage),
                        Err(error) => Chunks::failure(&OpenAiError::from(&error)),
                    });
                    return lines.send(text).await;
                }
            };
        }
        Some(())
    };
    Ok(streamed(peer, HeaderValue::from_static("text/event-stream"), lines))
}

fn chunk(chunks: &mut Chunks, piece: &Piece) -> Vec<u8> {
    match piece {
        Piece::Text(text) => chunks.text(text),
        Piece::Thinking(text) => chunks.thinking(text),
        Piece::ToolCall(call) => chunks.tool_call(call),
    }
}

fn end(chunks: &mut Chunks, completion: &Completion, include_usage: bool) -> Vec<u8> {
    chunks.end(completion.finish, include_usage.then_some(completion.usage))
}

/// What an agent is asked.
fn new_turn(
    principal: Arc<Principal>,
    agent: &str,
    request: ChatRequest,
    conversation: Option<String>,
) -> Result<NewTurn, OpenAiError> {
    if !request.tools.is_empty() {
        let text = "an agent brings its own tools: leave tools out, or ask a model";
        return Err(OpenAiError::invalid("tools", text));
    }
    let mut messages = request.messages;
    let last = messages.pop().filter(|message| message.role == Role::User);
    let Some(last) = last else {
        return Err(OpenAiError::invalid("messages", "the last message is the user's"));
    };
    let conversation = conversation
        .map(|id| {
            foreshore_domain::conversation::Conversation::parse(id)
                .map_err(|error| OpenAiError::invalid("conversation", error.to_string()))
        })
        .transpose()?;
    let history = if conversation.is_some() { Vec::new() } else { messages };
    Ok(NewTurn {
        principal,
        agent: agent.to_owned(),
        conversation,
        message: content(&last),
        parameters: None,
        budget: None,
        history,
    })
}

/// A message as an agent reads it.
pub(crate) fn content(message: &Message) -> Vec<Content> {
    use foreshore_domain::inference::Part;
    use foreshore_domain::outcome::{ContentBody, Media};
    let parts = message.content.iter().map(|part| match part {
        Part::Text(text) => Content::text(text.clone()),
        Part::Image(image) => {
            let media = Media { data: image.data.to_vec(), mime_type: image.mime_type.clone() };
            Content { body: ContentBody::Image(media), annotations: None }
        }
    });
    parts.collect()
}

async fn agent_whole(
    peer: &Arc<Peer>,
    new: NewTurn,
    head: &Head,
) -> Result<Response<Body>, OpenAiError> {
    let turns = peer.edge.control.turns().of(&new.principal.tenant);
    let taken = turns.start(new).await.map_err(Refusal::from)?;
    let follow = turns.follow(taken.turn, None).map_err(Refusal::from)?;
    let ended = crate::api::agents::end(peer, follow).await?;
    if ended.end != TurnEnd::Completed {
        return Err(failed(&ended));
    }
    let text = openai::completion(head, &completed(&ended), Some(ended.conversation.as_str()));
    let mut response = json(text.into());
    response.headers_mut().insert(SHOULD_RETRY, HeaderValue::from_static("false"));
    Ok(response)
}

async fn agent_stream(
    peer: &Arc<Peer>,
    new: NewTurn,
    head: Head,
    include_usage: bool,
) -> Result<Response<Body>, OpenAiError> {
    let turns = peer.edge.control.turns().of(&new.principal.tenant);
    let taken = turns.start(new).await.map_err(Refusal::from)?;
    let mut follow = turns.follow(taken.turn, None).map_err(Refusal::from)?;
    let lines = async move |lines: Lines| {
        let mut chunks = Chunks::new(head);
        let mut said = false;
        loop {
            let update = match lines.beating(follow.next()).await? {
                Some(update) => update,
                None => return Some(()),
            };
            let text = match update.event {
                TurnEvent::MessageDelta(text) => {
                    said = true;
                    chunks.text(&text)
                }
                TurnEvent::ThinkingDelta(text) => chunks.thinking(&text),
                TurnEvent::Ended(ended) if ended.end == TurnEnd::Completed => {
                    let completion = completed(&ended);
                    // An agent that did not stream its answer says it at the end.
                    let mut text = Vec::new();
                    if !said {
                        text.extend(chunks.text(&text_of(&ended.reply)));
                    }
                    text.extend(end(&mut chunks, &completion, include_usage));
                    text
                }
                TurnEvent::Ended(ended) => Chunks::failure(&failed(&ended)),
                _ => continue,
            };
            lines.send(text).await?;
        }
    };
    let mut response = streamed(peer, HeaderValue::from_static("text/event-stream"), lines);
    response.headers_mut().insert(SHOULD_RETRY, HeaderValue::from_static("false"));
    Ok(response)
}

/// A turn that completed, as a model's answer.
pub(crate) fn completed(ended: &Ended) -> Completion {
    let by = ended.served_by.as_ref();
    Completion {
        message: Message::text(Role::Assistant, text_of(&ended.reply)),
        finish: match ended.finish {
            Some(foreshore_domain::agent::Finish::Budget) => FinishReason::Length,
            _ => FinishReason::Stop,
        },
        usage: TokenUsage {
            input_tokens: ended.usage.input_tokens,
            output_tokens: ended.usage.output_tokens,
            duration_ms: ended.usage.wall_ms,
            cost_micros: ended.usage.cost_micros,
        },
        served_by: ServedBy {
            backend: by.map_or_else(String::new, |by| by.backend.as_str().to_owned()),
            model: by.map_or_else(String::new, |by| by.model.as_str().to_owned()),
            step: by.map_or(Step::Primary, |by| by.step),
        },
    }
}

/// A turn that failed, or was cancelled.
pub(crate) fn failed(ended: &Ended) -> OpenAiError {
    let (code, message) = ended.error.clone().unwrap_or_default();
    OpenAiError::turn(&code, message)
}

/// List models and agents, as OpenAI's API does.
#[utoipa::path(
    get,
    path = "/v1/models",
    operation_id = "listModels",
    tag = "openai",
    responses(
        (status = 200, description = "Models, and agents as `agent:NAME`", body = Object),
    ),
)]
pub(crate) async fn models(peer: &Peer, _head: &Parts) -> Answer {
    Ok(json(openai::models(&listed(peer).await).into()))
}

/// Read one model, as OpenAI's API does.
#[utoipa::path(
    get,
    path = "/v1/models/{id}",
    operation_id = "showModel",
    tag = "openai",
    params(("id" = String, Path)),
    responses(
        (status = 200, description = "The model", body = Object),
        (status = 404, description = "No such model", body = Object),
    ),
)]
pub(crate) async fn model(peer: &Peer, _head: &Parts, id: &str) -> Answer {
    let all = listed(peer).await;
    match all.iter().find(|model| model.id == id) {
        Some(model) => Ok(json(openai::model(model).into())),
        None => {
            let known = all.iter().take(8).map(|model| model.id.clone()).collect();
            let error = foreshore_domain::inference::InferenceError::ModelNotFound {
                model: id.to_owned(),
                known,
            };
            Ok(refused(&OpenAiError::from(&error)))
        }
    }
}

async fn listed(peer: &Peer) -> Vec<ListedModel> {
    let agents = peer.edge.control.turns().policies().keys();
    let mut all: Vec<ListedModel> = agents
        .map(|name| ListedModel {
            id: format!("{AGENT}{name}"),
            created: 0,
            owned_by: "foreshore".to_owned(),
        })
        .collect();
    if let Some(inference) = peer.edge.control.inference() {
        all.extend(inference.models().await.into_iter().map(|model| ListedModel {
            id: model.name,
            created: 0,
            owned_by: model.backends.first().cloned().unwrap_or_default(),
        }));
    }
    all
}

/// Turn texts into vectors, as OpenAI's API does.
#[utoipa::path(
    post,
    path = "/v1/embeddings",
    operation_id = "createEmbeddings",
    tag = "openai",
    request_body(content = Object, description = "As OpenAI's API", content_type = "application/json"),
    responses(
        (status = 200, description = "The vectors", body = Object),
        (status = "default", description = "Why not, in OpenAI's shape", body = Object),
    ),
)]
pub(crate) async fn embeddings(peer: &Peer, head: &Parts, body: Incoming) -> Answer {
    let embedded = async {
        negotiation::require_json(&head.headers)?;
        let body = whole(peer, body).await?;
        let EmbeddingsAsked { request, base64 } = EmbeddingsAsked::read(&body)?;
        let model = request.model.clone().unwrap_or_default();
        let who = principal(head);
        let waited = crate::streaming::alive(peer, inference(peer)?.embed(request, &who));
        let answer = waited.await.map_err(|error| OpenAiError::from(&error))?;
        Ok(openai::embeddings(&model, &answer, base64))
    };
    match embedded.await {
        Ok(text) => Ok(json(text.into())),
        Err(error) => Ok(refused(&error)),
    }
}

/// A refusal in OpenAI's shape.
pub(crate) fn refused(error: &OpenAiError) -> Response<Body> {
    let mut response = json(error.json().into());
    *response.status_mut() = error.status;
    if let Some(wait_ms) = error.retry_after_ms {
        let seconds = u32::try_from(wait_ms.div_ceil(1_000).max(1)).unwrap_or(u32::MAX);
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if error.is_final {
        response.headers_mut().insert(SHOULD_RETRY, HeaderValue::from_static("false"));
    }
    response
}

fn events(text: Vec<u8>) -> Response<Body> {
    typed(bytes::Bytes::from(text).into(), HeaderValue::from_static("text/event-stream"))
}

pub(crate) fn inference(peer: &Peer) -> Result<&Inference, Refusal> {
    peer.edge.control.inference().ok_or_else(|| {
        Problem::new(
            http::StatusCode::SERVICE_UNAVAILABLE,
            "inference_unavailable",
            "No model can be asked",
            "no model backend is configured: add [[inference.backends]]",
        )
    })
}

fn random() -> [u8; 16] {
    *uuid::Uuid::new_v4().as_bytes()
}
