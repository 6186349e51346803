//! `!rsi`: what the records of past turns say could go better, and what would be tried.

use std::collections::BTreeMap;

use serde_json::Value;

use super::recent_turns;
use crate::cli::activity::{served_by, text};
use crate::cli::exit::Failure;
use crate::cli::output::{Paint, TextTable, duration_us, grouped};
use crate::client::{Client, path};

/// Turns whose calls of tools are read.
const TURNS_READ_MAX: usize = 50;
/// A model whose turns take longer than this, each, is called slow.
const SLOW_MS: u64 = 30_000;

pub(in crate::cli::chat) async fn learned(client: &Client) -> Result<String, Failure> {
    let turns = recent_turns(client).await?;
    let mut tools = Tools::default();
    let ended = |turn: &&Value| matches!(turn["state"].as_str(), Some("completed" | "failed"));
    let with_tools = |turn: &&Value| turn["usage"]["tool_calls"].as_u64() > Some(0);
    for turn in turns.iter().filter(ended).filter(with_tools).take(TURNS_READ_MAX) {
        let id = turn["turn_id"].as_str().unwrap_or_default();
        let mut events = client.events("GET", &path(&["turns", id, "events"]), None).await?;
        while let Some(event) = events.next().await? {
            if event.name == "tool.result" {
                tools.count(&event.data);
            }
        }
    }
    Ok(told(&turns, &tools, &Paint::stdout()))
}

/// Calls and failures of each tool.
#[derive(Default)]
struct Tools(BTreeMap<String, (u64, u64)>);

impl Tools {
    fn count(&mut self, result: &Value) {
        let (calls, failures) = self.0.entry(text(&result["tool"])).or_default();
        *calls += 1;
        *failures += u64::from(result["is_error"] == true);
    }
}

fn told(turns: &[Value], tools: &Tools, paint: &Paint) -> String {
    let mut said = format!(
        "From the records of {} turns. Nothing is changed by this; what to try is yours to do.\n",
        grouped(u64::try_from(turns.len()).unwrap_or(u64::MAX))
    );
    let mut tries = Vec::new();
    let mut table = TextTable::new(&["tool", "calls", "failed"]);
    for (tool, (calls, failures)) in &tools.0 {
        table.row([tool.clone(), grouped(*calls), grouped(*failures)]);
        if failures * 3 >= *calls && *failures > 1 {
            tries.push(format!("{tool} fails often: see its grants and what it is asked for"));
        }
    }
    if !tools.0.is_empty() {
        said += &table.render(paint);
    }
    let mut models: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let mut errors: BTreeMap<String, u64> = BTreeMap::new();
    for turn in turns {
        if turn["served_by"].is_object() {
            let (count, wall_ms) = models.entry(served_by(&turn["served_by"])).or_default();
            *count += 1;
            *wall_ms += turn["usage"]["wall_ms"].as_u64().unwrap_or(0);
        }
        if turn["reply"]["finish"] == "budget" {
            *errors.entry("budget".to_owned()).or_default() += 1;
        }
        if let Some(code) = turn["error"]["code"].as_str() {
            *errors.entry(code.to_owned()).or_default() += 1;
        }
    }
    if !models.is_empty() {
        let mut table = TextTable::new(&["answered last", "turns", "a turn takes"]);
        for (model, (count, wall_ms)) in &models {
            let mean_ms = wall_ms / (*count).max(1);
            let takes = duration_us(mean_ms.saturating_mul(1_000));
            table.row([model.clone(), grouped(*count), takes]);
            if mean_ms > SLOW_MS {
                tries.push(format!("{model} is slow: try a smaller model, or one kept loaded"));
            }
        }
        said += &table.render(paint);
    }
    if !errors.is_empty() {
        let mut table = TextTable::new(&["ended early", "turns"]);
        for (code, count) in &errors {
            table.row([code.clone(), grouped(*count)]);
            if code.contains("budget") {
                tries.push("budgets are hit: raise [agents.NAME.budget], or ask for less".into());
            }
        }
        said += &table.render(paint);
    }
    if tries.is_empty() {
        said += "Nothing stands out to be tried.\n";
    }
    tries.iter().fold(said, |said, one| said + &format!("try: {one}\n"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_fails_is_slow_or_hits_a_budget_is_said() {
        let mut tools = Tools::default();
        for is_error in [true, true, false] {
            tools.count(&json!({"tool": "files.read", "is_error": is_error}));
        }
        let turns = [json!({
            "served_by": {"backend": "b", "model": "m", "step": "primary"},
            "usage": {"wall_ms": 60_000}, "error": {"code": "budget_exhausted"},
        })];
        let said = told(&turns, &tools, &Paint::plain());
        for wanted in ["try: files.read fails often", "try: b/m is slow", "try: budgets are hit"] {
            assert!(said.contains(wanted), "{wanted} in {said}");
        }
        let nothing = told(&[], &Tools::default(), &Paint::plain());
        assert!(nothing.contains("Nothing stands out"), "{nothing}");
    }
}
