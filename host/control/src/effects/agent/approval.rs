//! Calls of a turn that people decide, since a rule asks them.
//!
//! The questions go on record in one commit with the intent of all calls of the effect, and the
//! run ends there. When the last is decided the turn runs again on its record, comes to this
//! effect, and makes the calls that were approved under the ids that the intent names. A *no* holds
//! for the rest of the turn: the same call is refused without asking again.

use std::collections::HashMap;

use foreshore_domain::approval::{ApprovalRequested, ApprovalState, Origin, Terms};
use foreshore_domain::call::{CallError, Interruption};
use foreshore_domain::component::ToolName;
use foreshore_domain::conversation::{Fact, IntendedCall, TurnWaiting, Until};
use foreshore_domain::effect::{AgentError, AgentOutcome, ToolRequest};
use foreshore_domain::id::{ApprovalId, CallId};
use foreshore_store::approvals::ApprovalEntry;

use super::denied;
use super::people::waits_for;
use super::tools::Plan;
use crate::approvals::{Candidate, PENDING_MAX, Weighed};
use crate::arguments;
use crate::clock;
use crate::turns::live::Live;
use crate::turns::payload::Entry;
use crate::turns::step::{Done, Step};
use crate::turns::tools::ToolFacts;

/// What the rules say of a call.
pub(super) enum Gate {
    /// It is made. What is wrong with it is found where it is made.
    Open,
    /// It is not.
    Closed(AgentError),
    /// People decide.
    Asks(Box<Candidate>, Terms),
}

impl Live {
    /// Whether people would be asked about a tool, whatever its arguments.
    pub(super) fn asks_for(&self, tool: &ToolName) -> bool {
        let Ok(facts) = self.turns.tools().find(tool) else { return false };
        let call = self.candidate(&facts, serde_json::Value::Object(serde_json::Map::new()));
        matches!(self.turns.approvals().weigh(&call), Ok(Weighed::Asks(_)))
    }

    fn candidate(&self, facts: &ToolFacts, arguments: serde_json::Value) -> Candidate {
        let ToolFacts { component, digest, tool, hints, grant } = facts.clone();
        let agent = Some((std::sync::Arc::clone(&self.agent), self.conversation.clone()));
        let principal = std::sync::Arc::clone(&self.principal);
        Candidate { component, digest, tool, hints, grant, arguments, principal, agent }
    }

    pub(super) fn weighed(
        &self,
        request: &ToolRequest,
        facts: &ToolFacts,
    ) -> Result<Gate, Interruption> {
        let parsed = arguments::parse(&facts.tool, request.arguments.as_bytes());
        let Ok((_, arguments)) = parsed else { return Ok(Gate::Open) };
        let call = self.candidate(facts, arguments);
        let approvals = self.turns.approvals();
        Ok(match approvals.weigh(&call).map_err(unreadable)? {
            Weighed::Free | Weighed::Standing(_) => Gate::Open,
            Weighed::Denied(denial) => Gate::Closed(denied(denial)),
            Weighed::Asks(terms) => match approvals.denied_before(&call, self.id) {
                Ok(Some(why)) => Gate::Closed(AgentError::Refused(why)),
                Ok(None) => Gate::Asks(Box::new(call), terms),
                Err(error) => return Err(unreadable(error)),
            },
        })
    }

    /// A question about a call of this turn, not on record yet.
    pub(super) fn request(
        &self,
        step: &Step,
        call: &Candidate,
        terms: Terms,
    ) -> Result<ApprovalRequested, CallError> {
        let origin = Origin {
            agent: self.agent.to_string(),
            turn: self.id,
            conversation: self.conversation.clone(),
            number: step.number,
        };
        self.turns.approvals().request(call, terms, Some(origin))
    }

    /// Puts the questions on record, with the intent of all calls; the run ends there.
    pub(super) async fn ask_people(
        &self,
        step: &Step,
        requests: &[ToolRequest],
        (ids, plans): (&[CallId], Vec<Plan>),
    ) -> Result<Done, Interruption> {
        let approvals = self.turns.approvals();
        let asked: Vec<Option<Box<ApprovalRequested>>> = plans
            .into_iter()
            .map(|plan| match plan {
                Plan::Ask(requested) => Some(requested),
                Plan::Given(_) | Plan::Make { .. } => None,
            })
            .collect();
        let named: Vec<Option<ApprovalId>> =
            asked.iter().map(|asked| asked.as_ref().map(|asked| asked.approval)).collect();
        let questions: Vec<Box<ApprovalRequested>> = asked.into_iter().flatten().collect();
        let Some(first) = questions.first() else { return Err(Interruption::Waiting) };
        let pending = approvals.has_room();
        let pending = pending.map_err(|fault| unreadable(crate::approvals::unreadable(fault)))?;
        if pending.len() + questions.len() > PENDING_MAX {
            let busy = || Err(AgentError::Unavailable(None));
            return Ok(Done::read(Ok(AgentOutcome::Called(
                requests.iter().map(|_| busy()).collect(),
            ))));
        }
        let (now, tenant) = (clock::now_unix_ms(), self.turns.tenant());
        let mut entry = Entry::default();
        entry.push(self.intended(step, requests, ids, &named));
        for question in &questions {
            entry.push(question.event(now, tenant.clone()));
        }
        let until = Until::Approval(first.approval);
        entry.push(
            TurnWaiting { turn: self.id, number: step.number, until }.event(now, tenant.clone()),
        );
        self.commit(entry, Vec::new()).await?;
        for question in &questions {
            approvals.was_asked(&tenant, question);
        }
        Err(Interruption::Waiting)
    }

    /// Ends the run again where a call of an effect is not decided yet.
    pub(super) async fn still_waits(&self, step: &Step) -> Result<(), Interruption> {
        let Some(Until::Approval(waited)) = waits_for(step) else { return Ok(()) };
        let calls = step.open.as_ref().map(|open| &*open.intended.calls).unwrap_or_default();
        let decided = self.decided(calls)?;
        let is_pending = |entry: &&ApprovalEntry| entry.state == ApprovalState::Pending;
        let Some(pending) = decided.values().find(is_pending) else { return Ok(()) };
        let next = pending.requested.approval;
        if decided.get(&waited).is_none_or(|entry| entry.state != ApprovalState::Pending) {
            let until = Until::Approval(next);
            let waiting = TurnWaiting { turn: self.id, number: step.number, until };
            let mut entry = Entry::default();
            entry.push(waiting.event(clock::now_unix_ms(), self.turns.tenant()));
            self.commit(entry, Vec::new()).await?;
        }
        Err(Interruption::Waiting)
    }

    /// What became of the questions about calls.
    pub(super) fn decided(
        &self,
        calls: &[IntendedCall],
    ) -> Result<HashMap<ApprovalId, ApprovalEntry>, Interruption> {
        let asked = calls.iter().filter_map(|call| call.approval);
        asked
            .map(|approval| {
                let entry = self.turns.approvals().get(&self.turns.tenant(), approval);
                let entry = entry.map_err(|fault| unreadable(crate::approvals::unreadable(fault)));
                Ok((approval, entry?))
            })
            .collect()
    }
}

fn unreadable(error: CallError) -> Interruption {
    Interruption::NotRecorded { message: error.to_string() }
}
