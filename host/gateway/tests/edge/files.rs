//! Watched files over HTTP: what changed, who did it, and putting it back.

use std::path::Path;
use std::time::{Duration, Instant};

use foreshore_control::RootConfig;
use foreshore_domain::integrity::RootPolicy;
use serde_json::{Value, json};

use crate::harness::{HANG, Host, Setup, post};

async fn watched(policy: RootPolicy) -> (Host, tempfile::TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("note.txt"), "one\ntwo\n").expect("written");
    let name = "notes".parse().expect("a name");
    let root = RootConfig { policy, ..RootConfig::new(name, directory.path()) };
    let host = Host::start(Setup { roots: vec![root], ..Setup::default() }).await;
    until(&host, "/v1/files/roots", |roots| roots["roots"][0]["ready"] == true).await;
    (host, directory)
}

/// Asks until the answer is as it should be.
async fn until(host: &Host, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let end = Instant::now() + HANG;
    loop {
        let answer = host.get(path).await.json();
        if wanted(&answer) {
            return answer;
        }
        assert!(Instant::now() < end, "{path}: {answer}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Puts a file in the note's place at once: written where it is, it could be seen half-way.
fn replace(directory: &tempfile::TempDir, text: &str) {
    let aside = tempfile::tempdir().expect("a directory").path().with_extension("aside");
    std::fs::write(&aside, text).expect("written");
    std::fs::rename(aside, directory.path().join("note.txt")).expect("moved");
}

fn read(directory: &tempfile::TempDir) -> String {
    std::fs::read_to_string(Path::new(directory.path()).join("note.txt")).expect("there")
}

#[tokio::test]
async fn a_change_from_outside_is_listed_compared_restored_and_approved() {
    let (host, directory) = watched(RootPolicy::Record).await;
    replace(&directory, "one\n2\n");
    let changes = "/v1/files/changes?root=notes";
    let listed = until(&host, changes, |l| l["changes"][0]["kind"] == "modified").await;
    let change = &listed["changes"][0];
    assert_eq!((&change["path"], &change["author"]), (&json!("note.txt"), &json!("outside")));
    assert!(change["old_hash"].is_string() && change["new_hash"].is_string(), "{change}");
    let after = change["seq"].as_u64().expect("a number");
    let none = host.get(&format!("{changes}&since={after}")).await.json();
    assert_eq!(none["changes"], json!([]));

    let diff = host.get("/v1/files/diff?root=notes&path=note.txt").await.json();
    assert_eq!(diff["kind"], "text");
    let text = diff["diff"].as_str().expect("a diff");
    assert!(text.contains("-two") && text.contains("+2"), "{text}");
    let versions = host.get("/v1/files/versions?root=notes&path=note.txt").await.json();
    assert_eq!(versions["versions"].as_array().map(Vec::len), Some(2), "{versions}");

    let body = json!({"root": "notes", "path": "note.txt"});
    let restored = host.request(&post("/v1/files/restore", &body)).await;
    assert_eq!(restored.status(), 200, "{}", restored.text());
    assert_eq!(read(&directory), "one\ntwo\n");
    let roots = host.get("/v1/files/roots").await.json();
    assert_eq!(roots["roots"][0]["unapproved"], json!([]));

    replace(&directory, "three\n");
    until(&host, "/v1/files/roots", |r| r["roots"][0]["unapproved"] == json!(["note.txt"])).await;
    let approved = host.request(&post("/v1/files/approve", &json!({"root": "notes"}))).await;
    assert_eq!(approved.json(), json!({"approved": 1}));
    let roots = host.get("/v1/files/roots").await.json();
    assert_eq!(roots["roots"][0]["unapproved"], json!([]));
    let scanned = host.request(&post("/v1/files/scan", &json!({"root": "notes"}))).await.json();
    assert_eq!((&scanned["entries"], &scanned["differed"]), (&json!(1), &json!(0)), "{scanned}");
}

#[tokio::test]
async fn under_the_policy_restore_the_approved_version_comes_back_by_itself() {
    let (host, directory) = watched(RootPolicy::Restore).await;
    std::fs::remove_file(directory.path().join("note.txt")).expect("removed");
    let changes = "/v1/files/changes?root=notes";
    let listed = until(&host, changes, |l| l["changes"].as_array().is_some_and(|c| c.len() == 2));
    let listed = listed.await;
    assert_eq!(listed["changes"][0]["kind"], "deleted", "{listed}");
    assert_eq!(listed["changes"][1]["author"], json!({"host": "restore"}), "{listed}");
    assert_eq!(read(&directory), "one\ntwo\n");
}

#[tokio::test]
async fn what_is_not_recorded_is_not_found_and_says_what_there_is() {
    let (host, _directory) = watched(RootPolicy::Record).await;
    let unknown = host.get("/v1/files/changes?root=other").await;
    assert_eq!((unknown.status(), unknown.problem().as_str()), (404, "unknown_root"));
    assert!(unknown.text().contains("notes"), "{}", unknown.text());
    let call = json!({"call_id": "call_0197f3a4c2d97c018f6a3d2e5b7c9d10"});
    let undo = host.request(&post("/v1/files/undo", &call)).await;
    assert_eq!((undo.status(), undo.problem().as_str()), (404, "not_recorded"));
    let body = json!({"root": "notes", "path": "../x"});
    let out = host.request(&post("/v1/files/restore", &body)).await;
    assert_eq!((out.status(), out.problem().as_str()), (422, "invalid_body"));
    for query in [
        "versions?root=notes&path=../x",
        "diff?root=notes&path=a/../b",
        "diff?root=notes&path=note.txt&from=blake3:12",
        "diff?root=notes&path=note.txt&to=x",
    ] {
        let refused = host.get(&format!("/v1/files/{query}")).await;
        let problem = (refused.status(), refused.problem());
        assert_eq!(problem, (400, "invalid_query".to_owned()), "{query}: {}", refused.text());
    }
}

#[tokio::test]
async fn what_cannot_be_put_back_says_so_and_leaves_what_is_there() {
    let (host, directory) = watched(RootPolicy::Record).await;
    let note = directory.path().join("note.txt");
    std::fs::remove_file(&note).expect("removed");
    std::fs::create_dir(&note).expect("made");
    std::fs::write(note.join("inside"), "somebody's").expect("written");
    until(&host, "/v1/files/roots", |r| {
        r["roots"][0]["unapproved"] == json!(["note.txt", "note.txt/inside"])
    })
    .await;
    let body = json!({"root": "notes", "path": "note.txt"});
    let refused = host.request(&post("/v1/files/restore", &body)).await;
    assert_eq!((refused.status(), refused.problem().as_str()), (422, "not_restored"));
    assert!(refused.text().contains("note.txt"), "{}", refused.text());
    assert_eq!(std::fs::read_to_string(note.join("inside")).expect("there"), "somebody's");
}
