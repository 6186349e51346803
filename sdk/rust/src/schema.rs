//! JSON Schemas from types, in the form the host and the models want them: 2020-12, no
//! references where there is no recursion, no `$schema`, and no argument that is not named.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value};

/// The schema of a tool's arguments.
///
/// # Panics
/// For a type whose values are no JSON objects. It happens when the component is loaded, at the
/// latest in the author's first test, and names the tool.
#[doc(hidden)]
pub fn input_schema<T: JsonSchema>(tool: &str) -> String {
    let mut schema = settings().for_deserialize().into_generator().into_root_schema_for::<T>();
    let object = schema.ensure_object();
    assert!(
        are_objects(object),
        "tool {tool}: its one argument of type {} is taken as the whole arguments object, but \
         values of that type are no objects; put it into a struct",
        T::schema_name()
    );
    // A choice between shapes states its type in the shapes alone; the contract wants it outside.
    object.insert("type".to_owned(), Value::from("object"));
    // A choice between shapes names its properties in the shapes, and a flattened map takes any:
    // there, closing the outer object would refuse what the type accepts.
    let open = ["anyOf", "oneOf", "allOf", "$ref", "additionalProperties", "unevaluatedProperties"];
    if !open.iter().any(|key| object.contains_key(*key)) {
        object.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    // A model reads the tool's description; that of the struct would say the same again.
    object.remove("description");
    text(schema)
}

/// The schema of a tool's structured result.
#[doc(hidden)]
pub fn output_schema<T: JsonSchema>() -> String {
    text(settings().for_serialize().into_generator().into_root_schema_for::<T>())
}

/// The schema of a value that a model or a person is asked for.
#[cfg(feature = "agent")]
pub(crate) fn format_schema<T: JsonSchema>() -> String {
    text(settings().for_deserialize().into_generator().into_root_schema_for::<T>())
}

/// Whether all values of the schema are objects.
fn are_objects(schema: &Map<String, Value>) -> bool {
    let all = |shapes: &Value| {
        let shapes = shapes.as_array().map_or(&[][..], Vec::as_slice);
        !shapes.is_empty() && shapes.iter().all(|shape| shape.as_object().is_some_and(are_objects))
    };
    match schema.get("type") {
        Some(kind) => kind == "object",
        None => ["oneOf", "anyOf"].iter().any(|key| schema.get(*key).is_some_and(all)),
    }
}

fn settings() -> SchemaSettings {
    SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    })
}

fn text(mut schema: Schema) -> String {
    schema.remove("title");
    schema.to_value().to_string()
}
