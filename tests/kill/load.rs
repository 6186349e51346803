//! Writers that go on until the server is gone, and what it acknowledged to them.
//!
//! The invariant: only an answer that came whole, with a version or an id in it, is taken for an
//! acknowledgement.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::http;

/// Of each kind.
const WRITERS: usize = 2;
/// Writes of one key, so that each has versions.
const VERSIONS: u32 = 4;
/// Files that a writer goes through again and again.
const FILES: u32 = 12;

/// Nothing takes longer, unless it hangs.
const HANG: Duration = Duration::from_secs(120);

/// A version of a record.
pub(super) struct Record {
    pub(super) namespace: &'static str,
    pub(super) key: String,
    pub(super) version: u64,
    pub(super) value: String,
    /// The call that wrote it, if it was a tool's.
    pub(super) call_id: Option<String>,
}

/// A file that a tool wrote.
pub(super) struct Written {
    pub(super) name: String,
    pub(super) text: String,
    pub(super) call_id: String,
}

/// What was acknowledged, in order, and what was asked for last and not answered.
#[derive(Default)]
pub(super) struct Acknowledged {
    pub(super) records: Vec<Record>,
    pub(super) files: Vec<Written>,
    /// Name and text.
    pub(super) files_in_doubt: Vec<(String, String)>,
}

impl Acknowledged {
    pub(super) fn append(&mut self, other: Self) {
        self.records.extend(other.records);
        self.files.extend(other.files);
        self.files_in_doubt.extend(other.files_in_doubt);
    }
}

/// Running writers.
pub(super) struct Load {
    writers: Vec<JoinHandle<Acknowledged>>,
    counts: Arc<Counts>,
}

/// How many writes of each kind were acknowledged.
#[derive(Default)]
struct Counts {
    people: AtomicUsize,
    tool: AtomicUsize,
    files: AtomicUsize,
}

impl Counts {
    fn has_one_of_each(&self) -> bool {
        [&self.people, &self.tool, &self.files].iter().all(|count| count.load(Relaxed) > 0)
    }
}

impl Load {
    pub(super) fn start(server: SocketAddr, round: u32) -> Self {
        let (mut writers, counts) = (Vec::new(), Arc::new(Counts::default()));
        for writer in 0..WRITERS {
            let name = format!("{round}-{writer}");
            let (of, count) = (name.clone(), Arc::clone(&counts));
            writers.push(std::thread::spawn(move || people(server, &of, &count.people)));
            let count = Arc::clone(&counts);
            writers.push(std::thread::spawn(move || tool(server, &name, &count.tool)));
            let count = Arc::clone(&counts);
            writers.push(std::thread::spawn(move || files(server, writer, round, &count.files)));
        }
        Self { writers, counts }
    }

    /// Waits until a write of each kind was acknowledged.
    pub(super) fn wait_for_one_of_each(&self) {
        let end = Instant::now() + HANG;
        while !self.counts.has_one_of_each() {
            assert!(Instant::now() < end, "nothing is acknowledged");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// What was acknowledged, once the server is gone.
    pub(super) fn end(self) -> Acknowledged {
        let mut all = Acknowledged::default();
        for writer in self.writers {
            all.append(writer.join().expect("the writer ends"));
        }
        all
    }
}

/// Asks until there is an answer of the kind that acknowledges; `None` once the server is gone.
fn ask(server: SocketAddr, method: &str, path: &str, body: &Value) -> Option<Value> {
    let headers = [("content-type", "application/json")];
    loop {
        let answer =
            http::send(server, method, path, &headers, body.to_string().as_bytes()).ok()?;
        // An answer that was cut short acknowledges nothing.
        let said: Value = serde_json::from_slice(&answer.body).ok()?;
        if answer.status == 200 && said["is_error"] != true {
            return Some(said);
        }
        assert_eq!(answer.status, 503, "{method} {path} was refused: {said}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn call(server: SocketAddr, tool: &str, arguments: &Value) -> Option<(String, Value)> {
    let said = ask(server, "POST", &format!("/v1/tools/{tool}/call"), arguments)?;
    let call_id = said["call_id"].as_str().expect("an id").to_owned();
    Some((call_id, said["structured"].clone()))
}

fn people(server: SocketAddr, name: &str, count: &AtomicUsize) -> Acknowledged {
    let mut done = Acknowledged::default();
    for n in 0.. {
        let (key, value) = (format!("{name}-{}", n / VERSIONS), format!("{name} wrote {n}"));
        let body = json!({ "value": value, "tags": ["load"] });
        let Some(said) = ask(server, "PUT", &format!("/v1/memory/people/{key}"), &body) else {
            break;
        };
        let version = said["version"].as_u64().expect("a version");
        done.records.push(Record { namespace: "people", key, version, value, call_id: None });
        count.fetch_add(1, Relaxed);
    }
    done
}

fn tool(server: SocketAddr, name: &str, count: &AtomicUsize) -> Acknowledged {
    let mut done = Acknowledged::default();
    for n in 0.. {
        let (key, value) = (format!("{name}-{}", n / VERSIONS), format!("{name} remembers {n}"));
        let arguments = json!({ "namespace": "tool", "key": key, "value": value });
        let Some((call_id, said)) = call(server, "memory.remember", &arguments) else { break };
        let version = said["version"].as_u64().expect("a version");
        let call_id = Some(call_id);
        done.records.push(Record { namespace: "tool", key, version, value, call_id });
        count.fetch_add(1, Relaxed);
    }
    done
}

fn files(server: SocketAddr, writer: usize, round: u32, count: &AtomicUsize) -> Acknowledged {
    let mut done = Acknowledged::default();
    for n in 0.. {
        let name = format!("{writer}-{}.txt", n % FILES);
        let line = format!("writer {writer} in round {round} wrote {n}\n");
        let text = line.repeat(1 + usize::try_from(n % 7 * 40).expect("small"));
        let path = format!("/kill/{name}");
        let arguments = json!({ "path": path, "text": text, "overwrite": true });
        let Some((call_id, _)) = call(server, "files.write", &arguments) else {
            done.files_in_doubt.push((name, text));
            break;
        };
        done.files.push(Written { name, text, call_id });
        count.fetch_add(1, Relaxed);
    }
    done
}
