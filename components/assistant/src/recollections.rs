//! What memory has to say to a message: records with the label of where they came from.
//!
//! They are data. A record that a web page or a tool wrote reaches the model as a line of JSON among
//! others, with its origin, and never as an instruction.

use foreshore_sdk::log;
use foreshore_sdk::memory::{Granted, Namespace, Query};
use serde_json::{Value, json};

use crate::text::{cut, tokens};
use crate::toolbox::plain;

/// The most hits of one namespace.
const HITS: u32 = 4;
/// The most namespaces that are searched.
const NAMESPACES: usize = 8;
/// The most of the message that is searched for, in bytes.
const QUERY: usize = 512;
/// The most of one record, in bytes.
const RECORD: usize = 600;

/// The lines of the records that may bear on a message, best first, at most so many tokens.
pub(crate) fn find(message: &str, namespaces: &[String], max_tokens: usize) -> Vec<String> {
    let text = cut(message, QUERY);
    let mut found: Vec<std::vec::IntoIter<String>> = Vec::new();
    for name in namespaces.iter().take(NAMESPACES) {
        let query = Query { text: text.clone(), limit: HITS, ..Query::default() };
        match Namespace::new(name).search::<Value>(&query) {
            Ok(answer) => {
                let lines: Vec<String> = answer
                    .hits
                    .into_iter()
                    .map(|hit| {
                        let entry = hit.entry;
                        let text = cut(&plain(&entry.value), RECORD);
                        let memory = format!("{name}/{}", entry.key);
                        json!({"memory": memory, "origin": entry.origin, "text": text}).to_string()
                    })
                    .collect();
                found.push(lines.into_iter());
            }
            // An answer without memory is better than none.
            Err(error) => log::warn(format!("memory \"{name}\" was not searched: {error}")),
        }
    }
    // Scores of different namespaces cannot be compared: the best of each, then the second best.
    let mut lines = Vec::new();
    let mut left = max_tokens;
    while !found.is_empty() {
        found.retain_mut(|hits| match hits.next() {
            Some(line) => {
                if let Some(rest) = left.checked_sub(tokens(&line) + 1) {
                    left = rest;
                    lines.push(line);
                }
                true
            }
            None => false,
        });
    }
    lines
}

/// The namespaces to search: those that were named, or all that were granted by their whole name.
pub(crate) fn namespaces(named: Option<&[String]>, granted: &[Granted]) -> Vec<String> {
    match named {
        Some(named) => named.to_vec(),
        None => granted
            .iter()
            .filter(|one| !one.pattern.ends_with('*'))
            .map(|one| one.pattern.clone())
            .collect(),
    }
}
