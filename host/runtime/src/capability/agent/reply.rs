//! `foreshore:reply`: what the person sees while the agent works.
//!
//! Nobody waits for it and nothing of it is an effect: it goes to the door as a note, and the
//! door leaves it out where the turn runs on its record.

use foreshore_domain::effect::{Effect, ReplyPart};
use wasmtime::Result;
use wasmtime::component::{HasSelf, Linker};

use crate::bindings::agents::reply;
use crate::capability::log::escaped_line;
use crate::state::State;

const PHASE_MAX_BYTES: usize = 64;
const MESSAGE_MAX_BYTES: usize = 1 << 10;

pub(crate) fn link(linker: &mut Linker<State>) -> Result<()> {
    reply::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

impl reply::Host for State {
    async fn text(&mut self, delta: String) -> Result<()> {
        self.scope.takes(delta.len()).await?;
        self.scope.note(Effect::Reply(ReplyPart::Text(delta)));
        Ok(())
    }

    async fn thinking(&mut self, delta: String) -> Result<()> {
        self.scope.takes(delta.len()).await?;
        self.scope.note(Effect::Reply(ReplyPart::Thinking(delta)));
        Ok(())
    }

    async fn phase(&mut self, name: String, message: Option<String>) -> Result<()> {
        self.scope.takes(name.len() + message.as_ref().map_or(0, String::len)).await?;
        let name = escaped_line(name.as_bytes(), PHASE_MAX_BYTES);
        let message = message.map(|message| escaped_line(message.as_bytes(), MESSAGE_MAX_BYTES));
        self.scope.note(Effect::Reply(ReplyPart::Phase { name, message }));
        Ok(())
    }
}
