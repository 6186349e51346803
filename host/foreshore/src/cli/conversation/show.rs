//! Conversations for people. What was said comes from anybody: it is made safe for a terminal.

use serde_json::Value;

use crate::cli::activity::{self, short, text};
use crate::cli::moment;
use crate::cli::output::{Paint, TextTable, bytes, grouped, printable};
use crate::client::ServerEvent;

/// Of one text in a table.
const CELL_CHARS: usize = 48;

pub(super) fn list(answer: &Value, paint: &Paint) -> String {
    let mut table = TextTable::new(&["conversation", "agent", "turns", "updated", "title or last"]);
    for entry in answer["conversations"].as_array().into_iter().flatten() {
        let open = match entry["open_turns"].as_u64() {
            None | Some(0) => String::new(),
            Some(open) => format!(" ({open} open)"),
        };
        let about = entry["title"].as_str().or(entry["last"].as_str()).unwrap_or_default();
        let is_delegated = entry["delegated_by"].is_string();
        table.row([
            text(&entry["id"]),
            text(&entry["agent"]) + if is_delegated { " (delegated)" } else { "" },
            format!("{}{open}", grouped(entry["turns"].as_u64().unwrap_or(0))),
            entry["updated_at_unix_ms"].as_u64().map(moment::written).unwrap_or_default(),
            short(about, CELL_CHARS),
        ]);
    }
    table.render(paint)
}

pub(super) fn found(answer: &Value, paint: &Paint) -> String {
    let mut said = String::new();
    for hit in answer["hits"].as_array().into_iter().flatten() {
        let place = match hit["turn"].as_u64() {
            None => text(&hit["found_in"]),
            Some(turn) => format!("{} of turn {turn}", text(&hit["found_in"])),
        };
        said += &format!("{} {}\n", paint.bold(&text(&hit["conversation"])), paint.dim(&place));
        said += &format!("  {}\n", text(&hit["snippet"]));
    }
    if said.is_empty() { "nothing was found".to_owned() } else { said }
}

/// A conversation with its turns under `said`, and what is on record of each under `events`.
pub(super) fn conversation(answer: &Value, paint: &Paint) -> String {
    let title = answer["title"].as_str().map(|title| format!(" \"{}\"", activity::one_line(title)));
    let mut said = format!(
        "{}{} with {}, {} turns\n",
        paint.bold(&text(&answer["id"])),
        title.unwrap_or_default(),
        text(&answer["agent"]),
        grouped(answer["turns"].as_u64().unwrap_or(0)),
    );
    if answer["forked_from"].is_object() {
        let from = &answer["forked_from"];
        let (id, turn) = (text(&from["conversation"]), text(&from["through_turn"]));
        said += &paint.dim(&format!("forked from {id}, through turn {turn}\n"));
    }
    if let Some(turn) = answer["delegated_by"].as_str() {
        said += &paint.dim(&format!("delegated by {}\n", activity::one_line(turn)));
    }
    for one in answer["said"].as_array().into_iter().flatten() {
        said += &match one["events"].as_array() {
            None => self::said(std::slice::from_ref(one), paint),
            Some(events) => {
                let event = |event: &Value| ServerEvent {
                    name: text(&event["event"]),
                    data: event["data"].clone(),
                };
                turn(one, &events.iter().map(event).collect::<Vec<_>>(), paint)
            }
        };
    }
    match answer["variables"].as_array() {
        Some(all) if !all.is_empty() => format!("{said}\n{}", variables(all, paint)),
        _ => said,
    }
}

/// Each variable with its versions, the newest first; what it is now stands on its first line.
fn variables(all: &[Value], paint: &Paint) -> String {
    let mut table = TextTable::new(&["variable", "version", "set", "type", "size", "value"]);
    for variable in all {
        for (index, version) in variable["history"].as_array().into_iter().flatten().enumerate() {
            table.row([
                if index == 0 { text(&variable["name"]) } else { String::new() },
                text(&version["version"]),
                version["set_at_unix_ms"].as_u64().map(moment::written).unwrap_or_default(),
                text(&version["type"]),
                bytes(version["size_bytes"].as_u64().unwrap_or(0)),
                short(version["first_line"].as_str().unwrap_or_default(), CELL_CHARS),
            ]);
        }
    }
    table.render(paint)
}

/// Messages and answers.
pub(in crate::cli) fn said(turns: &[Value], paint: &Paint) -> String {
    turns
        .iter()
        .fold(String::new(), |said, turn| said + &asked(turn, paint) + &answered(turn, paint))
}

/// A turn with its steps.
pub(super) fn turn(turn: &Value, events: &[ServerEvent], paint: &Paint) -> String {
    let head = format!("{} · {}", text(&turn["turn_id"]), text(&turn["state"]));
    let mut said = asked(turn, paint) + &format!("  {}\n", paint.dim(&head));
    for event in events {
        if let Some(line) = activity::traced(event, paint) {
            said += &format!("  {line}\n");
        }
    }
    said += &answered(turn, paint);
    said + &format!("  {}\n", paint.dim(&activity::usage(turn)))
}

fn asked(turn: &Value, paint: &Paint) -> String {
    let number = turn["number"].as_u64().unwrap_or(0);
    let message = printable(turn["message"]["text"].as_str().unwrap_or_default());
    format!("\n{} {message}\n", paint.cyan(&format!("[{number}] >")))
}

fn answered(turn: &Value, paint: &Paint) -> String {
    let mut said = String::new();
    if let Some(reply) = turn["reply"]["text"].as_str() {
        said += &format!("{}\n", printable(reply));
    }
    if let Some(error) = activity::error(turn) {
        said += &format!("{}\n", paint.red(&error));
    }
    if said.is_empty() {
        said = format!("({})\n", text(&turn["state"]));
    }
    said
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_trace_reads_from_the_message_to_the_answer() {
        let shown = json!({
            "id": "c1", "agent": "assistant", "turns": 1,
            "said": [{
                "turn_id": "turn_1", "number": 0, "state": "completed",
                "message": {"text": "how many?"}, "reply": {"text": "two"},
                "usage": {"model_calls": 2, "tool_calls": 1},
                "events": [
                    {"event": "model.answered", "data":
                        {"served_by": {"backend": "b", "model": "m"}, "thinking": "I could look."}},
                    {"event": "tool.result", "data":
                        {"tool": "files.list", "arguments": {}, "is_error": false, "text": "a b"}},
                    {"event": "turn.completed", "data": {}},
                ],
            }],
            "variables": [{"name": "n", "version": 3, "history": [
                {"version": 3, "type": "number", "size_bytes": 1, "first_line": "2",
                    "set_at_unix_ms": 1_000},
                {"version": 2, "type": "string", "size_bytes": 5, "first_line": "one",
                    "set_at_unix_ms": 0},
            ]}],
        });
        let text = conversation(&shown, &Paint::plain());
        let places: Vec<_> = [
            "[0] > how many?",
            "~ I could look.\n",
            "* b/m",
            "+ files.list {} ok a b",
            "\ntwo\n",
            "2 model calls",
            "n         3        1970-01-01 00:00:01.000Z  number",
            "          2        1970-01-01 00:00:00.000Z  string",
        ]
        .iter()
        .map(|part| text.find(part))
        .collect();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{text}");
    }
}
