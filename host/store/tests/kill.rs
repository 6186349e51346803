//! The process is killed while it appends: what it said it had recorded is there.
//!
//! The test runs itself again as the process to be killed. `FORESHORE_KILLS` says how often.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use foreshore_domain::event::{EventKind, NewEvent, Stream, Tenant};
use foreshore_store::{Blob, Commit, Condition, Journal, JournalConfig};

const JOURNAL: &str = "FORESHORE_TEST_JOURNAL";

fn event(payload: &str) -> NewEvent {
    NewEvent {
        at_unix_ms: 1,
        tenant: Tenant::DEFAULT,
        stream: Stream::Host,
        kind: EventKind::CallCompleted,
        payload: payload.as_bytes().to_vec(),
    }
}

/// The process to be killed: four callers append and print each number once it is acknowledged.
/// One of them makes entries with a condition and a blob.
#[test]
#[ignore = "the other half of the test below"]
fn append_until_killed() {
    let Ok(path) = std::env::var(JOURNAL) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build();
    runtime.expect("a runtime").block_on(async {
        let journal = Journal::open(Path::new(&path), &JournalConfig::default()).expect("opens");
        let root = Stream::Root("home".to_owned());
        let events = journal.read_stream(&Tenant::DEFAULT, &root, 1, usize::MAX);
        let head = events.expect("readable").last().map_or(0, |event| event.seq);
        let callers: Vec<_> = (0..4)
            .map(|caller| {
                let (journal, mut head) = (journal.clone(), head);
                tokio::spawn(async move {
                    for n in 0..1_000_000 {
                        journal.append_soon(event("soon"));
                        if caller == 0 {
                            let seq = change_a_file(&journal, n, &mut head).await;
                            println!("acknowledged {seq}");
                            continue;
                        }
                        let seq = journal.append(event("kept")).await.expect("appended").seq;
                        println!("acknowledged {seq}");
                    }
                })
            })
            .collect();
        for caller in callers {
            caller.await.expect("runs until it is killed");
        }
    });
}

/// An entry of a file's new version and of an event beside it; the second one's number.
/// `head` is where the file's stream ends, before and after.
async fn change_a_file(journal: &Journal, n: u32, head: &mut u64) -> u64 {
    let root = || Stream::Root("home".to_owned());
    let seq = *head;
    let blob = Blob::new(format!("{n}").repeat(100));
    let payload = format!(
        "{{\"change\":{{\"root\":\"home\",\"path\":\"f\",\"kind\":\"created\",\"before\":null,\"after\":null,\"author\":\"outside\"}},\"blobs\":[\"{}\"]}}",
        blob.digest()
    ).into_bytes();
    let changed = NewEvent { stream: root(), kind: EventKind::FileChanged, payload, ..event("") };
    let commit = Commit {
        events: vec![changed, event("kept")],
        conditions: vec![Condition::StreamAt { tenant: Tenant::DEFAULT, stream: root(), seq }],
        blobs: vec![blob],
    };
    let committed = journal.commit(commit).await.expect("nobody else writes there");
    *head = committed.first_seq;
    committed.last_seq
}

#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let place = tempfile::tempdir().expect("a directory");
    let path = place.path().join("journal.redb");
    let mut acknowledged = Vec::new();
    let mut checked = 0;
    let kills = std::env::var("FORESHORE_KILLS").ok().and_then(|n| n.parse().ok());
    let kills = kills.unwrap_or(5_usize);
    for kill in 0..kills {
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "append_until_killed", "--ignored", "--nocapture"])
            .env(JOURNAL, &path)
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut seqs = lines.map_while(Result::ok).filter_map(|line| {
            line.rsplit_once("acknowledged ").and_then(|(_, seq)| seq.parse::<u64>().ok())
        });
        acknowledged.extend(seqs.by_ref().take(20 + 37 * (kill % 5)));
        child.kill().expect("killed");
        // What it had printed by then was acknowledged too.
        acknowledged.extend(seqs);
        child.wait().expect("gone");

        let journal = Journal::open(&path, &JournalConfig::default()).expect("opens");
        let verified = journal.verify().expect("verifies");
        assert!(verified.events >= acknowledged.iter().copied().max().unwrap_or(0));
        // All of them once at the end; in between, those of this round.
        let since = if kill + 1 == kills { 0 } else { checked };
        checked = acknowledged.len();
        for seq in &acknowledged[since..] {
            let events = journal.read(*seq, 1).expect("readable");
            assert_eq!((events[0].seq, &*events[0].payload), (*seq, &b"kept"[..]));
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let journal = Journal::open(&path, &JournalConfig::default()).expect("opens");
        journal.check().await.expect("passes its check");
    });
    assert!(acknowledged.len() >= 400, "only {} events", acknowledged.len());
    println!("{kills} kills, {} acknowledged, none lost", acknowledged.len());
}
