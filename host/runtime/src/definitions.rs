//! What a component says of its tools, checked before anybody sees it.
//!
//! Definitions are text from a component that nobody has to trust, and they are read by
//! models, terminals and programs. Invariant: a [`Tool`] has a name of the right form, a
//! description of bounded length without control characters, and schemas that compile.

use std::collections::BTreeSet;
use std::sync::Arc;

use foreshore_domain::component::{NameError, ToolDefinition, ToolHints, check_name};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::schema::{PatternBudget, Schema, SchemaError, SchemaViolation};

/// Tools in one component.
const TOOLS_MAX: usize = 256;
/// As `foreshore:tool` says.
pub(crate) const DESCRIPTION_MAX_BYTES: usize = 4 << 10;
pub(crate) const TITLE_MAX_BYTES: usize = 256;

/// A tool that can be called.
pub struct Tool {
    /// What its component says of it.
    pub definition: ToolDefinition,
    /// The name within the component.
    pub name: Arc<str>,
    input: Schema,
    output: Option<Schema>,
}

impl std::fmt::Debug for Tool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tool").field("definition", &self.definition).finish_non_exhaustive()
    }
}

/// A definition that is refused; with it, the whole component is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DefinitionError {
    /// None, or too many.
    #[error("the component defines {tools} tools; it takes 1 to {TOOLS_MAX}")]
    Count {
        /// How many.
        tools: usize,
    },
    /// A name of the wrong form.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Two of one name.
    #[error("two tools are called \"{tool}\"")]
    Twice {
        /// The name.
        tool: String,
    },
    /// A text that is empty, too long or has control characters.
    #[error("the {what} of tool \"{tool}\" {problem}")]
    Text {
        /// Whose.
        tool: String,
        /// `title` or `description`.
        what: &'static str,
        /// What is wrong, and the limit.
        problem: String,
    },
    /// A schema that cannot be used.
    #[error("the {what} schema of tool \"{tool}\" is refused: {error}")]
    Schema {
        /// Whose.
        tool: String,
        /// `input` or `output`.
        what: &'static str,
        /// Why.
        error: SchemaError,
    },
}

impl Tool {
    fn new(
        definition: ToolDefinition,
        budget: &mut PatternBudget,
    ) -> Result<Self, DefinitionError> {
        check_name("tool", &definition.name)?;
        let text = |what, text: &str, max_bytes| {
            check_text(text, max_bytes).map_err(|problem| DefinitionError::Text {
                tool: definition.name.clone(),
                what,
                problem,
            })
        };
        text("description", &definition.description, DESCRIPTION_MAX_BYTES)?;
        if let Some(title) = &definition.title {
            text("title", title, TITLE_MAX_BYTES)?;
        }
        let refused =
            |what, error| DefinitionError::Schema { tool: definition.name.clone(), what, error };
        if definition.input_schema.get("type").and_then(Value::as_str) != Some("object") {
            return Err(refused("input", SchemaError::NotAnObject));
        }
        let input = Schema::compile(&definition.input_schema, budget)
            .map_err(|error| refused("input", error))?;
        let output = definition.output_schema.as_ref();
        let output = output
            .map(|schema| Schema::compile(schema, budget))
            .transpose()
            .map_err(|error| refused("output", error))?;
        let name = definition.name.as_str().into();
        Ok(Self { definition, name, input, output })
    }

    /// Whether a call may have these arguments.
    ///
    /// # Errors
    /// The first violation of the input schema.
    pub fn check_arguments(&self, arguments: &Value) -> Result<(), SchemaViolation> {
        self.input.check(arguments)
    }

    /// Whether a result may have this structured part; without an output schema, any.
    ///
    /// # Errors
    /// The first violation of the output schema.
    pub fn check_structured(&self, structured: &Value) -> Result<(), SchemaViolation> {
        self.output.as_ref().map_or(Ok(()), |schema| schema.check(structured))
    }
}

/// Checks all that a component defines.
///
/// # Errors
/// The first definition that is refused.
pub(crate) fn tools(definitions: Vec<ToolDefinition>) -> Result<Box<[Tool]>, DefinitionError> {
    if definitions.is_empty() || definitions.len() > TOOLS_MAX {
        return Err(DefinitionError::Count { tools: definitions.len() });
    }
    let mut names = BTreeSet::new();
    if let Some(twice) = definitions.iter().find(|tool| !names.insert(tool.name.as_str())) {
        check_name("tool", &twice.name)?;
        return Err(DefinitionError::Twice { tool: twice.name.clone() });
    }
    let mut budget = PatternBudget::default();
    definitions.into_iter().map(|definition| Tool::new(definition, &mut budget)).collect()
}

pub(crate) fn check_text(text: &str, max_bytes: usize) -> Result<(), String> {
    if text.trim().is_empty() {
        Err("is empty".to_owned())
    } else if text.len() > max_bytes {
        Err(format!("is {} bytes long, above {max_bytes}", text.len()))
    } else if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
        Err("has control characters".to_owned())
    } else {
        Ok(())
    }
}

/// A definition as the cache keeps it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    name: String,
    title: Option<String>,
    description: String,
    input_schema: Value,
    output_schema: Option<Value>,
    read_only: bool,
    destructive: bool,
    idempotent: bool,
    open_world: bool,
}

/// Definitions as bytes for the cache.
pub(crate) fn encode(definitions: &[ToolDefinition]) -> Vec<u8> {
    let records: Vec<Record> = definitions.iter().cloned().map(Record::from).collect();
    serde_json::to_vec(&records)
        .expect("invariant: strings, flags and JSON values have a JSON form")
}

/// Definitions from the cache's bytes; `None` if this version of the host wrote them otherwise.
pub(crate) fn decode(bytes: &[u8]) -> Option<Vec<ToolDefinition>> {
    let records: Vec<Record> = serde_json::from_slice(bytes).ok()?;
    Some(records.into_iter().map(ToolDefinition::from).collect())
}

impl From<ToolDefinition> for Record {
    fn from(definition: ToolDefinition) -> Self {
        let ToolDefinition { name, title, description, input_schema, output_schema, hints } =
            definition;
        let ToolHints { read_only, destructive, idempotent, open_world } = hints;
        Self {
            name,
            title,
            description,
            input_schema,
            output_schema,
            read_only,
            destructive,
            idempotent,
            open_world,
        }
    }
}

impl From<Record> for ToolDefinition {
    fn from(record: Record) -> Self {
        Self {
            name: record.name,
            title: record.title,
            description: record.description,
            input_schema: record.input_schema,
            output_schema: record.output_schema,
            hints: ToolHints {
                read_only: record.read_only,
                destructive: record.destructive,
                idempotent: record.idempotent,
                open_world: record.open_world,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn definition(name: &str) -> ToolDefinition {
        ToolDefinition {
            name: name.to_owned(),
            title: Some("Run".to_owned()),
            description: "Runs.\n\tTwice.".to_owned(),
            input_schema: json!({"type": "object", "properties": {"n": {"type": "integer"}}}),
            output_schema: Some(json!({"type": "string"})),
            hints: ToolHints { read_only: true, ..ToolHints::default() },
        }
    }

    fn refused(change: impl FnOnce(&mut ToolDefinition)) -> DefinitionError {
        let mut bad = definition("run");
        change(&mut bad);
        tools(vec![definition("fine"), bad]).expect_err("refused")
    }

    #[test]
    fn a_tool_checks_arguments_and_results() {
        let tools = tools(vec![definition("run")]).expect("fine");
        let [tool] = &*tools else { panic!("one tool") };
        assert_eq!(tool.check_arguments(&json!({"n": 1})), Ok(()));
        let violation = tool.check_arguments(&json!({"n": "1"})).expect_err("not an integer");
        assert_eq!(violation.pointer, "/n");
        assert_eq!(tool.check_structured(&json!("text")), Ok(()));
        assert!(tool.check_structured(&json!(1)).is_err());
    }

    #[test]
    fn each_malformed_definition_is_refused_for_what_is_wrong_with_it() {
        assert!(matches!(tools(Vec::new()), Err(DefinitionError::Count { tools: 0 })));
        let many = (0..=TOOLS_MAX).map(|n| definition(&format!("t{n}"))).collect();
        assert!(matches!(tools(many), Err(DefinitionError::Count { tools: 257 })));
        let twice = tools(vec![definition("run"), definition("run")]).expect_err("twice");
        assert_eq!(twice, DefinitionError::Twice { tool: "run".to_owned() });
        for name in ["", "Run", "a.b", "a b", "../x", &"x".repeat(65)] {
            let error = refused(|tool| tool.name = name.to_owned());
            assert!(matches!(error, DefinitionError::Name(_)), "{name}: {error:?}");
        }
        for text in ["", " \n", "\u{1b}[31mred", "a\u{0}b", &"x".repeat(4_097)] {
            let error = refused(|tool| tool.description = text.to_owned());
            assert!(
                matches!(error, DefinitionError::Text { what: "description", .. }),
                "{text:?}: {error:?}"
            );
        }
        let error = refused(|tool| tool.title = Some("x".repeat(257)));
        assert!(matches!(error, DefinitionError::Text { what: "title", .. }), "{error:?}");
        for schema in [json!(true), json!({}), json!({"type": "array"}), json!("object")] {
            let error = refused(|tool| tool.input_schema = schema.clone());
            let expected = SchemaError::NotAnObject;
            assert!(
                matches!(&error, DefinitionError::Schema { what: "input", error, .. } if *error == expected),
                "{schema}: {error:?}"
            );
        }
        let error = refused(|tool| tool.output_schema = Some(json!({"$ref": "#"})));
        assert!(
            matches!(
                error,
                DefinitionError::Schema {
                    what: "output",
                    error: SchemaError::ChainTooLong { .. },
                    ..
                }
            ),
            "{error:?}"
        );
    }

    #[test]
    fn definitions_survive_the_cache_and_foreign_bytes_do_not() {
        let definitions = vec![
            definition("one"),
            ToolDefinition {
                title: None,
                output_schema: None,
                hints: ToolHints { destructive: true, open_world: true, ..ToolHints::default() },
                ..definition("two")
            },
        ];
        assert_eq!(decode(&encode(&definitions)), Some(definitions));
        for foreign in [&b""[..], b"{}", b"[{}]", b"[{\"name\":\"x\"}]", b"\xff"] {
            assert_eq!(decode(foreign), None);
        }
    }
}
