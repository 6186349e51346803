//! Answers about memory, for people. Values come from anybody: they are made safe for a terminal.

use serde_json::Value;

use crate::cli::moment;
use crate::cli::output::{Paint, TextTable, bytes, grouped, printable};

/// Of one value in a table.
const CELL_CHARS: usize = 60;

pub(super) fn record(record: &Value, paint: &Paint) -> String {
    let mut line = format!("version {} · {}", record["version"], at(&record["written_at"]));
    for (name, value) in [("origin", &record["origin"]), ("importance", &record["importance"])] {
        if !value.is_null() && value.as_f64() != Some(0.0) {
            line += &format!(" · {name} {}", plain(value));
        }
    }
    if let Some(tags) = record["tags"].as_array() {
        let tags: Vec<String> = tags.iter().map(plain).collect();
        line += &format!(" · tags {}", tags.join(", "));
    }
    if !record["expires_at"].is_null() {
        line += &format!(" · until {}", at(&record["expires_at"]));
    }
    let value = match &record["value"] {
        Value::String(text) => text.clone(),
        Value::Null if record["state"] != "written" => plain(&record["state"]),
        value => serde_json::to_string_pretty(value).unwrap_or_default(),
    };
    format!("{}\n{}", printable(&value), paint.dim(&printable(&line)))
}

pub(super) fn keys(answer: &Value, _: &Paint) -> String {
    let keys = answer["keys"].as_array().into_iter().flatten();
    let keys: Vec<String> = keys.map(|key| printable(&plain(key)).replace('\n', "\\n")).collect();
    keys.join("\n")
}

pub(super) fn namespaces(answer: &Value, paint: &Paint) -> String {
    let mut table = TextTable::new(&["namespace", "records", "size", "versions", "relations"]);
    for namespace in answer["namespaces"].as_array().into_iter().flatten() {
        let number = |name: &str| namespace[name].as_u64().unwrap_or(0);
        table.row([
            plain(&namespace["name"]),
            grouped(number("records")),
            bytes(number("bytes")),
            grouped(number("versions")),
            grouped(number("relations")),
        ]);
    }
    table.render(paint)
}

/// How far the records are embedded; null where no model embeds them.
pub(super) fn status(embedding: &Value, _: &Paint) -> String {
    if embedding.is_null() {
        return "searched by words alone: set [memory] embedding_model".to_owned();
    }
    let number = |name: &str| embedding[name].as_u64().unwrap_or(0);
    let (done, records) = (number("done"), number("records"));
    let mut line = format!(
        "{} of {} records ({} %) embedded by {}",
        grouped(done),
        grouped(records),
        // Not 100 before all are.
        (done * 100).checked_div(records).unwrap_or(100),
        plain(&embedding["model"]),
    );
    match embedding["state"].as_str() {
        Some("working") => {
            let per_second = embedding["per_second"].as_f64().unwrap_or(0.0);
            line += &format!(", {per_second:.0} a second");
        }
        Some("waiting") => line += &format!(", waiting: {}", plain(&embedding["reason"])),
        Some("off") => line += ", no server is running that would go on",
        _ => {}
    }
    if number("refused") > 0 {
        line += &format!("; the model refused {}", grouped(number("refused")));
    }
    printable(&line)
}

pub(super) fn versions(answer: &Value, paint: &Paint) -> String {
    let mut table = TextTable::new(&["version", "at", "state", "origin", "value"]);
    for version in answer["versions"].as_array().into_iter().flatten() {
        table.row([
            plain(&version["version"]),
            at(&version["written_at"]),
            plain(&version["state"]),
            plain(&version["origin"]),
            match version["value_bytes"].as_u64() {
                Some(size) => format!("{}; read it with get --version", bytes(size)),
                None => cell(&version["value"]),
            },
        ]);
    }
    table.render(paint)
}

pub(super) fn found(answer: &Value, paint: &Paint) -> String {
    let hits: Vec<&Value> = answer["hits"].as_array().into_iter().flatten().collect();
    let mut text = String::new();
    for hit in &hits {
        let score = hit["score"].as_f64().unwrap_or(0.0);
        let key = printable(&plain(&hit["key"])).replace('\n', " ");
        let by = match plain(&hit["found_by"]).as_str() {
            "meaning" => ", by meaning",
            "both" => ", by words and meaning",
            _ => "",
        };
        text += &format!("{} {}\n", paint.bold(&key), paint.dim(&format!("({score:.3}{by})")));
        text += &format!("  {}\n", snippet(&hit["snippet"], paint).replace('\n', " "));
    }
    let hits = match hits.len() {
        0 => "nothing found".to_owned(),
        1 => "1 hit".to_owned(),
        many => format!("{many} hits"),
    };
    let mut line = format!("{hits}, {} search", plain(&answer["method"]));
    if let Some(reason) = answer["degraded"].as_str() {
        line += &format!("; not by meaning: {}", printable(reason));
    }
    text + &paint.dim(&line)
}

/// The text with its matches marked. Positions come over the wire, so they are not relied on.
fn snippet(snippet: &Value, paint: &Paint) -> String {
    let text = snippet["text"].as_str().unwrap_or_default();
    let (mut marked, mut done) = (String::new(), 0);
    for range in snippet["matches"].as_array().into_iter().flatten() {
        let position = |at: usize| usize::try_from(range[at].as_u64()?).ok();
        let (Some(from), Some(to)) = (position(0), position(1)) else { continue };
        if let (Some(before), Some(word)) = (text.get(done..from), text.get(from..to)) {
            marked += &printable(before);
            marked += &paint.yellow(&printable(word));
            done = to;
        }
    }
    marked + &printable(text.get(done..).unwrap_or_default())
}

pub(super) fn relations(answer: &Value, paint: &Paint) -> String {
    let mut table = TextTable::new(&["subject", "predicate", "object", "origin", "at"]);
    for relation in answer["relations"].as_array().into_iter().flatten() {
        table.row([
            plain(&relation["subject"]),
            plain(&relation["predicate"]),
            plain(&relation["object"]),
            plain(&relation["origin"]),
            at(&relation["related_at"]),
        ]);
    }
    table.render(paint)
}

pub(super) fn paths(answer: &Value, paint: &Paint) -> String {
    let mut lines = Vec::new();
    for path in answer["paths"].as_array().into_iter().flatten() {
        let steps = path.as_array().into_iter().flatten();
        let step = |step: &Value| {
            let [subject, predicate, object] =
                ["subject", "predicate", "object"].map(|name| plain(&step[name]));
            format!("{subject} -{predicate}-> {object}")
        };
        lines.push(printable(&steps.map(step).collect::<Vec<_>>().join(", ")));
    }
    if lines.is_empty() {
        lines.push("no path of at most 4 relations".to_owned());
    }
    if answer["complete"] == false {
        lines.push(paint.dim("there were too many relations to look at them all"));
    }
    lines.join("\n")
}

fn cell(value: &Value) -> String {
    let text = plain(value);
    match text.char_indices().nth(CELL_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

fn at(value: &Value) -> String {
    value.as_u64().map(moment::written).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_snippet_keeps_its_text_whatever_its_matches_say() {
        let paint = Paint::plain();
        for matches in [json!([[0, 2]]), json!([[1, 2], [9, 99], [3, 1]]), json!("x"), json!(null)]
        {
            let given = json!({ "text": "é and \u{1b}[2J", "matches": matches });
            assert_eq!(snippet(&given, &paint), "é and \\u{1b}[2J", "{given}");
        }
    }
}
