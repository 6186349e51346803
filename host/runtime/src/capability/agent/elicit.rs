//! `foreshore:elicit`: a typed question to the person on whose behalf the turn runs.

use foreshore_domain::effect::{AgentEffect, AgentOutcome, Answer as Given};
use wasmtime::Result;
use wasmtime::component::{HasSelf, Linker};

use super::json;
use crate::bindings::agents::elicit;
use crate::capability::told::Answer;
use crate::state::State;

pub(crate) fn link(linker: &mut Linker<State>) -> Result<()> {
    elicit::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

impl elicit::Host for State {
    async fn ask(&mut self, message: String, schema: String) -> Result<Answer<elicit::Answer>> {
        let scope = &self.scope;
        scope.takes(message.len() + schema.len()).await?;
        let schema = match json("/schema", schema) {
            Ok(schema) => schema,
            Err(error) => return Ok(Err(error)),
        };
        let effect = AgentEffect::Ask { message, schema };
        let answered = scope.ask(effect, |outcome| match outcome {
            AgentOutcome::Answered(given) => Some(given),
            _ => None,
        });
        Ok(answered.await?.and_then(|given| match given {
            Given::Accepted(json) => {
                let json = json.get().to_owned();
                let bytes = json.len();
                scope.bounded(elicit::Answer::Accepted(json), bytes)
            }
            Given::Declined => Ok(elicit::Answer::Declined),
            Given::Cancelled => Ok(elicit::Answer::Cancelled),
        }))
    }
}
