//! JSON Schema: compiled once when a component is loaded, checked on every call.
//!
//! Schemas come from components, which nobody has to trust, and are checked on the host, where
//! no fuel counts. So: nothing is fetched, patterns run on an engine that is linear in its
//! input, and what a check can cost is bounded ([`crate::schema_cost`]).
//!
//! A violation is written for a model: it names the property, what was expected and what came.

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::Value;

use crate::schema_cost::SchemaCost;

/// A schema's JSON text may be this long.
const SCHEMA_MAX_BYTES: usize = 64 << 10;
/// What one compiled pattern may take.
const PATTERN_MAX_BYTES: usize = 256 << 10;
/// Patterns in all schemas of one component.
const PATTERNS_MAX: usize = 64;
/// What of an offending value, or of the names that would do, is quoted.
const QUOTE_MAX_CHARS: usize = 120;
/// Branches of a union whose objections are told.
const BRANCHES_MAX: usize = 4;

/// A schema, ready to check values against.
pub(crate) struct Schema {
    validator: Validator,
    cost: SchemaCost,
}

/// A schema that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// Its text is too long.
    #[error("it is {size_bytes} bytes long, above {SCHEMA_MAX_BYTES}")]
    TooLarge {
        /// Its size.
        size_bytes: usize,
    },
    /// It does not describe an object.
    #[error("its type is not \"object\"")]
    NotAnObject,
    /// It points out of itself.
    #[error(
        "it refers to \"{reference}\"; only \"#\" and \"#/...\", within the schema, are allowed"
    )]
    RemoteReference {
        /// Where it points.
        reference: String,
    },
    /// It says that it is written in a dialect that is not known here.
    #[error(
        "its $schema is \"{dialect}\"; leave it out or write \"https://json-schema.org/draft/2020-12/schema\""
    )]
    Dialect {
        /// What it says.
        dialect: String,
    },
    /// It uses a keyword that tool schemas do without.
    #[error(
        "the keyword {keyword} (at \"{pointer}\") is not allowed; use $ref with \"#/$defs/...\""
    )]
    Keyword {
        /// The keyword.
        keyword: &'static str,
        /// Where in the schema.
        pointer: String,
    },
    /// It refers to itself without going down in the value, or takes too many steps to get
    /// anywhere.
    #[error(
        "more than {max} references and combinations follow each other without a property or item between them; shorten the chain or break the cycle"
    )]
    ChainTooLong {
        /// How many there may be.
        max: usize,
    },
    /// Checking any value against it could take too long.
    #[error("it is too much work to check; use fewer and smaller combinations")]
    TooCostly,
    /// The component's schemas hold more patterns than the host keeps compiled.
    #[error("the schemas of the component hold more than {max} patterns together")]
    TooManyPatterns {
        /// How many there may be.
        max: usize,
    },
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

/// How many patterns the schemas of one component may still have.
pub(crate) struct PatternBudget(usize);

impl Default for PatternBudget {
    fn default() -> Self {
        Self(PATTERNS_MAX)
    }
}

impl PatternBudget {
    fn take(&mut self, patterns: usize) -> Result<(), SchemaError> {
        self.0 = self
            .0
            .checked_sub(patterns)
            .ok_or(SchemaError::TooManyPatterns { max: PATTERNS_MAX })?;
        Ok(())
    }
}

impl Schema {
    /// # Errors
    /// [`SchemaError`].
    pub(crate) fn compile(schema: &Value, budget: &mut PatternBudget) -> Result<Self, SchemaError> {
        let size_bytes = schema.to_string().len();
        if size_bytes > SCHEMA_MAX_BYTES {
            return Err(SchemaError::TooLarge { size_bytes });
        }
        check_dialect(schema)?;
        // Then the cost: a schema that is refused for it must not reach the validator at all.
        let cost = SchemaCost::of(schema)?;
        budget.take(cost.patterns)?;
        let patterns =
            PatternOptions::regex().size_limit(PATTERN_MAX_BYTES).dfa_size_limit(PATTERN_MAX_BYTES);
        let validator = jsonschema::draft202012::options()
            .offline()
            .with_pattern_options(patterns)
            .build(schema)
            .map_err(|error| SchemaError::Invalid {
                pointer: error.instance_path().to_string(),
                message: quoted(&error.to_string()),
            })?;
        Ok(Self { validator, cost })
    }

    /// # Errors
    /// The first violation.
    pub(crate) fn check(&self, value: &Value) -> Result<(), SchemaViolation> {
        if self.cost.check(value).is_err() {
            return Err(SchemaViolation {
                pointer: String::new(),
                message:
                    "the value is too large or nests too deep to be checked against this schema"
                        .to_owned(),
            });
        }
        self.validator.validate(value).map_err(|error| SchemaViolation {
            pointer: error.instance_path().to_string(),
            message: format!("{} {}", subject(error.instance_path().as_str()), problem(&error)),
        })
    }
}

/// Dialects whose keywords mean what they mean in 2020-12, or are refused as malformed.
const DIALECTS: &[&str] = &[
    "https://json-schema.org/draft/2020-12/schema",
    "https://json-schema.org/draft/2019-09/schema",
    "http://json-schema.org/draft-07/schema",
];

fn check_dialect(schema: &Value) -> Result<(), SchemaError> {
    match schema.get("$schema") {
        None => Ok(()),
        Some(Value::String(uri)) if DIALECTS.contains(&uri.trim_end_matches('#')) => Ok(()),
        Some(other) => {
            Err(SchemaError::Dialect { dialect: quoted(other.as_str().unwrap_or("not a text")) })
        }
    }
}

/// What the sentence is about: the last step of the pointer.
fn subject(pointer: &str) -> String {
    let last = |pointer: &str| {
        pointer.rsplit('/').next().unwrap_or_default().replace("~1", "/").replace("~0", "~")
    };
    match pointer.rsplit_once('/') {
        None => "the value".to_owned(),
        Some((parent, index)) if index.bytes().all(|b| b.is_ascii_digit()) => match last(parent) {
            list if list.is_empty() => format!("item {index}"),
            list => format!("item {index} of {:?}", quoted(&list)),
        },
        Some(_) => format!("{:?}", quoted(&last(pointer))),
    }
}

/// The rest of the sentence. Where we have nothing better, the validator's own words, without
/// the value: a value may be a megabyte long.
fn problem(error: &ValidationError<'_>) -> String {
    match error.kind() {
        ValidationErrorKind::Required { property } => {
            format!("lacks the required property {property}")
        }
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            format!("has unknown properties: {}", quoted(&unexpected.join(", ")))
        }
        ValidationErrorKind::Type { kind } => {
            let expected = match kind {
                TypeKind::Single(kind) => kind.to_string(),
                TypeKind::Multiple(kinds) => {
                    kinds.iter().map(|kind| kind.to_string()).collect::<Vec<_>>().join(" or ")
                }
            };
            format!("must be {}, not {}", with_article(&expected), described(error.instance()))
        }
        ValidationErrorKind::Enum { options } => {
            let options = options.as_array().map(Vec::as_slice).unwrap_or_default();
            let options: Vec<String> = options.iter().map(Value::to_string).collect();
            let options = quoted(&options.join(", "));
            format!("must be one of {options}, not {}", described(error.instance()))
        }
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            let branches: Vec<String> = context
                .iter()
                .take(BRANCHES_MAX)
                .filter_map(|errors| errors.first())
                .map(|error| match error.instance_path().as_str() {
                    "" => problem_once(error),
                    pointer => format!("{} {}", subject(pointer), problem_once(error)),
                })
                .collect();
            format!("matches none of the forms it may have: {}", branches.join("; or "))
        }
        _ => problem_once(error),
    }
}

/// [`problem`], but a union within a union is not unfolded again.
fn problem_once(error: &ValidationError<'_>) -> String {
    match error.kind() {
        ValidationErrorKind::Required { .. }
        | ValidationErrorKind::AdditionalProperties { .. }
        | ValidationErrorKind::UnevaluatedProperties { .. }
        | ValidationErrorKind::Type { .. }
        | ValidationErrorKind::Enum { .. } => problem(error),
        _ => {
            let words = error.masked_with("it").to_string();
            format!("is refused: {}", quoted(&words))
        }
    }
}

fn with_article(kind: &str) -> String {
    let article = if kind.starts_with(['a', 'i', 'o']) { "an" } else { "a" };
    if kind == "null" { kind.to_owned() } else { format!("{article} {kind}") }
}

/// The value, or its kind where it is long.
fn described(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => format!("the string {:?}", quoted(text)),
        Value::Array(_) => "an array".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

fn quoted(text: &str) -> String {
    match text.char_indices().nth(QUOTE_MAX_CHARS) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn compile(schema: &Value) -> Result<Schema, SchemaError> {
        Schema::compile(schema, &mut PatternBudget::default())
    }

    fn violation(schema: &Value, value: &Value) -> SchemaViolation {
        let schema = compile(schema).expect("a valid schema");
        schema.check(value).expect_err("a violation")
    }

    #[test]
    fn a_violation_names_the_property_what_was_expected_and_what_came() {
        let schema = json!({
            "type": "object",
            "properties": {
                "path": {"type": "string"},
                "limit": {"type": "integer", "minimum": 1, "maximum": 100},
                "mode": {"enum": ["text", "binary"]},
                "tags": {"type": "array", "items": {"type": "string"}},
                "a/b": {"type": ["null", "boolean"]},
                "when": {"anyOf": [{"type": "null"}, {"type": "object", "required": ["at"]}]},
                "name": {"pattern": "^[a-z]+$"},
            },
            "required": ["path"],
            "additionalProperties": false,
        });
        for (value, pointer, message) in [
            (json!({}), "", "the value lacks the required property \"path\""),
            (json!([]), "", "the value must be an object, not an array"),
            (
                json!({"path": "x", "limit": "ten"}),
                "/limit",
                "\"limit\" must be an integer, not the string \"ten\"",
            ),
            (
                json!({"path": "x", "limit": 0}),
                "/limit",
                "\"limit\" is refused: it is less than the minimum of 1",
            ),
            (
                json!({"path": "x", "mode": "csv"}),
                "/mode",
                "\"mode\" must be one of \"text\", \"binary\", not the string \"csv\"",
            ),
            (
                json!({"path": "x", "tags": ["a", 1]}),
                "/tags/1",
                "item 1 of \"tags\" must be a string, not 1",
            ),
            (json!({"path": "x", "a/b": 1}), "/a~1b", "\"a/b\" must be a null or boolean, not 1"),
            (json!({"path": "x", "patch": 1}), "", "the value has unknown properties: patch"),
            (
                json!({"path": "x", "when": {}}),
                "/when",
                "\"when\" matches none of the forms it may have: \"when\" must be null, not an object; or \"when\" lacks the required property \"at\"",
            ),
            (
                json!({"path": "x", "name": "UPPER"}),
                "/name",
                "\"name\" is refused: it does not match \"^[a-z]+$\"",
            ),
        ] {
            let found = violation(&schema, &value);
            assert_eq!((found.pointer.as_str(), found.message.as_str()), (pointer, message));
        }
    }

    #[test]
    fn a_long_value_is_not_repeated_in_full() {
        let schema = json!({"properties": {"n": {"type": "integer"}, "p": {"pattern": "^a$"}}});
        let long = "é".repeat(100_000);
        for value in [json!({"n": long}), json!({"p": long}), json!({"n": [long]})] {
            let found = violation(&schema, &value);
            assert!(found.message.len() < 500, "{} bytes", found.message.len());
        }
    }

    #[test]
    fn a_pattern_that_would_backtrack_or_take_much_memory_is_refused() {
        for pattern in [r"(?=a)b", r"(a)\1", r"(?:\pL{200}){200}"] {
            let error = compile(&json!({"pattern": pattern})).err().expect("refused");
            assert!(matches!(error, SchemaError::Invalid { .. }), "{pattern}: {error:?}");
        }
    }

    /// Exponential for a backtracking engine: this would not end.
    #[test]
    fn a_pattern_is_linear_in_its_input() {
        let schema = compile(&json!({"pattern": "^(a+)+$"})).expect("fine here");
        let value = json!(format!("{}!", "a".repeat(100_000)));
        assert!(schema.check(&value).is_err());
    }

    #[test]
    fn the_patterns_of_a_component_are_counted_over_all_of_its_schemas() {
        let mut budget = PatternBudget::default();
        let schema = json!({"allOf": vec![json!({"pattern": "a"}); 40]});
        assert!(Schema::compile(&schema, &mut budget).is_ok());
        let error = Schema::compile(&schema, &mut budget).err();
        assert_eq!(error, Some(SchemaError::TooManyPatterns { max: PATTERNS_MAX }));
    }

    #[test]
    fn what_is_no_schema_is_refused_with_its_place() {
        let error = compile(&json!({"properties": {"a": {"type": "text"}}})).err();
        let Some(SchemaError::Invalid { pointer, .. }) = error else { panic!("{error:?}") };
        assert_eq!(pointer, "/properties/a/type");
        let long = "x".repeat(SCHEMA_MAX_BYTES);
        let error = compile(&json!({"description": long})).err();
        assert!(matches!(error, Some(SchemaError::TooLarge { .. })), "{error:?}");
    }

    #[test]
    fn nothing_is_fetched_for_a_schema() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        listener.set_nonblocking(true).expect("non-blocking");
        let remote = format!("http://{address}/schema.json");
        assert!(compile(&json!({"$ref": remote})).is_err());
        let dialect = compile(&json!({"$schema": remote})).err();
        assert!(matches!(dialect, Some(SchemaError::Dialect { .. })), "{dialect:?}");
        for known in DIALECTS {
            compile(&json!({"$schema": format!("{known}#"), "type": "object"})).expect(known);
        }
        let accepted = listener.accept().map_err(|error| error.kind());
        assert!(matches!(accepted, Err(std::io::ErrorKind::WouldBlock)), "somebody called");
    }
}
