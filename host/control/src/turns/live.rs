//! One turn while it runs: its place on its record, its budget, and what is not on disk yet.
//!
//! **Reads wait for what costs.** The outcome of a pure read is kept here and goes to disk in
//! the commit of the next effect that costs or changes something, or of the turn's end, and in
//! any case in the order of the numbers. So what is on disk is always a beginning of what the
//! agent was given: a crash loses at most reads after the last effect that mattered, and those
//! are made anew with nothing on record that a new answer could contradict. (An event that is
//! only appended *soon* would not do: the journal may drop it, and a later effect would then
//! stand on a record with a gap.)

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use foreshore_domain::agent::{AgentPolicy, TurnContext};
use foreshore_domain::call::Interruption;
use foreshore_domain::component::ComponentRef;
use foreshore_domain::conversation::{
    Conversation, EffectDigest, Fact, MessageText, TurnEffect, TurnPhase, TurnUsage,
};
use foreshore_domain::effect::{AgentError, BudgetKind, Remaining, ReplyPart};
use foreshore_domain::event::{EventKind, NewEvent};
use foreshore_domain::id::TurnId;
use foreshore_domain::identity::{AskedBy, Principal};
use foreshore_domain::inference::{BudgetExhausted, ServedBy};
use foreshore_store::{AppendError, Commit, Condition};

use super::Turns;
use super::account::Account;
use super::budget::Meter;
use super::payload::{self, Entry, KeptError};
use super::record::{Open, Record, Recorded};
use super::request::{self, Request};
use super::shown::Shown;
use super::step::{Done, Outcome, Place, Step, Weight};
use super::stop::Stop;
use super::update::TurnEvent;
use crate::clock;

/// How much of reads may wait for their commit.
const PENDING_EVENTS_MAX: usize = 64;
const PENDING_BYTES_MAX: usize = 256 << 10;
/// How long what nobody waits for may wait for its commit.
const FLUSH_AFTER: Duration = Duration::from_millis(10);
/// The largest outcome that is kept, as JSON: below what a blob may hold.
const OUTCOME_MAX_BYTES: usize = 12 << 20;

/// A turn that runs. See the module.
pub(crate) struct Live {
    pub(crate) turns: Turns,
    pub(crate) id: TurnId,
    pub(crate) conversation: Conversation,
    pub(crate) number: u64,
    pub(crate) agent: Arc<str>,
    pub(crate) component: ComponentRef,
    /// What it may reach: the configuration's, less what a delegation took away.
    pub(crate) policy: AgentPolicy,
    /// On whose behalf, as it is on record; none for the host itself.
    pub(crate) asked_by: Option<AskedBy>,
    /// The same, to act as.
    pub(crate) principal: Arc<Principal>,
    /// How many turns wait for this one.
    pub(crate) depth: u32,
    pub(crate) context: Arc<TurnContext>,
    pub(crate) stop: Stop,
    since: Instant,
    wall_before_ms: u64,
    state: Mutex<State>,
    /// What is to be shown and waits for a phase that goes on record before it.
    pub(crate) shown: Arc<Shown>,
    /// Held over each commit, so that events reach the journal in the order they were made.
    commits: tokio::sync::Mutex<()>,
}

struct State {
    /// The number of the next effect.
    next: u64,
    /// What is on record and was not asked for again yet.
    recorded: VecDeque<Recorded>,
    open: Option<Open>,
    account: Account,
    pending: Entry,
    /// Somebody will put on disk what is pending.
    is_flushing: bool,
    ended: Option<Interruption>,
    used_up: Option<BudgetExhausted>,
}

/// What a turn is made of when it begins to run.
pub(crate) struct Beginning {
    pub(crate) turns: Turns,
    pub(crate) agent: Arc<str>,
    pub(crate) component: ComponentRef,
    pub(crate) policy: AgentPolicy,
    pub(crate) asked_by: Option<AskedBy>,
    pub(crate) principal: Arc<Principal>,
    pub(crate) depth: u32,
    pub(crate) context: Arc<TurnContext>,
    pub(crate) stop: Stop,
    pub(crate) record: Record,
}

impl Live {
    pub(crate) fn new(beginning: Beginning) -> Self {
        let Beginning {
            turns,
            agent,
            component,
            policy,
            asked_by,
            principal,
            depth,
            context,
            stop,
            record,
        } = beginning;
        let state = State {
            next: 0,
            recorded: record.effects.into(),
            open: record.open,
            account: Account::new(Meter::new(policy.budget)),
            pending: Entry::default(),
            is_flushing: false,
            ended: None,
            used_up: None,
        };
        Self {
            turns,
            id: context.turn,
            conversation: context.conversation.clone(),
            number: context.number,
            agent,
            component,
            policy,
            asked_by,
            principal,
            depth,
            context,
            stop,
            since: Instant::now(),
            wall_before_ms: record.wall_ms,
            state: Mutex::new(state),
            shown: Arc::default(),
            commits: tokio::sync::Mutex::new(()),
        }
    }

    /// Gives an effect its number, and says whether it is on record.
    ///
    /// # Errors
    /// The turn is stopped, or it left its record.
    pub(crate) fn place(&self, request: Request) -> Result<Place, Interruption> {
        self.stop.check()?;
        let mut state = self.lock();
        if let Some(ended) = &state.ended {
            return Err(ended.clone());
        }
        let number = state.next;
        state.next += 1;
        if let Some(recorded) = state.recorded.pop_front() {
            same(number, &request, recorded.effect.as_str(), &recorded.digest)?;
            return Ok(Place::Recorded(Box::new(recorded)));
        }
        let open = state.open.take();
        if let Some(open) = &open {
            same(number, &request, open.intended.effect.as_str(), &open.intended.digest)?;
        }
        Ok(Place::Live(Box::new(Step { number, request, open })))
    }

    /// Takes an outcome from the record, as if it came about now.
    ///
    /// # Errors
    /// It cannot be read, or a budget is used up.
    pub(crate) fn replay(
        &self,
        request: &Request,
        recorded: &Recorded,
    ) -> Result<Outcome, Interruption> {
        let outcome = payload::value::<Outcome>(self.turns.journal(), &recorded.outcome);
        let outcome = outcome.map_err(|error| self.unreadable(request, &error))?;
        let delegated = match recorded.delegated_to {
            Some(child) => self.turns.usage_of(child),
            None => None,
        };
        self.context.advance_to(recorded.at_unix_ms);
        self.account(request.kind, &outcome, delegated.as_ref())?;
        Ok(outcome)
    }

    /// Why a turn cannot go on whose record cannot be read.
    fn unreadable(&self, request: &Request, error: &KeptError) -> Interruption {
        match error {
            KeptError::Read(error) => Interruption::NotRecorded { message: error.to_string() },
            error => Interruption::Diverged {
                number: self.lock().next.saturating_sub(1),
                recorded: format!("an outcome that cannot be read ({error})"),
                found: request.words(),
            },
        }
    }

    /// Records an outcome, now or with the next that matters; `None` if a condition did not
    /// hold, and then nothing was recorded.
    ///
    /// # Errors
    /// It could not be recorded, or a budget is used up.
    pub(crate) async fn record(
        self: &Arc<Self>,
        step: &Step,
        done: Done,
    ) -> Result<Option<Outcome>, Interruption> {
        let Done { mut outcome, mut entry, conditions, weight, delegated } = done;
        let now = clock::now_unix_ms();
        let at_unix_ms = now.max(self.context.now_unix_ms());
        let mut json = serde_json::to_string(&outcome).map_err(|error| not_kept(&error))?;
        if json.len() > OUTCOME_MAX_BYTES {
            outcome = Err(AgentError::Exhausted(BudgetKind::Bytes));
            json = serde_json::to_string(&outcome).map_err(|error| not_kept(&error))?;
        }
        let effect = TurnEffect {
            turn: self.id,
            number: step.number,
            effect: step.request.name(),
            digest: step.request.digest,
            request: entry.keep_json(step.request.json.clone(), ""),
            outcome: entry.keep_json(json, ""),
            at_unix_ms,
            blobs: Vec::new(),
        };
        entry.push(effect.event(now, self.turns.tenant()));
        if weight != Weight::Durable && conditions.is_empty() && self.keep(&mut entry) {
            // On disk with the next that matters.
            if weight == Weight::Soon {
                self.flush();
            }
        } else if !self.commit(entry, conditions).await? {
            return Ok(None);
        }
        self.context.advance_to(at_unix_ms);
        self.account(step.request.kind, &outcome, delegated.as_ref())?;
        Ok(Some(outcome))
    }

    /// Keeps events for the next commit, if there is room for them.
    fn keep(&self, entry: &mut Entry) -> bool {
        let mut state = self.lock();
        let pending = &mut state.pending;
        let fits = pending.events.len() + entry.events.len() <= PENDING_EVENTS_MAX
            && pending.bytes() + entry.bytes() <= PENDING_BYTES_MAX;
        if fits {
            pending.append(std::mem::take(entry));
        }
        fits
    }

    /// Records events soon, in their order, without waiting for the disk.
    pub(crate) fn soon(self: &Arc<Self>, event: NewEvent) {
        self.lock().pending.push(event);
        self.flush();
    }

    /// Puts on disk what is kept, a moment later and without waiting for it: what comes in that
    /// moment goes along, and a commit that is waited for takes it with it.
    fn flush(self: &Arc<Self>) {
        if std::mem::replace(&mut self.lock().is_flushing, true) {
            return;
        }
        let live = Arc::clone(self);
        self.turns.spawn(async move {
            tokio::time::sleep(FLUSH_AFTER).await;
            live.lock().is_flushing = false;
            if let Err(interruption) = live.commit(Entry::default(), Vec::new()).await {
                live.end(interruption);
            }
        });
    }

    /// Tells those who watch what is not kept, behind the phases that were said before it.
    pub(crate) fn show(&self, event: TurnEvent) {
        self.shown.pass(event, |event| self.turns.show(self.id, &self.conversation, event));
    }

    /// More of the reply: pieces are shown and not kept, phases are kept.
    pub(crate) fn say(self: &Arc<Self>, part: ReplyPart) {
        match part {
            ReplyPart::Text(text) => self.show(TurnEvent::MessageDelta(text)),
            ReplyPart::Thinking(text) => self.show(TurnEvent::ThinkingDelta(text)),
            ReplyPart::Phase { name, message } => {
                let message = message.map(|message| MessageText::cut(&message));
                let phase = TurnPhase { turn: self.id, phase: request::name(&name), message };
                self.shown.phase_said();
                self.soon(phase.event(clock::now_unix_ms(), self.turns.tenant()));
            }
        }
    }

    /// Puts on disk what is kept, and then this; tells those who watch. `false` if a condition
    /// did not hold: then nothing was recorded.
    ///
    /// # Errors
    /// [`Interruption::NotRecorded`].
    pub(crate) async fn commit(
        &self,
        entry: Entry,
        conditions: Vec<Condition>,
    ) -> Result<bool, Interruption> {
        let _in_order = self.commits.lock().await;
        let mut all = std::mem::take(&mut self.lock().pending);
        let kept = all.clone();
        all.append(entry);
        if all.events.is_empty() {
            return Ok(true);
        }
        let told = self.turns.is_watched(&self.conversation).then(|| all.events.clone());
        let phases = all.events.iter().filter(|event| event.kind == EventKind::TurnPhase).count();
        let untold = || {
            for _ in 0..phases {
                self.shown.phase_told(|delta| {
                    self.turns.show(self.id, &self.conversation, delta);
                });
            }
        };
        let Entry { events, blobs } = all;
        match self.turns.journal().commit(Commit { events, conditions, blobs }).await {
            Ok(committed) => {
                match told {
                    None => untold(),
                    Some(told) => {
                        let told = told.into_iter().zip(committed.first_seq..);
                        let (turn, conversation) = (self.id, &self.conversation);
                        self.turns.tell_in_order(turn, conversation, told, &self.shown);
                    }
                }
                Ok(true)
            }
            Err(AppendError::Conflict(_)) => {
                let mut state = self.lock();
                let since = std::mem::replace(&mut state.pending, kept);
                state.pending.append(since);
                Ok(false)
            }
            Err(error) => {
                untold();
                Err(not_recorded(&error))
            }
        }
    }

    /// The run is over: waits for what is on its way to the disk, and takes out the rest. After
    /// this the run records nothing more, so that another may begin.
    pub(crate) async fn settle(&self) -> Entry {
        let _in_order = self.commits.lock().await;
        std::mem::take(&mut self.lock().pending)
    }

    /// Counts what an outcome cost.
    ///
    /// # Errors
    /// [`Interruption::OverBudget`].
    fn account(
        &self,
        kind: &str,
        outcome: &Outcome,
        delegated: Option<&TurnUsage>,
    ) -> Result<(), Interruption> {
        self.lock().account.count(kind, outcome, delegated)
    }

    /// What is left of the budget.
    pub(crate) fn left(&self) -> Remaining {
        self.lock().account.meter.left(self.wall_ms())
    }

    /// Looks at the budget, which is reserved for one effect at a time.
    pub(crate) fn with_meter<T>(&self, look: impl FnOnce(&Meter, u64) -> T) -> T {
        look(&self.lock().account.meter, self.wall_ms())
    }

    /// Milliseconds that it ran, over all runs.
    pub(crate) fn wall_ms(&self) -> u64 {
        let now = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.wall_before_ms.saturating_add(now)
    }

    /// What it used, who answered last, and how many of its side effects are in doubt.
    pub(crate) fn used(&self) -> (TurnUsage, Option<ServedBy>, u64) {
        let state = self.lock();
        let Account { meter, served_by, in_doubt, .. } = &state.account;
        let usage = TurnUsage { wall_ms: self.wall_ms(), ..meter.used() };
        (usage, served_by.clone(), *in_doubt)
    }

    /// Notes what a model was last not asked for, if that is for want of a budget of the host's.
    pub(crate) fn note_budget(&self, used_up: Option<BudgetExhausted>) {
        self.lock().used_up = used_up;
    }

    /// The budget of a tenant, agent or conversation that had too little left when a model was
    /// last asked. What a run before this one was told of that is not known.
    pub(crate) fn used_up(&self) -> Option<BudgetExhausted> {
        self.lock().used_up.clone()
    }

    /// A model that was asked for and that there is not, as the agent was told.
    pub(crate) fn no_model(&self) -> Option<String> {
        self.lock().account.no_model.clone()
    }

    /// Whether what it says now was said before: it is still on its record.
    pub(crate) fn is_on_record(&self) -> bool {
        let state = self.lock();
        !state.recorded.is_empty() || state.open.is_some()
    }

    /// Effects on record that it did not ask for again.
    pub(crate) fn left_on_record(&self) -> Option<Interruption> {
        let state = self.lock();
        let (kind, digest) = match (state.recorded.front(), &state.open) {
            (Some(recorded), _) => (&recorded.effect, &recorded.digest),
            (None, Some(open)) => (&open.intended.effect, &open.intended.digest),
            (None, None) => return None,
        };
        Some(Interruption::Diverged {
            number: state.next,
            recorded: request::words(kind.as_str(), digest),
            found: "the end of the turn".to_owned(),
        })
    }

    /// Keeps why the turn stops, so that every later effect is told the same.
    pub(crate) fn end(&self, interruption: Interruption) {
        self.lock().ended.get_or_insert(interruption);
    }

    pub(crate) fn interruption(&self) -> Option<Interruption> {
        self.lock().ended.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A std mutex: nothing awaits while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn same(
    number: u64,
    request: &Request,
    kind: &str,
    digest: &EffectDigest,
) -> Result<(), Interruption> {
    if *digest == request.digest && kind == request.kind {
        return Ok(());
    }
    let recorded = request::words(kind, digest);
    Err(Interruption::Diverged { number, recorded, found: request.words() })
}

fn not_kept(error: &serde_json::Error) -> Interruption {
    Interruption::NotRecorded { message: format!("an outcome is not JSON: {error}") }
}

/// Why a turn cannot go on where the journal takes nothing.
pub(crate) fn not_recorded(error: &AppendError) -> Interruption {
    Interruption::NotRecorded { message: error.to_string() }
}
