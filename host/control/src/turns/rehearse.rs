//! A past turn again, without touching the world or the journal: on its record alone, or with
//! another component, model or parameters against it.
//!
//! As long as what is asked is what is on record, the recorded outcome is given. Where that
//! ends, a replay without live inference ends too, and says where. With live inference models
//! are asked anew, and tools are answered from the record where the same tool was called with
//! the same arguments; a call that is not on record is not made, and is reported as one that
//! would have been. The invariant: **nothing here changes anything but the bill of a model.**

mod pretence;
mod report;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foreshore_domain::agent::{Turn, TurnBudget, TurnContext};
use foreshore_domain::call::{CallContext, CallError, Denials, Interruption, Meter as CallMeter};
use foreshore_domain::component::ToolHints;
use foreshore_domain::conversation::{TurnEnd, TurnUsage};
use foreshore_domain::effect::{
    AgentEffect, AgentError, AgentOutcome, EffectError, Remaining, ToolRequest,
};
use foreshore_domain::id::{CallId, TurnId};
use foreshore_domain::inference::ChatRequest;
use foreshore_domain::outcome::{Content, ToolResult};
use foreshore_store::conversations::TurnState;
use serde_json::value::RawValue;

use self::pretence::{as_if, is_inference, same_call};
pub use self::report::{
    ReplayComponent, ReplayDivergence, ReplayFault, ReplayOptions, ReplayReport, ReplaySide,
    ReplayStep,
};
use super::account::Account;
use super::agents::{AgentComponent, Ran, Stopped};
use super::budget::Meter;
use super::models::Asker;
use super::record::Record;
use super::request::{self, Request};
use super::running::Performer;
use super::step::Outcome;
use super::summary::{summary, tools_of};
use super::{Turns, ending, payload, registry};
use crate::clock;

impl Turns {
    /// Runs a past turn again.
    ///
    /// # Errors
    /// [`ReplayFault`]. A run that leaves its record is no error, but what is asked for.
    pub async fn replay(
        &self,
        turn: TurnId,
        options: ReplayOptions,
    ) -> Result<ReplayReport, ReplayFault> {
        let not_found = || ReplayFault::NotFound { turn };
        let entry = self.conversations().turn(turn)?.ok_or_else(not_found)?;
        let record = Record::read(self.journal(), &self.1, turn)?;
        let started = record.started.clone().ok_or_else(not_found)?;
        let policy = self.policy(entry.agent.as_str());
        let component = match options.component {
            Some(ReplayComponent::Loaded(component)) => registry::agent(component),
            Some(ReplayComponent::Named(name)) => self.0.host.agents.find(&name),
            None => match policy {
                Some(policy) => self.0.host.agents.find(&policy.component),
                None => Err(format!("agent \"{}\" is not configured any more", entry.agent)),
            },
        };
        let component = component.map_err(|message| ReplayFault::Component { message })?;
        let parameters = match &options.parameters {
            Some(given) => {
                let value = serde_json::from_str(given.get());
                let value =
                    value.map_err(|error| ReplayFault::Store { message: error.to_string() })?;
                component
                    .check_parameters(&value)
                    .map_err(|(pointer, message)| ReplayFault::Invalid { pointer, message })?;
                Some(given.clone())
            }
            None => started
                .settings
                .parameters
                .as_ref()
                .and_then(|json| RawValue::from_string(json.as_str().to_owned()).ok()),
        };
        let message = match &options.message {
            Some(message) => message.clone(),
            None => payload::value(self.journal(), &entry.message)?,
        };
        let budget = started.settings.budget;
        let recorded = self.recorded_side(&record, &entry, started.component.as_str())?;
        let context = Arc::new(TurnContext::new(
            turn,
            entry.conversation.clone(),
            entry.number,
            entry.agent.as_str().into(),
            *started.seed.as_bytes(),
            started.began_at_unix_ms,
            Duration::from_millis(budget.wall_ms.get()),
        ));
        let live = options.live_inference || options.model.is_some();
        let rehearsal = Arc::new(Rehearsal {
            turns: self.clone(),
            context: Arc::clone(&context),
            model: options.model,
            live,
            state: Mutex::new(State::new(record, budget)),
        });
        let given =
            Turn { conversation: entry.conversation, number: entry.number, message, parameters };
        let ran = self.rehearse(&*component, &rehearsal, context, given).await;
        Ok(rehearsal.report(recorded, &component.reference().to_string(), ran))
    }

    async fn rehearse(
        &self,
        component: &dyn AgentComponent,
        rehearsal: &Arc<Rehearsal>,
        context: Arc<TurnContext>,
        turn: Turn,
    ) -> Ran {
        let call = Arc::new(CallContext {
            call_id: CallId::new(clock::now_unix_ms()),
            component: component.reference().clone(),
            digest: component.digest(),
            tool: "replay".into(),
            hints: ToolHints::default(),
            principal: foreshore_domain::identity::Principal::host(),
            grant: Arc::default(),
            limits: component.limits(),
            turn: Some(context),
            observer: None,
            meter: CallMeter::default(),
            denials: Denials::default(),
        });
        let performer = Performer::Rehearsal(Arc::clone(rehearsal));
        let _entered = self.0.host.running.enter(call.call_id, performer);
        component.run(call, turn).await
    }

    fn recorded_side(
        &self,
        record: &Record,
        entry: &foreshore_store::conversations::TurnEntry,
        component: &str,
    ) -> Result<ReplaySide, ReplayFault> {
        let mut side = ReplaySide {
            component: component.to_owned(),
            steps: Vec::new(),
            tools: Vec::new(),
            usage: entry.usage,
            end: None,
            reply: Vec::new(),
            error: None,
        };
        for effect in &record.effects {
            let asked: AgentEffect = payload::value(self.journal(), &effect.request)?;
            side.tools.extend(tools_of(&asked));
            side.steps.push(ReplayStep {
                kind: effect.effect.as_str().to_owned(),
                summary: summary(&asked),
                digest: request::hex(&effect.digest),
            });
        }
        if matches!(entry.state, TurnState::Ended(_)) {
            let ended = ending::of_entry(self.journal(), entry)?;
            side.end = Some(ended.end);
            side.reply = ended.reply;
            side.error = ended.error;
        }
        Ok(side)
    }
}

/// A run that touches nothing.
pub(crate) struct Rehearsal {
    turns: Turns,
    context: Arc<TurnContext>,
    model: Option<String>,
    live: bool,
    state: Mutex<State>,
}

struct State {
    record: Record,
    next: usize,
    divergence: Option<ReplayDivergence>,
    steps: Vec<ReplayStep>,
    tools: Vec<String>,
    would_have_called: Vec<ToolRequest>,
    account: Account,
}

impl State {
    fn new(record: Record, budget: TurnBudget) -> Self {
        Self {
            record,
            next: 0,
            divergence: None,
            steps: Vec::new(),
            tools: Vec::new(),
            would_have_called: Vec::new(),
            account: Account::new(Meter::new(budget)),
        }
    }
}

impl Rehearsal {
    pub(crate) async fn perform(&self, effect: AgentEffect) -> Result<AgentOutcome, EffectError> {
        let request = match Request::of(&effect) {
            Ok(request) => request,
            Err(error) => return Err(AgentError::Failed(error.to_string()).into()),
        };
        let outcome = match self.on_record(&effect, &request)? {
            Some(index) if !(self.live && is_inference(&effect)) => self.recorded(index)?,
            _ => self.off_record(&effect, &request).await?,
        };
        self.lock().account.count(request.kind, &outcome, None)?;
        outcome.map_err(EffectError::Agent)
    }

    /// The place of an effect on the record, as long as the run has not left it.
    fn on_record(
        &self,
        effect: &AgentEffect,
        request: &Request,
    ) -> Result<Option<usize>, Interruption> {
        let mut state = self.lock();
        let index = state.next;
        state.next += 1;
        state.tools.extend(tools_of(effect));
        state.steps.push(ReplayStep {
            kind: request.kind.to_owned(),
            summary: summary(effect),
            digest: request::hex(&request.digest),
        });
        if state.divergence.is_some() {
            return Ok(None);
        }
        let recorded = state.record.effects.get(index);
        if recorded.is_some_and(|recorded| recorded.digest == request.digest) {
            return Ok(Some(index));
        }
        let number = u64::try_from(index).unwrap_or(u64::MAX);
        let recorded = recorded.map(|r| request::words(r.effect.as_str(), &r.digest));
        let found = request.words();
        state.divergence = Some(ReplayDivergence {
            number,
            recorded: recorded.clone(),
            found: Some(found.clone()),
        });
        if self.live {
            return Ok(None);
        }
        let recorded = recorded.unwrap_or_else(|| "nothing more".to_owned());
        Err(Interruption::Diverged { number, recorded, found })
    }

    fn recorded(&self, index: usize) -> Result<Outcome, EffectError> {
        let recorded = self.lock().record.effects.get(index).cloned();
        let recorded =
            recorded.ok_or_else(|| AgentError::Failed("the record ends here".to_owned()))?;
        self.context.advance_to(recorded.at_unix_ms);
        payload::value(self.turns.journal(), &recorded.outcome)
            .map_err(|error| AgentError::Failed(error.to_string()).into())
    }

    /// What an effect comes to that is not on record: models are asked, and all else is looked
    /// for in the record, or answered as if it had been done.
    async fn off_record(
        &self,
        effect: &AgentEffect,
        request: &Request,
    ) -> Result<Outcome, EffectError> {
        let asker = Asker {
            tenant: self.turns.tenant(),
            agent: Arc::clone(&self.context.agent),
            conversation: self.context.conversation.clone(),
            time_limit: self.context.wall,
        };
        let models = self.turns.models();
        let outcome = match effect {
            AgentEffect::Infer { request, .. } => {
                let answered = models.chat(self.to_model(request), &asker, None).await;
                answered.map(AgentOutcome::Inferred).map_err(crate::effects::agent::from_model)
            }
            AgentEffect::InferAll(requests) => {
                let mut answers = Vec::new();
                for request in requests {
                    let answered = models.chat(self.to_model(request), &asker, None).await;
                    answers.push(answered.map_err(crate::effects::agent::from_model));
                }
                Ok(AgentOutcome::InferredAll(answers))
            }
            AgentEffect::Embed(request) => {
                let answered = models.embed(request.clone(), &asker).await;
                answered.map(AgentOutcome::Embedded).map_err(crate::effects::agent::from_model)
            }
            AgentEffect::CallTools(requests) => Ok(AgentOutcome::Called(self.answers(requests))),
            AgentEffect::Budget | AgentEffect::Iteration => Ok(AgentOutcome::Budget(self.left())),
            _ => match self.equal(request)? {
                Some(outcome) => outcome,
                None => as_if(effect),
            },
        };
        Ok(outcome)
    }

    /// As a live turn asks: of the agent's own model where the request names none.
    fn to_model(&self, request: &ChatRequest) -> ChatRequest {
        let of_agent = || self.turns.policy(&self.context.agent)?.model.clone();
        let model = self.model.clone().or_else(|| request.model.clone()).or_else(of_agent);
        ChatRequest { model, ..request.clone() }
    }

    fn left(&self) -> Remaining {
        self.lock().account.meter.left(0)
    }

    /// The outcome of an equal effect, wherever it is on record.
    fn equal(&self, request: &Request) -> Result<Option<Outcome>, EffectError> {
        let found = self
            .lock()
            .record
            .effects
            .iter()
            .position(|recorded| recorded.digest == request.digest);
        found.map(|index| self.recorded(index)).transpose()
    }

    /// What tools gave for these calls on record; the others are not made.
    fn answers(&self, requests: &[ToolRequest]) -> Vec<Result<ToolResult, AgentError>> {
        let journal = self.turns.journal();
        let mut known: Vec<(ToolRequest, Result<ToolResult, AgentError>)> = Vec::new();
        for recorded in &self.lock().record.effects {
            let asked = payload::value::<AgentEffect>(journal, &recorded.request);
            let given = payload::value::<Outcome>(journal, &recorded.outcome);
            if let (Ok(AgentEffect::CallTools(asked)), Ok(Ok(AgentOutcome::Called(given)))) =
                (asked, given)
            {
                known.extend(asked.into_iter().zip(given));
            }
        }
        let answer = |request: &ToolRequest| {
            let found = known.iter().find(|(asked, _)| same_call(asked, request));
            if let Some((_, given)) = found {
                return given.clone();
            }
            self.lock().would_have_called.push(request.clone());
            let text = "this call is not on record, and a replay makes none";
            Ok(ToolResult { is_error: true, content: vec![Content::text(text)], structured: None })
        };
        requests.iter().map(answer).collect()
    }

    fn report(&self, recorded: ReplaySide, component: &str, ran: Ran) -> ReplayReport {
        let mut state = self.lock();
        let left = state.record.effects.get(state.next);
        if let (None, Some(left)) = (&state.divergence, left)
            && ran.result.is_ok()
        {
            let on_record = request::words(left.effect.as_str(), &left.digest);
            let number = u64::try_from(state.next).unwrap_or(u64::MAX);
            state.divergence =
                Some(ReplayDivergence { number, recorded: Some(on_record), found: None });
        }
        let usage = TurnUsage { fuel: ran.fuel, ..state.account.meter.used() };
        let (end, reply, error) = match ran.result {
            Ok(reply) => (Some(TurnEnd::Completed), reply.message, None),
            Err(Stopped::Call(CallError::Interrupted(Interruption::Diverged { .. }))) => {
                (None, Vec::new(), None)
            }
            Err(Stopped::Call(error)) => (
                Some(TurnEnd::Failed),
                Vec::new(),
                Some((error.code().to_owned(), error.to_string())),
            ),
            Err(Stopped::Agent(error)) => {
                let error = ("agent_failed".to_owned(), error.to_string());
                (Some(TurnEnd::Failed), Vec::new(), Some(error))
            }
        };
        ReplayReport {
            recorded,
            replayed: ReplaySide {
                component: component.to_owned(),
                steps: std::mem::take(&mut state.steps),
                tools: std::mem::take(&mut state.tools),
                usage,
                end,
                reply,
                error,
            },
            divergence: state.divergence.take(),
            would_have_called: std::mem::take(&mut state.would_have_called),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A std mutex: nothing awaits while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
