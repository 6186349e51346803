//! Sizes of texts, and parts of them.

use foreshore_sdk::agent::Message;
use foreshore_sdk::agent::inference::ToolDefinition;

/// An estimate of the tokens of a text: a quarter of its bytes, rounded up.
pub(crate) fn tokens(text: &str) -> usize {
    text.len().div_ceil(4)
}

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

/// The text from its start, at most so many bytes; whole characters, and whole lines where that
/// leaves at least half.
pub(crate) fn head(text: &str, max_bytes: usize) -> &str {
    if text.len() <= max_bytes {
        return text;
    }
    let cut = &text[..text.floor_char_boundary(max_bytes)];
    match cut.rfind('\n') {
        Some(line_end) if line_end >= max_bytes / 2 => &cut[..line_end],
        _ => cut,
    }
}

/// [`head`], with a mark where something was cut.
pub(crate) fn cut(text: &str, max_bytes: usize) -> String {
    let head = head(text, max_bytes);
    if head.len() == text.len() { text.to_owned() } else { format!("{head}…") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_with_a_character_and_mostly_with_a_line() {
        assert_eq!(head("short", 10), "short");
        assert_eq!(head("one\ntwo three", 5), "one");
        assert_eq!(head("a\nlong line", 8), "a\nlong l");
        assert_eq!(head("ääää", 3), "ä");
        assert_eq!(head("ä", 1), "");
        assert_eq!(cut("ääää", 4), "ää…");
    }

    #[test]
    fn four_bytes_are_a_token() {
        assert_eq!((tokens(""), tokens("a"), tokens("abcd"), tokens("abcde")), (0, 1, 1, 2));
        assert_eq!(message_tokens(&Message::user("abcd")), 5);
    }
}
