//! The agent of the benchmarks: what a turn costs the host that waits for a person.

use foreshore_sdk::agent::{Reply, Turn, approval};
use foreshore_sdk::{Error, agent};

/// Ask a person whether to go on, and go no further than that.
#[agent(name = "bench-agent")]
fn run(turn: Turn) -> Result<Reply, Error> {
    approval::ask_for("go on", &turn.text())?;
    Ok("Went on.".into())
}

foreshore_sdk::export_agent!(run);
