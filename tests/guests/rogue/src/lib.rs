//! A guest that tries what no guest should get away with, one tool per attempt, and tells what
//! it saw. It holds to no convention of the SDK: the raw bindings let it ask for things that the
//! standard library would refuse to ask for.

mod files;
mod host;
mod sandbox;

wit_bindgen::generate!({
    path: "../../../wit",
    world: "tool",
    generate_all,
});

use exports::foreshore::tool::tool::{Definition, Guest, Hints, Outcome};
use foreshore::types::types::{Content, ContentBody, Error, InvalidInput};
use serde_json::{Value, json};

/// What an attempt gives: JSON for the test, or the guest's own failure.
type Seen = Result<Value, String>;
type Attempt = fn(&Value) -> Seen;

const ATTEMPTS: &[(&str, Attempt)] = &[
    ("echo", |arguments| Ok(arguments.clone())),
    ("spin-forever", sandbox::spin_forever),
    ("sleep-forever", sandbox::sleep_forever),
    ("eat-memory", sandbox::eat_memory),
    ("recurse", sandbox::recurse),
    ("panic", sandbox::panic),
    ("exit", sandbox::exit),
    ("huge-result", sandbox::huge_result),
    ("deep-result", sandbox::deep_result),
    ("remember", sandbox::remember),
    ("find-in-memory", sandbox::find_in_memory),
    ("version-marker", sandbox::version_marker),
    ("flood-log", host::flood_log),
    ("flood-stdout", host::flood_stdout),
    ("flood-progress", host::flood_progress),
    ("big-string", host::big_string),
    ("random", host::random),
    ("leak-handles", host::leak_handles),
    ("poll", host::poll),
    ("zero-length-writes", host::zero_length_writes),
    ("clock-steps", host::clock_steps),
    ("environment", host::environment),
    ("connect", host::connect),
    ("resolve", host::resolve),
    ("claim-denied", |arguments| {
        Err(format!("claim:{}", arguments["code"].as_str().unwrap_or("x")))
    }),
    ("mounts", files::mounts),
    ("read", files::read),
    ("write", files::write),
    ("append-many", files::append_many),
    ("create-many", files::create_many),
    ("list", files::list),
    ("stat", files::stat),
    ("remove", files::remove),
    ("make-directory", files::make_directory),
    ("rename", files::rename),
    ("link", files::link),
    ("symlink", files::symlink),
    ("set-times", files::set_times),
    ("raw-open", files::raw_open),
];

struct Rogue;

impl Guest for Rogue {
    fn definitions() -> Vec<Definition> {
        ATTEMPTS
            .iter()
            .map(|(name, _)| Definition {
                name: (*name).to_owned(),
                title: None,
                description: format!("Tries to {name}."),
                input_schema: json!({"type": "object"}).to_string(),
                output_schema: None,
                hints: Hints::empty(),
            })
            .collect()
    }

    fn call(name: String, arguments: String) -> Result<Outcome, Error> {
        let arguments: Value = serde_json::from_str(&arguments).map_err(|error| {
            Error::Invalid(InvalidInput { pointer: String::new(), message: error.to_string() })
        })?;
        let (_, attempt) = ATTEMPTS
            .iter()
            .find(|(known, _)| *known == name)
            .ok_or_else(|| Error::NotFound(name.clone()))?;
        match attempt(&arguments) {
            Ok(seen) => Ok(Outcome {
                content: vec![Content {
                    body: ContentBody::Json(seen.to_string()),
                    annotations: None,
                }],
                structured: Some(seen.to_string()),
                is_error: false,
            }),
            // Denials that no host ever made.
            Err(text) if text.starts_with("claim:") => {
                Err(Error::Denied(foreshore::types::types::Denial {
                    code: text["claim:".len()..].to_owned(),
                    subject: arguments["subject"].as_str().unwrap_or("/nowhere").to_owned(),
                }))
            }
            Err(text) => Err(Error::Failed(text)),
        }
    }
}

export!(Rogue);

/// A number among the arguments.
fn number(arguments: &Value, name: &str, default: u64) -> u64 {
    arguments[name].as_u64().unwrap_or(default)
}

/// A text among the arguments.
fn text<'a>(arguments: &'a Value, name: &str) -> &'a str {
    arguments[name].as_str().unwrap_or_default()
}
