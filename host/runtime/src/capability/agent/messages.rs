//! What is said to and by models, between the contract's types and the domain's.

use foreshore_domain::inference::{
    ChatRequest, Completion, FinishReason, Format, Image, Message, Part, Role, Sampling, Step,
    Thinking, ToolCall, ToolChoice, ToolResultMessage, ToolSpec,
};

use crate::bindings::agents::inference as wit;
use crate::bindings::types;
use crate::capability::told::{Answer, invalid};

/// # Errors
/// `invalid` for a number that is none, or out of its range.
pub(super) fn request(messages: Vec<wit::Message>, config: wit::Config) -> Answer<ChatRequest> {
    Ok(ChatRequest {
        model: config.model,
        messages: messages.into_iter().map(message).collect(),
        tools: config.tools.into_iter().map(tool).collect(),
        tool_choice: config.tool_choice.map(|choice| match choice {
            wit::ToolChoice::Auto => ToolChoice::Auto,
            wit::ToolChoice::None => ToolChoice::None,
            wit::ToolChoice::Required => ToolChoice::Required,
            wit::ToolChoice::Named(name) => ToolChoice::Named(name),
        }),
        format: config.format.map(Format::Schema),
        thinking: config.thinking.map(|thinking| match thinking {
            wit::Thinking::Off => Thinking::Off,
            wit::Thinking::Low => Thinking::Low,
            wit::Thinking::Medium => Thinking::Medium,
            wit::Thinking::High => Thinking::High,
        }),
        sampling: Sampling {
            temperature: within("/config/temperature", config.temperature, 2.0)?,
            top_p: within("/config/top-p", config.top_p, 1.0)?,
            seed: config.seed,
            max_tokens: config.max_tokens,
            stop: config.stop_sequences,
        },
    })
}

/// Not a number is in no range.
fn within(pointer: &str, value: Option<f32>, max: f32) -> Answer<Option<f32>> {
    match value {
        Some(number) if !(0.0..=max).contains(&number) => {
            Err(invalid(pointer, format!("it is 0.0 to {max:.1}")))
        }
        value => Ok(value),
    }
}

fn tool(tool: wit::ToolDefinition) -> ToolSpec {
    let wit::ToolDefinition { name, description, parameters_schema } = tool;
    ToolSpec { name, description, parameters_schema }
}

fn message(message: wit::Message) -> Message {
    let calls = message.tool_calls.into_iter();
    Message {
        role: match message.role {
            wit::Role::System => Role::System,
            wit::Role::User => Role::User,
            wit::Role::Assistant => Role::Assistant,
            wit::Role::Tool => Role::Tool,
        },
        content: message.content.into_iter().map(part).collect(),
        thinking: message.thinking,
        tool_calls: calls
            .map(|wit::ToolCall { id, name, arguments_json }| ToolCall { id, name, arguments_json })
            .collect(),
        tool_result: message.tool_result.map(|result| {
            let wit::ToolResult { id, name, content, is_error } = result;
            ToolResultMessage { id, name, content, is_error }
        }),
    }
}

fn part(part: wit::ContentPart) -> Part {
    match part {
        wit::ContentPart::Text(text) => Part::Text(text),
        wit::ContentPart::Image(types::Media { data, mime_type }) => {
            Part::Image(Image { data: data.into(), mime_type })
        }
    }
}

pub(super) fn message_to_guest(message: Message) -> wit::Message {
    let calls = message.tool_calls.into_iter();
    wit::Message {
        role: match message.role {
            Role::System => wit::Role::System,
            Role::User => wit::Role::User,
            Role::Assistant => wit::Role::Assistant,
            Role::Tool => wit::Role::Tool,
        },
        content: message.content.into_iter().map(part_to_guest).collect(),
        thinking: message.thinking,
        tool_calls: calls
            .map(|ToolCall { id, name, arguments_json }| wit::ToolCall { id, name, arguments_json })
            .collect(),
        tool_result: message.tool_result.map(|result| {
            let ToolResultMessage { id, name, content, is_error } = result;
            wit::ToolResult { id, name, content, is_error }
        }),
    }
}

fn part_to_guest(part: Part) -> wit::ContentPart {
    match part {
        Part::Text(text) => wit::ContentPart::Text(text),
        Part::Image(Image { data, mime_type }) => {
            wit::ContentPart::Image(types::Media { data: data.into(), mime_type })
        }
    }
}

pub(super) fn completion_to_guest(completion: Completion) -> wit::Completion {
    let most = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    wit::Completion {
        message: message_to_guest(completion.message),
        finish_reason: match completion.finish {
            FinishReason::Stop => wit::FinishReason::Stop,
            FinishReason::Length => wit::FinishReason::Length,
            FinishReason::ToolCalls => wit::FinishReason::ToolCalls,
            FinishReason::ContentFilter => wit::FinishReason::ContentFilter,
        },
        usage: wit::Usage {
            input_tokens: most(completion.usage.input_tokens),
            output_tokens: most(completion.usage.output_tokens),
            duration_ms: most(completion.usage.duration_ms),
        },
        model: completion.served_by.model,
        source: match completion.served_by.step {
            Step::Primary => wit::Source::Primary,
            Step::Fallback => wit::Source::Fallback,
            Step::Cache => wit::Source::Cache,
            Step::Local => wit::Source::Local,
        },
    }
}

/// What a request weighs as the guest hands it over.
pub(super) fn request_bytes(messages: &[wit::Message], config: &wit::Config) -> usize {
    let messages: usize = messages.iter().map(wit_message_bytes).sum();
    let tools = config.tools.iter().map(|tool| {
        tool.name.len() + optional(tool.description.as_ref()) + tool.parameters_schema.len()
    });
    let stops: usize = config.stop_sequences.iter().map(String::len).sum();
    let named = match &config.tool_choice {
        Some(wit::ToolChoice::Named(name)) => name.len(),
        _ => 0,
    };
    let (model, format) = (optional(config.model.as_ref()), optional(config.format.as_ref()));
    messages + tools.sum::<usize>() + stops + named + model + format
}

fn wit_message_bytes(message: &wit::Message) -> usize {
    let parts = message.content.iter().map(|part| match part {
        wit::ContentPart::Text(text) => text.len(),
        wit::ContentPart::Image(image) => image.data.len() + image.mime_type.len(),
    });
    let calls = message.tool_calls.iter();
    let calls = calls.map(|call| call.id.len() + call.name.len() + call.arguments_json.len());
    let result = message.tool_result.as_ref();
    let result = result.map_or(0, |r| r.id.len() + r.name.len() + r.content.len());
    let said = parts.sum::<usize>() + calls.sum::<usize>();
    MESSAGE_BYTES + said + result + optional(message.thinking.as_ref())
}

/// What a message takes without any content: empty ones are not free.
const MESSAGE_BYTES: usize = 64;

/// What a message weighs for the guest that is given it.
pub(super) fn message_bytes(message: &Message) -> usize {
    let parts = message.content.iter().map(|part| match part {
        Part::Text(text) => text.len(),
        Part::Image(image) => image.data.len() + image.mime_type.len(),
    });
    let calls = message.tool_calls.iter();
    let calls = calls.map(|call| call.id.len() + call.name.len() + call.arguments_json.len());
    let result = message.tool_result.as_ref();
    let result = result.map_or(0, |r| r.id.len() + r.name.len() + r.content.len());
    let said = parts.sum::<usize>() + calls.sum::<usize>();
    MESSAGE_BYTES + said + result + optional(message.thinking.as_ref())
}

fn optional(text: Option<&String>) -> usize {
    text.map_or(0, String::len)
}
