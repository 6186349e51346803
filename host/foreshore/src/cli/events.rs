//! `foreshore events` and `foreshore audit`: what the journal says, and whether it is the one
//! that was written.
//!
//! Verifying goes to the file itself where no server runs: a journal that no host would start
//! with is the one that most needs a verdict.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand};
use foreshore_store::{AuditError, Checkpoint, audit};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use super::ConfigArguments;
use super::exit::{Exit, Failure};
use super::moment::{self, Moment};
use super::output::{Paint, Waiting, grouped, print, print_json, printable};
use crate::client::{self, Client, query};
use crate::config::Config;
use crate::wire_up;

/// Events of one page.
const PAGE: u64 = 1_000;
/// Checkpoints that one request brings along: the newest, since each covers all before it.
const CHECKPOINTS_MAX: usize = 1_000;
/// The most that one event of a stream may hold: events are smaller.
const LINE_MAX_BYTES: usize = 1 << 20;

/// Read the journal, or follow it
#[derive(Debug, Args)]
pub(super) struct Events {
    /// Go on as events come, until interrupted
    #[arg(long)]
    follow: bool,
    /// Only events with a higher number
    #[arg(long, value_name = "SEQ")]
    after: Option<u64>,
    #[command(flatten)]
    filter: Filter,
    /// Print each event as one line of JSON, as the HTTP API gives it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArguments,
}

#[derive(Debug, Args)]
struct Filter {
    /// Only this stream; `memory/*` is every stream that starts so
    #[arg(long)]
    stream: Option<String>,
    /// Only these kinds, separated by commas; `memory.*` is every kind that starts so
    #[arg(long)]
    kind: Option<String>,
}

/// Search the journal, and verify it.
#[derive(Debug, Subcommand)]
pub(super) enum Audit {
    /// List events by time, component, code, stream and kind
    Log(Log),
    /// Hold every event to the chain, and the chain to its signed checkpoints
    Verify(Verify),
}

#[derive(Debug, Args)]
pub(super) struct Log {
    /// Only since then: 90s, 15m, 1h, 7d ago, or 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<Moment>,
    /// Only before then
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,
    /// Only events about this component: NAME or NAME@VERSION
    #[arg(long, value_name = "NAME")]
    component: Option<String>,
    /// Only events with this code or outcome, such as http_not_granted
    #[arg(long)]
    code: Option<String>,
    /// Only what this principal did or asked for, such as a key's id
    #[arg(long, value_name = "SUBJECT")]
    principal: Option<String>,
    /// Print the events as CSV, for a spreadsheet
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    #[command(flatten)]
    filter: Filter,
    /// Print each event as one line of JSON, as the HTTP API gives it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArguments,
}

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// A checkpoints.jsonl that was kept elsewhere
    #[arg(long, value_name = "FILE")]
    anchor: Option<PathBuf>,
    /// Print the verdict as one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArguments,
}

/// The configuration, for commands that work on the journal.
pub(super) fn load(arguments: &ConfigArguments) -> Result<Config, Failure> {
    let mut config = arguments.load()?;
    crate::telemetry::start_quietly(&config.sections.log)?;
    wire_up::suggest_limits(&mut config)?;
    Ok(config)
}

impl Events {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let config = load(&self.config)?;
        let paint = Paint::stdout();
        client::ask(&config, async |client| {
            let filter = self.filter.parameters();
            if !self.follow {
                return pages(client, "/v1/events", &filter, self.after, (self.json, &paint)).await;
            }
            if !client.is_server() {
                let data = config.data.display();
                return Err(Failure::Other(anyhow!("no server has {data}: nothing would come")));
            }
            let after = ("after", self.after.map(|after| after.to_string()));
            let all: Vec<_> = filter.into_iter().chain([after]).collect();
            let body = client.follow(&("/v1/events".to_owned() + &query(&all))).await?;
            follow(body, self.json, &paint).await
        })?;
        Ok(Exit::Success)
    }
}

impl Filter {
    fn parameters(&self) -> Vec<(&'static str, Option<String>)> {
        vec![("stream", self.stream.clone()), ("kind", self.kind.clone())]
    }
}

impl Audit {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        match self {
            Self::Log(command) => command.run(),
            Self::Verify(command) => command.run(),
        }
    }
}

impl Log {
    fn run(self) -> Result<Exit, Failure> {
        let config = load(&self.config)?;
        let mut filter = self.filter.parameters();
        filter.extend([
            ("since", self.since.map(|moment| moment.0.to_string())),
            ("until", self.until.map(|moment| moment.0.to_string())),
            ("component", self.component),
            ("code", self.code),
            ("principal", self.principal),
        ]);
        if self.csv {
            client::ask(&config, async |client| csv(client, &filter).await)?;
            return Ok(Exit::Success);
        }
        let (json, paint) = (self.json, Paint::stdout());
        client::ask(&config, async |client| {
            pages(client, "/v1/audit", &filter, None, (json, &paint)).await
        })?;
        Ok(Exit::Success)
    }
}

/// Prints every event that a filter wants as CSV, a page at a time, under one head.
async fn csv(client: &Client, filter: &[(&str, Option<String>)]) -> Result<(), Failure> {
    let mut after = 0_u64;
    let mut is_first = true;
    loop {
        let mut all = filter.to_vec();
        all.push(("after", Some(after.to_string())));
        all.push(("limit", Some("1000".to_owned())));
        let (text, next) = client.csv(&("/v1/audit".to_owned() + &query(&all))).await?;
        let head = text.find('\n').map_or(text.len(), |at| at + 1);
        let shown = if is_first { &text[..] } else { &text[head..] };
        if !shown.is_empty() {
            print(shown.trim_end_matches(['\r', '\n']));
        }
        is_first = false;
        match next {
            Some(next) if next > after => after = next,
            _ => return Ok(()),
        }
    }
}

/// Prints every event that a filter wants, a page at a time.
async fn pages(
    client: &Client,
    path: &str,
    filter: &[(&str, Option<String>)],
    after: Option<u64>,
    (json, paint): (bool, &Paint),
) -> Result<(), Failure> {
    let mut after = after.unwrap_or(0);
    // What the reading itself records, it does not wait for.
    loop {
        let mut parameters = filter.to_vec();
        parameters.extend([("after", Some(after.to_string())), ("limit", Some(PAGE.to_string()))]);
        let page = client.get(&(path.to_owned() + &query(&parameters))).await?;
        for event in page["events"].as_array().into_iter().flatten() {
            if !show(event, json, paint) {
                return Ok(());
            }
        }
        let next = page["next_after"].as_u64().unwrap_or(after);
        if page["at_end"] == true || next <= after {
            return Ok(());
        }
        after = next;
    }
}

/// Prints events as they come; ends when the server does, or nobody reads any more.
async fn follow(mut body: hyper::body::Incoming, json: bool, paint: &Paint) -> Result<(), Failure> {
    let mut held = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.context("the server went away")?;
        held.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
        while let Some(end) = held.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = held.drain(..=end).collect();
            // The other fields of an event (its id and name) are in its data too.
            let Some(data) = line.strip_prefix(b"data:") else { continue };
            let event: Value = serde_json::from_slice(data).context("an event is no JSON")?;
            if !show(&event, json, paint) {
                return Ok(());
            }
        }
        if held.len() > LINE_MAX_BYTES {
            return Err(Failure::Other(anyhow!("an event is larger than an event can be")));
        }
    }
    Ok(())
}

/// Whether anybody reads still.
fn show(event: &Value, json: bool, paint: &Paint) -> bool {
    let line = if json { event.to_string() } else { for_people(event, paint) };
    writeln!(std::io::stdout().lock(), "{line}").is_ok()
}

fn for_people(event: &Value, paint: &Paint) -> String {
    let text = |name: &str| printable(event[name].as_str().unwrap_or_default()).replace('\n', " ");
    let at = event["at"].as_u64().map(moment::written).unwrap_or_default();
    let payload = match &event["payload"] {
        Value::Null => String::new(),
        payload => printable(&payload.to_string()),
    };
    let (seq, kind) = (event["seq"].as_u64().unwrap_or(0), paint.cyan(&text("kind")));
    format!("{seq:>8}  {}  {kind}  {}  {payload}", paint.dim(&at), text("stream"))
}

impl Verify {
    fn run(self) -> Result<Exit, Failure> {
        let config = load(&self.config)?;
        let lines = match &self.anchor {
            None => Vec::new(),
            Some(file) => checkpoints(file)?,
        };
        let waiting = Waiting::new("verifying the journal");
        let server = wire_up::block_on(client::running(&config));
        let verdict = match server {
            Some(_) => {
                let newest = lines.len().saturating_sub(CHECKPOINTS_MAX);
                let body = json!({ "checkpoints": lines[newest..] });
                client::ask(&config, async |client| {
                    client.send("POST", "/v1/store/verify", Some(&body)).await
                })?
            }
            None => in_file(&config, &lines)?,
        };
        drop(waiting);
        if self.json {
            print_json(&verdict);
        } else {
            print(&verdict_text(&verdict, &Paint::stdout()));
        }
        Ok(if verdict["verified"] == true { Exit::Success } else { Exit::Failed })
    }
}

/// The lines of a file of checkpoints. A last line without its end is what a crash leaves.
fn checkpoints(file: &std::path::Path) -> Result<Vec<String>, Failure> {
    let named = || format!("checkpoints {}", file.display());
    let text = std::fs::read_to_string(file).with_context(named)?;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    for (at, line) in whole.lines().enumerate() {
        let line = Checkpoint::parse(line);
        line.with_context(|| format!("{}, line {}", named(), at + 1))?;
    }
    if whole.is_empty() {
        return Err(Failure::Other(anyhow!("{}: there is none in it", named())));
    }
    Ok(whole.lines().map(str::to_owned).collect())
}

fn in_file(config: &Config, lines: &[String]) -> Result<Value, Failure> {
    let kept: Vec<_> = lines.iter().filter_map(|line| Checkpoint::parse(line).ok()).collect();
    match audit(&wire_up::journal_path(config), &kept) {
        Ok(verified) => Ok(json!({
            "verified": true,
            "events": verified.events,
            "seq": verified.tip.seq,
            "checkpoints": verified.checkpoints,
        })),
        Err(AuditError::Wrong { first_bad_seq, what }) => {
            Ok(json!({ "verified": false, "first_bad_seq": first_bad_seq, "problem": what }))
        }
        Err(AuditError::InUse { path }) => Err(client::in_use(config, &path)),
        Err(error) => Err(Failure::Other(error.into())),
    }
}

fn verdict_text(verdict: &Value, paint: &Paint) -> String {
    let number = |name: &str| grouped(verdict[name].as_u64().unwrap_or(0));
    if verdict["verified"] == true {
        let (events, seq, checkpoints) = (number("events"), number("seq"), number("checkpoints"));
        return format!(
            "{}: {events} events, the last is {seq}; {checkpoints} signed checkpoints match",
            paint.green("verified")
        );
    }
    let what = printable(verdict["problem"].as_str().unwrap_or_default());
    let place = match verdict["first_bad_seq"].as_u64() {
        None | Some(0) => String::new(),
        Some(seq) => format!(" event {seq}:"),
    };
    format!("{}:{place} {what}", paint.red("NOT verified"))
}
