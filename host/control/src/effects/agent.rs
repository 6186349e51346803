//! What only an agent asks, at the door.
//!
//! > number -> on record? -> policy -> budget -> intent -> perform -> record
//!
//! Each effect of a turn has a number and a digest. While the turn is on its record, the
//! recorded outcome is given and nothing is done; an effect that is not the recorded one stops
//! the turn. Past the record an effect is performed, and what it came to is recorded before the
//! agent hears of it. Calls of tools that a rule asks people about wait after policy. Deliberately
//! absent: how a turn begins, waits and ends (`turns`).
//!
//! Invariants: **what costs or changes something is on disk before the agent is told; a side
//! effect that a crash left open is not made again unless it is known not to have happened, or
//! making it again changes nothing.**

mod approval;
mod conversation;
mod delegate;
mod inference;
mod memory;
mod people;
mod tools;
mod variables;

use std::sync::Arc;

use foreshore_domain::call::{CallContext, Interruption};
use foreshore_domain::denial::{Denial, DenialCode};
use foreshore_domain::effect::{
    AgentEffect, AgentError, AgentOutcome, EffectError, Remaining, ReplyPart,
};

pub(crate) use self::inference::told as from_model;
use super::Door;
use crate::turns::live::Live;
use crate::turns::request::Request;
use crate::turns::running::Performer;
use crate::turns::step::{Done, Outcome, Place, Step};

/// How often a change is tried anew whose record moved under it.
const TRIES_MAX: usize = 16;
/// What an agent is told to wait where others write all the time.
const BUSY_RETRY_MS: u32 = 50;

impl Door {
    pub(super) async fn agent(
        &self,
        call: &CallContext,
        effect: AgentEffect,
    ) -> Result<AgentOutcome, EffectError> {
        match self.running.of(call.call_id) {
            Some(Performer::Live(live)) => live.perform(call, effect).await,
            Some(Performer::Rehearsal(rehearsal)) => rehearsal.perform(effect).await,
            None => {
                let subject = effect.kind().to_owned();
                let (code, grant) = ("not_a_turn".to_owned(), String::new());
                Err(AgentError::Denied { code, subject, grant }.into())
            }
        }
    }

    /// More of a reply. What a turn says while it is on its record was said before.
    pub(super) fn reply(&self, call: &CallContext, part: ReplyPart) {
        match self.running.of(call.call_id) {
            Some(Performer::Live(live)) if !live.is_on_record() => live.say(part),
            Some(Performer::Live(_) | Performer::Rehearsal(_)) => {}
            None => tracing::error!("a part of a reply came from no turn"),
        }
    }

    /// Whether what a call notes was noted before.
    pub(super) fn is_on_record(&self, call: &CallContext) -> bool {
        call.turn.is_some()
            && match self.running.of(call.call_id) {
                Some(Performer::Live(live)) => live.is_on_record(),
                Some(Performer::Rehearsal(_)) => true,
                None => false,
            }
    }
}

impl Live {
    async fn perform(
        self: &Arc<Self>,
        call: &CallContext,
        effect: AgentEffect,
    ) -> Result<AgentOutcome, EffectError> {
        match self.step(call, &effect).await {
            Ok(outcome) => outcome.map_err(EffectError::Agent),
            Err(interruption) => {
                self.end(interruption.clone());
                Err(interruption.into())
            }
        }
    }

    async fn step(
        self: &Arc<Self>,
        call: &CallContext,
        effect: &AgentEffect,
    ) -> Result<Outcome, Interruption> {
        // An effect that is no JSON has no digest, and is the same fault each time it is asked.
        let request = match Request::of(effect) {
            Ok(request) => request,
            Err(error) => return Ok(Err(invalid("", error.to_string()))),
        };
        let step = match self.place(request.clone())? {
            Place::Recorded(recorded) => return self.replay(&request, &recorded),
            Place::Live(step) => step,
        };
        let mut step = step;
        if let Some(leaked) = self.without_secrets(&mut step) {
            let outcome = self.record(&step, Done::read(Err(denied(leaked)))).await?;
            let outcome = outcome.unwrap_or(Err(AgentError::Unavailable(Some(BUSY_RETRY_MS))));
            self.note_denials(call, &outcome);
            return Ok(outcome);
        }
        for _ in 0..TRIES_MAX {
            let done = tokio::select! {
                biased;
                interruption = self.stop.wait() => return Err(interruption),
                done = self.act(&step, effect) => done?,
            };
            if let Some(outcome) = self.record(&step, done).await? {
                self.note_denials(call, &outcome);
                return Ok(outcome);
            }
        }
        let busy = Done::read(Err(AgentError::Unavailable(Some(BUSY_RETRY_MS))));
        let outcome = self.record(&step, busy).await?;
        Ok(outcome.unwrap_or(Err(AgentError::Unavailable(Some(BUSY_RETRY_MS)))))
    }

    /// What an agent asks for leaves it: to models, tools, people and the record. What holds a
    /// secret is not done, and goes on record without it.
    fn without_secrets(&self, step: &mut Step) -> Option<Denial> {
        let held = self.turns.custody().held()?;
        let name = held.in_json(&step.request.json)?.to_owned();
        held.json_text(&mut step.request.json);
        let subject = format!("the effect {} holds the secret \"{name}\"", step.request.kind);
        Some(Denial { code: DenialCode::SecretLeak, subject, grant: String::new() })
    }

    /// Performs an effect that is not on record.
    async fn act(
        self: &Arc<Self>,
        step: &Step,
        effect: &AgentEffect,
    ) -> Result<Done, Interruption> {
        Ok(match effect {
            AgentEffect::Infer { request, stream_to_reply } => {
                self.infer(request, *stream_to_reply).await
            }
            AgentEffect::InferAll(requests) => self.infer_all(requests).await,
            AgentEffect::Embed(request) => self.embed(request).await,
            AgentEffect::Models => self.models().await,
            AgentEffect::Tools => self.list_tools(),
            AgentEffect::CallTools(requests) => return self.call_tools(step, requests).await,
            AgentEffect::Agents => self.list_agents(),
            AgentEffect::Delegate(delegation) => return self.delegate(step, delegation).await,
            AgentEffect::Recall(read) => self.recall(read).await,
            AgentEffect::Remember(write) => self.remember(write),
            AgentEffect::Variables => self.variables(),
            AgentEffect::GetVariable { name, version } => self.variable(name, *version),
            AgentEffect::SetVariable { name, value } => self.set_variable(name, value),
            AgentEffect::RecentMessages { limit } => self.recent(*limit),
            AgentEffect::Summary => self.summary(),
            AgentEffect::SetSummary { text, through_turn } => self.set_summary(text, *through_turn),
            AgentEffect::Ask { message, schema } => return self.ask(step, message, schema).await,
            AgentEffect::Approve { action, details } => {
                return self.approve(step, action, details).await;
            }
            AgentEffect::Emit { kind, payload } => self.emit(kind, payload),
            AgentEffect::WakeAt { at_unix_ms } => return self.sleep(step, *at_unix_ms).await,
            AgentEffect::Budget => Done::read(Ok(AgentOutcome::Budget(self.left()))),
            AgentEffect::Iteration => {
                let left = self.left();
                let iterations = left.iterations.saturating_sub(1);
                Done::read(Ok(AgentOutcome::Budget(Remaining { iterations, ..left })))
            }
            // No secret is configured for an agent: they are injected where requests leave, and
            // an agent sends none.
            AgentEffect::SecretExists { .. } => Done::read(Ok(AgentOutcome::Secret(false))),
        })
    }

    /// What was denied is in the call's list, as with tools, whatever the agent makes of it.
    fn note_denials(&self, call: &CallContext, outcome: &Outcome) {
        let note = |error: &AgentError| {
            if let Some(denial) = denial_of(error) {
                call.denials.push(denial);
            }
        };
        match outcome {
            Err(error) => note(error),
            Ok(AgentOutcome::Called(results)) => {
                results.iter().filter_map(|result| result.as_ref().err()).for_each(note);
            }
            Ok(AgentOutcome::InferredAll(results)) => {
                results.iter().filter_map(|result| result.as_ref().err()).for_each(note);
            }
            Ok(_) => {}
        }
    }
}

fn denial_of(error: &AgentError) -> Option<Denial> {
    let AgentError::Denied { code, subject, grant } = error else { return None };
    let code = DenialCode::ALL.iter().find(|known| known.as_str() == code)?;
    Some(Denial { code: *code, subject: subject.clone(), grant: grant.clone() })
}

/// A "no" in an agent's words.
pub(crate) fn denied(denial: Denial) -> AgentError {
    let Denial { code, subject, grant } = denial;
    AgentError::Denied { code: code.as_str().to_owned(), subject, grant }
}

/// What was asked is at fault.
pub(crate) fn invalid(pointer: &str, message: impl Into<String>) -> AgentError {
    AgentError::Invalid { pointer: pointer.to_owned(), message: message.into() }
}
