//! A door that remembers what it was asked and says what a test wants it to say.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use foreshore_domain::agent::{Finish, Reply};
use foreshore_domain::call::{CallContext, Interruption};
use foreshore_domain::effect::{
    AgentEffect, AgentError, AgentOutcome, AgentTool, Answer, Effect, EffectError, EffectOutcome,
    OtherAgent, Recalled, Remaining, Remembered, ReplyPart, Said, VariableEntry,
};
use foreshore_domain::inference::{
    Completion, Embeddings, FinishReason, Message, Model, Role, ServedBy, Step, TokenUsage,
};
use foreshore_domain::memory::JsonType;
use foreshore_domain::outcome::{Content, ToolResult};
use foreshore_domain::ports::{BoxFuture, Effects};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::Semaphore;

pub(crate) const BEGAN: u64 = 1_800_000_000_123;
/// How far each effect moves the clock.
pub(crate) const STEP_MS: u64 = 1_500;

/// What the door does with the effects of an agent.
#[derive(Clone, Default)]
pub(crate) enum Does {
    /// Gives what was asked for.
    #[default]
    Give,
    /// The same, once somebody opens the gate.
    GiveLate(Arc<Semaphore>),
    /// Interrupts the turn at this kind of effect.
    InterruptAt(&'static str, Interruption),
    /// Gives something else.
    GiveOther,
    /// Says no.
    Refuse(AgentError),
    /// Cannot record it.
    NotRecorded,
}

#[derive(Default)]
pub(crate) struct Door {
    pub(crate) does: Does,
    pub(crate) asked: Mutex<Vec<Value>>,
    pub(crate) parts: Mutex<Vec<ReplyPart>>,
    pub(crate) waiting: AtomicU64,
    pub(crate) notes: AtomicU64,
}

impl Effects for Door {
    fn perform<'a>(
        &'a self,
        call: &'a Arc<CallContext>,
        effect: Effect,
    ) -> BoxFuture<'a, Result<EffectOutcome, EffectError>> {
        let Effect::Agent(effect) = effect else {
            panic!("{} is no effect of an agent", effect.kind())
        };
        let asked = serde_json::to_value(&*effect).expect("an effect serializes");
        self.asked.lock().expect("lock").push(asked);
        Box::pin(async move {
            match &self.does {
                Does::Give => {}
                Does::GiveLate(gate) => {
                    self.waiting.fetch_add(1, Ordering::SeqCst);
                    gate.acquire().await.expect("open").forget();
                }
                Does::InterruptAt(kind, interruption) if *kind == effect.kind() => {
                    return Err(interruption.clone().into());
                }
                Does::InterruptAt(..) => {}
                Does::GiveOther => {
                    return Ok(EffectOutcome::Agent(Box::new(AgentOutcome::Secret(true))));
                }
                Does::Refuse(error) => return Err(error.clone().into()),
                Does::NotRecorded => return Err(EffectError::NotRecorded("disk full".to_owned())),
            }
            let turn = call.turn.as_ref().expect("a turn");
            turn.advance_to(turn.now_unix_ms() + STEP_MS);
            Ok(EffectOutcome::Agent(Box::new(outcome(*effect))))
        })
    }

    fn note(&self, _: &CallContext, effect: Effect) {
        match effect {
            Effect::Reply(part) => self.parts.lock().expect("lock").push(part),
            _ => {
                self.notes.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

pub(crate) fn completion(text: &str) -> Completion {
    Completion {
        message: Message::text(Role::Assistant, text),
        finish: FinishReason::Stop,
        usage: TokenUsage { input_tokens: u64::MAX, output_tokens: 2, ..TokenUsage::default() },
        served_by: served_by(),
    }
}

pub(crate) fn served_by() -> ServedBy {
    let (backend, model) = ("here".to_owned(), "small".to_owned());
    ServedBy { backend, model, step: Step::Fallback }
}

pub(crate) fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).expect("JSON")
}

/// What each effect is given.
pub(crate) fn outcome(effect: AgentEffect) -> AgentOutcome {
    match effect {
        AgentEffect::Infer { .. } => AgentOutcome::Inferred(completion("I see")),
        AgentEffect::InferAll(requests) => AgentOutcome::InferredAll(
            requests
                .iter()
                .map(|request| match request.messages[0].plain_text().as_str() {
                    "a" => Ok(completion("A")),
                    _ => Err(AgentError::Unavailable(Some(7))),
                })
                .collect(),
        ),
        AgentEffect::Embed(_) => AgentOutcome::Embedded(Embeddings {
            vectors: vec![vec![0.25, 0.5]],
            served_by: served_by(),
            usage: TokenUsage::default(),
        }),
        AgentEffect::Models => AgentOutcome::Models(vec![Model {
            name: "small".to_owned(),
            backends: Vec::new(),
            context_length: Some(4_096),
            tools: true,
            vision: false,
            thinking: false,
            embedding: false,
            details: Default::default(),
        }]),
        AgentEffect::Tools => AgentOutcome::Tools(vec![AgentTool {
            name: "files.read".to_owned(),
            description: "Reads.".to_owned(),
            input_schema: "{}".to_owned(),
            read_only: true,
            destructive: false,
            idempotent: true,
            open_world: false,
            needs_approval: true,
        }]),
        AgentEffect::CallTools(calls) => AgentOutcome::Called(
            calls
                .into_iter()
                .map(|call| match call.name.as_str() {
                    "files.read" => Ok(ToolResult {
                        is_error: false,
                        content: vec![Content::text("bytes")],
                        structured: Some(raw("{\"n\": 1}")),
                    }),
                    other => Err(AgentError::UnknownOutcome(other.to_owned())),
                })
                .collect(),
        ),
        AgentEffect::Agents => AgentOutcome::Agents(vec![OtherAgent {
            name: "other".to_owned(),
            description: "Helps.".to_owned(),
        }]),
        AgentEffect::Delegate(_) => AgentOutcome::Delegated(Reply {
            message: vec![Content::text("done for you")],
            finish: Finish::Budget,
        }),
        AgentEffect::Recall(_) => AgentOutcome::Recalled(Recalled::Entry(None)),
        AgentEffect::Remember(_) => AgentOutcome::Remembered(Remembered::Version(3)),
        AgentEffect::Variables => AgentOutcome::Variables(vec![VariableEntry {
            name: "plan".to_owned(),
            version: 2,
            json_type: JsonType::Array,
            size_bytes: 3,
            first_line: "[1]".to_owned(),
        }]),
        AgentEffect::GetVariable { .. } => AgentOutcome::Variable(raw("[1]")),
        AgentEffect::SetVariable { .. } => AgentOutcome::VariableSet(3),
        AgentEffect::RecentMessages { .. } => AgentOutcome::Messages(vec![Said {
            turn: 4,
            message: Message::text(Role::User, "before"),
        }]),
        AgentEffect::Summary => AgentOutcome::Summary(Some(("so far".to_owned(), 2))),
        AgentEffect::Ask { .. } => AgentOutcome::Answered(Answer::Accepted(raw("{\"x\":1}"))),
        AgentEffect::SetSummary { .. }
        | AgentEffect::Approve { .. }
        | AgentEffect::Emit { .. }
        | AgentEffect::WakeAt { .. } => AgentOutcome::Done,
        AgentEffect::Budget | AgentEffect::Iteration => AgentOutcome::Budget(Remaining {
            tokens: 10,
            cost_micros: 20,
            tool_calls: u64::MAX,
            iterations: 40,
            wall_ms: 50,
        }),
        AgentEffect::SecretExists { .. } => AgentOutcome::Secret(true),
    }
}
