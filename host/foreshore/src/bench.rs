//! `foreshore bench`: what the product promises about speed, each promise against a floor that is
//! measured in the same run.
//!
//! Deliberately absent: absolute times as targets. Machines differ and are noisy; a ratio between
//! two things measured in turn holds. Ours and floor alternate, and the median of the rounds
//! counts. The invariant: a floor does the same work with the same guest, and nothing else.

mod agents;
mod bare;
mod breaker;
mod call;
mod cold;
mod control;
mod cpu;
mod durable;
mod fair;
mod figures;
mod http;
mod idle;
mod journal;
mod load;
mod memory;
mod stream;
mod turn;
mod waiting;

use serde_json::{Value, json};

use crate::cli::exit::{Exit, Failure};

/// What a benchmark found.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    name: String,
    unit: &'static str,
    floor: Option<f64>,
    ours: f64,
    target: Target,
    /// What a reader should know: what the floor is, or why there is none.
    note: String,
}

/// What a row has to reach.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    /// Ours over floor is at most this.
    RatioAtMost(f64),
    /// Ours over floor is at least this.
    RatioAtLeast(f64),
    /// Ours is at most so much more than the floor, in the row's unit.
    AddedAtMost(f64),
    /// Ours is at most this, in the row's unit.
    AtMost(f64),
    /// Ours is at least this, in the row's unit.
    AtLeast(f64),
    /// Nothing; it is told.
    Reported,
}

impl Row {
    fn ratio(&self) -> Option<f64> {
        self.floor.filter(|floor| *floor > 0.0).map(|floor| self.ours / floor)
    }

    /// Whether the target is reached; `None` where there is none.
    pub(crate) fn holds(&self) -> Option<bool> {
        match self.target {
            Target::RatioAtMost(most) => self.ratio().map(|ratio| ratio <= most),
            Target::RatioAtLeast(least) => self.ratio().map(|ratio| ratio >= least),
            Target::AddedAtMost(most) => self.floor.map(|floor| self.ours - floor <= most),
            Target::AtMost(most) => Some(self.ours <= most),
            Target::AtLeast(least) => Some(self.ours >= least),
            Target::Reported => None,
        }
    }

    fn target_text(&self) -> String {
        match self.target {
            Target::RatioAtMost(most) => format!("<= {most}x"),
            Target::RatioAtLeast(least) => format!(">= {least}x"),
            Target::AddedAtMost(most) => format!("+ {most} at most"),
            Target::AtMost(most) => format!("<= {most} {}", self.unit),
            Target::AtLeast(least) => format!(">= {least} {}", self.unit),
            Target::Reported => "reported".to_owned(),
        }
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "unit": self.unit,
            "floor": self.floor.map(rounded),
            "ours": rounded(self.ours),
            "ratio": self.ratio().map(rounded),
            "target": self.target_text(),
            "holds": self.holds(),
            "note": self.note,
        })
    }
}

fn rounded(figure: f64) -> f64 {
    (figure * 1_000.0).round() / 1_000.0
}

/// A benchmark: its name, what it measures, and how.
struct Benchmark {
    name: &'static str,
    about: &'static str,
    run: fn(&Effort) -> anyhow::Result<Vec<Row>>,
}

const BENCHMARKS: &[Benchmark] = &[
    Benchmark { name: "call", about: "one call through the door / bare wasmtime", run: call::call },
    Benchmark {
        name: "threads",
        about: "a call on each of two threads / on one",
        run: call::threads,
    },
    Benchmark { name: "call-durable", about: "durable calls / redb alone", run: durable::run },
    Benchmark { name: "journal", about: "durable events / redb alone", run: journal::append },
    Benchmark {
        name: "journal-verify",
        about: "holding events to the chain",
        run: journal::verify,
    },
    Benchmark { name: "ready", about: "a journal of 1 GiB after a kill", run: journal::ready },
    Benchmark { name: "memory", about: "reading and searching 100,000 records", run: memory::run },
    Benchmark {
        name: "http-call",
        about: "POST tool call / hyper hello, and wasmtime serve",
        run: http::run,
    },
    Benchmark {
        name: "cold",
        about: "first call of a cached component in a fresh process",
        run: cold::run,
    },
    Benchmark { name: "idle", about: "memory of 1,000 registered components", run: idle::run },
    Benchmark {
        name: "idle-turns",
        about: "memory of 2,000 conversations that wait for a person",
        run: waiting::run,
    },
    Benchmark {
        name: "turn",
        about: "a turn of 4 model calls and 3 tool calls / the same requests and commits bare",
        run: turn::run,
    },
    Benchmark {
        name: "stream",
        about: "a piece of a model's answer through the host / straight",
        run: stream::run,
    },
    Benchmark {
        name: "breaker",
        about: "the decision of a breaker, and being refused by an open one",
        run: breaker::run,
    },
    Benchmark { name: "cpu", about: "CPU-heavy guests / the same code native", run: cpu::run },
    Benchmark {
        name: "fair",
        about: "a small call beside 64 spinning guests / alone",
        run: fair::fair,
    },
    Benchmark {
        name: "deadline",
        about: "how late a spinning guest is stopped, over 200 runs",
        run: fair::deadline,
    },
];

/// How much to measure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// Rounds of ours and floor in turn; the median counts.
    pub(crate) rounds: usize,
}

/// `foreshore bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Bench {
    /// One benchmark; all of them if none is named
    name: Option<String>,
    /// Print JSON: [{"name","unit","floor","ours","ratio","target","holds","note"}]
    #[arg(long)]
    json: bool,
    /// Rounds of ours and floor in turn, of which the median counts
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u8).range(1..=99))]
    rounds: u8,
    /// What a child process of a benchmark does
    #[arg(long, hide = true)]
    part: Option<String>,
}

impl Bench {
    /// Runs; [`Exit::Failed`] if a target was missed.
    ///
    /// # Errors
    /// A benchmark that could not be run, or a name that none has.
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        Ok(if self.measure()? { Exit::Success } else { Exit::Failed })
    }

    fn measure(&self) -> anyhow::Result<bool> {
        if let Some(part) = &self.part {
            return self.run_part(part).map(|()| true);
        }
        let chosen: Vec<&Benchmark> = match &self.name {
            None => BENCHMARKS.iter().collect(),
            Some(name) => vec![named(name)?],
        };
        let effort = Effort { rounds: usize::from(self.rounds) };
        let mut rows = Vec::new();
        for benchmark in chosen {
            if !self.json {
                eprintln!("{}: {} ...", benchmark.name, benchmark.about);
            }
            rows.extend((benchmark.run)(&effort)?);
        }
        if self.json {
            let rows: Vec<Value> = rows.iter().map(Row::json).collect();
            println!("{}", serde_json::to_string_pretty(&rows)?);
        } else {
            print!("{}", table(&rows));
        }
        Ok(rows.iter().all(|row| row.holds() != Some(false)))
    }

    fn run_part(&self, part: &str) -> anyhow::Result<()> {
        match part {
            "hello" => http::hello(),
            "cold" => cold::part(),
            "idle" => idle::part(),
            "waiting" => waiting::part(),
            other => anyhow::bail!("no part is called \"{other}\""),
        }
    }
}

fn named(name: &str) -> anyhow::Result<&'static Benchmark> {
    BENCHMARKS.iter().find(|benchmark| benchmark.name == name).ok_or_else(|| {
        let names: Vec<&str> = BENCHMARKS.iter().map(|benchmark| benchmark.name).collect();
        anyhow::anyhow!("no benchmark is called \"{name}\"; there are {}", names.join(", "))
    })
}

/// The rows for people: what was measured, against what, and whether it holds.
fn table(rows: &[Row]) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{:<30} {:>12} {:>12} {:>8}  {:<16} {:<6} unit",
        "benchmark", "floor", "ours", "ratio", "target", "holds"
    );
    for row in rows {
        let figure = |figure: Option<f64>| figure.map_or_else(|| "-".to_owned(), short);
        let holds = match row.holds() {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "-",
        };
        let _ = writeln!(
            text,
            "{:<30} {:>12} {:>12} {:>8}  {:<16} {:<6} {}",
            row.name,
            figure(row.floor),
            short(row.ours),
            figure(row.ratio()),
            row.target_text(),
            holds,
            row.unit
        );
        if !row.note.is_empty() {
            let _ = writeln!(text, "    {}", row.note);
        }
    }
    text
}

fn short(figure: f64) -> String {
    if figure >= 1_000.0 { format!("{figure:.0}") } else { format!("{figure:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(floor: Option<f64>, ours: f64, target: Target) -> Row {
        Row { name: "x".to_owned(), unit: "us", floor, ours, target, note: String::new() }
    }

    #[test]
    fn a_target_holds_or_not_by_the_ratio() {
        assert_eq!(row(Some(10.0), 19.0, Target::RatioAtMost(2.0)).holds(), Some(true));
        assert_eq!(row(Some(10.0), 21.0, Target::RatioAtMost(2.0)).holds(), Some(false));
        assert_eq!(row(Some(10.0), 5.0, Target::RatioAtLeast(0.4)).holds(), Some(true));
        assert_eq!(row(Some(10.0), 12.0, Target::AddedAtMost(2.0)).holds(), Some(true));
        assert_eq!(row(Some(10.0), 12.1, Target::AddedAtMost(2.0)).holds(), Some(false));
        assert_eq!(row(None, 4.0, Target::AddedAtMost(5.0)).holds(), None);
        assert_eq!(row(None, 4.0, Target::AtMost(5.0)).holds(), Some(true));
        assert_eq!(row(None, 4.0, Target::RatioAtMost(5.0)).holds(), None);
        assert_eq!(row(Some(1.0), 4.0, Target::Reported).holds(), None);
    }

    #[test]
    fn the_json_has_the_fields_that_programs_rely_on() {
        let json = row(Some(10.0), 15.0, Target::RatioAtMost(2.0)).json();
        for field in ["name", "unit", "floor", "ours", "ratio", "target", "holds"] {
            assert!(!json[field].is_null(), "{field}: {json}");
        }
        assert_eq!(json["ratio"], 1.5);
    }
}
