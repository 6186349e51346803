//! A chat as such servers want it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use foreshore_domain::inference::{
    ChatRequest, Format, Message, Part, Role, Sampling, Thinking, ToolChoice,
};
use serde_json::{Map, Value, json};

use crate::backend::WireChat;
use crate::backend::json::{decimal, schema, tool};
use crate::failure::Failure;

/// The request, without a limit on tokens, which has two names.
pub(super) fn body(chat: &WireChat<'_>) -> Result<Value, Failure> {
    let request = chat.request;
    let messages: Vec<Value> = request.messages.iter().map(message).collect();
    let mut body = json!({
        "model": chat.model,
        "messages": messages,
        "stream": true,
        "stream_options": { "include_usage": true },
    });
    if !chat.tools.is_empty() {
        let tools: Result<Vec<Value>, Failure> = chat.tools.iter().map(tool).collect();
        body["tools"] = Value::Array(tools?);
        if let Some(choice) = choice(request) {
            body["tool_choice"] = choice;
        }
    }
    match &request.format {
        Some(Format::Json) => body["response_format"] = json!({ "type": "json_object" }),
        Some(Format::Schema(text)) => {
            let schema = schema(text, "the answer")?;
            let named = json!({ "name": "answer", "schema": schema, "strict": true });
            body["response_format"] = json!({ "type": "json_schema", "json_schema": named });
        }
        None => {}
    }
    match request.thinking {
        Some(Thinking::Low) => body["reasoning_effort"] = json!("low"),
        Some(Thinking::Medium) => body["reasoning_effort"] = json!("medium"),
        Some(Thinking::High) => body["reasoning_effort"] = json!("high"),
        // There is no word for it that all servers take.
        Some(Thinking::Off) | None => {}
    }
    sampled(&mut body, &request.sampling);
    Ok(body)
}

fn choice(request: &ChatRequest) -> Option<Value> {
    Some(match request.tool_choice.as_ref()? {
        ToolChoice::Auto => json!("auto"),
        ToolChoice::None => json!("none"),
        ToolChoice::Required => json!("required"),
        ToolChoice::Named(name) => json!({ "type": "function", "function": { "name": name } }),
    })
}

fn sampled(body: &mut Value, sampling: &Sampling) {
    if let Some(temperature) = sampling.temperature {
        body["temperature"] = decimal(temperature);
    }
    if let Some(top_p) = sampling.top_p {
        body["top_p"] = decimal(top_p);
    }
    if let Some(seed) = sampling.seed {
        body["seed"] = json!(seed);
    }
    if !sampling.stop.is_empty() {
        body["stop"] = json!(sampling.stop);
    }
}

fn message(message: &Message) -> Value {
    if let Some(result) = &message.tool_result {
        return json!({ "role": "tool", "tool_call_id": result.id, "content": result.content });
    }
    let role = match message.role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
    };
    let mut written = Map::new();
    written.insert("role".to_owned(), json!(role));
    written.insert("content".to_owned(), content(message));
    if !message.tool_calls.is_empty() {
        let calls = message.tool_calls.iter().map(|call| {
            let function = json!({ "name": call.name, "arguments": call.arguments_json });
            json!({ "id": call.id, "type": "function", "function": function })
        });
        written.insert("tool_calls".to_owned(), Value::Array(calls.collect()));
    }
    Value::Object(written)
}

/// Text is a text; with pictures it is a list of parts.
fn content(message: &Message) -> Value {
    let has_images = message.content.iter().any(|part| matches!(part, Part::Image(_)));
    if !has_images {
        let text = message.plain_text();
        return if text.is_empty() && !message.tool_calls.is_empty() {
            Value::Null
        } else {
            Value::String(text)
        };
    }
    let parts = message.content.iter().map(|part| match part {
        Part::Text(text) => json!({ "type": "text", "text": text }),
        Part::Image(image) => {
            let url = format!("data:{};base64,{}", image.mime_type, STANDARD.encode(&image.data));
            json!({ "type": "image_url", "image_url": { "url": url } })
        }
    });
    Value::Array(parts.collect())
}

#[cfg(test)]
mod tests;
