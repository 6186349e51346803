//! Text with places to fill in: `You said {{last_user}}`.
//!
//! What can stand between the braces is a closed list, checked where the script is parsed; what
//! the request lacks is filled in as nothing. Deliberately absent: conditions, loops and
//! arithmetic. A second rule is easier to read than an expression.

use regex::Regex;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::pattern::compile;
use crate::prompt::Prompt;

/// What the longest text that a template makes may have, in bytes.
pub(crate) const RENDERED_MAX_BYTES: usize = 16 * 1024 * 1024;

/// What a template is filled in from.
pub(crate) struct Facts<'a> {
    pub(crate) prompt: &'a Prompt,
    /// Of the rule's condition: the whole match, then its groups.
    pub(crate) captures: Vec<String>,
    /// By name: found in the prompt.
    pub(crate) variables: Vec<(String, String)>,
    /// How often the rule was used, this time included.
    pub(crate) call: u64,
}

/// Text with places.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Template(Vec<Piece>);

#[derive(Clone, Debug)]
enum Piece {
    Text(String),
    Place(Place),
}

#[derive(Clone, Debug)]
enum Place {
    LastUser,
    LastMessage,
    System,
    Model,
    Call,
    ToolName,
    /// All of the newest result, or what a JSON pointer finds in it.
    ToolResult(Option<String>),
    /// The first offered tool whose name matches.
    Tool(Regex),
    Variable(String),
    Capture(usize),
    Repeat(usize, String),
    /// The first characters of what another place gives.
    First(usize, Box<Place>),
}

const PLACES: &str = "last_user, last_message, system, model, call, tool_name, tool_result, \
    tool_result /POINTER, tool REGEX, variable NAME, repeat N TEXT, first N PLACE, and the number of a group";

impl Template {
    /// The highest number of a group that it uses.
    pub(crate) fn highest_capture(&self) -> usize {
        let captures = self.places().filter_map(|place| match place {
            Place::Capture(number) => Some(*number),
            _ => None,
        });
        captures.max().unwrap_or(0)
    }

    /// The names of the variables that it uses.
    pub(crate) fn variables(&self) -> impl Iterator<Item = &str> {
        self.places().filter_map(|place| match place {
            Place::Variable(name) => Some(name.as_str()),
            _ => None,
        })
    }

    fn places(&self) -> impl Iterator<Item = &Place> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Text(_) => None,
            Piece::Place(Place::First(_, place)) => Some(&**place),
            Piece::Place(place) => Some(place),
        })
    }

    /// The text, cut at [`RENDERED_MAX_BYTES`].
    pub(crate) fn render(&self, facts: &Facts<'_>) -> String {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(literal) => push(&mut text, literal),
                Piece::Place(place) => place.fill(facts, &mut text),
            }
        }
        text
    }
}

impl Place {
    fn parse(inside: &str) -> Result<Self, String> {
        let (word, rest) = match inside.split_once(char::is_whitespace) {
            Some((word, rest)) => (word, rest.trim()),
            None => (inside, ""),
        };
        Ok(match (word, rest) {
            ("last_user", "") => Self::LastUser,
            ("last_message", "") => Self::LastMessage,
            ("system", "") => Self::System,
            ("model", "") => Self::Model,
            ("call", "") => Self::Call,
            ("tool_name", "") => Self::ToolName,
            ("tool_result", "") => Self::ToolResult(None),
            ("tool_result", pointer) if pointer.starts_with('/') => {
                Self::ToolResult(Some(pointer.to_owned()))
            }
            ("tool", regex) if !regex.is_empty() => Self::Tool(compile(regex)?),
            ("variable", name) if !name.is_empty() => Self::Variable(name.to_owned()),
            ("repeat", rest) => Self::repeat(rest)?,
            ("first", rest) => Self::first(rest)?,
            (number, "") if number.parse::<usize>().is_ok() => {
                Self::Capture(number.parse().unwrap_or_default())
            }
            _ => return Err(format!("unknown {{{{{inside}}}}}: there are {PLACES}")),
        })
    }

    fn repeat(rest: &str) -> Result<Self, String> {
        let (count, text) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let count: usize =
            count.parse().map_err(|_| format!("{count:?} is no count of repeats"))?;
        if text.is_empty() || count.saturating_mul(text.len()) > RENDERED_MAX_BYTES {
            return Err(format!("repeat 1 to {RENDERED_MAX_BYTES} bytes of text: repeat N TEXT"));
        }
        Ok(Self::Repeat(count, text.to_owned()))
    }

    fn first(rest: &str) -> Result<Self, String> {
        let (count, place) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let count = count.parse().map_err(|_| format!("{count:?} is no count of characters"))?;
        // One level: what is written by hand needs no more, and a script cannot nest for ever.
        let place = place.trim();
        if place.starts_with("first") {
            return Err("`first` within `first`: keep the smaller one".to_owned());
        }
        Ok(Self::First(count, Box::new(Self::parse(place)?)))
    }

    fn fill(&self, facts: &Facts<'_>, text: &mut String) {
        let prompt = facts.prompt;
        match self {
            Self::LastUser => push(text, prompt.last_user()),
            Self::LastMessage => push(text, prompt.last_message()),
            Self::System => push(text, &prompt.system()),
            Self::Model => push(text, &prompt.model),
            Self::Call => push(text, &facts.call.to_string()),
            Self::ToolName => push(text, prompt.newest_result().map_or("", |(name, _)| name)),
            Self::ToolResult(pointer) => {
                let result = prompt.newest_result().map_or("", |(_, content)| content);
                match pointer {
                    None => push(text, result),
                    Some(pointer) => push(text, &within(result, pointer)),
                }
            }
            Self::Tool(regex) => push(text, prompt.offered(regex).unwrap_or_default()),
            Self::Variable(name) => {
                let found = facts.variables.iter().find(|(known, _)| known == name);
                push(text, found.map_or("", |(_, value)| value));
            }
            Self::Capture(number) => push(text, facts.captures.get(*number).map_or("", |it| it)),
            Self::First(count, place) => {
                let mut all = String::new();
                place.fill(facts, &mut all);
                let end = all.char_indices().nth(*count).map_or(all.len(), |(end, _)| end);
                push(text, &all[..end]);
            }
            Self::Repeat(count, part) => {
                for _ in 0..*count {
                    push(text, part);
                }
            }
        }
    }
}

/// Appends as much of `part` as there is room for.
fn push(text: &mut String, part: &str) {
    let room = RENDERED_MAX_BYTES.saturating_sub(text.len());
    text.push_str(&part[..part.floor_char_boundary(room)]);
}

/// What a JSON pointer (RFC 6901) finds in a text that is JSON; text without quotes.
fn within(json: &str, pointer: &str) -> String {
    let Ok(document) = serde_json::from_str::<Value>(json) else { return String::new() };
    match document.pointer(pointer) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

impl TryFrom<String> for Template {
    type Error = String;

    fn try_from(source: String) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = source.as_str();
        while let Some((before, after)) = rest.split_once("{{") {
            if let Some(before) = before.strip_suffix('\\') {
                pieces.push(Piece::Text(format!("{before}{{{{")));
                rest = after;
                continue;
            }
            let Some((inside, following)) = after.split_once("}}") else {
                return Err(format!(
                    "\"{{{{{after}\" has no end: close it with }}}}, or write \\{{{{ for two braces"
                ));
            };
            pieces.push(Piece::Text(before.to_owned()));
            pieces.push(Piece::Place(Place::parse(inside.trim())?));
            rest = following;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Self(pieces))
    }
}

/// JSON whose texts are templates.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Value")]
pub(crate) enum JsonTemplate {
    Text(Template),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
    /// A number, a truth value or null.
    Plain(Value),
}

impl Default for JsonTemplate {
    fn default() -> Self {
        Self::Object(Vec::new())
    }
}

impl JsonTemplate {
    pub(crate) fn render(&self, facts: &Facts<'_>) -> Value {
        match self {
            Self::Text(text) => Value::String(text.render(facts)),
            Self::List(list) => list.iter().map(|it| it.render(facts)).collect(),
            Self::Object(entries) => {
                let entries = entries.iter().map(|(key, it)| (key.clone(), it.render(facts)));
                Value::Object(entries.collect::<Map<_, _>>())
            }
            Self::Plain(value) => value.clone(),
        }
    }

    /// Calls `look` with each template in it.
    pub(crate) fn each<'a>(&'a self, look: &mut dyn FnMut(&'a Template)) {
        match self {
            Self::Text(text) => look(text),
            Self::List(list) => list.iter().for_each(|it| it.each(look)),
            Self::Object(entries) => entries.iter().for_each(|(_, it)| it.each(look)),
            Self::Plain(_) => {}
        }
    }
}

impl TryFrom<Value> for JsonTemplate {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        Ok(match value {
            Value::String(text) => Self::Text(Template::try_from(text)?),
            Value::Array(list) => {
                Self::List(list.into_iter().map(Self::try_from).collect::<Result<_, _>>()?)
            }
            Value::Object(entries) => Self::Object(
                entries
                    .into_iter()
                    .map(|(key, value)| Ok((key, Self::try_from(value)?)))
                    .collect::<Result<_, String>>()?,
            ),
            plain => Self::Plain(plain),
        })
    }
}
