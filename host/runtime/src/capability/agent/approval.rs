//! `foreshore:approval`: a person is asked to allow something.
//!
//! Nothing here answers: the door waits for a person, and ends the guest meanwhile.

use foreshore_domain::effect::AgentEffect;
use wasmtime::Result;
use wasmtime::component::{HasSelf, Linker};

use super::{done, json};
use crate::bindings::agents::approval;
use crate::capability::told::Answer;
use crate::state::State;

pub(crate) fn link(linker: &mut Linker<State>) -> Result<()> {
    approval::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

impl approval::Host for State {
    async fn ask(&mut self, action: String, details: String) -> Result<Answer<()>> {
        self.scope.takes(action.len() + details.len()).await?;
        let details = match json("/details", details) {
            Ok(details) => details,
            Err(error) => return Ok(Err(error)),
        };
        self.scope.ask(AgentEffect::Approve { action, details }, done).await
    }
}
