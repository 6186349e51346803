//! The end of a turn: one event, with what was not on disk yet; and that end, read again.

use std::sync::Arc;

use foreshore_domain::agent::{Finish, Reply};
use foreshore_domain::conversation::{
    Fact, MessageText, Payload, Served, TurnEnd, TurnEnded, TurnFailure, TurnUsage,
};
use foreshore_domain::outcome::Content;
use foreshore_store::conversations::{TurnEntry, TurnState};
use foreshore_store::{AppendError, Commit, Journal};

use super::Turns;
use super::account::Account;
use super::budget::Meter;
use super::live::Live;
use super::payload::{self, Entry, KeptError};
use super::record::Record;
use super::request::name;
use super::shown::Shown;
use super::start::excerpt;
use super::step::Outcome;
use super::update::Ended;
use crate::clock;

/// A turn that is over, and what is recorded of that.
pub(crate) struct Ending {
    ended: TurnEnded,
    entry: Entry,
    /// What was said in phases that are recorded with it.
    shown: Arc<Shown>,
}

impl Ending {
    /// A run came to its end; `entry` is what of it is not on disk yet.
    pub(crate) fn of_run(
        live: &Live,
        turn: &TurnEntry,
        end: TurnEnd,
        reply: Option<Reply>,
        error: Option<(String, String)>,
        fuel: u64,
        mut entry: Entry,
    ) -> Self {
        let (usage, served_by, in_doubt) = live.used();
        let kept = reply.as_ref().map(|reply| entry.keep(&reply.message, &excerpt(&reply.message)));
        let error = error.or_else(|| {
            // A turn that completed with a side effect in doubt says so.
            (in_doubt > 0).then(|| {
                let message = format!("{in_doubt} side effects are in doubt since a crash");
                ("unknown_outcome".to_owned(), message)
            })
        });
        let error = error.or_else(|| {
            // So does one that made do with less, for want of a budget that is not its own.
            let is_short = reply.as_ref().is_some_and(|reply| reply.finish == Finish::Budget);
            let used_up = live.used_up().filter(|_| is_short)?;
            Some(("budget_exhausted".to_owned(), used_up.to_string()))
        });
        let ended = TurnEnded {
            turn: turn.turn,
            conversation: turn.conversation.clone(),
            number: turn.number,
            end,
            reply: kept,
            finish: reply.map(|reply| reply.finish),
            error: error.map(failure),
            usage: TurnUsage { fuel, ..usage },
            served_by: served_by.as_ref().map(Served::from),
            blobs: Vec::new(),
        };
        Self { ended, entry, shown: Arc::clone(&live.shown) }
    }

    /// A turn is cancelled that does not run.
    pub(crate) fn cancelled(turns: &Turns, turn: &TurnEntry, record: &Record) -> Self {
        let error = ("turn_cancelled".to_owned(), "the turn was cancelled".to_owned());
        Self::without_run(turns, turn, record, TurnEnd::Cancelled, error)
    }

    /// A turn cannot run any more.
    pub(crate) fn failed(
        turns: &Turns,
        turn: &TurnEntry,
        record: &Record,
        code: &str,
        message: &str,
    ) -> Self {
        let error = (code.to_owned(), message.to_owned());
        Self::without_run(turns, turn, record, TurnEnd::Failed, error)
    }

    fn without_run(
        turns: &Turns,
        turn: &TurnEntry,
        record: &Record,
        end: TurnEnd,
        error: (String, String),
    ) -> Self {
        let ended = TurnEnded {
            turn: turn.turn,
            conversation: turn.conversation.clone(),
            number: turn.number,
            end,
            reply: None,
            finish: None,
            error: Some(failure(error)),
            usage: used(turns, record),
            served_by: None,
            blobs: Vec::new(),
        };
        Self { ended, entry: Entry::default(), shown: Arc::default() }
    }

    /// Records more in the same commit, before the end.
    pub(crate) fn with(mut self, entry: Entry) -> Self {
        self.entry.append(entry);
        self
    }
}

impl Turns {
    /// Puts the end of a turn on record, tells those who watch, and runs the next.
    ///
    /// # Errors
    /// [`AppendError`]: it is still open.
    pub(super) async fn record_end(&self, ending: Ending) -> Result<(), AppendError> {
        let Ending { ended, mut entry, shown } = ending;
        let (turn, conversation) = (ended.turn, ended.conversation.clone());
        let is_complete = ended.end == TurnEnd::Completed;
        entry.push(ended.event(clock::now_unix_ms(), self.tenant()));
        let told = entry.events.clone();
        let Entry { events, blobs } = entry;
        let commit = Commit { events, conditions: Vec::new(), blobs };
        let committed = self.journal().commit(commit);
        // What it spent is on record with its end, in one write to the disk.
        let (committed, recorded) = tokio::join!(committed, self.record_spent());
        if let Err(error) = recorded {
            tracing::warn!(%turn, %error, "what a turn spent is not on record yet");
        }
        let told = told.into_iter().zip(committed?.first_seq..);
        self.tell_in_order(turn, &conversation, told, &shown);
        // One that completed has had every answer that it asked for.
        if !is_complete && let Err(fault) = self.approvals().cancel_turn(&self.1, turn).await {
            // They end at their time, and let nothing run: their turn is over.
            tracing::warn!(%turn, %fault, "what a turn waited for is pending still");
        }
        self.open().remove(&turn);
        self.0.waits.forget(turn);
        self.lanes().remove(&conversation, turn);
        self.cancel_children(turn);
        self.has_changed();
        self.run_next(&conversation);
        Ok(())
    }
}

impl Turns {
    async fn record_spent(&self) -> Result<(), AppendError> {
        match self.budgets() {
            Some(budgets) => budgets.record().await,
            None => Ok(()),
        }
    }
}

/// What a turn used, by its record.
fn used(turns: &Turns, record: &Record) -> TurnUsage {
    let budget = record.started.as_ref().map(|started| started.settings.budget);
    let mut account = Account::new(Meter::new(budget.unwrap_or_default()));
    for effect in &record.effects {
        let kind = effect.effect.as_str();
        let outcome = payload::value::<Outcome>(turns.journal(), &effect.outcome);
        let delegated = effect.delegated_to.and_then(|child| turns.usage_of(child));
        if let Ok(outcome) = outcome {
            // It is over in any case: a budget that is used up changes nothing any more.
            let _ = account.count(kind, &outcome, delegated.as_ref());
        }
    }
    TurnUsage { wall_ms: record.wall_ms, ..account.meter.used() }
}

fn failure((code, message): (String, String)) -> TurnFailure {
    TurnFailure { code: name(&code), message: MessageText::cut(&message) }
}

/// The end of a turn as it was recorded.
pub(crate) fn of_event(journal: &Journal, ended: TurnEnded) -> Result<Ended, KeptError> {
    Ok(Ended {
        turn: ended.turn,
        conversation: ended.conversation,
        number: ended.number,
        end: ended.end,
        reply: reply(journal, ended.reply.as_ref())?,
        finish: ended.finish,
        error: ended.error.map(words),
        usage: ended.usage,
        served_by: ended.served_by,
    })
}

/// The end of a turn as the view has it.
pub(crate) fn of_entry(journal: &Journal, entry: &TurnEntry) -> Result<Ended, KeptError> {
    let TurnState::Ended(end) = entry.state else {
        return Err(KeptError::Form(format!("turn {} has not ended", entry.turn)));
    };
    Ok(Ended {
        turn: entry.turn,
        conversation: entry.conversation.clone(),
        number: entry.number,
        end,
        reply: reply(journal, entry.reply.as_ref())?,
        finish: entry.finish,
        error: entry.error.clone().map(words),
        usage: entry.usage,
        served_by: entry.served_by.clone(),
    })
}

fn reply(journal: &Journal, kept: Option<&Payload>) -> Result<Vec<Content>, KeptError> {
    kept.map_or_else(|| Ok(Vec::new()), |kept| payload::value(journal, kept))
}

fn words(failure: TurnFailure) -> (String, String) {
    (failure.code.as_str().to_owned(), failure.message.as_str().to_owned())
}
