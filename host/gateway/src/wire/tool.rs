//! A tool, as callers and models read it.

use foreshore_control::ToolSummary;
use foreshore_domain::component::{ComponentRef, ToolName};

use super::display;

/// A tool.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = Tool)]
pub(crate) struct ToolSchema<'a> {
    /// How to call it: `component.tool`; with `@version` where there is a higher one.
    #[serde(serialize_with = "display")]
    #[schema(value_type = String, example = "files.search")]
    name: &'a ToolName,
    /// The component that has it: `name@version`.
    #[serde(serialize_with = "display")]
    #[schema(value_type = String, example = "files@0.1.0")]
    component: &'a ComponentRef,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    /// For models.
    description: &'a str,
    /// JSON Schema of the arguments.
    #[schema(value_type = Object)]
    input_schema: &'a serde_json::Value,
    /// JSON Schema of `structured`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    output_schema: Option<&'a serde_json::Value>,
    hints: HintsSchema,
}

impl<'a> From<&'a ToolSummary> for ToolSchema<'a> {
    fn from(tool: &'a ToolSummary) -> Self {
        let definition = &tool.definition;
        let hints = definition.hints;
        Self {
            name: &tool.name,
            component: &tool.component,
            title: definition.title.as_deref(),
            description: &definition.description,
            input_schema: &definition.input_schema,
            output_schema: definition.output_schema.as_ref(),
            hints: HintsSchema {
                read_only: hints.read_only,
                destructive: hints.destructive,
                idempotent: hints.idempotent,
                open_world: hints.open_world,
            },
        }
    }
}

/// How a tool behaves, as its author states it.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = ToolHints)]
pub(crate) struct HintsSchema {
    /// Changes nothing outside the sandbox.
    read_only: bool,
    /// May destroy or overwrite what was there.
    destructive: bool,
    /// A second call with the same arguments changes nothing more.
    idempotent: bool,
    /// Reaches beyond the operator's machine.
    open_world: bool,
}

/// The list of tools, as [`Named`] writes it.
#[derive(utoipa::ToSchema)]
#[schema(as = Tools)]
#[allow(dead_code, reason = "only its schema is used")]
pub(crate) struct ToolsSchema {
    tools: Vec<ToolSchema<'static>>,
}
