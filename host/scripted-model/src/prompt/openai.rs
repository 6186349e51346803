//! `/v1/chat/completions`: from the wire to a prompt.

use serde::Deserialize;
use serde_json::Value;

use super::{Form, Limits, Prompt, Role, Said};

#[derive(Deserialize)]
struct Request {
    #[serde(default)]
    model: String,
    messages: Vec<Message>,
    #[serde(default)]
    tools: Option<Vec<Tool>>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    response_format: Option<ResponseFormat>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    stop: Option<Stop>,
    reasoning_effort: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    #[serde(default)]
    content: Option<Content>,
    #[serde(default)]
    tool_calls: Option<Vec<Call>>,
    #[serde(default)]
    tool_call_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<ContentPart>),
}

#[derive(Deserialize)]
struct ContentPart {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    text: String,
}

#[derive(Deserialize)]
struct Call {
    id: String,
    function: CalledFunction,
}

#[derive(Deserialize)]
struct CalledFunction {
    name: String,
    /// A text here, an object in Ollama's API: taking either would hide the mistake.
    #[serde(rename = "arguments")]
    _arguments: String,
}

#[derive(Deserialize)]
struct Tool {
    function: Function,
}

#[derive(Deserialize)]
struct Function {
    name: String,
}

#[derive(Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

#[derive(Deserialize)]
struct ResponseFormat {
    #[serde(rename = "type")]
    kind: String,
    json_schema: Option<NamedSchema>,
}

#[derive(Deserialize)]
struct NamedSchema {
    #[serde(default)]
    schema: Value,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Stop {
    One(String),
    Several(Vec<String>),
}

/// A prompt of `/v1/chat/completions`.
///
/// # Errors
/// What is wrong with the request.
pub(crate) fn chat(body: &Value) -> Result<Prompt, String> {
    let request = Request::deserialize(body).map_err(|error| error.to_string())?;
    if request.model.is_empty() {
        return Err("you must provide a model parameter".to_owned());
    }
    if request.messages.is_empty() {
        return Err("[] is too short - 'messages'".to_owned());
    }
    let mut calls: Vec<(String, String)> = Vec::new();
    let mut messages = Vec::new();
    for message in request.messages {
        let (text, images) = content(message.content);
        let tool = message.tool_call_id.and_then(|id| {
            calls.iter().rev().find(|(known, _)| *known == id).map(|(_, name)| name.clone())
        });
        for call in message.tool_calls.unwrap_or_default() {
            calls.push((call.id, call.function.name));
        }
        let tool = tool.unwrap_or_default();
        messages.push(Said { role: role(&message.role)?, text, images, tool });
    }
    Ok(Prompt {
        model: request.model,
        messages,
        tools: request.tools.unwrap_or_default().into_iter().map(|it| it.function.name).collect(),
        format: form(request.response_format)?,
        stream: request.stream.unwrap_or(false),
        think: request.reasoning_effort.is_some_and(|effort| effort != "none"),
        limits: Limits {
            output_tokens: request.max_completion_tokens.or(request.max_tokens),
            stop: match request.stop {
                None => Vec::new(),
                Some(Stop::One(stop)) => vec![stop],
                Some(Stop::Several(stops)) => stops,
            },
            ..Limits::default()
        },
        truncate: false,
        keep_alive: None,
        include_usage: request.stream_options.is_some_and(|it| it.include_usage),
    })
}

fn content(content: Option<Content>) -> (String, usize) {
    match content {
        None => (String::new(), 0),
        Some(Content::Text(text)) => (text, 0),
        Some(Content::Parts(parts)) => {
            let images = parts.iter().filter(|it| it.kind == "image_url").count();
            (parts.into_iter().map(|it| it.text).collect(), images)
        }
    }
}

fn role(name: &str) -> Result<Role, String> {
    match name {
        "system" | "developer" => Ok(Role::System),
        "user" => Ok(Role::User),
        "assistant" => Ok(Role::Assistant),
        "tool" => Ok(Role::Tool),
        _ => Err(format!(
            "invalid value: {name:?}; supported are system, developer, user, assistant and tool"
        )),
    }
}

fn form(format: Option<ResponseFormat>) -> Result<Form, String> {
    let Some(format) = format else { return Ok(Form::Text) };
    match (format.kind.as_str(), format.json_schema) {
        ("text", _) => Ok(Form::Text),
        ("json_object", _) => Ok(Form::Json),
        ("json_schema", Some(named)) => Ok(Form::Schema(named.schema)),
        ("json_schema", None) => {
            Err("missing required parameter: response_format.json_schema".to_owned())
        }
        (other, _) => Err(format!("invalid response_format.type: {other:?}")),
    }
}
