//! `foreshore conversation`: what was said, found again, forked, put away.
//!
//! Deliberately absent: a way of its own to the record; everything is asked of the API (see
//! `client`).

mod show;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::ConfigArguments;
use super::answer::AnswerArguments;
use super::exit::{Exit, Failure};
use super::output::{Paint, print};
use crate::client::{self, Client, path, query};

pub(super) use self::show::said;

/// Entries of one page.
const PAGE: u64 = 200;
/// Versions of each variable in a trace: those that are kept.
const VERSIONS: u64 = 100;

/// List, read, search, fork and put away conversations.
#[derive(Debug, Subcommand)]
pub(super) enum Conversation {
    /// List the conversations, the one updated last first
    List(List),
    /// Read what was said
    Show(Show),
    /// Find what was said by words
    Search(Search),
    /// Begin a conversation with the turns of another, up to one of them
    Fork(Fork),
    /// Give a conversation a title
    Rename(Rename),
    /// Put a conversation out of the way, or take it back
    Archive(Archive),
    /// Print each turn as one line of JSON
    Export(Export),
    /// Delete a conversation with its turns and variables
    Delete(Delete),
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only those with this agent
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// Only those that are out of the way
    #[arg(long)]
    archived: bool,
    /// Those too that agents began for their work
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    common: AnswerArguments,
}

#[derive(Debug, Args)]
pub(super) struct Show {
    id: String,
    /// Show each step too: thoughts, models, tools, tokens, cost, time and fuel; and the
    /// variables, with the versions that are kept
    #[arg(long)]
    trace: bool,
    #[command(flatten)]
    common: AnswerArguments,
}

#[derive(Debug, Args)]
pub(super) struct Search {
    /// Words, any of which a hit has
    #[arg(required = true)]
    words: Vec<String>,
    /// Only those with this agent
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// At most so many hits, 1 to 200
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    #[command(flatten)]
    common: AnswerArguments,
}

#[derive(Debug, Args)]
pub(super) struct Fork {
    id: String,
    /// The last turn that is taken over, from 0
    #[arg(long, value_name = "N")]
    through_turn: u64,
    /// What the new one is called
    #[arg(long)]
    title: Option<String>,
    #[command(flatten)]
    common: AnswerArguments,
}

#[derive(Debug, Args)]
pub(super) struct Rename {
    id: String,
    title: String,
    #[command(flatten)]
    common: AnswerArguments,
}

#[derive(Debug, Args)]
pub(super) struct Archive {
    id: String,
    /// Take it back
    #[arg(long)]
    undo: bool,
    #[command(flatten)]
    common: AnswerArguments,
}

#[derive(Debug, Args)]
pub(super) struct Export {
    id: String,
    #[command(flatten)]
    config: ConfigArguments,
}

#[derive(Debug, Args)]
pub(super) struct Delete {
    id: String,
    #[command(flatten)]
    common: AnswerArguments,
}

impl Conversation {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        match self {
            Self::List(command) => command.run(),
            Self::Show(command) => command.run(),
            Self::Search(command) => command.run(),
            Self::Fork(command) => command.run(),
            Self::Rename(Rename { id, title, common }) => {
                change(&common, &id, &json!({ "title": title }))
            }
            Self::Archive(Archive { id, undo, common }) => {
                change(&common, &id, &json!({ "archived": !undo }))
            }
            Self::Export(command) => command.run(),
            Self::Delete(Delete { id, common }) => {
                let delete = async |client: &Client| {
                    client.send("DELETE", &path(&["conversations", &id]), None).await?;
                    Ok(json!({ "deleted": id }))
                };
                common.ask(delete, |_, _| format!("deleted {id}"))
            }
        }
    }
}

impl List {
    fn run(self) -> Result<Exit, Failure> {
        let all_pages = async |client: &Client| {
            let (mut all, mut before) = (Vec::new(), None);
            loop {
                let query = query(&[
                    ("agent", self.agent.clone()),
                    ("archived", Some(self.archived.to_string())),
                    ("delegated", Some(self.all.to_string())),
                    ("before", before),
                    ("limit", Some(PAGE.to_string())),
                ]);
                let mut page = client.get(&(path(&["conversations"]) + &query)).await?;
                if let Value::Array(more) = page["conversations"].take() {
                    all.extend(more);
                }
                before = page["next_before"].as_u64().map(|before| before.to_string());
                if before.is_none() {
                    return Ok(json!({ "conversations": all }));
                }
            }
        };
        self.common.ask(all_pages, show::list)
    }
}

impl Show {
    fn run(self) -> Result<Exit, Failure> {
        let id = &self.id;
        let everything = async |client: &Client| {
            let mut answer = client.get(&path(&["conversations", id])).await?;
            let mut turns = all_turns(client, id).await?;
            if self.trace {
                for turn in &mut turns {
                    let events = events_of(client, turn).await?;
                    let events = events
                        .iter()
                        .map(|event| json!({ "event": event.name, "data": event.data }));
                    turn["events"] = events.collect();
                }
                let variables = path(&["conversations", id, "variables"]);
                let variables = variables + &format!("?versions={VERSIONS}");
                let mut variables = client.get(&variables).await?;
                answer["variables"] = variables["variables"].take();
            }
            answer["said"] = turns.into();
            Ok(answer)
        };
        self.common.ask(everything, show::conversation)
    }
}

impl Search {
    fn run(self) -> Result<Exit, Failure> {
        let mut body = json!({ "query": self.words.join(" "), "limit": self.limit });
        if let Some(agent) = &self.agent {
            body["agent"] = agent.as_str().into();
        }
        let search = async |client: &Client| {
            client.send("POST", &path(&["conversations", "search"]), Some(&body)).await
        };
        self.common.ask(search, show::found)
    }
}

impl Fork {
    fn run(self) -> Result<Exit, Failure> {
        let mut body = json!({ "through_turn": self.through_turn });
        if let Some(title) = &self.title {
            body["title"] = title.as_str().into();
        }
        let path = path(&["conversations", &self.id, "fork"]);
        let fork = async |client: &Client| client.send("POST", &path, Some(&body)).await;
        self.common.ask(fork, |made, _| super::activity::text(&made["id"]))
    }
}

fn change(common: &AnswerArguments, id: &str, body: &Value) -> Result<Exit, Failure> {
    let path = path(&["conversations", id]);
    let change = async |client: &Client| client.send("PATCH", &path, Some(body)).await;
    common.ask(change, |entry, paint| show::list(&json!({ "conversations": [entry] }), paint))
}

impl Export {
    fn run(self) -> Result<Exit, Failure> {
        let config = super::events::load(&self.config)?;
        let path = path(&["conversations", &self.id, "export"]);
        let lines = client::ask(&config, async |client| client.text(&path).await)?;
        print(&lines);
        Ok(Exit::Success)
    }
}

/// Every turn of a conversation, oldest first.
pub(super) async fn all_turns(client: &Client, id: &str) -> Result<Vec<Value>, Failure> {
    let (mut all, mut from) = (Vec::new(), 0);
    loop {
        let page = format!("?from={from}&limit={PAGE}");
        let mut page = client.get(&(path(&["conversations", id, "turns"]) + &page)).await?;
        let Value::Array(turns) = page["turns"].take() else { return Ok(all) };
        let Some(last) = turns.last().and_then(|turn| turn["number"].as_u64()) else {
            return Ok(all);
        };
        all.extend(turns);
        from = last + 1;
    }
}

/// What is on record of a turn. Of one that goes on nothing: its events would not end.
async fn events_of(client: &Client, turn: &Value) -> Result<Vec<client::ServerEvent>, Failure> {
    let mut all = Vec::new();
    if !matches!(turn["state"].as_str(), Some("completed" | "failed" | "cancelled")) {
        return Ok(all);
    }
    let id = turn["turn_id"].as_str().unwrap_or_default();
    let mut events = client.events("GET", &path(&["turns", id, "events"]), None).await?;
    while let Some(event) = events.next().await? {
        all.push(event);
    }
    Ok(all)
}

/// One turn with its steps, for people.
pub(super) async fn traced(client: &Client, id: &str, paint: &Paint) -> Result<String, Failure> {
    let turn = client.get(&path(&["turns", id])).await?;
    let events = events_of(client, &turn).await?;
    Ok(show::turn(&turn, &events, paint))
}
