//! `foreshore approvals`, `approve` and `deny`: what waits for people, and what they say to it.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::ConfigArguments;
use super::activity::{short, text};
use super::exit::{Exit, Failure};
use super::output::{Paint, TextTable, print, print_json};
use crate::client::{self, Client};

/// How often it is looked for what is new.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How much of the arguments a table shows.
const ARGUMENTS_SHOWN: usize = 60;

/// See what waits for a person.
#[derive(Debug, Args)]
pub(super) struct Approvals {
    #[command(subcommand)]
    command: Option<ApprovalsCommand>,
    /// Show what was decided as well
    #[arg(long)]
    all: bool,
    /// Stay, and show what comes
    #[arg(long, conflicts_with = "all")]
    watch: bool,
    /// Print the answer of the HTTP API; one line for each with --watch
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArguments,
}

#[derive(Debug, Subcommand)]
enum ApprovalsCommand {
    /// List the approvals that last: for a conversation, or for always
    Standing(List),
    /// Take back an approval that lasts, or was not used yet
    Revoke(Revoke),
}

#[derive(Debug, Args)]
struct List {
    /// Print the answer of the HTTP API
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArguments,
}

#[derive(Debug, Args)]
struct Revoke {
    /// Its id, as `foreshore approvals standing` shows it
    id: String,
    #[command(flatten)]
    config: ConfigArguments,
}

/// Say yes to what waits.
#[derive(Debug, Args)]
pub(super) struct Approve {
    /// Its id, as `foreshore approvals` shows it
    id: String,
    /// What the yes is good for: this call, or calls of its shape as well
    #[arg(long, value_enum)]
    scope: Option<ScopeWord>,
    /// Other arguments, to which the yes is: a JSON object
    #[arg(long, value_name = "JSON")]
    arguments: Option<String>,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Print the answer of the HTTP API
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArguments,
}

/// Say no to what waits.
#[derive(Debug, Args)]
pub(super) struct Deny {
    /// Its id, as `foreshore approvals` shows it
    id: String,
    /// Why; whoever asked is told
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Print the answer of the HTTP API
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArguments,
}

/// What a yes is good for.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum ScopeWord {
    /// This call
    Once,
    /// Calls of its shape in the same conversation as well
    Conversation,
    /// Calls of its shape as well, until it is revoked
    Always,
}

impl ScopeWord {
    fn as_str(self) -> &'static str {
        match self {
            Self::Once => "once",
            Self::Conversation => "conversation",
            Self::Always => "always",
        }
    }
}

impl Approvals {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        match self.command {
            Some(ApprovalsCommand::Standing(command)) => return command.run(),
            Some(ApprovalsCommand::Revoke(command)) => return command.run(),
            None => {}
        }
        let config = super::events::load(&self.config)?;
        if self.watch {
            let json = self.json;
            return client::ask(&config, async |client| watch(client, json).await);
        }
        let path = if self.all { "/v1/approvals?state=all" } else { "/v1/approvals" };
        let listed = client::ask(&config, async |client| client.get(path).await)?;
        show(&listed, self.json);
        Ok(Exit::Success)
    }
}

/// Shows each once, until somebody interrupts it.
async fn watch(client: &Client, json: bool) -> Result<Exit, Failure> {
    let mut shown = BTreeSet::new();
    loop {
        let listed = client.get("/v1/approvals").await?;
        for one in listed["approvals"].as_array().into_iter().flatten() {
            if !shown.insert(text(&one["id"])) {
                continue;
            }
            if json {
                print(&one.to_string());
            } else {
                let arguments = short(&one["details"].to_string(), ARGUMENTS_SHOWN);
                print(&format!("{}  {}  {arguments}", text(&one["id"]), text(&one["message"])));
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

impl List {
    fn run(self) -> Result<Exit, Failure> {
        let config = super::events::load(&self.config)?;
        let path = "/v1/approvals/standing";
        let listed = client::ask(&config, async |client| client.get(path).await)?;
        show(&listed, self.json);
        Ok(Exit::Success)
    }
}

impl Revoke {
    fn run(self) -> Result<Exit, Failure> {
        let config = super::events::load(&self.config)?;
        let path = client::path(&["approvals", &self.id]);
        client::ask(&config, async |client| client.send("DELETE", &path, None).await)?;
        print(&format!("{} is over", self.id));
        Ok(Exit::Success)
    }
}

impl Approve {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let mut said = json!({ "decision": "approve" });
        if let Some(scope) = self.scope {
            said["scope"] = scope.as_str().into();
        }
        if let Some(arguments) = &self.arguments {
            said["arguments"] = serde_json::from_str(arguments)
                .map_err(|error| Failure::Usage(format!("--arguments: {error}")))?;
        }
        decide(&self.config, &self.id, (said, self.reason), self.json)
    }
}

impl Deny {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let said = json!({ "decision": "deny" });
        decide(&self.config, &self.id, (said, self.reason), self.json)
    }
}

fn decide(
    config: &ConfigArguments,
    id: &str,
    (mut said, reason): (Value, Option<String>),
    json: bool,
) -> Result<Exit, Failure> {
    let config = super::events::load(config)?;
    if let Some(reason) = reason {
        said["reason"] = reason.into();
    }
    let path = client::path(&["approvals", id]);
    let decided =
        client::ask(&config, async |client| client.send("POST", &path, Some(&said)).await)?;
    if json {
        print_json(&decided);
    } else {
        print(&format!("{id} is {}", text(&decided["state"])));
    }
    Ok(Exit::Success)
}

fn show(listed: &Value, json: bool) {
    if json {
        print_json(listed);
        return;
    }
    let columns = ["id", "state", "risk", "what", "arguments", "votes", "lasts"];
    let mut table = TextTable::new(&columns);
    for one in listed["approvals"].as_array().into_iter().flatten() {
        let call = &one["call"];
        let votes = call["votes"].as_array().map_or(0, Vec::len);
        table.row([
            text(&one["id"]),
            text(&one["state"]),
            call["risk"].as_str().unwrap_or("-").to_owned(),
            short(one["message"].as_str().unwrap_or_default(), ARGUMENTS_SHOWN),
            short(&one["details"].to_string(), ARGUMENTS_SHOWN),
            if call.is_null() { "-".to_owned() } else { format!("{votes}/{}", call["quorum"]) },
            call["standing"].as_str().unwrap_or("-").to_owned(),
        ]);
    }
    print(&table.render(&Paint::stdout()));
}
