//! `foreshore config check` and `foreshore config print`.

use clap::{Args, Subcommand};

use super::ConfigArguments;
use super::exit::{Exit, Failure};
use super::output::{Paint, print, print_json};
use crate::config::print::Secrets;

/// Check or print the configuration.
#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Say whether the host would start with it, and if not, why
    Check(Check),
    /// Write it as TOML, each line with where its value comes from
    Print(Print),
}

#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(flatten)]
    config: ConfigArguments,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Print {
    #[command(flatten)]
    config: ConfigArguments,
    /// Every setting in force, not only what was written
    #[arg(long)]
    effective: bool,
    /// Write out the values of env and config sections, which may be secret
    #[arg(long)]
    show_secrets: bool,
}

impl ConfigCommand {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        match self {
            Self::Check(command) => command.run(),
            Self::Print(command) => command.run(),
        }
    }
}

impl Check {
    fn run(self) -> Result<Exit, Failure> {
        let loaded = self.config.load().and_then(|config| {
            crate::wire_up::check(&config)?;
            Ok(config)
        });
        let config = match loaded {
            Ok(config) => config,
            Err(Failure::Config(error)) if self.json => {
                print_json(&serde_json::json!({ "ok": false, "error": error.to_string() }));
                return Ok(Exit::Start);
            }
            Err(failure) => return Err(failure),
        };
        let file = config.file.as_ref().map(|file| file.display().to_string());
        let warnings = crate::wire_up::policies_without_component(&config);
        if self.json {
            print_json(&serde_json::json!({ "ok": true, "file": file, "warnings": warnings }));
            return Ok(Exit::Success);
        }
        let paint = Paint::stdout();
        for warning in &warnings {
            eprintln!("{}: {warning}", Paint::stderr().yellow("warning"));
        }
        let file = file.unwrap_or_else(|| "no file; defaults and environment".to_owned());
        print(&format!("{} {file}", paint.green("ok")));
        Ok(Exit::Success)
    }
}

impl Print {
    fn run(self) -> Result<Exit, Failure> {
        let config = self.config.load()?;
        let secrets = if self.show_secrets { Secrets::Shown } else { Secrets::Redacted };
        print(&if self.effective { config.effective(secrets) } else { config.written(secrets) });
        Ok(Exit::Success)
    }
}
