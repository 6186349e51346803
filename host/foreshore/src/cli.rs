//! The command line: what can be asked for, and who answers.
//!
//! Each subcommand is a file in `cli/` with its arguments and a `run`. This file holds what they
//! share: where the configuration is, how output looks, and how a failure becomes an exit code.
//! Invariant: what a program wants to read goes to standard output, everything else to standard
//! error.

mod activity;
mod agent;
mod answer;
mod approvals;
mod budget;
mod call;
mod cert;
mod chat;
mod completions;
mod component;
mod config;
mod conversation;
mod demo;
mod events;
pub(crate) mod exit;
mod files;
mod memory;
mod moment;
mod new;
mod output;
mod replay;
pub(crate) mod scripted_model;
mod secret;
mod serve;
mod store;
mod test;
mod token;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use self::exit::Failure;
use crate::config::{Config, Overrides};

/// Runs agents and tools that nobody has to trust: each call in a fresh sandbox, with limits on
/// everything, touching only what was granted by name.
#[derive(Debug, Parser)]
#[command(name = "foreshore", version = crate::version::VERSION, after_help = exit::HELP, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant, reason = "there is one, for as long as the program runs")]
enum Command {
    /// Show in under a minute what this does, on real input
    Demo(demo::Demo),
    /// Serve the tools over HTTP
    Serve(serve::Serve),
    /// Talk to an agent
    Chat(chat::Chat),
    /// See what waits for a person, and which approvals last
    Approvals(approvals::Approvals),
    /// Say yes to what waits
    Approve(approvals::Approve),
    /// Say no to what waits
    Deny(approvals::Deny),
    /// See which agents can be asked
    #[command(subcommand)]
    Agent(agent::Agent),
    /// See what may be spent on models today, and what was
    Budget(budget::Budget),
    /// List, read, search, fork and put away conversations
    #[command(subcommand)]
    Conversation(conversation::Conversation),
    /// Run a past turn again, and compare the two
    Replay(replay::Replay),
    /// Run one call of a tool, without a server
    Call(call::Call),
    /// List, examine, add and remove components
    #[command(subcommand)]
    Component(component::Component),
    /// Read, write, search and relate records of memory
    #[command(subcommand)]
    Memory(memory::Memory),
    /// See what changed in watched directories, and put it back
    #[command(subcommand)]
    Files(files::Files),
    /// Read the journal, or follow it
    Events(events::Events),
    /// Search the journal, and verify it
    #[command(subcommand)]
    Audit(events::Audit),
    /// Check, copy, restore and shorten the journal
    #[command(subcommand)]
    Store(store::Store),
    /// Serve a model that answers by rules from a file
    ScriptedModel(scripted_model::ScriptedModel),
    /// Start a component of your own
    #[command(subcommand)]
    New(new::New),
    /// Run a component's test cases on the real host
    Test(test::Test),
    /// Measure what the sandbox costs, each figure against its floor in the same run
    Bench(crate::bench::Bench),
    /// Issue, list and revoke credentials
    #[command(subcommand)]
    Token(token::Token),
    /// Make a certificate for trying out TLS
    Cert(cert::Cert),
    /// Set, list and remove secrets, which no component sees
    #[command(subcommand)]
    Secret(secret::Secret),
    /// Check or print the configuration
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Write a completion script for a shell
    Completions(completions::Completions),
}

/// Where the configuration is, for every subcommand that starts a host.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Configuration")]
pub(crate) struct ConfigArguments {
    /// The configuration file [default: foreshore.toml or .yaml here, in
    /// $XDG_CONFIG_HOME/foreshore or /etc/foreshore]
    #[arg(long, value_name = "FILE", env = "FORESHORE_CONFIG")]
    config: Option<PathBuf>,
    /// Where the journal and compiled components are kept
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Components to load besides the embedded ones
    #[arg(long, value_name = "DIR")]
    components: Option<PathBuf>,
    /// What to log on standard error: error, warn, info, debug, trace or a filter
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
}

impl ConfigArguments {
    /// These flags, to be laid over file and environment.
    fn overrides(&self) -> Overrides {
        let text = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        Overrides::default()
            .flag(&["data"], "--data", text(&self.data))
            .flag(&["components_directory"], "--components", text(&self.components))
            .flag(&["log", "filter"], "--log", self.log.as_ref())
    }

    /// The configuration in force.
    fn load(&self) -> Result<Config, Failure> {
        self.load_with(&self.overrides())
    }

    fn load_with(&self, overrides: &Overrides) -> Result<Config, Failure> {
        for path in self.data.iter().chain(&self.components) {
            if path.to_str().is_none() {
                let message = format!("{}: a path in the configuration is UTF-8", path.display());
                return Err(Failure::Usage(message));
            }
        }
        Ok(Config::load(self.config.as_deref(), overrides)?)
    }
}

/// Parses the command line and runs what it asks for.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Demo(command) => command.run(),
        Command::Serve(command) => command.run(),
        Command::Chat(command) => command.run(),
        Command::Approvals(command) => command.run(),
        Command::Approve(command) => command.run(),
        Command::Deny(command) => command.run(),
        Command::Agent(command) => command.run(),
        Command::Budget(command) => command.run(),
        Command::Conversation(command) => command.run(),
        Command::Replay(command) => command.run(),
        Command::Call(command) => command.run(),
        Command::Component(command) => command.run(),
        Command::Memory(command) => command.run(),
        Command::Files(command) => command.run(),
        Command::Events(command) => command.run(),
        Command::Audit(command) => command.run(),
        Command::Store(command) => command.run(),
        Command::ScriptedModel(command) => command.run(),
        Command::New(command) => command.run(),
        Command::Test(command) => command.run(),
        Command::Bench(command) => command.run(),
        Command::Token(command) => command.run(),
        Command::Cert(command) => command.run(),
        Command::Secret(command) => command.run(),
        Command::Config(command) => command.run(),
        Command::Completions(command) => command.run(),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(failure) => {
            failure.report();
            failure.exit().into()
        }
    }
}

#[cfg(test)]
mod tests;
