//! What `#[tool]` makes of a function.
//!
//! The attribute writes an implementation of [`Tool`] on a type with the function's own name;
//! everything that does not depend on the function is here rather than in generated code, so that
//! a component with many tools stays small.

use serde::de::DeserializeOwned;

use crate::Error;
use crate::bindings::exports::foreshore::tool::tool::{Definition, Hints, Outcome};

/// A function as a tool. Implemented by `#[tool]`, on a type of the function's own name.
pub trait Tool {
    /// The name within the component.
    const NAME: &'static str;

    /// Name, texts, schemas and hints. Only called when a component is loaded: nothing of it is
    /// built on a call.
    fn definition() -> Definition;

    /// Reads the arguments, runs the function, writes the result.
    ///
    /// # Errors
    /// What the function returns, and [`Error::Invalid`] for arguments that do not match.
    fn call(arguments: &str) -> Result<Outcome, Error>;
}

/// The parts of a definition that are known when the tool is compiled.
#[doc(hidden)]
pub struct Described {
    pub name: &'static str,
    pub title: Option<&'static str>,
    pub description: &'static str,
    pub hints: Hints,
}

#[doc(hidden)]
pub fn definition(
    described: Described,
    input_schema: String,
    output_schema: Option<String>,
) -> Definition {
    Definition {
        name: described.name.to_owned(),
        title: described.title.map(str::to_owned),
        description: described.description.to_owned(),
        input_schema,
        output_schema,
        hints: described.hints,
    }
}

/// Reads the arguments. The host has checked them against the schema, so a failure here means a
/// type that takes less than its schema says; it is the caller's to know all the same.
#[doc(hidden)]
pub fn parse_arguments<T: DeserializeOwned>(arguments: &str) -> Result<T, Error> {
    serde_json::from_str(arguments).map_err(|error| Error::invalid("", error.to_string()))
}
