//! `foreshore:events`: events on the conversation's record, and being woken.
//!
//! Whether a time is too far ahead follows from the turn's own clock, so it is the same in each
//! run of the turn.

use foreshore_domain::effect::AgentEffect;
use wasmtime::Result;
use wasmtime::component::{HasSelf, Linker};

use super::{done, json};
use crate::bindings::agents::events;
use crate::capability::told::{Answer, invalid};
use crate::state::State;

/// As the interface says: 30 days.
const SLEEP_MAX_MS: u64 = 30 * 24 * 60 * 60 * 1_000;

pub(crate) fn link(linker: &mut Linker<State>) -> Result<()> {
    events::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

impl events::Host for State {
    async fn emit(&mut self, kind: String, payload: String) -> Result<Answer<()>> {
        self.scope.takes(kind.len() + payload.len()).await?;
        if !is_kind(&kind) {
            let message =
                "it takes 1 to 64 of a-z, 0-9, \".\", \"-\" and \"_\", first a letter or digit";
            return Ok(Err(invalid("/kind", message)));
        }
        let payload = match json("/payload", payload) {
            Ok(payload) => payload,
            Err(error) => return Ok(Err(error)),
        };
        self.scope.ask(AgentEffect::Emit { kind, payload }, done).await
    }

    async fn wake_at(&mut self, time: u64) -> Result<Answer<()>> {
        self.scope.takes(0).await?;
        let now = self.scope.context.turn.as_ref().map_or(0, |turn| turn.now_unix_ms());
        if time > now.saturating_add(SLEEP_MAX_MS) {
            return Ok(Err(invalid("/time", "it is more than 30 days ahead")));
        }
        self.scope.ask(AgentEffect::WakeAt { at_unix_ms: time }, done).await
    }
}

/// `[a-z0-9][a-z0-9._-]{0,63}`.
fn is_kind(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=64).contains(&text.len())
        && text.bytes().next().is_some_and(plain)
        && text.bytes().all(|byte| plain(byte) || matches!(byte, b'.' | b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::is_kind;

    #[test]
    fn a_kind_is_of_the_form_that_the_contract_says() {
        for fine in ["a", "0", "plan.step-done_1", &"k".repeat(64)] {
            assert!(is_kind(fine), "{fine}");
        }
        for bad in ["", ".a", "-a", "A", "a b", "é", &"k".repeat(65)] {
            assert!(!is_kind(bad), "{bad}");
        }
    }
}
