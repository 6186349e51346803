//! Messages of a request.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use foreshore_domain::inference::{Image, Message, Part, Role, ToolCall, ToolResultMessage};
use serde::Deserialize;

use super::error::OpenAiError;

/// A message as a client writes it.
#[derive(Deserialize)]
pub(super) struct WireMessage {
    role: String,
    #[serde(default)]
    content: Option<WireContent>,
    #[serde(default)]
    tool_calls: Option<Vec<WireToolCall>>,
    #[serde(default)]
    tool_call_id: Option<String>,
    /// What some servers call thinking, given back by clients that keep it.
    #[serde(default)]
    reasoning_content: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum WireContent {
    Text(String),
    Parts(Vec<WirePart>),
}

#[derive(Deserialize)]
struct WirePart {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    refusal: Option<String>,
    #[serde(default)]
    image_url: Option<ImageUrl>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ImageUrl {
    Object { url: String },
    Plain(String),
}

#[derive(Deserialize)]
struct WireToolCall {
    id: String,
    function: WireFunction,
}

#[derive(Deserialize)]
struct WireFunction {
    name: String,
    #[serde(default)]
    arguments: String,
}

/// All messages, in the domain's words.
pub(super) fn messages(wire: Vec<WireMessage>) -> Result<Vec<Message>, OpenAiError> {
    if wire.is_empty() {
        return Err(OpenAiError::invalid("messages", "there must be at least one message"));
    }
    let mut messages: Vec<Message> = Vec::with_capacity(wire.len());
    for (index, message) in wire.into_iter().enumerate() {
        let message = one(index, message, &messages)?;
        messages.push(message);
    }
    Ok(messages)
}

fn one(index: usize, wire: WireMessage, before: &[Message]) -> Result<Message, OpenAiError> {
    let at = |field: &str| format!("messages[{index}].{field}");
    let role = match wire.role.as_str() {
        "system" | "developer" => Role::System,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "tool" => Role::Tool,
        other => {
            let message = format!(
                "\"{}\" is no role: system, developer, user, assistant or tool",
                other.chars().take(64).collect::<String>()
            );
            return Err(OpenAiError::invalid(&at("role"), message));
        }
    };
    let content = parts(&at("content"), wire.content)?;
    let tool_calls: Vec<ToolCall> = wire
        .tool_calls
        .unwrap_or_default()
        .into_iter()
        .map(|call| ToolCall {
            id: call.id,
            name: call.function.name,
            arguments_json: call.function.arguments,
        })
        .collect();
    let mut message =
        Message { role, content, thinking: wire.reasoning_content, tool_calls, tool_result: None };
    if role == Role::Tool {
        let id = wire.tool_call_id.ok_or_else(|| {
            OpenAiError::invalid(&at("tool_call_id"), "a tool's message names the call it answers")
        })?;
        let asked = before.iter().rev().flat_map(|earlier| &earlier.tool_calls);
        let name = asked.into_iter().find(|call| call.id == id).map(|call| call.name.clone());
        let name = name.ok_or_else(|| {
            let text = "no message before asks for a tool under this id";
            OpenAiError::invalid(&at("tool_call_id"), text)
        })?;
        let content = message.plain_text();
        message.content.clear();
        message.tool_result = Some(ToolResultMessage { id, name, content, is_error: false });
    }
    Ok(message)
}

fn parts(at: &str, content: Option<WireContent>) -> Result<Vec<Part>, OpenAiError> {
    match content {
        None => Ok(Vec::new()),
        Some(WireContent::Text(text)) => Ok(vec![Part::Text(text)]),
        Some(WireContent::Parts(parts)) => parts
            .into_iter()
            .enumerate()
            .map(|(n, part)| one_part(&format!("{at}[{n}]"), part))
            .collect(),
    }
}

fn one_part(at: &str, part: WirePart) -> Result<Part, OpenAiError> {
    match (part.kind.as_str(), part.text, part.refusal, part.image_url) {
        ("text" | "input_text" | "output_text", Some(text), _, _) => Ok(Part::Text(text)),
        ("refusal", _, Some(refusal), _) => Ok(Part::Text(refusal)),
        (
            "image_url" | "input_image",
            _,
            _,
            Some(ImageUrl::Object { url } | ImageUrl::Plain(url)),
        ) => image(&url).map(Part::Image).map_err(|message| OpenAiError::invalid(at, message)),
        (kind, ..) => {
            let kind: String = kind.chars().take(64).collect();
            let message =
                format!("a part of type \"{kind}\" is not taken here: send text or image_url");
            Err(OpenAiError::invalid(at, message))
        }
    }
}

/// A picture in a `data:` URL (RFC 2397). Others would have to be fetched from where the client
/// says, which this host does for nobody.
fn image(url: &str) -> Result<Image, &'static str> {
    const WANTED: &str =
        "pictures are taken as data URLs alone: data:image/png;base64,...; nothing is fetched";
    let (head, data) =
        url.strip_prefix("data:").and_then(|rest| rest.split_once(',')).ok_or(WANTED)?;
    let mime_type = head.strip_suffix(";base64").ok_or(WANTED)?;
    if !mime_type.starts_with("image/") || mime_type.len() > 64 {
        return Err("a picture's media type starts with image/");
    }
    let data = STANDARD.decode(data).map_err(|_| "the picture is not valid base64")?;
    Ok(Image { data: data.into(), mime_type: mime_type.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Message>, OpenAiError> {
        messages(serde_json::from_str(text).expect("messages"))
    }

    #[test]
    fn text_parts_pictures_and_tools_are_read() {
        let read = read(
            r#"[
            {"role": "developer", "content": "be brief"},
            {"role": "user", "content": [{"type": "text", "text": "what is "},
                {"type": "text", "text": "this?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AP8="}}]},
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "c1", "content": "a cat"}]"#,
        )
        .expect("read");
        assert_eq!(read[0], Message::text(Role::System, "be brief"));
        assert_eq!(read[1].plain_text(), "what is this?");
        assert!(matches!(&read[1].content[2], Part::Image(image) if *image.data == [0, 255]));
        let result = read[3].tool_result.as_ref().expect("a result");
        assert_eq!((result.name.as_str(), result.content.as_str()), ("look", "a cat"));
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_its_place() {
        for (text, at) in [
            ("[]", "messages"),
            (r#"[{"role": "robot", "content": "x"}]"#, "messages[0].role"),
            (r#"[{"role": "tool", "content": "x"}]"#, "messages[0].tool_call_id"),
            (
                r#"[{"role": "tool", "tool_call_id": "c9", "content": "x"}]"#,
                "messages[0].tool_call_id",
            ),
            (
                r#"[{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]"#,
                "messages[0].content[0]",
            ),
            (
                r#"[{"role": "user", "content": [{"type": "image_url",
                    "image_url": {"url": "http://10.0.0.1/x.png"}}]}]"#,
                "messages[0].content[0]",
            ),
        ] {
            let error = read(text).expect_err(text);
            assert_eq!(error.body.param.as_deref(), Some(at), "{text}");
        }
    }
}
