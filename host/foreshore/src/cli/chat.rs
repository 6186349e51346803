//! `foreshore chat`: a conversation with an agent, in a terminal or a pipe.
//!
//! What the agent answers goes to standard output, what it does on the way to standard error. A
//! line that begins with `!` is no message: see `bang`. Deliberately absent: a state of its own.
//! The conversation is the host's, and goes on in another chat, or over HTTP.

mod bang;
mod diagnose;
mod lines;
mod spoken;
mod turn;

use std::io::IsTerminal as _;

use clap::Args;
use serde_json::Value;

use self::bang::Bang;
use self::lines::{Heard, Lines};
use self::turn::TurnEnd;
use super::ConfigArguments;
use super::exit::{Exit, Failure};
use super::output::{Paint, print};
use crate::client::{self, Client, path};
use crate::config::Config;

/// Talk to an agent
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  foreshore chat
  foreshore chat planner --message 'Sort the notes in /notes by year'
  echo 'How many lines has /notes/a.txt?' | foreshore chat --usage
Within the chat, !help lists the commands; Ctrl-C cancels a turn, twice leaves.")]
pub(super) struct Chat {
    /// Whom to ask [default: whom the conversation is with, or assistant]
    agent: Option<String>,
    /// Go on in this conversation
    #[arg(long, value_name = "ID")]
    conversation: Option<String>,
    /// Say this, and end with the answer
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,
    /// Have the model think, if the agent has a parameter for it, and show what it thinks
    #[arg(long)]
    thinking: bool,
    #[command(flatten)]
    config: ConfigArguments,
    /// Show after each answer what it used
    #[arg(long)]
    usage: bool,
}

/// A chat as it goes on.
struct Session<'a> {
    asked: &'a Chat,
    client: &'a Client,
    config: &'a Config,
    agent: String,
    conversation: Option<String>,
    last_turn: Option<String>,
    /// What each turn is given as its parameters.
    parameters: Option<Value>,
    /// Where the shell of `!` is.
    directory: Option<String>,
    lines: Lines,
}

impl Chat {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let config = super::events::load(&self.config)?;
        client::ask_agents(&config, async |client| {
            let mut session = Session::begin(&self, client, &config).await?;
            match &self.message {
                Some(message) => session.say(message).await.map(TurnEnd::exit),
                None => session.converse().await,
            }
        })
    }
}

/// The parameters with which an agent's model thinks. Of an agent that has none for that, what
/// its model thinks unasked is shown.
async fn thinking(client: &Client, agent: &str) -> Result<Option<Value>, Failure> {
    let agents = client.get("/v1/agents").await?;
    let mut all = agents["agents"].as_array().into_iter().flatten();
    let takes_it = all
        .any(|one| one["name"] == agent && one["parameters"]["properties"]["thinking"].is_object());
    Ok(takes_it.then(|| serde_json::json!({ "thinking": "medium" })))
}

impl<'a> Session<'a> {
    async fn begin(
        asked: &'a Chat,
        client: &'a Client,
        config: &'a Config,
    ) -> Result<Self, Failure> {
        let with = match &asked.conversation {
            None => None,
            Some(id) => {
                let entry = client.get(&path(&["conversations", id])).await?;
                entry["agent"].as_str().map(str::to_owned)
            }
        };
        let agent = asked.agent.clone().or(with).unwrap_or_else(|| "assistant".to_owned());
        let parameters = if asked.thinking { thinking(client, &agent).await? } else { None };
        Ok(Self {
            asked,
            client,
            config,
            agent,
            conversation: asked.conversation.clone(),
            last_turn: None,
            parameters,
            directory: None,
            lines: Lines::begin()?,
        })
    }

    async fn converse(&mut self) -> Result<Exit, Failure> {
        let paint = Paint::stderr();
        if self.lines.is_terminal() {
            let name = paint.bold(&super::activity::one_line(&self.agent));
            eprintln!("{name}: say something; !help lists the commands, Ctrl-D leaves");
        }
        let mut exit = Exit::Success;
        loop {
            let line = match self.lines.ask(&paint.cyan("> ")).await {
                Heard::Line(line) => line,
                Heard::End | Heard::Interrupt => break,
            };
            let done = match Bang::parse(&line) {
                None if line.trim().is_empty() => continue,
                None => match self.say(&line).await {
                    Ok(TurnEnd::Left) => return Ok(Exit::Failed),
                    Ok(end) => Ok(end.exit()),
                    Err(failure) => Err(failure),
                },
                Some(Bang::Leave) => break,
                Some(bang) => self.command(bang).await.map(|()| Exit::Success),
            };
            // What failed is said; the chat goes on, and its exit code tells of it.
            match done {
                Ok(Exit::Success) => {}
                Ok(other) => exit = other,
                Err(failure) => {
                    failure.report();
                    exit = failure.exit();
                }
            }
        }
        if let Some(conversation) = &self.conversation
            && std::io::stderr().is_terminal()
        {
            let again = format!("to go on: foreshore chat --conversation {conversation}");
            eprintln!("{}", paint.dim(&again));
        }
        Ok(exit)
    }

    async fn command(&mut self, bang: Bang) -> Result<(), Failure> {
        let text = match bang {
            Bang::Help => bang::HELP.to_owned(),
            Bang::Status => diagnose::status(self.client).await?,
            Bang::System => diagnose::system(self.client, self.config).await?,
            Bang::Rsi => diagnose::learned(self.client).await?,
            Bang::ConsiderSelf => diagnose::self_diagnosis(self.client, self.config).await?,
            Bang::Analyze => self.analyze().await?,
            Bang::History => self.history().await?,
            Bang::Interpret(code) => {
                let arguments = serde_json::json!({ "code": code });
                self.tool("interpret.javascript", &arguments).await?
            }
            Bang::Tool { name, arguments } => self.tool(&name, &arguments).await?,
            Bang::Shell(command) => self.shell(&command).await?,
            Bang::Refused(message) => return Err(Failure::Usage(message)),
            Bang::Leave => return Ok(()),
        };
        print(&text);
        Ok(())
    }

    async fn tool(&self, name: &str, arguments: &Value) -> Result<String, Failure> {
        let call = path(&["tools", name, "call"]);
        let answer = self.client.send("POST", &call, Some(arguments)).await?;
        Ok(bang::called(&answer))
    }

    async fn shell(&mut self, command: &str) -> Result<String, Failure> {
        let mut arguments = serde_json::json!({ "command": command });
        if let Some(directory) = &self.directory {
            arguments["directory"] = directory.as_str().into();
        }
        let call = path(&["tools", "shell.run", "call"]);
        let answer = self.client.send("POST", &call, Some(&arguments)).await?;
        if let Some(directory) = answer["structured"]["directory"].as_str() {
            self.directory = Some(directory.to_owned());
        }
        Ok(bang::called(&answer))
    }

    async fn history(&self) -> Result<String, Failure> {
        match &self.conversation {
            None => Ok("nothing was said yet".to_owned()),
            Some(id) => {
                let turns = super::conversation::all_turns(self.client, id).await?;
                Ok(super::conversation::said(&turns, &Paint::stdout()))
            }
        }
    }

    async fn analyze(&self) -> Result<String, Failure> {
        match &self.last_turn {
            None => Ok("no turn was taken in this chat yet".to_owned()),
            Some(turn) => super::conversation::traced(self.client, turn, &Paint::stdout()).await,
        }
    }
}
