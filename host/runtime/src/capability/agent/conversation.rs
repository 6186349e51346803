//! `foreshore:conversation`: what was said before.

use foreshore_domain::effect::{AgentEffect, AgentOutcome, Said};
use wasmtime::Result;
use wasmtime::component::{HasSelf, Linker};

use super::done;
use super::messages::{message_bytes, message_to_guest};
use crate::bindings::agents::conversation;
use crate::capability::told::Answer;
use crate::state::State;

/// As the interface says.
const RECENT_MAX: u32 = 200;

pub(crate) fn link(linker: &mut Linker<State>) -> Result<()> {
    conversation::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

impl conversation::Host for State {
    /// Of messages that together are larger than one host call may copy, the last ones.
    async fn recent(&mut self, limit: u32) -> Result<Vec<conversation::Said>> {
        let scope = &self.scope;
        scope.takes(0).await?;
        let effect = AgentEffect::RecentMessages { limit: limit.min(RECENT_MAX) };
        let said = scope.ask_surely(effect, |outcome| match outcome {
            AgentOutcome::Messages(said) => Some(said),
            _ => None,
        });
        let mut said = said.await?;
        let mut left_bytes = scope.context.limits.hostcall_max_bytes.get();
        let fits = said.iter().rev().take_while(|one| {
            let bytes = crate::limiter::count(message_bytes(&one.message));
            let left = left_bytes.checked_sub(bytes);
            left_bytes = left.unwrap_or(0);
            left.is_some()
        });
        let last = said.split_off(said.len() - fits.count());
        Ok(last.into_iter().map(said_to_guest).collect())
    }

    async fn summary(&mut self) -> Result<Option<(String, u64)>> {
        let scope = &self.scope;
        scope.takes(0).await?;
        let summary = scope.ask_surely(AgentEffect::Summary, |outcome| match outcome {
            AgentOutcome::Summary(summary) => Some(summary),
            _ => None,
        });
        let summary = summary.await?;
        let bytes = summary.as_ref().map_or(0, |(text, _)| text.len());
        scope.within("summary", summary, bytes)
    }

    async fn set_summary(&mut self, text: String, through_turn: u64) -> Result<Answer<()>> {
        self.scope.takes(text.len()).await?;
        self.scope.ask(AgentEffect::SetSummary { text, through_turn }, done).await
    }
}

fn said_to_guest(said: Said) -> conversation::Said {
    conversation::Said { turn: said.turn, message: message_to_guest(said.message) }
}
