//! `foreshore:tools`: the tools that an agent may call.
//!
//! Calls go to the door together, as one effect, and come back in their order; how many run at
//! once is the door's business.

use foreshore_domain::effect::{AgentEffect, AgentError, AgentOutcome, AgentTool, ToolRequest};
use foreshore_domain::outcome::ToolResult;
use wasmtime::Result;
use wasmtime::component::{HasSelf, Linker};

use crate::bindings::agents::tools;
use crate::bindings::types;
use crate::capability::told::{Answer, agent_error, invalid};
use crate::content::{contents_bytes, outcome_to_guest};
use crate::state::State;

/// As the interface says.
const CALLS_MAX: usize = 32;

pub(crate) fn link(linker: &mut Linker<State>) -> Result<()> {
    tools::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

impl tools::Host for State {
    async fn list(&mut self) -> Result<Vec<tools::Available>> {
        let scope = &self.scope;
        scope.takes(0).await?;
        let tools = scope.ask_surely(AgentEffect::Tools, |outcome| match outcome {
            AgentOutcome::Tools(tools) => Some(tools),
            _ => None,
        });
        let tools = tools.await?;
        let sizes = tools.iter();
        let bytes = sizes
            .map(|tool| tool.name.len() + tool.description.len() + tool.input_schema.len())
            .sum();
        scope.within("tools", tools.into_iter().map(tool_to_guest).collect(), bytes)
    }

    async fn call_all(&mut self, calls: Vec<tools::Call>) -> Result<Vec<Answer<types::Outcome>>> {
        let scope = &self.scope;
        let asked = calls.len();
        let bytes = calls.iter().map(|call| call.name.len() + call.arguments.len()).sum();
        scope.takes(bytes).await?;
        if asked > CALLS_MAX {
            let message = format!("it takes at most {CALLS_MAX} calls at once, not {asked}");
            return Ok(vec![Err(invalid("/calls", message)); asked]);
        }
        let calls = calls.into_iter();
        let requests = calls.map(|tools::Call { name, arguments }| ToolRequest { name, arguments });
        let effect = AgentEffect::CallTools(requests.collect());
        let called = scope.ask(effect, |outcome| match outcome {
            AgentOutcome::Called(results) if results.len() == asked => Some(results),
            _ => None,
        });
        let results = match called.await? {
            Ok(results) => results,
            Err(error) => return Ok(vec![Err(error); asked]),
        };
        // Each by itself: one result that is too large does not take the others with it.
        let mut left_bytes = scope.context.limits.hostcall_max_bytes.get();
        Ok(results.into_iter().map(|result| result_to_guest(result, &mut left_bytes)).collect())
    }
}

fn tool_to_guest(tool: AgentTool) -> tools::Available {
    let mut hints = types::Hints::empty();
    for (is_so, hint) in [
        (tool.read_only, types::Hints::READ_ONLY),
        (tool.destructive, types::Hints::DESTRUCTIVE),
        (tool.idempotent, types::Hints::IDEMPOTENT),
        (tool.open_world, types::Hints::OPEN_WORLD),
    ] {
        if is_so {
            hints |= hint;
        }
    }
    tools::Available {
        name: tool.name,
        description: tool.description,
        input_schema: tool.input_schema,
        hints,
        needs_approval: tool.needs_approval,
    }
}

fn result_to_guest(
    result: std::result::Result<ToolResult, AgentError>,
    left_bytes: &mut u64,
) -> Answer<types::Outcome> {
    let outcome = outcome_to_guest(result.map_err(agent_error)?);
    let structured = outcome.structured.as_ref().map_or(0, String::len);
    let bytes = crate::limiter::count(contents_bytes(&outcome.content) + structured);
    match left_bytes.checked_sub(bytes) {
        Some(left) => *left_bytes = left,
        None => return Err(types::Error::Exhausted(types::Budget::Bytes)),
    }
    Ok(outcome)
}
