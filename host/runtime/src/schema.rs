//! JSON Schema: compiled once when a component is loaded, checked on every call.
//!
//! Schemas come from components, which nobody has to trust, and are checked on the host, where
//! no fuel counts. So: nothing is fetched, patterns run on an engine that is linear in its
//! input, and size and nesting are bounded.
//!
//! A violation is written for a model: it names the property and what was expected.

use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::Value;

/// A schema's JSON text may be this long.
pub(crate) const SCHEMA_MAX_BYTES: usize = 64 << 10;
/// What one compiled pattern may take.
const PATTERN_MAX_BYTES: usize = 1 << 20;

/// A schema, ready to check values against.
pub(crate) struct Schema(Validator);

/// A schema that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// Its text is too long.
    #[error("it is {size_bytes} bytes, above {SCHEMA_MAX_BYTES}")]
    TooLarge {
        /// Its size.
        size_bytes: usize,
    },
    /// It does not describe an object.
    #[error("its type is not \"object\"")]
    NotAnObject,
    /// It is no JSON Schema.
    #[error("it is no JSON Schema 2020-12: {message} (at \"{pointer}\")")]
    Invalid {
        /// Where in the schema.
        pointer: String,
        /// What is wrong.
        message: String,
    },
}

/// A value that does not match a schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} (at \"{pointer}\")")]
pub struct SchemaViolation {
    /// JSON Pointer (RFC 6901) to the part at fault.
    pub pointer: String,
    /// What is wrong with it and what was expected.
    pub message: String,
}

impl Schema {
    /// # Errors
    /// [`SchemaError`].
    pub(crate) fn compile(schema: &Value) -> Result<Self, SchemaError> {
        let size_bytes = schema.to_string().len();
        if size_bytes > SCHEMA_MAX_BYTES {
            return Err(SchemaError::TooLarge { size_bytes });
        }
        jsonschema::draft202012::options()
            .offline()
            .with_pattern_options(
                PatternOptions::regex()
                    .size_limit(PATTERN_MAX_BYTES)
                    .dfa_size_limit(PATTERN_MAX_BYTES),
            )
            .build(schema)
            .map(Self)
            .map_err(|error| SchemaError::Invalid {
                pointer: error.instance_path().to_string(),
                message: error.to_string(),
            })
    }

    /// # Errors
    /// The first violation.
    pub(crate) fn check(&self, value: &Value) -> Result<(), SchemaViolation> {
        self.0.validate(value).map_err(|error| violation(&error))
    }
}

fn violation(error: &ValidationError<'_>) -> SchemaViolation {
    SchemaViolation { pointer: error.instance_path().to_string(), message: error.to_string() }
}
