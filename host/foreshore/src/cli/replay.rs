//! `foreshore replay`: a past turn again, beside its record.
//!
//! It changes nothing: tools are answered from the record, and what is not on it is not called.

use std::path::Path;

use clap::{Args, ValueEnum};
use foreshore_control::Source;
use serde_json::{Value, json};

use super::ConfigArguments;
use super::activity::{error, one_line, short, text};
use super::exit::{Exit, Failure};
use super::output::{Paint, TextTable, grouped, print, print_json, printable};
use crate::client::{self, path, query};
use crate::config::Config;
use crate::wire_up;

/// Of one step in a table.
const STEP_CHARS: usize = 44;

/// Run a past turn again, and compare the two
#[derive(Debug, Args)]
#[command(after_help = "\
On its record alone, a turn that does not do the same again is a failure (exit code 1). With
another component, model or prompt the two are shown, and whatever comes of it is a success.")]
pub(super) struct Replay {
    /// The turn, such as turn_0197f3a4c2d97c018f6a3d2e5b7c9d10
    turn: String,
    /// With this component instead of the agent's own: one that is served, or a file, which is
    /// loaded for this alone
    #[arg(long, value_name = "NAME|FILE.wasm")]
    component: Option<String>,
    /// With this model; means --live inference
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// With this message instead of the turn's
    #[arg(long, value_name = "TEXT")]
    prompt: Option<String>,
    /// What is asked anew instead of taken from the record
    #[arg(long, value_name = "WHAT")]
    live: Option<Live>,
    /// Print the answer of the HTTP API
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArguments,
}

/// What can be asked anew. Deliberately absent: tools.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Live {
    /// Answers of models
    Inference,
}

impl Replay {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let config = super::events::load(&self.config)?;
        let given = [&self.component, &self.model, &self.prompt];
        let is_same = self.live.is_none() && given.iter().all(|given| given.is_none());
        let file = self.component.as_deref().map(Path::new).filter(|named| is_file(named));
        let report = match file {
            None => self.as_served(&config),
            Some(file) => self.with_file(&config, file),
        }?;
        if self.json {
            print_json(&report);
        } else {
            print(&side_by_side(&report, &Paint::stdout()));
        }
        let diverged = is_same && !report["divergence"].is_null();
        Ok(if diverged { Exit::Failed } else { Exit::Success })
    }
}

impl Replay {
    fn as_served(&self, config: &Config) -> Result<Value, Failure> {
        let mut body = json!({ "live_inference": self.live.is_some() });
        let given =
            [("component", &self.component), ("model", &self.model), ("prompt", &self.prompt)];
        for (name, value) in given {
            if let Some(value) = value {
                body[name] = value.as_str().into();
            }
        }
        let path = path(&["turns", &self.turn, "replay"]);
        client::ask_agents(config, async |client| client.send("POST", &path, Some(&body)).await)
    }

    fn with_file(&self, config: &Config, file: &Path) -> Result<Value, Failure> {
        let Source { bytes, file_stem, .. } = wire_up::read_component(file)?;
        let query = query(&[
            ("name", file_stem),
            ("model", self.model.clone()),
            ("prompt", self.prompt.clone()),
            ("live_inference", Some(self.live.is_some().to_string())),
        ]);
        let path = path(&["turns", &self.turn, "replay"]) + &query;
        client::ask_agents(config, async |client| client.send_component(&path, bytes).await)
    }
}

/// Whether a file is meant: no component is called so.
fn is_file(named: &Path) -> bool {
    named.extension().is_some_and(|extension| extension == "wasm") || named.components().count() > 1
}

fn side_by_side(report: &Value, paint: &Paint) -> String {
    let sides = [&report["recorded"], &report["replayed"]];
    let mut table = TextTable::new(&["", "recorded", "replayed"]);
    let mut row = |name: &str, cell: &dyn Fn(&Value) -> String| {
        let [recorded, replayed] = sides.map(cell);
        table.row([name.to_owned(), recorded, replayed]);
    };
    row("component", &|side| text(&side["component"]));
    row("outcome", &|side| match side["end"].as_str() {
        Some(end) => one_line(end),
        None => "stopped".to_owned(),
    });
    for name in ["model_calls", "tool_calls", "input_tokens", "output_tokens", "fuel"] {
        let label = name.replace('_', " ");
        row(&label, &|side| grouped(side["usage"][name].as_u64().unwrap_or(0)));
    }
    let length = |side: &Value| side["steps"].as_array().map_or(0, Vec::len);
    for number in 0..sides.map(length).into_iter().max().unwrap_or(0) {
        let steps = sides.map(|side| &side["steps"][number]);
        let same = steps[0]["digest"] == steps[1]["digest"];
        let mark = if same { format!("{number}") } else { format!("{number} *") };
        row(&mark, &|side| {
            let step = &side["steps"][number];
            let said = format!("{} {}", text(&step["kind"]), text(&step["summary"]));
            short(if step.is_null() { "-" } else { &said }, STEP_CHARS)
        });
    }
    let mut said = table.render(paint);
    said += &divergence(&report["divergence"], paint);
    for call in report["would_have_called"].as_array().into_iter().flatten() {
        let arguments = short(call["arguments"].as_str().unwrap_or_default(), STEP_CHARS);
        said += &format!("would have called {} {arguments}\n", text(&call["tool"]));
    }
    let replies = sides.map(|side| side["reply"]["text"].as_str().unwrap_or_default());
    if replies[0] == replies[1] {
        said += &format!("\nboth answer:\n{}\n", printable(replies[0]));
    } else {
        for (name, reply) in ["recorded", "replayed"].into_iter().zip(replies) {
            said += &format!("\n{name} answer:\n{}\n", printable(reply));
        }
    }
    for (name, side) in ["recorded", "replayed"].into_iter().zip(sides) {
        if let Some(error) = error(side) {
            said += &format!("{name}: {}\n", paint.red(&error));
        }
    }
    said
}

fn divergence(divergence: &Value, paint: &Paint) -> String {
    if divergence.is_null() {
        return format!("{}: every step is the recorded one\n", paint.green("no divergence"));
    }
    let part = |name: &str| divergence[name].as_str().map_or("nothing".to_owned(), one_line);
    format!(
        "{} at step {}\n  recorded: {}\n  found:    {}\n",
        paint.yellow("diverges"),
        text(&divergence["number"]),
        part("recorded"),
        part("found"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(digest: &str) -> Value {
        json!({
            "component": "assistant@0.1.0", "end": "completed", "reply": {"text": digest},
            "steps": [{"kind": "infer", "summary": "infer", "digest": digest}],
            "usage": {"fuel": 1_234},
        })
    }

    #[test]
    fn a_file_is_told_from_a_name() {
        for (named, expected) in [
            ("pilot.wasm", true),
            ("../pilot.wasm", true),
            ("./pilot", true),
            ("pilot", false),
            ("pilot@1.2.3", false),
        ] {
            assert_eq!(is_file(Path::new(named)), expected, "{named}");
        }
    }

    #[test]
    fn the_same_again_is_said_to_be_that() {
        let report = json!({"recorded": side("a"), "replayed": side("a")});
        let said = side_by_side(&report, &Paint::plain());
        assert!(said.contains("no divergence") && said.contains("both answer"), "{said}");
        assert!(!said.contains("0 *"), "{said}");
    }

    #[test]
    fn where_two_part_is_marked() {
        let report = json!({
            "recorded": side("a"), "replayed": side("b"),
            "divergence": {"number": 0, "recorded": "infer a"},
            "would_have_called": [{"tool": "files.read", "arguments": "{}"}],
        });
        let said = side_by_side(&report, &Paint::plain());
        for wanted in
            ["0 *", "diverges at step 0", "found:    nothing", "would have called files.read {}"]
        {
            assert!(said.contains(wanted), "{wanted} in {said}");
        }
    }
}
