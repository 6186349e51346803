//! A message is taken: checked, put on record, and put in line.

use std::sync::Arc;
use std::time::Duration;

use foreshore_domain::agent::TurnBudget;
use foreshore_domain::conversation::{Conversation, ConversationCreated, Fact, Title, TurnQueued};
use foreshore_domain::id::TurnId;
use foreshore_domain::identity::{AskedBy, Principal, Subject};
use foreshore_domain::inference::Message;
use foreshore_domain::outcome::{Content, ContentBody};
use foreshore_store::Commit;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use super::payload::Entry;
use super::request::name;
use super::{Known, Stage, TurnFault, Turns, beginning};
use crate::clock;

/// When to come back to a full queue: agents take their time.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// The largest message, as JSON.
const MESSAGE_MAX_BYTES: usize = 8 << 20;
/// How many names an error lists.
const KNOWN_MAX: usize = 8;

/// What is recorded of whom a turn is for; nothing of the host itself.
fn asked_by(principal: &Principal) -> Option<AskedBy> {
    (principal.subject != Subject::Host).then(|| AskedBy::of(principal))
}

/// A message for an agent.
#[derive(Clone, Debug)]
pub struct NewTurn {
    /// On whose behalf.
    pub principal: Arc<Principal>,
    /// The agent's name in the configuration.
    pub agent: String,
    /// In which conversation; a new one if none is said.
    pub conversation: Option<Conversation>,
    /// What is said: not empty.
    pub message: Vec<Content>,
    /// What was said before, where the caller keeps the conversation itself; else empty.
    pub history: Vec<Message>,
    /// A JSON object that matches the agent's schema, less what the configuration gives.
    pub parameters: Option<Box<RawValue>>,
    /// What it may use at most; never more than the configuration lets it.
    pub budget: Option<TurnBudget>,
}

/// A turn that was taken: it is on disk, and it will end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenTurn {
    /// Its id.
    pub turn: TurnId,
    /// In which conversation.
    pub conversation: Conversation,
    /// Its place there, from 0.
    pub number: u64,
}

impl Turns {
    /// Takes a message. It is on record when this returns.
    ///
    /// # Errors
    /// [`TurnFault`]; nothing is on record then.
    pub async fn start(&self, new: NewTurn) -> Result<TakenTurn, TurnFault> {
        if self.0.host.drain.is_cancelled() {
            return Err(TurnFault::ShuttingDown);
        }
        self.check(&new)?;
        // One at a time where a conversation is there, so that a number is given once, and the
        // room that was seen is there.
        let _taking = match new.conversation {
            Some(_) => Some(self.0.taking.lock().await),
            None => None,
        };
        let (conversation, number, is_new) = self.place_for(&new)?;
        let now = clock::now_unix_ms();
        let turn = TurnId::new(now);
        let mut entry = Entry::default();
        let excerpt = excerpt(&new.message);
        if is_new {
            let created = ConversationCreated {
                conversation: conversation.clone(),
                agent: name(&new.agent),
                title: Title::cut(&excerpt),
                forked_from: None,
                delegated_by: None,
            };
            entry.push(created.event(now, self.tenant()));
        }
        let message = entry.keep(&new.message, &excerpt);
        let history = (!new.history.is_empty()).then(|| entry.keep(&new.history, ""));
        let parameters =
            new.parameters.as_ref().map(|json| entry.keep_json(json.get().to_owned(), ""));
        let queued = TurnQueued {
            turn,
            conversation: conversation.clone(),
            number,
            agent: name(&new.agent),
            message,
            history,
            parameters,
            budget: new.budget,
            delegated_by: None,
            asked_by: asked_by(&new.principal),
            blobs: Vec::new(),
        };
        entry.push(queued.event(now, self.tenant()));
        let told = entry.events.clone();
        let Entry { events, blobs } = entry;
        let commit = Commit { events, conditions: Vec::new(), blobs };
        let committed = self.journal().commit(commit).await?;
        self.tell(turn, &conversation, told.into_iter().zip(committed.first_seq..));
        self.enter(turn, conversation.clone(), None, Stage::Ready);
        self.run_next(&conversation);
        Ok(TakenTurn { turn, conversation, number })
    }

    fn check(&self, new: &NewTurn) -> Result<(), TurnFault> {
        if !new.principal.may_ask(&new.agent) {
            return Err(TurnFault::NotPermitted { agent: new.agent.clone() });
        }
        let Some(policy) = self.policy(&new.agent) else {
            let known = self.policies().keys().take(KNOWN_MAX).cloned().collect();
            return Err(TurnFault::UnknownAgent { agent: new.agent.clone(), known });
        };
        let invalid = |pointer: &str, message: String| TurnFault::Invalid {
            pointer: pointer.to_owned(),
            message,
        };
        if new.message.is_empty() {
            return Err(invalid("/message", "the message is empty".to_owned()));
        }
        let bytes = serde_json::to_string(&(&new.message, &new.history));
        let bytes = bytes.map_or(usize::MAX, |json| json.len());
        if bytes > MESSAGE_MAX_BYTES {
            let message = format!(
                "the message, with what was said before, has {bytes} bytes of {MESSAGE_MAX_BYTES}"
            );
            return Err(invalid("/message", message));
        }
        if let Some(budgets) = self.budgets() {
            let conversation = new.conversation.as_ref();
            budgets.check(&self.1, &new.agent, conversation).map_err(TurnFault::BudgetExhausted)?;
        }
        let component =
            self.0.host.agents.find(&policy.component).map_err(|message| {
                TurnFault::AgentUnavailable { agent: new.agent.clone(), message }
            })?;
        let given = new.parameters.as_deref().map(RawValue::get);
        beginning::parameters(policy, &*component, given).map(drop).map_err(|(pointer, message)| {
            TurnFault::Invalid { pointer: format!("/parameters{pointer}"), message }
        })
    }

    /// In which conversation a turn goes, its number there, and whether the conversation is new.
    fn place_for(&self, new: &NewTurn) -> Result<(Conversation, u64, bool), TurnFault> {
        let Some(conversation) = &new.conversation else {
            return Ok((new_conversation(clock::now_unix_ms()), 0, true));
        };
        let unknown = || TurnFault::UnknownConversation { conversation: conversation.clone() };
        let entry = self.conversations().get(conversation)?.ok_or_else(unknown)?;
        if entry.agent.as_str() != new.agent {
            let agent = entry.agent.as_str().to_owned();
            return Err(TurnFault::OtherAgent { conversation: conversation.clone(), agent });
        }
        if !self.lanes().has_room(conversation) {
            let waiting = self.config().queue_max;
            return Err(TurnFault::Overloaded { waiting, retry_after: RETRY_AFTER });
        }
        Ok((conversation.clone(), entry.turns, false))
    }

    /// Keeps in memory that a turn is open, at the end of its conversation's line.
    pub(super) fn enter(
        &self,
        turn: TurnId,
        conversation: Conversation,
        delegated_by: Option<TurnId>,
        stage: Stage,
    ) {
        let cancel = CancellationToken::new();
        let known = Known { tenant: self.tenant(), delegated_by, stage, cancel };
        self.open().insert(turn, known);
        self.lanes().add(conversation, turn);
    }

    /// Runs the next turn of a conversation, if none is on.
    pub(super) fn run_next(&self, conversation: &Conversation) {
        let next = self.lanes().next(conversation);
        if let Some(turn) = next {
            self.run_if_ready(turn);
        }
    }
}

/// The id of a conversation that begins now.
pub(crate) fn new_conversation(now_unix_ms: u64) -> Conversation {
    let id = TurnId::new(now_unix_ms).to_string();
    let hex = id.rsplit('_').next().unwrap_or_default();
    Conversation::parse(format!("conv_{hex}")).expect("invariant: hex digits are text")
}

/// The text of a message, for lists and search.
pub(crate) fn excerpt(message: &[Content]) -> String {
    let texts = message.iter().filter_map(|content| match &content.body {
        ContentBody::Text(text) => Some(text.as_str()),
        _ => None,
    });
    texts.collect::<Vec<_>>().join("\n")
}
