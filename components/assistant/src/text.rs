//! Sizes of what a prompt is made of.

use foreshore_sdk::agent::Message;
use foreshore_sdk::agent::inference::ToolDefinition;
pub(crate) use foreshore_sdk::agent::text::{cut, head, tokens};

/// What a message costs beside its texts.
const PER_MESSAGE: usize = 4;

/// An estimate of the tokens of a message. A picture is taken for a thousand.
pub(crate) fn message_tokens(message: &Message) -> usize {
    use foreshore_sdk::agent::inference::ContentPart;

    let calls = message.tool_calls.iter();
    let calls: usize =
        calls.map(|call| tokens(&call.name) + tokens(&call.arguments_json) + PER_MESSAGE).sum();
    let pictures = message.content.iter().filter(|part| matches!(part, ContentPart::Image(_)));
    PER_MESSAGE
        + tokens(&message.text())
        + message.thinking.as_deref().map_or(0, tokens)
        + calls
        + pictures.count() * 1_000
}

/// An estimate of the tokens of a tool, as a model is told of it.
pub(crate) fn tool_tokens(tool: &ToolDefinition) -> usize {
    PER_MESSAGE
        + tokens(&tool.name)
        + tool.description.as_deref().map_or(0, tokens)
        + tokens(&tool.parameters_schema)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_costs_more_than_its_text() {
        assert_eq!(message_tokens(&Message::user("abcd")), 5);
    }
}
