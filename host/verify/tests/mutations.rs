//! Whatever is done to an exported journal without the key is found.
//!
//! `FORESHORE_MUTATIONS` says how many are tried; each kind gets its share.

use std::path::Path;
use std::process::Command;

use foreshore_domain::event::{EventKind, NewEvent, Stream, Tenant};
use foreshore_store::{Journal, JournalConfig};
use foreshore_verify::{Checkpoint, Failure, Finding, Trust, verify};

const EVENTS: u64 = 60;
const SEALED_AT: u64 = 25;
const CONTEXT: &str = "foreshore journal event 1";
const HEADER_BYTES: usize = 27 + 16 + 8 + 32;

fn event(n: u64) -> NewEvent {
    NewEvent {
        at_unix_ms: 1_000 + n,
        tenant: Tenant::DEFAULT,
        stream: Stream::Component(format!("c{}", n % 5)),
        kind: EventKind::CallCompleted,
        payload: format!(
            "{{\"n\":{n},\"text\":\"{}\"}}",
            "x".repeat(usize::try_from(n % 7 * 9).expect("small"))
        )
        .into_bytes(),
    }
}

/// An export in its parts, to be changed.
#[derive(Clone)]
struct Parts {
    header: Vec<u8>,
    bodies: Vec<Vec<u8>>,
    hashes: Vec<[u8; 32]>,
    tip: [u8; 32],
}

impl Parts {
    fn of(export: &[u8]) -> Self {
        let (header, mut rest) = export.split_at(HEADER_BYTES);
        let (mut bodies, mut hashes) = (Vec::new(), Vec::new());
        loop {
            let (length, after) = rest.split_first_chunk::<4>().expect("a length");
            let length = u32::from_le_bytes(*length);
            if length == u32::MAX {
                let tip = after[8..].try_into().expect("a hash");
                return Self { header: header.to_vec(), bodies, hashes, tip };
            }
            let (body, after) = after.split_at(usize::try_from(length).expect("32 bits"));
            let (hash, after) = after.split_first_chunk().expect("a hash");
            bodies.push(body.to_vec());
            hashes.push(*hash);
            rest = after;
        }
    }

    /// As somebody writes it who knows the format; `rehash` makes the chain hold again.
    fn bytes(&self, rehash: bool) -> Vec<u8> {
        let mut bytes = self.header.clone();
        let mut hash: [u8; 32] = self.header[HEADER_BYTES - 32..].try_into().expect("a hash");
        let hashes = self.hashes.iter().chain(std::iter::repeat(&self.tip));
        for ((body, said), seq) in self.bodies.iter().zip(hashes).zip(1_u64..) {
            bytes.extend_from_slice(&u32::try_from(body.len()).expect("small").to_le_bytes());
            bytes.extend_from_slice(body);
            let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
            hasher.update(&hash).update(&seq.to_le_bytes()).update(body);
            hash = hasher.finalize().into();
            bytes.extend_from_slice(if rehash { &hash } else { said });
        }
        bytes.extend_from_slice(&u32::MAX.to_le_bytes());
        bytes.extend_from_slice(&u64::try_from(self.bodies.len()).expect("small").to_le_bytes());
        bytes.extend_from_slice(if rehash { &hash } else { &self.tip });
        bytes
    }
}

fn random(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 16).expect("64 bits") % below.max(1)
    }
}

/// An export and its checkpoints, at 25 and at 60 events.
async fn journal(place: &Path) -> (Vec<u8>, Vec<u8>, String) {
    let path = place.join("journal.redb");
    let journal = Journal::open(&path, &JournalConfig::default()).expect("opens");
    let mut older = Vec::new();
    for n in 1..=EVENTS {
        journal.append(event(n)).await.expect("appended");
        if n == SEALED_AT {
            journal.seal().await.expect("sealed");
            journal.export(&mut older).expect("exported");
        }
    }
    journal.seal().await.expect("sealed");
    let mut export = Vec::new();
    journal.export(&mut export).expect("exported");
    let checkpoints = std::fs::read_to_string(place.join("journal.checkpoints.jsonl"));
    (export, older, checkpoints.expect("there"))
}

#[tokio::test]
async fn every_mutation_is_found() {
    let place = tempfile::tempdir().expect("a directory");
    let (export, older, checkpoints) = journal(place.path()).await;
    let checkpoints = Checkpoint::parse_all(&checkpoints).expect("checkpoints");
    let found = |bytes: &[u8]| verify([bytes], &checkpoints, Trust::FirstSeen);
    let report = found(&export).expect("verifies");
    assert_eq!((report.events(), report.signed_to, report.checkpoints), (EVENTS, EVENTS, 3));

    let good = Parts::of(&export);
    assert_eq!(good.bytes(true), export);
    let count = std::env::var("FORESHORE_MUTATIONS").ok().and_then(|n| n.parse().ok());
    let count: u64 = count.unwrap_or(2_000);
    let mut tried = std::collections::BTreeMap::<&str, u64>::new();
    for seed in 0..count {
        let mut random = random(seed + 1);
        let mut parts = good.clone();
        let at = random(parts.bodies.len());
        let rehash = random(2) == 1;
        let (name, bytes) = match seed % 8 {
            0 => {
                let bit = random(parts.bodies[at].len() * 8);
                parts.bodies[at][bit / 8] ^= 1 << (bit % 8);
                ("edit", parts.bytes(rehash))
            }
            1 => {
                let copy = parts.bodies[random(parts.bodies.len())].clone();
                parts.bodies.insert(at, copy);
                ("insert", parts.bytes(rehash))
            }
            2 => {
                parts.bodies.remove(at);
                ("delete", parts.bytes(rehash))
            }
            3 => {
                let other = (at + 1 + random(parts.bodies.len() - 1)) % parts.bodies.len();
                parts.bodies.swap(at, other);
                ("swap", parts.bytes(rehash))
            }
            4 => {
                parts.bodies.truncate(at);
                ("cut tail", parts.bytes(rehash))
            }
            5 => {
                // Every event after one is written anew, in a chain that holds, and then some.
                for body in &mut parts.bodies[at..] {
                    *body = good.bodies[random(good.bodies.len())].clone();
                }
                parts.bodies[at] = [&good.bodies[at][..8], &good.bodies[at][8..]].concat();
                let last = parts.bodies[at].len() - 1;
                parts.bodies[at][last] ^= 1;
                parts.bodies.extend(good.bodies[..random(5)].to_vec());
                ("rewrite without the key", parts.bytes(true))
            }
            6 => {
                let cut = random(older.len() / 8);
                let whole = random(2) == 1;
                ("older file", older[..older.len() - if whole { 0 } else { cut }].to_vec())
            }
            _ => {
                let mut bytes = export.clone();
                let bit = random(bytes.len() * 8);
                bytes[bit / 8] ^= 1 << (bit % 8);
                ("any bit", bytes)
            }
        };
        assert!(
            matches!(found(&bytes), Err(Failure::Wrong(_))),
            "{name} number {seed} at event {} was not found",
            at + 1
        );
        *tried.entry(name).or_default() += 1;
    }
    println!("{count} mutations, all found: {tried:?}");
}

#[tokio::test]
async fn a_finding_names_the_first_event_that_does_not_hold() {
    let place = tempfile::tempdir().expect("a directory");
    let (export, older, text) = journal(place.path()).await;
    let checkpoints = Checkpoint::parse_all(&text).expect("checkpoints");
    let seq_of = |bytes: &[u8]| match verify([bytes], &checkpoints, Trust::FirstSeen) {
        Err(Failure::Wrong(Finding { seq, .. })) => seq,
        other => panic!("{other:?}"),
    };
    assert_eq!(seq_of(&older), SEALED_AT + 1, "the first that is missing");
    let mut parts = Parts::of(&export);
    parts.bodies[9][40] ^= 1;
    assert_eq!(seq_of(&parts.bytes(false)), 10);
    // Once the chain was made to hold again, it is one of those up to the next checkpoint.
    assert!((10..=SEALED_AT).contains(&seq_of(&parts.bytes(true))));
    assert_eq!(seq_of(&export[..HEADER_BYTES + 20]), 1);
    // Checkpoints by another hand count for nothing once the key is known from elsewhere.
    let own = Trust::Key(verify([&*export], &checkpoints, Trust::FirstSeen).expect("ok").key);
    verify([&*export], &checkpoints, own).expect("verifies");
    let pinned = verify([&*export], &checkpoints, Trust::Key([1; 32]));
    assert!(matches!(pinned, Err(Failure::Wrong(_))));
}

#[tokio::test]
async fn the_program_answers_in_words_in_json_and_in_its_exit_code() {
    let place = tempfile::tempdir().expect("a directory");
    let (export, older, _) = journal(place.path()).await;
    let (good, bad) = (place.path().join("good"), place.path().join("bad"));
    std::fs::write(&good, export).expect("written");
    std::fs::write(&bad, older).expect("written");
    let checkpoints = place.path().join("journal.checkpoints.jsonl");
    let run = |arguments: &[&Path]| {
        let output = Command::new(env!("CARGO_BIN_EXE_foreshore-verify"))
            .arg("--checkpoints")
            .arg(&checkpoints)
            .args(arguments)
            .output()
            .expect("runs");
        (output.status.code(), String::from_utf8(output.stdout).expect("text"))
    };
    let (code, text) = run(&[&good]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.starts_with("verified: 60 events, 1 to 60; 3 checkpoints"), "{text}");
    let (code, text) = run(&[Path::new("--json"), &good]);
    let answer: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((code, &answer["events"]), (Some(0), &60.into()));
    let (code, text) = run(&[Path::new("--json"), &bad]);
    let answer: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((code, &answer["first_bad_seq"]), (Some(1), &26.into()));
    let (code, text) = run(&[&bad]);
    assert_eq!(code, Some(1));
    assert!(text.starts_with("NOT verified: event 26: events are missing"), "{text}");
    assert_eq!(run(&[Path::new("/nonexistent")]).0, Some(2));
    assert_eq!(run(&[Path::new("--what")]).0, Some(2));
}

#[tokio::test]
async fn an_archive_and_the_rest_verify_as_one_and_the_rest_from_its_checkpoint() {
    let place = tempfile::tempdir().expect("a directory");
    let path = place.path().join("journal.redb");
    let journal = Journal::open(&path, &JournalConfig::default()).expect("opens");
    for n in 1..=EVENTS {
        journal.append(event(n)).await.expect("appended");
    }
    let file = place.path().join("1.archive");
    journal.archive(31, &file, 1).await.expect("archived");
    journal.seal().await.expect("sealed");
    let mut rest = Vec::new();
    journal.export(&mut rest).expect("exported");
    let archive = std::fs::read(&file).expect("there");
    let text = std::fs::read_to_string(path.with_extension("checkpoints.jsonl")).expect("there");
    let checkpoints = Checkpoint::parse_all(&text).expect("checkpoints");
    let both = verify([&*archive, &*rest], &checkpoints, Trust::FirstSeen).expect("verifies");
    assert_eq!((both.first_seq, both.last_seq), (1, EVENTS + 1));
    let alone = verify([&*rest], &checkpoints, Trust::FirstSeen).expect("verifies");
    assert_eq!((alone.first_seq, alone.events()), (31, 31));
    let wrong = |exports: [&[u8]; 2]| match verify(exports, &checkpoints, Trust::FirstSeen) {
        Err(Failure::Wrong(finding)) => finding.seq,
        other => panic!("{other:?}"),
    };
    assert_eq!(wrong([&rest, &archive]), 1, "out of order");
    assert_eq!(wrong([&archive, &archive]), 1, "twice the same");
    let without: Vec<_> =
        checkpoints.iter().filter(|c| format!("{c:?}").contains("seq: 61")).cloned().collect();
    let unanchored = verify([&*rest], &without, Trust::FirstSeen);
    assert!(matches!(unanchored, Err(Failure::Wrong(Finding { seq: 31, .. }))), "{unanchored:?}");
}

/// `cargo test --release -p foreshore-verify measure -- --ignored --nocapture`
#[tokio::test]
#[ignore = "a measurement, not a check"]
async fn measure_verification() {
    let place = tempfile::tempdir().expect("a directory");
    let path = place.path().join("journal.redb");
    let journal = Journal::open(&path, &JournalConfig::default()).expect("opens");
    for _ in 0..10 {
        for _ in 0..50_000 {
            journal.append_soon_with(|| NewEvent { payload: vec![b'x'; 200], ..event(1) });
        }
        journal.flush().await;
    }
    journal.seal().await.expect("sealed");
    let mut export = Vec::new();
    journal.export(&mut export).expect("exported");
    let text = std::fs::read_to_string(path.with_extension("checkpoints.jsonl")).expect("there");
    let checkpoints = Checkpoint::parse_all(&text).expect("checkpoints");
    let started = std::time::Instant::now();
    let report = verify([&*export], &checkpoints, Trust::FirstSeen).expect("verifies");
    println!("{} events in {:?}", report.events(), started.elapsed());
}
