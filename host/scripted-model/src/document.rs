//! The smallest document that a JSON schema takes, as far as a schema for answers of models goes.
//!
//! It knows types, `required`, `enum`, `const`, `default`, bounds of numbers and lengths, the
//! first of `anyOf`, `oneOf` and `allOf`, and `$ref` within the schema. Deliberately absent:
//! `pattern`, `format`, `not` and conditions; a rule with `json` says those better.

use serde_json::{Map, Value, json};

/// How deep a document goes; a schema that contains itself ends there.
const DEPTH_MAX: usize = 16;
/// How many elements or characters a bound may ask for.
const LENGTH_MAX: u64 = 1000;

/// A document for `schema`.
pub(crate) fn smallest(schema: &Value) -> Value {
    document(schema, schema, DEPTH_MAX)
}

fn document(schema: &Value, root: &Value, depth: usize) -> Value {
    let Some(depth) = depth.checked_sub(1) else { return Value::Null };
    for field in ["const", "default"] {
        if let Some(value) = schema.get(field) {
            return value.clone();
        }
    }
    if let Some(value) = schema.pointer("/enum/0") {
        return value.clone();
    }
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let target = reference.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
        return target.map_or(Value::Null, |target| document(target, root, depth));
    }
    for field in ["/anyOf/0", "/oneOf/0", "/allOf/0"] {
        if let Some(branch) = schema.pointer(field) {
            return document(branch, root, depth);
        }
    }
    match kind(schema) {
        "object" => object(schema, root, depth),
        "array" => array(schema, root, depth),
        "string" => text(schema),
        "integer" | "number" => number(schema),
        "boolean" => json!(false),
        _ => Value::Null,
    }
}

fn kind(schema: &Value) -> &str {
    let kind = match schema.get("type") {
        Some(Value::Array(kinds)) => kinds.first(),
        kind => kind,
    };
    match kind.and_then(Value::as_str) {
        Some(kind) => kind,
        None if schema.get("properties").is_some() => "object",
        None if schema.get("items").is_some() => "array",
        None => "object",
    }
}

fn object(schema: &Value, root: &Value, depth: usize) -> Value {
    let required = schema.get("required").and_then(Value::as_array);
    let names = required.into_iter().flatten().filter_map(Value::as_str);
    let fields = names.map(|name| {
        let of = schema.get("properties").and_then(|it| it.get(name));
        (name.to_owned(), of.map_or(Value::Null, |of| document(of, root, depth)))
    });
    Value::Object(fields.collect::<Map<_, _>>())
}

fn array(schema: &Value, root: &Value, depth: usize) -> Value {
    // One bound for all levels together: lists of lists of lists stay small.
    let most = if depth + 2 >= DEPTH_MAX { LENGTH_MAX } else { 4 };
    let count = schema.get("minItems").and_then(Value::as_u64).unwrap_or(0).min(most);
    let element = schema.get("items").map_or(Value::Null, |of| document(of, root, depth));
    (0..count).map(|_| element.clone()).collect()
}

fn text(schema: &Value) -> Value {
    let count = schema.get("minLength").and_then(Value::as_u64).unwrap_or(0).min(LENGTH_MAX);
    Value::String((0..count).map(|_| 'x').collect())
}

fn number(schema: &Value) -> Value {
    if let Some(least) = schema.get("minimum").filter(|it| it.is_number()) {
        return least.clone();
    }
    if let Some(above) = schema.get("exclusiveMinimum").and_then(Value::as_i64) {
        return json!(above.saturating_add(1));
    }
    match schema.get("maximum").filter(|it| it.as_f64().is_some_and(|most| most < 0.0)) {
        Some(most) => most.clone(),
        None => json!(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_has_what_is_required() {
        let schema = json!({
            "type": "object",
            "properties": {
                "verdict": { "enum": ["yes", "no"] },
                "score": { "type": "integer", "minimum": 1 },
                "why": { "type": "string", "minLength": 3 },
                "parts": { "type": "array", "minItems": 2, "items": { "$ref": "#/$defs/part" } },
                "note": { "type": "string" }
            },
            "required": ["verdict", "score", "why", "parts"],
            "$defs": { "part": { "type": "boolean" } }
        });
        let expected =
            json!({ "verdict": "yes", "score": 1, "why": "xxx", "parts": [false, false] });
        assert_eq!(smallest(&schema), expected);
    }

    #[test]
    fn a_schema_that_contains_itself_ends() {
        let schema = json!({
            "properties": { "next": { "$ref": "#" } }, "required": ["next"]
        });
        let text = smallest(&schema).to_string();
        assert!(text.len() < 1000, "{text}");
    }
}
