//! Which turn of each conversation is on, and which wait for it. One at a time, the rest in the
//! order they came, a bounded number of them.
//!
//! Pure. A conversation with no open turn takes no room here.

use std::collections::{HashMap, VecDeque};

use foreshore_domain::conversation::Conversation;
use foreshore_domain::id::TurnId;

/// The open turns of all conversations.
#[derive(Debug)]
pub(crate) struct Lanes {
    queue_max: usize,
    by_conversation: HashMap<Conversation, Lane>,
}

#[derive(Debug, Default)]
struct Lane {
    on: Option<TurnId>,
    queued: VecDeque<TurnId>,
}

impl Lanes {
    pub(crate) fn new(queue_max: usize) -> Self {
        Self { queue_max, by_conversation: HashMap::new() }
    }

    /// Whether a conversation takes another turn.
    pub(crate) fn has_room(&self, conversation: &Conversation) -> bool {
        self.by_conversation.get(conversation).is_none_or(|lane| lane.queued.len() < self.queue_max)
    }

    /// Puts a turn at the end of its conversation's queue, whatever its length: it is on record.
    pub(crate) fn add(&mut self, conversation: Conversation, turn: TurnId) {
        self.by_conversation.entry(conversation).or_default().queued.push_back(turn);
    }

    /// The next turn of a conversation, if none is on; it is on from now.
    pub(crate) fn next(&mut self, conversation: &Conversation) -> Option<TurnId> {
        let lane = self.by_conversation.get_mut(conversation)?;
        if lane.on.is_some() {
            return None;
        }
        lane.on = lane.queued.pop_front();
        lane.on
    }

    /// Takes a turn away that has ended, on or queued.
    pub(crate) fn remove(&mut self, conversation: &Conversation, turn: TurnId) {
        let Some(lane) = self.by_conversation.get_mut(conversation) else { return };
        if lane.on == Some(turn) {
            lane.on = None;
        }
        lane.queued.retain(|queued| *queued != turn);
        if lane.on.is_none() && lane.queued.is_empty() {
            self.by_conversation.remove(conversation);
        }
    }

    /// The open turns of a conversation, the one that is on first.
    pub(crate) fn open(&self, conversation: &Conversation) -> Vec<TurnId> {
        let lane = self.by_conversation.get(conversation);
        lane.map_or_else(Vec::new, |lane| lane.on.iter().chain(&lane.queued).copied().collect())
    }

    /// How many turns are queued, over all.
    pub(crate) fn queued(&self) -> usize {
        self.by_conversation.values().map(|lane| lane.queued.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_turn_of_a_conversation_is_on_and_the_others_follow_in_order() {
        let one = Conversation::parse("one").expect("a conversation");
        let other = Conversation::parse("other").expect("a conversation");
        let turns: Vec<TurnId> = (1..5).map(TurnId::new).collect();
        let mut lanes = Lanes::new(2);
        for turn in &turns[..3] {
            lanes.add(one.clone(), *turn);
            lanes.next(&one);
        }
        assert!(!lanes.has_room(&one), "one is on and two wait");
        assert!(lanes.has_room(&other));
        lanes.add(other.clone(), turns[3]);
        assert_eq!(lanes.next(&other), Some(turns[3]), "conversations do not wait for each other");
        assert_eq!(lanes.open(&one), turns[..3]);
        lanes.remove(&one, turns[1]);
        assert_eq!(lanes.next(&one), None, "one is on");
        lanes.remove(&one, turns[0]);
        assert_eq!(lanes.next(&one), Some(turns[2]));
        lanes.remove(&one, turns[2]);
        lanes.remove(&other, turns[3]);
        assert!(lanes.by_conversation.is_empty(), "what is over takes no room");
    }
}
