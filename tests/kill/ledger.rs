//! What was acknowledged, and where each of it has to be found after a kill.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::load::{Acknowledged, Record, Written};
use crate::harness::http;
use crate::harness::server::Server;

/// Older records that are looked for after each kill.
const SAMPLE: usize = 30;
const ROOT: &str = "files:/kill";
const PAGE: usize = 1_000;

/// What a run came to.
#[derive(Default)]
pub(super) struct Totals {
    pub(super) kills: u64,
    pub(super) openings_killed: u64,
    pub(super) memory: usize,
    pub(super) remembered: usize,
    pub(super) files: usize,
    events: u64,
    checks: u64,
}

impl Totals {
    pub(super) fn add(&mut self, other: &Self) {
        self.kills += other.kills;
        self.openings_killed += other.openings_killed;
        self.memory += other.memory;
        self.remembered += other.remembered;
        self.files += other.files;
        self.events += other.events;
        self.checks += other.checks;
    }
}

impl std::fmt::Display for Totals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kills, openings_killed, memory, remembered, files, events, checks } = self;
        let (all, calls) = (memory + remembered + files, remembered + files);
        write!(
            f,
            "{kills} kills under load and {openings_killed} while opening, {all} acknowledged writes \
             ({memory} of people to memory, {remembered} of tools to memory, {files} of tools to \
             files; {calls} calls), {events} events without a gap, {checks} clean checks, 0 lost"
        )
    }
}

/// What the journal says of calls and files.
#[derive(Default)]
struct Recorded {
    /// The last event that was read.
    seq: u64,
    started: HashSet<String>,
    completed: HashSet<String>,
    /// The component, path and hash of each change, by call.
    changes: HashMap<String, Vec<(String, String, String)>>,
    changes_seq: u64,
}

pub(super) struct Ledger {
    mount: PathBuf,
    old: Acknowledged,
    new: Acknowledged,
    recorded: Recorded,
    pub(super) totals: Totals,
}

impl Ledger {
    pub(super) fn new(mount: &Path) -> Self {
        Self {
            mount: mount.to_owned(),
            old: Acknowledged::default(),
            new: Acknowledged::default(),
            recorded: Recorded::default(),
            totals: Totals::default(),
        }
    }

    pub(super) fn take(&mut self, acknowledged: Acknowledged) {
        let people = acknowledged.records.iter().filter(|record| record.call_id.is_none()).count();
        self.totals.memory += people;
        self.totals.remembered += acknowledged.records.len() - people;
        self.totals.files += acknowledged.files.len();
        // What was acknowledged after a write in doubt stands instead of it.
        let written: HashSet<&str> = acknowledged.files.iter().map(|file| &*file.name).collect();
        self.old.files_in_doubt.retain(|(name, _)| !written.contains(&**name));
        self.new.append(acknowledged);
    }

    /// Holds a server to what was acknowledged since the last check, and to some of the rest.
    pub(super) fn check_new(&mut self, server: &Server, mut random: impl FnMut(u64) -> u64) {
        self.check_store(server);
        self.recorded.read(server);
        for record in &self.new.records {
            self.recorded.holds_record(server, record);
        }
        for file in &self.new.files {
            self.recorded.holds_change(file);
        }
        self.old.append(std::mem::take(&mut self.new));
        let known = u64::try_from(self.old.records.len()).expect("not that many");
        for _ in 0..SAMPLE.min(self.old.records.len()) {
            let at = usize::try_from(random(known)).expect("below their number");
            self.recorded.holds_record(server, &self.old.records[at]);
        }
        self.check_files(server);
    }

    /// Reads all of the journal again, and looks for everything that was ever acknowledged.
    pub(super) fn check_all(&mut self, server: &Server) {
        self.check_store(server);
        self.recorded = Recorded::default();
        self.recorded.read(server);
        self.totals.events += self.recorded.seq;
        for record in &self.old.records {
            self.recorded.holds_record(server, record);
        }
        for file in &self.old.files {
            self.recorded.holds_change(file);
        }
        self.check_files(server);
    }

    fn check_store(&mut self, server: &Server) {
        for work in ["check", "verify"] {
            let path = format!("/v1/store/{work}");
            let fields = [("content-type", "application/json")];
            let done = http::send(server.address, "POST", &path, &fields, b"{}");
            let done = done.expect("an answer");
            assert_eq!(done.status, 200, "{work}: {}", done.json());
            assert_ne!(done.json()["verified"], false, "{}", done.json());
        }
        self.totals.checks += 1;
    }

    /// Each file holds what was acknowledged last, or what was being written at a kill since; and
    /// that version is kept.
    fn check_files(&self, server: &Server) {
        let mut last: HashMap<&str, &str> = HashMap::new();
        for file in &self.old.files {
            last.insert(&file.name, &file.text);
        }
        for (name, text) in last {
            let there = std::fs::read_to_string(self.mount.join(name));
            let there = there.unwrap_or_else(|error| panic!("{name} is lost: {error}"));
            let in_doubt = |(of, text): &(String, String)| of == name && *text == there;
            assert!(
                there == text || self.old.files_in_doubt.iter().any(in_doubt),
                "{name} holds {:?} and not {:?}",
                there.lines().next(),
                text.lines().next()
            );
            let path = format!("/v1/files/versions?root={ROOT}&path={name}");
            let versions = server.get(&path).json();
            let hash = hash(text);
            let versions = versions["versions"].as_array().expect("versions");
            assert!(
                versions.iter().any(|version| version["hash"] == hash.as_str()),
                "no version {hash} of {name} is kept: {versions:?}"
            );
        }
    }
}

impl Recorded {
    /// Reads on, and finds no event missing.
    fn read(&mut self, server: &Server) {
        loop {
            let page = format!("/v1/events?after={}&limit={PAGE}", self.seq);
            let page = server.get(&page).json();
            let events = page["events"].as_array().expect("events");
            for event in events {
                assert_eq!(event["seq"], self.seq + 1, "an event is missing");
                self.seq += 1;
                let call = event["stream"].as_str().and_then(|s| s.strip_prefix("call/"));
                let Some(call) = call else { continue };
                match event["kind"].as_str().expect("a kind") {
                    "call.started" => assert!(self.started.insert(call.to_owned()), "{event}"),
                    "call.completed" => assert!(self.completed.insert(call.to_owned()), "{event}"),
                    _ => {}
                }
            }
            if events.len() < PAGE {
                break;
            }
        }
        loop {
            let page =
                format!("/v1/files/changes?root={ROOT}&since={}&limit={PAGE}", self.changes_seq);
            let page = server.get(&page).json();
            let changes = page["changes"].as_array().expect("changes");
            for change in changes {
                self.changes_seq = change["seq"].as_u64().expect("a number");
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                if let Some(call) = change["author"]["call_id"].as_str() {
                    self.changes.entry(call.to_owned()).or_default().push((
                        text(&change["author"]["component"]),
                        text(&change["path"]),
                        text(&change["new_hash"]),
                    ));
                }
            }
            if changes.len() < PAGE {
                break;
            }
        }
    }

    #[track_caller]
    fn holds_call(&self, call_id: &str) {
        assert!(self.started.contains(call_id), "{call_id} has no call.started");
        assert!(self.completed.contains(call_id), "{call_id} has no call.completed");
    }

    fn holds_record(&self, server: &Server, record: &Record) {
        let Record { namespace, key, version, value, call_id } = record;
        let path = format!("/v1/memory/{namespace}/{key}?version={version}");
        let there = server.get(&path).json();
        assert_eq!(
            (&there["value"], &there["version"]),
            (&json!(value), &json!(version)),
            "{path}"
        );
        if let Some(call_id) = call_id {
            assert_eq!(there["origin"], "tool:memory", "{path}");
            self.holds_call(call_id);
        }
    }

    fn holds_change(&self, file: &Written) {
        self.holds_call(&file.call_id);
        let changes = self.changes.get(&file.call_id).map(Vec::as_slice).unwrap_or_default();
        let hash = hash(&file.text);
        let found = changes.iter().any(|(component, path, new)| {
            component.starts_with("files@") && *path == file.name && *new == hash
        });
        assert!(found, "{} by {}: {changes:?} and not {hash}", file.name, file.call_id);
    }
}

fn hash(text: &str) -> String {
    format!("blake3:{}", blake3::hash(text.as_bytes()).to_hex())
}
