//! What happens in a turn, a line for each event, as the chat and the trace of a conversation
//! show it. Arguments and results are cut short; all text is made safe for a terminal.

use serde_json::Value;

use super::output::{Paint, duration_us, grouped, printable};
use crate::client::ServerEvent;

/// Of arguments and results in a line.
const SHORT_CHARS: usize = 100;
/// Of what a model thought before one answer.
const THOUGHT_CHARS: usize = 1_000;

/// What somebody in a chat wants to know of an event; `None` for all that is shown otherwise or
/// not at all.
pub(super) fn line(event: &ServerEvent, paint: &Paint) -> Option<String> {
    let data = &event.data;
    match event.name.as_str() {
        "tool.result" => Some(tool(data, paint)),
        "turn.phase" => {
            let message = data["message"].as_str().map(|text| format!(": {}", one_line(text)));
            let name = paint.cyan(&text(&data["name"]));
            Some(format!("- {name}{}", message.unwrap_or_default()))
        }
        "turn.delegated" => Some(format!("> delegated to {}", text(&data["to"]))),
        "turn.resumed" => Some(format!(
            "- resumed with {} effects on record",
            grouped(data["effects"].as_u64().unwrap_or(0))
        )),
        "approval.decided" => Some(format!("- {} {}", text(&data["id"]), text(&data["state"]))),
        "stream.lagged" => {
            let missed = grouped(data["missed"].as_u64().unwrap_or(0));
            Some(paint.yellow(&format!("- {missed} pieces came too fast to be shown")))
        }
        _ => None,
    }
}

/// As [`line`], with what only a trace shows.
pub(super) fn traced(event: &ServerEvent, paint: &Paint) -> Option<String> {
    let data = &event.data;
    match event.name.as_str() {
        "turn.started" => Some(format!("- started {}", text(&data["component"]))),
        "model.answered" => {
            let answered = format!(
                "* {} · {} · finish {}",
                paint.cyan(&served_by(&data["served_by"])),
                fields(&data["usage"]),
                text(&data["finish"]),
            );
            let thought = data["thinking"].as_str().filter(|thought| !thought.trim().is_empty());
            Some(match thought {
                None => answered,
                Some(thought) => {
                    let thought = paint.dim(&short(thought, THOUGHT_CHARS));
                    format!("~ {thought}\n  {answered}")
                }
            })
        }
        "turn.note" => Some(format!(
            "- note {} {}",
            text(&data["kind"]),
            short(&data["payload"].to_string(), SHORT_CHARS)
        )),
        "turn.waiting" => {
            Some(format!("- waits: {}", short(&data["until"].to_string(), SHORT_CHARS)))
        }
        "approval.required" | "question.asked" => Some(format!("? {}", text(&data["message"]))),
        _ => line(event, paint),
    }
}

fn tool(data: &Value, paint: &Paint) -> String {
    let arguments = short(&data["arguments"].to_string(), SHORT_CHARS);
    let (verdict, said) = if data["is_error"] == true {
        let said = data["error"].as_str().or(data["text"].as_str()).unwrap_or_default();
        (paint.red("error"), short(said, SHORT_CHARS))
    } else {
        (paint.green("ok"), short(data["text"].as_str().unwrap_or_default(), SHORT_CHARS))
    };
    let arguments = paint.dim(&arguments);
    format!("+ {} {arguments} {verdict} {said}", paint.bold(&text(&data["tool"])))
        .trim_end()
        .to_owned()
}

/// `ollama/qwen3`, and why not the first choice, if it was not.
pub(super) fn served_by(by: &Value) -> String {
    let name = format!("{}/{}", text(&by["backend"]), text(&by["model"]));
    match by["step"].as_str() {
        None | Some("primary") => name,
        Some(step) => format!("{name} ({})", one_line(step)),
    }
}

/// `3 model calls · 2 tool calls · 812 in, 64 out · fuel 1,234 · 3.4 ms`.
pub(super) fn usage(turn: &Value) -> String {
    let used = &turn["usage"];
    let number = |name: &str| used[name].as_u64().unwrap_or(0);
    let mut said = format!(
        "{} model calls · {} tool calls · {} iterations · tokens {} in, {} out · fuel {} · {}",
        grouped(number("model_calls")),
        grouped(number("tool_calls")),
        grouped(number("iterations")),
        grouped(number("input_tokens")),
        grouped(number("output_tokens")),
        grouped(number("fuel")),
        duration_us(number("wall_ms").saturating_mul(1_000)),
    );
    if number("cost_micros") > 0 {
        said += &format!(" · cost {} millionths", grouped(number("cost_micros")));
    }
    if turn["served_by"].is_object() {
        said += &format!(" · {}", served_by(&turn["served_by"]));
    }
    said
}

/// Why a turn has no answer, if it has none.
pub(super) fn error(turn: &Value) -> Option<String> {
    let error = turn["error"].as_object()?;
    let part = |name: &str| error.get(name).map(text).unwrap_or_default();
    Some(format!("{}: {}", part("code"), part("message")))
}

/// The numbers of an object: `input-tokens 12, output-tokens 3`.
fn fields(object: &Value) -> String {
    let numbers = object.as_object().into_iter().flatten();
    let numbers = numbers.filter_map(|(name, value)| {
        value.as_u64().map(|number| format!("{} {}", one_line(name), grouped(number)))
    });
    numbers.collect::<Vec<_>>().join(", ")
}

/// Text of an answer, in one line and safe.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => one_line(text),
        value => one_line(&value.to_string()),
    }
}

pub(super) fn one_line(text: &str) -> String {
    printable(text).replace(['\n', '\t'], " ")
}

/// The start of a text, in one line and safe.
pub(super) fn short(text: &str, chars: usize) -> String {
    let text = one_line(text.trim());
    match text.char_indices().nth(chars) {
        None => text,
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(name: &str, data: Value) -> ServerEvent {
        ServerEvent { name: name.to_owned(), data }
    }

    #[test]
    fn a_tool_is_one_line_whatever_it_says() {
        let said = json!({
            "tool": "files.read", "arguments": {"path": "a"}, "is_error": false,
            "text": "one\ntwo\u{1b}[2J",
        });
        assert_eq!(
            line(&event("tool.result", said), &Paint::plain()).as_deref(),
            Some("+ files.read {\"path\":\"a\"} ok one two\\u{1b}[2J")
        );
        let failed = json!({
            "tool": "files.read", "arguments": {}, "is_error": true, "error": "no such file",
        });
        assert_eq!(
            line(&event("tool.result", failed), &Paint::plain()).as_deref(),
            Some("+ files.read {} error no such file")
        );
    }

    #[test]
    fn what_is_long_is_cut_between_characters() {
        assert_eq!(short(&"ä".repeat(5), 3), "äää…");
        assert_eq!(short("  abc ", 3), "abc");
    }
}
