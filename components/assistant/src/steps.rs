//! What the assistant did in this turn so far, as messages that fit.
//!
//! The newest steps are whole where there is room; older ones lose the most of their results, and
//! the oldest are left out and only named. The invariant: a call that is there has its result.

use foreshore_sdk::agent::inference::{ContentPart, Role, ToolResult};
use foreshore_sdk::agent::{Message, ToolCall};
use serde_json::json;

use crate::protocol;
use crate::text::{cut, message_tokens};

/// What is left of a result of an older step, in bytes.
const SHORT: usize = 200;

/// One answer of the model that asked for tools, and what they gave.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) text: String,
    pub(crate) thinking: Option<String>,
    pub(crate) calls: Vec<ToolCall>,
    pub(crate) results: Vec<ToolResult>,
    /// What the assistant has to say about it to the model.
    pub(crate) note: Option<String>,
}

/// The steps of a turn.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    steps: Vec<Step>,
}

/// Steps as messages.
pub(crate) struct Rendered {
    pub(crate) messages: Vec<Message>,
    /// The calls of the steps that did not fit, oldest first.
    pub(crate) left_out: Vec<String>,
}

impl Steps {
    pub(crate) fn push(&mut self, step: Step) {
        self.steps.push(step);
    }

    /// The last thing that the model said beside asking for tools.
    pub(crate) fn last_text(&self) -> Option<&str> {
        let texts = self.steps.iter().rev().map(|step| step.text.trim());
        texts.into_iter().find(|text| !text.is_empty())
    }

    /// The calls that were made, oldest first.
    pub(crate) fn calls(&self) -> impl Iterator<Item = &ToolCall> {
        self.steps.iter().flat_map(|step| &step.calls)
    }

    /// Messages of at most so many tokens, for a model that calls tools or for one that does not.
    pub(crate) fn render(&self, calls_tools: bool, max_tokens: usize) -> Rendered {
        let mut kept = Vec::new();
        let mut left = max_tokens;
        let mut left_out = Vec::new();
        for (age, step) in self.steps.iter().rev().enumerate() {
            let forms = [step.clone(), step.shortened(SHORT)];
            let fits = |form: &Step| {
                let messages = form.messages(calls_tools);
                let tokens: usize = messages.iter().map(message_tokens).sum();
                (tokens <= left).then_some((messages, tokens))
            };
            let found = match age {
                // The model has not seen the newest yet: as much of it as there is room for.
                0 => fits(&forms[0]).or_else(|| {
                    let each = left * 4 / step.results.len().max(1) / 2;
                    let form = step.shortened(each.max(SHORT));
                    fits(&form).or_else(|| Some((forms[1].messages(calls_tools), left)))
                }),
                _ => forms.iter().find_map(fits),
            };
            match found {
                // Nothing older than what was left out: the model would take it for the whole.
                Some((messages, tokens)) if left_out.is_empty() => {
                    left -= tokens;
                    kept.push(messages);
                }
                _ => left_out.extend(step.calls.iter().rev().map(|call| call.name.clone())),
            }
        }
        left_out.reverse();
        Rendered { messages: kept.into_iter().rev().flatten().collect(), left_out }
    }
}

impl Step {
    fn shortened(&self, max_bytes: usize) -> Self {
        let mut step = self.clone();
        step.thinking = None;
        for result in &mut step.results {
            result.content = cut(&result.content, max_bytes);
        }
        for call in &mut step.calls {
            if call.arguments_json.len() > max_bytes {
                let shortened = cut(&call.arguments_json, max_bytes);
                call.arguments_json = json!({"shortened": shortened}).to_string();
            }
        }
        step.text = cut(&step.text, max_bytes);
        step
    }

    fn messages(&self, calls_tools: bool) -> Vec<Message> {
        if calls_tools && !self.calls.is_empty() { self.native() } else { self.textual() }
    }

    fn native(&self) -> Vec<Message> {
        let content = match self.text.is_empty() {
            true => Vec::new(),
            false => vec![ContentPart::Text(self.text.clone())],
        };
        let asked = Message {
            role: Role::Assistant,
            content,
            thinking: self.thinking.clone(),
            tool_calls: self.calls.clone(),
            tool_result: None,
        };
        let mut messages = vec![asked];
        let last = self.results.len().saturating_sub(1);
        for (index, result) in self.results.iter().enumerate() {
            let mut result = result.clone();
            if let (true, Some(note)) = (index == last, &self.note) {
                result.content = format!("{}\n\n[{note}]", result.content);
            }
            messages.push(Message::tool(result));
        }
        messages
    }

    fn textual(&self) -> Vec<Message> {
        let mut said = self.text.clone();
        let mut heard = Vec::new();
        if !self.calls.is_empty() {
            let calls: Vec<_> = self
                .calls
                .iter()
                .map(|call| {
                    let arguments: serde_json::Value =
                        serde_json::from_str(&call.arguments_json).unwrap_or_default();
                    json!({"name": call.name, "arguments": arguments})
                })
                .collect();
            let block = json!({"tool_calls": calls});
            said = format!("{said}\n```json\n{block}\n```");
            heard.push(protocol::results(&self.results));
        }
        heard.extend(self.note.clone());
        vec![Message::assistant(said.trim()), Message::user(heard.join("\n\n"))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(n: usize, bytes: usize) -> Step {
        let (id, name) = (n.to_string(), format!("tool__{n}"));
        Step {
            text: String::new(),
            thinking: Some("hm".repeat(100)),
            calls: vec![ToolCall {
                id: id.clone(),
                name: name.clone(),
                arguments_json: "{}".to_owned(),
            }],
            results: vec![ToolResult { id, name, content: "x".repeat(bytes), is_error: false }],
            note: None,
        }
    }

    fn tokens(rendered: &Rendered) -> usize {
        rendered.messages.iter().map(message_tokens).sum()
    }

    #[test]
    fn however_long_a_turn_is_it_fits_and_ends_with_the_newest() {
        let mut steps = Steps::default();
        for n in 0..100 {
            steps.push(step(n, 2_000));
            for calls_tools in [true, false] {
                let rendered = steps.render(calls_tools, 1_000);
                assert!(tokens(&rendered) <= 1_000, "step {n}: {}", tokens(&rendered));
                let last = rendered.messages.last().expect("the newest").text();
                assert!(last.len() > 1_000, "step {n}: the newest is whole");
            }
        }
        let rendered = steps.render(true, 1_000);
        assert_eq!(rendered.left_out.first().map(String::as_str), Some("tool__0"));
        let kept = rendered.messages.iter().filter(|message| message.role == Role::Assistant);
        assert_eq!(kept.count() + rendered.left_out.len(), 100);
    }

    #[test]
    fn every_call_that_is_there_has_its_result() {
        let mut steps = Steps::default();
        (0..20).for_each(|n| steps.push(step(n, 900)));
        for room in [0, 100, 500, 1_000, 5_000, 50_000] {
            let rendered = steps.render(true, room);
            let calls = rendered.messages.iter().flat_map(|message| &message.tool_calls);
            let calls: Vec<_> = calls.map(|call| call.id.clone()).collect();
            let results =
                rendered.messages.iter().filter_map(|message| message.tool_result.as_ref());
            let results: Vec<_> = results.map(|result| result.id.clone()).collect();
            assert_eq!(calls, results, "{room}");
            assert_eq!(calls.last().map(String::as_str), Some("19"), "{room}");
        }
    }

    #[test]
    fn shortened_arguments_are_still_json() {
        let mut long = step(0, 10);
        long.calls[0].arguments_json = json!({"text": "ä\"".repeat(1_000)}).to_string();
        let short = long.shortened(100);
        let arguments: serde_json::Value =
            serde_json::from_str(&short.calls[0].arguments_json).expect("JSON");
        assert!(arguments["shortened"].is_string());
    }

    #[test]
    fn a_note_stands_with_the_results() {
        let mut noted = step(0, 10);
        noted.note = Some("Enough.".to_owned());
        for calls_tools in [true, false] {
            let messages = noted.messages(calls_tools);
            assert!(messages.last().expect("a message").text().contains("Enough."));
        }
    }
}
