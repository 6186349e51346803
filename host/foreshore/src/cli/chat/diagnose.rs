//! What the host says of itself: `!status`, `!system`, `!rsi`, `!consider_self`.
//!
//! Invariant: these read. Whatever they advise, a person does.

mod learned;

use serde_json::Value;

use crate::cli::activity::text;
use crate::cli::exit::Failure;
use crate::cli::output::{Paint, TextTable, bytes, grouped};
use crate::client::{Client, path};
use crate::config::Config;

pub(super) use self::learned::learned;

/// Below this, a journal that grows is in danger.
const DISK_FREE_MIN_BYTES: u64 = 1 << 30;
/// How far the clock may be behind the last event.
const CLOCK_BEHIND_MAX_MS: u64 = 1_000;

/// Whether the host takes calls, its models, and what waits.
pub(super) async fn status(client: &Client) -> Result<String, Failure> {
    let ready = client.readiness().await?;
    let paint = Paint::stdout();
    let word = text(&ready["status"]);
    let mut said = format!(
        "{}: {}\n",
        if client.is_server() { "server" } else { "this process" },
        if word == "ok" { paint.green(&word) } else { paint.red(&word) }
    );
    for check in ready["checks"].as_array().into_iter().flatten() {
        said += &format!("  {}: {}\n", text(&check["name"]), text(&check["message"]));
    }
    let asked = client.get("/v1/approvals").await?;
    let open = open_turns(client).await?;
    said += &format!("  turns: {} open\n", grouped(u64::try_from(open.len()).unwrap_or(u64::MAX)));
    for (turn, agent) in &open {
        let (id, state) = (text(&turn["turn_id"]), text(&turn["state"]));
        said += &format!("    {id} {agent}: {state}\n");
    }
    said += &format!("  questions to people: {}\n", rows(&asked, "approvals").count());
    let budgets = client.get("/v1/budgets").await?;
    for budget in rows(&budgets, "budgets").filter(|budget| budget["scope"] != "conversation") {
        said += &format!("  spent by {}\n", crate::cli::budget::line(budget));
    }
    Ok(said)
}

/// Version, machine, data directory, limits.
pub(super) async fn system(client: &Client, config: &Config) -> Result<String, Failure> {
    let limits = client.get("/v1/limits").await?;
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let mut said = format!(
        "foreshore {}\n{} {}, {cores} cores\ndata {}\n",
        crate::version::VERSION,
        std::env::consts::OS,
        std::env::consts::ARCH,
        config.data.display(),
    );
    if let Some(free) = free_bytes(config) {
        said += &format!("free there {}\n", bytes(free));
    }
    let mut table = TextTable::new(&["limit of a call", "value", "ceiling"]);
    for limit in rows(&limits, "limits") {
        let number = |name: &str| {
            let number = limit[name].as_u64().unwrap_or(0);
            if limit["unit"] == "bytes" { bytes(number) } else { grouped(number) }
        };
        table.row([text(&limit["name"]), number("value"), number("ceiling")]);
    }
    Ok(said + &table.render(&Paint::stdout()))
}

/// Each part of the host, how it is, and what to do about it.
pub(super) async fn self_diagnosis(client: &Client, config: &Config) -> Result<String, Failure> {
    let ready = client.readiness().await?;
    let agents = client.get("/v1/agents").await?;
    let tip = client.get("/v1/store/stats").await?["seq"].as_u64().unwrap_or(0);
    let newest = format!("/v1/events?after={}&limit=1", tip.saturating_sub(1));
    let newest = client.get(&newest).await?;
    let findings = [
        store(&ready),
        models(&ready, &agents),
        loaded(&ready, &agents),
        disk(free_bytes(config)),
        clock(foreshore_control::now_unix_ms(), newest["events"][0]["at"].as_u64()),
    ];
    let paint = Paint::stdout();
    let lines = findings.iter().map(|finding| {
        let Finding { part, says, advice } = finding;
        match advice {
            None => format!("{} {part}: {says}\n", paint.green("ok")),
            Some(advice) => format!("{} {part}: {says}\n   {advice}\n", paint.yellow("!!")),
        }
    });
    Ok(lines.collect())
}

/// What was looked at; without advice where it is well.
struct Finding {
    part: &'static str,
    says: String,
    advice: Option<String>,
}

fn check<'a>(ready: &'a Value, name: &str) -> Option<&'a Value> {
    ready["checks"].as_array()?.iter().find(|check| check["name"] == name)
}

fn store(ready: &Value) -> Finding {
    let journal = check(ready, "journal");
    let says = journal.map(|check| text(&check["message"])).unwrap_or_default();
    let advice = journal.is_none_or(|check| check["ok"] != true).then(|| {
        "nothing can be recorded: look at the disk, then `foreshore store check`".to_owned()
    });
    Finding { part: "store", says, advice }
}

fn models(ready: &Value, agents: &Value) -> Finding {
    let says = check(ready, "models").map(|check| text(&check["message"])).unwrap_or_default();
    let nobody = rows(agents, "agents").all(|agent| agent["model"].is_null());
    let advice = if says.is_empty() || says == "none" {
        Some("no agent can think: name a model server under [[inference.backends]]".to_owned())
    } else if says.contains("open") {
        Some("a breaker is open: see whether that model server runs".to_owned())
    } else {
        nobody.then(|| {
            "no agent names a model, so the default is asked: [agents.NAME] model = ...".to_owned()
        })
    };
    Finding { part: "models", says, advice }
}

fn loaded(ready: &Value, agents: &Value) -> Finding {
    let says = check(ready, "components").map(|check| text(&check["message"])).unwrap_or_default();
    let cannot: Vec<String> = rows(agents, "agents")
        .filter(|agent| agent["description"].is_null())
        .map(|agent| text(&agent["name"]))
        .collect();
    let advice = if cannot.is_empty() {
        (!says.ends_with(" 0 refused"))
            .then(|| "`foreshore component doctor` says why a component is refused".to_owned())
    } else {
        let names = cannot.join(", ");
        Some(format!("these agents cannot run: {names}; see `foreshore component doctor`"))
    };
    Finding { part: "components", says, advice }
}

fn disk(free: Option<u64>) -> Finding {
    let says = free.map_or_else(|| "free space unknown".to_owned(), |free| bytes(free) + " free");
    let advice = free
        .is_some_and(|free| free < DISK_FREE_MIN_BYTES)
        .then(|| "the journal may fill it: `foreshore store archive`, or a larger disk".to_owned());
    Finding { part: "disk", says, advice }
}

fn clock(now_unix_ms: u64, newest_unix_ms: Option<u64>) -> Finding {
    let behind = newest_unix_ms.unwrap_or(0).saturating_sub(now_unix_ms);
    let advice = (behind > CLOCK_BEHIND_MAX_MS)
        .then(|| "the clock was set back: see whether it is synchronized".to_owned());
    let says = match advice {
        None => "not behind the record".to_owned(),
        Some(_) => format!("{} ms behind the last event on record", grouped(behind)),
    };
    Finding { part: "clock", says, advice }
}

fn free_bytes(config: &Config) -> Option<u64> {
    let file_system = rustix::fs::statvfs(&config.data).ok()?;
    Some(file_system.f_bavail.saturating_mul(file_system.f_frsize))
}

fn rows<'a>(answer: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    answer[name].as_array().into_iter().flatten()
}

/// Turns that have not ended, with the agent of each, of the conversations that were updated
/// last; those that agents delegated are among them.
async fn open_turns(client: &Client) -> Result<Vec<(Value, String)>, Failure> {
    let conversations = client.get("/v1/conversations?delegated=true&limit=200").await?;
    let mut open = Vec::new();
    for conversation in rows(&conversations, "conversations") {
        let Some(count @ 1..) = conversation["open_turns"].as_u64() else { continue };
        let id = conversation["id"].as_str().unwrap_or_default();
        // The open ones are the newest.
        let newest = path(&["conversations", id, "turns"]) + &format!("?limit={}", count.min(200));
        let agent = text(&conversation["agent"]);
        let turns = client.get(&newest).await?;
        open.extend(rows(&turns, "turns").map(|turn| (turn.clone(), agent.clone())));
    }
    Ok(open)
}

/// The turns of the newest conversations, newest first in each.
async fn recent_turns(client: &Client) -> Result<Vec<Value>, Failure> {
    let conversations = client.get("/v1/conversations?limit=50").await?;
    let mut turns = Vec::new();
    for conversation in rows(&conversations, "conversations") {
        let id = conversation["id"].as_str().unwrap_or_default();
        let said = client.get(&(path(&["conversations", id, "turns"]) + "?limit=20")).await?;
        turns.extend(rows(&said, "turns").cloned());
    }
    Ok(turns)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_wrong_comes_with_advice_and_what_is_well_without() {
        let ready = |ok: bool, models: &str| {
            json!({"checks": [
                {"name": "journal", "ok": ok, "message": "open"},
                {"name": "models", "ok": true, "message": models},
                {"name": "components", "ok": true, "message": "3 loaded, 0 refused"},
            ]})
        };
        let agents = json!({"agents": [{"name": "a", "description": "d", "model": "m"}]});
        assert!(store(&ready(true, "x")).advice.is_none());
        assert!(store(&ready(false, "x")).advice.is_some());
        assert!(models(&ready(true, "1 of 1"), &agents).advice.is_none());
        assert!(models(&ready(true, "none"), &agents).advice.is_some());
        assert!(disk(Some(DISK_FREE_MIN_BYTES)).advice.is_none());
        assert!(disk(Some(DISK_FREE_MIN_BYTES - 1)).advice.is_some());
        assert!(clock(5_000, Some(4_000)).advice.is_none());
        assert!(clock(5_000, Some(9_000)).advice.is_some());
        assert!(loaded(&ready(true, "x"), &agents).advice.is_none());
        assert!(loaded(&json!({}), &agents).advice.is_some());
        let broken = json!({"agents": [{"name": "a"}]});
        assert!(loaded(&ready(true, "x"), &broken).advice.is_some());
    }
}
