//! `/api/chat` and `/api/generate`: from the wire to a prompt.
//!
//! Source of the shapes: `api/types.go` of Ollama. Unknown fields are ignored, as there.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Form, Limits, Prompt, Role, Said};

/// Options that start a runner anew when they change.
const RUNNER: [&str; 8] = [
    "num_ctx",
    "num_batch",
    "num_gpu",
    "main_gpu",
    "num_thread",
    "use_mmap",
    "use_mlock",
    "low_vram",
];

#[derive(Deserialize)]
struct Common {
    #[serde(default)]
    model: String,
    stream: Option<bool>,
    format: Option<Value>,
    keep_alive: Option<Value>,
    #[serde(default)]
    options: Option<Map<String, Value>>,
    think: Option<Value>,
    truncate: Option<bool>,
}

#[derive(Deserialize)]
struct Chat {
    #[serde(default)]
    messages: Option<Vec<Message>>,
    #[serde(default)]
    tools: Option<Vec<Tool>>,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    images: Option<Vec<String>>,
    #[serde(default)]
    tool_name: Option<String>,
    #[serde(default)]
    tool_call_id: Option<String>,
    #[serde(default)]
    tool_calls: Option<Vec<Call>>,
}

#[derive(Deserialize)]
struct Call {
    #[serde(default)]
    id: String,
    function: CalledFunction,
}

#[derive(Deserialize)]
struct CalledFunction {
    name: String,
    #[serde(default, rename = "arguments")]
    _arguments: Map<String, Value>,
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
struct Generate {
    #[serde(default)]
    prompt: Option<String>,
    #[serde(default)]
    system: Option<String>,
    #[serde(default)]
    images: Option<Vec<String>>,
}

/// A prompt of `/api/chat`.
///
/// # Errors
/// What is wrong with the request.
pub(crate) fn chat(body: &Value) -> Result<Prompt, String> {
    let mut prompt = common(body)?;
    let chat = Chat::deserialize(body).map_err(|error| error.to_string())?;
    let mut calls: Vec<(String, String)> = Vec::new();
    for message in chat.messages.unwrap_or_default() {
        let by_id = message.tool_call_id.and_then(|id| {
            calls.iter().rev().find(|(known, _)| *known == id).map(|(_, name)| name.clone())
        });
        for call in message.tool_calls.unwrap_or_default() {
            calls.push((call.id, call.function.name));
        }
        prompt.messages.push(Said {
            role: role(&message.role)?,
            text: message.content.unwrap_or_default(),
            images: message.images.map_or(0, |it| it.len()),
            tool: message.tool_name.filter(|it| !it.is_empty()).or(by_id).unwrap_or_default(),
        });
    }
    prompt.tools = chat.tools.unwrap_or_default().into_iter().map(|it| it.function.name).collect();
    Ok(prompt)
}

/// A prompt of `/api/generate`. It has no message when there is nothing to say: then the model
/// is loaded, no more.
///
/// # Errors
/// What is wrong with the request.
pub(crate) fn generate(body: &Value) -> Result<Prompt, String> {
    let mut prompt = common(body)?;
    let generate = Generate::deserialize(body).map_err(|error| error.to_string())?;
    let text = generate.prompt.unwrap_or_default();
    if text.is_empty() {
        return Ok(prompt);
    }
    if let Some(system) = generate.system.filter(|it| !it.is_empty()) {
        prompt.messages.push(Said { role: Role::System, text: system, ..Said::default() });
    }
    let images = generate.images.map_or(0, |it| it.len());
    prompt.messages.push(Said { role: Role::User, text, images, ..Said::default() });
    Ok(prompt)
}

fn common(body: &Value) -> Result<Prompt, String> {
    let common = Common::deserialize(body).map_err(|error| error.to_string())?;
    if common.model.is_empty() {
        return Err("model is required".to_owned());
    }
    Ok(Prompt {
        model: common.model,
        format: form(common.format)?,
        stream: common.stream.unwrap_or(true),
        think: match common.think {
            None | Some(Value::Bool(false) | Value::Null) => false,
            Some(Value::Bool(true)) => true,
            Some(Value::String(level)) => think_level(&level)?,
            Some(other) => return Err(format!("invalid think value: {other}")),
        },
        limits: limits(&common.options.unwrap_or_default())?,
        truncate: common.truncate.unwrap_or(true),
        keep_alive: common.keep_alive.filter(|it| !it.is_null()),
        ..Prompt::default()
    })
}

fn think_level(level: &str) -> Result<bool, String> {
    match level {
        "low" | "medium" | "high" | "max" => Ok(true),
        _ => Err(format!(
            "invalid think value: {level:?} (must be \"high\", \"medium\", \"low\", true, or false)"
        )),
    }
}

fn role(name: &str) -> Result<Role, String> {
    match name {
        "system" | "developer" => Ok(Role::System),
        "user" => Ok(Role::User),
        "assistant" => Ok(Role::Assistant),
        "tool" => Ok(Role::Tool),
        _ => Err(format!("invalid role {name:?}: it is one of system, user, assistant and tool")),
    }
}

fn form(format: Option<Value>) -> Result<Form, String> {
    match format {
        None | Some(Value::Null) => Ok(Form::Text),
        Some(Value::String(text)) if text.is_empty() => Ok(Form::Text),
        Some(Value::String(text)) if text == "json" => Ok(Form::Json),
        Some(schema @ Value::Object(_)) => Ok(Form::Schema(schema)),
        Some(other) => Err(format!("invalid format: {other}; expected \"json\" or a JSON schema")),
    }
}

fn limits(options: &Map<String, Value>) -> Result<Limits, String> {
    let whole = |name: &str| match options.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value
            .as_i64()
            .map(Some)
            .ok_or_else(|| format!("option {name:?} must be of type integer")),
    };
    let stop = match options.get("stop") {
        None | Some(Value::Null) => Vec::new(),
        Some(stop) => Vec::<String>::deserialize(stop)
            .map_err(|_| "option \"stop\" must be of an array of strings".to_owned())?,
    };
    // A negative number of tokens is "as many as you like".
    let output_tokens = whole("num_predict")?.and_then(|count| u64::try_from(count).ok());
    let context_length = whole("num_ctx")?.and_then(|count| u64::try_from(count).ok());
    let runner = options.iter().filter(|(name, _)| RUNNER.contains(&name.as_str()));
    Ok(Limits {
        output_tokens: output_tokens.filter(|count| *count > 0),
        stop,
        context_length: context_length.filter(|length| *length > 0),
        runner: runner.map(|(name, value)| (name.clone(), value.clone())).collect(),
    })
}
