//! A conversation as lines of JSON: itself, its turns with what was said, every event of each
//! turn with what was asked and given, its summary, and the versions of its variables.
//!
//! Read as it goes, so a long conversation is never in memory as a whole.

use foreshore_domain::conversation::{Conversation, Payload, TurnEnd};
use foreshore_domain::id::TurnId;
use foreshore_domain::memory::VariableName;
use foreshore_store::conversations::{TurnEntry, TurnOrder, TurnState};
use serde_json::{Value, json};

use super::{ConversationFault, Conversations, SaidTurn};
use crate::turns::payload;

/// How many turns or events are read at once.
const CHUNK: usize = 100;

impl Conversations {
    /// Hands over a conversation line by line, without line breaks, until `take` says no.
    ///
    /// # Errors
    /// [`ConversationFault::NotFound`], [`ConversationFault::Store`].
    pub fn export(
        &self,
        conversation: &Conversation,
        mut take: impl FnMut(String) -> bool,
    ) -> Result<(), ConversationFault> {
        let entry = self.known(conversation)?;
        let head = json!({
            "line": "conversation",
            "conversation": conversation.as_str(),
            "agent": entry.agent.as_str(),
            "title": entry.title.as_ref().map(|title| title.as_str()),
            "created_at_unix_ms": entry.created_at_unix_ms,
            "turns": entry.turns,
        });
        if !take(head.to_string()) {
            return Ok(());
        }
        let mut from = 0;
        loop {
            let turns = self.turns(conversation, TurnOrder::From(from), CHUNK)?;
            let Some(last) = turns.last() else { break };
            from = last.number + 1;
            for turn in &turns {
                if !take(turn_line(turn).to_string())
                    || !self.export_events(turn.entry.turn, &mut take)?
                {
                    return Ok(());
                }
            }
        }
        if let Some((text, through_turn)) = self.summary(conversation)? {
            let line = json!({ "line": "summary", "text": text, "through_turn": through_turn });
            if !take(line.to_string()) {
                return Ok(());
            }
        }
        self.export_variables(conversation, &mut take)
    }

    fn export_events(
        &self,
        turn: TurnId,
        take: &mut impl FnMut(String) -> bool,
    ) -> Result<bool, ConversationFault> {
        let mut from = 1;
        loop {
            let events = self.journal.turn_record(&self.tenant, turn, from, CHUNK)?;
            let Some(last) = events.last() else { return Ok(true) };
            from = last.seq + 1;
            for event in events {
                let payload = serde_json::from_slice(&event.payload).unwrap_or(Value::Null);
                let line = json!({
                    "line": "event",
                    "turn": turn,
                    "seq": event.seq,
                    "at_unix_ms": event.at_unix_ms,
                    "kind": event.kind,
                    "payload": self.resolved(payload),
                });
                if !take(line.to_string()) {
                    return Ok(false);
                }
            }
        }
    }

    fn export_variables(
        &self,
        conversation: &Conversation,
        take: &mut impl FnMut(String) -> bool,
    ) -> Result<(), ConversationFault> {
        for summary in self.variables(conversation)? {
            let Ok(name) = VariableName::parse(summary.name.as_str()) else { continue };
            for version in 1..=summary.version {
                // Old versions go: what is kept is exported.
                let Some(found) = self.variable(conversation, &name, Some(version))? else {
                    continue;
                };
                let value: Value = serde_json::from_str(&found.json).unwrap_or(Value::Null);
                let line = json!({
                    "line": "variable",
                    "name": summary.name,
                    "version": version,
                    "set_at_unix_ms": found.set_at_unix_ms,
                    "value": value,
                });
                if !take(line.to_string()) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// An event's payload with its JSON in place of where that is kept.
    fn resolved(&self, mut value: Value) -> Value {
        let Some(members) = value.as_object_mut() else { return value };
        members.remove("blobs");
        for member in members.values_mut() {
            if member.get("body").is_some()
                && let Ok(kept) = serde_json::from_value::<Payload>(member.clone())
                && let Ok(text) = payload::text(&self.journal, &kept)
            {
                *member = serde_json::from_str(&text).unwrap_or(Value::String(text));
            }
        }
        value
    }
}

fn turn_line(turn: &SaidTurn) -> Value {
    let entry: &TurnEntry = &turn.entry;
    let state = match entry.state {
        TurnState::Queued => "queued",
        TurnState::Running => "running",
        TurnState::Waiting(_) => "waiting",
        TurnState::Ended(end) => match end {
            TurnEnd::Completed => "completed",
            TurnEnd::Failed => "failed",
            TurnEnd::Cancelled => "cancelled",
        },
    };
    json!({
        "line": "turn",
        "turn": entry.turn,
        "number": turn.number,
        "state": state,
        "message": turn.message,
        "reply": turn.reply,
        "error": entry.error,
        "usage": entry.usage,
        "served_by": entry.served_by,
        "queued_at_unix_ms": entry.queued_at_unix_ms,
        "began_at_unix_ms": entry.began_at_unix_ms,
        "ended_at_unix_ms": entry.ended_at_unix_ms,
    })
}
