//! A host for the benchmarks of agents: what `foreshore serve` starts, in this process, with a
//! configuration in a directory of its own and the journal on disk.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use foreshore_control::turns::{NewTurn, TurnEvent};
use foreshore_control::{Control, Origin, Selection, Source};
use foreshore_domain::conversation::TurnEnd;
use foreshore_domain::id::TurnId;
use foreshore_domain::outcome::Content;
use foreshore_scripted_model::{Format, Script, ScriptedServer};

use crate::cli::exit::Failure;
use crate::config::{Config, Overrides};
use crate::wire_up::{self, Plan};

/// Agents that run at once, and requests of a model at a time.
pub(super) const AT_ONCE: usize = 4;

/// A host that runs agents.
pub(super) struct AgentHost {
    pub(super) control: Arc<Control>,
    _directory: tempfile::TempDir,
}

impl AgentHost {
    /// With a configuration, and of the components in the binary those named.
    pub(super) async fn start(configuration: &str, components: &[&str]) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let file = write(directory.path(), configuration)?;
        let data = directory.path().join("data");
        let overrides = Overrides::default().flag(&["data"], "--data", Some(data.display()));
        let mut config = Config::load(Some(&file), &overrides)?;
        config.components_directory = directory.path().join("components");
        wire_up::suggest_limits(&mut config)?;
        let mut plan = Plan::command(&config, Selection::All);
        plan.purpose = wire_up::Purpose::Agents;
        plan.sources = components.iter().map(|name| source(name)).collect::<Result<_, _>>()?;
        let control = wire_up::start(&config, plan).await.map_err(Failure::cause)?;
        Ok(Self { control, _directory: directory })
    }

    /// Takes a message, and says whose turn it is.
    pub(super) async fn begin(&self, agent: &str, message: &str) -> anyhow::Result<TurnId> {
        begin(&self.control, agent, message).await
    }

    pub(super) async fn stop(self) {
        self.control.drain(Duration::from_secs(10)).await;
    }
}

async fn begin(control: &Control, agent: &str, message: &str) -> anyhow::Result<TurnId> {
    let new = NewTurn {
        principal: foreshore_domain::identity::Principal::host(),
        agent: agent.to_owned(),
        conversation: None,
        message: vec![Content::text(message)],
        history: Vec::new(),
        parameters: None,
        budget: None,
    };
    Ok(control.turns().start(new).await?.turn)
}

/// Takes a turn of an agent to its end, which has to be a reply after so many calls of tools.
pub(super) async fn take(
    control: &Control,
    agent: &str,
    message: &str,
    tool_calls: u64,
) -> anyhow::Result<()> {
    let turn = begin(control, agent, message).await?;
    let mut follow = control.turns().follow(turn, None)?;
    while let Some(update) = follow.next().await {
        let TurnEvent::Ended(ended) = update.event else { continue };
        ensure!(ended.end == TurnEnd::Completed, "a turn ended with {:?}", ended.error);
        let used = ended.usage;
        ensure!(used.tool_calls == tool_calls, "the turn was another one: {used:?}");
        return Ok(());
    }
    anyhow::bail!("a turn has no end")
}

/// Writes a configuration where a host looks for it.
pub(super) fn write(directory: &Path, configuration: &str) -> anyhow::Result<std::path::PathBuf> {
    let file = directory.join("foreshore.toml");
    std::fs::write(&file, configuration)?;
    Ok(file)
}

fn source(name: &str) -> anyhow::Result<Source> {
    let shipped = foreshore_shipped::components().iter().find(|shipped| shipped.name == name);
    let bytes = match shipped {
        Some(shipped) => shipped.bytes,
        None => super::control::guest(name)?,
    };
    let bytes = Bytes::from_static(bytes);
    Ok(Source { bytes, file_stem: Some(name.to_owned()), origin: Origin::Embedded })
}

/// A model server that is never busy, with a model `bench` in memory.
pub(super) fn model(rules: &str) -> anyhow::Result<ScriptedServer> {
    let mut script = format!(
        "[server]\nparallel = {AT_ONCE}\n\
         [[models]]\nname = \"bench\"\ncapabilities = [\"completion\", \"tools\"]\nloaded = true\n"
    );
    let _ = writeln!(script, "{rules}");
    let script = Script::parse(&script, Format::Toml)?;
    ScriptedServer::start(script, ([127, 0, 0, 1], 0).into()).context("a scripted model")
}

/// A configuration in which `assistant` asks the model `bench` of the server at a URL.
pub(super) fn configuration(url: &str, tools: &[&str]) -> String {
    format!(
        r#"
        [inference]
        default_model = "bench"
        [[inference.backends]]
        name = "scripted"
        kind = "ollama"
        url = {url:?}
        concurrency = {AT_ONCE}
        [inference.models.bench]
        [concurrency]
        agents_max = {AT_ONCE}
        [agents.assistant]
        tools = {tools:?}
        "#
    )
}
