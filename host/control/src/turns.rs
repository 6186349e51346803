//! Turns of agents: taken, queued, run, resumed after a crash, put aside while they wait, ended.
//!
//! > queued -> running -> (waiting -> running)* -> completed | failed | cancelled
//!
//! A turn is one message to an agent in a conversation. One runs at a time in a conversation,
//! and a bounded number in the host. The journal is the turn's memory: what is here of a turn
//! that does not run is its id, its conversation and what it waits for. Whatever its run is
//! (the first one, the next after a wait, or one after a crash), it starts at the agent's first
//! line and takes from the record what is there. What a run does at the door is
//! `effects/agent.rs`.
//!
//! Invariants: **a turn that was acknowledged ends, and its end is on record once; nothing an
//! agent can call answers a question, lifts a grant or raises a budget.**

pub(crate) mod account;
pub(crate) mod agents;
mod beginning;
mod budget;
pub(crate) mod child;
mod ending;
mod fault;
mod follow;
mod hub;
mod lanes;
mod listing;
pub(crate) mod live;
pub(crate) mod models;
pub(crate) mod payload;
pub(crate) mod question;
mod record;
pub(crate) mod registry;
pub(crate) mod rehearse;
pub(crate) mod request;
mod resume;
mod run;
pub(crate) mod running;
mod shape;
mod shown;
mod slots;
mod start;
pub(crate) mod step;
pub(crate) mod stop;
mod summary;
mod told;
pub(crate) mod tools;
pub(crate) mod update;
mod waits;

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foreshore_domain::agent::AgentPolicy;
use foreshore_domain::call::Interruption;
use foreshore_domain::conversation::{Conversation, Decision, TurnUsage};
use foreshore_domain::event::{EventKind, NewEvent, Stream, Tenant};
use foreshore_domain::id::{QuestionId, TurnId};
use foreshore_store::Journal;
use foreshore_store::conversations::TurnState;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use fault::{AnswerFault, CancelFault, TurnFault};
pub use follow::Follow;
pub use listing::{AgentComponentSummary, AgentSummary};
pub use models::{Asker, Models};
pub use question::Question;
pub use rehearse::{
    ReplayComponent, ReplayDivergence, ReplayFault, ReplayOptions, ReplayReport, ReplaySide,
    ReplayStep,
};
#[cfg(test)]
pub(crate) use start::excerpt;
pub(crate) use start::new_conversation;
pub use start::{NewTurn, TakenTurn};
pub use update::{Ended, TurnEvent, TurnUpdate};

use self::agents::Agents;
use self::hub::Hub;
use self::lanes::Lanes;
use self::running::Running;
use self::shown::Shown;
use self::slots::Slots;
use self::tools::Tools;
use self::waits::Waits;
use crate::approvals::Approvals;
use crate::budgets::Budgets;
use crate::conversations::{ConversationFault, Conversations};
use crate::memory::Memory;
use crate::record::Recorder;
use crate::secrets::Custody;

/// How turns are run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnsConfig {
    /// Agents that run at once.
    pub agents_max: usize,
    /// Turns that may wait behind the one of their conversation.
    pub queue_max: usize,
    /// How long a question to a person stays open, in milliseconds; then it is refused.
    pub question_ttl_ms: u64,
}

impl Default for TurnsConfig {
    fn default() -> Self {
        Self { agents_max: 4, queue_max: 8, question_ttl_ms: 24 * 60 * 60 * 1_000 }
    }
}

/// The turns of a host, seen by one tenant: no other's is read or changed by this handle. Cheap
/// to clone.
#[derive(Clone)]
pub struct Turns(Arc<Inner>, Tenant);

/// What turns need of the host.
pub(crate) struct TurnsHost {
    pub(crate) journal: Journal,
    pub(crate) memory: Memory,
    /// The secrets that no agent may tell of.
    pub(crate) custody: Custody,
    pub(crate) conversations: Conversations,
    pub(crate) recorder: Recorder,
    pub(crate) models: Arc<dyn Models>,
    pub(crate) tools: Arc<dyn Tools>,
    pub(crate) agents: Arc<dyn Agents>,
    pub(crate) policies: BTreeMap<String, Arc<AgentPolicy>>,
    pub(crate) config: TurnsConfig,
    pub(crate) approvals: Approvals,
    /// `None` where no model can be asked that costs anything.
    pub(crate) budgets: Option<Budgets>,
    pub(crate) running: Arc<Running>,
    pub(crate) tasks: TaskTracker,
    pub(crate) drain: CancellationToken,
}

struct Inner {
    host: TurnsHost,
    slots: Slots,
    hub: Hub,
    waits: Waits,
    lanes: Mutex<Lanes>,
    open: Mutex<HashMap<TurnId, Known>>,
    /// Grows when a turn ends or begins to wait.
    changed: watch::Sender<u64>,
    /// Held while a conversation's next number is given, so that no two turns get the same.
    taking: tokio::sync::Mutex<()>,
}

/// What is kept in memory of a turn that has not ended.
#[derive(Clone, Debug)]
struct Known {
    tenant: Tenant,
    delegated_by: Option<TurnId>,
    stage: Stage,
    cancel: CancellationToken,
}

/// What an open turn is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It can run.
    Ready,
    /// It runs.
    Running,
    /// It waits for a person, a time or another turn.
    Waiting,
}

/// How much is going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TurnsLoad {
    /// Agents that run.
    pub running: usize,
    /// How many may.
    pub running_max: usize,
    /// Turns that have not ended, those that wait included.
    pub open: usize,
    /// Of them, those behind another turn of their conversation.
    pub queued: usize,
}

impl Turns {
    pub(crate) fn new(host: TurnsHost) -> Self {
        let inner = Inner {
            slots: Slots::new(host.config.agents_max),
            lanes: Mutex::new(Lanes::new(host.config.queue_max)),
            hub: Hub::default(),
            waits: Waits::default(),
            open: Mutex::default(),
            changed: watch::Sender::new(0),
            taking: tokio::sync::Mutex::new(()),
            host,
        };
        Self(Arc::new(inner), Tenant::DEFAULT)
    }

    /// Those of a tenant.
    #[must_use]
    pub fn of(&self, tenant: &Tenant) -> Self {
        Self(Arc::clone(&self.0), tenant.clone())
    }

    /// Those of the tenant that an open turn is of.
    fn of_turn(&self, turn: TurnId) -> Self {
        let tenant = self.open().get(&turn).map(|known| known.tenant.clone());
        tenant.map_or_else(|| self.clone(), |tenant| self.of(&tenant))
    }

    /// Whose they are.
    pub(crate) fn tenant(&self) -> Tenant {
        self.1.clone()
    }

    /// Changes how many agents run at once, from now on.
    pub fn set_agents_max(&self, agents_max: usize) {
        self.0.slots.resize(agents_max.max(1));
    }

    /// How much is going on.
    pub fn load(&self) -> TurnsLoad {
        TurnsLoad {
            running: self.0.slots.taken(),
            running_max: self.0.slots.max(),
            open: self.open().len(),
            queued: self.lanes().queued(),
        }
    }

    /// The secrets that no agent may tell of.
    pub(crate) fn custody(&self) -> &Custody {
        &self.0.host.custody
    }

    pub(crate) fn journal(&self) -> &Journal {
        &self.0.host.journal
    }

    pub(crate) fn memory(&self) -> &Memory {
        &self.0.host.memory
    }

    pub(crate) fn conversations(&self) -> Conversations {
        self.0.host.conversations.of(&self.1)
    }

    pub(crate) fn models(&self) -> &Arc<dyn Models> {
        &self.0.host.models
    }

    pub(crate) fn approvals(&self) -> &Approvals {
        &self.0.host.approvals
    }

    fn budgets(&self) -> Option<&Budgets> {
        self.0.host.budgets.as_ref()
    }

    pub(crate) fn tools(&self) -> &Arc<dyn Tools> {
        &self.0.host.tools
    }

    pub(crate) fn config(&self) -> &TurnsConfig {
        &self.0.host.config
    }

    fn policy(&self, agent: &str) -> Option<&Arc<AgentPolicy>> {
        self.0.host.policies.get(agent)
    }

    /// The configured agents, each with what it may reach.
    pub fn policies(&self) -> &BTreeMap<String, Arc<AgentPolicy>> {
        &self.0.host.policies
    }

    /// What an agent is for, in its component's words; `None` if it cannot be run now.
    pub fn description(&self, agent: &str) -> Option<String> {
        let policy = self.policy(agent)?;
        let component = self.0.host.agents.find(&policy.component).ok()?;
        Some(component.definition()?.description.clone())
    }

    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.0.host.tasks.spawn(future);
    }

    /// The number of a stream's last event.
    pub(crate) fn head(&self, stream: &Stream) -> Result<u64, ConversationFault> {
        Ok(self.journal().stream_head(&self.1, stream)?)
    }

    /// What a turn used that has ended.
    pub(crate) fn usage_of(&self, turn: TurnId) -> Option<TurnUsage> {
        let entry = self.conversations().turn(turn).ok()??;
        matches!(entry.state, TurnState::Ended(_)).then_some(entry.usage)
    }

    /// What a person, or time, decided; `None` while nobody has.
    ///
    /// # Errors
    /// [`Interruption::NotRecorded`].
    pub(crate) fn decision(&self, question: QuestionId) -> Result<Option<Decision>, Interruption> {
        let found = Question::read(self.journal(), &self.1, question)
            .map_err(|error| Interruption::NotRecorded { message: error.to_string() })?;
        Ok(found.and_then(|question| question.answered).map(|answered| answered.decision))
    }

    pub(crate) fn is_watched(&self, conversation: &Conversation) -> bool {
        self.0.hub.is_watched(conversation)
    }

    pub(crate) fn publish(&self, conversation: &Conversation, update: TurnUpdate) {
        self.0.hub.publish(conversation, update);
    }

    /// Tells those who watch what is not kept.
    pub(crate) fn show(&self, turn: TurnId, conversation: &Conversation, event: TurnEvent) {
        self.publish(conversation, TurnUpdate { id: None, turn, event });
    }

    /// Tells those who watch what was recorded, under its numbers.
    pub(crate) fn tell(
        &self,
        turn: TurnId,
        conversation: &Conversation,
        events: impl Iterator<Item = (NewEvent, u64)>,
    ) {
        for (event, seq) in events {
            for event in told::told(self.journal(), event.kind.as_str(), &event.payload) {
                self.publish(conversation, TurnUpdate { id: Some(seq), turn, event });
            }
        }
    }

    /// The same, and behind each phase what was said in it.
    pub(crate) fn tell_in_order(
        &self,
        turn: TurnId,
        conversation: &Conversation,
        events: impl Iterator<Item = (NewEvent, u64)>,
        shown: &Shown,
    ) {
        for (event, seq) in events {
            let is_phase = event.kind == EventKind::TurnPhase;
            self.tell(turn, conversation, std::iter::once((event, seq)));
            if is_phase {
                shown.phase_told(|delta| self.show(turn, conversation, delta));
            }
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<TurnId, Known>> {
        // A std mutex: nothing awaits while it is held. So with the lanes.
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.0.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_changed(&self) {
        self.0.changed.send_modify(|changes| *changes += 1);
    }
}
