//! `foreshore component`: what is installed, what is in a component, whether it would load, and
//! putting it in place.
//!
//! Deliberately absent: a second opinion. Whether a component loads is asked of the host itself,
//! started for the purpose; putting it in place is the host's own doing, so that what this writes
//! is what a running server takes up.

mod report;

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};
use foreshore_control::{Control, LoadError, LoadFailure, Selection, Source};
use foreshore_domain::component::{Import, ImportVerdict};
use serde_json::json;

use super::ConfigArguments;
use super::exit::{Exit, Failure};
use super::output::{Paint, Waiting, print, print_json, printable};
use crate::config::Config;
use crate::wire_up::{self, Plan};

/// List, examine, add and remove components.
#[derive(Debug, Subcommand)]
pub(super) enum Component {
    /// Show the components of this host and whether each can be called
    List(List),
    /// Show what is in a component: tools, imports, and the grants it needs
    Inspect(OfFile),
    /// Say whether this host would load a component and, if not, exactly why
    Doctor(OfFile),
    /// Check a component and put it into the components directory
    Add(Add),
    /// Take a component out of the components directory
    Remove(Remove),
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Print one JSON array
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArguments,
}

#[derive(Debug, Args)]
pub(super) struct OfFile {
    /// The component
    #[arg(value_name = "FILE.wasm")]
    file: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArguments,
}

#[derive(Debug, Args)]
pub(super) struct Add {
    /// The component
    #[arg(value_name = "FILE.wasm")]
    file: PathBuf,
    /// Install it as NAME or NAME@VERSION [default: what it says of itself]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArguments,
}

#[derive(Debug, Args)]
pub(super) struct Remove {
    /// NAME, or NAME@VERSION for one version
    name: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArguments,
}

impl Component {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        match self {
            Self::List(command) => command.run(),
            Self::Inspect(command) => command.inspect(),
            Self::Doctor(command) => command.doctor(),
            Self::Add(command) => command.run(),
            Self::Remove(command) => command.run(),
        }
    }
}

/// The configuration, with what the shipped components want.
fn load(arguments: &ConfigArguments) -> Result<Config, Failure> {
    let mut config = arguments.load()?;
    crate::telemetry::start_quietly(&config.sections.log)?;
    wire_up::suggest_limits(&mut config)?;
    Ok(config)
}

/// Starts a host, asks it something, and ends it.
fn ask<T>(
    config: &Config,
    plan: Plan,
    question: impl AsyncFnOnce(&Arc<Control>) -> T,
) -> Result<T, Failure> {
    let waiting = Waiting::new("compiling, for the first time");
    let answer = wire_up::block_on(async {
        let control = wire_up::start(config, plan).await?;
        let answer = question(&control).await;
        control.drain(wire_up::DRAIN_OF_ONE_CALL).await;
        Ok(answer)
    });
    drop(waiting);
    answer
}

impl List {
    fn run(self) -> Result<Exit, Failure> {
        let config = load(&self.config)?;
        let plan = Plan::command(&config, Selection::All);
        let components = ask(&config, plan, async |control| control.components())?;
        if self.json {
            print_json(&components.iter().map(report::summary_json).collect::<Vec<_>>());
        } else {
            print(&report::table(&components, &Paint::stdout()));
        }
        Ok(Exit::Success)
    }
}

impl OfFile {
    fn inspect(self) -> Result<Exit, Failure> {
        let config = load(&self.config)?;
        let source = wire_up::read_component(&self.file)?;
        let (reference, inspection) = wire_up::examine(&config, &source)?;
        // Schemas are what the component says when asked, so it has to be run, with no grants.
        // What keeps it from that is shown instead.
        let tools = try_load(&config, source)?;
        let report = report::Report { reference, inspection, tools };
        if self.json {
            print_json(&report.json());
        } else {
            print(&report.text(&Paint::stdout()));
        }
        Ok(Exit::Success)
    }

    fn doctor(self) -> Result<Exit, Failure> {
        let config = load(&self.config)?;
        let source = wire_up::read_component(&self.file)?;
        let result = try_load(&config, source.clone())?;
        let missing = match (&result, wire_up::examine(&config, &source)) {
            (Err(_), Ok((_, inspection))) => needed(&inspection.imports),
            _ => Vec::new(),
        };
        let exit = match &result {
            Ok(_) => Exit::Success,
            Err(LoadFailure { error: LoadError::Denied(_), .. }) => Exit::Denied,
            Err(_) => Exit::Failed,
        };
        if self.json {
            print_json(&report::verdict_json(&result, &missing));
        } else {
            print(&report::verdict(&result, &missing, &Paint::stdout()));
        }
        Ok(exit)
    }
}

/// Each import that this configuration does not give, and the grant that would.
fn needed(imports: &[Import]) -> Vec<(String, Option<String>)> {
    imports
        .iter()
        .filter_map(|import| match &import.verdict {
            ImportVerdict::NotGranted { grant } => Some((import.name.clone(), Some(grant.clone()))),
            ImportVerdict::NotLinked => Some((import.name.clone(), None)),
            ImportVerdict::Linked | ImportVerdict::LinkedDenied => None,
        })
        .collect()
}

/// What the host makes of a component. The outer error is the host's own.
fn try_load(
    config: &Config,
    source: Source,
) -> Result<Result<foreshore_control::Component, LoadFailure>, Failure> {
    ask(config, Plan::empty(config), async |control| control.try_load(source).await)
}

impl Add {
    fn run(self) -> Result<Exit, Failure> {
        let config = load(&self.config)?;
        let source = wire_up::read_component(&self.file)?;
        // A file's name counts as it does in the components directory.
        let name = self.name.or(source.file_stem);
        let plan = Plan::keeper(&config);
        let added = ask(&config, plan, async |control| {
            control.put_component(source.bytes, name.as_deref()).await
        })?;
        let reference = added.map_err(|error| match error {
            foreshore_control::PutError::Refused(LoadFailure {
                error: LoadError::Denied(denial),
                ..
            }) => Failure::Denied(denial),
            error => Failure::Other(error.into()),
        })?;
        let directory = config.components_directory.display().to_string();
        if self.json {
            print_json(&json!({ "component": reference.to_string(), "directory": directory }));
        } else {
            print(&format!("{} {reference} in {directory}", Paint::stdout().green("added")));
        }
        Ok(Exit::Success)
    }
}

impl Remove {
    fn run(self) -> Result<Exit, Failure> {
        let config = load(&self.config)?;
        let (name, version) = match self.name.split_once('@') {
            None => (self.name.as_str(), None),
            Some((name, version)) => (
                name,
                Some(version.parse().map_err(|_| {
                    Failure::Usage(format!("\"{version}\" is no version: write one as 1.2.3"))
                })?),
            ),
        };
        let plan = Plan::keeper(&config);
        let removed = ask(&config, plan, async |control| {
            control.remove_component(name, version.as_ref()).await
        })?
        .map_err(|error| Failure::Other(error.into()))?;
        let names: Vec<String> = removed.iter().map(ToString::to_string).collect();
        if self.json {
            print_json(&json!({ "removed": names }));
        } else {
            let names = printable(&names.join(", "));
            print(&format!("{} {names}", Paint::stdout().green("removed")));
        }
        Ok(Exit::Success)
    }
}
