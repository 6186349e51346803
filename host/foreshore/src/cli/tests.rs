//! The command line as people see it.

use clap::CommandFactory;

use super::*;

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn help_is_a_snapshot() {
    let mut command = Cli::command();
    command.build();
    insta::assert_snapshot!(help_of(&mut command, "foreshore"));
}

fn help_of(command: &mut clap::Command, path: &str) -> String {
    let mut text =
        format!("$ {path} --help\n{}\n", command.clone().term_width(100).render_long_help());
    for sub in command.get_subcommands_mut() {
        let path = format!("{path} {}", sub.get_name());
        if sub.get_name() != "help" {
            text += &help_of(sub, &path);
        }
    }
    text
}
