//! Who changed a file, and taking back what a call changed, seen from outside the binary.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::foreshore;
use crate::harness::http;
use crate::harness::server::Server;

const PATIENCE: Duration = Duration::from_secs(30);

/// A server whose `files` may change a directory.
fn server(root: &Path) -> Server {
    let configuration = format!(
        "[components.files]\nmounts = [{{ host = {root:?}, guest = \"/notes\", access = \"read-write\" }}]\n"
    );
    let server = Server::start(&configuration, &[]);
    until(&server, "/v1/files/roots", |roots| {
        let roots = roots["roots"].as_array().map(Vec::as_slice).unwrap_or_default();
        roots.iter().any(|root| root["name"] == "files:/notes" && root["ready"] == true)
    });
    server
}

fn until(server: &Server, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let end = Instant::now() + PATIENCE;
    loop {
        let answer = server.get(path).json();
        if wanted(&answer) {
            return answer;
        }
        assert!(Instant::now() < end, "{path}: {answer}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn write(server: &Server, path: &str, text: &str) -> String {
    let arguments = json!({"path": path, "text": text, "overwrite": true});
    let answer = server.call("files.write", &arguments);
    let body = answer.json();
    assert_eq!(body["is_error"], false, "{body}");
    body["call_id"].as_str().expect("an id").to_owned()
}

fn undo(server: &Server, call_id: &str) -> http::Response {
    let body = json!({"call_id": call_id}).to_string();
    let fields = [("content-type", "application/json")];
    http::send(server.address, "POST", "/v1/files/undo", &fields, body.as_bytes())
        .expect("the server answers")
}

#[test]
fn what_a_tool_writes_carries_its_name_and_call_and_is_taken_back() {
    let root = tempfile::tempdir().expect("made");
    let note = root.path().join("note.txt");
    std::fs::write(&note, "before\n").expect("written");
    let server = server(root.path());
    let call_id = write(&server, "/notes/note.txt", "after\n");
    // The call has ended, so what it changed is on record.
    let changes = server.get("/v1/files/changes?root=files:/notes").json();
    let change = changes["changes"]
        .as_array()
        .and_then(|changes| changes.iter().find(|change| change["path"] == "note.txt"))
        .unwrap_or_else(|| panic!("the change is not recorded: {changes}"));
    assert_eq!(change["kind"], "modified", "{changes}");
    assert_eq!(change["author"]["component"], "files@0.1.0", "{changes}");
    assert_eq!(change["author"]["call_id"], call_id.as_str(), "{changes}");

    let answer = undo(&server, &call_id);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(std::fs::read_to_string(&note).expect("there"), "before\n");
    let changes = server.get("/v1/files/changes?root=files:/notes").json();
    let authors: Vec<_> = changes["changes"]
        .as_array()
        .expect("changes")
        .iter()
        .filter(|change| change["path"] == "note.txt")
        .map(|change| change["author"].clone())
        .collect();
    assert_eq!(authors.last(), Some(&json!({"host": "undo"})), "{changes}");
    assert!(!authors.contains(&json!("outside")), "{changes}");
}

#[test]
fn a_file_that_changed_since_is_a_conflict_and_stays() {
    let root = tempfile::tempdir().expect("made");
    let note = root.path().join("note.txt");
    std::fs::write(&note, "before\n").expect("written");
    let server = server(root.path());
    let call_id = write(&server, "/notes/note.txt", "after\n");
    std::fs::write(&note, "somebody else\n").expect("written");
    let answer = undo(&server, &call_id);
    assert_eq!(answer.status, 409, "{answer:?}");
    let body = answer.json();
    assert_eq!(body["code"], "undo_conflict");
    assert!(body["detail"].as_str().is_some_and(|text| text.contains("note.txt")), "{body}");
    assert_eq!(std::fs::read_to_string(&note).expect("there"), "somebody else\n");
    let outside = until(&server, "/v1/files/changes?root=files:/notes", |changes| {
        let changes = changes["changes"].as_array().map(Vec::as_slice).unwrap_or_default();
        changes.iter().any(|change| change["author"] == "outside")
    });
    assert!(outside.to_string().contains(&call_id), "{outside}");
}

#[test]
fn directories_that_the_operator_names_are_watched_each_by_its_policy() {
    let directory = tempfile::tempdir().expect("made");
    let root = |name: &str| {
        let root = directory.path().join(name);
        std::fs::create_dir(&root).expect("made");
        std::fs::write(root.join("page"), "good\n").expect("written");
        root
    };
    let (site, drop) = (root("site"), root("drop"));
    let configuration = format!(
        "[[files.roots]]\nname = \"site\"\npath = {site:?}\npolicy = \"restore\"\nignore = [\"**/*.tmp\"]\n\
         [[files.roots]]\nname = \"drop\"\npath = {drop:?}\npolicy = \"quarantine\"\n"
    );
    let server = Server::start(&configuration, &[]);
    let roots = until(&server, "/v1/files/roots", |roots| {
        let roots = roots["roots"].as_array().map(Vec::as_slice).unwrap_or_default();
        roots.iter().all(|root| root["ready"] == true)
    });
    let policies: Vec<_> = roots["roots"]
        .as_array()
        .expect("roots")
        .iter()
        .map(|root| (root["name"].as_str().unwrap_or_default(), root["policy"].clone()))
        .collect();
    assert!(policies.contains(&("site", json!("restore"))), "{roots}");
    assert!(policies.contains(&("drop", json!("quarantine"))), "{roots}");

    // Each change comes whole: what is written in place could be seen half-way.
    let put = |root: &Path, name: &str, text: &str| {
        let aside = directory.path().join("aside");
        std::fs::write(&aside, text).expect("written");
        std::fs::rename(aside, root.join(name)).expect("moved");
    };
    let of = |root: &str, author: Value| {
        until(&server, &format!("/v1/files/changes?root={root}"), |changes| {
            let changes = changes["changes"].as_array().map(Vec::as_slice).unwrap_or_default();
            changes.iter().any(|change| change["author"] == author)
        })
    };
    put(&site, "ignored.tmp", "bad");
    put(&site, "page", "bad\n");
    let changes = of("site", json!({"host": "restore"}));
    assert_eq!(std::fs::read_to_string(site.join("page")).expect("there"), "good\n");
    assert!(site.join("ignored.tmp").exists() && !changes.to_string().contains("ignored"));

    put(&drop, "payload", "bad\n");
    let changes = of("drop", json!({"host": "quarantine"}));
    assert_eq!(changes["changes"][0]["author"], "outside", "{changes}");
    assert!(!drop.join("payload").exists());
    assert_eq!(std::fs::read_to_string(drop.join("page")).expect("there"), "good\n");
    let quarantine = server.data().join("quarantine");
    let isolated: Vec<_> = std::fs::read_dir(&quarantine)
        .expect("made")
        .map(|entry| std::fs::read_to_string(entry.expect("read").path()).expect("a file"))
        .collect();
    assert_eq!(isolated, ["bad\n"]);
    let status = foreshore(&["files", "status", "--data", &server.data().to_string_lossy()]);
    assert!(status.stdout.contains("quarantined: payload"), "{}{}", status.stdout, status.stderr);
}

#[test]
fn the_command_line_says_what_changed() {
    let help = foreshore(&["files", "--help"]);
    assert_eq!(help.code, 0, "{}", help.stderr);
    for command in ["status", "log", "versions", "diff", "restore", "approve", "undo", "scan"] {
        assert!(help.stdout.contains(command), "{command} is not in the help");
    }
    let data = tempfile::tempdir().expect("made");
    let data = data.path().to_string_lossy();
    let none = foreshore(&["files", "log", "--root", "nowhere", "--data", &data]);
    assert_eq!(none.code, 3, "{}", none.stderr);
    assert!(none.stderr.contains("no root is called"), "{}", none.stderr);
}
