//! What `#[tool]` makes of functions, seen on the host: definitions, argument reading, results.

use std::collections::BTreeMap;

use foreshore_sdk::{ContentBody, Error, Hints, JsonSchema, Outcome, Rendered, Tool, tool};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What to look for.
#[derive(Deserialize, JsonSchema)]
struct SearchArgs {
    /// A regular expression.
    pattern: String,
    /// Where to look.
    #[serde(default = "root")]
    path: String,
}

fn root() -> String {
    "/".to_owned()
}

#[derive(Debug, Serialize, JsonSchema)]
struct Found {
    /// How many lines match.
    count: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<String>,
}

/// Search files by regular
/// expression. Returns how many lines match.
///
/// Use it to find where a thing is.
#[tool(name = "search-files", read_only, idempotent)]
fn search(args: SearchArgs) -> Result<Found, Error> {
    if args.pattern.is_empty() {
        return Err(Error::invalid("/pattern", "is empty"));
    }
    Ok(Found { count: 1, first: Some(args.path) })
}

/// Count words.
#[tool]
fn word_count(
    /// The text to count in.
    text: String,
    min: Option<usize>,
    #[serde(default)]
    #[schemars(extend("examples" = ["a"]))]
    mut without: Vec<String>,
) -> String {
    without.sort();
    let words = text.split(' ').filter(|word| without.binary_search(&(*word).to_owned()).is_err());
    words.filter(|word| word.len() >= min.unwrap_or(1)).count().to_string()
}

/// Find, and say it in words.
#[tool]
fn told() -> Result<Rendered<Found>, Error> {
    Ok(Rendered::new(Found { count: 2, first: None }, "two"))
}

/// Do nothing at all.
#[tool(destructive, open_world, title = "Rest")]
fn nothing() {}

/// Say two things.
#[tool]
fn both() -> Result<Outcome, std::io::Error> {
    Ok(Outcome::text("one").with("two").with_structured(&json!({"n": 2})).expect("JSON"))
}

/// Fail.
#[tool]
fn fail() -> Result<(), std::io::Error> {
    Err(std::io::Error::from(std::io::ErrorKind::NotFound))
}

type Text = String;

/// Go by another name.
#[tool]
fn alias() -> Text {
    "text".to_owned()
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Large,
}

/// Take one enum; the doc comment makes it a property.
#[tool]
fn one_enum(
    /// Which.
    kind: Kind,
) -> String {
    match kind {
        Kind::Large => "large".to_owned(),
    }
}

/// Take an enum as the whole, which cannot be.
#[tool]
fn not_an_object(kind: Kind) -> String {
    one_enum(kind)
}

#[derive(Deserialize, JsonSchema)]
struct Open {
    known: u8,
    #[serde(flatten)]
    rest: BTreeMap<String, u8>,
}

/// Take any property.
#[tool]
fn open(arguments: Open) -> String {
    format!("{} {}", arguments.known, arguments.rest.len())
}

#[derive(Deserialize, JsonSchema)]
#[serde(tag = "shape", rename_all = "lowercase")]
enum Shape {
    Circle { radius: f64 },
    Square { side: f64 },
}

/// Take a choice between shapes.
#[tool]
fn area(shape: Shape) -> Result<String, String> {
    Ok(match shape {
        Shape::Circle { radius } => format!("{:.1}", radius * radius * 3.0),
        Shape::Square { side } => format!("{:.1}", side * side),
    })
}

foreshore_sdk::export!(search, word_count, nothing, both, fail, alias, one_enum, open, area);

fn input_schema<T: Tool>() -> Value {
    serde_json::from_str(&T::definition().input_schema).expect("a schema")
}

#[test]
fn the_doc_comment_is_title_and_description() {
    let definition = search::definition();
    assert_eq!(definition.name, "search-files");
    assert_eq!(definition.title.as_deref(), Some("Search files by regular expression"));
    assert_eq!(
        definition.description,
        "Search files by regular expression. Returns how many lines match.\n\nUse it to find \
         where a thing is."
    );
    assert_eq!(nothing::definition().title.as_deref(), Some("Rest"));
}

#[test]
fn hints_are_those_written_and_no_others() {
    assert_eq!(search::definition().hints, Hints::READ_ONLY | Hints::IDEMPOTENT);
    assert_eq!(nothing::definition().hints, Hints::DESTRUCTIVE | Hints::OPEN_WORLD);
    assert_eq!(word_count::definition().hints, Hints::empty());
}

#[test]
fn a_struct_is_the_whole_arguments_object() {
    let expected = json!({
        "type": "object",
        "properties": {
            "pattern": {"type": "string", "description": "A regular expression."},
            "path": {"type": "string", "description": "Where to look.", "default": "/"},
        },
        "required": ["pattern"],
        "additionalProperties": false,
    });
    assert_eq!(input_schema::<search>(), expected);
    let output: Value =
        serde_json::from_str(&search::definition().output_schema.expect("structured"))
            .expect("a schema");
    assert_eq!(output["properties"]["count"]["description"], "How many lines match.");
    assert_eq!(output["required"], json!(["count"]));
}

#[test]
fn several_arguments_are_its_properties() {
    let schema = input_schema::<word_count>();
    assert_eq!(schema["properties"]["text"]["description"], "The text to count in.");
    assert_eq!(schema["properties"]["without"]["examples"], json!(["a"]));
    assert_eq!(schema["required"], json!(["text"]));
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(input_schema::<nothing>(), json!({"type": "object", "additionalProperties": false}));
    assert_eq!(input_schema::<one_enum>()["properties"]["kind"]["enum"], json!(["large"]));
}

#[test]
fn a_schema_refuses_nothing_that_the_type_accepts() {
    assert_eq!(input_schema::<open>()["additionalProperties"]["type"], "integer");
    assert!(open::call(r#"{"known": 1, "other": 2}"#).is_ok());
    let shapes = input_schema::<area>();
    assert_eq!(shapes["type"], "object");
    assert_eq!(shapes["oneOf"].as_array().map(Vec::len), Some(2));
    assert_eq!(shapes.get("additionalProperties"), None);
    assert!(area::call(r#"{"shape": "square", "side": 2}"#).is_ok());
}

#[test]
#[should_panic(expected = "tool not_an_object: its one argument of type Kind")]
fn a_whole_that_is_no_object_is_told_to_the_author() {
    let _ = not_an_object::definition();
}

#[test]
fn a_call_reads_arguments_and_writes_the_result() {
    let outcome = search::call(r#"{"pattern": "x"}"#).expect("a result");
    assert_eq!(outcome.structured.as_deref(), Some(r#"{"count":1,"first":"/"}"#));
    assert_eq!(outcome.content[0].body, ContentBody::Json(r#"{"count":1,"first":"/"}"#.to_owned()));
    let text = word_count::call(r#"{"text": "a bb ccc", "without": ["ccc"]}"#).expect("a result");
    assert_eq!(text, Outcome::text("2"));
    assert_eq!(nothing::call("{}").expect("a result"), Outcome::empty());
    assert_eq!(alias::call("{}").expect("a result"), Outcome::text("text"));
    assert_eq!(alias::definition().output_schema, None);
    let both = both::call("{}").expect("a result");
    assert_eq!((both.content.len(), both.structured.as_deref()), (2, Some(r#"{"n":2}"#)));
}

#[test]
fn an_error_keeps_its_kind() {
    let invalid = search::call(r#"{"pattern": ""}"#).expect_err("empty");
    assert_eq!(invalid, Error::invalid("/pattern", "is empty"));
    assert!(matches!(fail::call("{}"), Err(Error::NotFound(_))));
    for wrong in ["", "[]", r#"{"pattern": 1}"#, "{}"] {
        assert!(matches!(search::call(wrong), Err(Error::Invalid { .. })), "{wrong}");
    }
    assert!(matches!(nothing::call(r#"{"extra": 1}"#), Err(Error::Invalid { .. })));
}

#[test]
fn a_value_with_a_text_of_its_own_keeps_its_schema() {
    let schema = told::definition().output_schema.expect("a schema");
    assert_eq!(Some(schema), search::definition().output_schema);
    let outcome = told::call("{}").expect("a result");
    assert_eq!(outcome.structured.as_deref(), Some("{\"count\":2}"));
    assert_eq!(Outcome { structured: None, ..outcome }, Outcome::text("two"));
}
