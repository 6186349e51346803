//! The process is killed while it appends: what it said it had recorded is there.
//!
//! The test runs itself again as the process to be killed.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use foreshore_domain::event::{EventKind, NewEvent, Stream, Tenant};
use foreshore_store::{Journal, JournalConfig};

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
#[test]
#[ignore = "the other half of the test below"]
fn append_until_killed() {
    let Ok(path) = std::env::var(JOURNAL) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build();
    runtime.expect("a runtime").block_on(async {
        let journal = Journal::open(Path::new(&path), &JournalConfig::default()).expect("opens");
        let callers: Vec<_> = (0..4)
            .map(|_| {
                let journal = journal.clone();
                tokio::spawn(async move {
                    for _ in 0..1_000_000 {
                        journal.append_soon(event("soon"));
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

#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let place = tempfile::tempdir().expect("a directory");
    let path = place.path().join("journal.redb");
    let mut acknowledged = Vec::new();
    for kill in 0..5_usize {
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
        acknowledged.extend(seqs.by_ref().take(20 + 37 * kill));
        child.kill().expect("killed");
        // What it had printed by then was acknowledged too.
        acknowledged.extend(seqs);
        child.wait().expect("gone");

        let journal = Journal::open(&path, &JournalConfig::default()).expect("opens");
        let verified = journal.verify().expect("verifies");
        assert!(verified.events >= acknowledged.iter().copied().max().unwrap_or(0));
        for seq in &acknowledged {
            let events = journal.read(*seq, 1).expect("readable");
            assert_eq!((events[0].seq, &*events[0].payload), (*seq, &b"kept"[..]));
        }
    }
    assert!(acknowledged.len() >= 400, "only {} events", acknowledged.len());
}
