//! Commands that ask the API one thing and show the answer, to a program or to a person.

use clap::Args;
use serde_json::Value;

use super::ConfigArguments;
use super::exit::{Exit, Failure};
use super::output::{Paint, print, print_json};
use crate::client::{self, Client};
use crate::config::Config;
use crate::wire_up::{self, Plan};

/// What every one of them takes.
#[derive(Debug, Args)]
pub(super) struct AnswerArguments {
    /// Print the answer of the HTTP API
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArguments,
}

impl AnswerArguments {
    /// Asks, and shows the answer.
    ///
    /// # Errors
    /// Nobody can be asked, or the question's own.
    pub(super) fn ask(
        &self,
        question: impl AsyncFnOnce(&Client) -> Result<Value, Failure>,
        show: impl FnOnce(&Value, &Paint) -> String,
    ) -> Result<Exit, Failure> {
        self.ask_of(Plan::journal, question, show)
    }

    /// As [`Self::ask`], of a host that also knows what records mean.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub(super) fn ask_memory(
        &self,
        question: impl AsyncFnOnce(&Client) -> Result<Value, Failure>,
        show: impl FnOnce(&Value, &Paint) -> String,
    ) -> Result<Exit, Failure> {
        self.ask_of(Plan::memory, question, show)
    }

    fn ask_of(
        &self,
        plan: fn(&Config) -> Plan,
        question: impl AsyncFnOnce(&Client) -> Result<Value, Failure>,
        show: impl FnOnce(&Value, &Paint) -> String,
    ) -> Result<Exit, Failure> {
        let mut config = super::events::load(&self.config)?;
        wire_up::suggest_limits(&mut config)?;
        let answer = client::ask_by(&config, plan(&config), question)?;
        if self.json {
            print_json(&answer);
        } else {
            print(&show(&answer, &Paint::stdout()));
        }
        Ok(Exit::Success)
    }
}
