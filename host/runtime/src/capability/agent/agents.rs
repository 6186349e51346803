//! `foreshore:agents`: other agents, which take a turn of their own.

use foreshore_domain::agent::{Finish, Reply};
use foreshore_domain::effect::{AgentEffect, AgentOutcome, Attenuation, Delegation};
use wasmtime::Result;
use wasmtime::component::{HasSelf, Linker};

use super::json;
use crate::bindings::agents::agents;
use crate::bindings::types;
use crate::capability::told::{Answer, invalid};
use crate::content::{contents, contents_bytes, contents_to_guest};
use crate::state::State;

pub(crate) fn link(linker: &mut Linker<State>) -> Result<()> {
    agents::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

impl agents::Host for State {
    async fn list(&mut self) -> Result<Vec<agents::Available>> {
        let scope = &self.scope;
        scope.takes(0).await?;
        let others = scope.ask_surely(AgentEffect::Agents, |outcome| match outcome {
            AgentOutcome::Agents(others) => Some(others),
            _ => None,
        });
        let others = others.await?;
        let bytes = others.iter().map(|one| one.name.len() + one.description.len()).sum();
        let others = others.into_iter();
        let others = others
            .map(|one| agents::Available { name: one.name, description: one.description })
            .collect();
        scope.within("agents", others, bytes)
    }

    async fn delegate(
        &mut self,
        agent: String,
        message: Vec<types::Content>,
        parameters: Option<String>,
        limits: agents::Attenuation,
    ) -> Result<Answer<types::Reply>> {
        let scope = &self.scope;
        let names = [&limits.tools, &limits.namespaces];
        let names: usize = names.into_iter().flatten().flatten().map(String::len).sum();
        let told = contents_bytes(&message) + parameters.as_ref().map_or(0, String::len);
        scope.takes(agent.len() + told + names).await?;
        let delegation = match delegation(agent, message, parameters, limits) {
            Ok(delegation) => delegation,
            Err(error) => return Ok(Err(error)),
        };
        let effect = AgentEffect::Delegate(delegation);
        let delegated = scope.ask(effect, |outcome| match outcome {
            AgentOutcome::Delegated(reply) => Some(reply),
            _ => None,
        });
        Ok(delegated.await?.and_then(|reply| {
            let reply = reply_to_guest(reply);
            let bytes = contents_bytes(&reply.message);
            scope.bounded(reply, bytes)
        }))
    }
}

fn delegation(
    agent: String,
    message: Vec<types::Content>,
    parameters: Option<String>,
    limits: agents::Attenuation,
) -> Answer<Delegation> {
    Ok(Delegation {
        agent,
        message: contents(message).map_err(|problem| invalid("/message", problem))?,
        parameters: parameters.map(|text| json("/parameters", text)).transpose()?,
        limits: Attenuation {
            tools: limits.tools,
            namespaces: limits.namespaces,
            tokens_max: limits.max_tokens,
            tool_calls_max: limits.max_tool_calls.map(u64::from),
            deadline_ms: limits.deadline_ms,
        },
    })
}

fn reply_to_guest(reply: Reply) -> types::Reply {
    types::Reply {
        message: contents_to_guest(reply.message),
        finish: match reply.finish {
            Finish::Stop => types::Finish::Stop,
            Finish::Budget => types::Finish::Budget,
            Finish::GaveUp => types::Finish::GaveUp,
        },
    }
}
