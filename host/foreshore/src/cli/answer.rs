//! Commands that ask the API one thing and show the answer, to a program or to a person.

use clap::Args;
use serde_json::Value;

use super::ConfigArguments;
use super::exit::{Exit, Failure};
use super::output::{Paint, print, print_json};
use crate::client::{self, Client};

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
        let config = super::events::load(&self.config)?;
        let answer = client::ask(&config, question)?;
        if self.json {
            print_json(&answer);
        } else {
            print(&show(&answer, &Paint::stdout()));
        }
        Ok(Exit::Success)
    }
}
