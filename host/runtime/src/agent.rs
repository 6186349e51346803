//! What a component says of its agent, checked before anybody sees it.
//!
//! As with tools ([`crate::definitions`]) the texts are a stranger's. Invariant: an [`Agent`]
//! has a name of the right form, texts of bounded length without control characters, and a
//! schema that compiles.

use foreshore_domain::agent::AgentDefinition;
use foreshore_domain::component::{NameError, check_name};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::definitions::{DESCRIPTION_MAX_BYTES, TITLE_MAX_BYTES, check_text};
use crate::schema::{PatternBudget, Schema, SchemaError, SchemaViolation};

/// An agent that can take turns.
pub struct Agent {
    /// What its component says of it.
    pub definition: AgentDefinition,
    parameters: Option<Schema>,
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agent").field("definition", &self.definition).finish_non_exhaustive()
    }
}

/// What an agent says of itself is refused; with it, its component is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AgentDefinitionError {
    /// A name of the wrong form.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A text that is empty, too long or has control characters.
    #[error("the {what} of agent \"{agent}\" {problem}")]
    Text {
        /// Whose.
        agent: String,
        /// `title` or `description`.
        what: &'static str,
        /// What is wrong, and the limit.
        problem: String,
    },
    /// A schema that cannot be used.
    #[error("the schema of the parameters of agent \"{agent}\" is refused: {error}")]
    Schema {
        /// Whose.
        agent: String,
        /// Why.
        error: SchemaError,
    },
}

impl Agent {
    /// # Errors
    /// What of the definition is refused.
    pub(crate) fn new(definition: AgentDefinition) -> Result<Self, AgentDefinitionError> {
        check_name("agent", &definition.name)?;
        let agent = || definition.name.clone();
        let text = |what, text: &str, max_bytes| {
            check_text(text, max_bytes).map_err(|problem| AgentDefinitionError::Text {
                agent: agent(),
                what,
                problem,
            })
        };
        text("description", &definition.description, DESCRIPTION_MAX_BYTES)?;
        if let Some(title) = &definition.title {
            text("title", title, TITLE_MAX_BYTES)?;
        }
        let schema = definition.parameters_schema.as_ref();
        let parameters = schema
            .map(parameters)
            .transpose()
            .map_err(|error| AgentDefinitionError::Schema { agent: agent(), error })?;
        Ok(Self { definition, parameters })
    }

    /// Whether a turn may have these parameters; an agent without a schema takes none, which is
    /// the empty object.
    ///
    /// # Errors
    /// The first violation of its schema.
    pub fn check_parameters(&self, parameters: &Value) -> Result<(), SchemaViolation> {
        match &self.parameters {
            Some(schema) => schema.check(parameters),
            None if parameters.as_object().is_some_and(serde_json::Map::is_empty) => Ok(()),
            None => Err(SchemaViolation {
                pointer: String::new(),
                message: format!("the agent \"{}\" takes no parameters", self.definition.name),
            }),
        }
    }
}

fn parameters(schema: &Value) -> Result<Schema, SchemaError> {
    if schema.get("type").and_then(Value::as_str) != Some("object") {
        return Err(SchemaError::NotAnObject);
    }
    Schema::compile(schema, &mut PatternBudget::default())
}

/// A definition as the cache keeps it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    name: String,
    title: Option<String>,
    description: String,
    parameters_schema: Option<Value>,
}

/// A definition as bytes for the cache.
pub(crate) fn encode(definition: &AgentDefinition) -> Vec<u8> {
    let AgentDefinition { name, title, description, parameters_schema } = definition.clone();
    serde_json::to_vec(&Record { name, title, description, parameters_schema })
        .expect("invariant: strings and JSON values have a JSON form")
}

/// A definition from the cache's bytes; `None` if this version of the host wrote it otherwise.
pub(crate) fn decode(bytes: &[u8]) -> Option<AgentDefinition> {
    let Record { name, title, description, parameters_schema } =
        serde_json::from_slice(bytes).ok()?;
    Some(AgentDefinition { name, title, description, parameters_schema })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn definition() -> AgentDefinition {
        AgentDefinition {
            name: "helper".to_owned(),
            title: Some("Helper".to_owned()),
            description: "Helps.".to_owned(),
            parameters_schema: Some(
                json!({"type": "object", "properties": {"tone": {"type": "string"}}}),
            ),
        }
    }

    #[test]
    fn parameters_are_held_to_the_schema_and_without_one_there_are_none() {
        let agent = Agent::new(definition()).expect("fine");
        assert!(agent.check_parameters(&json!({"tone": "dry"})).is_ok());
        let violation = agent.check_parameters(&json!({"tone": 1})).expect_err("no string");
        assert_eq!(violation.pointer, "/tone");
        let agent = Agent::new(AgentDefinition { parameters_schema: None, ..definition() });
        let agent = agent.expect("fine");
        assert!(agent.check_parameters(&json!({})).is_ok());
        let violation = agent.check_parameters(&json!({"tone": "dry"})).expect_err("none");
        assert_eq!(violation.message, "the agent \"helper\" takes no parameters");
    }

    #[test]
    fn a_definition_that_nobody_should_be_shown_is_refused() {
        let long = "x".repeat(DESCRIPTION_MAX_BYTES + 1);
        for (bad, says) in [
            (AgentDefinition { name: "He lper".to_owned(), ..definition() }, "no agent name"),
            (AgentDefinition { description: long, ..definition() }, "4097 bytes long"),
            (AgentDefinition { description: " ".to_owned(), ..definition() }, "is empty"),
            (
                AgentDefinition { title: Some("a\u{1b}[1m".to_owned()), ..definition() },
                "control characters",
            ),
            (
                AgentDefinition {
                    parameters_schema: Some(json!({"type": "array"})),
                    ..definition()
                },
                "its type is not \"object\"",
            ),
        ] {
            let error = Agent::new(bad).expect_err(says).to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn what_the_cache_keeps_is_what_it_was() {
        for kept in [definition(), AgentDefinition { title: None, ..definition() }] {
            assert_eq!(decode(&encode(&kept)), Some(kept));
        }
        assert_eq!(decode(b"[]"), None);
    }
}
