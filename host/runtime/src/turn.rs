//! One turn of an agent: as a tool's call in all, but for its linker, its deadline and its end.
//!
//! The invariant: **a component that is an agent runs with the agent's linker alone**, which has
//! nothing that two runs of one turn could differ in. Deliberately absent: the record of the
//! turn, which is the door's.

use std::sync::Arc;
use std::time::Duration;

use foreshore_domain::agent::{AgentDefinition, Reply, Turn, TurnContext};
use foreshore_domain::call::{CallContext, CallError, Denials, Meter};
use foreshore_domain::component::{ComponentRef, ToolHints};
use foreshore_domain::effect::AgentError;
use foreshore_domain::id::{CallId, Digest, TurnId};
use foreshore_domain::limits::Limits;
use foreshore_domain::memory::Conversation;
use foreshore_domain::outcome::{Logs, Usage};
use wasmtime::component::Component;

use crate::bindings::agents::{AgentComponentPre, agent};
use crate::call::{self, Run};
use crate::capability::filesystem::Mounts;
use crate::content::contents_to_guest;
use crate::error::LinkError;
use crate::result;
use crate::sandbox::{NoEffects, Sandbox};
use crate::state::{CallScope, State};

/// What happened in a run of a turn. Facts only: whoever asked for it records them.
#[derive(Debug)]
pub struct TurnReport {
    /// How it ended.
    pub result: Result<Reply, TurnFailure>,
    /// What this run used; a run on a record uses fuel for what was done before, too.
    pub usage: Usage,
    /// What this run logged.
    pub logs: Logs,
}

/// Why a turn has no reply.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TurnFailure {
    /// The agent said so itself. Its own words, bounded; a code in them is text.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// It did not run to its end: a limit, a crash, an interruption.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl TurnReport {
    /// The guest was not started.
    pub(crate) fn not_started(message: String) -> Self {
        Self {
            result: Err(CallError::Host { message }.into()),
            usage: Usage::default(),
            logs: Logs::default(),
        }
    }
}

/// An agent that is ready to take turns.
pub(crate) struct LinkedAgent {
    sandbox: Sandbox,
    pre: AgentComponentPre<State>,
}

impl LinkedAgent {
    /// # Errors
    /// An import that is not linked, an export that is missing.
    pub(crate) fn new(sandbox: &Sandbox, component: &Component) -> Result<Self, LinkError> {
        let pre = sandbox
            .agent_linker()
            .instantiate_pre(component)
            .and_then(AgentComponentPre::new)
            .map_err(|error| LinkError::Interface { message: format!("{error:#}") })?;
        Ok(Self { sandbox: sandbox.clone(), pre })
    }

    /// What the agent says of itself; runs in a sandbox with no grants and default limits.
    ///
    /// # Errors
    /// As for any call; a definition that is malformed is the component's crash.
    pub(crate) async fn describe(
        &self,
        component: &ComponentRef,
        digest: Digest,
    ) -> Result<AgentDefinition, CallError> {
        let limits = Limits::default();
        let context = CallContext {
            call_id: CallId::new(0),
            component: component.clone(),
            digest,
            tool: "describe".into(),
            hints: ToolHints::default(),
            principal: foreshore_domain::identity::Principal::host(),
            grant: Arc::default(),
            limits,
            turn: Some(Arc::new(no_turn(limits.deadline())?)),
            observer: None,
            meter: Meter::default(),
            denials: Denials::default(),
        };
        let scope = Arc::new(CallScope::new(Arc::new(context), Arc::new(NoEffects)));
        let run = self
            .run(scope, async |pre, store| {
                let guest = pre.instantiate_async(&mut *store).await?;
                guest.foreshore_agent_agent().call_describe(store).await
            })
            .await;
        result::description(run.returned?)
            .map_err(|message| CallError::Trap { component: component.clone(), message })
    }

    /// Takes a turn in a fresh sandbox. Dropping the future stops the guest.
    pub(crate) async fn run_turn(&self, context: Arc<CallContext>, turn: Turn) -> TurnReport {
        if context.turn.is_none() {
            let message = format!("{} was started without a turn", context.component);
            return TurnReport::not_started(message);
        }
        let effects = self.sandbox.effects();
        let scope = Arc::new(CallScope::new(Arc::clone(&context), effects));
        let turn = turn_to_guest(turn);
        let run = self
            .run(scope, async |pre, store| {
                let guest = pre.instantiate_async(&mut *store).await?;
                guest.foreshore_agent_agent().call_run(store, &turn).await
            })
            .await;
        let returned = run.returned.map_err(TurnFailure::from);
        TurnReport {
            result: returned.and_then(|returned| result::turn_result(&context, returned)),
            usage: run.usage,
            logs: run.logs,
        }
    }

    async fn run<R>(
        &self,
        scope: Arc<CallScope>,
        function: impl AsyncFnOnce(
            &AgentComponentPre<State>,
            &mut wasmtime::Store<State>,
        ) -> wasmtime::Result<R>,
    ) -> Run<R> {
        let (scheduler, interval) = self.sandbox.turns();
        let engine = self.pre.engine();
        call::run(engine, &self.pre, scheduler, interval, scope, Mounts::none(), function).await
    }
}

/// What the clocks and random numbers of an agent come from while it only says what it is.
fn no_turn(wall: Duration) -> Result<TurnContext, CallError> {
    let conversation = Conversation::parse("none")
        .map_err(|error| CallError::Host { message: error.to_string() })?;
    Ok(TurnContext::new(TurnId::new(0), conversation, 0, "describe".into(), [0; 32], 0, wall))
}

fn turn_to_guest(turn: Turn) -> agent::Turn {
    agent::Turn {
        conversation_id: turn.conversation.as_str().to_owned(),
        number: turn.number,
        message: contents_to_guest(turn.message),
        parameters: turn.parameters.map(|parameters| parameters.get().to_owned()),
    }
}
