//! `foreshore memory`: records, their versions, search and relations, for people.
//!
//! Deliberately absent: a way of its own to the store; everything is asked of the API (see
//! `client`), so that what a server would refuse is refused here too.

mod show;

use std::io::Read as _;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::answer::AnswerArguments;
use super::exit::{Exit, Failure};
use crate::client::{Client, path, query};

/// The most that a value may hold on its way to the API, which has a limit of its own.
const VALUE_MAX_BYTES: u64 = 1 << 20;
/// Keys of one page.
const PAGE: usize = 1_000;

/// Read, write, search and relate records of memory.
#[derive(Debug, Subcommand)]
pub(super) enum Memory {
    /// Read a record
    Get(Get),
    /// Write a record; it is on disk when this returns
    Put(Put),
    /// Delete a record; its versions stay to be read
    Delete(Delete),
    /// List the keys of a namespace
    List(List),
    /// Find records by words and, with an embedding_model, by what they mean
    Search(Search),
    /// Show the versions of a record that are kept, newest first
    Versions(OfKey),
    /// Relate two keys: SUBJECT PREDICATE OBJECT, such as `alice knows bob`
    Relate(Triple),
    /// Take a relation away
    Unrelate(Triple),
    /// Show the relations of a key, in either direction
    Neighbours(OfKey),
    /// Find the shortest paths between two keys
    Paths(Paths),
    /// List the namespaces and what they hold
    Namespaces(Namespaces),
    /// Show how far the records are embedded, for search by meaning
    Status(Namespaces),
}

#[derive(Debug, Args)]
pub(super) struct Get {
    namespace: String,
    key: String,
    /// An older version
    #[arg(long, value_name = "N")]
    version: Option<u64>,
    #[command(flatten)]
    common: AnswerArguments,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  foreshore memory put notes milk '{\"liters\": 2}' --tag shopping
  foreshore memory put notes idea --text 'a boat that folds'
  foreshore memory put notes page @page.json --expected-version 3")]
pub(super) struct Put {
    namespace: String,
    key: String,
    /// The value as JSON; `-` reads standard input, `@FILE` a file
    #[arg(allow_hyphen_values = true)]
    value: String,
    /// The value is plain text, not JSON
    #[arg(long)]
    text: bool,
    /// Label it; may be given again
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// From 0, worth little, to 1; weighs in searches
    #[arg(long, value_name = "0..1")]
    importance: Option<f32>,
    /// Forget it after so many seconds
    #[arg(long, value_name = "SECONDS")]
    ttl_s: Option<u64>,
    /// Write only over this version; 0: only if there is no such record
    #[arg(long, value_name = "N")]
    expected_version: Option<u64>,
    #[command(flatten)]
    common: AnswerArguments,
}

#[derive(Debug, Args)]
pub(super) struct Delete {
    namespace: String,
    key: String,
    /// Delete only this version
    #[arg(long, value_name = "N")]
    expected_version: Option<u64>,
    #[command(flatten)]
    common: AnswerArguments,
}

#[derive(Debug, Args)]
pub(super) struct List {
    namespace: String,
    /// Only keys that start so
    #[arg(long)]
    prefix: Option<String>,
    #[command(flatten)]
    common: AnswerArguments,
}

#[derive(Debug, Args)]
pub(super) struct Search {
    namespace: String,
    /// Words, any of which a hit has, or a question
    #[arg(required = true)]
    words: Vec<String>,
    /// A hit has this tag; may be given again
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// At most so many hits, 1 to 100
    #[arg(long, value_name = "N", default_value_t = 10)]
    limit: usize,
    #[command(flatten)]
    common: AnswerArguments,
}

#[derive(Debug, Args)]
pub(super) struct OfKey {
    namespace: String,
    key: String,
    /// At most so many, 1 to 1,000
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    #[command(flatten)]
    common: AnswerArguments,
}

#[derive(Debug, Args)]
pub(super) struct Triple {
    namespace: String,
    subject: String,
    predicate: String,
    object: String,
    #[command(flatten)]
    common: AnswerArguments,
}

#[derive(Debug, Args)]
pub(super) struct Paths {
    namespace: String,
    from: String,
    to: String,
    #[command(flatten)]
    common: AnswerArguments,
}

#[derive(Debug, Args)]
pub(super) struct Namespaces {
    #[command(flatten)]
    common: AnswerArguments,
}

impl Memory {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        match self {
            Self::Get(command) => command.run(),
            Self::Put(command) => command.run(),
            Self::Delete(command) => command.run(),
            Self::List(command) => command.run(),
            Self::Search(command) => command.run(),
            Self::Versions(command) => command.versions(),
            Self::Relate(command) => command.relate(),
            Self::Unrelate(command) => command.unrelate(),
            Self::Neighbours(command) => command.neighbours(),
            Self::Paths(command) => command.run(),
            Self::Namespaces(command) => {
                let path = path(&["memory"]);
                command.common.ask_memory(async |client| client.get(&path).await, show::namespaces)
            }
            Self::Status(command) => {
                let path = path(&["memory"]);
                let embedding = async |client: &Client| {
                    let mut answer = client.get(&path).await?;
                    Ok(answer["embedding"].take())
                };
                command.common.ask_memory(embedding, show::status)
            }
        }
    }
}

impl Get {
    fn run(self) -> Result<Exit, Failure> {
        let version = self.version.map(|version| version.to_string());
        let path = path(&["memory", &self.namespace, &self.key]) + &query(&[("version", version)]);
        self.common.ask_memory(async |client| client.get(&path).await, show::record)
    }
}

impl Put {
    fn run(self) -> Result<Exit, Failure> {
        let value = self.value()?;
        let mut body = json!({ "value": value, "tags": self.tags });
        if let Some(importance) = self.importance {
            body["importance"] = importance.into();
        }
        for (name, number) in [("ttl_s", self.ttl_s), ("expected_version", self.expected_version)] {
            if let Some(number) = number {
                body[name] = number.into();
            }
        }
        let path = path(&["memory", &self.namespace, &self.key]);
        let put = async |client: &Client| client.send("PUT", &path, Some(&body)).await;
        self.common.ask_memory(put, |written, _| format!("version {}", written["version"]))
    }

    fn value(&self) -> Result<Value, Failure> {
        let text = match self.value.strip_prefix('@') {
            Some(file) if !self.text || std::path::Path::new(file).exists() => {
                let opened = std::fs::File::open(file).with_context(|| file.to_owned())?;
                bounded(opened, file)?
            }
            _ if self.value == "-" => bounded(std::io::stdin(), "standard input")?,
            _ => self.value.clone(),
        };
        if self.text {
            return Ok(Value::String(text));
        }
        serde_json::from_str(&text).map_err(|error| {
            Failure::Usage(format!("the value is no JSON: {error}; write --text for plain text"))
        })
    }
}

fn bounded(from: impl std::io::Read, name: &str) -> Result<String, Failure> {
    let mut text = String::new();
    from.take(VALUE_MAX_BYTES + 1).read_to_string(&mut text).with_context(|| name.to_owned())?;
    if u64::try_from(text.len()).is_ok_and(|length| length > VALUE_MAX_BYTES) {
        return Err(Failure::Usage(format!("{name}: a value has at most {VALUE_MAX_BYTES} bytes")));
    }
    Ok(text)
}

impl Delete {
    fn run(self) -> Result<Exit, Failure> {
        let expected = self.expected_version.map(|version| version.to_string());
        let path = path(&["memory", &self.namespace, &self.key])
            + &query(&[("expected_version", expected)]);
        let delete = async |client: &Client| client.send("DELETE", &path, None).await;
        self.common.ask_memory(delete, |gone, _| format!("deleted; version {}", gone["version"]))
    }
}

impl List {
    fn run(self) -> Result<Exit, Failure> {
        let all_pages = async |client: &Client| {
            let (mut keys, mut cursor) = (Vec::new(), None);
            loop {
                let query = query(&[
                    ("prefix", self.prefix.clone()),
                    ("cursor", cursor),
                    ("limit", Some(PAGE.to_string())),
                ]);
                let mut page = client.get(&(path(&["memory", &self.namespace]) + &query)).await?;
                if let Value::Array(more) = page["keys"].take() {
                    keys.extend(more);
                }
                cursor = page["next_cursor"].as_str().map(str::to_owned);
                if cursor.is_none() {
                    return Ok(json!({ "keys": keys }));
                }
            }
        };
        self.common.ask_memory(all_pages, show::keys)
    }
}

impl Search {
    fn run(self) -> Result<Exit, Failure> {
        let body = json!({ "query": self.words.join(" "), "limit": self.limit, "tags": self.tags });
        let path = path(&["memory", &self.namespace, "search"]);
        let search = async |client: &Client| client.send("POST", &path, Some(&body)).await;
        self.common.ask_memory(search, show::found)
    }
}

impl OfKey {
    fn versions(self) -> Result<Exit, Failure> {
        let path = path(&["memory", &self.namespace, &self.key, "versions"])
            + &query(&[("limit", Some(self.limit.to_string()))]);
        self.common.ask_memory(async |client| client.get(&path).await, show::versions)
    }

    fn neighbours(self) -> Result<Exit, Failure> {
        let (key, limit) = (Some(self.key.clone()), Some(self.limit.to_string()));
        let path = path(&["graph", &self.namespace, "relations"])
            + &query(&[("key", key), ("limit", limit)]);
        self.common.ask_memory(async |client| client.get(&path).await, show::relations)
    }
}

impl Triple {
    fn relate(self) -> Result<Exit, Failure> {
        let path = path(&["graph", &self.namespace, "relations"]);
        let body = json!({
            "subject": self.subject, "predicate": self.predicate, "object": self.object,
        });
        let relate = async |client: &Client| client.send("POST", &path, Some(&body)).await;
        self.common.ask_memory(relate, |answer, _| changed(answer, "related", "related already"))
    }

    fn unrelate(self) -> Result<Exit, Failure> {
        let triple = query(&[
            ("subject", Some(self.subject)),
            ("predicate", Some(self.predicate)),
            ("object", Some(self.object)),
        ]);
        let path = path(&["graph", &self.namespace, "relations"]) + &triple;
        let unrelate = async |client: &Client| client.send("DELETE", &path, None).await;
        self.common
            .ask_memory(unrelate, |answer, _| changed(answer, "not related now", "not related"))
    }
}

fn changed(answer: &Value, changed: &str, unchanged: &str) -> String {
    if answer["changed"] == true { changed } else { unchanged }.to_owned()
}

impl Paths {
    fn run(self) -> Result<Exit, Failure> {
        let path = path(&["graph", &self.namespace, "paths"])
            + &query(&[("from", Some(self.from)), ("to", Some(self.to))]);
        self.common.ask_memory(async |client| client.get(&path).await, show::paths)
    }
}
