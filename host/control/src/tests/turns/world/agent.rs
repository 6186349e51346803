//! An agent in plain Rust.

use std::sync::Arc;

use foreshore_domain::agent::{Finish, Reply, Turn};
use foreshore_domain::call::{CallContext, CallError};
use foreshore_domain::effect::{
    AgentEffect, AgentError, AgentOutcome, Effect, EffectError, EffectOutcome, ReplyPart,
    ToolRequest,
};
use foreshore_domain::inference::{ChatRequest, Message, Role};
use foreshore_domain::outcome::{Content, ToolResult};
use foreshore_domain::ports::{BoxFuture, Effects as _};

use super::World;
use crate::Door;
use crate::turns::agents::Stopped;

/// What an agent does in a turn.
pub(in crate::tests::turns) type Script =
    Arc<dyn Fn(Agent) -> BoxFuture<'static, Result<Reply, Stopped>> + Send + Sync>;

pub(in crate::tests::turns) fn script<F>(run: impl Fn(Agent) -> F + Send + Sync + 'static) -> Script
where
    F: Future<Output = Result<Reply, Stopped>> + Send + 'static,
{
    Arc::new(move |agent| Box::pin(run(agent)))
}

/// An agent in plain Rust: it has a door, and nothing else.
pub(in crate::tests::turns) struct Agent {
    pub(in crate::tests::turns) turn: Turn,
    pub(super) call: Arc<CallContext>,
    pub(super) door: Arc<Door>,
    pub(super) world: World,
}

impl Agent {
    /// Asks for something; `Err` where the run ends.
    pub(in crate::tests::turns) async fn ask(
        &self,
        effect: AgentEffect,
    ) -> Result<Result<AgentOutcome, AgentError>, Stopped> {
        self.world.moment().await;
        match self.door.perform(&self.call, Effect::Agent(Box::new(effect))).await {
            Ok(EffectOutcome::Agent(outcome)) => Ok(Ok(*outcome)),
            Ok(_) => panic!("an outcome of no agent"),
            Err(EffectError::Agent(error)) => Ok(Err(error)),
            Err(EffectError::Interrupted(interruption)) => {
                Err(Stopped::Call(CallError::Interrupted(interruption)))
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// As [`Self::ask`], for what must succeed.
    pub(in crate::tests::turns) async fn get(
        &self,
        effect: AgentEffect,
    ) -> Result<AgentOutcome, Stopped> {
        self.ask(effect).await?.map_err(Stopped::Agent)
    }

    /// Calls tools with `{}`.
    pub(in crate::tests::turns) async fn call(
        &self,
        tools: &[&str],
    ) -> Result<Vec<Result<ToolResult, AgentError>>, Stopped> {
        let requests = tools.iter().map(|tool| request(tool)).collect();
        match self.get(AgentEffect::CallTools(requests)).await? {
            AgentOutcome::Called(results) => Ok(results),
            other => panic!("{other:?}"),
        }
    }

    /// Asks the model something, and gives its answer.
    pub(in crate::tests::turns) async fn infer(&self, question: &str) -> Result<String, Stopped> {
        match self.get(infer(question)).await? {
            AgentOutcome::Inferred(completion) => Ok(completion.message.plain_text()),
            other => panic!("{other:?}"),
        }
    }

    pub(in crate::tests::turns) fn say(&self, text: &str) {
        self.door.note(&self.call, Effect::Reply(ReplyPart::Text(text.to_owned())));
    }

    pub(in crate::tests::turns) fn phase(&self, name: &str) {
        let part = ReplyPart::Phase { name: name.to_owned(), message: None };
        self.door.note(&self.call, Effect::Reply(part));
    }

    pub(in crate::tests::turns) fn now(&self) -> u64 {
        self.call.turn.as_ref().expect("a turn").now_unix_ms()
    }

    /// What the person said.
    pub(in crate::tests::turns) fn message(&self) -> String {
        words(&self.turn.message)
    }
}

pub(in crate::tests::turns) fn request(tool: &str) -> ToolRequest {
    ToolRequest { name: tool.to_owned(), arguments: "{}".to_owned() }
}

pub(in crate::tests::turns) fn infer(question: &str) -> AgentEffect {
    let request = ChatRequest::new(None, vec![Message::text(Role::User, question)]);
    AgentEffect::Infer { request, stream_to_reply: true }
}

/// A reply that is one text.
pub(in crate::tests::turns) fn text(text: impl Into<String>) -> Result<Reply, Stopped> {
    Ok(Reply { message: vec![Content::text(text.into())], finish: Finish::Stop })
}

/// The text of contents.
pub(in crate::tests::turns) fn words(contents: &[Content]) -> String {
    crate::turns::excerpt(contents)
}
