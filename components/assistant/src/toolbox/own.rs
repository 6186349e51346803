//! The assistant's own tools: variables of the conversation, and memory where it was granted.

use foreshore_sdk::Error;
use foreshore_sdk::agent::inference::ToolDefinition;
use foreshore_sdk::agent::variables;
use foreshore_sdk::memory::{Granted, Namespace, Put, Query};
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::text::{cut, head};

/// The most hits of a recall.
const HITS: u32 = 8;

/// The assistant's own tools.
#[derive(Debug)]
pub(super) struct Own {
    readable: Vec<String>,
    writable: Vec<String>,
}

/// Arguments of `variable_get`.
#[derive(Deserialize, JsonSchema)]
struct VariableGet {
    /// Which; without it you get the names of all.
    #[serde(default)]
    name: Option<String>,
    /// JSON Pointer to a part, such as /rows/0.
    #[serde(default)]
    pointer: String,
    /// From which byte on.
    #[serde(default)]
    offset: usize,
    /// At most so many bytes.
    #[serde(default)]
    length: Option<usize>,
    /// An older version, from 1.
    #[serde(default)]
    version: Option<u64>,
}

/// Arguments of `variable_set`.
#[derive(Deserialize, JsonSchema)]
struct VariableSet {
    /// 1 to 64 of a-z, 0-9, - and _.
    name: String,
    /// Any JSON value.
    value: Value,
}

/// Arguments of `recall`.
#[derive(Deserialize, JsonSchema)]
struct Recall {
    /// Words to look for.
    #[serde(default)]
    query: Option<String>,
    /// The key of one record, for the whole of it.
    #[serde(default)]
    key: Option<String>,
    /// Which namespace.
    #[serde(default)]
    namespace: Option<String>,
}

/// Arguments of `remember`.
#[derive(Deserialize, JsonSchema)]
struct Remember {
    /// What to find it by, such as project/reef/deadline.
    key: String,
    /// Any JSON value; say it so that it is understood without this conversation.
    value: Value,
    /// Which namespace.
    #[serde(default)]
    namespace: Option<String>,
}

impl Own {
    pub(super) fn new(namespaces: &[Granted]) -> Self {
        let names = |granted: &&Granted| granted.pattern.clone();
        Self {
            readable: namespaces.iter().map(|granted| names(&granted)).collect(),
            writable: namespaces.iter().filter(|one| one.writable).map(|one| names(&one)).collect(),
        }
    }

    /// Whether there is any memory.
    pub(super) fn remembers(&self) -> bool {
        !self.readable.is_empty()
    }

    pub(super) fn knows(&self, name: &str) -> bool {
        self.definitions().iter().any(|tool| tool.name == name)
    }

    pub(super) fn definitions(&self) -> Vec<ToolDefinition> {
        let mut definitions = vec![
            tool::<VariableGet>(
                "variable_get",
                "Read a variable of this conversation, or a part of a big one.".to_owned(),
            ),
            tool::<VariableSet>(
                "variable_set",
                "Keep a value under a name for the rest of this conversation: a fact, a plan, a \
                 draft. Old messages are forgotten, variables are not."
                    .to_owned(),
            ),
        ];
        if !self.readable.is_empty() {
            definitions.push(tool::<Recall>(
                "recall",
                format!(
                    "Look into memory, which lasts longer than this conversation. Each record says \
                     where it came from. Namespaces: {}.",
                    self.readable.join(", ")
                ),
            ));
        }
        if !self.writable.is_empty() {
            definitions.push(tool::<Remember>(
                "remember",
                format!(
                    "Keep a value for other conversations. Namespaces: {}.",
                    self.writable.join(", ")
                ),
            ));
        }
        definitions
    }

    /// Does it; `None` if there is no such tool.
    pub(super) fn call(
        &self,
        name: &str,
        arguments: Value,
        max_bytes: usize,
    ) -> Option<Result<String, Error>> {
        Some(match name {
            "variable_get" => read(arguments).and_then(|asked| variable_get(asked, max_bytes)),
            "variable_set" => read(arguments).and_then(variable_set),
            "recall" if !self.readable.is_empty() => {
                read(arguments).and_then(|asked| self.recall(asked, max_bytes))
            }
            "remember" if !self.writable.is_empty() => {
                read(arguments).and_then(|asked| self.remember(asked))
            }
            _ => return None,
        })
    }

    fn recall(&self, asked: Recall, max_bytes: usize) -> Result<String, Error> {
        let namespace = Namespace::new(chosen(asked.namespace, &self.readable)?);
        if let Some(key) = &asked.key {
            let Some(entry) = namespace.get::<Value>(key)? else {
                return Err(Error::not_found(format!("no record \"{key}\"")));
            };
            let text = json!({"origin": entry.origin, "value": entry.value}).to_string();
            return Ok(cut(&text, max_bytes));
        }
        let text = asked.query.unwrap_or_default();
        let query = Query { text, limit: HITS, ..Query::default() };
        let hits = namespace.search::<Value>(&query)?.hits;
        if hits.is_empty() {
            return Ok("Nothing is remembered of that.".to_owned());
        }
        let each = max_bytes / hits.len();
        let lines = hits.into_iter().map(|hit| {
            let entry = hit.entry;
            let text = cut(&plain(&entry.value), each.saturating_sub(100).max(80));
            json!({"key": entry.key, "origin": entry.origin, "text": text}).to_string()
        });
        Ok(lines.collect::<Vec<_>>().join("\n"))
    }

    fn remember(&self, asked: Remember) -> Result<String, Error> {
        let namespace = Namespace::new(chosen(asked.namespace, &self.writable)?);
        let version = namespace.put(&asked.key, &asked.value, Put::default())?;
        Ok(format!("Remembered \"{}\", version {version}.", asked.key))
    }
}

fn tool<T: JsonSchema>(name: &str, description: String) -> ToolDefinition {
    let parameters_schema = foreshore_sdk::agent::inference::format_of::<T>();
    ToolDefinition { name: name.to_owned(), description: Some(description), parameters_schema }
}

fn read<T: DeserializeOwned>(arguments: Value) -> Result<T, Error> {
    serde_json::from_value(arguments).map_err(|error| Error::invalid("", error.to_string()))
}

/// The namespace that was named, or the only one there is, or the first.
fn chosen(named: Option<String>, granted: &[String]) -> Result<String, Error> {
    let exact = granted.iter().find(|pattern| !pattern.ends_with('*'));
    named.or_else(|| exact.cloned()).ok_or_else(|| {
        let granted = granted.join(", ");
        Error::invalid("/namespace", format!("name one of {granted}"))
    })
}

/// A text as it is, another value as JSON.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

fn variable_get(asked: VariableGet, max_bytes: usize) -> Result<String, Error> {
    let Some(name) = &asked.name else {
        let names: Vec<_> = variables::index().into_iter().map(|one| one.name).collect();
        return Ok(cut(&names.join(", "), max_bytes));
    };
    let value = match asked.version {
        Some(version) => variables::version::<Value>(name, version)?,
        None => variables::get::<Value>(name)?,
    };
    let value = value.ok_or_else(|| Error::not_found(format!("no variable \"{name}\"")))?;
    let absent = || Error::not_found(format!("nothing at {} in \"{name}\"", asked.pointer));
    let text = plain(value.pointer(&asked.pointer).ok_or_else(absent)?);
    let start = text.ceil_char_boundary(asked.offset.min(text.len()));
    let length = asked.length.unwrap_or(max_bytes).min(max_bytes);
    let part = head(&text[start..], length);
    Ok(if part.len() == text.len() {
        text
    } else {
        format!("{part}\n[bytes {start} to {} of {}]", start + part.len(), text.len())
    })
}

fn variable_set(asked: VariableSet) -> Result<String, Error> {
    let version = variables::set(&asked.name, &asked.value)?;
    Ok(format!("Set \"{}\", version {version}.", asked.name))
}
