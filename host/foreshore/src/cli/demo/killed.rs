//! A turn of an agent whose host is killed in the middle of it, and that ends all the same.
//!
//! Nothing is staged: the host is a process, the kill is SIGKILL, and what is shown is read from
//! the journal of the second host. What a scripted model does is known, and is held to the letter;
//! of any other model only what the host promises is held: what was told is on record, no call
//! that changes something was begun twice, and the turn ends.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};

use super::host::Home;
use super::model::Chosen;
use super::steps::TABLES;
use crate::cli::exit::Failure;
use crate::cli::output::grouped;
use crate::client::{Client, EventStream, ServerEvent};

/// What is asked of the agent.
pub(super) const MESSAGE: &str = "Which planets in /tables/planets.csv have a density_kg_m3 below 1500? \
    Append each with its density to /notes/light.txt, one line and one call after the other, \
    then tell me which they are.";
/// After so many results of tools the host is killed.
const RESULTS: usize = 2;
/// Where the notes are, on the host, and what is in them at the end of the scripted turn.
const LIGHT: (&str, &str) = ("light.txt", "Jupiter 1326\nSaturn 687\nUranus 1270\n");
/// Events that are told as they come and not recorded.
const LIVE: [&str; 3] = ["message.delta", "thinking.delta", "stream.lagged"];
const POLL: Duration = Duration::from_millis(50);

/// What came of it.
pub(super) struct Survival {
    /// What is wrong; none if nothing is.
    pub(super) faults: Vec<String>,
    /// What happened, in lines.
    pub(super) lines: Vec<String>,
    pub(super) usage: Value,
    pub(super) wall: Duration,
}

/// Asks the agent, kills its host, and starts it again.
///
/// # Errors
/// It did not come to that: a host that does not start, a model that does not answer in time or
/// uses no tools.
pub(super) async fn survive(
    directory: &Path,
    lender: &Path,
    tables: &Path,
    model: &Chosen,
) -> anyhow::Result<Survival> {
    let began = Instant::now();
    let home = Home::make(directory, lender)?;
    home.configure(&configuration(model, tables, &home.notes()))?;
    let host = home.serve()?;
    let client = host.client();
    let message = json!({ "message": MESSAGE });
    let path = "/v1/agents/assistant/turns";
    let mut events = client.events("POST", path, Some(&message)).await.map_err(Failure::cause)?;
    let told = tokio::time::timeout(model.patience, until_the_middle(&mut events))
        .await
        .with_context(|| format!("no {RESULTS} results of tools in {:?}", model.patience))??;
    let process = host.process();
    host.kill()?;

    let host = home.serve()?;
    let client = host.client();
    let id = told.first().and_then(|event| event.data["turn_id"].as_str());
    let id = id.context("an event without its turn")?;
    let turn = ended(&client, id, model.patience).await?;
    let recorded = client.events("GET", &format!("/v1/turns/{id}/events"), None).await;
    let recorded = recorded_events(&mut recorded.map_err(Failure::cause)?).await?;
    let path = "/v1/audit?kind=call.started&component=files&limit=1000";
    let begun = client.get(path).await.map_err(Failure::cause)?;
    host.kill()?;

    let notes = std::fs::read_to_string(home.notes().join(LIGHT.0)).unwrap_or_default();
    let found = Found { turn, told, recorded, begun: calls(&begun), notes };
    let lines = found.lines(process, model);
    let usage = found.turn["usage"].clone();
    Ok(Survival { faults: found.faults(model), lines, usage, wall: began.elapsed() })
}

fn configuration(model: &Chosen, tables: &Path, notes: &Path) -> String {
    let Chosen { name, url, .. } = model;
    format!(
        r#"
        [inference]
        default_model = {name:?}
        [[inference.backends]]
        name = "demo"
        kind = "ollama"
        url = {url:?}
        [inference.models.{name:?}]
        [agents.assistant]
        tools = ["query.jq", "files.append"]
        [components.query]
        mounts = [{{ host = {tables:?}, guest = {TABLES:?}, access = "read-only" }}]
        [components.files]
        mounts = [{{ host = {notes:?}, guest = "/notes", access = "read-write" }}]
        "#
    )
}

/// The events that are on record, up to the result after which the host is killed.
async fn until_the_middle(events: &mut EventStream) -> anyhow::Result<Vec<ServerEvent>> {
    let mut told = Vec::new();
    let mut results = 0;
    while let Some(event) = events.next().await.map_err(Failure::cause)? {
        if event.name == "turn.completed" || event.name == "error" {
            let said = event.data["error"]["message"].as_str().unwrap_or("it answered");
            bail!("the turn was over after {results} results of tools: {said}");
        }
        results += usize::from(event.name == "tool.result");
        if !LIVE.contains(&event.name.as_str()) {
            told.push(event);
        }
        if results == RESULTS {
            return Ok(told);
        }
    }
    bail!("the host stopped telling of the turn")
}

async fn ended(client: &Client, id: &str, patience: Duration) -> anyhow::Result<Value> {
    let began = Instant::now();
    loop {
        let turn = client.get(&format!("/v1/turns/{id}")).await.map_err(Failure::cause)?;
        if ["completed", "failed", "cancelled"].iter().any(|state| turn["state"] == *state) {
            return Ok(turn);
        }
        ensure!(began.elapsed() < patience, "after {patience:?} the turn is {}", turn["state"]);
        tokio::time::sleep(POLL).await;
    }
}

async fn recorded_events(events: &mut EventStream) -> anyhow::Result<Vec<ServerEvent>> {
    let mut recorded = Vec::new();
    while let Some(event) = events.next().await.map_err(Failure::cause)? {
        if !LIVE.contains(&event.name.as_str()) {
            recorded.push(event);
        }
    }
    Ok(recorded)
}

/// The calls of a page of the audit log, by the streams that are named for them.
fn calls(page: &Value) -> Vec<String> {
    let events = page["events"].as_array().into_iter().flatten();
    events.filter_map(|event| event["stream"].as_str()).map(str::to_owned).collect()
}

/// What was told before the kill, and what is on record after it.
struct Found {
    turn: Value,
    told: Vec<ServerEvent>,
    recorded: Vec<ServerEvent>,
    /// Calls that change something, as often as they were begun.
    begun: Vec<String>,
    notes: String,
}

impl Found {
    fn results(&self) -> impl Iterator<Item = &ServerEvent> {
        self.recorded.iter().filter(|event| event.name == "tool.result")
    }

    /// What the host promised and did not keep; of a scripted model also what it did otherwise.
    fn faults(&self, model: &Chosen) -> Vec<String> {
        let mut faults = Vec::new();
        let mut hold = |holds: bool, fault: &str| {
            if !holds {
                faults.push(fault.to_owned());
            }
        };
        let is_kept = self.recorded.get(..self.told.len()) == Some(&self.told[..]);
        hold(is_kept, "what was told before the kill is not what is on record");
        let resumed = self.recorded.iter().filter(|event| event.name == "turn.resumed").count();
        hold(resumed == 1, "the turn was not resumed once");
        let unique: BTreeSet<&String> = self.begun.iter().collect();
        hold(unique.len() == self.begun.len(), "a call was begun twice");
        hold(self.turn["state"] == "completed", "the turn did not complete");
        if model.is_scripted() {
            hold(self.begun.len() == 3, "there were not three calls of files.append");
            hold(self.results().count() == 4, "there were not four results of tools");
            hold(self.notes == LIGHT.1, "the notes do not have each line once");
            let reply = self.turn["reply"]["text"].as_str().unwrap_or_default();
            hold(reply.starts_with("Three planets"), "the reply is another one");
        }
        faults
    }

    fn lines(&self, process: u32, model: &Chosen) -> Vec<String> {
        let mut lines = vec![format!("the model is {}", model.shown())];
        let mut results = 0;
        for event in &self.recorded {
            match event.name.as_str() {
                "tool.result" => {
                    results += 1;
                    let tool = event.data["tool"].as_str().unwrap_or_default();
                    lines.push(format!("{tool} {}", told_arguments(&event.data["arguments"])));
                    if results == RESULTS {
                        lines.push(format!("-- kill -9 {process}, and a new start --"));
                    }
                }
                "turn.resumed" => {
                    lines
                        .push(format!("resumed: {} effects were on record", event.data["effects"]));
                }
                _ => {}
            }
        }
        lines.push(format!("reply: {}", self.turn["reply"]["text"].as_str().unwrap_or("none")));
        let written = self.notes.lines().count();
        lines.push(format!(
            "{} calls of files.append begun, {written} lines in the notes, none done twice",
            self.begun.len()
        ));
        lines
    }
}

fn told_arguments(arguments: &Value) -> String {
    let text = arguments["text"].as_str().or(arguments["filter"].as_str());
    text.map_or_else(|| arguments.to_string(), |text| text.trim().to_owned())
}

/// `5 model calls · 4 calls of tools · 3,456 tokens`.
pub(super) fn usage_text(usage: &Value) -> String {
    let number = |name: &str| usage[name].as_u64().unwrap_or_default();
    let tokens = number("input_tokens") + number("output_tokens");
    format!(
        "{} model calls · {} calls of tools · {} tokens",
        number("model_calls"),
        number("tool_calls"),
        grouped(tokens)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, data: Value) -> ServerEvent {
        ServerEvent { name: name.to_owned(), data }
    }

    fn good() -> Found {
        let told = vec![event("turn.queued", json!({})), event("tool.result", json!({}))];
        let mut recorded = told.clone();
        recorded.push(event("turn.resumed", json!({"effects": 4})));
        recorded.extend((0..3).map(|_| event("tool.result", json!({}))));
        let reply = json!({"text": "Three planets are light."});
        let turn = json!({"state": "completed", "reply": reply});
        let begun = ["call/a", "call/b", "call/c"].map(str::to_owned).to_vec();
        Found { turn, told, recorded, begun, notes: LIGHT.1.to_owned() }
    }

    #[test]
    fn each_thing_that_is_promised_is_held() {
        let model = Chosen::rules().expect("a model");
        assert_eq!(good().faults(&model), [""; 0]);
        let spoiled: [fn(&mut Found); 7] = [
            |found| found.told[1].data = json!({"another": 1}),
            |found| drop(found.recorded.remove(2)),
            |found| found.begun[2] = found.begun[0].clone(),
            |found| found.turn["state"] = json!("failed"),
            |found| drop(found.recorded.pop()),
            |found| found.notes += "Uranus 1270\n",
            |found| found.turn["reply"] = json!({"text": "I do not know."}),
        ];
        for (at, spoil) in spoiled.iter().enumerate() {
            let mut found = good();
            spoil(&mut found);
            assert_eq!(found.faults(&model).len(), 1, "{at}: {:?}", found.faults(&model));
        }
    }
}
