//! `foreshore test COMPONENT.wasm --cases DIR`: what a component does, held against what it should
//! do, on the real host with scripted servers.
//!
//! Deliberately absent: a simulation of anything. A case that passes here passes for the reason
//! it would pass in production.

pub(crate) mod case;
mod run;
mod script;
mod verdict;

use std::path::PathBuf;

use clap::Args;

use self::case::Case;
use self::run::Report;
use self::verdict::Difference;
use super::exit::{Exit, Failure};
use super::output::{Paint, Waiting, print, print_json, printable, usage, usage_json};
use crate::config::{Config, Overrides};
use crate::wire_up;

/// Run a component's test cases on the real host.
#[derive(Debug, Args)]
#[command(after_help = "\
A case is NAME.toml, or NAME/case.toml with the files it needs:
  tool = \"search\"
  arguments = { path = \"/data\", pattern = \"fn main\" }
  [grants]
  mounts = [{ fixture = \"tree\", guest = \"/data\", access = \"read-only\" }]
  [[http]]
  request = \"GET https://api.example.org/v2\"
  body_json = { answer = 42 }
  [expect]
  is_error = false            # or error, denied: a code
  result_subset = { count = 1 }   # or result, text
  fuel_max = 5_000_000        # also memory_max_bytes, logs, files, requests")]
pub(super) struct Test {
    /// The component
    #[arg(value_name = "COMPONENT.wasm")]
    component: PathBuf,
    /// The folder with the cases
    #[arg(long, value_name = "DIR")]
    cases: PathBuf,
    /// Run only cases whose name contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Where compiled components are kept
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl Test {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        // Cases come out the same everywhere: neither file nor environment plays a part.
        let data = self.data.as_ref().map(|data| data.display());
        let config = Config::defaults(&Overrides::default().flag(&["data"], "--data", data))?;
        let mut cases = case::read_all(&self.cases).map_err(anyhow::Error::from)?;
        if let Some(only) = &self.only {
            cases.retain(|case| case.name.contains(only));
            if cases.is_empty() {
                return Err(Failure::Usage(format!("no case has \"{only}\" in its name")));
            }
        }
        let reports = wire_up::block_on(self.run_all(&config, &cases))?;
        let failed = reports.iter().filter(|report| !report.differences.is_empty()).count();
        if self.json {
            print_json(&self.as_json(&reports));
        } else {
            let paint = Paint::stdout();
            print(&format!(
                "\n{} passed, {failed} failed",
                paint.bold(&(reports.len() - failed).to_string())
            ));
        }
        Ok(if failed == 0 { Exit::Success } else { Exit::Failed })
    }

    async fn run_all(&self, config: &Config, cases: &[Case]) -> Result<Vec<Report>, Failure> {
        let component = wire_up::read_component(&self.component)?;
        let waiting = Waiting::new("compiling the component, for the first time");
        let (reference, _) = wire_up::examine(config, &component)?;
        let mut reports = Vec::new();
        for case in cases {
            waiting.say(format!("running {}", case.name));
            let report = run::run(config, &component, &reference.name, case).await?;
            if !self.json {
                waiting.suspend(|| print(&lines(&report)));
            }
            reports.push(report);
        }
        Ok(reports)
    }

    fn as_json(&self, reports: &[Report]) -> serde_json::Value {
        let cases: Vec<serde_json::Value> = reports
            .iter()
            .map(|report| {
                let differences: Vec<serde_json::Value> = report
                    .differences
                    .iter()
                    .map(|Difference { expectation, expected, actual }| {
                        serde_json::json!({
                            "expectation": expectation, "expected": expected, "actual": actual,
                        })
                    })
                    .collect();
                serde_json::json!({
                    "name": report.name,
                    "ok": report.differences.is_empty(),
                    "usage": usage_json(&report.usage),
                    "differences": differences,
                })
            })
            .collect();
        let ok = reports.iter().all(|report| report.differences.is_empty());
        serde_json::json!({ "ok": ok, "cases": cases })
    }
}

fn lines(report: &Report) -> String {
    let paint = Paint::stdout();
    let verdict =
        if report.differences.is_empty() { paint.green("pass") } else { paint.red("FAIL") };
    let mut text = format!("{verdict} {}  {}", report.name, paint.dim(&usage(&report.usage)));
    for Difference { expectation, expected, actual } in &report.differences {
        text += &format!(
            "\n     {}\n{}\n{}",
            paint.bold(expectation),
            paint.green(&prefixed("     - ", expected)),
            paint.red(&prefixed("     + ", actual)),
        );
    }
    text
}

fn prefixed(prefix: &str, text: &str) -> String {
    let lines: Vec<String> =
        printable(text).lines().map(|line| format!("{prefix}{line}")).collect();
    if lines.is_empty() { prefix.to_owned() } else { lines.join("\n") }
}
