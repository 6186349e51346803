//! `foreshore:variables`: named JSON values of the conversation.

use foreshore_domain::effect::{AgentEffect, AgentOutcome, VariableEntry};
use foreshore_domain::memory::VariableName;
use wasmtime::Result;
use wasmtime::component::{HasSelf, Linker};

use super::json;
use crate::bindings::agents::variables;
use crate::capability::told::{Answer, invalid};
use crate::state::State;

pub(crate) fn link(linker: &mut Linker<State>) -> Result<()> {
    variables::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

impl variables::Host for State {
    async fn index(&mut self) -> Result<Vec<variables::Summary>> {
        let scope = &self.scope;
        scope.takes(0).await?;
        let entries = scope.ask_surely(AgentEffect::Variables, |outcome| match outcome {
            AgentOutcome::Variables(entries) => Some(entries),
            _ => None,
        });
        let entries = entries.await?;
        let bytes = entries.iter().map(|entry| entry.name.len() + entry.first_line.len()).sum();
        scope.within("variables", entries.into_iter().map(to_guest).collect(), bytes)
    }

    async fn get(&mut self, name: String, version: Option<u64>) -> Result<Answer<String>> {
        let scope = &self.scope;
        scope.takes(name.len()).await?;
        let name = match variable(name) {
            Ok(name) => name,
            Err(error) => return Ok(Err(error)),
        };
        let effect = AgentEffect::GetVariable { name, version };
        let value = scope.ask(effect, |outcome| match outcome {
            AgentOutcome::Variable(value) => Some(value),
            _ => None,
        });
        Ok(value.await?.and_then(|value| {
            let text = value.get().to_owned();
            let bytes = text.len();
            scope.bounded(text, bytes)
        }))
    }

    async fn set(&mut self, name: String, value: String) -> Result<Answer<u64>> {
        self.scope.takes(name.len() + value.len()).await?;
        let checked = variable(name).and_then(|name| Ok((name, json("/value", value)?)));
        let (name, value) = match checked {
            Ok(checked) => checked,
            Err(error) => return Ok(Err(error)),
        };
        let effect = AgentEffect::SetVariable { name, value };
        let version = self.scope.ask(effect, |outcome| match outcome {
            AgentOutcome::VariableSet(version) => Some(version),
            _ => None,
        });
        version.await
    }
}

fn variable(name: String) -> Answer<VariableName> {
    VariableName::parse(name).map_err(|error| invalid("/name", error.to_string()))
}

fn to_guest(entry: VariableEntry) -> variables::Summary {
    variables::Summary {
        name: entry.name,
        version: entry.version,
        json_type: entry.json_type.as_str().to_owned(),
        size_bytes: entry.size_bytes,
        first_line: entry.first_line,
    }
}
