//! The tools of a turn: those that were granted, and the assistant's own.
//!
//! The invariant: a call that was denied, refused or left in doubt is not made again in the turn,
//! whatever the model says.

mod own;

use std::collections::BTreeMap;

use foreshore_sdk::agent::inference::{ToolDefinition, ToolResult};
use foreshore_sdk::agent::{ToolCall, tools};
use foreshore_sdk::log;
use foreshore_sdk::memory::Granted;
use serde_json::{Map, Value};

use self::own::Own;
pub(crate) use self::own::plain;
use crate::names::Names;
use crate::results::{Showcase, Shown, explain, is_final};
use crate::text::tool_tokens;

/// The most calls of one answer: what the host makes at once.
const CALLS_MAX: usize = 32;

/// What a model can call in a turn.
pub(crate) struct Toolbox {
    pub(crate) definitions: Vec<ToolDefinition>,
    names: Names,
    own: Own,
    showcase: Showcase,
    /// Calls that are not made again, and what was said of them.
    settled: BTreeMap<(String, String), String>,
    /// Calls of `variable_set`.
    sets: usize,
}

/// A call on its way.
enum Planned {
    Done(Shown),
    /// The place among the calls of the host.
    Asked(usize),
}

impl Toolbox {
    /// Opens the box of a turn; the tools take at most `max_tokens` of a prompt, a result at most
    /// `result_max_bytes`.
    pub(crate) fn open(
        turn: u64,
        max_tokens: usize,
        result_max_bytes: usize,
        namespaces: &[Granted],
    ) -> Self {
        let mut names = Names::default();
        let granted = tools::list();
        let mut definitions: Vec<_> =
            granted.into_iter().map(|tool| definition(tool, &mut names)).collect();
        let own = Own::new(namespaces);
        let used: usize = own.definitions().iter().map(tool_tokens).sum();
        fit(&mut definitions, max_tokens.saturating_sub(used));
        if !definitions.is_empty() || own.remembers() {
            definitions.extend(own.definitions());
        }
        let showcase = Showcase::new(turn, result_max_bytes);
        Self { definitions, names, own, showcase, settled: BTreeMap::new(), sets: 0 }
    }

    /// What a person is told of a name.
    pub(crate) fn title<'a>(&'a self, offered: &'a str) -> &'a str {
        self.names.tool(offered).unwrap_or(offered)
    }

    /// Whether there is a tool of this name.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.names.tool(name).is_some() || self.own.knows(name)
    }

    /// How often variables were written in this turn, at least.
    pub(crate) fn writes(&self) -> usize {
        self.showcase.kept() + self.sets
    }

    /// Makes the calls, those of the host all at once. The results stand in the order of the calls.
    pub(crate) fn run(&mut self, calls: &[ToolCall]) -> Vec<ToolResult> {
        let mut asked: Vec<tools::Call> = Vec::new();
        let planned: Vec<Planned> = calls
            .iter()
            .enumerate()
            .map(|(index, call)| match index {
                ..CALLS_MAX => self.plan(call, &mut asked),
                _ => Planned::Done(Shown::error(format!(
                    "Not done: at most {CALLS_MAX} calls at once. Ask for it again."
                ))),
            })
            .collect();
        let mut shown = Vec::with_capacity(asked.len());
        for (call, result) in asked.iter().zip(tools::call_all(&asked)) {
            if let Err(error) = &result
                && is_final(error)
            {
                self.settled.insert((call.name.clone(), call.arguments.clone()), explain(error));
            }
            shown.push(self.showcase.show(result));
        }
        let missing = || Shown::error("The host gave no result.");
        calls
            .iter()
            .zip(planned)
            .map(|(call, planned)| {
                let Shown { content, is_error } = match planned {
                    Planned::Done(shown) => shown,
                    Planned::Asked(index) => shown.get(index).cloned().unwrap_or_else(missing),
                };
                ToolResult { id: call.id.clone(), name: call.name.clone(), content, is_error }
            })
            .collect()
    }

    fn plan(&mut self, call: &ToolCall, asked: &mut Vec<tools::Call>) -> Planned {
        let arguments = match arguments(&call.arguments_json) {
            Ok(arguments) => arguments,
            Err(shown) => return Planned::Done(shown),
        };
        if let Some(tool) = self.names.tool(&call.name) {
            let call = tools::Call { name: tool.to_owned(), arguments: arguments.to_string() };
            if let Some(said) = self.settled.get(&(call.name.clone(), call.arguments.clone())) {
                return Planned::Done(Shown::error(format!("Not done again. {said}")));
            }
            asked.push(call);
            return Planned::Asked(asked.len() - 1);
        }
        self.sets += usize::from(call.name == "variable_set");
        match self.own.call(&call.name, arguments, self.showcase.max_bytes()) {
            Some(Ok(text)) => Planned::Done(Shown::result(text)),
            Some(Err(error)) => Planned::Done(Shown::error(explain(&error))),
            None => Planned::Done(Shown::error(format!(
                "There is no tool \"{}\". There are: {}.",
                call.name,
                self.definitions
                    .iter()
                    .map(|tool| tool.name.as_str())
                    .collect::<Vec<_>>()
                    .join(", ")
            ))),
        }
    }
}

/// The arguments, which have to be an object. Nothing at all is taken for an empty one.
fn arguments(text: &str) -> Result<Value, Shown> {
    if text.trim().is_empty() {
        return Ok(Value::Object(Map::new()));
    }
    match serde_json::from_str(text) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(Value::Null) => Ok(Value::Object(Map::new())),
        Ok(_) => Err(Shown::error("The arguments have to be a JSON object.")),
        Err(error) => Err(Shown::error(format!("The arguments are no JSON: {error}."))),
    }
}

fn definition(tool: tools::Available, names: &mut Names) -> ToolDefinition {
    let ask = if tool.needs_approval { " A person is asked before it runs." } else { "" };
    ToolDefinition {
        name: names.offer(&tool.name),
        description: Some(format!("{}{ask}", tool.description)),
        parameters_schema: tool.input_schema,
    }
}

/// Makes the tools fit: with their first sentences only, and if that does not do, with the first
/// tools only.
fn fit(definitions: &mut Vec<ToolDefinition>, max_tokens: usize) {
    let tokens = |tools: &[ToolDefinition]| tools.iter().map(tool_tokens).sum::<usize>();
    if tokens(definitions) <= max_tokens {
        return;
    }
    for tool in definitions.iter_mut() {
        let first = tool.description.as_deref().map(first_sentence);
        tool.description = first;
    }
    let before = definitions.len();
    while tokens(definitions) > max_tokens {
        definitions.pop();
    }
    if definitions.len() < before {
        log::warn(format!(
            "the model's context has room for {} of {before} tools; grant fewer, or set \
             context_tokens",
            definitions.len()
        ));
    }
}

fn first_sentence(text: &str) -> String {
    let end = text.find(". ").map_or(text.len(), |end| end + 1);
    text[..end].lines().next().unwrap_or_default().to_owned()
}
