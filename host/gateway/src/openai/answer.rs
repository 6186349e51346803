//! Answers to a chat completion: whole, or in chunks.

use std::fmt::Write as _;

use foreshore_domain::inference::{Completion, FinishReason, TokenUsage, ToolCall};
use serde::Serialize;

use super::error::OpenAiError;

/// What an answer and all of its chunks share.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    /// `chatcmpl-...`.
    pub(crate) id: String,
    /// Seconds since 1970.
    pub(crate) created: u64,
    /// As the client asked for it.
    pub(crate) model: String,
}

#[derive(Serialize)]
struct Answer<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: Vec<Choice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
    /// Who answered: an extension that clients ignore.
    #[serde(skip_serializing_if = "Option::is_none")]
    served_by: Option<&'a foreshore_domain::inference::ServedBy>,
    /// The conversation of an agent's answer: an extension.
    #[serde(skip_serializing_if = "Option::is_none")]
    conversation: Option<&'a str>,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Message<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delta: Option<Message<'a>>,
    logprobs: Option<()>,
    finish_reason: Option<&'static str>,
}

#[derive(Default, Serialize)]
struct Message<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Call<'a>>,
}

#[derive(Serialize)]
struct Call<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    arguments: &'a str,
}

#[derive(Clone, Copy, Serialize)]
struct Usage {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
}

impl From<TokenUsage> for Usage {
    fn from(usage: TokenUsage) -> Self {
        Self {
            prompt_tokens: usage.input_tokens,
            completion_tokens: usage.output_tokens,
            total_tokens: usage.tokens(),
        }
    }
}

fn reason(finish: FinishReason) -> &'static str {
    match finish {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::ToolCalls => "tool_calls",
        FinishReason::ContentFilter => "content_filter",
    }
}

fn call(index: Option<usize>, call: &ToolCall) -> Call<'_> {
    let function = Function { name: &call.name, arguments: &call.arguments_json };
    Call { index, id: &call.id, kind: "function", function }
}

/// A whole answer.
pub(crate) fn completion(
    head: &Head,
    completion: &Completion,
    conversation: Option<&str>,
) -> Vec<u8> {
    let text = completion.message.plain_text();
    let calls: Vec<_> =
        completion.message.tool_calls.iter().map(|asked| call(None, asked)).collect();
    let content = (!text.is_empty() || calls.is_empty()).then_some(text.as_str());
    let message = Message {
        role: Some("assistant"),
        content: Some(content),
        reasoning_content: completion.message.thinking.as_deref(),
        tool_calls: calls,
    };
    let choice = Choice {
        index: 0,
        message: Some(message),
        delta: None,
        logprobs: None,
        finish_reason: Some(reason(completion.finish)),
    };
    json(&Answer {
        id: &head.id,
        object: "chat.completion",
        created: head.created,
        model: &head.model,
        choices: vec![choice],
        usage: Some(completion.usage.into()),
        served_by: Some(&completion.served_by),
        conversation,
    })
}

/// The chunks of one answer, as lines of server-sent events.
pub(crate) struct Chunks {
    head: Head,
    begun: bool,
    calls: usize,
}

impl Chunks {
    pub(crate) fn new(head: Head) -> Self {
        Self { head, begun: false, calls: 0 }
    }

    /// More text.
    pub(crate) fn text(&mut self, text: &str) -> Vec<u8> {
        self.delta(Message { content: Some(Some(text)), ..Message::default() })
    }

    /// More thinking.
    pub(crate) fn thinking(&mut self, text: &str) -> Vec<u8> {
        self.delta(Message { reasoning_content: Some(text), ..Message::default() })
    }

    /// A whole call of a tool.
    pub(crate) fn tool_call(&mut self, asked: &ToolCall) -> Vec<u8> {
        let index = self.calls;
        self.calls += 1;
        self.delta(Message { tool_calls: vec![call(Some(index), asked)], ..Message::default() })
    }

    /// The end: why, the usage if it is wanted, and the mark that nothing follows.
    pub(crate) fn end(&mut self, finish: FinishReason, usage: Option<TokenUsage>) -> Vec<u8> {
        let mut last = Vec::new();
        if !self.begun {
            last = self.text("");
        }
        let choice = Choice {
            index: 0,
            message: None,
            delta: Some(Message::default()),
            logprobs: None,
            finish_reason: Some(reason(finish)),
        };
        last.extend(self.chunk(vec![choice], None));
        if let Some(usage) = usage {
            last.extend(self.chunk(Vec::new(), Some(usage.into())));
        }
        last.extend_from_slice(b"data: [DONE]\n\n");
        last
    }

    /// A failure in the middle. Nothing follows, so that no client takes it for an end.
    pub(crate) fn failure(error: &OpenAiError) -> Vec<u8> {
        data(&error.json())
    }

    fn delta(&mut self, mut delta: Message<'_>) -> Vec<u8> {
        if !std::mem::replace(&mut self.begun, true) {
            delta.role = Some("assistant");
            delta.content = delta.content.or(Some(Some("")));
        }
        let choice = Choice {
            index: 0,
            message: None,
            delta: Some(delta),
            logprobs: None,
            finish_reason: None,
        };
        self.chunk(vec![choice], None)
    }

    fn chunk(&self, choices: Vec<Choice<'_>>, usage: Option<Usage>) -> Vec<u8> {
        data(&json(&Answer {
            id: &self.head.id,
            object: "chat.completion.chunk",
            created: self.head.created,
            model: &self.head.model,
            choices,
            usage,
            served_by: None,
            conversation: None,
        }))
    }
}

impl Head {
    /// An id that no other answer has, from 16 random bytes.
    pub(crate) fn new(random: [u8; 16], created: u64, model: String) -> Self {
        let mut id = "chatcmpl-".to_owned();
        for byte in random {
            // Writing to a string cannot fail.
            let _ = write!(id, "{byte:02x}");
        }
        Self { id, created, model }
    }
}

fn json(answer: &Answer<'_>) -> Vec<u8> {
    serde_json::to_vec(answer).unwrap_or_default()
}

fn data(json: &[u8]) -> Vec<u8> {
    let mut line = Vec::with_capacity(json.len() + 8);
    line.extend_from_slice(b"data: ");
    line.extend_from_slice(json);
    line.extend_from_slice(b"\n\n");
    line
}

#[cfg(test)]
mod tests {
    use foreshore_domain::inference::{Message as DomainMessage, Role, ServedBy, Step};
    use serde_json::Value;

    use super::*;

    fn head() -> Head {
        Head::new([7; 16], 1_700_000_000, "small".to_owned())
    }

    fn asked() -> ToolCall {
        ToolCall { id: "c1".into(), name: "look".into(), arguments_json: r#"{"a":1}"#.into() }
    }

    fn done(calls: Vec<ToolCall>) -> Completion {
        let mut message = DomainMessage::text(Role::Assistant, "");
        message.tool_calls = calls;
        Completion {
            message,
            finish: FinishReason::ToolCalls,
            usage: TokenUsage { input_tokens: 3, output_tokens: 4, ..TokenUsage::default() },
            served_by: ServedBy { backend: "b".into(), model: "m".into(), step: Step::Fallback },
        }
    }

    #[test]
    fn an_answer_with_tools_has_no_content() {
        let text = completion(&head(), &done(vec![asked()]), None);
        let value: Value = serde_json::from_slice(&text).expect("JSON");
        let choice = &value["choices"][0];
        assert_eq!(choice["message"]["content"], Value::Null);
        assert_eq!(choice["message"]["tool_calls"][0]["function"]["arguments"], r#"{"a":1}"#);
        assert_eq!(choice["finish_reason"], "tool_calls");
        assert_eq!(value["usage"]["total_tokens"], 7);
        assert_eq!(value["served_by"]["step"], "fallback");
    }

    #[test]
    fn chunks_share_their_head_and_the_first_has_the_role() {
        let mut chunks = Chunks::new(head());
        let mut all = chunks.text("a");
        all.extend(chunks.text("b"));
        all.extend(chunks.tool_call(&asked()));
        all.extend(chunks.tool_call(&asked()));
        all.extend(chunks.end(FinishReason::Stop, Some(TokenUsage::default())));
        let text = String::from_utf8(all).expect("text");
        let lines: Vec<&str> = text.split("\n\n").filter(|line| !line.is_empty()).collect();
        assert_eq!(lines.last(), Some(&"data: [DONE]"));
        let values: Vec<Value> = lines[..lines.len() - 1]
            .iter()
            .map(|line| serde_json::from_str(&line["data: ".len()..]).expect("JSON"))
            .collect();
        assert!(values.iter().all(|value| value["id"] == values[0]["id"]));
        let delta = |n: usize| &values[n]["choices"][0]["delta"];
        assert_eq!((&delta(0)["role"], &delta(0)["content"]), (&"assistant".into(), &"a".into()));
        assert_eq!(delta(1)["role"], Value::Null);
        assert_eq!(delta(3)["tool_calls"][0]["index"], 1);
        assert_eq!(values[4]["choices"][0]["finish_reason"], "stop");
        assert_eq!(values[5]["choices"], Value::Array(Vec::new()));
        assert_eq!(values[5]["usage"]["prompt_tokens"], 0);
    }

    #[test]
    fn an_empty_answer_still_names_its_role() {
        let text =
            String::from_utf8(Chunks::new(head()).end(FinishReason::Stop, None)).expect("text");
        assert!(text.contains(r#""role":"assistant""#), "{text}");
        let failure = Chunks::failure(&OpenAiError::invalid("x", "y"));
        assert!(failure.starts_with(b"data: {\"error\""));
    }
}
