//! `foreshore demo`: three tools at work on real input, four attempts that end as they should,
//! and an agent whose host is killed in the middle of its turn.
//!
//! It needs no configuration, no service and no network, and ends by itself. Exit code 1 if a
//! step does not come out as it must, so that CI can run it.

mod host;
mod killed;
mod model;
mod steps;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use foreshore_control::{Control, Invocation, Selection};
use foreshore_domain::grant::{Access, Grant, HttpGrant, Mount};
use foreshore_domain::outcome::Usage;
use serde_json::{Value, json};
use tempfile::TempDir;

use self::model::Chosen;
use self::steps::{Step, Verdict};
use super::exit::{Exit, Failure};
use super::output::{Paint, Waiting, duration_us, print, print_json, printable, usage, usage_json};
use crate::config::{Config, ConfigError, Overrides};
use crate::wire_up::{self, Plan};

/// Figures of NASA's planetary fact sheet, in the public domain.
const PLANETS: &str = include_str!("demo/planets.csv");

/// Where there is no repository to search, this file of it is.
const SAMPLE: (&str, &str) = ("effects.rs", include_str!("../../../control/src/effects.rs"));

/// Show in under a minute what this does, on real input.
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Print one JSON object for each step
    #[arg(long)]
    json: bool,
    /// Let a scripted model play even where an Ollama answers
    #[arg(long)]
    scripted: bool,
}

impl Demo {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let stage = Stage::set().context("temporary files")?;
        let config = stage.config()?;
        let started = Instant::now();
        let (steps, failed) = wire_up::block_on(self.play(&stage, &config))?;
        if !self.json {
            let paint = Paint::stdout();
            let verdict = match failed {
                0 => paint.green(&format!("All {steps} steps came out as they must")),
                failed => paint.red(&format!("{failed} of {steps} steps did not")),
            };
            print(&format!("{verdict}, in {}.", elapsed(started.elapsed())));
        }
        Ok(if failed == 0 { Exit::Success } else { Exit::Failed })
    }

    /// How many steps there were, and how many of them did not come out as they must.
    async fn play(&self, stage: &Stage, config: &Config) -> Result<(usize, usize), Failure> {
        let waiting = Waiting::new("compiling the components, for the first time");
        let control = wire_up::start(config, Plan::command(config, Selection::All)).await?;
        drop(waiting);
        let (mut number, mut failed) = (0, 0);
        let mut show = |shown: &Shown| {
            number += 1;
            failed += usize::from(!shown.verdict.ok);
            if self.json {
                print_json(&shown.json());
            } else {
                print(&shown.text(number, &Paint::stdout()));
            }
        };
        for step in steps::all() {
            let (verdict, used) = call(&control, &step).await;
            show(&Shown::of_step(&step, verdict, &used));
        }
        control.drain(wire_up::DRAIN_OF_ONE_CALL).await;
        show(&self.killed(stage, config).await);
        Ok((number, failed))
    }

    /// A turn of an agent that outlives its host: on a model of this machine, or else on one
    /// that answers by rules, and says why.
    async fn killed(&self, stage: &Stage, config: &Config) -> Shown {
        let _waiting = Waiting::new("an agent works, and its host will be killed");
        let mut why = None;
        if !self.scripted {
            match Chosen::of_ollama().await {
                Ok(model) => match stage.killed("ollama", config, &model).await {
                    Ok(shown) => return shown,
                    Err(error) => why = Some(format!("{}: {error:#}", model.shown())),
                },
                Err(error) => why = Some(format!("{error:#}")),
            }
        }
        let scripted = async {
            let model = Chosen::rules()?;
            stage.killed("rules", config, &model).await
        };
        let mut shown = scripted.await.unwrap_or_else(|error| Shown::not_killed(&error));
        if let Some(why) = why {
            shown.verdict.text = format!("{why}\n{}", shown.verdict.text);
        }
        shown
    }
}

async fn call(control: &Arc<Control>, step: &Step) -> (Verdict, Usage) {
    let tool = step.tool.parse().expect("invariant: a step names a tool");
    let mut invocation = Invocation::new(tool, step.arguments.to_string());
    invocation.limits = step.limits;
    let result = control.invoke(invocation).await;
    let used = match &result {
        Ok(outcome) => outcome.usage,
        Err(failure) => failure.usage,
    };
    (step.judge(&result), used)
}

fn elapsed(time: Duration) -> String {
    duration_us(u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
}

/// A step that is over.
struct Shown {
    name: &'static str,
    shows: &'static str,
    /// `tool` or `agent`, and which.
    who: (&'static str, &'static str),
    /// What it was asked.
    asked: String,
    verdict: Verdict,
    usage: Value,
    usage_text: String,
}

impl Shown {
    fn of_step(step: &Step, verdict: Verdict, used: &Usage) -> Self {
        Self {
            name: step.name,
            shows: step.shows,
            who: ("tool", step.tool),
            asked: step.arguments.to_string(),
            verdict,
            usage: usage_json(used),
            usage_text: usage(used),
        }
    }

    fn of_turn(verdict: Verdict, usage: Value, usage_text: String) -> Self {
        Self {
            name: "killed",
            shows: "Kill the host in the middle of an agent's turn: the turn goes on where it was",
            who: ("agent", "assistant"),
            asked: killed::MESSAGE.to_owned(),
            verdict,
            usage,
            usage_text,
        }
    }

    fn not_killed(error: &anyhow::Error) -> Self {
        let verdict = Verdict { ok: false, text: format!("{error:#}"), code: None, grant: None };
        Self::of_turn(verdict, json!({}), String::new())
    }

    fn json(&self) -> Value {
        let mut json = json!({
            "name": self.name,
            "ok": self.verdict.ok,
            "text": self.verdict.text,
            "usage": self.usage,
        });
        json[self.who.0] = json!(self.who.1);
        if let Some(code) = self.verdict.code {
            json["code"] = json!(code);
        }
        if let Some(grant) = &self.verdict.grant {
            json["grant"] = json!(grant);
        }
        json
    }

    fn text(&self, number: usize, paint: &Paint) -> String {
        let mut shown: String = self.asked.chars().take(100).collect();
        if shown.len() < self.asked.len() {
            shown.push_str(" ...");
        }
        let mark = if self.verdict.ok { paint.green("ok") } else { paint.red("NOT AS EXPECTED") };
        let mut text = format!(
            "{} {}\n   {}\n",
            paint.bold(&format!("{number}.")),
            paint.bold(self.shows),
            paint.dim(&format!("{} {shown}", self.who.1)),
        );
        let code = self.verdict.code.map(|code| format!("{}: ", paint.yellow(code)));
        let code = code.unwrap_or_default();
        for (index, line) in printable(&self.verdict.text).lines().enumerate() {
            let before = if index == 0 { code.as_str() } else { "" };
            text += &format!("   {before}{line}\n");
        }
        if let Some(grant) = &self.verdict.grant {
            text += &format!("   to allow it: {}\n", paint.cyan(grant));
        }
        text += &format!("   {mark}  {}\n", paint.dim(&self.usage_text));
        text
    }
}

/// What the tools may see: the sources and a table.
struct Stage {
    sources: PathBuf,
    // Removed with everything in it at the end.
    folder: TempDir,
}

impl Stage {
    fn set() -> std::io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let tables = folder.path().join("tables");
        std::fs::create_dir(&tables)?;
        std::fs::write(tables.join("planets.csv"), PLANETS)?;
        let sources = match repository() {
            Some(repository) => repository,
            None => {
                let sample = folder.path().join("sample");
                std::fs::create_dir(&sample)?;
                std::fs::write(sample.join(SAMPLE.0), SAMPLE.1)?;
                sample
            }
        };
        Ok(Self { sources, folder })
    }

    /// Has an agent asked, its host killed and started again.
    async fn killed(&self, name: &str, config: &Config, model: &Chosen) -> anyhow::Result<Shown> {
        let directory = self.folder.path().join(name);
        let survival = killed::survive(&directory, &config.data, &self.tables(), model).await?;
        let mut lines = survival.lines;
        lines.extend(survival.faults.iter().map(|fault| format!("WRONG: {fault}")));
        let ok = survival.faults.is_empty();
        let verdict = Verdict { ok, text: lines.join("\n"), code: None, grant: None };
        let used = format!("{} · {}", killed::usage_text(&survival.usage), elapsed(survival.wall));
        Ok(Shown::of_turn(verdict, survival.usage, used))
    }

    fn tables(&self) -> PathBuf {
        self.folder.path().join("tables")
    }

    /// Defaults and four grants; files and variables of the machine play no part. Compiled
    /// components are kept where they always are, if there is such a place.
    fn config(&self) -> Result<Config, Failure> {
        let mut config = match Config::defaults(&Overrides::default()) {
            Err(ConfigError::NoDataDirectory) => {
                let data = self.folder.path().join("data");
                let overrides =
                    Overrides::default().flag(&["data"], "--data", Some(data.display()));
                Config::defaults(&overrides)?
            }
            config => config?,
        };
        // The components that this binary carries, and no others.
        config.components_directory = self.folder.path().join("components");
        wire_up::suggest_limits(&mut config)?;
        let tables = self.tables();
        for (name, grant) in grants(&self.sources, &tables) {
            config.policies.entry(name).grant = Arc::new(grant);
        }
        Ok(config)
    }
}

fn grants(sources: &Path, tables: &Path) -> BTreeMap<&'static str, Grant> {
    let mount = |host: &Path, guest: &str| Mount {
        host: host.to_owned(),
        guest: guest.parse().expect("invariant: a guest path"),
        access: Access::ReadOnly,
        bytes_max: Mount::DEFAULT_BYTES_MAX,
        entries_max: Mount::DEFAULT_ENTRIES_MAX,
    };
    let http = HttpGrant {
        allow: vec![steps::HTTP_RULE.parse().expect("invariant: a rule")],
        networks: Vec::new(),
    };
    BTreeMap::from([
        ("files", Grant { mounts: vec![mount(sources, steps::SOURCES)], ..Grant::default() }),
        ("query", Grant { mounts: vec![mount(tables, steps::TABLES)], ..Grant::default() }),
        ("fetch", Grant { http: Some(http), ..Grant::default() }),
    ])
}

/// This repository: where it was built, or around the working directory.
fn repository() -> Option<PathBuf> {
    let is_it = |path: &Path| path.join("host/control/src/effects.rs").is_file();
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let here = std::env::current_dir().ok()?;
    std::iter::once(built.as_path())
        .chain(here.ancestors())
        .find(|path| is_it(path))
        .and_then(|path| path.canonicalize().ok())
}
