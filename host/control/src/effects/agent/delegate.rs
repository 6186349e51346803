//! Having another agent take a turn: with less than one has oneself, in a conversation of its
//! own, at one's own cost.
//!
//! The other turn's id is in the intent, and both turns' events are one commit: after a crash
//! the other turn is there exactly if the intent is. It runs in the slot of the turn that waits
//! for it. Where it waits for a person or a time, so does this one, and neither takes memory.

use std::num::NonZeroU64;

use foreshore_domain::agent::{AgentPolicy, Reply, TurnBudget};
use foreshore_domain::call::Interruption;
use foreshore_domain::conversation::{Fact, TurnEnd, TurnIntended, TurnWaiting, Until};
use foreshore_domain::denial::{Denial, DenialCode};
use foreshore_domain::effect::{
    AgentError, AgentOutcome, Attenuation, BudgetKind, Delegation, OtherAgent,
};
use foreshore_domain::grant::{Access, MemoryGrant, NamespaceGrant};
use foreshore_domain::id::TurnId;

use super::people::waits_for;
use super::{denied, invalid};
use crate::clock;
use crate::turns::child::{Child, ChildEnd};
use crate::turns::live::Live;
use crate::turns::payload::Entry;
use crate::turns::step::{Done, Step};
use crate::turns::update::Ended;

/// How many turns may wait for one another.
const DEPTH_MAX: u32 = 4;

impl Live {
    pub(super) fn list_agents(&self) -> Done {
        let agents = self.policy.agents.iter().filter_map(|name| {
            let description = self.turns.description(name)?;
            Some(OtherAgent { name: name.clone(), description })
        });
        Done::read(Ok(AgentOutcome::Agents(agents.collect())))
    }

    pub(super) async fn delegate(
        &self,
        step: &Step,
        delegation: &Delegation,
    ) -> Result<Done, Interruption> {
        let begun = step.open.as_ref().and_then(|open| open.intended.delegated_to);
        let child = match begun {
            Some(child) => child,
            None => match self.begin(step, delegation).await? {
                Ok(child) => child,
                Err(error) => return Ok(Done::read(Err(error))),
            },
        };
        match self.turns.wait_for_child(child, &self.stop).await? {
            ChildEnd::Ended(ended) => Ok(done(*ended)),
            ChildEnd::Waits => {
                if waits_for(step).is_none() {
                    let until = Until::Turn(child);
                    let waiting = TurnWaiting { turn: self.id, number: step.number, until };
                    let mut entry = Entry::default();
                    entry.push(waiting.event(clock::now_unix_ms(), self.turns.tenant()));
                    self.commit(entry, Vec::new()).await?;
                }
                Err(Interruption::Waiting)
            }
        }
    }

    /// Puts the other turn on record together with the intent, and in line to run.
    async fn begin(
        &self,
        step: &Step,
        delegation: &Delegation,
    ) -> Result<Result<TurnId, AgentError>, Interruption> {
        let name = &delegation.agent;
        if !self.policy.agents.contains(name) {
            let subject = format!("agent {name}");
            let grant = format!("[agents.{}] agents = [\"{name}\"]", self.agent);
            let code = DenialCode::AgentNotGranted;
            return Ok(Err(denied(Denial { code, subject, grant })));
        }
        if self.depth >= DEPTH_MAX {
            let subject = format!("agent {name}, {DEPTH_MAX} delegations deep");
            let code = DenialCode::DelegationTooDeep;
            return Ok(Err(denied(Denial { code, subject, grant: String::new() })));
        }
        let budget = match self.budget_for(&delegation.limits) {
            Ok(budget) => budget,
            Err(kind) => return Ok(Err(AgentError::Exhausted(kind))),
        };
        let mut reach = self.policy.clone();
        if let Err(error) = attenuate(&mut reach, &delegation.limits) {
            return Ok(Err(error));
        }
        let child = Child {
            agent: name,
            message: &delegation.message,
            parameters: delegation.parameters.as_deref(),
            budget,
            reach: &reach,
            delegated_by: self.id,
            asked_by: self.asked_by.clone(),
            depth: self.depth + 1,
        };
        let (child, mut entry) = match self.turns.prepare_child(child) {
            Ok(prepared) => prepared,
            Err(error) => return Ok(Err(error)),
        };
        let intended = TurnIntended {
            turn: self.id,
            number: step.number,
            effect: step.request.name(),
            digest: step.request.digest,
            calls: Vec::new(),
            delegated_to: Some(child.turn),
        };
        entry.push(intended.event(clock::now_unix_ms(), self.turns.tenant()));
        self.commit(entry, Vec::new()).await?;
        self.turns.run_child(&child);
        Ok(Ok(child.turn))
    }

    /// What the other turn may use: what is left of this one's budget, or less.
    fn budget_for(&self, limits: &Attenuation) -> Result<TurnBudget, BudgetKind> {
        let left = self.left();
        let least = |left: u64, asked: Option<u64>, kind| {
            NonZeroU64::new(asked.map_or(left, |asked| asked.min(left))).ok_or(kind)
        };
        Ok(TurnBudget {
            tokens: least(left.tokens, limits.tokens_max, BudgetKind::Tokens)?,
            cost_micros: least(left.cost_micros, None, BudgetKind::Cost)?,
            tool_calls: least(left.tool_calls, limits.tool_calls_max, BudgetKind::Calls)?,
            wall_ms: least(left.wall_ms, limits.deadline_ms, BudgetKind::Time)?,
            iterations: self.policy.budget.iterations,
        })
    }
}

/// Takes away what is not handed on.
fn attenuate(reach: &mut AgentPolicy, limits: &Attenuation) -> Result<(), AgentError> {
    if let Some(tools) = &limits.tools {
        let patterns = tools.iter().map(|tool| tool.parse());
        let patterns: Vec<_> = patterns
            .collect::<Result<_, foreshore_domain::agent::ToolPatternError>>()
            .map_err(|error| invalid("/limits/tools", error.to_string()))?;
        reach.keep_tools(&patterns);
    }
    if let Some(namespaces) = &limits.namespaces {
        let granted = namespaces.iter().map(|namespace| {
            let pattern = namespace.parse()?;
            Ok(NamespaceGrant { pattern, access: Access::ReadWrite })
        });
        let namespaces = granted
            .collect::<Result<_, foreshore_domain::grant::NamespacePatternError>>()
            .map_err(|error| invalid("/limits/namespaces", error.to_string()))?;
        reach.keep_memory(Some(&MemoryGrant { namespaces }));
    }
    Ok(())
}

fn done(ended: Ended) -> Done {
    let usage = ended.usage;
    let outcome = match (ended.end, ended.error) {
        (TurnEnd::Completed, _) => Ok(AgentOutcome::Delegated(Reply {
            message: ended.reply,
            finish: ended.finish.unwrap_or(foreshore_domain::agent::Finish::Stop),
        })),
        (TurnEnd::Cancelled, _) => Err(AgentError::Refused("the turn was cancelled".to_owned())),
        (TurnEnd::Failed, Some((code, message))) => {
            Err(AgentError::Failed(format!("{code}: {message}")))
        }
        (TurnEnd::Failed, None) => Err(AgentError::Failed("the turn failed".to_owned())),
    };
    Done { delegated: Some(usage), ..Done::durable(outcome) }
}
