//! A chat: the request as Ollama wants it, and the answer as it comes, line by line.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use foreshore_domain::inference::{
    FinishReason, Format, Message, Part, Role, Sampling, Thinking, ToolCall,
};
use serde_json::{Map, Value, json};

use super::{Ollama, wire, with_runner};
use crate::backend::json::{decimal, object_or_wrapped, schema, tool};
use crate::backend::{Done, Facts, Piece, WireChat, new_call_id, parsed};
use crate::failure::{Failure, excerpt, tells_of_context};
use crate::http_client::{Ask, Lines};

impl Ollama {
    /// Asks, and waits for the head of the answer.
    pub(crate) async fn chat(&self, chat: &WireChat<'_>) -> Result<ChatStream, Failure> {
        let answer = self.ask(Ask::post("/api/chat", &body(chat)?)).await?;
        let refuse_remote = !chat.runner.allow_remote;
        Ok(ChatStream { lines: answer.body.lines(self.sizes.line_max_bytes), refuse_remote })
    }
}

/// An answer that is coming in.
pub(crate) struct ChatStream {
    lines: Lines,
    refuse_remote: bool,
}

impl ChatStream {
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<Piece>>, Failure> {
        loop {
            let Some(line) = self.lines.next().await? else { return Ok(None) };
            let pieces = self.pieces(&line)?;
            if !pieces.is_empty() {
                return Ok(Some(pieces));
            }
        }
    }

    pub(crate) async fn finish(mut self) {
        self.lines.finish().await;
    }

    fn pieces(&self, line: &Bytes) -> Result<Vec<Piece>, Failure> {
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(Vec::new());
        }
        let line: wire::ChatLine = parsed(line)?;
        if let Some(message) = line.error {
            return Err(match tells_of_context(&message) {
                true => Failure::ContextTooLong { message: excerpt(&message) },
                false => Failure::Answer { message: excerpt(&message) },
            });
        }
        if let Some(host) = line.remote_host.filter(|host| !host.is_empty())
            && self.refuse_remote
        {
            return Err(Failure::Remote { host });
        }
        let mut pieces = Vec::new();
        if let Some(said) = line.message {
            if !said.thinking.is_empty() {
                pieces.push(Piece::Thinking(said.thinking));
            }
            if !said.content.is_empty() {
                pieces.push(Piece::Text(said.content));
            }
            pieces.extend(said.tool_calls.into_iter().map(|call| Piece::ToolCall(called(call))));
        }
        if line.done {
            pieces.push(Piece::Done(Done {
                finish: match line.done_reason.as_deref() {
                    Some("length") => FinishReason::Length,
                    _ => FinishReason::Stop,
                },
                input_tokens: line.prompt_eval_count,
                output_tokens: line.eval_count,
                duration_ms: line.total_duration.map(wire::ms_of_ns),
            }));
        }
        Ok(pieces)
    }
}

fn called(call: wire::Called) -> ToolCall {
    ToolCall {
        id: if call.id.is_empty() { new_call_id() } else { call.id },
        name: call.function.name,
        // Some versions write the object as a text.
        arguments_json: match call.function.arguments {
            Value::String(text) => text,
            Value::Null => "{}".to_owned(),
            value => value.to_string(),
        },
    }
}

/// The request. `truncate` and `shift` are off: by default the server silently cuts away what
/// does not fit.
fn body(chat: &WireChat<'_>) -> Result<Value, Failure> {
    let request = chat.request;
    let messages: Vec<Value> = request.messages.iter().map(message).collect();
    let mut body = json!({
        "model": chat.model,
        "messages": messages,
        "stream": true,
        "truncate": false,
        "shift": false,
    });
    if !chat.tools.is_empty() {
        let tools: Result<Vec<Value>, Failure> = chat.tools.iter().map(tool).collect();
        body["tools"] = Value::Array(tools?);
    }
    match &request.format {
        Some(Format::Json) => body["format"] = json!("json"),
        Some(Format::Schema(text)) => body["format"] = schema(text, "the answer")?,
        None => {}
    }
    if let Some(think) = request.thinking.and_then(|thinking| think(thinking, chat.facts)) {
        body["think"] = think;
    }
    with_runner(&mut body, chat.runner, options(&request.sampling));
    Ok(body)
}

/// A model that cannot think is not told to: its server would refuse the whole request. Levels
/// are for the one family that knows them.
fn think(thinking: Thinking, facts: &Facts) -> Option<Value> {
    if facts.cannot("thinking") {
        return None;
    }
    let family = facts.details.family.to_ascii_lowercase();
    let knows_levels = family.contains("gptoss") || family.contains("gpt-oss");
    Some(match (thinking, knows_levels) {
        (Thinking::Off, _) => json!(false),
        (Thinking::Low, true) => json!("low"),
        (Thinking::Medium, true) => json!("medium"),
        (Thinking::High, true) => json!("high"),
        (Thinking::Low | Thinking::Medium | Thinking::High, false) => json!(true),
    })
}

fn options(sampling: &Sampling) -> Value {
    let mut options = Map::new();
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            options.insert(name.to_owned(), value);
        }
    };
    set("temperature", sampling.temperature.map(decimal));
    set("top_p", sampling.top_p.map(decimal));
    set("seed", sampling.seed.map(|seed| json!(seed)));
    set("num_predict", sampling.max_tokens.map(|tokens| json!(tokens)));
    set("stop", (!sampling.stop.is_empty()).then(|| json!(sampling.stop)));
    Value::Object(options)
}

fn message(message: &Message) -> Value {
    if let Some(result) = &message.tool_result {
        return json!({
            "role": "tool",
            "content": result.content,
            "tool_name": result.name,
            "tool_call_id": result.id,
        });
    }
    let mut written = json!({ "role": role(message.role), "content": message.plain_text() });
    let images: Vec<String> = message
        .content
        .iter()
        .filter_map(|part| match part {
            Part::Image(image) => Some(STANDARD.encode(&image.data)),
            Part::Text(_) => None,
        })
        .collect();
    if !images.is_empty() {
        written["images"] = json!(images);
    }
    if let Some(thinking) = &message.thinking {
        written["thinking"] = json!(thinking);
    }
    if !message.tool_calls.is_empty() {
        let calls = message.tool_calls.iter().enumerate().map(|(index, call)| {
            let arguments = object_or_wrapped(&call.arguments_json);
            let function = json!({ "index": index, "name": call.name, "arguments": arguments });
            json!({ "id": call.id, "function": function })
        });
        written["tool_calls"] = Value::Array(calls.collect());
    }
    written
}

fn role(role: Role) -> &'static str {
    match role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
    }
}

#[cfg(test)]
mod tests;
