//! Answers: lines of JSON (NDJSON) while they come, or one object.

use foreshore_domain::inference::{Completion, Embeddings, FinishReason, InferenceError, ToolCall};
use http::StatusCode;
use serde::Serialize;
use serde_json::value::RawValue;

use super::request::Kind;

/// How long an answer took, in nanoseconds, as Ollama counts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Timings {
    pub(crate) total_ns: u64,
}

/// The lines of one answer.
pub(crate) struct Lines {
    kind: Kind,
    model: String,
    calls: usize,
}

#[derive(Serialize)]
struct Line<'a> {
    model: &'a str,
    created_at: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Message<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<&'a str>,
    done: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    done_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_duration: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    eval_duration: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_eval_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    eval_count: Option<u64>,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Call<'a>>,
}

#[derive(Serialize)]
struct Call<'a> {
    id: &'a str,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    index: usize,
    name: &'a str,
    arguments: Box<RawValue>,
}

impl Lines {
    pub(crate) fn new(kind: Kind, model: String) -> Self {
        Self { kind, model, calls: 0 }
    }

    /// More text.
    pub(crate) fn text(&self, now: &str, text: &str) -> Vec<u8> {
        self.part(now, text, None, Vec::new())
    }

    /// More thinking.
    pub(crate) fn thinking(&self, now: &str, text: &str) -> Vec<u8> {
        self.part(now, "", Some(text), Vec::new())
    }

    /// A whole call of a tool.
    pub(crate) fn tool_call(&mut self, now: &str, asked: &ToolCall) -> Vec<u8> {
        let index = self.calls;
        self.calls += 1;
        self.part(now, "", None, vec![call(index, asked)])
    }

    /// The last line.
    pub(crate) fn end(&self, now: &str, completion: &Completion, timings: Timings) -> Vec<u8> {
        self.last(now, "", None, Vec::new(), completion, timings)
    }

    /// The whole answer as one object.
    pub(crate) fn whole(&self, now: &str, completion: &Completion, timings: Timings) -> Vec<u8> {
        let text = completion.message.plain_text();
        let calls = completion.message.tool_calls.iter().enumerate();
        let calls = calls.map(|(index, asked)| call(index, asked)).collect();
        let thinking = completion.message.thinking.as_deref();
        self.last(now, &text, thinking, calls, completion, timings)
    }

    /// A model was loaded, or is to go.
    pub(crate) fn loaded(&self, now: &str) -> Vec<u8> {
        let mut line = self.line(now, "", None, Vec::new());
        (line.done, line.done_reason) = (true, Some("load"));
        written(&line)
    }

    fn part(&self, now: &str, text: &str, thinking: Option<&str>, calls: Vec<Call<'_>>) -> Vec<u8> {
        written(&self.line(now, text, thinking, calls))
    }

    fn line<'a>(
        &'a self,
        now: &'a str,
        text: &'a str,
        thinking: Option<&'a str>,
        tool_calls: Vec<Call<'a>>,
    ) -> Line<'a> {
        let is_chat = self.kind == Kind::Chat;
        Line {
            model: &self.model,
            created_at: now,
            message: is_chat.then_some(Message {
                role: "assistant",
                content: text,
                thinking,
                tool_calls,
            }),
            response: (!is_chat).then_some(text),
            thinking: thinking.filter(|_| !is_chat),
            done: false,
            done_reason: None,
            total_duration: None,
            eval_duration: None,
            prompt_eval_count: None,
            eval_count: None,
        }
    }

    fn last(
        &self,
        now: &str,
        text: &str,
        thinking: Option<&str>,
        calls: Vec<Call<'_>>,
        completion: &Completion,
        timings: Timings,
    ) -> Vec<u8> {
        let mut line = self.line(now, text, thinking, calls);
        line.done = true;
        line.done_reason = Some(match completion.finish {
            FinishReason::Length => "length",
            // "stop" with tool calls too, as Ollama has it.
            _ => "stop",
        });
        line.total_duration = Some(timings.total_ns);
        line.eval_duration = Some(completion.usage.duration_ms.saturating_mul(1_000_000));
        line.prompt_eval_count = Some(completion.usage.input_tokens);
        line.eval_count = Some(completion.usage.output_tokens);
        written(&line)
    }
}

/// A failure: the status where nothing was sent before it, and the line.
pub(crate) fn failure(error: &InferenceError) -> (StatusCode, Vec<u8>) {
    use InferenceError as E;
    let status = match error {
        E::Invalid { .. } | E::ContextTooLong { .. } | E::NoTools { .. } => StatusCode::BAD_REQUEST,
        E::ModelNotFound { .. } => StatusCode::NOT_FOUND,
        E::RemoteModel { .. } => StatusCode::FORBIDDEN,
        E::Unavailable { .. } | E::Overloaded { .. } => StatusCode::SERVICE_UNAVAILABLE,
        E::BudgetExhausted(_) => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    #[derive(Serialize)]
    struct Failure {
        error: String,
    }
    (status, written(&Failure { error: error.to_string() }))
}

/// Vectors: `/api/embed`, or the one of the older `/api/embeddings`.
pub(crate) fn embedded(
    model: &str,
    answer: &Embeddings,
    single: bool,
    timings: Timings,
) -> Vec<u8> {
    #[derive(Serialize)]
    struct Several<'a> {
        model: &'a str,
        embeddings: &'a [Vec<f32>],
        total_duration: u64,
        prompt_eval_count: u64,
    }
    #[derive(Serialize)]
    struct One<'a> {
        embedding: &'a [f32],
    }
    if single {
        return written(&One { embedding: answer.vectors.first().map_or(&[], Vec::as_slice) });
    }
    written(&Several {
        model,
        embeddings: &answer.vectors,
        total_duration: timings.total_ns,
        prompt_eval_count: answer.usage.input_tokens,
    })
}

fn call(index: usize, asked: &ToolCall) -> Call<'_> {
    // A model may have written anything; what is no object would break the reader's line.
    let arguments =
        serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&asked.arguments_json)
            .ok()
            .and_then(|_| RawValue::from_string(asked.arguments_json.replace('\n', " ")).ok());
    let arguments = arguments.unwrap_or_else(|| RawValue::NULL.to_owned());
    Call { id: &asked.id, function: Function { index, name: &asked.name, arguments } }
}

fn written(value: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use foreshore_domain::inference::{Message as DomainMessage, Role, ServedBy, Step, TokenUsage};
    use serde_json::Value;

    use super::*;

    const NOW: &str = "2026-01-01T00:00:00Z";

    fn done() -> Completion {
        let mut message = DomainMessage::text(Role::Assistant, "hi");
        message.tool_calls.push(ToolCall {
            id: "c".into(),
            name: "look".into(),
            arguments_json: "{\n\"a\": 1}".into(),
        });
        Completion {
            message,
            finish: FinishReason::ToolCalls,
            usage: TokenUsage { input_tokens: 3, output_tokens: 4, duration_ms: 5, cost_micros: 0 },
            served_by: ServedBy { backend: "b".into(), model: "m".into(), step: Step::Primary },
        }
    }

    fn value(line: &[u8]) -> Value {
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1, "one line");
        serde_json::from_slice(line).expect("JSON")
    }

    #[test]
    fn a_line_has_a_message_or_a_response() {
        let chat = value(&Lines::new(Kind::Chat, "m".into()).text(NOW, "a"));
        assert_eq!(chat["message"]["content"], "a");
        assert_eq!(chat["done"], false);
        let generate = value(&Lines::new(Kind::Generate, "m".into()).text(NOW, "a"));
        assert_eq!((&generate["response"], &generate["message"]), (&"a".into(), &Value::Null));
    }

    #[test]
    fn arguments_are_objects_and_counts_are_numbers() {
        let whole =
            value(&Lines::new(Kind::Chat, "m".into()).whole(NOW, &done(), Timings { total_ns: 9 }));
        assert_eq!(whole["message"]["tool_calls"][0]["function"]["arguments"]["a"], 1);
        assert_eq!((&whole["done_reason"], &whole["eval_count"]), (&"stop".into(), &4.into()));
        assert_eq!(whole["eval_duration"], 5_000_000);
        let mut lines = Lines::new(Kind::Chat, "m".into());
        let asked = ToolCall { id: "c".into(), name: "x".into(), arguments_json: "no json".into() };
        lines.tool_call(NOW, &asked);
        let second = value(&lines.tool_call(NOW, &asked));
        assert_eq!(second["message"]["tool_calls"][0]["function"]["index"], 1);
    }

    #[test]
    fn failures_have_ollamas_status() {
        let error = InferenceError::ModelNotFound { model: "x".into(), known: Vec::new() };
        let (status, line) = failure(&error);
        assert_eq!(
            (status.as_u16(), value(&line)["error"].as_str()),
            (404, Some(error.to_string().as_str()))
        );
    }
}
