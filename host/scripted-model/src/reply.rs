//! What a model says to one prompt: an answer of the script, filled in, cut and counted.
//!
//! It knows nothing of the wire. Invariant: equal answers to equal prompts give equal replies.

use serde_json::Value;

use crate::document::smallest;
use crate::prompt::{Form, Limits, tokens};
use crate::script::answer::{Chunks, Reply as Template, Text};
use crate::script::template::Facts;

/// A reply, ready to be sent.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Reply {
    pub(crate) chunks: Vec<Chunk>,
    pub(crate) done_reason: String,
    pub(crate) prompt_tokens: u64,
    pub(crate) output_tokens: u64,
    pub(crate) padding_bytes: usize,
}

/// One line of a streamed reply.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Chunk {
    Thinking(String),
    Text(String),
    /// All of them, as Ollama sends them.
    Calls(Vec<Call>),
}

/// A tool that the model asks for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Call {
    pub(crate) id: String,
    pub(crate) name: String,
    /// An object.
    pub(crate) arguments: Value,
}

impl Reply {
    pub(crate) fn new(template: &Template, facts: &Facts<'_>, request: u64) -> Self {
        let limits = &facts.prompt.limits;
        let mut rest = limits.output_tokens.map_or(usize::MAX, |tokens| {
            usize::try_from(tokens.saturating_mul(4)).unwrap_or(usize::MAX)
        });
        let mut cut = false;
        let mut chunks = Vec::new();
        if let Some(thinking) = template.thinking.as_ref().filter(|_| facts.prompt.think) {
            let thinking = shorten(thinking.render(facts), &mut rest, &mut cut);
            chunks.extend(pieces(&thinking, template.chunks).map(Chunk::Thinking));
        }
        for text in texts(template, facts, limits) {
            let text = shorten(text, &mut rest, &mut cut);
            match &template.text {
                Text::List(_) if text.is_empty() => {}
                Text::List(_) => chunks.push(Chunk::Text(text)),
                _ => chunks.extend(pieces(&text, template.chunks).map(Chunk::Text)),
            }
        }
        if !cut && !template.tool_calls.is_empty() {
            chunks.push(Chunk::Calls(calls(template, facts, request)));
        }
        let reason = if cut { "length" } else { "stop" };
        Self {
            done_reason: template.done_reason.clone().unwrap_or_else(|| reason.to_owned()),
            prompt_tokens: template.prompt_tokens.unwrap_or_else(|| facts.prompt.tokens()),
            output_tokens: template.output_tokens.unwrap_or_else(|| size(&chunks)),
            padding_bytes: template.padding_bytes,
            chunks,
        }
    }

    /// All that is thought.
    pub(crate) fn thinking(&self) -> String {
        let thinking = self.chunks.iter().filter_map(|chunk| match chunk {
            Chunk::Thinking(text) => Some(text.as_str()),
            _ => None,
        });
        thinking.collect()
    }

    /// All of the text.
    pub(crate) fn text(&self) -> String {
        let text = self.chunks.iter().filter_map(|chunk| match chunk {
            Chunk::Text(text) => Some(text.as_str()),
            _ => None,
        });
        text.collect()
    }

    /// All tools that are asked for.
    pub(crate) fn calls(&self) -> &[Call] {
        let calls = self.chunks.iter().find_map(|chunk| match chunk {
            Chunk::Calls(calls) => Some(calls.as_slice()),
            _ => None,
        });
        calls.unwrap_or_default()
    }
}

fn texts(template: &Template, facts: &Facts<'_>, limits: &Limits) -> Vec<String> {
    let one = match &template.text {
        Text::None => return Vec::new(),
        Text::List(list) => return list.iter().map(|it| it.render(facts)).collect(),
        Text::Template(text) => text.render(facts),
        Text::Json(json) => json.render(facts).to_string(),
        Text::FromSchema => match &facts.prompt.format {
            Form::Schema(schema) => smallest(schema).to_string(),
            Form::Json | Form::Text => "{}".to_owned(),
        },
    };
    let end = limits.stop.iter().filter(|it| !it.is_empty()).filter_map(|it| one.find(it)).min();
    vec![one[..end.unwrap_or(one.len())].to_owned()]
}

/// Takes from `rest` what `text` needs, and cuts it when that is too little.
fn shorten(mut text: String, rest: &mut usize, cut: &mut bool) -> String {
    if text.len() > *rest {
        text.truncate(text.floor_char_boundary(*rest));
        *rest = 0;
        *cut = true;
    } else {
        *rest -= text.len();
    }
    text
}

fn calls(template: &Template, facts: &Facts<'_>, request: u64) -> Vec<Call> {
    let calls = template.tool_calls.iter().enumerate().map(|(index, call)| {
        let arguments = match call.arguments.render(facts) {
            arguments @ Value::Object(_) => arguments,
            other => serde_json::json!({ "value": other }),
        };
        let id = format!("call_{request}_{index}");
        Call { id, name: call.name.render(facts), arguments }
    });
    calls.collect()
}

fn size(chunks: &[Chunk]) -> u64 {
    let bytes = chunks.iter().map(|chunk| match chunk {
        Chunk::Thinking(text) | Chunk::Text(text) => text.len(),
        Chunk::Calls(calls) => {
            calls.iter().map(|it| it.name.len() + it.arguments.to_string().len()).sum()
        }
    });
    tokens(bytes.sum())
}

/// The text in pieces that together are the text; white space goes with the word before it.
fn pieces(text: &str, chunks: Chunks) -> impl Iterator<Item = String> {
    let mut ends = Vec::new();
    match chunks {
        Chunks::Whole => {}
        Chunks::Characters(count) => {
            ends.extend(text.char_indices().map(|(at, _)| at).step_by(count.get()));
        }
        Chunks::Words(count) => {
            let mut before = true;
            let starts = text.char_indices().filter(|(_, it)| {
                let starts = before && !it.is_whitespace();
                before = it.is_whitespace();
                starts
            });
            ends.extend(starts.map(|(at, _)| at).step_by(count.get()));
        }
    }
    ends.retain(|end| *end > 0);
    // Leading white space belongs to the first word.
    if text.starts_with(char::is_whitespace) && matches!(chunks, Chunks::Words(_)) {
        ends.retain(|end| !text[..*end].trim().is_empty());
    }
    ends.push(text.len());
    let mut start = 0;
    let pieces: Vec<String> = ends
        .into_iter()
        .map(|end| {
            let piece = text[start..end].to_owned();
            start = end;
            piece
        })
        .filter(|piece| !piece.is_empty())
        .collect();
    pieces.into_iter()
}

#[cfg(test)]
mod tests;
