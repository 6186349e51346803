//! `foreshore:secrets`: whether a secret is there. A guest never sees one.

use foreshore_domain::effect::{AgentEffect, AgentOutcome};
use wasmtime::Result;
use wasmtime::component::{HasSelf, Linker};

use crate::bindings::agents::secrets;
use crate::state::State;

pub(crate) fn link(linker: &mut Linker<State>) -> Result<()> {
    secrets::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

impl secrets::Host for State {
    async fn exists(&mut self, name: String) -> Result<bool> {
        self.scope.takes(name.len()).await?;
        let effect = AgentEffect::SecretExists { name };
        let exists = self.scope.ask_surely(effect, |outcome| match outcome {
            AgentOutcome::Secret(exists) => Some(exists),
            _ => None,
        });
        exists.await
    }
}
