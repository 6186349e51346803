//! Small conversions to and from JSON that every wire needs.

use foreshore_domain::inference::ToolSpec;
use serde_json::{Map, Value, json};

use crate::failure::Failure;

/// A JSON object from text. What is none is wrapped in one: a model may have written anything,
/// and the conversation has to go on.
pub(crate) fn object_or_wrapped(text: &str) -> Value {
    match serde_json::from_str::<Value>(text) {
        Ok(value @ Value::Object(_)) => value,
        Ok(Value::Null) => Value::Object(Map::new()),
        Ok(value) => json!({ "arguments": value }),
        Err(_) if text.trim().is_empty() => Value::Object(Map::new()),
        Err(_) => json!({ "arguments": text }),
    }
}

/// The number as people write it: 0.7, not 0.699999988079071.
pub(super) fn decimal(value: f32) -> Value {
    value.to_string().parse::<f64>().map_or(Value::Null, |value| json!(value))
}

/// A JSON Schema from text.
///
/// # Errors
/// [`Failure::Rejected`] that names where it is.
pub(super) fn schema(text: &str, of: &str) -> Result<Value, Failure> {
    match serde_json::from_str::<Value>(text) {
        Ok(value @ (Value::Object(_) | Value::Bool(_))) => Ok(value),
        Ok(_) => Err(Failure::Rejected { message: format!("the schema of {of} is no object") }),
        Err(error) => {
            let message = format!("the schema of {of} is no JSON: {error}");
            Err(Failure::Rejected { message })
        }
    }
}

/// A tool as both wires write it.
///
/// # Errors
/// [`Failure::Rejected`]: its schema is none.
pub(super) fn tool(tool: &ToolSpec) -> Result<Value, Failure> {
    let mut function = Map::new();
    function.insert("name".to_owned(), json!(tool.name));
    if let Some(description) = &tool.description {
        function.insert("description".to_owned(), json!(description));
    }
    let parameters = schema(&tool.parameters_schema, &format!("tool \"{}\"", tool.name))?;
    function.insert("parameters".to_owned(), parameters);
    Ok(json!({ "type": "function", "function": function }))
}
