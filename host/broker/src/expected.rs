//! What an answer has to be: JSON that matches a schema, or a call of a tool.
//!
//! Servers promise both and not all keep it, so it is checked here. Schemas come from callers,
//! whom nobody has to trust: nothing is fetched for them, patterns run on an engine that is
//! linear in its input, and what a check can cost is bounded ([`cost`]).

mod cost;

use foreshore_domain::inference::{ChatRequest, Format, Part, ToolChoice, ToolSpec};
use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

use crate::attempt::Answered;
use cost::SchemaCost;

/// A schema's text may be this long.
const SCHEMA_MAX_BYTES: usize = 64 << 10;
/// An answer that is checked against one may be this long.
const CHECKED_MAX_BYTES: usize = 1 << 20;
/// What one compiled pattern may take.
const PATTERN_MAX_BYTES: usize = 256 << 10;
/// What of the validator's words is repeated.
const PROBLEM_MAX_CHARS: usize = 300;

/// What an answer has to be.
pub(crate) struct Expected {
    format: Option<ExpectedFormat>,
    call: Option<ExpectedCall>,
    /// The tools that are offered.
    pub(crate) tools: Vec<ToolSpec>,
}

enum ExpectedFormat {
    Json,
    Schema(Box<Validator>, SchemaCost),
}

enum ExpectedCall {
    Any,
    Named(String),
}

impl Expected {
    /// Reads it out of a request.
    ///
    /// # Errors
    /// What of the request makes no sense.
    pub(crate) fn of(request: &ChatRequest) -> Result<Self, String> {
        let format = match &request.format {
            None => None,
            Some(Format::Json) => Some(ExpectedFormat::Json),
            Some(Format::Schema(text)) => Some(compiled(text)?),
        };
        let (tools, call) = match request.tool_choice.as_ref().unwrap_or(&ToolChoice::Auto) {
            ToolChoice::Auto => (request.tools.clone(), None),
            // Not every server has the word: a model that is shown no tool asks for none.
            ToolChoice::None => (Vec::new(), None),
            ToolChoice::Required if request.tools.is_empty() => {
                return Err("tool_choice asks for a tool, and no tools are offered".to_owned());
            }
            ToolChoice::Required => (request.tools.clone(), Some(ExpectedCall::Any)),
            ToolChoice::Named(name) => {
                let tool = request.tools.iter().find(|tool| tool.name == *name);
                let Some(tool) = tool else {
                    return Err(format!("tool_choice names \"{name}\", which is not offered"));
                };
                (vec![tool.clone()], Some(ExpectedCall::Named(name.clone())))
            }
        };
        Ok(Self { format, call, tools })
    }

    /// An answer may have to be asked for again, so its pieces are held back until it is whole.
    pub(crate) fn is_checked(&self) -> bool {
        self.format.is_some() || self.call.is_some()
    }

    /// Checks an answer; a fence around JSON, which models like to put there, is taken off.
    ///
    /// # Errors
    /// What is wrong, said to the model.
    pub(crate) fn check(&self, answered: &mut Answered) -> Result<(), String> {
        let calls = &answered.message.tool_calls;
        match &self.call {
            Some(ExpectedCall::Any) if calls.is_empty() => {
                return Err("you have to call one of the tools".to_owned());
            }
            Some(ExpectedCall::Named(name)) if !calls.iter().any(|call| call.name == *name) => {
                return Err(format!("you have to call the tool \"{name}\""));
            }
            _ => {}
        }
        let Some(format) = &self.format else { return Ok(()) };
        // A model that asks for tools answers later.
        if !calls.is_empty() {
            return Ok(());
        }
        let text = answered.message.plain_text();
        let json = unfenced(&text);
        if json.len() > CHECKED_MAX_BYTES {
            return Err(format!("the answer is longer than {CHECKED_MAX_BYTES} bytes"));
        }
        let value: Value = serde_json::from_str(json)
            .map_err(|error| format!("the answer has to be JSON, and it is not: {error}"))?;
        if let ExpectedFormat::Schema(validator, cost) = format {
            if !cost.allows(json.len()) {
                return Err("the answer is too long to be checked against its schema".to_owned());
            }
            validator.validate(&value).map_err(|error| {
                let words = error.masked_with("it").to_string();
                let words: String = words.chars().take(PROBLEM_MAX_CHARS).collect();
                match error.instance_path().as_str() {
                    "" => format!("the answer does not match its schema: {words}"),
                    at => format!("the answer does not match its schema at {at}: {words}"),
                }
            })?;
        }
        if json.len() != text.len() {
            answered.message.content = vec![Part::Text(json.to_owned())];
        }
        Ok(())
    }
}

fn compiled(text: &str) -> Result<ExpectedFormat, String> {
    if text.len() > SCHEMA_MAX_BYTES {
        return Err(format!("the schema of the answer is longer than {SCHEMA_MAX_BYTES} bytes"));
    }
    let schema: Value = serde_json::from_str(text)
        .map_err(|error| format!("the schema of the answer is no JSON: {error}"))?;
    // First: a schema that is refused for its cost must not reach the validator at all.
    let cost = SchemaCost::of(&schema)?;
    let patterns =
        PatternOptions::regex().size_limit(PATTERN_MAX_BYTES).dfa_size_limit(PATTERN_MAX_BYTES);
    let validator = jsonschema::draft202012::options()
        .offline()
        .with_pattern_options(patterns)
        .build(&schema)
        .map_err(|error| format!("the schema of the answer is no JSON Schema: {error}"))?;
    Ok(ExpectedFormat::Schema(Box::new(validator), cost))
}

/// The text without a fence of Markdown around it.
fn unfenced(text: &str) -> &str {
    let text = text.trim();
    let inner = text.strip_prefix("```").and_then(|rest| rest.strip_suffix("```"));
    let Some(inner) = inner else { return text };
    inner.strip_prefix("json").unwrap_or(inner).trim()
}

#[cfg(test)]
mod tests;
