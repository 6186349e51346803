//! Turns that wait: for a person, for a time, for a turn they delegated to. Each is an entry in
//! a list by time; one task sleeps until the first of them is due.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foreshore_domain::approval::{ApprovalClosed, ApprovalState, Origin};
use foreshore_domain::conversation::{Decision, Fact, QuestionAnswered, Until};
use foreshore_domain::event::Tenant;
use foreshore_domain::id::{QuestionId, TurnId};
use foreshore_store::approvals::ApprovalEntry;
use foreshore_store::conversations::{TurnEntry, TurnState};
use foreshore_store::{AppendError, Commit, Condition};
use tokio::sync::Notify;

use super::ending::Ending;
use super::payload::Entry;
use super::question::Question;
use super::record::Record;
use super::request::name;
use super::update::{TurnEvent, TurnUpdate};
use super::{AnswerFault, CancelFault, Known, Stage, Turns};
use crate::approvals::{ApprovalFault, Woken};
use crate::clock;
use crate::conversations::ConversationFault;

/// The longest that the task sleeps: a clock that was set is noticed by then.
const SLEEP_MAX: Duration = Duration::from_secs(60);
/// How long it waits where the journal takes nothing.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Who answers where nobody does in time.
const HOST: &str = "host";

/// When which turn is due.
#[derive(Default)]
pub(crate) struct Waits {
    due: Mutex<BTreeSet<(u64, TurnId)>>,
    earlier: Notify,
}

impl Waits {
    fn add(&self, at_unix_ms: u64, turn: TurnId) {
        self.lock().insert((at_unix_ms, turn));
        self.earlier.notify_one();
    }

    /// Forgets a turn that is over, or waits no more.
    pub(crate) fn forget(&self, turn: TurnId) {
        self.lock().retain(|(_, waiting)| *waiting != turn);
    }

    /// The first that is due, or how long until it is.
    fn next(&self, now_unix_ms: u64) -> Result<TurnId, Duration> {
        match self.lock().first() {
            None => Err(SLEEP_MAX),
            Some((at, turn)) if *at <= now_unix_ms => Ok(*turn),
            Some((at, _)) => Err(Duration::from_millis(at - now_unix_ms).min(SLEEP_MAX)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<(u64, TurnId)>> {
        // A std mutex: nothing awaits while it is held.
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turns {
    /// Wakes turns when their time has come, until the host goes down.
    pub(crate) async fn keep_time(self) {
        let drain = self.0.host.drain.clone();
        loop {
            let sleep = match self.0.waits.next(clock::now_unix_ms()) {
                Ok(turn) => match self.of_turn(turn).due(turn).await {
                    Ok(()) => continue,
                    Err(message) => {
                        tracing::warn!(%turn, %message, "a wait that is over was not recorded");
                        RETRY_AFTER
                    }
                },
                Err(sleep) => sleep,
            };
            tokio::select! {
                () = drain.cancelled() => return,
                () = tokio::time::sleep(sleep) => {}
                () = self.0.waits.earlier.notified() => {}
            }
        }
    }

    /// The time of a turn that waits has come.
    async fn due(&self, turn: TurnId) -> Result<(), String> {
        let entry = self.conversations().turn(turn).map_err(|fault| fault.to_string())?;
        if let Some(TurnState::Waiting(Until::Question(question))) = entry.map(|e| e.state) {
            match self.close(question, Decision::Expired, HOST).await {
                Ok(()) | Err(AnswerFault::Closed { .. } | AnswerFault::NotFound { .. }) => {}
                Err(fault) => return Err(fault.to_string()),
            }
        }
        self.0.waits.forget(turn);
        self.wake(turn);
        Ok(())
    }

    /// A run ended because its turn waits. What it waits for may have come by now.
    pub(super) fn put_aside(&self, turn: TurnId) {
        if let Some(known) = self.open().get_mut(&turn) {
            known.stage = Stage::Waiting;
        }
        self.has_changed();
        self.expect(turn);
    }

    /// Sees to it that a turn which waits is woken.
    pub(super) fn expect(&self, turn: TurnId) {
        let until = match self.conversations().turn(turn) {
            Ok(Some(TurnEntry { state: TurnState::Waiting(until), .. })) => until,
            Ok(_) => return self.wake(turn),
            Err(fault) => {
                tracing::error!(%turn, %fault, "what a turn waits for cannot be read");
                return;
            }
        };
        match until {
            Until::AtUnixMs(at) => self.0.waits.add(at, turn),
            Until::Question(question) => match Question::read(self.journal(), &self.1, question) {
                Ok(Some(Question { answered: None, asked, .. })) => {
                    self.0.waits.add(asked.expires_at_unix_ms, turn);
                }
                // Answered while its run was ending, or gone.
                Ok(_) => self.wake(turn),
                Err(error) => tracing::error!(%turn, %error, "a question cannot be read"),
            },
            // Their keeper wakes it when one that is pending is decided.
            Until::Approval(approval) => match self.approvals().get(&self.1, approval) {
                Ok(entry) if entry.state == ApprovalState::Pending => {}
                Ok(_) | Err(ApprovalFault::NotFound { .. }) => self.wake(turn),
                Err(fault) => tracing::error!(%turn, %fault, "an approval cannot be read"),
            },
            Until::Turn(child) => {
                let waits = self.open().get(&child).map(|known| known.stage);
                if waits != Some(Stage::Waiting) {
                    self.wake(turn);
                }
            }
        }
    }

    /// Wakes turns whose calls people have decided, until the host goes down.
    pub(crate) async fn wake_decided(self, mut woken: Woken) {
        let drain = self.0.host.drain.clone();
        loop {
            tokio::select! {
                () = drain.cancelled() => return,
                entry = woken.recv() => match entry {
                    Some(entry) => match Tenant::parse(&entry.tenant) {
                        Ok(tenant) => self.of(&tenant).decided(&entry),
                        Err(error) => tracing::error!(%error, "an approval is of no tenant"),
                    },
                    None => return,
                },
            }
        }
    }

    /// A call of a turn was decided: those who watch are told, and it goes on if that is what it
    /// waits for.
    fn decided(&self, entry: &ApprovalEntry) {
        let Some(Origin { turn, conversation, .. }) = &entry.requested.origin else { return };
        let (approval, state) = (entry.requested.approval, entry.state);
        let closed = ApprovalClosed { approval, state, standing: entry.standing.clone() };
        let event = TurnEvent::ApprovalClosed(closed);
        self.publish(conversation, TurnUpdate { id: entry.closed_seq, turn: *turn, event });
        let turn = *turn;
        // One that runs looks for itself when it comes to wait.
        let stage = self.open().get(&turn).map(|known| known.stage);
        if stage == Some(Stage::Waiting) {
            self.expect(turn);
        }
    }

    /// Lets a turn that waited run again; one that another waits for is run by that one.
    pub(super) fn wake(&self, turn: TurnId) {
        let mut turn = turn;
        loop {
            let delegated_by = {
                let mut open = self.open();
                let Some(known) = open.get_mut(&turn) else { return };
                if known.stage == Stage::Waiting {
                    known.stage = Stage::Ready;
                }
                known.delegated_by
            };
            match delegated_by {
                Some(parent) => turn = parent,
                None => break,
            }
        }
        self.has_changed();
        self.run_if_ready(turn);
    }

    /// Answers a question, once; the turn that asked goes on.
    ///
    /// # Errors
    /// [`AnswerFault`].
    pub async fn answer(
        &self,
        question: QuestionId,
        decision: Decision,
        by: &str,
    ) -> Result<(), AnswerFault> {
        let found = self.question(question)?;
        found.takes(&decision).map_err(|message| AnswerFault::Invalid { question, message })?;
        if found.asked.expires_at_unix_ms <= clock::now_unix_ms() {
            return Err(AnswerFault::Closed { question, how: "its time is over" });
        }
        self.close(question, decision, by).await?;
        self.0.waits.forget(found.asked.turn);
        self.wake(found.asked.turn);
        Ok(())
    }

    /// A question and what became of it.
    ///
    /// # Errors
    /// [`AnswerFault::NotFound`], [`AnswerFault::Store`].
    pub fn question(&self, question: QuestionId) -> Result<Question, AnswerFault> {
        let found = Question::read(self.journal(), &self.1, question)
            .map_err(|error| AnswerFault::Store { message: error.to_string() })?;
        found.ok_or(AnswerFault::NotFound { question })
    }

    /// The questions that are open, oldest first.
    ///
    /// # Errors
    /// [`AnswerFault::Store`].
    pub fn questions(&self) -> Result<Vec<Question>, AnswerFault> {
        let unreadable = |message: String| AnswerFault::Store { message };
        let open = self.conversations().open_turns().map_err(|f| unreadable(f.to_string()))?;
        let mut questions = Vec::new();
        for turn in open {
            if let TurnState::Waiting(Until::Question(id)) = turn.state {
                let read = Question::read(self.journal(), &self.1, id);
                let read = read.map_err(|error| unreadable(error.to_string()))?;
                questions.extend(read.filter(|question| question.answered.is_none()));
            }
        }
        questions.sort_by_key(|question| question.asked.question);
        Ok(questions)
    }

    /// Puts a decision on record, if there is none yet.
    async fn close(
        &self,
        question: QuestionId,
        decision: Decision,
        by: &str,
    ) -> Result<(), AnswerFault> {
        let found = self.question(question)?;
        let closed = AnswerFault::Closed { question, how: "it was answered" };
        if found.answered.is_some() {
            return Err(closed);
        }
        let answered = QuestionAnswered { question, decision, by: name(by) };
        let event = answered.event(clock::now_unix_ms(), self.tenant());
        let stream = event.stream.clone();
        let condition = Condition::StreamAt { tenant: self.tenant(), stream, seq: found.seq };
        let commit =
            Commit { events: vec![event.clone()], conditions: vec![condition], blobs: Vec::new() };
        match self.journal().commit(commit).await {
            Ok(committed) => {
                let told = [(event, committed.first_seq)].into_iter();
                self.tell(found.asked.turn, &found.asked.conversation, told);
                Ok(())
            }
            Err(AppendError::Conflict(_)) => Err(closed),
            Err(error) => Err(AnswerFault::Store { message: error.to_string() }),
        }
    }

    /// Ends a turn: one that runs at its next effect, any other at once. It is over, or about
    /// to be, when this returns.
    ///
    /// # Errors
    /// [`CancelFault`].
    pub async fn cancel(&self, turn: TurnId, by: &str) -> Result<(), CancelFault> {
        let unreadable = |message: String| CancelFault::Store { message };
        let own = |known: &&Known| known.tenant == self.1;
        let stage = self.open().get(&turn).filter(own).map(|known| known.stage);
        match stage {
            Some(Stage::Running) => {
                self.stop_running(turn);
                return Ok(());
            }
            Some(Stage::Ready | Stage::Waiting) => {}
            None => {
                let entry = self.conversations().turn(turn);
                return match entry.map_err(|fault| unreadable(fault.to_string()))? {
                    Some(_) => Err(CancelFault::Ended { turn }),
                    None => Err(CancelFault::NotFound { turn }),
                };
            }
        }
        let entry = self.conversations().turn(turn);
        let entry = entry.map_err(|fault: ConversationFault| unreadable(fault.to_string()))?;
        let entry = entry.ok_or(CancelFault::NotFound { turn })?;
        let record = Record::read(self.journal(), &self.1, turn);
        let record = record.map_err(|error| unreadable(error.to_string()))?;
        let mut also = Entry::default();
        if let TurnState::Waiting(Until::Question(question)) = entry.state {
            let decision = Decision::Cancelled;
            let answered = QuestionAnswered { question, decision, by: name(by) };
            also.push(answered.event(clock::now_unix_ms(), self.tenant()));
        }
        // From here on nothing starts it: a run that was about to begin sees the sign.
        self.stop_running(turn);
        if self.open().get(&turn).is_some_and(|known| known.stage == Stage::Running) {
            return Ok(());
        }
        let ending = Ending::cancelled(self, &entry, &record).with(also);
        self.record_end(ending).await.map_err(|error| unreadable(error.to_string()))
    }

    pub(super) fn stop_running(&self, turn: TurnId) {
        if let Some(known) = self.open().get(&turn) {
            known.cancel.cancel();
        }
    }

    /// Ends the turns that one delegated to which is over.
    pub(super) fn cancel_children(&self, parent: TurnId) {
        let children: Vec<TurnId> = {
            let open = self.open();
            let of_parent = open.iter().filter(|(_, known)| known.delegated_by == Some(parent));
            of_parent.map(|(turn, _)| *turn).collect()
        };
        for child in children {
            let turns = self.clone();
            self.spawn(async move {
                if let Err(fault) = turns.cancel(child, HOST).await {
                    tracing::warn!(%child, %fault, "a turn outlives the one that waited for it");
                }
            });
        }
    }
}
