//! `foreshore:budget`: what is left of the turn.

use foreshore_domain::effect::{AgentEffect, AgentOutcome, Remaining};
use wasmtime::Result;
use wasmtime::component::{HasSelf, Linker};

use crate::bindings::agents::budget;
use crate::state::{CallScope, State};

pub(crate) fn link(linker: &mut Linker<State>) -> Result<()> {
    budget::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

impl CallScope {
    async fn what_is_left(&self, effect: AgentEffect) -> Result<budget::Remaining> {
        self.takes(0).await?;
        let left = self.ask_surely(effect, |outcome| match outcome {
            AgentOutcome::Budget(left) => Some(left),
            _ => None,
        });
        Ok(to_guest(left.await?))
    }
}

impl budget::Host for State {
    async fn left(&mut self) -> Result<budget::Remaining> {
        self.scope.what_is_left(AgentEffect::Budget).await
    }

    async fn iteration(&mut self) -> Result<budget::Remaining> {
        self.scope.what_is_left(AgentEffect::Iteration).await
    }
}

fn to_guest(left: Remaining) -> budget::Remaining {
    let most = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    budget::Remaining {
        tokens: left.tokens,
        cost_micros: left.cost_micros,
        tool_calls: most(left.tool_calls),
        iterations: most(left.iterations),
        wall_ms: left.wall_ms,
    }
}
