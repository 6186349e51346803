//! `foreshore agent`: who can be asked.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::ConfigArguments;
use super::activity::{short, text};
use super::answer::AnswerArguments;
use super::exit::{Exit, Failure};
use super::output::{Paint, TextTable, print, print_json};
use crate::client::{self, Client, path};

/// Of a description in a table.
const CELL_CHARS: usize = 60;

/// See which agents can be asked.
#[derive(Debug, Subcommand)]
pub(super) enum Agent {
    /// List the agents, their models and what they may reach
    List(List),
    /// See how many agents run at once on a server, or change how many may until it ends
    Concurrency(Concurrency),
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Print the answer of the HTTP API
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArguments,
}

#[derive(Debug, Args)]
pub(super) struct Concurrency {
    /// How many may run at once, from now on
    #[arg(long, value_name = "N")]
    set: Option<std::num::NonZeroUsize>,
    #[command(flatten)]
    common: AnswerArguments,
}

impl Agent {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        match self {
            Self::List(command) => command.run(),
            Self::Concurrency(command) => command.run(),
        }
    }
}

impl Concurrency {
    fn run(self) -> Result<Exit, Failure> {
        let path = path(&["concurrency"]);
        let question = async |client: &Client| match self.set {
            Some(agents_max) => {
                let change = json!({ "agents_max": agents_max });
                client.send("PATCH", &path, Some(&change)).await
            }
            None => client.get(&path).await,
        };
        self.common.ask(question, |now, _| {
            format!(
                "{} of {} agents run; {} turns are open, {} of them in line",
                now["agents_running"], now["agents_max"], now["turns_open"], now["turns_queued"]
            )
        })
    }
}

impl List {
    fn run(self) -> Result<Exit, Failure> {
        let Self { json, config } = self;
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
