//! What is asked for.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use foreshore_domain::inference::{
    ChatRequest, EmbedRequest, Format, Image, Message, Part, Role, Sampling, Thinking, ToolCall,
    ToolResultMessage, ToolSpec,
};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Unusable;

/// In which shape the answer comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `/api/chat`: a message.
    Chat,
    /// `/api/generate`: a response.
    Generate,
}

/// A request that was understood.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) kind: Kind,
    pub(crate) request: ChatRequest,
    /// Lines are wanted; one object otherwise.
    pub(crate) stream: bool,
}

impl Asked {
    /// Nothing is asked: the model is to be loaded, or unloaded.
    pub(crate) fn is_load(&self) -> bool {
        self.request.messages.is_empty()
    }
}

#[derive(Deserialize)]
struct WireChat {
    model: String,
    #[serde(default)]
    messages: Vec<WireMessage>,
    #[serde(default)]
    tools: Vec<WireTool>,
    #[serde(flatten)]
    common: Common,
}

#[derive(Deserialize)]
struct WireGenerate {
    model: String,
    #[serde(default)]
    prompt: String,
    #[serde(default)]
    suffix: String,
    #[serde(default)]
    system: String,
    #[serde(default)]
    template: String,
    #[serde(default)]
    raw: bool,
    #[serde(default)]
    images: Vec<String>,
    #[serde(flatten)]
    common: Common,
}

#[derive(Deserialize)]
struct Common {
    #[serde(default)]
    stream: Option<bool>,
    #[serde(default)]
    format: Option<serde_json::Value>,
    #[serde(default)]
    think: Option<Think>,
    #[serde(default)]
    options: Options,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Think {
    Switch(bool),
    Level(String),
}

#[derive(Default, Deserialize)]
struct Options {
    #[serde(default)]
    temperature: Option<f32>,
    #[serde(default)]
    top_p: Option<f32>,
    #[serde(default)]
    seed: Option<i64>,
    #[serde(default)]
    num_predict: Option<i64>,
    #[serde(default)]
    stop: Vec<String>,
}

#[derive(Deserialize)]
struct WireMessage {
    role: String,
    #[serde(default)]
    content: String,
    #[serde(default)]
    thinking: Option<String>,
    #[serde(default)]
    images: Vec<String>,
    #[serde(default)]
    tool_calls: Vec<WireCall>,
    #[serde(default)]
    tool_name: Option<String>,
    #[serde(default)]
    tool_call_id: Option<String>,
}

#[derive(Deserialize)]
struct WireCall {
    #[serde(default)]
    id: Option<String>,
    function: WireCalled,
}

#[derive(Deserialize)]
struct WireCalled {
    name: String,
    #[serde(default)]
    arguments: serde_json::Map<String, serde_json::Value>,
}

#[derive(Deserialize)]
struct WireTool {
    function: WireFunction,
}

#[derive(Deserialize)]
struct WireFunction {
    name: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    parameters: Option<Box<RawValue>>,
}

/// Reads the body of a `POST /api/chat`.
pub(crate) fn chat(body: &[u8]) -> Result<Asked, Unusable> {
    // Not through `flatten`, which would lose the schemas' own text.
    let wire: WireChat = parsed(body)?;
    let mut request = common(wire.model, wire.common)?;
    request.1.messages = messages(wire.messages)?;
    request.1.tools = wire
        .tools
        .into_iter()
        .map(|tool| ToolSpec {
            name: tool.function.name,
            description: tool.function.description,
            parameters_schema: tool.function.parameters.map_or_else(
                || r#"{"type":"object"}"#.to_owned(),
                |schema| schema.get().to_owned(),
            ),
        })
        .collect();
    Ok(Asked { kind: Kind::Chat, stream: request.0, request: request.1 })
}

/// Reads the body of a `POST /api/generate`.
pub(crate) fn generate(body: &[u8]) -> Result<Asked, Unusable> {
    let wire: WireGenerate = parsed(body)?;
    if !wire.suffix.is_empty() || !wire.template.is_empty() || wire.raw {
        let text = "suffix, template and raw are not taken here: send prompt and system";
        return Err(Unusable(text.to_owned()));
    }
    let (stream, mut request) = common(wire.model, wire.common)?;
    if !wire.prompt.is_empty() || !wire.images.is_empty() {
        if !wire.system.is_empty() {
            request.messages.push(Message::text(Role::System, wire.system));
        }
        let mut message = Message::text(Role::User, wire.prompt);
        message.content.extend(images(wire.images)?);
        request.messages.push(message);
    }
    Ok(Asked { kind: Kind::Generate, stream, request })
}

/// What is asked of a model that gives vectors.
pub(crate) struct EmbedAsked {
    pub(crate) request: EmbedRequest,
    /// `/api/embeddings`, the older form: one vector.
    pub(crate) single: bool,
}

/// Reads the body of a `POST /api/embed`, or of the older `/api/embeddings`.
pub(crate) fn embed(body: &[u8]) -> Result<EmbedAsked, Unusable> {
    #[derive(Deserialize)]
    struct Wire {
        model: String,
        #[serde(default)]
        input: Option<Input>,
        #[serde(default)]
        prompt: Option<String>,
        #[serde(default)]
        dimensions: Option<u32>,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Input {
        One(String),
        Several(Vec<String>),
    }
    let wire: Wire = parsed(body)?;
    let (texts, single) = match (wire.input, wire.prompt) {
        (Some(Input::One(text)), _) => (vec![text], false),
        (Some(Input::Several(texts)), _) => (texts, false),
        (None, Some(prompt)) => (vec![prompt], true),
        (None, None) => return Err(Unusable("input is missing: a text or a list of texts".into())),
    };
    let request = EmbedRequest { model: Some(wire.model), texts, dimensions: wire.dimensions };
    Ok(EmbedAsked { request, single })
}

/// Reads the model's name from a body that names one: `POST /api/show`.
pub(crate) fn name(body: &[u8]) -> Result<String, Unusable> {
    #[derive(Deserialize)]
    struct Wire {
        #[serde(alias = "name")]
        model: String,
    }
    parsed::<Wire>(body).map(|wire| wire.model)
}

fn parsed<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Unusable> {
    serde_json::from_slice(body).map_err(|error| Unusable(error.to_string()))
}

/// What chat and generate share: whether lines are wanted, and the request without messages.
fn common(model: String, wire: Common) -> Result<(bool, ChatRequest), Unusable> {
    let mut request = ChatRequest::new(Some(model), Vec::new());
    request.format = match wire.format {
        None | Some(serde_json::Value::Null) => None,
        Some(serde_json::Value::String(word)) if word.is_empty() => None,
        Some(serde_json::Value::String(word)) if word == "json" => Some(Format::Json),
        Some(schema @ serde_json::Value::Object(_)) => Some(Format::Schema(schema.to_string())),
        Some(_) => return Err(Unusable("format is \"json\" or a JSON Schema".to_owned())),
    };
    request.thinking = match wire.think {
        None => None,
        Some(Think::Switch(false)) => Some(Thinking::Off),
        Some(Think::Switch(true)) => Some(Thinking::Medium),
        Some(Think::Level(level)) => Some(match level.as_str() {
            "low" => Thinking::Low,
            "medium" => Thinking::Medium,
            "high" | "max" => Thinking::High,
            _ => return Err(Unusable("think is a boolean, low, medium or high".to_owned())),
        }),
    };
    let Options { temperature, top_p, seed, num_predict, stop } = wire.options;
    request.sampling = Sampling {
        temperature,
        top_p,
        seed: seed.map(i64::cast_unsigned),
        // -1 and -2 mean "no end" there; the budget of tokens bounds it here.
        max_tokens: num_predict.and_then(|tokens| u32::try_from(tokens).ok()),
        stop,
    };
    Ok((wire.stream.unwrap_or(true), request))
}

fn messages(wire: Vec<WireMessage>) -> Result<Vec<Message>, Unusable> {
    let mut messages = Vec::with_capacity(wire.len());
    // Calls that no message has answered yet, oldest first: here ids are optional.
    let mut open: Vec<ToolCall> = Vec::new();
    for (index, wire) in wire.into_iter().enumerate() {
        let role = match wire.role.as_str() {
            "system" | "developer" => Role::System,
            "user" => Role::User,
            "assistant" => Role::Assistant,
            "tool" => Role::Tool,
            _ => {
                let text = format!("message {index}: role is system, user, assistant or tool");
                return Err(Unusable(text));
            }
        };
        let mut message = Message::text(role, wire.content);
        message.thinking = wire.thinking;
        message.content.extend(images(wire.images)?);
        message.tool_calls = wire
            .tool_calls
            .into_iter()
            .enumerate()
            .map(|(n, call)| ToolCall {
                id: call.id.unwrap_or_else(|| format!("call_{index}_{n}")),
                name: call.function.name,
                arguments_json: serde_json::Value::Object(call.function.arguments).to_string(),
            })
            .collect();
        open.extend(message.tool_calls.iter().cloned());
        if role == Role::Tool {
            let wanted = |call: &ToolCall| match (&wire.tool_call_id, &wire.tool_name) {
                (Some(id), _) => call.id == *id,
                (None, Some(name)) => call.name == *name,
                (None, None) => true,
            };
            let Some(place) = open.iter().position(wanted) else {
                let text = format!("message {index}: it answers no call of a tool before it");
                return Err(Unusable(text));
            };
            let ToolCall { id, name, .. } = open.remove(place);
            let content = message.plain_text();
            message.content.clear();
            message.tool_result = Some(ToolResultMessage { id, name, content, is_error: false });
        }
        messages.push(message);
    }
    Ok(messages)
}

fn images(wire: Vec<String>) -> Result<Vec<Part>, Unusable> {
    wire.into_iter()
        .map(|text| {
            let data = STANDARD
                .decode(text)
                .map_err(|_| Unusable("a picture is not valid base64".to_owned()))?;
            let mime_type = media_type(&data).to_owned();
            Ok(Part::Image(Image { data: data.into(), mime_type }))
        })
        .collect()
}

/// Ollama sends no media type; the first bytes tell (WHATWG MIME Sniffing, section 6.1).
fn media_type(data: &[u8]) -> &'static str {
    match data {
        [0x89, b'P', b'N', b'G', ..] => "image/png",
        [0xff, 0xd8, 0xff, ..] => "image/jpeg",
        [b'G', b'I', b'F', b'8', ..] => "image/gif",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => "image/webp",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chat_is_read_and_streams_unless_it_says_no() {
        let asked = chat(
            br#"{"model": "m", "messages": [
                {"role": "system", "content": "s"},
                {"role": "user", "content": "u", "images": ["iVBORw0KGgo="]},
                {"role": "assistant", "content": "", "tool_calls": [
                    {"function": {"name": "look", "arguments": {"a": 1}}},
                    {"function": {"name": "hear", "arguments": {}}}]},
                {"role": "tool", "tool_name": "hear", "content": "noise"},
                {"role": "tool", "content": "a cat"}],
            "tools": [{"type": "function", "function": {"name": "look",
                "parameters": {"type": "object"}}}],
            "options": {"temperature": 0, "num_predict": 9, "num_ctx": 99999, "stop": ["x"]},
            "think": "low", "format": {"type": "object"}, "keep_alive": "5m"}"#,
        )
        .expect("read");
        let request = &asked.request;
        assert!(asked.stream && !asked.is_load());
        assert!(
            matches!(&request.messages[1].content[1], Part::Image(image) if image.mime_type == "image/png")
        );
        let result = |n: usize| request.messages[n].tool_result.clone().expect("a result");
        assert_eq!((result(3).name.as_str(), result(4).name.as_str()), ("hear", "look"));
        assert_eq!(result(4).id, request.messages[2].tool_calls[0].id);
        assert_eq!(request.messages[2].tool_calls[0].arguments_json, r#"{"a":1}"#);
        assert_eq!(request.sampling.max_tokens, Some(9));
        assert_eq!(request.thinking, Some(Thinking::Low));
        assert_eq!(request.format, Some(Format::Schema(r#"{"type":"object"}"#.to_owned())));
    }

    #[test]
    fn a_generate_becomes_a_chat_and_an_empty_one_loads() {
        let asked = generate(br#"{"model": "m", "prompt": "p", "system": "s", "stream": false}"#)
            .expect("read");
        assert_eq!(asked.request.messages.len(), 2);
        assert!(!asked.stream);
        assert!(generate(br#"{"model": "m"}"#).expect("read").is_load());
        assert!(chat(br#"{"model": "m"}"#).expect("read").is_load());
        assert!(generate(br#"{"model": "m", "prompt": "p", "raw": true}"#).is_err());
    }

    #[test]
    fn what_cannot_be_honoured_is_said() {
        for bad in [
            r#"{"messages": []}"#,
            r#"{"model": "m", "messages": [{"role": "robot"}]}"#,
            r#"{"model": "m", "messages": [{"role": "tool", "content": "x"}]}"#,
            r#"{"model": "m", "format": 7}"#,
            r#"{"model": "m", "think": "wildly"}"#,
            r#"{"model": "m", "messages": [{"role": "user", "images": ["%"]}]}"#,
        ] {
            assert!(chat(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn both_forms_of_embedding_are_read() {
        let new = embed(br#"{"model": "e", "input": ["a", "b"]}"#).expect("read");
        assert!(!new.single && new.request.texts.len() == 2);
        assert!(embed(br#"{"model": "e", "prompt": "a"}"#).expect("read").single);
        assert!(embed(br#"{"model": "e"}"#).is_err());
        assert_eq!(name(br#"{"name": "m"}"#), Ok("m".to_owned()));
    }
}
