//! Lines of `/api/chat` and `/api/generate`.
//!
//! Source of the shapes: `api/types.go` of Ollama. Counts of 0 are left out, as there.

use http::StatusCode;
use serde_json::{Value, json};

use super::speaker::{Face, Speaker, Times};
use super::{Answer, Asked};
use crate::clock;
use crate::prompt::Prompt;
use crate::reply::{Call, Chunk, Reply};
use crate::shelf::keep_alive::KeepAlive;

/// A line in the middle.
pub(crate) fn chunk(speaker: &Speaker, chunk: &Chunk) -> Vec<Value> {
    let (text, thinking, called) = match chunk {
        Chunk::Thinking(thinking) => ("", thinking.as_str(), &[][..]),
        Chunk::Text(text) => (text.as_str(), "", &[][..]),
        Chunk::Calls(called) => ("", "", called.as_slice()),
    };
    vec![line(speaker, text, thinking, called, false)]
}

/// The last line.
pub(crate) fn closing(speaker: &Speaker, reply: &Reply, times: &Times) -> Value {
    let mut last = line(speaker, "", "", &[], true);
    finish(&mut last, reply, times);
    last
}

/// All of it in one document.
pub(crate) fn whole(speaker: &Speaker, reply: &Reply, times: &Times) -> Value {
    let mut all = line(speaker, &reply.text(), &reply.thinking(), reply.calls(), true);
    finish(&mut all, reply, times);
    if reply.padding_bytes > 0 {
        all["padding"] = Value::String("x".repeat(reply.padding_bytes));
    }
    all
}

/// The answer to a request that says nothing: the model is in memory, or out of it.
pub(crate) fn loaded(
    asked: &mut Asked,
    face: Face,
    prompt: &Prompt,
    keep_alive: Option<KeepAlive>,
) -> Answer {
    let speaker = Speaker::new(face, prompt, asked.number);
    let mut document = line(&speaker, "", "", &[], true);
    let unload = keep_alive.is_some_and(|it| it == KeepAlive::For(std::time::Duration::ZERO));
    document["done_reason"] = json!(if unload { "unload" } else { "load" });
    asked.json(StatusCode::OK, &document)
}

fn line(speaker: &Speaker, text: &str, thinking: &str, called: &[Call], done: bool) -> Value {
    let mut line = json!({
        "model": speaker.model,
        "created_at": clock::now(),
        "done": done,
    });
    if speaker.face == Face::Generate {
        line["response"] = json!(text);
        if !thinking.is_empty() {
            line["thinking"] = json!(thinking);
        }
        return line;
    }
    let mut message = json!({ "role": "assistant", "content": text });
    if !thinking.is_empty() {
        message["thinking"] = json!(thinking);
    }
    if !called.is_empty() {
        message["tool_calls"] = called.iter().enumerate().map(call).collect();
    }
    line["message"] = message;
    line
}

fn call((index, call): (usize, &Call)) -> Value {
    json!({
        "id": call.id,
        "function": { "index": index, "name": call.name, "arguments": call.arguments },
    })
}

fn finish(line: &mut Value, reply: &Reply, times: &Times) {
    let nanoseconds =
        |time: std::time::Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    line["done_reason"] = json!(reply.done_reason);
    line["total_duration"] = json!(nanoseconds(times.began.elapsed()));
    line["load_duration"] = json!(nanoseconds(times.load));
    let spoke = times.spoke.elapsed().saturating_sub(times.prompt);
    if reply.prompt_tokens > 0 {
        line["prompt_eval_count"] = json!(reply.prompt_tokens);
        line["prompt_eval_duration"] = json!(nanoseconds(times.prompt));
    }
    if reply.output_tokens > 0 {
        line["eval_count"] = json!(reply.output_tokens);
        line["eval_duration"] = json!(nanoseconds(spoke));
    }
}
