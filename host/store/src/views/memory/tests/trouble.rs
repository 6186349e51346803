//! Readers beside a writer, and rows that are not what was written.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use foreshore_domain::memory::Embedding;

use super::meaning::embedding;
use super::search::Numbers;
use super::*;

#[test]
fn what_was_committed_is_what_every_later_read_gives_with_the_cache_in_between() {
    let mut fixture = Fixture::new();
    fixture.put(1, "k", r#""value":{"inline":1}"#);
    let (cache, vectors) = (ReadCache::new(1 << 20), VectorCache::new(0));
    let (committed, done) = (AtomicU64::new(1), AtomicBool::new(false));
    let database = &fixture.database;
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    let least = committed.load(Ordering::SeqCst);
                    let version = cache.latest("t", "n", "k", 1).unwrap_or_else(|| {
                        let transaction = database.begin_read().expect("a transaction");
                        let reader = MemoryReader::open(&transaction, "t", 1).expect("opens");
                        let reader = reader.with_caches(&cache, &vectors).expect("readable");
                        reader.get("n", "k").expect("readable").expect("there")
                    });
                    assert!(version.version >= least, "{} after {least}", version.version);
                }
            });
        }
        for seq in 2..1_500 {
            let transaction = database.begin_write().expect("a transaction");
            let payload = br#"{"namespace":"n","key":"k","origin":"person","value":{"inline":2}}"#;
            let (tenant, stream, kind) = ("t", "memory/n", kind::PUT);
            let event = EventRef { seq, at_unix_ms: 1, tenant, stream, kind, payload };
            let receipt = apply(&transaction, &event, &mut Vec::new()).expect("applies");
            cache.changed(receipt.touched.expect("a key"), seq);
            transaction.commit().expect("commits");
            committed.store(receipt.version, Ordering::SeqCst);
        }
        done.store(true, Ordering::SeqCst);
    });
    assert!(cache.stats().hits > 0, "{:?}", cache.stats());
}

/// Every reader and every event there is, on whatever the rows are.
fn use_everything(fixture: &Fixture, query: &Embedding) {
    let (cache, vectors) = (ReadCache::new(1 << 20), VectorCache::new(1 << 20));
    let reader = || {
        let transaction = fixture.database.begin_read().expect("a transaction");
        MemoryReader::open(&transaction, "t", 2_000).expect("opens")
    };
    // An error or data; which of them is not the question here.
    let _ = reader().due(10);
    let _ = reader().namespaces();
    let _ = reader().list("n", "", None, 10);
    let Ok(cached) = reader().with_caches(&cache, &vectors) else { return };
    for key in ["k1", "k2", "k50"] {
        let _ = cached.get("n", key);
        let _ = cached.versions("n", key, 10);
        let _ = cached.neighbours("n", key, 10);
        let _ = cached.paths("n", key, "k2");
    }
    let query = Query { text: "w1 w2 k3", embedding: Some(query), limit: 10, ..Query::default() };
    for reader in [reader(), cached] {
        let _ = reader.search("n", &query);
    }
    let transaction = fixture.database.begin_write().expect("a transaction");
    for key in ["k1", "k2", "k50"] {
        let json = format!(r#"{{"namespace":"n","key":"{key}","origin":"person"}}"#);
        let (tenant, stream, payload) = ("t", "memory/n", json.as_bytes());
        let kind = kind::DELETED;
        let event = EventRef { seq: 9_999, at_unix_ms: 1, tenant, stream, kind, payload };
        let _ = apply(&transaction, &event, &mut Vec::new());
    }
    transaction.abort().expect("aborts");
}

#[test]
fn a_damaged_row_is_an_error_or_other_data_and_never_a_panic() {
    let mut fixture = Fixture::new();
    let mut numbers = Numbers(3);
    let query = embedding(&mut numbers, 8);
    for n in 0..300 {
        let embedding = serde_json::to_string(&embedding(&mut numbers, 8)).expect("serializes");
        let ttl = if n % 7 == 0 { r#","ttl_s":1"# } else { "" };
        let rest = format!(
            r#""value":{{"inline":"w{} w{}"}},"tags":["x"],"embedding":{embedding}{ttl}"#,
            numbers.below(9),
            numbers.below(9)
        );
        fixture.put(1_000, &format!("k{}", numbers.below(150)), &rest);
        fixture.relate(kind::RELATED, &format!("k{}", n % 9), "p", &format!("k{}", n % 11));
    }
    use_everything(&fixture, &query);
    let transaction = fixture.database.begin_read().expect("a transaction");
    let table = codec::open(&transaction, TABLE).expect("readable").expect("there");
    let rows: Vec<(Vec<u8>, Vec<u8>)> = redb::ReadableTable::range::<&[u8]>(&table, ..)
        .expect("readable")
        .map(|row| row.map(|(key, value)| (key.value().to_vec(), value.value().to_vec())))
        .collect::<Result<_, _>>()
        .expect("readable");
    drop((table, transaction));
    let write = |key: &[u8], value: &[u8]| {
        let transaction = fixture.database.begin_write().expect("a transaction");
        let mut rows = transaction.open_table(TABLE).expect("the table");
        rows.insert(key, value).expect("inserted");
        drop(rows);
        transaction.commit().expect("commits");
    };
    let rounds = std::env::var("FORESHORE_FLIPS").ok().and_then(|n| n.parse().ok()).unwrap_or(600);
    // Few rows are of most kinds, so the kinds take turns.
    let mut kinds: Vec<u8> = rows.iter().map(|(key, _)| key[0]).collect();
    kinds.dedup();
    for round in 0..rounds {
        let kind = kinds[round % kinds.len()];
        let of_kind: Vec<_> = rows.iter().filter(|(key, _)| key[0] == kind).collect();
        let pick = |numbers: &mut Numbers, of: usize| {
            usize::try_from(numbers.below(wide(of.max(1)))).expect("small")
        };
        let (key, value) = of_kind[pick(&mut numbers, of_kind.len())];
        let mut damaged = value.clone();
        match numbers.below(3) {
            0 => damaged.truncate(pick(&mut numbers, value.len())),
            1 => damaged.push(7),
            _ if value.is_empty() => {}
            _ => damaged[pick(&mut numbers, value.len())] ^= 1 << numbers.below(8),
        }
        write(key, &damaged);
        use_everything(&fixture, &query);
        write(key, value);
    }
}
