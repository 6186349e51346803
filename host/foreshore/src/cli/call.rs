//! `foreshore call TOOL JSON`: one call, without a server.
//!
//! The same host as `serve` starts, but with one component in it, so that a compiled one answers
//! in milliseconds. Flags add to what the configuration grants that component, for this call.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use clap::Args;
use foreshore_control::{Invocation, Selection};
use foreshore_domain::call::{Observer, Progress};
use foreshore_domain::component::ToolName;
use foreshore_domain::grant::Mount;
use foreshore_domain::http_rule::HttpRule;
use foreshore_domain::limits::LimitsPatch;
use foreshore_domain::outcome::{Content, ContentBody, LogLine, Outcome, ResourceBody, ToolResult};

use super::ConfigArguments;
use super::exit::{self, Exit, Failure, denied};
use super::output::{Paint, Waiting, bytes, print, printable, usage};
use crate::config::Config;
use crate::config::policies::check_variable;
use crate::wire_up::{self, Plan};

/// Run one call of a tool, without a server.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  foreshore call files.search '{\"path\": \"/data\", \"pattern\": \"fn main\"}' --mount ./:/data:ro
  foreshore call query.jq @arguments.json --mount ./:/data:ro
  foreshore call fetch.request '{\"url\": \"https://example.org/\"}' --allow-http 'GET https://example.org/*'")]
pub(super) struct Call {
    /// component.tool, or component@version.tool
    tool: ToolName,
    /// The arguments as a JSON object; `-` reads standard input, `@FILE` a file
    #[arg(default_value = "{}", hide_default_value = true)]
    arguments: String,
    /// Call a component of your own instead of an installed one
    #[arg(long, value_name = "FILE.wasm")]
    component: Option<PathBuf>,
    #[command(flatten)]
    grants: GrantArguments,
    /// Change a limit: fuel, deadline_ms, memory_max_bytes ... (all: foreshore config print --effective)
    #[arg(long = "limit", value_name = "NAME=N")]
    limits: Vec<LimitSetting>,
    /// Print the result as one JSON object, as the HTTP API gives it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArguments,
}

/// What a call may touch, besides what the configuration grants.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Grants")]
struct GrantArguments {
    /// Show a directory to the tool; read-only unless :rw
    #[arg(long = "mount", value_name = "HOST:GUEST[:ro|:rw]")]
    mounts: Vec<Mount>,
    /// Let requests out, such as "GET https://api.example.org/v2/*"
    #[arg(long = "allow-http", value_name = "RULE")]
    http: Vec<HttpRule>,
    /// Let allowed names lead to these private or loopback addresses
    #[arg(long = "allow-network", value_name = "CIDR")]
    networks: Vec<ipnet::IpNet>,
    /// Set an environment variable of the tool
    #[arg(long = "env", value_name = "NAME=VALUE")]
    env: Vec<Variable>,
}

/// `fuel=1000000`.
#[derive(Clone, Debug)]
struct LimitSetting {
    name: String,
    value: u64,
}

impl FromStr for LimitSetting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || format!("\"{text}\": write NAME=N, such as fuel=1000000");
        let (name, value) = text.split_once('=').ok_or_else(form)?;
        let value = value.replace('_', "").parse().map_err(|_| form())?;
        LimitsPatch::default().set(name, value).map_err(|error| error.to_string())?;
        Ok(Self { name: name.to_owned(), value })
    }
}

/// `LANG=C`.
#[derive(Clone, Debug)]
struct Variable {
    name: String,
    value: String,
}

impl FromStr for Variable {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) =
            text.split_once('=').ok_or_else(|| format!("\"{text}\": write NAME=VALUE"))?;
        check_variable(name)?;
        Ok(Self { name: name.to_owned(), value: value.to_owned() })
    }
}

/// The most that arguments may hold, as over HTTP.
const ARGUMENTS_MAX_BYTES: u64 = 1 << 20;

impl Call {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let mut config = self.config.load()?;
        crate::telemetry::start_quietly(&config.sections.log)?;
        let arguments = read_arguments(&self.arguments)?;
        self.add_grants(&mut config)?;
        let plan = self.plan(&config)?;
        let waiting = Arc::new(Waiting::new("compiling the component, for the first time"));
        let result = wire_up::block_on(self.invoke(&config, plan, arguments, waiting.clone()));
        drop(waiting);
        if self.json
            && let Err(Failure::Call(failure)) = &result
        {
            print(&exit::call_failure_json(failure).to_string());
        }
        report(result?, self.json)
    }

    async fn invoke(
        &self,
        config: &Config,
        plan: Plan,
        arguments: Bytes,
        waiting: Arc<Waiting>,
    ) -> Result<Outcome, Failure> {
        let control = wire_up::start(config, plan).await?;
        waiting.say(format!("running {}", self.tool));
        let invocation = Invocation {
            observer: Some(Arc::new(Onlooker { waiting, quiet: self.json })),
            ..Invocation::new(self.tool.clone(), arguments)
        };
        let result = control.invoke(invocation).await;
        control.drain(wire_up::DRAIN_OF_ONE_CALL).await;
        Ok(result?)
    }

    fn add_grants(&self, config: &mut Config) -> Result<(), Failure> {
        let usage = |error: &dyn std::fmt::Display| Failure::Usage(error.to_string());
        wire_up::suggest_limits(config)?;
        let policy = config.policies.entry(&self.tool.component);
        let mut patch = LimitsPatch::default();
        for setting in &self.limits {
            patch.set(&setting.name, setting.value).map_err(|error| usage(&error))?;
        }
        policy.limits = policy.limits.with(&patch).map_err(|error| usage(&error))?;

        let grant = Arc::make_mut(&mut policy.grant);
        for mount in &self.grants.mounts {
            // What the flag says goes before what the configuration says of the same place.
            grant.mounts.retain(|other| other.guest != mount.guest);
        }
        grant.mounts.extend(self.grants.mounts.iter().cloned());
        *grant = std::mem::take(grant).checked().map_err(|error| usage(&error))?;
        if !self.grants.http.is_empty() || !self.grants.networks.is_empty() {
            let http = grant.http.get_or_insert_default();
            http.allow.extend(self.grants.http.iter().cloned());
            http.networks.extend(&self.grants.networks);
        }
        for Variable { name, value } in &self.grants.env {
            grant.env.insert(name.clone(), value.clone());
        }
        Ok(())
    }

    /// Only the component that the tool's name leads to: each one costs time to load.
    fn plan(&self, config: &Config) -> Result<Plan, Failure> {
        match &self.component {
            Some(file) => Ok(Plan::component(config, wire_up::read_component(file)?)),
            None => Ok(Plan::command(config, Selection::Named(self.tool.component.clone()))),
        }
    }
}

/// # Errors
/// A file that cannot be read, or one that is too large.
fn read_arguments(text: &str) -> Result<Bytes, Failure> {
    let bytes = match text.strip_prefix('@') {
        Some(file) => {
            let file_name = Path::new(file);
            let file = std::fs::File::open(file_name)
                .with_context(|| format!("arguments from {}", file_name.display()))?;
            read_bounded(file)?
        }
        None if text == "-" => read_bounded(std::io::stdin().lock())?,
        None => text.as_bytes().to_vec(),
    };
    Ok(bytes.into())
}

fn read_bounded(reader: impl std::io::Read) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    reader.take(ARGUMENTS_MAX_BYTES + 1).read_to_end(&mut bytes).context("arguments")?;
    if u64::try_from(bytes.len()).is_ok_and(|size| size > ARGUMENTS_MAX_BYTES) {
        let message = format!("the arguments are larger than {ARGUMENTS_MAX_BYTES} bytes");
        return Err(Failure::Usage(message));
    }
    Ok(bytes)
}

/// Shows on standard error what a call says while it runs.
struct Onlooker {
    waiting: Arc<Waiting>,
    quiet: bool,
}

impl Observer for Onlooker {
    fn progress(&self, progress: &Progress) {
        let message = printable(progress.message.as_deref().unwrap_or("working"));
        self.waiting.say(match progress.total {
            Some(total) if total > 0.0 => {
                format!("{message} ({:.0} %)", progress.done / total * 100.0)
            }
            _ => message.replace('\n', " "),
        });
    }

    fn log(&self, line: &LogLine) {
        if !self.quiet {
            let level = Paint::stderr().dim(line.level.as_str());
            self.waiting.suspend(|| eprintln!("{level} {}", printable(&line.message)));
        }
    }
}

/// Prints what came of the call.
fn report(outcome: Outcome, json: bool) -> Result<Exit, Failure> {
    let exit = exit_of(&outcome);
    if json {
        print(&String::from_utf8_lossy(&foreshore_gateway::outcome_json(&outcome)));
    } else {
        let text = rendered(&outcome.result);
        if outcome.result.is_error {
            eprintln!("{}: {text}", Paint::stderr().red("the tool failed"));
        } else {
            print(&text);
        }
    }
    for denial in &outcome.denials {
        eprintln!("{}", denied(&Paint::stderr(), denial));
    }
    if !json {
        eprintln!("{}", Paint::stderr().dim(&usage(&outcome.usage)));
    }
    Ok(exit)
}

/// A tool that failed after it was denied something failed by the denial.
fn exit_of(outcome: &Outcome) -> Exit {
    match (outcome.result.is_error, outcome.denials.is_empty()) {
        (false, _) => Exit::Success,
        (true, true) => Exit::Failed,
        (true, false) => Exit::Denied,
    }
}

/// A result for people.
pub(super) fn rendered(result: &ToolResult) -> String {
    let parts: Vec<String> = result.content.iter().map(part).collect();
    match (&result.structured, parts.is_empty()) {
        (Some(json), true) => pretty(json.get()),
        _ => parts.join("\n"),
    }
}

fn part(content: &Content) -> String {
    let size = |length: usize| bytes(u64::try_from(length).unwrap_or(u64::MAX));
    match &content.body {
        ContentBody::Text(text) => printable(text),
        ContentBody::Json(json) => pretty(json.get()),
        ContentBody::Image(media) => {
            format!("[image, {}, {}]", printable(&media.mime_type), size(media.data.len()))
        }
        ContentBody::Audio(media) => {
            format!("[sound, {}, {}]", printable(&media.mime_type), size(media.data.len()))
        }
        ContentBody::Resource(resource) => match &resource.body {
            ResourceBody::Link => printable(&resource.uri),
            ResourceBody::Text(text) => printable(&format!("{}\n{text}", resource.uri)),
            ResourceBody::Blob(data) => {
                format!("{} [{}]", printable(&resource.uri), size(data.len()))
            }
        },
    }
}

fn pretty(json: &str) -> String {
    let value: Result<serde_json::Value, _> = serde_json::from_str(json);
    let text = value.and_then(|value| serde_json::to_string_pretty(&value));
    printable(text.as_deref().unwrap_or(json))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_written_as_name_and_number() {
        let setting: LimitSetting = "fuel=1_000".parse().expect("valid");
        assert_eq!((setting.name.as_str(), setting.value), ("fuel", 1_000));
        for bad in ["fuel", "fuel=", "fuel=-1", "fuel=lots", "feul=1"] {
            assert!(bad.parse::<LimitSetting>().is_err(), "{bad}");
        }
    }

    #[test]
    fn json_is_shown_with_its_control_characters_escaped() {
        assert_eq!(pretty("{\"a\":1}"), "{\n  \"a\": 1\n}");
        assert_eq!(pretty("\"\\u001b[2J\""), "\"\\u001b[2J\"");
    }
}
