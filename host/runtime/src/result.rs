//! From what a guest gave back to what a caller gets: sizes, JSON and depth are checked here,
//! and the guest's own errors get their meaning.

use foreshore_domain::call::{CallContext, CallError, FiredLimit};
use foreshore_domain::component::{ToolDefinition, ToolHints};
use foreshore_domain::denial::{Denial, DenialCode};
use foreshore_domain::grant::Access;
use foreshore_domain::outcome::{
    Content, ContentAnnotations, ContentBody, Media, Resource, ResourceBody, ToolResult,
};
use serde_json::value::RawValue;

use crate::bindings::{tool, types};
use crate::json_depth::{JSON_DEPTH_MAX, check_json_depth};
use crate::limiter::count;

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
    let content = outcome.content.into_iter().map(content).collect::<Result<_, _>>();
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
    let bytes: usize = outcome.content.iter().map(content_bytes).sum::<usize>() + structured;
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

fn content_bytes(content: &types::Content) -> usize {
    let media = |media: &types::Media| media.data.len() + media.mime_type.len();
    let optional = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let body = match &content.body {
        types::ContentBody::Text(text) | types::ContentBody::Json(text) => text.len(),
        types::ContentBody::Image(image) => media(image),
        types::ContentBody::Audio(audio) => media(audio),
        types::ContentBody::Resource(resource) => {
            let body = match &resource.body {
                types::ResourceBody::Link => 0,
                types::ResourceBody::Text(text) => text.len(),
                types::ResourceBody::Blob(bytes) => bytes.len(),
            };
            body + resource.uri.len()
                + resource.name.len()
                + optional(&resource.description)
                + optional(&resource.mime_type)
        }
    };
    body + content.annotations.as_ref().map_or(0, |hints| optional(&hints.last_modified))
}

fn content(content: types::Content) -> Result<Content, String> {
    let body = match content.body {
        types::ContentBody::Text(text) => ContentBody::Text(text),
        types::ContentBody::Json(json) => ContentBody::Json(
            checked_json(json)
                .map_err(|message| format!("a json part of its result is {message}"))?,
        ),
        types::ContentBody::Image(image) => ContentBody::Image(media(image)),
        types::ContentBody::Audio(audio) => ContentBody::Audio(media(audio)),
        types::ContentBody::Resource(resource) => ContentBody::Resource(Resource {
            uri: resource.uri,
            name: resource.name,
            description: resource.description,
            mime_type: resource.mime_type,
            body: match resource.body {
                types::ResourceBody::Link => ResourceBody::Link,
                types::ResourceBody::Text(text) => ResourceBody::Text(text),
                types::ResourceBody::Blob(bytes) => ResourceBody::Blob(bytes),
            },
        }),
    };
    Ok(Content { body, annotations: content.annotations.map(annotations) })
}

fn media(media: types::Media) -> Media {
    Media { data: media.data, mime_type: media.mime_type }
}

fn annotations(hints: types::ContentAnnotations) -> ContentAnnotations {
    ContentAnnotations {
        user: hints.audience.contains(types::Audience::USER),
        assistant: hints.audience.contains(types::Audience::ASSISTANT),
        // Not a number has no place in JSON, and no meaning here.
        priority: hints.priority.filter(|priority| priority.is_finite()),
        last_modified: hints.last_modified,
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
    if count(message.len()) > context.limits.result_max_bytes.get() {
        return Err(too_large(context));
    }
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

fn json_value(text: &str) -> Result<serde_json::Value, String> {
    check_depth(text)?;
    serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))
}

fn checked_json(text: String) -> Result<Box<RawValue>, String> {
    check_depth(&text)?;
    RawValue::from_string(text).map_err(|error| format!("not JSON: {error}"))
}

fn check_depth(json: &str) -> Result<(), String> {
    check_json_depth(json.as_bytes(), JSON_DEPTH_MAX).map_err(|error| format!("refused: {error}"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_parts_are_json_and_nest_no_deeper_than_allowed() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(checked_json(nested(32)).is_ok());
        assert!(checked_json(nested(33)).expect_err("deep").contains("32 levels"));
        assert!(checked_json("{\"a\":1".to_owned()).expect_err("cut").starts_with("not JSON"));
        assert!(checked_json("1 2".to_owned()).is_err());
    }
}
