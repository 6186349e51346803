//! `foreshore demo`: three tools at work on real input, and four attempts that end as they should.
//!
//! It needs no configuration, no service and no network, and ends by itself. Exit code 1 if a
//! step does not come out as it must, so that CI can run it.

mod steps;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use clap::Args;
use foreshore_control::{Control, Invocation, Selection};
use foreshore_domain::grant::{Access, Grant, HttpGrant, Mount};
use foreshore_domain::outcome::Usage;
use serde_json::json;
use tempfile::TempDir;

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
}

impl Demo {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let stage = Stage::set().context("temporary files")?;
        let config = stage.config()?;
        let started = Instant::now();
        let steps = steps::all();
        let failed = wire_up::block_on(self.play(&config, &steps))?;
        if !self.json {
            let elapsed_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
            let paint = Paint::stdout();
            let verdict = match failed {
                0 => paint.green(&format!("All {} steps came out as they must", steps.len())),
                failed => paint.red(&format!("{failed} of {} steps did not", steps.len())),
            };
            print(&format!("{verdict}, in {}.", duration_us(elapsed_us)));
        }
        Ok(if failed == 0 { Exit::Success } else { Exit::Failed })
    }

    async fn play(&self, config: &Config, steps: &[Step]) -> Result<usize, Failure> {
        let waiting = Waiting::new("compiling the components, for the first time");
        let control = wire_up::start(config, Plan::command(config, Selection::All)).await?;
        drop(waiting);
        let mut failed = 0;
        for (index, step) in steps.iter().enumerate() {
            let (verdict, used) = call(&control, step).await;
            failed += usize::from(!verdict.ok);
            if self.json {
                print_json(&as_json(step, &verdict, &used));
            } else {
                print(&as_text(index + 1, step, &verdict, &used, &Paint::stdout()));
            }
        }
        control.drain(wire_up::DRAIN_OF_ONE_CALL).await;
        Ok(failed)
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

fn as_json(step: &Step, verdict: &Verdict, used: &Usage) -> serde_json::Value {
    let mut json = json!({
        "name": step.name,
        "ok": verdict.ok,
        "tool": step.tool,
        "text": verdict.text,
        "usage": usage_json(used),
    });
    if let Some(code) = verdict.code {
        json["code"] = json!(code);
    }
    if let Some(grant) = &verdict.grant {
        json["grant"] = json!(grant);
    }
    json
}

fn as_text(number: usize, step: &Step, verdict: &Verdict, used: &Usage, paint: &Paint) -> String {
    let arguments = step.arguments.to_string();
    let mut shown: String = arguments.chars().take(100).collect();
    if shown.len() < arguments.len() {
        shown.push_str(" ...");
    }
    let mark = if verdict.ok { paint.green("ok") } else { paint.red("NOT AS EXPECTED") };
    let mut text = format!(
        "{} {}\n   {}\n",
        paint.bold(&format!("{number}.")),
        paint.bold(step.shows),
        paint.dim(&format!("{} {shown}", step.tool)),
    );
    let code = verdict.code.map(|code| format!("{}: ", paint.yellow(code))).unwrap_or_default();
    for (index, line) in printable(&verdict.text).lines().enumerate() {
        let before = if index == 0 { code.as_str() } else { "" };
        text += &format!("   {before}{line}\n");
    }
    if let Some(grant) = &verdict.grant {
        text += &format!("   to allow it: {}\n", paint.cyan(grant));
    }
    text += &format!("   {mark}  {}\n", paint.dim(&usage(used)));
    text
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
        let tables = self.folder.path().join("tables");
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
        secrets: Vec::new(),
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
