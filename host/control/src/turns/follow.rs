//! Watching a turn or a conversation: what is recorded comes from the journal, under numbers
//! from which a watcher goes on after it lost the connection; deltas come as they are made.

use std::collections::VecDeque;
use std::sync::Arc;

use foreshore_domain::conversation::{Conversation, Until};
use foreshore_domain::event::Stream;
use foreshore_domain::id::{ApprovalId, TurnId};
use foreshore_store::Event;
use serde::Deserialize;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::Turns;
use super::told::told;
use super::update::{TurnEvent, TurnUpdate};
use crate::conversations::ConversationFault;

/// How many events are read at once.
const CHUNK: usize = 1_000;

/// Somebody who watches. Never in the way of a turn: one that is too slow is told so, and
/// catches up with what is recorded.
pub struct Follow {
    turns: Turns,
    conversation: Conversation,
    /// One turn, or all of the conversation.
    turn: Option<TurnId>,
    live: Receiver<Arc<TurnUpdate>>,
    backlog: VecDeque<TurnUpdate>,
    /// Up to this number all was read from the journal.
    last: u64,
    /// The last number that was told.
    told: u64,
    is_over: bool,
}

/// The members of payloads by which an event is known to be of a turn.
#[derive(Deserialize)]
struct OfTurn {
    turn: Option<TurnId>,
    until: Option<Until>,
    #[serde(default)]
    calls: Vec<OfCall>,
}

#[derive(Deserialize)]
struct OfCall {
    approval: Option<ApprovalId>,
}

impl Turns {
    /// Watches a turn from after an event of it, or from its beginning.
    ///
    /// # Errors
    /// [`ConversationFault::NotFound`], [`ConversationFault::Store`].
    pub fn follow(&self, turn: TurnId, after: Option<u64>) -> Result<Follow, ConversationFault> {
        let entry = self.conversations().turn(turn)?;
        let entry =
            entry.ok_or_else(|| ConversationFault::NotFound { what: format!("turn {turn}") })?;
        self.watch(entry.conversation, Some(turn), after)
    }

    /// Watches a conversation from after an event of it, or from now on.
    ///
    /// # Errors
    /// [`ConversationFault::NotFound`], [`ConversationFault::Store`].
    pub fn follow_conversation(
        &self,
        conversation: &Conversation,
        after: Option<u64>,
    ) -> Result<Follow, ConversationFault> {
        if self.conversations().get(conversation)?.is_none() {
            let what = format!("conversation \"{conversation}\"");
            return Err(ConversationFault::NotFound { what });
        }
        let after = after.unwrap_or_else(|| self.journal().tip().seq);
        self.watch(conversation.clone(), None, Some(after))
    }

    fn watch(
        &self,
        conversation: Conversation,
        turn: Option<TurnId>,
        after: Option<u64>,
    ) -> Result<Follow, ConversationFault> {
        // First the ear, then the book: what is recorded in between is in both, and told once.
        let live = self.0.hub.subscribe(&conversation);
        let mut follow = Follow {
            turns: self.clone(),
            conversation,
            turn,
            live,
            backlog: VecDeque::new(),
            last: after.unwrap_or_default(),
            told: 0,
            is_over: false,
        };
        follow.catch_up()?;
        Ok(follow)
    }
}

impl Follow {
    /// What happens next; `None` after the end of the turn. A conversation has no end.
    pub async fn next(&mut self) -> Option<TurnUpdate> {
        loop {
            if let Some(update) = self.backlog.pop_front() {
                return Some(self.tell(update));
            }
            if self.is_over {
                return None;
            }
            match self.live.recv().await {
                Ok(update) => {
                    let is_wanted = self.turn.is_none_or(|turn| turn == update.turn);
                    // Up to this number all was read from the journal, and told.
                    if is_wanted && update.id.is_none_or(|id| id > self.last) {
                        return Some(self.tell(TurnUpdate::clone(&update)));
                    }
                }
                Err(RecvError::Lagged(missed)) => {
                    let turn = self.turn.unwrap_or_else(|| TurnId::new(0));
                    if let Err(fault) = self.catch_up() {
                        tracing::warn!(%fault, "a watcher cannot catch up");
                    }
                    let lagged = TurnEvent::Lagged { missed };
                    return Some(TurnUpdate { id: None, turn, event: lagged });
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }

    fn tell(&mut self, update: TurnUpdate) -> TurnUpdate {
        if matches!(update.event, TurnEvent::Ended(_)) && self.turn == Some(update.turn) {
            self.is_over = true;
        }
        self.told = self.told.max(update.id.unwrap_or_default());
        update
    }

    /// Reads what is recorded after the last number that was told.
    fn catch_up(&mut self) -> Result<(), ConversationFault> {
        self.last = self.last.max(self.told);
        let mut events = self.recorded()?;
        events.sort_by_key(|event| event.seq);
        events.dedup_by_key(|event| event.seq);
        for event in events {
            let of: Option<OfTurn> = serde_json::from_slice(&event.payload).ok();
            let turn = self.turn.or(of.and_then(|of| of.turn));
            let turn = turn.unwrap_or_else(|| TurnId::new(0));
            let told = told(self.turns.journal(), &event.kind, &event.payload);
            let id = Some(event.seq);
            self.backlog.extend(told.into_iter().map(|event| TurnUpdate { id, turn, event }));
            self.last = self.last.max(event.seq);
        }
        Ok(())
    }

    /// The events of what is watched, unordered.
    fn recorded(&self) -> Result<Vec<Event>, ConversationFault> {
        let conversation = Stream::Conversation(self.conversation.as_str().to_owned());
        let mut events = Vec::new();
        let of_conversation = self.stream(&conversation)?;
        let turns: Vec<TurnId> = match self.turn {
            Some(turn) => {
                events.extend(of_conversation.into_iter().filter(|event| {
                    let of: Option<OfTurn> = serde_json::from_slice(&event.payload).ok();
                    of.is_some_and(|of| of.turn == Some(turn))
                }));
                vec![turn]
            }
            None => {
                let ended = of_conversation.iter().filter_map(|event| {
                    serde_json::from_slice::<OfTurn>(&event.payload).ok()?.turn
                });
                let mut turns: Vec<TurnId> = ended.collect();
                turns.extend(self.turns.lanes().open(&self.conversation));
                turns.sort_unstable();
                turns.dedup();
                events.extend(of_conversation);
                turns
            }
        };
        for turn in turns {
            let of_turn = self.stream(&Stream::Turn(turn))?;
            for question in of_turn.iter().flat_map(questions_of) {
                events.extend(self.stream(&question)?);
            }
            events.extend(of_turn);
        }
        Ok(events)
    }

    fn stream(&self, stream: &Stream) -> Result<Vec<Event>, ConversationFault> {
        let (mut events, mut from) = (Vec::new(), self.last + 1);
        loop {
            let read =
                self.turns.journal().read_stream(&self.turns.tenant(), stream, from, CHUNK)?;
            let (count, last) = (read.len(), read.last().map(|event| event.seq));
            events.extend(read);
            match last {
                Some(last) if count == CHUNK => from = last + 1,
                _ => return Ok(events),
            }
        }
    }
}

/// The streams of what people are asked in an event of a turn.
fn questions_of(event: &Event) -> Vec<Stream> {
    let Ok(of) = serde_json::from_slice::<OfTurn>(&event.payload) else { return Vec::new() };
    let asked = of.until.and_then(|until| match until {
        Until::Question(question) => Some(Stream::Question(question)),
        _ => None,
    });
    let calls = of.calls.into_iter().filter_map(|call| call.approval).map(Stream::Approval);
    asked.into_iter().chain(calls).collect()
}
