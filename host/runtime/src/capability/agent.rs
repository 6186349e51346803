//! What an agent can ask of the host, one file per interface. Each translates: what is asked
//! goes to the door as one [`AgentEffect`], where it is numbered, recorded and decided.
//!
//! An agent has no grants of its own here: whether it may have what it asks for is the door's
//! business. Deliberately absent: files, sockets, HTTP, configuration and buckets, and any
//! clock or random number that is not the turn's ([`deterministic`]).
//!
//! The invariant: **what a guest can tell two runs of one turn apart by comes out of an
//! effect.** So a host function here has no state but the store's, and looks at no clock.

mod agents;
mod approval;
mod budget;
mod conversation;
mod deterministic;
mod elicit;
mod events;
mod inference;
mod messages;
mod reply;
mod secrets;
mod tools;
mod variables;

use foreshore_domain::call::FiredLimit;
use foreshore_domain::effect::{AgentEffect, AgentOutcome, Effect, EffectError, EffectOutcome};
use serde_json::value::RawValue;
use wasmtime::Result;
use wasmtime::component::Linker;

use crate::capability::told::{Answer, invalid};
use crate::capability::{filesystem, io, log, memory, progress, stdio};
use crate::content::checked_json;
use crate::ending::HostFault;
use crate::limiter::{LimitFired, count};
use crate::state::{CallScope, State};

/// What every agent is linked to. Of `wasi:*` it is what standard libraries ask for: there are
/// no directories to be had from `wasi:filesystem`, and no streams but the log.
pub(crate) fn link(linker: &mut Linker<State>) -> Result<()> {
    for link in [
        deterministic::link,
        filesystem::link,
        io::link,
        log::link,
        memory::link,
        progress::link,
        stdio::link_streams,
        agents::link,
        approval::link,
        budget::link,
        conversation::link,
        elicit::link,
        events::link,
        inference::link,
        reply::link,
        secrets::link,
        tools::link,
        variables::link,
    ] {
        link(linker)?;
    }
    Ok(())
}

impl CallScope {
    /// What comes first in each function: it is counted, and what the guest hands over is bounded.
    async fn takes(&self, bytes: usize) -> Result<()> {
        self.count_operation()?;
        let allowed = self.context.limits.hostcall_max_bytes.get();
        if count(bytes) > allowed {
            return Err(LimitFired { limit: FiredLimit::HostCall, allowed }.into());
        }
        self.copied(bytes);
        self.breathe().await;
        Ok(())
    }

    /// Asks the door; `None` is an outcome that is none of an agent's.
    pub(crate) async fn perform(
        &self,
        effect: AgentEffect,
    ) -> std::result::Result<Option<AgentOutcome>, EffectError> {
        let effect = Effect::Agent(Box::new(effect));
        Ok(match self.effects.perform(&self.context, effect).await? {
            EffectOutcome::Agent(outcome) => Some(*outcome),
            _ => None,
        })
    }

    /// Asks the door, and takes out of the outcome what it is for.
    ///
    /// # Errors
    /// The guest is stopped: by a limit, by an interruption, or since the outcome is one of
    /// something else.
    async fn ask<T>(
        &self,
        effect: AgentEffect,
        take: impl FnOnce(AgentOutcome) -> Option<T>,
    ) -> Result<Answer<T>> {
        let effect_kind = effect.kind();
        let outcome = match self.answer(self.perform(effect).await)? {
            Ok(outcome) => outcome,
            Err(error) => return Ok(Err(error)),
        };
        match outcome.and_then(take) {
            Some(taken) => Ok(Ok(taken)),
            None => Err(fault(effect_kind, "its outcome is that of another effect")),
        }
    }

    /// The same, for functions of the contract that know no error: what keeps the host from
    /// answering ends the call.
    async fn ask_surely<T>(
        &self,
        effect: AgentEffect,
        take: impl FnOnce(AgentOutcome) -> Option<T>,
    ) -> Result<T> {
        let effect_kind = effect.kind();
        self.ask(effect, take).await?.map_err(|error| fault(effect_kind, &error.to_string()))
    }

    /// A list that is no larger than what one host call may copy.
    fn within<T>(&self, effect: &'static str, list: T, bytes: usize) -> Result<T> {
        let bounded = self.bounded(list, bytes);
        bounded.map_err(|_| fault(effect, "the answer is above hostcall_max_bytes"))
    }
}

fn fault(effect: &'static str, message: &str) -> wasmtime::Error {
    HostFault { effect, message: message.to_owned() }.into()
}

/// The outcome of an effect that gives nothing.
fn done(outcome: AgentOutcome) -> Option<()> {
    matches!(outcome, AgentOutcome::Done).then_some(())
}

/// JSON that a guest hands over, at the argument that it stands in.
fn json(pointer: &str, text: String) -> Answer<Box<RawValue>> {
    checked_json(text).map_err(|problem| invalid(pointer, format!("it is {problem}")))
}
