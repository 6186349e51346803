//! `foreshore secret`: values that the host puts into requests, and no guest sees.
//!
//! A value comes from a terminal that does not show it, from standard input or from a file.
//! Deliberately absent: a value on the command line, which every process of the machine can read,
//! and any way to see one again.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand};
use foreshore_control::secrets::VALUE_MAX_BYTES;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use serde_json::{Value, json};

use super::ConfigArguments;
use super::activity::text;
use super::exit::{Exit, Failure};
use super::output::{Paint, TextTable, print, print_json};
use crate::client;

/// Set, list and remove secrets that the host puts into the requests of components.
#[derive(Debug, Subcommand)]
pub(super) enum Secret {
    /// Give a secret a value, which is asked for without being shown
    Set(Set),
    /// List the secrets there are; never a value
    List(List),
    /// Take a secret's value away, at once
    Rm(Remove),
    /// Seal all secrets under another key
    Rekey(List),
}

#[derive(Debug, Args)]
pub(super) struct Set {
    /// What grants call it: api-key
    name: String,
    /// Read the value from standard input
    #[arg(long, conflicts_with = "file")]
    stdin: bool,
    /// Read the value from a file
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArguments,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Print the answer of the HTTP API
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArguments,
}

#[derive(Debug, Args)]
pub(super) struct Remove {
    /// Its name, as `foreshore secret list` shows it
    name: String,
    #[command(flatten)]
    config: ConfigArguments,
}

impl Secret {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        match self {
            Self::Set(command) => command.run(),
            Self::List(command) => command.list(),
            Self::Rm(command) => command.run(),
            Self::Rekey(command) => command.rekey(),
        }
    }
}

impl Set {
    fn run(self) -> Result<Exit, Failure> {
        let config = super::events::load(&self.config)?;
        let value = match (&self.file, self.stdin) {
            (Some(file), _) => {
                let opened = std::fs::File::open(file);
                let read = opened.and_then(read);
                read.with_context(|| file.display().to_string()).map_err(Failure::Other)?
            }
            (None, true) => read(io::stdin()).context("standard input").map_err(Failure::Other)?,
            (None, false) => asked(&self.name)?,
        };
        let path = client::path(&["secrets", &self.name]);
        let body = json!({ "value": value });
        client::ask(&config, async |client| client.send("PUT", &path, Some(&body)).await)?;
        print(&format!("{} is set", self.name));
        Ok(Exit::Success)
    }
}

impl List {
    fn list(self) -> Result<Exit, Failure> {
        let config = super::events::load(&self.config)?;
        let listed = client::ask(&config, async |client| client.get("/v1/secrets").await)?;
        if self.json {
            print_json(&listed);
        } else {
            print(&table(&listed, &Paint::stdout()));
        }
        Ok(Exit::Success)
    }

    fn rekey(self) -> Result<Exit, Failure> {
        let config = super::events::load(&self.config)?;
        let done =
            client::ask(&config, async |client| client.send("POST", "/v1/rekey", None).await)?;
        if self.json {
            print_json(&done);
        } else {
            let sealed = done["sealed"].as_u64().unwrap_or_default();
            print(&format!("{sealed} secrets are sealed with the key {}", text(&done["key"])));
        }
        Ok(Exit::Success)
    }
}

impl Remove {
    fn run(self) -> Result<Exit, Failure> {
        let config = super::events::load(&self.config)?;
        let path = client::path(&["secrets", &self.name]);
        client::ask(&config, async |client| client.send("DELETE", &path, None).await)?;
        print(&format!("{} has no value any more", self.name));
        Ok(Exit::Success)
    }
}

fn table(listed: &Value, paint: &Paint) -> String {
    let mut table = TextTable::new(&["name", "set", "by", "audiences"]);
    for secret in listed["secrets"].as_array().into_iter().flatten() {
        table.row([
            text(&secret["name"]),
            text(&secret["set_at"]),
            text(&secret["set_by"]),
            secret["audiences"].as_u64().unwrap_or_default().to_string(),
        ]);
    }
    table.render(paint)
}

/// All of it, without the line end that editors and `echo` add.
fn read(source: impl io::Read) -> io::Result<String> {
    let most = u64::try_from(VALUE_MAX_BYTES).unwrap_or(u64::MAX);
    let mut text = String::new();
    source.take(most.saturating_add(3)).read_to_string(&mut text)?;
    without_line_end(&mut text);
    if text.len() > VALUE_MAX_BYTES {
        return Err(io::Error::other(format!("a secret has at most {VALUE_MAX_BYTES} bytes")));
    }
    Ok(text)
}

fn without_line_end(text: &mut String) {
    for end in ['\n', '\r'] {
        if text.ends_with(end) {
            text.pop();
        }
    }
}

/// Asks for a value that the terminal does not show.
fn asked(name: &str) -> Result<String, Failure> {
    let terminal = io::stdin();
    if !terminal.is_terminal() {
        let message =
            "standard input is no terminal: say --stdin to read the value from it, or --file FILE";
        return Err(Failure::Usage(message.to_owned()));
    }
    let hidden = Hidden::new().map_err(|error| Failure::Other(anyhow!("the terminal: {error}")))?;
    eprint!("value of {name}: ");
    let mut text = String::new();
    let read = io::stderr().flush().and_then(|()| terminal.lock().read_line(&mut text));
    drop(hidden);
    eprintln!();
    read.context("the terminal").map_err(Failure::Other)?;
    without_line_end(&mut text);
    Ok(text)
}

/// A terminal that does not show what is typed, until this is dropped.
struct Hidden(rustix::termios::Termios);

impl Hidden {
    fn new() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &hidden)?;
        Ok(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // Nothing more can be done for a terminal that is gone.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_all_of_its_source_but_one_line_end() {
        for (given, value) in [
            ("hunter2!", "hunter2!"),
            ("hunter2!\n", "hunter2!"),
            ("a\nb\r\n", "a\nb"),
            ("a\n\n", "a\n"),
        ] {
            assert_eq!(read(given.as_bytes()).expect("read"), value);
        }
        let large = "x".repeat(VALUE_MAX_BYTES + 1);
        assert!(read(large.as_bytes()).is_err());
    }
}
