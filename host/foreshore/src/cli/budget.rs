//! `foreshore budget`: what may be spent on models, and what was.

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::ConfigArguments;
use super::activity::text;
use super::exit::{Exit, Failure};
use super::output::{Paint, TextTable, grouped, print, print_json};
use crate::client;

/// See what may be spent on models today, and what was.
#[derive(Debug, Args)]
pub(super) struct Budget {
    /// Only budgets of this scope
    #[arg(long, value_name = "SCOPE")]
    scope: Option<Scope>,
    /// Print the answer of the HTTP API
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArguments,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Scope {
    Tenant,
    Agent,
    Conversation,
}

impl Budget {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let Self { scope, json, config } = self;
        let config = super::events::load(&config)?;
        let path = match scope {
            None => "/v1/budgets",
            Some(Scope::Tenant) => "/v1/budgets?scope=tenant",
            Some(Scope::Agent) => "/v1/budgets?scope=agent",
            Some(Scope::Conversation) => "/v1/budgets?scope=conversation",
        };
        let budgets = client::ask_agents(&config, async |client| client.get(path).await)?;
        if json {
            print_json(&budgets);
        } else {
            print(&table(&budgets, &Paint::stdout()));
        }
        Ok(Exit::Success)
    }
}

fn table(answer: &Value, paint: &Paint) -> String {
    let mut table = TextTable::new(&["budget", "name", "tokens", "cost", "time", "begins anew"]);
    for budget in answer["budgets"].as_array().into_iter().flatten() {
        let cell = |of: &str, write: fn(u64) -> String| spending(&budget[of], write);
        table.row([
            text(&budget["scope"]),
            text(&budget["name"]),
            cell("tokens", grouped),
            cell("cost_micros", money),
            cell("wall_ms", seconds),
            budget["resets_at"].as_str().map_or_else(|| "-".to_owned(), str::to_owned),
        ]);
    }
    table.render(paint)
}

/// `agent assistant today: 120 of 1,000 tokens, 0.00 in money, 61.2 s`.
pub(super) fn line(budget: &Value) -> String {
    format!(
        "{} {} today: {} tokens, {} in money, {}",
        text(&budget["scope"]),
        text(&budget["name"]),
        spending(&budget["tokens"], grouped),
        spending(&budget["cost_micros"], money),
        spending(&budget["wall_ms"], seconds),
    )
}

/// `120 of 1,000`, with what requests hold that run now.
fn spending(of: &Value, write: fn(u64) -> String) -> String {
    let number = |name: &str| of[name].as_u64().unwrap_or(0);
    let mut said = write(number("spent"));
    if let Some(limit) = of["limit"].as_u64() {
        said += &format!(" of {}", write(limit));
    }
    if number("held") > 0 {
        said += &format!(" (+{} held)", write(number("held")));
    }
    said
}

/// In the operator's currency, to the millionth.
fn money(micros: u64) -> String {
    let written = format!("{}.{:06}", grouped(micros / 1_000_000), micros % 1_000_000);
    let cents = written.len() - 4;
    let kept = written.trim_end_matches('0').len().max(cents);
    written[..kept].to_owned()
}

fn seconds(ms: u64) -> String {
    format!("{}.{} s", grouped(ms / 1_000), ms % 1_000 / 100)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_budget_is_a_row_with_what_was_spent_of_what_there_is() {
        let answer = json!({"budgets": [{
            "scope": "agent",
            "name": "assistant",
            "resets_at": "2026-11-22T00:00:00.000Z",
            "tokens": {"limit": 1000, "spent": 120, "held": 30},
            "cost_micros": {"limit": 2_500_000, "spent": 1_250},
            "wall_ms": {"spent": 61_234, "held": 0},
        }]});
        let table = table(&answer, &Paint::plain());
        let row = table.lines().nth(1).expect("a row");
        for cell in [
            "agent",
            "assistant",
            "120 of 1,000 (+30 held)",
            "0.00125 of 2.50",
            "61.2 s",
            "2026-11-22T00:00:00.000Z",
        ] {
            assert!(row.contains(cell), "{cell} is not in {row}");
        }
        assert_eq!(
            line(&answer["budgets"][0]),
            "agent assistant today: 120 of 1,000 (+30 held) tokens, 0.00125 of 2.50 in money, 61.2 s"
        );
        assert_eq!((money(0).as_str(), money(1_000_000_001).as_str()), ("0.00", "1,000.000001"));
    }
}
