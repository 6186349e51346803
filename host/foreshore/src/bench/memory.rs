//! Reading, searching and embedding 100,000 records.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use foreshore_control::store::memory::{Made, Method, Placed, Query};
use foreshore_control::store::{Commit, Journal, JournalConfig};
use foreshore_domain::event::{EventKind, NewEvent, Stream, Tenant};
use foreshore_domain::memory::{
    Embedding, Importance, JsonText, Key, MemoryPut, ModelName, Namespace, Origin, Tags, ValueRef,
};

use super::figures::percentile_us;
use super::{Effort, Row, Target};

const RECORDS: usize = 100_000;
const WORDS: usize = 50;
const DIMENSION: usize = 384;
const QUERIES: usize = 100;
/// Records of one commit.
const AT_ONCE: usize = 250;
/// Whose vectors are in the records, and whose are made of their texts.
const GIVEN: &str = "given";
const MADE: &str = "made";

/// xorshift64 (Marsaglia 2003), so that each run searches the same records.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// A word of 30,000; the frequency of one falls with its rank, as in language (Zipf).
    fn word(&mut self) -> String {
        let rank = 30_000 / (1 + self.below(30_000));
        format!("word{rank}")
    }

    fn vector(&mut self, model: &str) -> anyhow::Result<Embedding> {
        let mut vector = Vec::with_capacity(DIMENSION);
        for _ in 0..DIMENSION {
            let small = u16::try_from(self.below(2_001))?;
            vector.push(f32::from(small) / 1_000.0 - 1.0);
        }
        Ok(Embedding::new(ModelName::parse(model)?, vector)?)
    }
}

pub(super) fn run(_: &Effort) -> anyhow::Result<Vec<Row>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let directory = tempfile::tempdir()?;
    let config = JournalConfig { cache_bytes: 512 << 20, ..JournalConfig::default() };
    let journal = Journal::open(&directory.path().join("journal.redb"), &config)?;
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let mut first = 0;
    while first < RECORDS {
        let mut events = Vec::with_capacity(AT_ONCE);
        for at in first..first + AT_ONCE {
            events.push(put(&mut numbers, at)?);
        }
        first += AT_ONCE;
        runtime.block_on(journal.commit(Commit { events, ..Commit::default() }))?;
    }
    let mut rows = gets(&journal, &mut numbers)?;
    for (name, model) in [("search/lexical", None), ("search", Some(GIVEN))] {
        rows.push(search(&journal, &mut numbers, name, model)?);
    }
    rows.push(embed(&runtime, &journal, &mut numbers)?);
    rows.push(search(&journal, &mut numbers, "search/embedded", Some(MADE))?);
    runtime.block_on(journal.close());
    Ok(rows)
}

fn put(numbers: &mut Numbers, at: usize) -> anyhow::Result<NewEvent> {
    let words: Vec<String> = (0..WORDS).map(|_| numbers.word()).collect();
    let put = MemoryPut {
        namespace: Namespace::parse("bench")?,
        key: Key::parse(format!("record-{at}"))?,
        value: ValueRef::Inline(JsonText::parse(format!("\"{}\"", words.join(" ")))?),
        tags: Tags::default(),
        importance: Importance::default(),
        ttl_s: None,
        origin: Origin::Person,
        embedding: Some(numbers.vector(GIVEN)?),
        blobs: Vec::new(),
    };
    Ok(NewEvent {
        at_unix_ms: 1,
        tenant: Tenant::DEFAULT,
        stream: Stream::Memory("bench".to_owned()),
        kind: EventKind::MemoryPut,
        payload: serde_json::to_vec(&put)?,
    })
}

/// Reads of records: each once, then the same few again and again.
fn gets(journal: &Journal, numbers: &mut Numbers) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    let few = 1_000;
    for (name, among) in [("memory-get", u64::try_from(RECORDS)?), ("memory-get/cached", few)] {
        let before = journal.memory_cache();
        let mut times = Vec::new();
        for _ in 0..20_000 {
            let key = format!("record-{}", numbers.below(among));
            let start = Instant::now();
            let found = journal.memory(&Tenant::DEFAULT, 2)?.get("bench", &key)?;
            times.push(start.elapsed());
            anyhow::ensure!(found.is_some(), "{key} is missing");
        }
        let after = journal.memory_cache();
        let (hits, misses) = (after.hits - before.hits, after.misses - before.misses);
        let rate = hits * 100 / (hits + misses).max(1);
        rows.push(row(
            name,
            &mut times,
            Target::Reported,
            "us p50",
            1.0,
            format!("20,000 reads among {among} of {RECORDS} records; the cache answered {rate} %"),
        ));
    }
    Ok(rows)
}

/// What keeping vectors of all records takes beside the model: reading the texts, and a commit
/// for each 64 of them.
fn embed(
    runtime: &tokio::runtime::Runtime,
    journal: &Journal,
    numbers: &mut Numbers,
) -> anyhow::Result<Row> {
    runtime.block_on(journal.use_meanings_of(&ModelName::parse(MADE)?, false))?;
    let (mut times, mut placed) = (Vec::new(), 0);
    loop {
        let start = Instant::now();
        let Some(pending) = journal.pending_meanings(None)? else { break };
        let mut took = start.elapsed();
        let mut made = BTreeMap::new();
        for text in &pending.texts {
            made.insert(text.digest, Made::Vector(numbers.vector(MADE)?));
        }
        let start = Instant::now();
        match runtime.block_on(journal.place_meanings(pending, made))? {
            Placed::Documents(documents) => placed += usize::try_from(documents)?,
            other => anyhow::bail!("vectors were not placed: {other:?}"),
        }
        took += start.elapsed();
        times.push(took);
    }
    anyhow::ensure!(placed == RECORDS, "{placed} records have vectors");
    let seconds: f64 = times.iter().map(Duration::as_secs_f64).sum();
    times.sort_unstable();
    Ok(Row {
        name: "embed".to_owned(),
        unit: "records/s",
        floor: None,
        ours: f64::from(u32::try_from(placed)?) / seconds,
        target: Target::Reported,
        note: format!(
            "{RECORDS} vectors of {DIMENSION} numbers kept without a model, 64 a commit of {:.1} ms p50",
            percentile_us(&times, 0.5) / 1_000.0
        ),
    })
}

fn search(
    journal: &Journal,
    numbers: &mut Numbers,
    name: &str,
    model: Option<&str>,
) -> anyhow::Result<Row> {
    let mut times = Vec::new();
    let wanted = if model.is_some() { Method::Hybrid } else { Method::Lexical };
    for query in 0..=QUERIES {
        let text = [numbers.word(), numbers.word(), numbers.word()].join(" ");
        let embedding = model.map(|model| numbers.vector(model)).transpose()?;
        let query_of =
            Query { text: &text, embedding: embedding.as_ref(), limit: 10, ..Query::default() };
        let start = Instant::now();
        let found =
            journal.memory_with_meanings(&Tenant::DEFAULT, 2)?.search("bench", &query_of)?;
        // The first reads the vectors into memory.
        if query > 0 {
            times.push(start.elapsed());
        }
        anyhow::ensure!(found.method == wanted, "searched by another method");
    }
    let note = format!(
        "{RECORDS} records of {WORDS} words and {DIMENSION} numbers, 3 words a query, {QUERIES} queries"
    );
    Ok(row(name, &mut times, Target::AtMost(20.0), "ms p50", 1_000.0, note))
}

fn row(
    name: &str,
    times: &mut [Duration],
    target: Target,
    unit: &'static str,
    us_per_unit: f64,
    note: String,
) -> Row {
    times.sort_unstable();
    let ours = percentile_us(times, 0.5) / us_per_unit;
    Row { name: name.to_owned(), unit, floor: None, ours, target, note }
}
