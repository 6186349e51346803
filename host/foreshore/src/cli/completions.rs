//! `foreshore completions SHELL`.

use clap::{Args, CommandFactory};

use super::exit::{Exit, Failure};

/// Write a completion script for a shell.
#[derive(Debug, Args)]
#[command(
    after_help = "For bash: foreshore completions bash > ~/.local/share/bash-completion/completions/foreshore"
)]
pub(super) struct Completions {
    /// The shell
    shell: clap_complete::Shell,
}

impl Completions {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::Cli::command(), "foreshore", &mut script);
        super::output::print(&String::from_utf8_lossy(&script));
        Ok(Exit::Success)
    }
}
