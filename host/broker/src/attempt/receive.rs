//! An answer as it comes in: passed on at once, and put together.

use std::time::Duration;

use foreshore_domain::inference::{
    Delta, DeltaSink, FinishReason, Message, Part, Role, TimedOut, TokenUsage, ToolCall,
};

use super::Ask;
use crate::backend::{ChatStream, Done, Piece};
use crate::failure::Failure;

/// A whole answer of one model.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answered {
    pub(crate) message: Message,
    pub(crate) finish: FinishReason,
    pub(crate) usage: TokenUsage,
}

/// What has come so far.
#[derive(Default)]
struct Collected {
    text: String,
    thinking: String,
    tool_calls: Vec<ToolCall>,
    bytes: usize,
}

/// Reads to the end. Whatever breaks once something came is [`Failure::BrokeOff`], with what
/// came: it was passed on, so nobody else can be asked.
pub(super) async fn all(
    mut stream: ChatStream,
    first: Option<Vec<Piece>>,
    ask: &Ask<'_>,
    gap: Duration,
) -> Result<Answered, Failure> {
    let mut collected = Collected::default();
    let mut next = first;
    loop {
        let Some(pieces) = next else {
            let message = "it ended without saying that it was done".to_owned();
            return Err(collected.broke_off(Failure::Answer { message }));
        };
        if let Some(done) = collected.take(pieces, ask)? {
            stream.finish().await;
            return Ok(collected.answered(done));
        }
        next = match tokio::time::timeout(gap, stream.next()).await {
            Ok(Ok(pieces)) => pieces,
            Ok(Err(failure)) => return Err(collected.broke_off(failure)),
            Err(_) => {
                let limit_ms = u64::try_from(gap.as_millis()).unwrap_or(u64::MAX);
                return Err(Failure::TimedOut { what: TimedOut::Gap, limit_ms, hangs: false });
            }
        };
    }
}

impl Collected {
    /// Takes pieces and passes them on; the end, if it is among them.
    fn take(&mut self, pieces: Vec<Piece>, ask: &Ask<'_>) -> Result<Option<Done>, Failure> {
        for piece in pieces {
            match piece {
                Piece::Done(done) => return Ok(Some(done)),
                Piece::Text(text) => {
                    self.weigh(text.len(), ask)?;
                    tell(ask.sink, Delta::Text(&text));
                    self.text.push_str(&text);
                }
                Piece::Thinking(text) => {
                    self.weigh(text.len(), ask)?;
                    tell(ask.sink, Delta::Thinking(&text));
                    self.thinking.push_str(&text);
                }
                Piece::ToolCall(call) => {
                    self.weigh(call.name.len() + call.arguments_json.len(), ask)?;
                    tell(ask.sink, Delta::ToolCall(&call));
                    self.tool_calls.push(call);
                }
            }
        }
        Ok(None)
    }

    fn weigh(&mut self, more: usize, ask: &Ask<'_>) -> Result<(), Failure> {
        ask.came.add(more);
        self.bytes = self.bytes.saturating_add(more);
        if self.bytes <= ask.answer_max_bytes {
            return Ok(());
        }
        let message = format!("its answer is longer than {} bytes", ask.answer_max_bytes);
        Err(Failure::BrokeOff { message, partial: self.text.clone() })
    }

    fn broke_off(self, failure: Failure) -> Failure {
        if self.bytes == 0 {
            return failure;
        }
        let message = match failure {
            Failure::Connection { message }
            | Failure::Answer { message }
            | Failure::ContextTooLong { message } => message,
            other => return other,
        };
        Failure::BrokeOff { message, partial: self.text }
    }

    fn answered(self, done: Done) -> Answered {
        let finish = match (done.finish, self.tool_calls.is_empty()) {
            // Ollama says "stop" here too.
            (FinishReason::Stop, false) => FinishReason::ToolCalls,
            (finish, _) => finish,
        };
        let content = match self.text.is_empty() {
            true => Vec::new(),
            false => vec![Part::Text(self.text)],
        };
        Answered {
            message: Message {
                role: Role::Assistant,
                content,
                thinking: (!self.thinking.is_empty()).then_some(self.thinking),
                tool_calls: self.tool_calls,
                tool_result: None,
            },
            finish,
            usage: TokenUsage {
                input_tokens: done.input_tokens,
                output_tokens: done.output_tokens,
                duration_ms: done.duration_ms.unwrap_or_default(),
                cost_micros: 0,
            },
        }
    }
}

fn tell(sink: Option<&dyn DeltaSink>, delta: Delta<'_>) {
    if let Some(sink) = sink {
        sink.delta(delta);
    }
}
