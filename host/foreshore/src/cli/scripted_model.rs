//! `foreshore scripted-model`: a model server that answers by rules from a file.
//!
//! Standard output gets exactly one line, `listening on http://ADDR`, when requests are taken; a
//! program that started the server waits for it. SIGTERM and SIGINT end it at once, with whatever
//! it was answering: that is what the end of a model server looks like.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::Context as _;
use clap::Args;
use foreshore_scripted_model::{Format, Recorded, Script, ScriptedServer};

use super::exit::{Exit, Failure};
use super::output::print;
use super::serve::Signals;
use crate::wire_up;

/// Serve a model that answers by rules from a file.
#[derive(Debug, Args)]
pub(super) struct ScriptedModel {
    /// The rules: .toml, .yaml or .json [default: a small model for the shipped tools]
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:11434")]
    listen: SocketAddr,
    /// Add a line of JSON to this file for each request, once it has ended
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
}

impl ScriptedModel {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let script = self.script.as_deref().map_or_else(|| Ok(Script::demo()), read);
        let script = script.map_err(Failure::Start)?;
        wire_up::block_on(self.serve(script)).map_err(Failure::Start)?;
        Ok(Exit::Success)
    }

    async fn serve(&self, script: Script) -> anyhow::Result<()> {
        let mut signals = Signals::new().context("signals")?;
        let server = self.start(script)?;
        print(&format!("listening on {}", server.url()));
        signals.stop().await;
        server.stop();
        Ok(())
    }

    fn start(&self, script: Script) -> anyhow::Result<ScriptedServer> {
        let server = match &self.record {
            None => ScriptedServer::start(script, self.listen),
            Some(path) => {
                let record = Record::open(path)?;
                ScriptedServer::start_recording(script, self.listen, move |it| record.add(it))
            }
        };
        server.with_context(|| format!("listening on {}", self.listen))
    }
}

/// Reads a script from a file.
///
/// # Errors
/// A file that cannot be read, or is no script.
pub(crate) fn read(path: &Path) -> anyhow::Result<Script> {
    let shown = path.display();
    let format = Format::of(path);
    let format =
        format.with_context(|| format!("{shown}: a script ends with .toml, .yaml or .json"))?;
    let text = std::fs::read_to_string(path).with_context(|| shown.to_string())?;
    Script::parse(&text, format).with_context(|| shown.to_string())
}

/// The file that requests are written to.
struct Record {
    path: PathBuf,
    file: Mutex<File>,
}

impl Record {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.with_context(|| path.display().to_string())?;
        Ok(Self { path: path.to_owned(), file: Mutex::new(file) })
    }

    /// One line in one write. The server goes on when it cannot be written, and says so.
    fn add(&self, recorded: &Recorded) {
        let line = serde_json::to_string(recorded).map_err(std::io::Error::from);
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let written = line.and_then(|line| file.write_all(format!("{line}\n").as_bytes()));
        if let Err(error) = written {
            eprintln!(
                "{}: request {} is not recorded: {error}",
                self.path.display(),
                recorded.number
            );
        }
    }
}
