//! What a line that begins with `!` asks for.

use foreshore_domain::component::ToolName;
use serde_json::{Value, json};

use crate::cli::activity;
use crate::cli::output::printable;

pub(super) const HELP: &str = "\
!status          whether the host takes calls, its models, what waits
!system          version, machine, data directory, limits
!analyze         what the last turn did and used
!rsi             what the records say could go better; nothing is changed by it
!consider_self   a diagnosis: store, models, components, disk, clock
!interpret CODE  run JavaScript in the sandbox
!history         what was said in this conversation
!help            this
!quit            leave
!component.tool {\"json\": \"arguments\"}  call a tool
!ls /notes       anything else: a command line for the sandboxed shell
All other lines are messages. Ctrl-C cancels a turn, twice leaves.";

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Bang {
    Help,
    Status,
    System,
    Analyze,
    Rsi,
    ConsiderSelf,
    History,
    Leave,
    Interpret(String),
    Tool {
        name: String,
        arguments: Value,
    },
    Shell(String),
    /// It makes no sense, and why.
    Refused(String),
}

impl Bang {
    /// `None`: a message.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let command = line.trim().strip_prefix('!')?.trim_start();
        let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        let rest = rest.trim();
        Some(match name {
            "" => Self::Help,
            "help" => Self::Help,
            "status" => Self::Status,
            "system" => Self::System,
            "analyze" => Self::Analyze,
            "rsi" => Self::Rsi,
            "consider_self" => Self::ConsiderSelf,
            "history" => Self::History,
            "quit" | "exit" => Self::Leave,
            "interpret" if rest.is_empty() => {
                Self::Refused("write the code behind !interpret: !interpret 6 * 7".to_owned())
            }
            "interpret" => Self::Interpret(rest.to_owned()),
            name if name.parse::<ToolName>().is_ok() => Self::tool(name, rest),
            _ => Self::Shell(command.to_owned()),
        })
    }

    fn tool(name: &str, rest: &str) -> Self {
        let arguments = if rest.is_empty() { Ok(json!({})) } else { serde_json::from_str(rest) };
        match arguments {
            Ok(arguments) => Self::Tool { name: name.to_owned(), arguments },
            Err(error) => Self::Refused(format!(
                "the arguments of {name} are no JSON ({error}): write !{name} {{\"name\": \"value\"}}"
            )),
        }
    }
}

/// What a tool gave back, for people.
pub(super) fn called(answer: &Value) -> String {
    let mut text = String::new();
    for part in answer["content"].as_array().into_iter().flatten() {
        match part["text"].as_str() {
            Some(said) => text += &printable(said),
            None if !part["json"].is_null() => text += &printable(&part["json"].to_string()),
            None => text += &format!("[{}]", activity::text(&part["type"])),
        }
        if !text.ends_with('\n') {
            text.push('\n');
        }
    }
    if text.is_empty() && !answer["structured"].is_null() {
        text = printable(&answer["structured"].to_string());
    }
    if answer["is_error"] == true { format!("the tool failed: {text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_message_a_command_a_tool_or_for_the_shell() {
        let tool = |name: &str, arguments| Bang::Tool { name: name.to_owned(), arguments };
        let rows = [
            ("hello !status", None),
            ("!status", Some(Bang::Status)),
            ("  !help ", Some(Bang::Help)),
            ("!", Some(Bang::Help)),
            ("!interpret 6 * 7", Some(Bang::Interpret("6 * 7".to_owned()))),
            ("!files.list {\"path\": \"/\"}", Some(tool("files.list", json!({"path": "/"})))),
            ("!memory.list", Some(tool("memory.list", json!({})))),
            ("!ls -l /notes | wc", Some(Bang::Shell("ls -l /notes | wc".to_owned()))),
        ];
        for (line, wanted) in rows {
            assert_eq!(Bang::parse(line), wanted, "{line}");
        }
    }

    #[test]
    fn arguments_that_are_no_json_are_refused_with_the_way_on() {
        let Some(Bang::Refused(text)) = Bang::parse("!files.list /notes") else {
            panic!("it is refused")
        };
        assert!(text.contains("!files.list {"), "{text}");
    }

    #[test]
    fn help_names_every_command() {
        for name in
            ["status", "system", "analyze", "rsi", "consider_self", "interpret", "history", "quit"]
        {
            assert!(
                HELP.contains(&format!("\n!{name} ")) || HELP.starts_with(&format!("!{name} "))
            );
        }
    }
}
