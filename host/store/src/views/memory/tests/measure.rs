//! What memory costs with many records:
//! `cargo test --release -p foreshore-store memory_measured -- --ignored --nocapture`

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use foreshore_domain::memory::{Embedding, ModelName};

use super::meaning::embedding;
use super::search::Numbers;
use super::*;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

/// A word of 30,000, the low ranks more often than in language: the first is half of all, and
/// the first few are in almost every text.
fn word(numbers: &mut Numbers) -> String {
    let rank = 30_000 / (1 + numbers.below(30_000));
    format!("word{}", rank * 7 % 30_000)
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

/// A database in a file, and how large the benchmark is.
struct Bench {
    database: Database,
    path: std::path::PathBuf,
    records: u64,
    rounds: u64,
    columns: usize,
    numbers: Numbers,
}

impl Bench {
    /// Applies events in transactions of 1,000; how long the slowest took.
    fn fill(
        &mut self,
        namespace: &str,
        count: u64,
        event: impl Fn(&mut Self, u64) -> String,
    ) -> Duration {
        let mut slowest = Duration::ZERO;
        let mut seq = 0;
        while seq < count {
            let transaction = self.database.begin_write().expect("a transaction");
            for _ in 0..1_000.min(count - seq) {
                seq += 1;
                let (kind, rest) = match event(self, seq) {
                    relation if relation.contains("\"relation\"") => (kind::RELATED, relation),
                    record => (kind::PUT, record),
                };
                let json = format!(r#"{{"namespace":"{namespace}","origin":"person",{rest}}}"#);
                let (at_unix_ms, tenant, stream) = (seq * 1_000, "t", "memory/n");
                let payload = json.as_bytes();
                let started = Instant::now();
                apply(
                    &transaction,
                    &EventRef { seq, at_unix_ms, tenant, stream, kind, payload },
                    &mut Vec::new(),
                )
                .expect("applies");
                slowest = slowest.max(started.elapsed());
            }
            transaction.commit().expect("commits");
        }
        slowest
    }

    fn reader(&self) -> MemoryReader<'static> {
        let transaction = self.database.begin_read().expect("a transaction");
        MemoryReader::open(&transaction, "t", self.records * 1_000).expect("opens")
    }

    fn puts(&mut self) {
        let (started, before, records) = (Instant::now(), on_processor(), self.records);
        let slowest = self.fill("n", records, |bench, seq| {
            let words: Vec<String> = (0..50).map(|_| word(&mut bench.numbers)).collect();
            let (text, tag) = (words.join(" "), seq % 100);
            let embedded = match bench.columns {
                0 => String::new(),
                columns => embedded(&mut bench.numbers, columns),
            };
            format!(
                r#""key":"note/{seq}","value":{{"inline":{{"text":"{text}"}}}},"tags":["t{tag}"]{embedded}"#
            )
        });
        let count = u32::try_from(records).expect("few");
        let (each, on_processor) = (started.elapsed() / count, (on_processor() - before) / count);
        let bytes = std::fs::metadata(&self.path).expect("there").len() / records;
        println!(
            "put, and making its event: {each:?} each ({on_processor:?} of a processor), \
             {slowest:?} the slowest; {bytes} bytes of file each"
        );
    }

    fn words(&self) {
        let reader = self.reader();
        for (name, text, tags) in [
            ("a word that is not there", "nowhere", &[][..]),
            ("3 words", "word70 word700 word7007", &[][..]),
            ("the most frequent word", "word7", &[][..]),
            ("6 of the most frequent words", FREQUENT, &[][..]),
            ("the same, with a tag", FREQUENT, &["t7"][..]),
            ("a tag alone", "", &["t7"][..]),
        ] {
            let query = Query { text, tags, limit: 10, ..Query::default() };
            let took = repeat(self.rounds, |_| drop(reader.search("n", &query).expect("readable")));
            println!("search, {name}: {took}");
        }
    }

    fn vectors(&mut self) {
        let (reads, vectors) = (ReadCache::new(0), VectorCache::new(256 << 20));
        let plain = self.reader();
        let cached = self.reader().with_caches(&reads, &vectors).expect("readable");
        let columns = self.columns.max(1);
        let queries: Vec<Embedding> =
            (0..16).map(|_| clustered(&mut self.numbers, columns)).collect();
        for (name, reader, text, rounds) in [
            ("in the table", &plain, "", 10),
            ("the first time", &cached, "", 1),
            ("alone", &cached, "", self.rounds),
            ("and 3 words", &cached, "word70 word700 word7007", self.rounds),
            ("and 6 of the most frequent", &cached, FREQUENT, self.rounds),
        ] {
            let took = repeat(rounds, |round| {
                let query = &queries[usize::try_from(round % 16).expect("small")];
                let query = Query { text, embedding: Some(query), limit: 10, ..Query::default() };
                drop(reader.search("n", &query).expect("readable"));
            });
            println!("search, vectors, {name}: {took}");
        }
        println!("vectors in memory: {} bytes", vectors.bytes());
    }

    /// The same with vectors that a model made of the texts.
    fn made(&mut self) {
        let model = ModelName::parse("made").expect("a name");
        let of = |vector: Embedding| {
            Embedding::new(model.clone(), vector.vector().to_vec()).expect("valid")
        };
        let columns = self.columns.max(1);
        let write = |bench: &Self| bench.database.begin_write().expect("a transaction");
        let read = |bench: &Self| bench.database.begin_read().expect("a transaction");
        let transaction = write(self);
        use_model(&transaction, &model, false).expect("written");
        transaction.commit().expect("commits");
        let (mut looking, mut placing, mut count) = (Duration::ZERO, Duration::ZERO, 0);
        loop {
            let started = Instant::now();
            let Some(portion) = pending(&read(self), None).expect("readable") else { break };
            looking += started.elapsed();
            let mut made = BTreeMap::new();
            for text in &portion.texts {
                made.insert(text.digest, Made::Vector(of(clustered(&mut self.numbers, columns))));
            }
            let started = Instant::now();
            let transaction = write(self);
            place(&transaction, &portion, &made).expect("written");
            transaction.commit().expect("commits");
            placing += started.elapsed();
            count += 1;
        }
        let (looked, placed) = (looking / count, placing / count);
        println!("embed: {looked:.1?} to find 64 texts, {placed:.1?} to keep their vectors");
        let started = Instant::now();
        status(&read(self)).expect("readable");
        println!("embed: {:.1?} to count how far it is", started.elapsed());
        let started = Instant::now();
        assert!(unneeded(&read(self)).expect("readable").is_empty());
        println!("embed: {:.1?} to look for what nothing needs", started.elapsed());

        let (reads, vectors) = (ReadCache::new(0), VectorCache::new(256 << 20));
        let transaction = read(self);
        let plain = self.reader().with_meanings(&transaction).expect("opens");
        let cached = self.reader().with_meanings(&transaction).expect("opens");
        let cached = cached.with_caches(&reads, &vectors).expect("readable");
        let queries: Vec<Embedding> =
            (0..16).map(|_| of(clustered(&mut self.numbers, columns))).collect();
        for (name, reader, text, rounds) in [
            ("in the table", &plain, "", 10),
            ("the first time", &cached, "", 1),
            ("alone", &cached, "", self.rounds),
            ("and 3 words", &cached, "word70 word700 word7007", self.rounds),
        ] {
            let took = repeat(rounds, |round| {
                let query = &queries[usize::try_from(round % 16).expect("small")];
                let query = Query { text, embedding: Some(query), limit: 10, ..Query::default() };
                assert_eq!(reader.search("n", &query).expect("readable").method, Method::Hybrid);
            });
            println!("search, vectors that were made, {name}: {took}");
        }
        println!("vectors in memory: {} bytes", vectors.bytes());
    }

    fn hostile(&mut self) {
        for round in ["written", "written again"] {
            let slowest = self.fill("hostile", 300, |_, n| {
                let words: Vec<String> =
                    (0..6_000).map(|word| format!("{:x}", word * 300 + n)).collect();
                format!(r#""key":"{n}","value":{{"inline":"{}"}}"#, words.join(" "))
            });
            println!("records of 4,096 different words, {round}: {slowest:?} the slowest");
        }
    }

    fn gets(&self) {
        let mut numbers = Numbers(2);
        let (cache, vectors) = (ReadCache::new(8 << 20), VectorCache::new(0));
        let mut hot = || format!("note/{}", 1 + numbers.below(self.records));
        let keys: Vec<String> = (0..1_000).map(|_| hot()).collect();
        let key = |n: u64| &keys[usize::try_from(n % 1_000).expect("small")];
        let took = repeat(20_000, |n| drop(self.reader().get("n", key(n)).expect("readable")));
        println!("get, a transaction each: {took}");
        let through = |key: &str| {
            let reader = self.reader().with_caches(&cache, &vectors).expect("readable");
            drop(reader.get("n", key).expect("readable"));
        };
        println!("get, through the cache: {}", repeat(20_000, |n| through(key(n))));
        let took = repeat(20_000, |n| drop(cache.latest("t", "n", key(n), 0)));
        println!("get, from the cache without a transaction: {took}");
        let before = cache.stats();
        for _ in 0..200_000 {
            let end = 1 + numbers.below(self.records);
            through(&format!("note/{}", 1 + numbers.below(end)));
        }
        let after = cache.stats();
        let (hits, misses) = (after.hits - before.hits, after.misses - before.misses);
        println!("hits with 8 MiB, low keys more often: {hits} of {}; {after:?}", hits + misses);
    }

    fn paths(&mut self) {
        let reads = u64::try_from(graph::PATH_READS_MAX).expect("small");
        self.fill("graph", reads, |_, n| {
            let object = if n <= 100 { "middle".to_owned() } else { n.to_string() };
            let hub = n % 100;
            format!(r#""relation":{{"subject":"hub {hub}","predicate":"r","object":"{object}"}}"#)
        });
        let reader = self.reader();
        let took =
            repeat(20, |_| drop(reader.paths("graph", "middle", "nowhere").expect("readable")));
        println!("paths, as much work as one search may do: {took}");
    }
}

const FREQUENT: &str = "word7 word14 word21 word28 word35 word42";

#[test]
#[ignore = "a measurement, not a check"]
fn memory_measured() {
    let place = tempfile::tempdir().expect("a directory");
    let path = place.path().join("memory.redb");
    let mut bench = Bench {
        database: Database::create(&path).expect("a database"),
        path,
        records: setting("FORESHORE_RECORDS", 100_000),
        rounds: setting("FORESHORE_ROUNDS", 200),
        columns: usize::try_from(setting("FORESHORE_COLUMNS", 384)).expect("small"),
        numbers: Numbers(1),
    };
    bench.puts();
    bench.words();
    bench.vectors();
    bench.made();
    bench.gets();
    bench.hostile();
    bench.paths();
}
