//! Attempts on files: each mount gives what it was granted and nothing beside it.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::harness::server::Server;

/// A server whose rogue has `/ro` first, then `/rw`, or only one of them.
struct Mounted {
    server: Server,
    root: tempfile::TempDir,
}

impl Mounted {
    fn new(first: &str, quotas: &str) -> Self {
        let root = tempfile::tempdir().expect("made");
        for name in ["ro", "rw", "outside"] {
            std::fs::create_dir(root.path().join(name)).expect("made");
            std::fs::write(root.path().join(name).join("note.txt"), format!("a note in {name}"))
                .expect("written");
        }
        let mount = |name: &str, access: &str| {
            format!(
                "{{ host = {:?}, guest = \"/{name}\", access = \"{access}\" {quotas} }}",
                root.path().join(name)
            )
        };
        let (ro, rw) = (mount("ro", "read-only"), mount("rw", "read-write"));
        let mounts = if first == "ro" { format!("{ro}, {rw}") } else { format!("{rw}, {ro}") };
        let configuration = format!("[components.rogue]\nmounts = [{mounts}]\n");
        Self { server: Server::start(&configuration, &[("rogue", "rogue")]), root }
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.root.path().join(relative)
    }

    fn call(&self, attempt: &str, arguments: Value) -> Value {
        let answer = self.server.call(&format!("rogue.{attempt}"), &arguments);
        assert!(answer.status < 500, "{answer:?}");
        answer.json()
    }

    fn succeeds(&self, attempt: &str, arguments: Value) -> Value {
        let body = self.call(attempt, arguments.clone());
        assert_eq!(body["is_error"], false, "{attempt} {arguments}: {body}");
        body["structured"].clone()
    }

    fn fails(&self, attempt: &str, arguments: Value) -> Value {
        let body = self.call(attempt, arguments.clone());
        assert_ne!(body["is_error"], false, "{attempt} {arguments}: {body}");
        body
    }

    fn outside_is_untouched(&self) {
        let note = std::fs::read_to_string(self.path("outside/note.txt")).expect("still there");
        assert_eq!(note, "a note in outside");
        assert_eq!(std::fs::read_dir(self.path("outside")).expect("there").count(), 1);
    }
}

#[test]
fn a_granted_mount_reads_and_a_denied_path_does_not() {
    let mounted = Mounted::new("ro", "");
    assert_eq!(mounted.succeeds("mounts", json!({})), json!(["/ro", "/rw"]));
    let read = mounted.succeeds("read", json!({"path": "/ro/note.txt"}));
    assert_eq!(read["text"], "a note in ro");
    for path in [
        "/etc/passwd",
        "/outside/note.txt",
        "/ro/../outside/note.txt",
        "/proc/self/root/etc/passwd",
    ] {
        mounted.fails("read", json!({"path": path}));
    }
}

#[test]
fn a_read_write_mount_takes_every_change() {
    let mounted = Mounted::new("rw", "");
    mounted.succeeds("write", json!({"path": "/rw/new.txt", "text": "new"}));
    mounted.succeeds("make-directory", json!({"path": "/rw/sub"}));
    mounted.succeeds("rename", json!({"from": "/rw/new.txt", "to": "/rw/sub/moved.txt"}));
    mounted.succeeds("link", json!({"from": "/rw/sub/moved.txt", "to": "/rw/second.txt"}));
    mounted.succeeds("set-times", json!({"name": "second.txt"}));
    assert_eq!(std::fs::read_to_string(mounted.path("rw/sub/moved.txt")).expect("there"), "new");
    mounted.succeeds("remove", json!({"path": "/rw/second.txt"}));
    assert!(!mounted.path("rw/second.txt").exists());
}

#[test]
fn a_read_only_mount_takes_no_change() {
    let mounted = Mounted::new("ro", "");
    mounted.fails("write", json!({"path": "/ro/new.txt", "text": "x"}));
    mounted.fails("write", json!({"path": "/ro/note.txt", "text": "x"}));
    mounted.fails("append-many", json!({"path": "/ro/note.txt", "pieces": 1}));
    mounted.fails("make-directory", json!({"path": "/ro/sub"}));
    mounted.fails("remove", json!({"path": "/ro/note.txt"}));
    mounted.fails("rename", json!({"from": "/ro/note.txt", "to": "/ro/other.txt"}));
    mounted.fails("symlink", json!({"target": "note.txt", "name": "pointer"}));
    mounted.fails("set-times", json!({"name": "note.txt"}));
    mounted.fails("raw-open", json!({"path": "note.txt", "truncate": true, "write": true}));
    mounted.fails("raw-open", json!({"path": "note.txt", "truncate": true}));
    mounted.fails("raw-open", json!({"path": "new.txt", "create": true}));
    // Out of the read-only mount by another name, into the one that can be written.
    mounted.fails("link", json!({"from": "/ro/note.txt", "to": "/rw/way-in.txt"}));
    mounted.fails("rename", json!({"from": "/ro/note.txt", "to": "/rw/way-in.txt"}));
    let note = std::fs::read_to_string(mounted.path("ro/note.txt")).expect("still there");
    assert_eq!(note, "a note in ro");
    assert_eq!(std::fs::read_dir(mounted.path("ro")).expect("there").count(), 1);
    assert_eq!(std::fs::read_dir(mounted.path("rw")).expect("there").count(), 1);
}

#[test]
fn paths_that_lead_out_are_refused_as_they_come() {
    let mounted = Mounted::new("rw", "");
    for path in [
        "..",
        "../outside/note.txt",
        "../../etc/passwd",
        "/etc/passwd",
        "//etc/passwd",
        "/",
        "sub/../../outside/note.txt",
        "./../outside/note.txt",
        "note.txt/../../outside/note.txt",
    ] {
        mounted.fails("raw-open", json!({"path": path, "follow": true}));
        mounted.fails(
            "raw-open",
            json!({"path": path, "follow": true, "create": true, "write": true}),
        );
    }
    mounted.fails("raw-open", json!({"path": "a\u{0}b", "create": true, "write": true}));
    mounted
        .fails("raw-open", json!({"path": "long", "repeat": 1_024, "create": true, "write": true}));
    mounted.fails("raw-open", json!({"path": "d/", "repeat": 2_048}));
    mounted.outside_is_untouched();
}

#[test]
fn symbolic_links_lead_nowhere_outside() {
    let mounted = Mounted::new("rw", "");
    symlink("../outside/note.txt", mounted.path("rw/relative")).expect("linked");
    symlink(mounted.path("outside/note.txt"), mounted.path("rw/absolute")).expect("linked");
    symlink("../outside", mounted.path("rw/directory")).expect("linked");
    symlink("relative", mounted.path("rw/chain")).expect("linked");
    symlink("loop", mounted.path("rw/loop")).expect("linked");
    for name in ["relative", "absolute", "chain", "loop", "directory/note.txt"] {
        mounted.fails("raw-open", json!({"path": name, "follow": true}));
        mounted.fails("read", json!({"path": format!("/rw/{name}")}));
        mounted.fails("write", json!({"path": format!("/rw/{name}"), "text": "through"}));
    }
    mounted.fails("write", json!({"path": "/rw/directory/new.txt", "text": "through"}));
    mounted.fails("rename", json!({"from": "/rw/note.txt", "to": "/rw/directory/moved.txt"}));
    mounted.fails("symlink", json!({"target": "/etc/passwd", "name": "own"}));
    // One of the guest's own that climbs may be made, but not followed.
    mounted.call("symlink", json!({"target": "../outside/note.txt", "name": "own-relative"}));
    mounted.fails("raw-open", json!({"path": "own-relative", "follow": true}));
    mounted.outside_is_untouched();
}

#[test]
fn a_fifo_is_not_opened() {
    let mounted = Mounted::new("rw", "");
    let fifo = mounted.path("rw/fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0)
        .expect("made");
    let start = std::time::Instant::now();
    mounted.fails("read", json!({"path": "/rw/fifo"}));
    mounted.fails("raw-open", json!({"path": "fifo", "write": true}));
    assert!(start.elapsed().as_secs() < 4, "nobody waits for the other end of a FIFO");
}

#[test]
fn the_byte_quota_holds_over_the_whole_mount() {
    let mounted = Mounted::new("rw", ", bytes_max = 100_000");
    let body = mounted
        .fails("append-many", json!({"path": "/rw/log", "piece_bytes": 4_096, "pieces": 100}));
    assert!(body.to_string().contains("mount_bytes_exhausted"), "{body}");
    assert!(directory_bytes(&mounted.path("rw")) <= 100_000);
    let body = mounted.fails("write", json!({"path": "/rw/other", "text": "y".repeat(8_192)}));
    assert!(body.to_string().contains("mount_bytes_exhausted"), "{body}");
    mounted.succeeds("remove", json!({"path": "/rw/log"}));
    mounted.succeeds("write", json!({"path": "/rw/other", "text": "y".repeat(8_192)}));
}

#[test]
fn the_entry_quota_holds_over_the_whole_mount() {
    let mounted = Mounted::new("rw", ", entries_max = 10");
    let body = mounted.fails("create-many", json!({"path": "/rw", "files": 50}));
    assert!(body.to_string().contains("mount_entries_exhausted"), "{body}");
    assert!(std::fs::read_dir(mounted.path("rw")).expect("there").count() <= 10);
    mounted.fails("make-directory", json!({"path": "/rw/one-more"}));
}

#[test]
fn a_file_that_the_operator_may_not_read_is_not_read_either() {
    let mounted = Mounted::new("ro", "");
    let secret = mounted.path("ro/secret");
    std::fs::write(&secret, "secret").expect("written");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o000)).expect("set");
    // Root may read anything; then there is nothing to see here.
    if std::fs::read(&secret).is_err() {
        mounted.fails("read", json!({"path": "/ro/secret"}));
    }
}

fn directory_bytes(path: &Path) -> u64 {
    std::fs::read_dir(path)
        .expect("there")
        .map(|entry| entry.and_then(|entry| entry.metadata()).map_or(0, |data| data.len()))
        .sum()
}
