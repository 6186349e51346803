//! kill -9 in the middle of a turn: it completes after the restart, what is on record is not done
//! again, and a side effect in doubt is told as such.
//!
//! `FORESHORE_TURN_KILLS` (4, and 45 for each moment once) says at how many moments a turn is killed, each time another turn.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use super::{begin, ended, until};
use crate::harness::events::{Event, Events};
use crate::harness::server::Server;

/// Lines that a turn writes: with what the assistant reads and the model answers, 30 effects.
const LINES: usize = 9;
/// How long each is.
const LINE_BYTES: usize = 10;
/// Events on record from the third on: for each line a phase, an answer, a phase, a call and its
/// result.
const MOMENTS: usize = 5 * LINES;

/// A model that writes line after line and knows by the file's size how far it is: it keeps
/// nothing itself, so a restart changes nothing about it. Left in doubt about a line, it looks at
/// the file, and writes the next one as `redo`: the assistant does not make a call in doubt again.
pub(super) fn script() -> String {
    let mut script =
        String::from("[[models]]\nname = \"demo\"\ncapabilities = [\"completion\", \"tools\"]\n");
    let mut rule = |when: &str, answer: &str| {
        write!(
            script,
            "[[rules]]\nwhen = {{ last_user = {{ regex = 'ledger (/notes/\\w+)' }}, {when} }}\n\
             answer = {{ {answer} }}\n"
        )
        .expect("a text takes more");
    };
    let append = |word: &str, line: usize| {
        let arguments = format!("{{ path = \"{{{{1}}}}\", text = \"{word} {line:04}\\n\" }}");
        format!("tool_calls = [{{ name = \"files__append\", arguments = {arguments} }}]")
    };
    let look = "tool_calls = [{ name = \"files__stat\", arguments = { path = \"{{1}}\" } }]";
    // The newest size is the largest, so the rules for large ones come first.
    let size = |of: &str, lines: usize| {
        let bytes = lines * LINE_BYTES;
        format!("tool_content = {{ regex = '\"{of}\".*\"size_bytes\":{bytes}\\b' }}")
    };
    rule(&size("path", LINES), "text = \"The ledger is full.\"");
    for lines in (1..LINES).rev() {
        rule(&size("kind", lines), &append("redo", lines + 1));
        rule(&size("written_bytes", lines), &append("line", lines + 1));
    }
    rule("tool_name = \"files__stat\"", &append("redo", 1));
    rule("tool_result = false", &append("line", 1));

    // Used once: what was looked at counts from then on. There is one crash, and so one doubt.
    let doubt = format!(
        "[[rules]]\nwhen = {{ last_user = {{ regex = 'ledger (/notes/\\w+)' }}, tool_content = {DOUBT:?} }}\n\
         times = 1\nanswer = {{ {look} }}\n"
    );
    let (models, rules) = script.split_at(script.find("[[rules]]").expect("rules"));
    let sleep = format!(
        "[[rules]]\nwhen = {{ last_user = \"sleep on it\", tool_content = {DOUBT:?} }}\n\
         answer.text = \"I cannot say whether it was done.\"\n\
         [[rules]]\nwhen = {{ last_user = \"sleep on it\" }}\n\
         answer.tool_calls = [{{ name = \"{{{{tool rogue.*sleep}}}}\" }}]\n"
    );
    format!("{models}{sleep}{doubt}{rules}")
}

/// What the assistant tells a model of a call in doubt.
const DOUBT: &str = "not known whether";

fn server(notes: &Path) -> Server {
    let script = notes.join("script.toml");
    std::fs::write(&script, self::script()).expect("written");
    let configuration = format!(
        r#"
        [inference]
        default_model = "demo"
        [[inference.backends]]
        name = "script"
        kind = "scripted"
        script = {script:?}
        [inference.models.demo]
        [agents.assistant]
        tools = ["files.append", "files.stat", "rogue.sleep-forever"]
        [components.files]
        mounts = [{{ host = {notes:?}, guest = "/notes", access = "read-write" }}]
        "#
    );
    Server::start(&configuration, &[("rogue", "rogue")])
}

fn recorded(server: &Server, turn: &str) -> Vec<Event> {
    let path = format!("/v1/turns/{turn}/events");
    Events::open(server.address, &path, None, None).expect("events").collect()
}

#[test]
fn a_turn_that_is_killed_at_any_effect_completes_and_repeats_none() {
    let kills: usize = std::env::var("FORESHORE_TURN_KILLS")
        .ok()
        .and_then(|kills| kills.parse().ok())
        .unwrap_or(4);
    let notes = tempfile::tempdir().expect("made");
    let mut server = server(notes.path());
    let mut doubts = 0;
    for kill in 0..kills {
        // 17 and 45 have no divisor in common: 45 kills are at 45 moments.
        let moment = 3 + (kill * 17 + 3) % MOMENTS;
        let ledger = format!("ledger{kill}");
        doubts += usize::from(killed(&mut server, notes.path(), &ledger, moment));
    }
    eprintln!("{kills} kills, {doubts} side effects in doubt");
}

/// Kills a turn when so many of its events were told, and holds what comes of it to its record;
/// whether a side effect was in doubt.
fn killed(server: &mut Server, notes: &Path, ledger: &str, moment: usize) -> bool {
    let body = json!({"message": format!("Fill the ledger /notes/{ledger}")});
    let events = Events::open(server.address, "/v1/agents/assistant/turns", None, Some(&body));
    let told = events.expect("events").filter(|event| event.id.is_some());
    let told: Vec<Event> = told.take(moment).collect();
    server.kill();
    assert_eq!(told.len(), moment, "the turn was over: {told:?}");
    server.restart();

    let id = told[0].data["turn_id"].as_str().expect("an id");
    let turn = ended(server, id);
    let what = format!("killed at event {moment}: {turn}");
    assert_eq!(turn["state"], "completed", "{what}");
    assert_eq!(turn["reply"]["text"], "The ledger is full.", "{what}");
    let all = recorded(server, id);
    assert_eq!(all[..moment], told, "what was told is on record, {what}");

    let text = each_line_once(&notes.join(ledger), &what);

    let of = |name: &str| -> Vec<&Event> { all.iter().filter(|one| one.name == name).collect() };
    let place = |event: &&Event| event.data["effect"].as_u64().expect("a number");
    let (calls, results) = (of("tool.call"), of("tool.result"));
    assert!(calls.iter().map(place).max() >= Some(30), "30 effects, {what}");
    let unique: BTreeSet<u64> = calls.iter().map(place).collect();
    assert_eq!(unique.len(), calls.len(), "each effect was begun once, {what}");
    let answered: Vec<u64> = results.iter().map(place).collect();
    assert_eq!(unique.into_iter().collect::<Vec<_>>(), answered, "and has one result, {what}");

    let failed: Vec<&Value> =
        results.iter().map(|event| &event.data).filter(|data| data["error"].is_string()).collect();
    assert!(failed.len() <= 1, "one crash, at most one doubt: {failed:?}");
    let is_in_doubt = turn["error"]["code"] == "unknown_outcome";
    assert_eq!(is_in_doubt, failed.len() == 1, "a doubt is told: {failed:?}, {what}");
    // Only what was in doubt was looked at, and gone on from there.
    assert!(is_in_doubt || !text.contains("redo"), "{text} {what}");
    is_in_doubt
}

/// Holds a ledger to what it must be in the end, whatever came between; the text of it.
pub(super) fn each_line_once(ledger: &Path, what: &str) -> String {
    let text = std::fs::read_to_string(ledger).expect("written");
    let numbers: Vec<usize> =
        text.lines().filter_map(|line| line.split(' ').nth(1)?.parse().ok()).collect();
    assert_eq!(numbers, (1..=LINES).collect::<Vec<_>>(), "each line once, {what}");
    text
}

#[test]
fn a_side_effect_that_a_crash_left_open_is_told_to_be_in_doubt_and_not_made_again() {
    let notes = tempfile::tempdir().expect("made");
    let mut server = server(notes.path());
    let (turn, _) = begin(&server, "assistant", &json!({"message": "Please sleep on it."}));
    let call = until("the tool is called", || {
        let events = server.get("/v1/audit?kind=call.started&limit=1").json();
        events["events"].as_array().filter(|events| !events.is_empty()).cloned()
    });
    assert_eq!(call.len(), 1);
    server.kill();
    server.restart();

    let ended = ended(&server, &turn);
    assert_eq!(ended["state"], "completed", "{ended}");
    assert_eq!(ended["reply"]["text"], "I cannot say whether it was done.");
    assert_eq!(ended["error"]["code"], "unknown_outcome", "{ended}");
    let all = recorded(&server, &turn);
    let results: Vec<&Event> = all.iter().filter(|event| event.name == "tool.result").collect();
    assert_eq!(results.len(), 1, "{all:?}");
    assert_eq!(results[0].data["tool"], "rogue.sleep-forever");
    assert!(results[0].data["error"].is_string(), "{results:?}");
    assert!(all.iter().any(|event| event.name == "turn.resumed"), "{all:?}");
    let begun = server.get("/v1/audit?kind=call.started&limit=10").json();
    assert_eq!(begun["events"].as_array().map(Vec::len), Some(1), "it was called once");
}
