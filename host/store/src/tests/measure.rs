//! What recording costs:
//! `cargo test --release -p foreshore-store measure -- --ignored --nocapture`.
//!
//! Measurements, not checks: each prints what it found, beside redb alone where that compares.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foreshore_domain::event::{EventKind, NewEvent, Stream, Tenant};

use super::entries::on;
use super::event;
use crate::commit::{Commit, Condition};
use crate::facts::JournalConfig;
use crate::floor::Floor;
use crate::journal::Journal;

const CALLERS: u32 = 64;
const ROUND: Duration = Duration::from_millis(700);

/// How often all callers together did `work` in a second.
async fn rate<W: Future<Output = ()> + Send>(
    work: impl Fn(u32) -> W + Clone + Send + 'static,
) -> f64 {
    let started = Instant::now();
    let tasks: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let work = work.clone();
            tokio::spawn(async move {
                let mut done = 0_u32;
                while started.elapsed() < ROUND {
                    work(caller).await;
                    done += 1;
                }
                done
            })
        })
        .collect();
    let mut total = 0;
    for task in tasks {
        total += task.await.expect("no panic");
    }
    f64::from(total) / started.elapsed().as_secs_f64()
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

fn call(payload: &str) -> NewEvent {
    let id = foreshore_domain::id::CallId::new(1_000);
    on(Stream::Call(id), EventKind::CallCompleted, payload)
}

fn open(path: &Path) -> Journal {
    Journal::open(path, &JournalConfig::default()).expect("opens")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, not a check"]
async fn measure_appends_beside_redb_alone() {
    let place = tempfile::tempdir().expect("a directory");
    let floor = Arc::new(Floor::new(&place.path().join("floor.redb")).expect("opens"));
    let journal = open(&place.path().join("journal.redb"));
    let (mut floors, mut calls, mut guarded) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..7 {
        let redb = Arc::clone(&floor);
        floors.push(
            rate(move |_| {
                let redb = Arc::clone(&redb);
                async move { redb.append(vec![1; 300]).await.expect("appended") }
            })
            .await,
        );
        let to = journal.clone();
        calls.push(
            rate(move |_| {
                let to = to.clone();
                async move {
                    to.append(call(&"x".repeat(200))).await.expect("appended");
                }
            })
            .await,
        );
        let to = journal.clone();
        guarded.push(
            rate(move |caller| {
                let to = to.clone();
                async move {
                    let stream = Stream::Conversation(format!("c{caller}"));
                    let condition = Condition::StreamAt {
                        tenant: Tenant::DEFAULT,
                        stream: stream.clone(),
                        seq: u64::MAX,
                    };
                    let events = vec![on(stream, EventKind::CallCompleted, "x".repeat(200))];
                    // A conflict is looked up as a match is, and a match then writes an event.
                    let checked = Commit {
                        events: events.clone(),
                        conditions: vec![condition],
                        blobs: Vec::new(),
                    };
                    to.commit(checked).await.expect_err("a conflict");
                    let commit = Commit { events, ..Commit::default() };
                    to.commit(commit).await.expect("committed");
                }
            })
            .await,
        );
    }
    let (floor, calls, guarded) = (median(floors), median(calls), median(guarded));
    println!("redb alone, {CALLERS} callers: {floor:.0}/s");
    println!("call events: {calls:.0}/s, {:.2} of redb alone", calls / floor);
    println!("guarded events, each after a condition that fails: {guarded:.0}/s");

    let started = Instant::now();
    for _ in 0..500 {
        journal.append(call("{}")).await.expect("appended");
    }
    println!("one caller: {:.0}/s", 500.0 / started.elapsed().as_secs_f64());
    let started = Instant::now();
    let rounds = 50_000_u32;
    for _ in 0..rounds {
        journal.append_soon_with(|| event("x".repeat(200)));
    }
    println!("append_soon: {:?} each, in a burst", started.elapsed() / rounds);
    journal.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, not a check"]
async fn measure_a_large_journal() {
    let wanted = std::env::var("FORESHORE_MEASURE_MIB").ok().and_then(|n| n.parse().ok());
    let (mib, place) = (wanted.unwrap_or(128_u64), tempfile::tempdir().expect("a directory"));
    let path = place.path().join("journal.redb");
    let journal = open(&path);
    let payload = "x".repeat(200);
    while std::fs::metadata(&path).expect("there").len() < mib << 20 {
        for n in 0..20_000 {
            let payload = payload.clone();
            journal.append_soon_with(move || match n % 10 {
                0 => on(Stream::Conversation("c".to_owned()), EventKind::CallCompleted, payload),
                _ => call(&payload),
            });
        }
        journal.flush().await;
    }
    let events = journal.tip().seq;
    let per_second = |started: Instant| {
        let events = u32::try_from(events).expect("a few million");
        f64::from(events) / started.elapsed().as_secs_f64()
    };
    let started = Instant::now();
    journal.verify().expect("verifies");
    println!("verify: {:.0} events/s of {events}", per_second(started));
    let started = Instant::now();
    let file = std::fs::File::create(place.path().join("export")).expect("made");
    journal.export(&mut std::io::BufWriter::new(file)).expect("exported");
    println!("export: {:.0} events/s", per_second(started));
    let started = Instant::now();
    journal.rebuild(|_| {}).await.expect("rebuilt");
    println!("rebuild: {:.0} events/s", per_second(started));
    let started = Instant::now();
    journal.backup(&place.path().join("backup.redb")).await.expect("copied");
    println!("backup: {:.0} events/s", per_second(started));
    let started = Instant::now();
    journal.check().await.expect("passes its check");
    println!("check: {:.0} events/s", per_second(started));
    let bytes = std::fs::metadata(&path).expect("there").len();
    println!("file: {} MiB, {} bytes an event", bytes >> 20, bytes / events);
    // As a process that was killed leaves it: the file as it is, without an orderly end.
    let copy = place.path().join("copy.redb");
    for file in ["redb", "key", "checkpoints.jsonl"] {
        std::fs::copy(path.with_extension(file), copy.with_extension(file)).expect("copied");
    }
    let started = Instant::now();
    let journal = open(&copy);
    println!("open after a crash: {:?}", started.elapsed());
    journal.close().await;
}
