//! From what a guest gave back to what a caller gets: sizes, JSON and depth are checked here,
//! and the guest's own errors get their meaning.

use foreshore_domain::agent::{AgentDefinition, Finish, Reply};
use foreshore_domain::call::{CallContext, CallError, FiredLimit};
use foreshore_domain::component::{ToolDefinition, ToolHints};
use foreshore_domain::denial::{Denial, DenialCode};
use foreshore_domain::effect::{AgentError, BudgetKind};
use foreshore_domain::grant::Access;
use foreshore_domain::outcome::{Content, ToolResult};

use crate::bindings::agents::agent;
use crate::bindings::{tool, types};
use crate::content::{checked_json, contents, contents_bytes, json_value};
use crate::limiter::count;
use crate::turn::TurnFailure;

/// How much of a guest's own words goes into an error.
const SUBJECT_MAX_CHARACTERS: usize = 512;

/// What a call gave back.
///
/// # Errors
/// A result that is too large or malformed, and the guest's errors that are the caller's or
/// the operator's business.
pub(crate) fn call_result(
    context: &CallContext,
    returned: Result<tool::Outcome, types::Error>,
) -> Result<ToolResult, CallError> {
    match returned {
        Ok(outcome) => tool_result(context, outcome),
        Err(error) => guest_error(context, error),
    }
}

fn tool_result(context: &CallContext, outcome: tool::Outcome) -> Result<ToolResult, CallError> {
    check_size(context, &outcome)?;
    let crashed = |message| trap(context, message);
    let content = contents(outcome.content);
    let structured = outcome.structured.map(checked_json).transpose();
    Ok(ToolResult {
        is_error: outcome.is_error,
        content: content.map_err(crashed)?,
        structured: structured
            .map_err(|message| crashed(format!("its structured result is {message}")))?,
    })
}

fn check_size(context: &CallContext, outcome: &tool::Outcome) -> Result<(), CallError> {
    let structured = outcome.structured.as_ref().map_or(0, String::len);
    holds(context, contents_bytes(&outcome.content) + structured)
}

/// Whether a result of so many bytes is within `result_max_bytes`.
fn holds(context: &CallContext, bytes: usize) -> Result<(), CallError> {
    if count(bytes) <= context.limits.result_max_bytes.get() {
        Ok(())
    } else {
        Err(too_large(context))
    }
}

/// The result is larger than `result_max_bytes`.
pub(crate) fn too_large(context: &CallContext) -> CallError {
    CallError::Limit {
        component: context.component.clone(),
        limit: FiredLimit::Result,
        allowed: context.limits.result_max_bytes.get(),
    }
}

/// The guest's own errors: some are the caller's or the operator's, the rest are a tool that
/// ran and failed.
fn guest_error(context: &CallContext, error: types::Error) -> Result<ToolResult, CallError> {
    let message = match error {
        types::Error::Denied(denial) => {
            return Err(CallError::Denied(checked_denial(context, denial)));
        }
        types::Error::Refused(message) => {
            return Err(CallError::Refused { message: shortened(&message) });
        }
        types::Error::Invalid(input) => {
            return Err(CallError::InvalidArguments {
                tool: format!("{}.{}", context.component.name, context.tool),
                pointer: shortened(&input.pointer),
                message: shortened(&input.message),
            });
        }
        types::Error::NotFound(message)
        | types::Error::UnknownOutcome(message)
        | types::Error::Failed(message) => message,
        types::Error::Exhausted(budget) => format!("used up: {}", budget_name(budget)),
        types::Error::Unavailable(None) => "not available now; try again later".to_owned(),
        types::Error::Unavailable(Some(after_ms)) => {
            format!("not available now; try again in {after_ms} ms")
        }
    };
    holds(context, message.len())?;
    Ok(ToolResult { is_error: true, content: vec![Content::text(message)], structured: None })
}

/// A denial that a guest reports, in the host's words: a guest cannot forge a code or a grant.
fn checked_denial(context: &CallContext, denial: types::Denial) -> Denial {
    if let Some(noted) = context.denials.last() {
        return noted;
    }
    let subject = shortened(&denial.subject);
    let access = match denial.code.as_str() {
        "mount_not_granted" => Some(Access::ReadOnly),
        "mount_read_only" => Some(Access::ReadWrite),
        _ => None,
    };
    access
        .and_then(|access| context.grant.deny_path(&context.component, &subject, access))
        .unwrap_or(Denial { code: DenialCode::DeniedByTool, subject, grant: String::new() })
}

fn budget_name(budget: types::Budget) -> &'static str {
    match budget {
        types::Budget::Fuel => "fuel",
        types::Budget::Time => "time",
        types::Budget::Memory => "memory",
        types::Budget::Bytes => "bytes",
        types::Budget::Tokens => "tokens",
        types::Budget::Calls => "calls",
        types::Budget::Cost => "cost",
    }
}

/// The tools that a component defines.
///
/// # Errors
/// The first definition that is malformed, with what is wrong with it.
pub(crate) fn definitions(defined: Vec<tool::Definition>) -> Result<Vec<ToolDefinition>, String> {
    defined.into_iter().map(definition).collect()
}

fn definition(tool: tool::Definition) -> Result<ToolDefinition, String> {
    let named = |what: &str| format!("{what} of its tool \"{}\"", tool.name);
    let input_schema = json_value(&tool.input_schema)
        .map_err(|message| format!("{} is {message}", named("the input schema")))?;
    let output_schema = tool
        .output_schema
        .as_deref()
        .map(json_value)
        .transpose()
        .map_err(|message| format!("{} is {message}", named("the output schema")))?;
    let hints = |hint| tool.hints.contains(hint);
    Ok(ToolDefinition {
        hints: ToolHints {
            read_only: hints(tool::Hints::READ_ONLY),
            destructive: hints(tool::Hints::DESTRUCTIVE),
            idempotent: hints(tool::Hints::IDEMPOTENT),
            open_world: hints(tool::Hints::OPEN_WORLD),
        },
        name: tool.name,
        title: tool.title,
        description: tool.description,
        input_schema,
        output_schema,
    })
}

/// What an agent says of itself.
///
/// # Errors
/// A schema that is no JSON.
pub(crate) fn description(described: agent::Definition) -> Result<AgentDefinition, String> {
    let agent::Definition { name, title, description, parameters_schema } = described;
    let parameters_schema = parameters_schema
        .as_deref()
        .map(json_value)
        .transpose()
        .map_err(|message| format!("the schema of its parameters is {message}"))?;
    Ok(AgentDefinition { name, title, description, parameters_schema })
}

/// What a turn gave back.
///
/// # Errors
/// A reply that is too large or malformed, and the agent's own error.
pub(crate) fn turn_result(
    context: &CallContext,
    returned: Result<types::Reply, types::Error>,
) -> Result<Reply, TurnFailure> {
    let reply = match returned {
        Ok(reply) => reply,
        Err(error) => return Err(agents_own_error(context, error)),
    };
    holds(context, contents_bytes(&reply.message))?;
    let finish = finish(reply.finish);
    let message = contents(reply.message).map_err(|message| trap(context, message))?;
    Ok(Reply { message, finish })
}

fn finish(finish: types::Finish) -> Finish {
    match finish {
        types::Finish::Stop => Finish::Stop,
        types::Finish::Budget => Finish::Budget,
        types::Finish::GaveUp => Finish::GaveUp,
    }
}

/// The agent's own words, bounded. They are kept as its own, and decide nothing: a code that it
/// claims is text.
fn agents_own_error(context: &CallContext, error: types::Error) -> TurnFailure {
    let error = match error {
        types::Error::Denied(denial) => AgentError::Denied {
            code: shortened(&denial.code),
            subject: shortened(&denial.subject),
            grant: String::new(),
        },
        types::Error::Refused(message) => AgentError::Refused(shortened(&message)),
        types::Error::Invalid(input) => AgentError::Invalid {
            pointer: shortened(&input.pointer),
            message: shortened(&input.message),
        },
        types::Error::NotFound(name) => AgentError::NotFound(shortened(&name)),
        types::Error::Exhausted(budget) => AgentError::Exhausted(budget_kind(budget)),
        types::Error::Unavailable(after_ms) => AgentError::Unavailable(after_ms),
        types::Error::UnknownOutcome(what) => AgentError::UnknownOutcome(shortened(&what)),
        types::Error::Failed(message) => match holds(context, message.len()) {
            Ok(()) => AgentError::Failed(message),
            Err(error) => return error.into(),
        },
    };
    TurnFailure::Agent(error)
}

fn budget_kind(budget: types::Budget) -> BudgetKind {
    match budget {
        types::Budget::Fuel => BudgetKind::Fuel,
        types::Budget::Time => BudgetKind::Time,
        types::Budget::Memory => BudgetKind::Memory,
        types::Budget::Bytes => BudgetKind::Bytes,
        types::Budget::Tokens => BudgetKind::Tokens,
        types::Budget::Calls => BudgetKind::Calls,
        types::Budget::Cost => BudgetKind::Cost,
    }
}

fn trap(context: &CallContext, message: String) -> CallError {
    CallError::Trap { component: context.component.clone(), message }
}

/// A guest's own words, bounded and on one line.
fn shortened(text: &str) -> String {
    text.chars()
        .take(SUBJECT_MAX_CHARACTERS)
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect()
}
