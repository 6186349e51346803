//! What stands behind the seams of a host: agents that are scripts, tools that leave a mark in
//! the world, and a model that repeats the question.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use foreshore_domain::agent::{AgentDefinition, Turn};
use foreshore_domain::call::{CallContext, CallError, Denials, Meter};
use foreshore_domain::component::{ComponentRef, ToolHints, ToolName};
use foreshore_domain::effect::AgentTool;
use foreshore_domain::id::Digest;
use foreshore_domain::inference::{
    ChatRequest, Completion, Delta, DeltaSink, EmbedRequest, Embeddings, FinishReason,
    InferenceError, Message, Model, Role, ServedBy, Step, TokenUsage,
};
use foreshore_domain::limits::Limits;
use foreshore_domain::outcome::{Content, ToolResult, Usage};
use foreshore_domain::ports::BoxFuture;

use super::agent::{Agent, Script};
use super::{World, lock};
use crate::Door;
use crate::approvals::{Approvals, Candidate};
use crate::invoke::Caller;
use crate::record::{CallFacts, Recorder};
use crate::turns::agents::{AgentComponent, Agents, Ran};
use crate::turns::tools::{ToolCall, ToolFacts, Tools};
use crate::turns::{Asker, Models};

pub(super) struct Scripts {
    pub(super) world: World,
    pub(super) door: Arc<Door>,
}

impl Agents for Scripts {
    fn find(&self, component: &str) -> Result<Arc<dyn AgentComponent>, String> {
        let script = lock(&self.world.0.scripts).get(component).cloned();
        let script = script.ok_or_else(|| format!("component \"{component}\" is not loaded"))?;
        let version = "0.1.0".parse().expect("a version");
        Ok(Arc::new(Scripted {
            reference: ComponentRef::new(component, version).expect("a name"),
            definition: AgentDefinition {
                name: component.to_owned(),
                title: None,
                description: "An agent of a test.".to_owned(),
                parameters_schema: None,
            },
            script,
            world: self.world.clone(),
            door: Arc::clone(&self.door),
        }))
    }
}

struct Scripted {
    reference: ComponentRef,
    definition: AgentDefinition,
    script: Script,
    world: World,
    door: Arc<Door>,
}

impl AgentComponent for Scripted {
    fn reference(&self) -> &ComponentRef {
        &self.reference
    }

    fn digest(&self) -> Digest {
        Digest::of(self.reference.name.as_bytes())
    }

    fn definition(&self) -> Option<&AgentDefinition> {
        Some(&self.definition)
    }

    fn limits(&self) -> Limits {
        Limits::default()
    }

    fn check_parameters(&self, parameters: &serde_json::Value) -> Result<(), (String, String)> {
        match parameters.get("bad") {
            None => Ok(()),
            Some(_) => Err(("/bad".to_owned(), "it is bad".to_owned())),
        }
    }

    fn run(&self, context: Arc<CallContext>, turn: Turn) -> BoxFuture<'static, Ran> {
        let agent =
            Agent { turn, call: context, door: Arc::clone(&self.door), world: self.world.clone() };
        let run = (self.script)(agent);
        Box::pin(async move { Ran { result: run.await, fuel: 7 } })
    }
}

pub(super) struct Fake {
    pub(super) world: World,
    pub(super) recorder: Recorder,
    pub(super) approvals: Approvals,
}

/// Tools of the component `t`: what only reads, what may be done twice, and what may not.
const TOOLS: [(&str, bool, bool); 4] =
    [("look", true, false), ("set", false, true), ("add", false, false), ("fail", false, false)];

impl Tools for Fake {
    fn list(&self) -> Vec<(ToolName, AgentTool)> {
        let tool = |(name, read_only, idempotent): &(&str, bool, bool)| {
            let name: ToolName = format!("t.{name}").parse().expect("a name");
            let tool = AgentTool {
                name: name.to_string(),
                description: "A tool of a test.".to_owned(),
                input_schema: r#"{"type":"object"}"#.to_owned(),
                read_only: *read_only,
                destructive: false,
                idempotent: *idempotent,
                open_world: false,
                needs_approval: false,
            };
            (name, tool)
        };
        TOOLS.iter().map(tool).collect()
    }

    fn find(&self, tool: &ToolName) -> Result<ToolFacts, CallError> {
        let found = TOOLS.iter().find(|(name, ..)| tool.component == "t" && tool.tool == *name);
        let unknown = CallError::UnknownTool { tool: tool.to_string(), suggestion: None };
        let (_, read_only, idempotent) = found.ok_or(unknown)?;
        let (read_only, idempotent) = (*read_only, *idempotent);
        Ok(ToolFacts {
            component: reference(),
            digest: Digest::of(b"t"),
            tool: tool.tool.as_str().into(),
            hints: ToolHints { read_only, idempotent, ..ToolHints::default() },
            grant: Arc::default(),
        })
    }

    fn call(&self, call: ToolCall) -> BoxFuture<'static, Result<ToolResult, CallError>> {
        let hints = self.find(&call.tool).expect("it is there").hints;
        let (world, recorder) = (self.world.clone(), self.recorder.clone());
        let approvals = self.approvals.clone();
        let context = context(&call, hints);
        let facts = CallFacts::of(&context, call.caller.clone());
        Box::pin(async move {
            world.moment().await;
            let ticket = match call.approval {
                None => None,
                Some(approval) => {
                    let arguments = serde_json::from_str(&call.arguments).expect("JSON");
                    let Caller::Turn { agent, conversation, .. } = &call.caller else {
                        panic!("a call of a turn says so")
                    };
                    let agent = Some((Arc::clone(agent), conversation.clone()));
                    Some(approvals.show(&Candidate::of(&context, arguments, agent), approval)?)
                }
            };
            if !hints.read_only || ticket.is_some() {
                recorder.call_started(&facts, ticket.as_ref()).await.expect("recorded");
                world.moment().await;
            }
            world.begins(&call.tool.to_string()).await;
            *lock(&world.0.done).entry(call.tool.tool.clone()).or_default() += 1;
            let result = Ok(ToolResult {
                is_error: call.tool.tool == "fail",
                content: vec![Content::text(format!("{} of {}", call.arguments, call.tool))],
                structured: None,
            });
            if !hints.read_only {
                world.moment().await;
                let beside = call.beside.map(|beside| beside(&result)).unwrap_or_default();
                let completed =
                    recorder.call_completed(&facts, "ok", Usage::default(), beside).await;
                completed.expect("recorded");
            }
            world.moment().await;
            result
        })
    }
}

fn reference() -> ComponentRef {
    ComponentRef::new("t", "1.0.0".parse().expect("a version")).expect("a name")
}

fn context(call: &ToolCall, hints: ToolHints) -> CallContext {
    assert!(matches!(call.caller, Caller::Turn { .. }), "a call of a turn says so");
    CallContext {
        call_id: call.call_id,
        component: reference(),
        digest: Digest::of(b"t"),
        tool: call.tool.tool.as_str().into(),
        hints,
        principal: foreshore_domain::identity::Principal::host(),
        grant: Arc::default(),
        limits: Limits::default(),
        turn: None,
        observer: None,
        meter: Meter::default(),
        denials: Denials::default(),
    }
}

impl Models for Fake {
    fn chat<'a>(
        &'a self,
        request: ChatRequest,
        _asker: &'a Asker,
        sink: Option<Arc<dyn DeltaSink>>,
    ) -> BoxFuture<'a, Result<Completion, InferenceError>> {
        Box::pin(async move {
            self.world.moment().await;
            self.world.begins("model").await;
            let n = self.world.0.asked.fetch_add(1, Ordering::Relaxed);
            lock(&self.world.0.requests).push(request.clone());
            let question = request.messages.last().map(Message::plain_text).unwrap_or_default();
            // Every answer differs, so an agent that is given another one leaves its record.
            let answer = format!("answer {n} to {question}");
            for delta in answer.split_inclusive(' ') {
                if let Some(sink) = &sink {
                    sink.delta(Delta::Text(delta));
                }
            }
            self.world.moment().await;
            Ok(Completion {
                message: Message::text(Role::Assistant, answer),
                finish: FinishReason::Stop,
                usage: TokenUsage {
                    input_tokens: 10,
                    output_tokens: 5,
                    duration_ms: 1,
                    cost_micros: 3,
                },
                served_by: ServedBy {
                    backend: "fake".to_owned(),
                    model: request.model.unwrap_or_else(|| "small".to_owned()),
                    step: Step::Primary,
                },
            })
        })
    }

    fn embed<'a>(
        &'a self,
        request: EmbedRequest,
        _asker: &'a Asker,
    ) -> BoxFuture<'a, Result<Embeddings, InferenceError>> {
        Box::pin(async move {
            Err(InferenceError::ModelNotFound {
                model: request.model.unwrap_or_default(),
                known: Vec::new(),
            })
        })
    }

    fn models<'a>(
        &'a self,
        _asker: &'a Asker,
    ) -> BoxFuture<'a, Result<Vec<Model>, InferenceError>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}
