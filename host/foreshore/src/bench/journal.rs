//! The journal beside redb alone, how fast it is verified, and how soon a large one is ready
//! after its process was killed.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use foreshore_control::store::{Blob, Commit, Journal, JournalConfig};
use foreshore_domain::event::{EventKind, NewEvent, Stream, Tenant};
use foreshore_domain::id::CallId;
use foreshore_store::floor::Floor;

use super::durable::{CALLERS, RECORD_BYTES, round};
use super::figures::{float, median};
use super::{Effort, Row, Target};

/// Events of the journal that is verified.
const VERIFIED_EVENTS: usize = 300_000;
/// Blobs of the large journal, and bytes of each.
const BLOBS: u8 = 64;
const BLOB_BYTES: usize = 16 << 20;

fn event() -> NewEvent {
    let text = "x".repeat(RECORD_BYTES - 100);
    NewEvent {
        at_unix_ms: 1,
        tenant: Tenant::DEFAULT,
        stream: Stream::Call(CallId::new(1)),
        kind: EventKind::CallCompleted,
        payload: format!("{{\"text\":\"{text}\"}}").into_bytes(),
    }
}

/// Durable appends of many callers.
pub(super) fn append(effort: &Effort) -> anyhow::Result<Vec<Row>> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let directory = tempfile::tempdir()?;
    let floor = Arc::new(Floor::new(&directory.path().join("floor.redb"))?);
    let path = directory.path().join("journal.redb");
    let journal = Journal::open(&path, &JournalConfig::default())?;
    let (mut floors, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..effort.rounds.div_ceil(2) {
        let redb = Arc::clone(&floor);
        floors.push(runtime.block_on(round(move || {
            let redb = Arc::clone(&redb);
            async move { Ok(redb.append(vec![1; RECORD_BYTES]).await?) }
        }))?);
        let appending = journal.clone();
        ours.push(runtime.block_on(round(move || {
            let journal = appending.clone();
            async move { Ok(journal.append(event()).await.map(drop)?) }
        }))?);
    }
    runtime.block_on(journal.close());
    Ok(vec![Row {
        name: "journal".to_owned(),
        unit: "durable events/s",
        floor: Some(median(&mut floors)),
        ours: median(&mut ours),
        target: Target::RatioAtLeast(0.7),
        note: format!(
            "{CALLERS} callers; floor: redb alone, one-phase group commit of {RECORD_BYTES} B records; ours: chained events, two-phase commit"
        ),
    }])
}

/// Holding every event to the chain.
pub(super) fn verify(effort: &Effort) -> anyhow::Result<Vec<Row>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("journal.redb");
    let journal = Journal::open(&path, &JournalConfig::default())?;
    for at in 0..VERIFIED_EVENTS {
        journal.append_soon(event());
        // The queue is bounded: what it has no room for would be dropped.
        if at % 10_000 == 9_999 {
            runtime.block_on(journal.flush());
        }
    }
    runtime.block_on(journal.flush());
    let mut rates = Vec::new();
    for _ in 0..effort.rounds.div_ceil(2) {
        let start = Instant::now();
        let verified = journal.verify()?;
        anyhow::ensure!(verified.events >= u64::try_from(VERIFIED_EVENTS)?, "events are missing");
        rates.push(float(VERIFIED_EVENTS) / start.elapsed().as_secs_f64());
    }
    runtime.block_on(journal.close());
    Ok(vec![Row {
        name: "journal-verify".to_owned(),
        unit: "events/s",
        floor: None,
        ours: median(&mut rates),
        target: Target::AtLeast(200_000.0),
        note: format!("{VERIFIED_EVENTS} events of {RECORD_BYTES} B, one thread"),
    }])
}

/// Opening a journal of 1 GiB whose process did not close it.
pub(super) fn ready(_: &Effort) -> anyhow::Result<Vec<Row>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let directory = tempfile::tempdir()?;
    let live = directory.path().join("live");
    let left = directory.path().join("left");
    std::fs::create_dir(&live)?;
    std::fs::create_dir(&left)?;
    let journal = Journal::open(&live.join("journal.redb"), &JournalConfig::default())?;
    let mut state = 1_u64;
    for _ in 0..BLOBS {
        // xorshift64 (Marsaglia 2003): bytes that do not compress.
        let mut bytes = Vec::with_capacity(BLOB_BYTES);
        while bytes.len() < BLOB_BYTES {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        let blob = Blob::new(bytes);
        let change = serde_json::json!({
            "change": {
                "root": "bench",
                "path": "large",
                "kind": "created",
                "before": null,
                "after": null,
                "author": "outside",
            },
            "blobs": [blob.digest()],
        });
        let event = NewEvent {
            stream: Stream::Root("bench".to_owned()),
            kind: EventKind::FileChanged,
            payload: change.to_string().into_bytes(),
            ..event()
        };
        let commit = Commit { events: vec![event], blobs: vec![blob], ..Commit::default() };
        runtime.block_on(journal.commit(commit))?;
    }
    // What a process leaves that is killed: the files as they are while it runs.
    copy(&live, &left)?;
    let bytes = std::fs::metadata(left.join("journal.redb"))?.len();
    runtime.block_on(journal.close());
    let start = Instant::now();
    let journal = Journal::open(&left.join("journal.redb"), &JournalConfig::default())?;
    let took = start.elapsed();
    anyhow::ensure!(journal.tip().seq >= u64::from(BLOBS), "events are missing");
    runtime.block_on(journal.close());
    Ok(vec![Row {
        name: "ready".to_owned(),
        unit: "ms",
        floor: None,
        ours: milliseconds(took),
        target: Target::AtMost(1_000.0),
        note: format!("a journal of {} MiB that was not closed", bytes >> 20),
    }])
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        std::fs::copy(entry.path(), to.join(entry.file_name())).context("copying the journal")?;
    }
    Ok(())
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
