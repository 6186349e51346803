//! Turns that another turn delegated to, seen from that one.

use foreshore_domain::agent::{AgentPolicy, TurnBudget};
use foreshore_domain::call::Interruption;
use foreshore_domain::conversation::{Conversation, ConversationCreated, Fact, TurnQueued};
use foreshore_domain::effect::AgentError;
use foreshore_domain::id::TurnId;
use foreshore_domain::identity::AskedBy;
use foreshore_domain::outcome::Content;
use foreshore_store::conversations::TurnState;
use serde_json::value::RawValue;

use super::payload::Entry;
use super::request::name;
use super::start::{excerpt, new_conversation};
use super::stop::Stop;
use super::update::Ended;
use super::{Known, Stage, Turns, beginning, ending, shape};
use crate::clock;
use crate::effects::agent::invalid;

/// A turn that another is about to ask for.
pub(crate) struct Child<'a> {
    pub(crate) agent: &'a str,
    pub(crate) message: &'a [Content],
    pub(crate) parameters: Option<&'a RawValue>,
    pub(crate) budget: TurnBudget,
    /// What the turn that asks may reach itself, less what it keeps back.
    pub(crate) reach: &'a AgentPolicy,
    pub(crate) delegated_by: TurnId,
    /// On whose behalf the turn that asks runs.
    pub(crate) asked_by: Option<AskedBy>,
    pub(crate) depth: u32,
}

/// A turn that is on record as soon as its entry is.
pub(crate) struct Prepared {
    pub(crate) turn: TurnId,
    conversation: Conversation,
    delegated_by: TurnId,
}

/// What a turn that was delegated to has come to.
pub(crate) enum ChildEnd {
    Ended(Box<Ended>),
    /// It waits for a person or a time.
    Waits,
}

impl Turns {
    /// The events of a new turn: its conversation, its message, and its beginning, which keeps
    /// what it may reach.
    ///
    /// # Errors
    /// Why it cannot be, in the words of the agent that asks.
    pub(crate) fn prepare_child(&self, child: Child<'_>) -> Result<(Prepared, Entry), AgentError> {
        let policy = self
            .policy(child.agent)
            .ok_or_else(|| AgentError::NotFound(format!("agent {}", child.agent)))?;
        let component = self.0.host.agents.find(&policy.component);
        let component =
            component.map_err(|error| AgentError::Failed(format!("{}: {error}", child.agent)))?;
        let given = child.parameters.map(RawValue::get);
        let parameters = beginning::parameters(policy, &*component, given)
            .map_err(|(pointer, message)| invalid(&pointer, message))?;
        let mut reach = AgentPolicy::clone(policy);
        reach.keep_tools(&child.reach.tools);
        reach.keep_memory(child.reach.memory.as_ref());
        reach.agents.retain(|agent| child.reach.agents.contains(agent));
        reach.budget = reach.budget.lowered(&child.budget);

        let now = clock::now_unix_ms();
        let (turn, conversation) = (TurnId::new(now), new_conversation(now));
        let mut entry = Entry::default();
        let created = ConversationCreated {
            conversation: conversation.clone(),
            agent: name(child.agent),
            title: None,
            forked_from: None,
            delegated_by: Some(child.delegated_by),
        };
        entry.push(created.event(now, self.tenant()));
        let message = entry.keep(&child.message, &excerpt(child.message));
        let queued = TurnQueued {
            turn,
            conversation: conversation.clone(),
            number: 0,
            agent: name(child.agent),
            message,
            history: None,
            parameters: None,
            budget: Some(child.budget),
            delegated_by: Some(child.delegated_by),
            asked_by: child.asked_by,
            blobs: Vec::new(),
        };
        entry.push(queued.event(now, self.tenant()));
        let settings = shape::settings(&reach, parameters);
        entry.push(beginning::started(turn, &*component, settings, now).event(now, self.tenant()));
        tracing::debug!(turn = %turn, by = %child.delegated_by, depth = child.depth, "delegated");
        Ok((Prepared { turn, conversation, delegated_by: child.delegated_by }, entry))
    }

    /// Takes up a turn whose entry is on record; it runs when somebody waits for it.
    pub(crate) fn run_child(&self, child: &Prepared) {
        let cancel = tokio_util::sync::CancellationToken::new();
        let delegated_by = Some(child.delegated_by);
        let known = Known { tenant: self.tenant(), delegated_by, stage: Stage::Ready, cancel };
        self.open().insert(child.turn, known);
        let mut lanes = self.lanes();
        lanes.add(child.conversation.clone(), child.turn);
        lanes.next(&child.conversation);
    }

    /// Waits for what a turn comes to that was delegated to, and runs it in the meantime if
    /// nobody does. If the turn that waits is cancelled, so is this one.
    ///
    /// # Errors
    /// [`Interruption`].
    pub(crate) async fn wait_for_child(
        &self,
        child: TurnId,
        stop: &Stop,
    ) -> Result<ChildEnd, Interruption> {
        let mut changed = self.0.changed.subscribe();
        loop {
            let stage = self.open().get(&child).map(|known| known.stage);
            match stage {
                None => return self.ended_child(child),
                Some(Stage::Waiting) => return Ok(ChildEnd::Waits),
                Some(Stage::Ready) => self.spawn_run(child, None),
                Some(Stage::Running) => {}
            }
            tokio::select! {
                interruption = stop.wait() => {
                    if interruption == Interruption::Cancelled {
                        self.stop_running(child);
                    }
                    return Err(interruption);
                }
                changed = changed.changed() => {
                    if changed.is_err() {
                        return Err(Interruption::ShuttingDown);
                    }
                }
            }
        }
    }

    fn ended_child(&self, child: TurnId) -> Result<ChildEnd, Interruption> {
        let unreadable = |message: String| Interruption::NotRecorded { message };
        let entry = self.conversations().turn(child);
        let entry = entry.map_err(|fault| unreadable(fault.to_string()))?;
        match entry {
            Some(entry) if matches!(entry.state, TurnState::Ended(_)) => {
                let ended = ending::of_entry(self.journal(), &entry);
                ended
                    .map(|ended| ChildEnd::Ended(Box::new(ended)))
                    .map_err(|error| unreadable(error.to_string()))
            }
            _ => Err(unreadable(format!("turn {child} is neither open nor ended"))),
        }
    }
}
