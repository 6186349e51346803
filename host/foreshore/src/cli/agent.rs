//! `foreshore agent`: who can be asked.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::ConfigArguments;
use super::activity::{short, text};
use super::exit::{Exit, Failure};
use super::output::{Paint, TextTable, print, print_json};
use crate::client;

/// Of a description in a table.
const CELL_CHARS: usize = 60;

/// See which agents can be asked.
#[derive(Debug, Subcommand)]
pub(super) enum Agent {
    /// List the agents, their models and what they may reach
    List(List),
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Print the answer of the HTTP API
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArguments,
}

impl Agent {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let Self::List(List { json, config }) = self;
        let config = super::events::load(&config)?;
        let agents = client::ask_agents(&config, async |client| client.get("/v1/agents").await)?;
        if json {
            print_json(&agents);
        } else {
            print(&table(&agents, &Paint::stdout()));
        }
        Ok(Exit::Success)
    }
}

fn table(answer: &Value, paint: &Paint) -> String {
    let mut table = TextTable::new(&["agent", "component", "model", "tools", "agents", "about"]);
    let list = |names: &Value| {
        let names = names.as_array().into_iter().flatten().map(text);
        let names: Vec<String> = names.collect();
        if names.is_empty() { "-".to_owned() } else { names.join(", ") }
    };
    for agent in answer["agents"].as_array().into_iter().flatten() {
        table.row([
            text(&agent["name"]),
            text(&agent["component"]),
            agent["model"].as_str().map_or_else(|| "(default)".to_owned(), str::to_owned),
            list(&agent["tools"]),
            list(&agent["agents"]),
            match agent["description"].as_str() {
                Some(description) => short(description, CELL_CHARS),
                None => "(cannot run now)".to_owned(),
            },
        ]);
    }
    table.render(paint)
}
