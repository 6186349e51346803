//! The OpenAI face: chat completions, embeddings and the list of models.
//!
//! As much of it as a client of compatible servers uses. What a model thinks is
//! `reasoning_content`, as vLLM and llama.cpp have it. Deliberately absent: several choices, log
//! probabilities, files, audio.

use http::StatusCode;
use serde_json::{Value, json};

use super::errors::Failure;
use super::speaker::Speaker;
use super::{Answer, Asked};
use crate::reply::{Call, Chunk, Reply};

/// Holds a request to the key of the script, if it has one.
pub(crate) fn authorized(asked: &Asked) -> Result<(), Failure> {
    let playing = asked.shared.playing();
    match &playing.script.server.api_key {
        Some(key) if asked.bearer.as_ref() != Some(key) => {
            Err(Failure::new(StatusCode::UNAUTHORIZED, "incorrect API key provided"))
        }
        _ => Ok(()),
    }
}

/// The events of one chunk.
pub(crate) fn chunk(speaker: &Speaker, chunk: &Chunk, first: bool) -> Vec<Value> {
    let delta = match chunk {
        Chunk::Thinking(thinking) => json!({ "reasoning_content": thinking }),
        Chunk::Text(text) => json!({ "content": text }),
        Chunk::Calls(calls) => {
            json!({ "tool_calls": calls.iter().enumerate().map(call).collect::<Value>() })
        }
    };
    let opening =
        first.then(|| event(speaker, json!({ "role": "assistant", "content": "" }), None));
    opening.into_iter().chain([event(speaker, delta, None)]).collect()
}

/// The events at the end, but for `[DONE]`.
pub(crate) fn closing(speaker: &Speaker, reply: &Reply) -> Vec<Value> {
    let opening = reply.chunks.is_empty();
    let opening =
        opening.then(|| event(speaker, json!({ "role": "assistant", "content": "" }), None));
    let last = event(speaker, json!({}), Some(finish_reason(reply)));
    let usage = speaker.include_usage.then(|| {
        let mut event = envelope(speaker, "chat.completion.chunk");
        event["choices"] = json!([]);
        event["usage"] = usage(reply);
        event
    });
    opening.into_iter().chain([last]).chain(usage).collect()
}

/// All of it in one document.
pub(crate) fn whole(speaker: &Speaker, reply: &Reply) -> Value {
    let calls = reply.calls();
    let text = reply.text();
    let content = if text.is_empty() && !calls.is_empty() { Value::Null } else { json!(text) };
    let mut message = json!({ "role": "assistant", "content": content });
    let thinking = reply.thinking();
    if !thinking.is_empty() {
        message["reasoning_content"] = json!(thinking);
    }
    if !calls.is_empty() {
        message["tool_calls"] = calls.iter().enumerate().map(call).collect();
    }
    let mut document = envelope(speaker, "chat.completion");
    document["choices"] = json!([{
        "index": 0, "message": message, "finish_reason": finish_reason(reply),
    }]);
    document["usage"] = usage(reply);
    if reply.padding_bytes > 0 {
        document["padding"] = Value::String("x".repeat(reply.padding_bytes));
    }
    document
}

fn envelope(speaker: &Speaker, object: &str) -> Value {
    json!({
        "id": format!("chatcmpl-{}", speaker.number),
        "object": object,
        "created": speaker.created,
        "model": speaker.model,
        "system_fingerprint": "fp_scripted",
    })
}

fn event(speaker: &Speaker, delta: Value, finish_reason: Option<String>) -> Value {
    let mut event = envelope(speaker, "chat.completion.chunk");
    event["choices"] = json!([{ "index": 0, "delta": delta, "finish_reason": finish_reason }]);
    event
}

/// Here a text that holds JSON, where Ollama has an object.
fn call((index, call): (usize, &Call)) -> Value {
    json!({
        "index": index,
        "id": call.id,
        "type": "function",
        "function": { "name": call.name, "arguments": call.arguments.to_string() },
    })
}

fn finish_reason(reply: &Reply) -> String {
    match reply.done_reason.as_str() {
        "stop" if !reply.calls().is_empty() => "tool_calls".to_owned(),
        reason => reason.to_owned(),
    }
}

fn usage(reply: &Reply) -> Value {
    json!({
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.output_tokens,
        "total_tokens": reply.prompt_tokens.saturating_add(reply.output_tokens),
    })
}

/// `GET /v1/models`.
pub(crate) fn models(asked: &mut Asked) -> Answer {
    let created = crate::clock::since_1970().as_secs();
    let models = asked.shared.shelf.list();
    let models = models.iter().map(|it| model(&it.settings.name, created));
    let document = json!({ "object": "list", "data": models.collect::<Value>() });
    asked.json(StatusCode::OK, &document)
}

/// `GET /v1/models/{id}`.
pub(crate) fn one_model(asked: &mut Asked, name: &str) -> Answer {
    let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy().into_owned();
    if asked.shared.shelf.find(&name).is_none() {
        return Err(Failure::no_model(&name));
    }
    let document = model(&name, crate::clock::since_1970().as_secs());
    asked.json(StatusCode::OK, &document)
}

fn model(name: &str, created: u64) -> Value {
    json!({ "id": name, "object": "model", "created": created, "owned_by": "library" })
}
