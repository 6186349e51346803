//! Conversations, for people and for the agents that they are with.
//!
//! Deliberately absent: taking, running and ending turns (`turns`), and who may do what (the
//! caller's). The invariant: **what is given back is on disk; a conversation with an open turn
//! is not deleted.**

mod export;
mod fault;
mod variables;

use foreshore_domain::conversation::{
    Conversation, ConversationChanged, ConversationCreated, ConversationDeleted, FORK_TURNS_MAX,
    Fact, ForkedFrom, Title,
};
use foreshore_domain::event::{NewEvent, Stream, Tenant};
use foreshore_domain::id::TurnId;
use foreshore_domain::inference::Message;
use foreshore_domain::outcome::Content;
use foreshore_store::conversations::{
    ConversationEntry, ConversationFilter, ConversationHit, ConversationPage, ConversationsReader,
    OpenTurn, TurnEntry, TurnOrder, TurnState,
};
use foreshore_store::{AppendError, Commit, Condition, Journal};

pub use self::fault::ConversationFault;
pub use self::variables::{VARIABLE_MAX_BYTES, VARIABLES_BYTES_MAX, VARIABLES_MAX, VariableRead};
use crate::clock;
use crate::turns::payload;
use crate::turns::request::name;

/// The most conversations, turns or hits of one answer.
pub const PAGE_MAX: usize = 200;
/// How often a change is tried anew whose conversation moved under it.
const TRIES_MAX: usize = 16;

/// The conversations of a host. Cheap to clone.
#[derive(Clone)]
pub struct Conversations {
    journal: Journal,
    /// Whose: no other's is read or written by this handle.
    tenant: Tenant,
}

/// A turn as people read it.
#[derive(Clone, Debug)]
pub struct SaidTurn {
    /// Its place, from 0.
    pub number: u64,
    /// What was said before it, where the caller keeps the conversation.
    pub history: Vec<Message>,
    /// What the person wrote.
    pub message: Vec<Content>,
    /// What the agent answered; empty where it did not, or not yet.
    pub reply: Vec<Content>,
    /// All else that is known of it.
    pub entry: TurnEntry,
}

impl Conversations {
    pub(crate) fn new(journal: Journal) -> Self {
        Self { journal, tenant: Tenant::DEFAULT }
    }

    /// Those of a tenant.
    #[must_use]
    pub fn of(&self, tenant: &Tenant) -> Self {
        Self { journal: self.journal.clone(), tenant: tenant.clone() }
    }

    fn reader(&self) -> Result<ConversationsReader, ConversationFault> {
        Ok(self.journal.conversations(&self.tenant)?)
    }

    /// Begins a conversation without a turn.
    ///
    /// # Errors
    /// [`ConversationFault`]; so with every function here.
    pub async fn create(
        &self,
        agent: &str,
        title: Option<&str>,
    ) -> Result<Conversation, ConversationFault> {
        let now = clock::now_unix_ms();
        let conversation = crate::turns::new_conversation(now);
        let created = ConversationCreated {
            conversation: conversation.clone(),
            agent: name(agent),
            title: title.map(parse_title).transpose()?,
            forked_from: None,
            delegated_by: None,
        };
        self.journal.append(created.event(now, self.tenant.clone())).await?;
        Ok(conversation)
    }

    /// Conversations, the one updated last first.
    ///
    /// # Errors
    /// [`ConversationFault::Store`].
    pub fn list(
        &self,
        filter: ConversationFilter<'_>,
        before: Option<u64>,
        limit: usize,
    ) -> Result<ConversationPage, ConversationFault> {
        Ok(self.reader()?.list(filter, before, limit.min(PAGE_MAX))?)
    }

    /// A conversation; `None` if there is none.
    ///
    /// # Errors
    /// [`ConversationFault::Store`].
    pub fn get(
        &self,
        conversation: &Conversation,
    ) -> Result<Option<ConversationEntry>, ConversationFault> {
        Ok(self.reader()?.get(conversation)?)
    }

    /// A conversation that must be there.
    fn known(&self, conversation: &Conversation) -> Result<ConversationEntry, ConversationFault> {
        let what = || format!("conversation \"{conversation}\"");
        self.get(conversation)?.ok_or_else(|| ConversationFault::NotFound { what: what() })
    }

    /// Turns of a conversation, with what was said.
    ///
    /// # Errors
    /// [`ConversationFault::NotFound`], [`ConversationFault::Store`].
    pub fn turns(
        &self,
        conversation: &Conversation,
        order: TurnOrder,
        limit: usize,
    ) -> Result<Vec<SaidTurn>, ConversationFault> {
        self.known(conversation)?;
        let turns = self.reader()?.turns(conversation, order, limit.min(PAGE_MAX))?;
        turns.into_iter().map(|entry| self.said(entry)).collect()
    }

    /// A turn by its id; `None` if there is none.
    ///
    /// # Errors
    /// [`ConversationFault::Store`].
    pub fn turn(&self, turn: TurnId) -> Result<Option<TurnEntry>, ConversationFault> {
        Ok(self.reader()?.turn(turn)?)
    }

    /// As [`Self::turn`], with what was said.
    ///
    /// # Errors
    /// [`ConversationFault::Store`].
    pub fn said_turn(&self, turn: TurnId) -> Result<Option<SaidTurn>, ConversationFault> {
        self.turn(turn)?.map(|entry| self.said(entry)).transpose()
    }

    fn said(&self, entry: TurnEntry) -> Result<SaidTurn, ConversationFault> {
        let message = payload::value(&self.journal, &entry.message)?;
        let reply = match &entry.reply {
            Some(reply) => payload::value(&self.journal, reply)?,
            None => Vec::new(),
        };
        let history = match &entry.history {
            Some(history) => payload::value(&self.journal, history)?,
            None => Vec::new(),
        };
        Ok(SaidTurn { number: entry.number, history, message, reply, entry })
    }

    /// The last turns before one, oldest first: enough for so many messages.
    pub(crate) fn said_before(
        &self,
        conversation: &Conversation,
        number: u64,
        messages: usize,
    ) -> Result<Vec<SaidTurn>, ConversationFault> {
        // Each turn has a message at least, and most have two.
        let turns = self.reader()?.turns(conversation, TurnOrder::Before(number), messages)?;
        let mut said = Vec::new();
        let mut count = 0;
        for entry in turns {
            if count >= messages {
                break;
            }
            count += 1 + usize::from(entry.reply.is_some());
            said.push(self.said(entry)?);
        }
        said.reverse();
        Ok(said)
    }

    /// Every turn that has not ended.
    pub(crate) fn open_turns(&self) -> Result<Vec<OpenTurn>, ConversationFault> {
        let all = self.journal.open_turns()?.into_iter();
        Ok(all.filter(|(tenant, _)| tenant == self.tenant.as_str()).map(|(_, turn)| turn).collect())
    }

    /// The rolling summary, and the last turn that it covers.
    ///
    /// # Errors
    /// [`ConversationFault::Store`].
    pub fn summary(
        &self,
        conversation: &Conversation,
    ) -> Result<Option<(String, u64)>, ConversationFault> {
        let summary = self.reader()?.summary(conversation)?;
        Ok(summary.map(|summary| (summary.text.as_str().to_owned(), summary.through_turn)))
    }

    /// Where words were said, best first.
    ///
    /// # Errors
    /// [`ConversationFault::Store`].
    pub fn search(
        &self,
        words: &str,
        agent: Option<&str>,
        limit: usize,
    ) -> Result<Vec<ConversationHit>, ConversationFault> {
        let now = clock::now_unix_ms();
        Ok(self.reader()?.search(words, agent, limit.min(PAGE_MAX), now)?)
    }

    /// Begins a conversation with the turns of another, up to one of them.
    ///
    /// # Errors
    /// [`ConversationFault::NotFound`], [`ConversationFault::Busy`] where one of these turns has
    /// not ended, [`ConversationFault::Exhausted`].
    pub async fn fork(
        &self,
        conversation: &Conversation,
        through_turn: u64,
        title: Option<&str>,
    ) -> Result<Conversation, ConversationFault> {
        let title = title.map(parse_title).transpose()?;
        let stream = Stream::Conversation(conversation.as_str().to_owned());
        for _ in 0..TRIES_MAX {
            let seq = self.journal.stream_head(&self.tenant, &stream)?;
            let entry = self.known(conversation)?;
            if through_turn >= entry.turns {
                let what = format!("turn {through_turn} in conversation \"{conversation}\"");
                return Err(ConversationFault::NotFound { what });
            }
            if through_turn >= FORK_TURNS_MAX {
                let (conversation, max) = (conversation.clone(), FORK_TURNS_MAX);
                return Err(ConversationFault::Exhausted { conversation, what: "turns", max });
            }
            let newest = TurnOrder::Before(through_turn + 1);
            let newest = self.reader()?.turns(conversation, newest, 1)?;
            // One runs at a time and in order, so those before it have ended if it has.
            if newest.iter().any(|turn| !matches!(turn.state, TurnState::Ended(_))) {
                let turns = entry.open_turns;
                return Err(ConversationFault::Busy { conversation: conversation.clone(), turns });
            }
            let now = clock::now_unix_ms();
            let fork = crate::turns::new_conversation(now);
            let created = ConversationCreated {
                conversation: fork.clone(),
                agent: entry.agent,
                title: title.clone().or(entry.title),
                forked_from: Some(ForkedFrom { conversation: conversation.clone(), through_turn }),
                delegated_by: None,
            };
            if self.at(created.event(now, self.tenant.clone()), &stream, seq).await? {
                return Ok(fork);
            }
        }
        Err(ConversationFault::Contended)
    }

    /// Gives it another title, or puts it out of the way or back.
    ///
    /// # Errors
    /// [`ConversationFault::NotFound`], [`ConversationFault::Invalid`].
    pub async fn change(
        &self,
        conversation: &Conversation,
        title: Option<&str>,
        archived: Option<bool>,
    ) -> Result<(), ConversationFault> {
        let title = title.map(parse_title).transpose()?;
        let stream = Stream::Conversation(conversation.as_str().to_owned());
        for _ in 0..TRIES_MAX {
            let seq = self.journal.stream_head(&self.tenant, &stream)?;
            self.known(conversation)?;
            let conversation = conversation.clone();
            let changed = ConversationChanged { conversation, title: title.clone(), archived };
            if self
                .at(changed.event(clock::now_unix_ms(), self.tenant.clone()), &stream, seq)
                .await?
            {
                return Ok(());
            }
        }
        Err(ConversationFault::Contended)
    }

    /// Takes it away, with its turns, variables and blobs. The journal keeps that it was.
    ///
    /// # Errors
    /// [`ConversationFault::NotFound`], [`ConversationFault::Busy`].
    pub async fn delete(&self, conversation: &Conversation) -> Result<(), ConversationFault> {
        let stream = Stream::Conversation(conversation.as_str().to_owned());
        for _ in 0..TRIES_MAX {
            let seq = self.journal.stream_head(&self.tenant, &stream)?;
            let entry = self.known(conversation)?;
            if entry.open_turns > 0 {
                let (conversation, turns) = (conversation.clone(), entry.open_turns);
                return Err(ConversationFault::Busy { conversation, turns });
            }
            let deleted = ConversationDeleted { conversation: conversation.clone() };
            if self
                .at(deleted.event(clock::now_unix_ms(), self.tenant.clone()), &stream, seq)
                .await?
            {
                return Ok(());
            }
        }
        Err(ConversationFault::Contended)
    }

    /// Records an event if a conversation's stream has not moved; says whether it did.
    async fn at(
        &self,
        event: NewEvent,
        stream: &Stream,
        seq: u64,
    ) -> Result<bool, ConversationFault> {
        let condition =
            Condition::StreamAt { tenant: self.tenant.clone(), stream: stream.clone(), seq };
        let commit = Commit { events: vec![event], conditions: vec![condition], blobs: Vec::new() };
        match self.journal.commit(commit).await {
            Ok(_) => Ok(true),
            Err(AppendError::Conflict(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

fn parse_title(title: &str) -> Result<Title, ConversationFault> {
    Title::parse(title).map_err(|error| ConversationFault::Invalid { message: error.to_string() })
}
