//! One run of a turn: what it is given, what it came to, and what follows from that.

use std::sync::Arc;
use std::time::Duration;

use foreshore_domain::agent::{AgentPolicy, Reply, Turn, TurnContext};
use foreshore_domain::call::{CallContext, CallError, Denials, Interruption, Meter as CallMeter};
use foreshore_domain::component::ToolHints;
use foreshore_domain::conversation::{Fact, TurnEnd, TurnResumed, TurnStarted};
use foreshore_domain::effect::AgentError;
use foreshore_domain::grant::Grant;
use foreshore_domain::id::{CallId, TurnId};
use foreshore_domain::identity::Principal;
use foreshore_domain::outcome::Content;
use foreshore_store::conversations::{TurnEntry, TurnState};

use super::agents::{AgentComponent, Ran, Stopped};
use super::beginning::{parameters, raw, started};
use super::ending::Ending;
use super::live::{Beginning, Live, not_recorded};
use super::payload::{self, Entry, KeptError};
use super::record::Record;
use super::running::Performer;
use super::slots::{Slot, Slots};
use super::stop::Stop;
use super::{Stage, Turns, shape};
use crate::clock;

/// How long a guest that was told to stop may take to come to its next effect.
const STOP_PATIENCE: Duration = Duration::from_millis(500);
/// How long a turn waits that could not be recorded, before it is taken up again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What follows a run.
enum After {
    /// It is over, and that is on record.
    Over,
    /// It waits, and that is on record.
    Waits,
    /// It is taken up again in a while: the store or the host has no room.
    Again,
    /// The host goes down; the next start takes it up.
    Left,
}

impl Turns {
    /// Runs a turn that waits for nothing. One that another waits for is run by that one, in its
    /// slot.
    pub(super) fn run_if_ready(&self, turn: TurnId) {
        let is_ready = self
            .open()
            .get(&turn)
            .is_some_and(|known| known.stage == Stage::Ready && known.delegated_by.is_none());
        if is_ready {
            self.spawn_run(turn, Some(self.0.slots.clone()));
        }
    }

    /// Runs a turn in a task of its own, in a slot if there are any to take.
    pub(super) fn spawn_run(&self, turn: TurnId, slots: Option<Slots>) {
        let stop = {
            let mut open = self.open();
            let Some(known) = open.get_mut(&turn) else { return };
            if known.stage == Stage::Running {
                return;
            }
            known.stage = Stage::Running;
            Stop::new(known.cancel.clone(), self.0.host.drain.clone())
        };
        let turns = self.of_turn(turn);
        self.spawn(async move { turns.run(turn, stop, slots).await });
    }

    async fn run(&self, turn: TurnId, stop: Stop, slots: Option<Slots>) {
        loop {
            let slot: Option<Slot> = match &slots {
                None => None,
                Some(slots) => tokio::select! {
                    slot = slots.take() => Some(slot),
                    _ = stop.wait() => None,
                },
            };
            let after = self.run_once(turn, &stop).await;
            drop(slot);
            match after {
                After::Over | After::Left => return,
                After::Waits => return self.put_aside(turn),
                After::Again => {
                    tokio::select! {
                        () = tokio::time::sleep(RETRY_AFTER) => {}
                        interruption = stop.wait() => {
                            if interruption == Interruption::ShuttingDown {
                                return;
                            }
                            tokio::time::sleep(RETRY_AFTER).await;
                        }
                    }
                }
            }
        }
    }

    async fn run_once(&self, turn: TurnId, stop: &Stop) -> After {
        match self.begin(turn, stop).await {
            Ok(Begun::Run(run)) => run.run(self, stop).await,
            Ok(Begun::Not(ending)) => self.finish(*ending).await,
            Ok(Begun::Over) => After::Over,
            Err(Interruption::ShuttingDown) => After::Left,
            Err(interruption) => {
                tracing::warn!(%turn, %interruption, "a turn did not begin");
                After::Again
            }
        }
    }

    async fn finish(&self, ending: Ending) -> After {
        match self.record_end(ending).await {
            Ok(()) => After::Over,
            Err(error) => {
                tracing::warn!(%error, "the end of a turn was not recorded");
                After::Again
            }
        }
    }

    /// Everything that a run needs, with its beginning on record.
    async fn begin(&self, turn: TurnId, stop: &Stop) -> Result<Begun, Interruption> {
        let unreadable = |message: String| Interruption::NotRecorded { message };
        let entry = self.conversations().turn(turn).map_err(|f| unreadable(f.to_string()))?;
        let entry = entry.ok_or_else(|| unreadable(format!("turn {turn} is not on record")))?;
        if matches!(entry.state, TurnState::Ended(_)) {
            return Ok(Begun::Over);
        }
        let record = match Record::read(self.journal(), &self.1, turn) {
            Ok(record) => record,
            Err(KeptError::Read(error)) => return Err(unreadable(error.to_string())),
            Err(error) => {
                let record = Record::default();
                let message = error.to_string();
                let ending = Ending::failed(self, &entry, &record, "record_unreadable", &message);
                return Ok(Begun::Not(Box::new(ending)));
            }
        };
        if let Err(Interruption::Cancelled) = stop.check() {
            let ending = Ending::cancelled(self, &entry, &record);
            return Ok(Begun::Not(Box::new(ending)));
        }
        stop.check()?;
        let failed = |code: &str, message: String| {
            let ending = Ending::failed(self, &entry, &record, code, &message);
            Ok(Begun::Not(Box::new(ending)))
        };
        let agent = entry.agent.as_str();
        let Some(policy) = self.policy(agent) else {
            return failed(
                "unknown_agent",
                format!("agent \"{agent}\" is not configured any more"),
            );
        };
        let component = match self.0.host.agents.find(&policy.component) {
            Ok(component) => component,
            Err(message) => return failed("agent_unavailable", message),
        };
        let started = match &record.started {
            Some(started) => {
                self.resumed(turn, &record).await?;
                started.clone()
            }
            None => {
                let given = entry.parameters.as_ref();
                let given = given.map(|kept| payload::text(self.journal(), kept)).transpose();
                let given = given.map_err(|error| unreadable(error.to_string()))?;
                let given = match parameters(policy, &*component, given.as_deref()) {
                    Ok(parameters) => parameters,
                    Err((pointer, message)) => {
                        return failed("invalid_turn", format!("{message} (at \"{pointer}\")"));
                    }
                };
                let mut policy = AgentPolicy::clone(policy);
                if let Some(budget) = &entry.budget {
                    policy.budget = policy.budget.lowered(budget);
                }
                let settings = shape::settings(&policy, given);
                let started = started(turn, &*component, settings, clock::now_unix_ms());
                let mut events = Entry::default();
                events.push(started.clone().event(started.began_at_unix_ms, self.tenant()));
                self.record(&entry, events).await?;
                started
            }
        };
        let message = payload::value::<Vec<Content>>(self.journal(), &entry.message)
            .map_err(|error| unreadable(error.to_string()))?;
        let depth = self.depth(&entry);
        let mut policy = shape::resumed(policy, &started.settings);
        if let Some(by) = &entry.asked_by {
            by.reach.narrow(&mut policy);
        }
        Ok(Begun::Run(Box::new(Run { entry, record, started, component, policy, message, depth })))
    }

    /// Notes that a turn runs again, where anything is on record that it runs again on.
    async fn resumed(&self, turn: TurnId, record: &Record) -> Result<(), Interruption> {
        if record.effects.is_empty() && record.open.is_none() {
            return Ok(());
        }
        let effects = u64::try_from(record.effects.len()).unwrap_or(u64::MAX);
        let event = TurnResumed { turn, effects }.event(clock::now_unix_ms(), self.tenant());
        let appended = self.journal().append(event.clone()).await;
        let appended = appended.map_err(|error| not_recorded(&error))?;
        let entry = self.conversations().turn(turn).ok().flatten();
        if let Some(entry) = entry {
            self.tell(turn, &entry.conversation, [(event, appended.seq)].into_iter());
        }
        Ok(())
    }

    async fn record(&self, turn: &TurnEntry, entry: Entry) -> Result<(), Interruption> {
        let told = entry.events.clone();
        let Entry { events, blobs } = entry;
        let commit = foreshore_store::Commit { events, conditions: Vec::new(), blobs };
        let committed = self.journal().commit(commit).await;
        let committed = committed.map_err(|error| not_recorded(&error))?;
        let told = told.into_iter().zip(committed.first_seq..);
        self.tell(turn.turn, &turn.conversation, told);
        Ok(())
    }

    /// How many turns wait for one, directly and not.
    fn depth(&self, entry: &TurnEntry) -> u32 {
        let (mut depth, mut by) = (0, entry.delegated_by);
        while let Some(parent) = by
            && depth < u32::from(u8::MAX)
        {
            depth += 1;
            by = self.conversations().turn(parent).ok().flatten().and_then(|e| e.delegated_by);
        }
        depth
    }
}

/// Whether a turn can run.
enum Begun {
    Run(Box<Run>),
    /// It cannot, and ends so.
    Not(Box<Ending>),
    /// It has ended in the meantime.
    Over,
}

/// A run that can begin.
struct Run {
    entry: TurnEntry,
    record: Record,
    started: TurnStarted,
    component: Arc<dyn AgentComponent>,
    policy: AgentPolicy,
    message: Vec<Content>,
    depth: u32,
}

impl Run {
    async fn run(self, turns: &Turns, stop: &Stop) -> After {
        let Self { entry, record, started, component, policy, message, depth } = self;
        let (agent, wall): (Arc<str>, _) = (
            entry.agent.as_str().into(),
            Duration::from_millis(policy.budget.wall_ms.get().saturating_sub(record.wall_ms)),
        );
        let context = Arc::new(TurnContext::new(
            entry.turn,
            entry.conversation.clone(),
            entry.number,
            Arc::clone(&agent),
            *started.seed.as_bytes(),
            started.began_at_unix_ms,
            wall,
        ));
        let principal = match &entry.asked_by {
            Some(by) => by.principal(turns.tenant()),
            None => Arc::new(Principal {
                tenant: turns.tenant(),
                ..Principal::clone(&Principal::host())
            }),
        };
        let call = Arc::new(CallContext {
            call_id: CallId::new(clock::now_unix_ms()),
            component: component.reference().clone(),
            digest: component.digest(),
            tool: "turn".into(),
            hints: ToolHints::default(),
            principal: Arc::clone(&principal),
            grant: Arc::new(Grant { memory: policy.memory.clone(), ..Grant::default() }),
            limits: component.limits(),
            turn: Some(Arc::clone(&context)),
            observer: None,
            meter: CallMeter::default(),
            denials: Denials::default(),
        });
        let live = Arc::new(Live::new(Beginning {
            turns: turns.clone(),
            agent,
            component: call.component.clone(),
            policy,
            asked_by: entry.asked_by.clone(),
            principal,
            depth,
            context,
            stop: stop.clone(),
            record,
        }));
        let entered = turns.0.host.running.enter(call.call_id, Performer::Live(Arc::clone(&live)));
        let parameters = started.settings.parameters.as_ref().and_then(raw);
        let turn = Turn {
            conversation: entry.conversation.clone(),
            number: entry.number,
            message,
            parameters,
        };
        let ran = run_until_stopped(&*component, Arc::clone(&call), turn, stop).await;
        drop(entered);
        let pending = live.settle().await;
        for denial in call.denials.take() {
            turns.0.host.recorder.denied(call.call_id, &call.component, denial, &call.principal);
        }
        match came_to(&live, ran) {
            CameTo::Waits => After::Waits,
            CameTo::Left => After::Left,
            CameTo::Again(why) => {
                tracing::warn!(turn = %entry.turn, %why, "a turn is taken up again later");
                After::Again
            }
            CameTo::End { end, reply, error, fuel } => {
                turns.finish(Ending::of_run(&live, &entry, end, reply, error, fuel, pending)).await
            }
        }
    }
}

/// Runs the guest; one that is told to stop and comes to no effect is dropped where it is, as
/// by a crash: what it had under way is on record as such.
async fn run_until_stopped(
    component: &dyn AgentComponent,
    call: Arc<CallContext>,
    turn: Turn,
    stop: &Stop,
) -> Ran {
    let stopped = async {
        let interruption = stop.wait().await;
        tokio::time::sleep(STOP_PATIENCE).await;
        interruption
    };
    tokio::select! {
        ran = component.run(call, turn) => ran,
        interruption = stopped => Ran {
            result: Err(Stopped::Call(CallError::Interrupted(interruption))),
            fuel: 0,
        },
    }
}

/// What a run came to.
enum CameTo {
    Waits,
    Left,
    Again(String),
    End { end: TurnEnd, reply: Option<Reply>, error: Option<(String, String)>, fuel: u64 },
}

fn came_to(live: &Live, ran: Ran) -> CameTo {
    let Ran { result, fuel } = ran;
    let told = match &result {
        Err(Stopped::Call(CallError::Interrupted(interruption))) => Some(interruption.clone()),
        _ => None,
    };
    let ended = |end, reply, error| CameTo::End { end, reply, error, fuel };
    let failed = |code: &str, message: String| {
        ended(TurnEnd::Failed, None, Some((code.to_owned(), message)))
    };
    // What the door said holds, whatever the guest made of it.
    match live.interruption().or(told) {
        Some(Interruption::Waiting) => return CameTo::Waits,
        Some(Interruption::ShuttingDown) => return CameTo::Left,
        Some(Interruption::NotRecorded { message }) => return CameTo::Again(message),
        Some(interruption @ Interruption::Cancelled) => {
            let error = (interruption.code().to_owned(), interruption.to_string());
            return ended(TurnEnd::Cancelled, None, Some(error));
        }
        // It went on asking past a budget that is not its own.
        Some(interruption @ Interruption::OverBudget { .. }) => {
            let message = live.used_up().map(|budget| budget.to_string());
            let message = message.unwrap_or_else(|| interruption.to_string());
            return failed(interruption.code(), message);
        }
        Some(interruption) => return failed(interruption.code(), interruption.to_string()),
        None => {}
    }
    match result {
        // No slot or memory for the guest now: nothing was done that is not on record.
        Err(Stopped::Call(error @ CallError::Overloaded { .. })) => {
            CameTo::Again(error.to_string())
        }
        Err(Stopped::Call(error)) => failed(error.code(), error.to_string()),
        Err(Stopped::Agent(error)) => {
            let (code, message) = told_people(live, &error);
            failed(code, message)
        }
        Ok(reply) => match live.left_on_record() {
            Some(diverged) => failed(diverged.code(), diverged.to_string()),
            None => ended(TurnEnd::Completed, Some(reply), None),
        },
    }
}

/// An agent's own error. Where it is one that the host gave it for want of a model or a budget,
/// people are told which: the host knows, and takes nobody's word for it.
fn told_people(live: &Live, error: &AgentError) -> (&'static str, String) {
    match (error, live.no_model(), live.used_up()) {
        (AgentError::NotFound(model), Some(asked), _) if *model == asked => {
            let agent = &live.agent;
            let message = format!(
                "agent \"{agent}\" asks for {model}, and no backend has it: [agents.{agent}] model \
                 names it, or a parameter of the turn; GET /v1/models lists those there are"
            );
            ("model_not_found", message)
        }
        (AgentError::Exhausted(what), _, Some(budget)) if *what == budget.what => {
            (code(error), budget.to_string())
        }
        _ => (code(error), explained(error)),
    }
}

/// The stable code of an agent's own error.
fn code(error: &AgentError) -> &'static str {
    match error {
        AgentError::Denied { .. } => "agent_denied",
        AgentError::Refused(_) => "refused",
        AgentError::Invalid { .. } => "agent_invalid",
        AgentError::NotFound(_) => "agent_not_found",
        AgentError::Exhausted(_) => "budget_exhausted",
        AgentError::Unavailable(_) => "model_unavailable",
        AgentError::UnknownOutcome(_) => "unknown_outcome",
        AgentError::Failed(_) => "agent_failed",
    }
}

/// An agent's own error, for people. The agent is not told which server is at fault; they are told
/// where that is said.
fn explained(error: &AgentError) -> String {
    match error {
        AgentError::Unavailable(_) => {
            format!("a model or store is {error}; /readyz?verbose names the servers of models")
        }
        other => other.to_string(),
    }
}
