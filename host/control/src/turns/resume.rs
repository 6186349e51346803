//! The start of the host: turns that had not ended are taken up where their records end.

use std::collections::BTreeSet;

use foreshore_domain::event::Tenant;
use foreshore_store::conversations::TurnState;

use super::{Stage, Turns};
use crate::conversations::ConversationFault;

impl Turns {
    /// Takes up every open turn: what waited waits on, all else runs again on its record.
    ///
    /// # Errors
    /// [`ConversationFault`]: the journal cannot be read.
    pub(crate) fn resume(&self) -> Result<usize, ConversationFault> {
        let open = self.journal().open_turns()?;
        let tenants: BTreeSet<String> = open.into_iter().map(|(tenant, _)| tenant).collect();
        let mut resumed = 0;
        for name in tenants {
            let tenant = Tenant::parse(&name)
                .map_err(|error| ConversationFault::Store { message: error.to_string() })?;
            resumed += self.of(&tenant).resume_own()?;
        }
        Ok(resumed)
    }

    /// The same for the turns of one tenant.
    fn resume_own(&self) -> Result<usize, ConversationFault> {
        let mut turns = self.conversations().open_turns()?;
        // In the order of each conversation, so that the one that was on is on again.
        turns.sort_by_key(|turn| turn.number);
        let mut by_turn = Vec::with_capacity(turns.len());
        for turn in &turns {
            let delegated_by = self.conversations().turn(turn.turn)?.and_then(|e| e.delegated_by);
            // Nobody waits for a turn any more whose asker has ended: it runs for itself, and
            // is cancelled like one below.
            let is_open = delegated_by.is_some_and(|by| turns.iter().any(|open| open.turn == by));
            let stage = match turn.state {
                TurnState::Waiting(_) => Stage::Waiting,
                _ => Stage::Ready,
            };
            self.enter(turn.turn, turn.conversation.clone(), delegated_by, stage);
            by_turn.push((turn, stage, delegated_by.is_some() && !is_open));
        }
        for (turn, stage, is_orphan) in by_turn {
            if is_orphan {
                let (turns, turn) = (self.clone(), turn.turn);
                self.spawn(async move {
                    if let Err(fault) = turns.cancel(turn, "host").await {
                        tracing::warn!(%turn, %fault, "a turn outlives the one that asked for it");
                    }
                });
                continue;
            }
            let next = self.lanes().next(&turn.conversation);
            match next {
                Some(on) if on == turn.turn && stage == Stage::Waiting => self.expect(on),
                Some(on) => self.run_if_ready(on),
                None => {}
            }
        }
        Ok(turns.len())
    }
}
