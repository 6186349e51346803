//! The journal through the command line: backed up while it is written, restored, exported, and
//! never believed when it was tampered with.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::harness::http;
use crate::harness::server::Server;
use crate::harness::{Ran, command, foreshore_in};

fn run(data: &Path, arguments: &[&str]) -> Ran {
    let data = data.display().to_string();
    let mut all = arguments.to_vec();
    all.extend_from_slice(&["--data", &data]);
    foreshore_in(Path::new("/"), &all)
}

#[track_caller]
fn ok(ran: Ran) -> Ran {
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    ran
}

fn put(data: &Path, key: &str, value: &str) {
    ok(run(data, &["memory", "put", "notes", key, "--text", value]));
}

#[test]
fn a_backup_made_while_the_journal_is_written_is_restored_and_passes_its_check() {
    let server = Server::start("", &[]);
    let (address, data) = (server.address, server.data().to_owned());
    let elsewhere = tempfile::tempdir().expect("made");
    let backup = elsewhere.path().join("journal.backup").display().to_string();
    put(&data, "before", "kept");
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || {
            let mut written = 0;
            while !stop.load(Ordering::Relaxed) {
                let path = format!("/v1/memory/load/{written}");
                let headers = [("content-type", "application/json")];
                let answer = http::send(address, "PUT", &path, &headers, br#"{"value":1}"#);
                assert_eq!(answer.expect("an answer").status, 200);
                written += 1;
            }
            written
        })
    };
    std::thread::sleep(Duration::from_millis(100));
    let made = ok(run(&data, &["store", "backup", &backup, "--json"])).json();
    stop.store(true, Ordering::Relaxed);
    assert!(writer.join().expect("the writer ends") > 0);
    assert!(made["seq"].as_u64().expect("a number") > 2, "{made}");
    assert!(std::fs::read_dir(data.join("backups")).expect("made").next().is_none(), "moved");
    assert_eq!(run(&data, &["store", "backup", &backup]).code, 2, "nothing is written over");
    for command in
        [&["store", "check"][..], &["store", "stats"], &["store", "rebuild"], &["audit", "verify"]]
    {
        ok(run(&data, command));
    }
    let refused = run(&data, &["store", "restore", &backup]);
    assert_eq!(refused.code, 1, "{}", refused.stdout);
    assert!(refused.stderr.contains("stop it first"), "{}", refused.stderr);

    put(&data, "after", "lost by the restore");
    server.signal_term();
    await_end(&data);
    let restored = ok(run(&data, &["store", "restore", &backup, "--json"])).json();
    assert_eq!((&restored["seq"], &restored["epoch"]), (&made["seq"], &json!(2)), "{restored}");
    assert!(Path::new(restored["kept"].as_str().expect("a path")).is_file());
    ok(run(&data, &["store", "check"]));
    assert_eq!(ok(run(&data, &["audit", "verify", "--json"])).json()["verified"], true);
    ok(run(&data, &["memory", "get", "notes", "before"]));
    assert_eq!(run(&data, &["memory", "get", "notes", "after"]).code, 3);
    let accepted = ok(run(&data, &["audit", "log", "--since", "1h", "--kind", "journal.accepted"]));
    assert!(accepted.stdout.contains("restored from"), "{}", accepted.stdout);
}

/// Waits until a server that was told to has let go of its data.
fn await_end(data: &Path) {
    for _ in 0..200 {
        if run(data, &["store", "stats"]).code == 0 && !data.join("server.json").exists() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("the server did not end");
}

#[test]
fn a_tampered_journal_is_told_by_its_first_bad_event() {
    let directory = tempfile::tempdir().expect("made");
    let data = directory.path();
    for n in 0..5 {
        put(data, &format!("k{n}"), &format!("the value number {n}"));
    }
    let sound = ok(run(data, &["audit", "verify", "--json"])).json();
    assert_eq!(sound["verified"], true, "{sound}");
    assert!(sound["checkpoints"].as_u64().expect("a number") > 0, "{sound}");
    let log = ok(run(data, &["events", "--kind", "memory.put", "--json"])).stdout;
    let events: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).expect("an event")).collect();
    assert_eq!(events.len(), 5, "{log}");

    let journal = data.join("journal.redb");
    let mut bytes = std::fs::read(&journal).expect("read");
    let wanted = b"the value number 2";
    let mut changed = 0;
    for at in 0..bytes.len() - wanted.len() {
        if bytes[at..].starts_with(wanted) {
            bytes[at + wanted.len() - 1] = b'9';
            changed += 1;
        }
    }
    assert!(changed > 0, "the value is not in the file as it is");
    std::fs::write(&journal, bytes).expect("written");
    let verdict = run(data, &["audit", "verify", "--json"]);
    assert_eq!(verdict.code, 1, "{}{}", verdict.stdout, verdict.stderr);
    let said = verdict.json();
    assert_eq!(
        (&said["verified"], &said["first_bad_seq"]),
        (&json!(false), &events[2]["seq"]),
        "{said}"
    );
    let text = run(data, &["audit", "verify"]).stdout;
    assert!(text.contains("NOT verified") && text.contains("event"), "{text}");
}

#[test]
fn a_journal_that_cannot_be_opened_still_gets_a_verdict() {
    let directory = tempfile::tempdir().expect("made");
    let data = directory.path();
    put(data, "k", "v");
    let anchor = data.join("kept-elsewhere.jsonl");
    std::fs::copy(data.join("journal.checkpoints.jsonl"), &anchor).expect("copied");
    let anchor = anchor.display().to_string();
    ok(run(data, &["audit", "verify", "--anchor", &anchor]));

    let journal = data.join("journal.redb");
    let whole = std::fs::read(&journal).expect("read");
    std::fs::write(&journal, &whole[..whole.len() / 2]).expect("cut");
    let cut = run(data, &["audit", "verify"]);
    assert_eq!(cut.code, 1, "{}{}", cut.stdout, cut.stderr);
    assert!(cut.stdout.contains("NOT verified"), "{}", cut.stdout);
    std::fs::write(&journal, b"nothing of the kind").expect("written");
    assert_eq!(run(data, &["audit", "verify"]).code, 1);

    // Another journal in its place verifies by itself, and not against what was kept.
    for name in ["journal.redb", "journal.key", "journal.checkpoints.jsonl"] {
        let _ = std::fs::remove_file(data.join(name));
    }
    put(data, "k", "v");
    ok(run(data, &["audit", "verify"]));
    let other = run(data, &["audit", "verify", "--anchor", &anchor]);
    assert_eq!(other.code, 1, "{}", other.stdout);
    assert!(other.stdout.contains("another journal"), "{}", other.stdout);
}

#[test]
fn a_journal_is_exported_archived_and_compacted_where_no_server_has_it() {
    let directory = tempfile::tempdir().expect("made");
    let data = directory.path();
    for n in 0..4 {
        put(data, "k", &format!("{n}"));
    }
    let file = |name: &str| data.join(name).display().to_string();
    let exported = ok(run(data, &["store", "export", &file("all.export"), "--json"])).json();
    let seq = exported["seq"].as_u64().expect("a number");
    assert_eq!((&exported["first_seq"], &exported["events"]), (&json!(1), &json!(seq)));
    let archived =
        ok(run(data, &["store", "archive", &file("old.export"), "--before", "5", "--json"])).json();
    assert_eq!(archived["first_seq"], 1, "{archived}");
    ok(run(data, &["store", "compact"]));
    ok(run(data, &["store", "rebuild"]));
    ok(run(data, &["store", "check"]));
    ok(run(data, &["audit", "verify"]));
    assert_eq!(ok(run(data, &["memory", "get", "notes", "k", "--json"])).json()["value"], "3");
}

#[test]
fn events_are_followed_while_they_come() {
    use std::io::BufRead as _;
    let server = Server::start("", &[]);
    let mut follower = command(Path::new("/"))
        .args(["events", "--follow", "--after", "0", "--kind", "memory.put", "--json", "--data"])
        .arg(server.data())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut lines = std::io::BufReader::new(follower.stdout.take().expect("piped")).lines();
    put(server.data(), "a", "1");
    put(server.data(), "b", "2");
    for stream in ["memory/notes", "memory/notes"] {
        let line = lines.next().expect("an event").expect("read");
        let event: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!((&event["kind"], &event["stream"]), (&json!("memory.put"), &json!(stream)));
    }
    follower.kill().expect("it follows on");
    follower.wait().expect("ended");
    let directory = tempfile::tempdir().expect("made");
    assert_eq!(run(directory.path(), &["events", "--follow"]).code, 1, "nothing would come");
}

#[test]
fn a_journal_in_memory_is_said_to_be_one_and_is_gone_in_the_end() {
    let server = Server::start_with("", &[], &["--ephemeral"]);
    assert!(server.stderr().contains("ephemeral"), "{}", server.stderr());
    assert!(server.get("/readyz?verbose").json().to_string().contains("in memory"));
    put(server.data(), "k", "v");
    let refused = run(server.data(), &["store", "backup", "/nowhere/at/all"]);
    assert_eq!(refused.code, 4, "{}", refused.stderr);
    assert!(!server.data().join("journal.redb").exists());
}

#[test]
fn each_signed_checkpoint_is_posted_to_the_webhook_of_the_configuration() {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let url = format!("http://127.0.0.1:{port}/seals?token=secret");
    let configuration = format!("[journal]\ncheckpoint_webhook = \"{url}\"\n");
    let server = Server::start(&configuration, &[]);
    let (mut stream, _) = listener.accept().expect("it calls");
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\"}") {
        let mut more = [0; 1_024];
        let read = stream.read(&mut more).expect("readable");
        bytes.extend_from_slice(&more[..read]);
    }
    stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").expect("writable");
    let request = String::from_utf8(bytes).expect("text");
    assert!(request.starts_with("POST /seals?token=secret HTTP/1.1\r\n"), "{request}");
    let line = request.split("\r\n\r\n").nth(1).expect("a body");
    // It is an anchor like any other: kept elsewhere, the journal is held to it.
    let kept = tempfile::tempdir().expect("made");
    let anchor = kept.path().join("checkpoints.jsonl");
    std::fs::write(&anchor, format!("{line}\n")).expect("written");
    let anchor = anchor.display().to_string();
    ok(run(server.data(), &["audit", "verify", "--anchor", &anchor]));
}

/// A small file system of its own, unmounted in the end; `None` where this user may not mount.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let directory = tempfile::tempdir().expect("made");
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=192m", "tmpfs"])
            .arg(directory.path())
            .stderr(std::process::Stdio::null())
            .status();
        mounted.is_ok_and(|status| status.success()).then_some(Self(directory))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

/// Writes until the disk is full.
fn fill(file: &Path) {
    use std::io::Write as _;
    let mut filler = std::fs::File::create(file).expect("made");
    for size in [1 << 20, 4_096, 1] {
        while filler.write_all(&vec![0; size]).is_ok() {}
    }
}

#[test]
fn a_full_disk_refuses_writes_and_not_reads_until_there_is_room_again() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("skipped: this user may not mount a small file system");
        return;
    };
    let cycles: u32 =
        std::env::var("FORESHORE_CYCLES").ok().and_then(|n| n.parse().ok()).unwrap_or(2);
    let server = Server::start_at("", &disk.0.path().join("data"));
    let headers = [("content-type", "application/json")];
    let put = |key: &str, body: &str| {
        let path = format!("/v1/memory/notes/{key}");
        http::send(server.address, "PUT", &path, &headers, body.as_bytes()).expect("an answer")
    };
    assert_eq!(put("kept", r#"{"value":"kept"}"#).status, 200);
    let large = json!({ "value": "x".repeat(40_000) }).to_string();
    let mut acknowledged = 0_u64;
    let (mut refusals, mut reads, mut returns) = (Vec::new(), Vec::new(), Vec::new());
    for cycle in 0..cycles {
        let filler = disk.0.path().join("filler");
        fill(&filler);
        // The reserve takes some more, so the host may come back once before it is full for good.
        let until = std::time::Instant::now() + Duration::from_secs(30);
        let ready = loop {
            let answer = put("large", &large);
            acknowledged += u64::from(answer.status == 200);
            if answer.status != 200 {
                assert_eq!(
                    (answer.status, &answer.json()["code"]),
                    (503, &json!("store_read_only"))
                );
                let ready = server.get("/readyz?verbose");
                if ready.status == 503 {
                    break ready;
                }
            }
            assert!(std::time::Instant::now() < until, "a disk that is full takes no more");
        };
        assert!(ready.json().to_string().contains("read-only"), "{}", ready.json());
        for _ in 0..20 {
            let asked = std::time::Instant::now();
            let answer = put("large", &large);
            refusals.push(asked.elapsed());
            assert_eq!((answer.status, &answer.json()["code"]), (503, &json!("store_read_only")));
            let asked = std::time::Instant::now();
            assert_eq!(server.get("/v1/memory/notes/kept").json()["value"], "kept");
            reads.push(asked.elapsed());
        }
        std::fs::remove_file(&filler).expect("removed");
        let freed = std::time::Instant::now();
        while put("back", r#"{"value":1}"#).status != 200 {
            assert!(
                freed.elapsed() < Duration::from_secs(5),
                "cycle {cycle}: it does not come back"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        returns.push(freed.elapsed());
        assert_eq!(server.get("/readyz").status, 200);
    }
    for (what, mut times) in [("refusals", refusals), ("reads", reads), ("ways back", returns)] {
        times.sort();
        let [median, most] = [times.len() / 2, times.len() - 1].map(|at| times[at]);
        eprintln!("{cycles} full disks, {} {what}: median {median:?}, most {most:?}", times.len());
    }
    // There may be none: the disk can be full before the first.
    let large = server.get("/v1/memory/notes/large/versions?limit=1").json();
    assert!(large["versions"][0]["version"].as_u64().unwrap_or(0) >= acknowledged, "{large}");
    let kinds = server.get("/v1/events?kind=journal.read_only,journal.recovered").json();
    assert!(kinds["events"].as_array().expect("events").len() >= 2, "{kinds}");
    ok(run(server.data(), &["store", "check"]));
}
