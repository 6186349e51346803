//! What the tools give back.

use foreshore_sdk::Error;
use foreshore_sdk::memory::{Entry, Method, Namespace, Query};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::arguments::{Recall, Related};
use crate::excerpt::excerpt;

/// What was remembered.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Remembered {
    pub(crate) namespace: String,
    pub(crate) key: String,
    /// The version that was written; it is on disk.
    pub(crate) version: u64,
}

/// What was forgotten.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Forgotten {
    /// Whether there was something to forget.
    pub(crate) was_there: bool,
}

/// What was recalled.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Recollections {
    /// Best or newest first; empty if nothing is remembered there.
    entries: Vec<Recollection>,
    method: Searched,
}

/// How entries were found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Searched {
    /// By their key.
    Key,
    /// By words alone: there are no embeddings now.
    Lexical,
    /// By words and meaning.
    Hybrid,
}

/// One version of an entry.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Recollection {
    key: String,
    version: u64,
    /// Who wrote it: person, agent:NAME, tool:NAME or url:HOST.
    origin: String,
    written_at_unix_ms: u64,
    importance: f32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    /// The whole value, when recalled by key.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Value>,
    /// The part of the value that matches, when recalled by query.
    #[serde(skip_serializing_if = "Option::is_none")]
    snippet: Option<String>,
    /// Higher is better; comparable within one answer only.
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f32>,
}

impl Recollection {
    fn whole(entry: Entry<Value>) -> Self {
        let value = Some(entry.value);
        Self {
            key: entry.key,
            version: entry.version,
            origin: entry.origin,
            written_at_unix_ms: entry.written_at_unix_ms,
            importance: entry.importance,
            tags: entry.tags,
            value,
            snippet: None,
            score: None,
        }
    }

    fn hit(entry: Entry<Value>, score: f32, query: &str) -> Self {
        let snippet = Some(excerpt(&entry.value, query));
        Self { value: None, snippet, score: Some(score), ..Self::whole(entry) }
    }
}

pub(crate) fn recall(arguments: Recall) -> Result<Recollections, Error> {
    let limit = arguments.hits();
    let namespace = Namespace::new(arguments.namespace);
    if let Some(key) = arguments.key {
        if arguments.query.is_some() {
            let message = "give a key or a query, not both";
            return Err(Error::invalid("/query", message));
        }
        let entries: Vec<Entry<Value>> = match arguments.limit {
            None => namespace.get(&key)?.into_iter().collect(),
            Some(limit) => namespace.versions(&key, limit)?,
        };
        let entries = entries.into_iter().map(Recollection::whole).collect();
        return Ok(Recollections { entries, method: Searched::Key });
    }
    let query = Query {
        text: arguments.query.unwrap_or_default(),
        tags: arguments.tags,
        since_unix_ms: arguments.since_unix_ms,
        limit,
    };
    let found = namespace.search::<Value>(&query)?;
    let hits = found.hits.into_iter();
    Ok(Recollections {
        entries: hits.map(|hit| Recollection::hit(hit.entry, hit.score, &query.text)).collect(),
        method: match found.method {
            Method::Lexical => Searched::Lexical,
            Method::Hybrid => Searched::Hybrid,
        },
    })
}

/// What a key is related to.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Neighbourhood {
    /// Relations of the key, in either direction.
    #[serde(skip_serializing_if = "Option::is_none")]
    relations: Option<Vec<Relation>>,
    /// Paths to the other key, each with its relations in order.
    #[serde(skip_serializing_if = "Option::is_none")]
    paths: Option<Vec<Vec<Relation>>>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Relation {
    subject: String,
    predicate: String,
    object: String,
}

impl From<foreshore_sdk::memory::Relation> for Relation {
    fn from(relation: foreshore_sdk::memory::Relation) -> Self {
        let foreshore_sdk::memory::Relation { subject, predicate, object } = relation;
        Self { subject, predicate, object }
    }
}

pub(crate) fn related(arguments: Related) -> Result<Neighbourhood, Error> {
    let namespace = Namespace::new(arguments.namespace);
    let read = |relations: Vec<foreshore_sdk::memory::Relation>| {
        relations.into_iter().map(Relation::from).collect()
    };
    Ok(match arguments.to {
        Some(to) => {
            let paths = namespace.paths(&arguments.key, &to)?;
            Neighbourhood { relations: None, paths: Some(paths.into_iter().map(read).collect()) }
        }
        None => {
            let relations = namespace.neighbours(&arguments.key, arguments.limit)?;
            Neighbourhood { relations: Some(read(relations)), paths: None }
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry() -> Entry<Value> {
        Entry {
            key: "reef/outer".to_owned(),
            value: json!({"text": "The outer reef is surveyed in May."}),
            version: 3,
            tags: vec!["reef".to_owned()],
            importance: 0.5,
            written_at_unix_ms: 7,
            origin: "url:example.com".to_owned(),
        }
    }

    #[test]
    fn by_key_comes_the_whole_value_and_by_query_the_part_that_matches_each_with_its_origin() {
        let whole = serde_json::to_value(Recollection::whole(entry())).expect("JSON");
        assert_eq!(whole["value"]["text"], "The outer reef is surveyed in May.");
        assert!(whole["snippet"].is_null() && whole["score"].is_null());
        let hit = Recollection::hit(entry(), 1.5, "surveyed");
        let hit = serde_json::to_value(hit).expect("JSON");
        assert!(hit["snippet"].as_str().is_some_and(|text| text.contains("surveyed")), "{hit}");
        assert!(hit["value"].is_null());
        for shown in [whole, hit] {
            assert_eq!(
                (&shown["origin"], &shown["version"]),
                (&json!("url:example.com"), &json!(3))
            );
        }
    }

    #[test]
    fn a_key_and_a_query_at_once_are_refused() {
        let arguments = serde_json::from_str(r#"{"key": "a", "query": "b"}"#).expect("arguments");
        let error = recall(arguments).expect_err("refused");
        assert_eq!(error, Error::invalid("/query", "give a key or a query, not both"));
    }
}
