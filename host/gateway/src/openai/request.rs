//! What a chat completion is asked for.

use foreshore_domain::inference::{ChatRequest, Format, Sampling, Thinking, ToolChoice, ToolSpec};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::error::OpenAiError;
use super::message::{WireMessage, messages};

/// A request that was understood.
pub(crate) struct Asked {
    /// What is asked, with the model's name in it.
    pub(crate) request: ChatRequest,
    /// Chunks are wanted.
    pub(crate) stream: bool,
    /// A last chunk with the usage is wanted.
    pub(crate) include_usage: bool,
    /// The conversation to go on in, where an agent is asked: an extension.
    pub(crate) conversation: Option<String>,
}

#[derive(Deserialize)]
struct Wire {
    model: String,
    messages: Vec<WireMessage>,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(default)]
    stream_options: Option<StreamOptions>,
    #[serde(default)]
    tools: Option<Vec<WireTool>>,
    #[serde(default)]
    tool_choice: Option<WireToolChoice>,
    #[serde(default)]
    response_format: Option<ResponseFormat>,
    #[serde(default)]
    temperature: Option<f32>,
    #[serde(default)]
    top_p: Option<f32>,
    #[serde(default)]
    seed: Option<i64>,
    #[serde(default)]
    max_tokens: Option<u32>,
    #[serde(default)]
    max_completion_tokens: Option<u32>,
    #[serde(default)]
    stop: Option<Stop>,
    #[serde(default)]
    n: Option<u32>,
    #[serde(default)]
    logprobs: Option<bool>,
    #[serde(default)]
    reasoning_effort: Option<String>,
    #[serde(default)]
    conversation: Option<String>,
}

#[derive(Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

#[derive(Deserialize)]
struct WireTool {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    function: Option<WireFunction>,
}

#[derive(Deserialize)]
struct WireFunction {
    name: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    parameters: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum WireToolChoice {
    Word(String),
    Function { function: Named },
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct ResponseFormat {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    json_schema: Option<JsonSchema>,
}

#[derive(Deserialize)]
struct JsonSchema {
    #[serde(default)]
    schema: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Stop {
    One(String),
    Several(Vec<String>),
}

/// Reads the body of a `POST /v1/chat/completions`.
pub(crate) fn chat(body: &[u8]) -> Result<Asked, OpenAiError> {
    let wire: Wire = serde_json::from_slice(body)
        .map_err(|error| OpenAiError::invalid("", format!("the body cannot be read: {error}")))?;
    if wire.n.is_some_and(|n| n != 1) {
        return Err(OpenAiError::invalid("n", "one answer is given to a request: n is 1"));
    }
    if wire.logprobs == Some(true) {
        return Err(OpenAiError::invalid("logprobs", "log probabilities are not given here"));
    }
    let sampling = Sampling {
        temperature: within("temperature", wire.temperature, 2.0)?,
        top_p: within("top_p", wire.top_p, 1.0)?,
        seed: wire.seed.map(i64::cast_unsigned),
        max_tokens: wire.max_completion_tokens.or(wire.max_tokens),
        stop: match wire.stop {
            None => Vec::new(),
            Some(Stop::One(text)) => vec![text],
            Some(Stop::Several(texts)) if texts.len() <= 4 => texts,
            Some(Stop::Several(_)) => {
                return Err(OpenAiError::invalid("stop", "at most 4 texts end an answer"));
            }
        },
    };
    let request = ChatRequest {
        model: Some(wire.model),
        messages: messages(wire.messages)?,
        tools: tools(wire.tools.unwrap_or_default())?,
        tool_choice: wire.tool_choice.map(tool_choice).transpose()?,
        format: wire.response_format.map(format).transpose()?.flatten(),
        thinking: wire.reasoning_effort.as_deref().map(thinking).transpose()?,
        sampling,
    };
    Ok(Asked {
        request,
        stream: wire.stream.unwrap_or(false),
        include_usage: wire.stream_options.is_some_and(|options| options.include_usage),
        conversation: wire.conversation,
    })
}

fn within(field: &str, value: Option<f32>, max: f32) -> Result<Option<f32>, OpenAiError> {
    match value {
        Some(value) if !(0.0..=max).contains(&value) => {
            Err(OpenAiError::invalid(field, format!("{field} is a number from 0 to {max}")))
        }
        value => Ok(value),
    }
}

fn tools(wire: Vec<WireTool>) -> Result<Vec<ToolSpec>, OpenAiError> {
    wire.into_iter()
        .enumerate()
        .map(|(index, tool)| match tool.function {
            Some(function) if tool.kind == "function" => Ok(ToolSpec {
                name: function.name,
                description: function.description,
                parameters_schema: function.parameters.map_or_else(
                    || r#"{"type":"object","properties":{}}"#.to_owned(),
                    |schema| schema.get().to_owned(),
                ),
            }),
            _ => Err(OpenAiError::invalid(
                &format!("tools[{index}]"),
                "a tool is {\"type\": \"function\", \"function\": {...}}",
            )),
        })
        .collect()
}

fn tool_choice(wire: WireToolChoice) -> Result<ToolChoice, OpenAiError> {
    match wire {
        WireToolChoice::Function { function } => Ok(ToolChoice::Named(function.name)),
        WireToolChoice::Word(word) => match word.as_str() {
            "auto" => Ok(ToolChoice::Auto),
            "none" => Ok(ToolChoice::None),
            "required" => Ok(ToolChoice::Required),
            _ => Err(OpenAiError::invalid(
                "tool_choice",
                "it is auto, none, required or {\"type\": \"function\", \"function\": {\"name\": ...}}",
            )),
        },
    }
}

fn format(wire: ResponseFormat) -> Result<Option<Format>, OpenAiError> {
    match (wire.kind.as_str(), wire.json_schema.and_then(|schema| schema.schema)) {
        ("text", _) => Ok(None),
        ("json_object", _) => Ok(Some(Format::Json)),
        ("json_schema", Some(schema)) => Ok(Some(Format::Schema(schema.get().to_owned()))),
        _ => Err(OpenAiError::invalid(
            "response_format",
            "it is text, json_object, or json_schema with json_schema.schema",
        )),
    }
}

fn thinking(effort: &str) -> Result<Thinking, OpenAiError> {
    match effort {
        "none" => Ok(Thinking::Off),
        "minimal" | "low" => Ok(Thinking::Low),
        "medium" => Ok(Thinking::Medium),
        "high" | "xhigh" => Ok(Thinking::High),
        _ => Err(OpenAiError::invalid(
            "reasoning_effort",
            "it is none, minimal, low, medium, high or xhigh",
        )),
    }
}

#[cfg(test)]
mod tests {
    use foreshore_domain::inference::Role;

    use super::*;

    #[test]
    fn everything_that_is_honoured_is_read() {
        let asked = chat(
            br#"{"model": "small", "messages": [{"role": "user", "content": "hi"}],
            "stream": true, "stream_options": {"include_usage": true}, "temperature": 0.5,
            "seed": -1, "max_tokens": 5, "max_completion_tokens": 7, "stop": "END", "n": 1,
            "tools": [{"type": "function", "function": {"name": "look"}}],
            "tool_choice": {"type": "function", "function": {"name": "look"}},
            "response_format": {"type": "json_schema", "json_schema": {"name": "x",
                "schema": {"type": "object"}}},
            "reasoning_effort": "low", "user": "somebody", "made_up": {"deep": [1]}}"#,
        )
        .expect("read");
        let request = &asked.request;
        assert!(asked.stream && asked.include_usage);
        assert_eq!(request.model.as_deref(), Some("small"));
        assert_eq!(request.messages[0].role, Role::User);
        assert_eq!(request.sampling.max_tokens, Some(7));
        assert_eq!(request.sampling.seed, Some(u64::MAX));
        assert_eq!(request.sampling.stop, ["END"]);
        assert_eq!(request.tool_choice, Some(ToolChoice::Named("look".to_owned())));
        assert_eq!(request.format, Some(Format::Schema(r#"{"type": "object"}"#.to_owned())));
        assert_eq!(request.thinking, Some(Thinking::Low));
        assert!(request.tools[0].parameters_schema.contains("object"));
    }

    #[test]
    fn a_field_that_cannot_be_honoured_is_named() {
        let with = |fields: &str| {
            let body = format!(
                r#"{{"model": "m", "messages": [{{"role": "user", "content": "x"}}], {fields}}}"#
            );
            chat(body.as_bytes()).err().and_then(|error| error.body.param)
        };
        assert_eq!(with(r#""n": 2"#).as_deref(), Some("n"));
        assert_eq!(with(r#""temperature": 3"#).as_deref(), Some("temperature"));
        assert_eq!(with(r#""logprobs": true"#).as_deref(), Some("logprobs"));
        assert_eq!(with(r#""tool_choice": "maybe""#).as_deref(), Some("tool_choice"));
        assert_eq!(with(r#""tools": [{"type": "web_search"}]"#).as_deref(), Some("tools[0]"));
        assert_eq!(
            with(r#""response_format": {"type": "json_schema"}"#).as_deref(),
            Some("response_format")
        );
        assert_eq!(with(r#""logprobs": false, "n": null"#), None);
        assert!(chat(b"{").is_err());
    }
}
