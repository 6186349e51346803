//! An answer as it comes: server-sent events, with calls of tools in parts.

use std::collections::BTreeMap;

use bytes::Bytes;
use foreshore_domain::inference::{FinishReason, ToolCall};

use super::wire;
use crate::backend::said::text_of;
use crate::backend::{Done, Piece, new_call_id, parsed};
use crate::failure::{Failure, excerpt, tells_of_context};
use crate::http_client::Lines;

/// Calls of tools in one answer, at most.
const CALLS_MAX: usize = 128;

/// An answer that is coming in.
pub(crate) struct ChatStream {
    lines: Lines,
    assembly: Assembly,
}

impl ChatStream {
    pub(super) fn new(lines: Lines) -> Self {
        Self { lines, assembly: Assembly::default() }
    }

    pub(crate) async fn next(&mut self) -> Result<Option<Vec<Piece>>, Failure> {
        loop {
            let Some(line) = self.lines.next().await? else {
                // Some servers leave `[DONE]` out; a reason to finish says as much.
                return Ok(self.assembly.ended());
            };
            let Some(data) = data(&line) else { continue };
            if data.as_ref() == b"[DONE]" {
                return Ok(self.assembly.ended());
            }
            let pieces = self.assembly.take(parsed(&data)?)?;
            if !pieces.is_empty() {
                return Ok(Some(pieces));
            }
        }
    }

    pub(crate) async fn finish(mut self) {
        self.lines.finish().await;
    }
}

/// The data of an event. Such servers write one line of it for each; names, ids and comments
/// say nothing here.
fn data(line: &Bytes) -> Option<Bytes> {
    let rest = line.strip_prefix(b"data:")?;
    let rest = rest.strip_prefix(b" ").unwrap_or(rest);
    (!rest.is_empty()).then(|| line.slice_ref(rest))
}

/// What has come of what is only known at the end.
#[derive(Default)]
struct Assembly {
    calls: BTreeMap<usize, Partial>,
    finish: Option<FinishReason>,
    usage: wire::Usage,
}

#[derive(Default)]
struct Partial {
    id: String,
    name: String,
    arguments: String,
}

impl Assembly {
    fn take(&mut self, chunk: wire::Chunk) -> Result<Vec<Piece>, Failure> {
        if let Some(error) = chunk.error.filter(|error| !error.is_null()) {
            let message = text_of(&error).unwrap_or_else(|| error.to_string());
            return Err(match tells_of_context(&message) {
                true => Failure::ContextTooLong { message: excerpt(&message) },
                false => Failure::Answer { message: excerpt(&message) },
            });
        }
        if let Some(usage) = chunk.usage {
            self.usage = usage;
        }
        let mut pieces = Vec::new();
        for choice in chunk.choices.into_iter().filter(|choice| choice.index == 0) {
            let delta = choice.delta;
            let thinking = delta.reasoning_content.or(delta.reasoning).unwrap_or_default();
            if !thinking.is_empty() {
                pieces.push(Piece::Thinking(thinking));
            }
            for text in [delta.content, delta.refusal].into_iter().flatten() {
                if !text.is_empty() {
                    pieces.push(Piece::Text(text));
                }
            }
            for call in delta.tool_calls {
                self.call(call)?;
            }
            if let Some(reason) = choice.finish_reason {
                self.finish = Some(finish(&reason));
                pieces.extend(self.called());
            }
        }
        Ok(pieces)
    }

    fn call(&mut self, part: wire::CallDelta) -> Result<(), Failure> {
        if part.index >= CALLS_MAX {
            let message = format!("it asks for more than {CALLS_MAX} tools at once");
            return Err(Failure::Answer { message });
        }
        let call = self.calls.entry(part.index).or_default();
        if let Some(id) = part.id.filter(|id| !id.is_empty()) {
            call.id = id;
        }
        if let Some(name) = part.function.name {
            call.name.push_str(&name);
        }
        if let Some(arguments) = part.function.arguments {
            call.arguments.push_str(&arguments);
        }
        Ok(())
    }

    /// The calls that are whole, once.
    fn called(&mut self) -> Vec<Piece> {
        let calls = std::mem::take(&mut self.calls);
        let whole = calls.into_values().map(|call| {
            Piece::ToolCall(ToolCall {
                id: if call.id.is_empty() { new_call_id() } else { call.id },
                name: call.name,
                arguments_json: match call.arguments.is_empty() {
                    true => "{}".to_owned(),
                    false => call.arguments,
                },
            })
        });
        whole.collect()
    }

    /// The end, if there was a reason for it.
    fn ended(&mut self) -> Option<Vec<Piece>> {
        let finish = self.finish.take()?;
        Some(vec![Piece::Done(Done {
            finish,
            input_tokens: self.usage.prompt_tokens,
            output_tokens: self.usage.completion_tokens,
            duration_ms: None,
        })])
    }
}

fn finish(reason: &str) -> FinishReason {
    match reason {
        "length" => FinishReason::Length,
        "tool_calls" | "function_call" => FinishReason::ToolCalls,
        "content_filter" => FinishReason::ContentFilter,
        _ => FinishReason::Stop,
    }
}

#[cfg(test)]
mod tests;
