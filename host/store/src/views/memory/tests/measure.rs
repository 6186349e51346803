//! What memory costs with many records:
//! `cargo test --release -p foreshore-store memory_measured -- --ignored --nocapture`

use std::time::{Duration, Instant};

use foreshore_domain::memory::Embedding;

use super::meaning::embedding;
use super::search::Numbers;
use super::*;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

/// A word of 30,000, as often as Zipf has it: the first is in most texts.
fn word(numbers: &mut Numbers) -> String {
    let mut rank = 30_000;
    // The reciprocal of a uniform number follows Zipf's law.
    rank = rank / (1 + numbers.below(rank));
    format!("word{}", rank.saturating_mul(7) % 30_000)
}

/// A vector in one of a hundred clusters, as texts about the same things have.
fn clustered(numbers: &mut Numbers, columns: usize) -> Embedding {
    let cluster = embedding(&mut Numbers(1_000 + numbers.below(100)), columns);
    let own = embedding(numbers, columns);
    let sum = cluster.vector().iter().zip(own.vector()).map(|(a, b)| a + b).collect();
    Embedding::new(cluster.model().clone(), sum).expect("valid")
}

fn embedded(numbers: &mut Numbers, columns: usize) -> String {
    let embedding = clustered(numbers, columns);
    format!(",\"embedding\":{}", serde_json::to_string(&embedding).expect("serializes"))
}

/// How long things took: by the clock, and, on Linux, of this thread's time on a processor,
/// which says more on a machine that has other work.
struct Took {
    p50: Duration,
    p99: Duration,
    processor_each: Duration,
}

impl std::fmt::Display for Took {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { p50, p99, processor_each } = self;
        write!(f, "p50 {p50:.1?}, p99 {p99:.1?}, {processor_each:.1?} of a processor each")
    }
}

fn on_processor() -> Duration {
    let line = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = line.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or_default())
}

fn repeat(rounds: u64, mut run: impl FnMut(u64)) -> Took {
    let before = on_processor();
    let mut times: Vec<Duration> = (0..rounds)
        .map(|round| {
            let started = Instant::now();
            run(round);
            started.elapsed()
        })
        .collect();
    let processor_each = (on_processor() - before) / u32::try_from(rounds).expect("few");
    times.sort();
    let (p50, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    Took { p50, p99, processor_each }
}

#[test]
#[ignore = "a measurement, not a check"]
fn memory_measured() {
    let (records, rounds) =
        (setting("FORESHORE_RECORDS", 100_000), setting("FORESHORE_ROUNDS", 200));
    let place = tempfile::tempdir().expect("a directory");
    let path = place.path().join("memory.redb");
    let database = Database::create(&path).expect("a database");
    let mut numbers = Numbers(1);
    let mut seq = 0;
    let columns = usize::try_from(setting("FORESHORE_COLUMNS", 384)).expect("small");
    let mut slowest = Duration::ZERO;
    let (started, before) = (Instant::now(), on_processor());
    while seq < records {
        let transaction = database.begin_write().expect("a transaction");
        for _ in 0..1_000.min(records - seq) {
            seq += 1;
            let words: Vec<String> = (0..50).map(|_| word(&mut numbers)).collect();
            let json = format!(
                r#"{{"namespace":"n","key":"note/{seq}","origin":"person","value":{{"inline":{{"text":"{}"}}}},"tags":["t{}"],"importance":0.5{}}}"#,
                words.join(" "),
                seq % 100,
                if columns == 0 { String::new() } else { embedded(&mut numbers, columns) }
            );
            let (tenant, stream, kind, payload) = ("t", "memory/n", kind::PUT, json.as_bytes());
            let event = EventRef { seq, at_unix_ms: seq * 1_000, tenant, stream, kind, payload };
            let started = Instant::now();
            apply(&transaction, &event).expect("applies");
            slowest = slowest.max(started.elapsed());
        }
        transaction.commit().expect("commits");
    }
    let each = started.elapsed() / u32::try_from(records).expect("few");
    let bytes = std::fs::metadata(&path).expect("there").len();
    let processor_each = (on_processor() - before) / u32::try_from(records).expect("few");
    println!(
        "put: {each:?} each ({processor_each:?} of a processor), {slowest:?} the slowest; {} bytes of file each",
        bytes / records
    );

    let transaction = database.begin_read().expect("a transaction");
    let reader = MemoryReader::open(&transaction, "t", records * 1_000).expect("opens");
    for (name, text, tags) in [
        ("a rare word", "word7001", &[][..]),
        ("3 words", "word70 word700 word7007", &[][..]),
        ("the most frequent word", "word7", &[][..]),
        ("6 of the most frequent words", "word7 word14 word21 word28 word35 word42", &[][..]),
        ("the same, with a tag", "word7 word14 word21 word28 word35 word42", &["t7"][..]),
        ("a tag alone", "", &["t7"][..]),
    ] {
        let query = Query { text, tags, limit: 10, ..Query::default() };
        let mut hits = 0;
        let took = repeat(rounds, |_| {
            hits = reader.search("n", &query).expect("readable").hits.len();
        });
        println!("search, {name}: {took}, {hits} hits");
    }

    let (reads, vectors) = (ReadCache::new(0), VectorCache::new(256 << 20));
    let searching = MemoryReader::open(&transaction, "t", records * 1_000).expect("opens");
    let cached = searching.with_caches(&reads, &vectors).expect("readable");
    let queries: Vec<Embedding> =
        (0..16).map(|_| clustered(&mut numbers, columns.max(1))).collect();
    for (name, reader, text) in [
        ("in the table", &reader, ""),
        ("the first time", &cached, ""),
        ("alone", &cached, ""),
        ("and 3 words", &cached, "word70 word700 word7007"),
        ("and 6 of the most frequent", &cached, "word7 word14 word21 word28 word35 word42"),
    ] {
        let rounds = if name == "the first time" { 1 } else { rounds };
        let took = repeat(if name == "in the table" { 10 } else { rounds }, |round| {
            let query = &queries[usize::try_from(round % 16).expect("small")];
            let query = Query { text, embedding: Some(query), limit: 10, ..Query::default() };
            let found = reader.search("n", &query).expect("readable");
            assert!(columns == 0 || found.method == Method::Hybrid);
        });
        println!("vectors, {name}: {took}");
    }
    println!("vectors in memory: {} bytes", vectors.bytes());

    let mut hostile = [Duration::ZERO; 2];
    let transaction = database.begin_write().expect("a transaction");
    for (round, slowest) in hostile.iter_mut().enumerate() {
        for n in 0..300 {
            let words: Vec<String> =
                (0..6_000).map(|word| format!("{:x}", word * 300 + n)).collect();
            let text = words.join(&format!(" {round}"));
            let json = format!(
                r#"{{"namespace":"hostile","key":"{n}","origin":"person","value":{{"inline":"{text}"}}}}"#
            );
            let (tenant, stream, kind, payload) = ("t", "memory/n", kind::PUT, json.as_bytes());
            let event = EventRef { seq, at_unix_ms: 1, tenant, stream, kind, payload };
            let started = Instant::now();
            apply(&transaction, &event).expect("applies");
            *slowest = (*slowest).max(started.elapsed());
        }
    }
    transaction.commit().expect("commits");
    println!(
        "records of different words only: put {:?} the slowest, again {:?}",
        hostile[0], hostile[1]
    );

    let mut key = || format!("note/{}", 1 + numbers.below(records));
    let keys: Vec<String> = (0..1_000).map(|_| key()).collect();
    let (cache, vectors) = (ReadCache::new(64 << 20), VectorCache::new(256 << 20));
    let get = |cache: Option<&ReadCache>, n: u64| {
        let transaction = database.begin_read().expect("a transaction");
        let reader = MemoryReader::open(&transaction, "t", 0).expect("opens");
        let reader = match cache {
            Some(cache) => reader.with_caches(cache, &vectors).expect("readable"),
            None => reader,
        };
        let key = &keys[usize::try_from(n % 1_000).expect("small")];
        assert!(reader.get("n", key).expect("readable").is_some());
    };
    println!("get, a transaction each: {}", repeat(20_000, |n| get(None, n)));
    println!("get, with a cache: {}", repeat(20_000, |n| get(Some(&cache), n)));
    let took = repeat(20_000, |n| {
        let key = &keys[usize::try_from(n % 1_000).expect("small")];
        assert!(cache.latest("t", "n", key, 0).is_some() || n < 1_000);
    });
    println!("get, from the cache without a transaction: {took}");
    println!("{:?}", cache.stats());
}
