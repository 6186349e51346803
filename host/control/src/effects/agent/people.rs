//! Waiting for a person or a time. What is waited for goes on record, and the run ends there:
//! a turn that waits is a few rows in the journal. When the wait is over the turn runs again on
//! its record, comes to this effect, and finds the answer.
//!
//! Nothing an agent can call answers a question; [`crate::turns::Turns::answer`] is for people.

use foreshore_domain::call::Interruption;
use foreshore_domain::conversation::{
    Decision, Fact, MessageText, QuestionAsked, QuestionKind, TurnIntended, TurnWaiting, Until,
};
use foreshore_domain::effect::{AgentError, AgentOutcome, Answer};
use foreshore_domain::id::QuestionId;
use foreshore_domain::memory::JsonText;
use serde_json::value::RawValue;

use super::invalid;
use crate::clock;
use crate::turns::live::Live;
use crate::turns::payload::Entry;
use crate::turns::question;
use crate::turns::step::{Done, Step};

/// The longest sleep.
const SLEEP_MAX_MS: u64 = 30 * 24 * 60 * 60 * 1_000;

/// The largest details of a question, as JSON.
const DETAILS_MAX_BYTES: usize = 16 << 10;

impl Live {
    pub(super) async fn ask(
        &self,
        step: &Step,
        message: &str,
        schema: &RawValue,
    ) -> Result<Done, Interruption> {
        if let Err(message) = question::check_schema(schema.get()) {
            return Ok(Done::read(Err(invalid("/schema", message))));
        }
        let decision = match self.asked(step, message, schema.get(), false).await? {
            Ok(decision) => decision,
            Err(error) => return Ok(Done::read(Err(error))),
        };
        Ok(Done::durable(match decision {
            Decision::Accepted(json) => match RawValue::from_string(json.as_str().to_owned()) {
                Ok(json) => Ok(AgentOutcome::Answered(Answer::Accepted(json))),
                Err(error) => Err(AgentError::Failed(error.to_string())),
            },
            Decision::Cancelled => Ok(AgentOutcome::Answered(Answer::Cancelled)),
            Decision::Expired => Err(nobody()),
            Decision::Declined | Decision::Denied | Decision::Approved => {
                Ok(AgentOutcome::Answered(Answer::Declined))
            }
        }))
    }

    pub(super) async fn approve(
        &self,
        step: &Step,
        action: &str,
        details: &RawValue,
    ) -> Result<Done, Interruption> {
        let decision = match self.asked(step, action, details.get(), true).await? {
            Ok(decision) => decision,
            Err(error) => return Ok(Done::read(Err(error))),
        };
        Ok(Done::durable(match decision {
            Decision::Approved => Ok(AgentOutcome::Done),
            Decision::Expired => Err(nobody()),
            _ => Err(AgentError::Refused("a person said no".to_owned())),
        }))
    }

    /// What a person decided; where nobody has yet, the run ends here.
    async fn asked(
        &self,
        step: &Step,
        message: &str,
        json: &str,
        is_approval: bool,
    ) -> Result<Result<Decision, AgentError>, Interruption> {
        if let Some(Until::Question(question)) = waits_for(step) {
            return match self.turns.decision(question)? {
                Some(decision) => Ok(Ok(decision)),
                None => Err(Interruption::Waiting),
            };
        }
        if json.len() > DETAILS_MAX_BYTES {
            let message = format!("{} bytes of details; at most {DETAILS_MAX_BYTES}", json.len());
            return Ok(Err(invalid("", message)));
        }
        let json = match JsonText::parse(json) {
            Ok(json) => json,
            Err(error) => return Ok(Err(invalid("", error.to_string()))),
        };
        let now = clock::now_unix_ms();
        let question = QuestionId::new(now);
        let kind = if is_approval {
            QuestionKind::Approve { details: json }
        } else {
            QuestionKind::Ask { schema: json }
        };
        let asked = QuestionAsked {
            question,
            turn: self.id,
            conversation: self.conversation.clone(),
            number: step.number,
            kind,
            message: MessageText::cut(message),
            expires_at_unix_ms: now.saturating_add(self.turns.config().question_ttl_ms),
        };
        let mut entry = self.waiting(step, Until::Question(question), now);
        entry.push(asked.event(now, self.turns.tenant()));
        self.commit(entry, Vec::new()).await?;
        Err(Interruption::Waiting)
    }

    pub(super) async fn sleep(&self, step: &Step, at_unix_ms: u64) -> Result<Done, Interruption> {
        let now = clock::now_unix_ms();
        if at_unix_ms > self.context.now_unix_ms().saturating_add(SLEEP_MAX_MS) {
            let message = "a turn sleeps at most 30 days";
            return Ok(Done::read(Err(invalid("/time", message))));
        }
        if at_unix_ms <= now {
            return Ok(Done::durable(Ok(AgentOutcome::Done)));
        }
        if waits_for(step).is_none() {
            let entry = self.waiting(step, Until::AtUnixMs(at_unix_ms), now);
            self.commit(entry, Vec::new()).await?;
        }
        Err(Interruption::Waiting)
    }

    /// That the turn waits from here on, with the intent that names the effect.
    pub(super) fn waiting(&self, step: &Step, until: Until, now: u64) -> Entry {
        let intended = TurnIntended {
            turn: self.id,
            number: step.number,
            effect: step.request.name(),
            digest: step.request.digest,
            calls: Vec::new(),
            delegated_to: None,
        };
        let waiting = TurnWaiting { turn: self.id, number: step.number, until };
        let mut entry = Entry::default();
        entry.push(intended.event(now, self.turns.tenant()));
        entry.push(waiting.event(now, self.turns.tenant()));
        entry
    }
}

/// What an effect waited for when its run ended.
pub(super) fn waits_for(step: &Step) -> Option<Until> {
    step.open.as_ref().and_then(|open| open.until)
}

fn nobody() -> AgentError {
    AgentError::Refused("nobody answered in time".to_owned())
}
