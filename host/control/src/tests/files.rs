//! What guests change in watched directories: with the real watch, the real record, and other
//! programs at the same files.

use std::path::Path;
use std::time::{Duration, Instant};

use foreshore_domain::grant::{Grant, Mount};
use foreshore_domain::id::CallId;
use foreshore_domain::integrity::{Author, ChangeRecord, RootPolicy};
use foreshore_domain::limits::Limits;

use super::guest::{Body, End, guest};
use super::*;
use crate::{Integrity, RootConfig};

struct Host {
    place: Place,
    control: Arc<Control>,
}

impl Host {
    /// A root with these files, and a guest that writes `text` into `f` of the directory
    /// `mounted` of the root.
    async fn new(
        policy: RootPolicy,
        mounted: &str,
        files: &[(&str, &str)],
        writes: (&str, End),
    ) -> Self {
        Self::with(policy, "", mounted, "f", files, writes).await
    }

    /// The same with the root in the directory `watched` of where the files are.
    async fn with(
        policy: RootPolicy,
        watched: &str,
        mounted: &str,
        file: &str,
        files: &[(&str, &str)],
        (text, end): (&str, End),
    ) -> Self {
        let place = Place::new();
        let root = place.path("root");
        std::fs::create_dir_all(root.join(mounted)).expect("made");
        std::fs::create_dir_all(root.join(watched)).expect("made");
        for (path, text) in files {
            write(&root.join(path), text.as_bytes());
        }
        let body = Body::Write { file, text, end };
        let mut config = place.config(&[&guest("writer@1.2.3", body).with_side_effects().build()]);
        let mount: Mount =
            format!("{}:/data:rw", root.join(mounted).display()).parse().expect("a mount");
        let grant = Grant { mounts: vec![mount], ..Grant::default() };
        let policy_of_it = ComponentPolicy { grant: Arc::new(grant), limits: Limits::default() };
        config.policies = policies("writer", policy_of_it);
        // The host's own root looks at one file alone, and at nothing of a guest's.
        let mut own = RootConfig::new("own".parse().expect("a name"), place.path(""));
        own.only = vec!["settings".parse().expect("a path")];
        let mut watched = RootConfig::new("notes".parse().expect("a name"), root.join(watched));
        watched.policy = policy;
        config.roots = vec![own, watched];
        Self { control: start(config).await, place }
    }

    fn file(&self, path: &str) -> std::path::PathBuf {
        self.place.path("root").join(path)
    }

    async fn call(&self) -> CallId {
        call(&self.control, "writer.run", "{}").await.expect("an outcome").call_id
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Integrity) -> T + Send + 'static,
    ) -> T {
        let integrity = Arc::clone(self.control.integrity());
        tokio::task::spawn_blocking(move || work(&integrity)).await.expect("no panic")
    }

    async fn changes(&self) -> Vec<ChangeRecord> {
        self.blocking(|integrity| integrity.changes(None, 0, 100)).await.expect("readable")
    }

    /// Path and author of each change.
    async fn told(&self) -> Vec<(String, Author)> {
        let changes = self.changes().await.into_iter();
        changes.map(|change| (change.path.to_string(), change.author)).collect()
    }

    async fn wait_for(&self, count: usize) {
        let started = Instant::now();
        while self.told().await.len() < count {
            assert!(started.elapsed() < Duration::from_secs(30), "it was not recorded");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn by(call_id: CallId) -> Author {
    Author::Component { component: "writer@1.2.3".into(), call_id }
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).expect("there")
}

#[tokio::test]
async fn what_a_guest_writes_is_its_own_and_recorded_before_its_call_has_ended() {
    for end in [End::Return, End::Trap] {
        let host =
            Host::new(RootPolicy::Alert, "", &[("f", "before"), ("g", "g")], ("hello", end)).await;
        // At once, whether or not the baseline is there: what it holds is nobody's change.
        let call_id = host.call().await;
        let changes = host.changes().await;
        assert_eq!(host.told().await, [("f".to_owned(), by(call_id))]);
        assert!(changes[0].old_hash.is_some() && changes[0].old_hash != changes[0].new_hash);
        let events = host.control.journal().read(1, 1_000).expect("readable");
        let ended = events.iter().find(|event| event.kind == "call.completed").expect("recorded");
        assert!(changes[0].seq < ended.seq, "{} and {}", changes[0].seq, ended.seq);
    }
}

#[tokio::test]
async fn what_another_program_writes_in_between_is_not_the_guests() {
    let host = Host::new(RootPolicy::Record, "", &[("f", "before")], ("hello", End::Return)).await;
    let first = host.call().await;
    write(&host.file("f"), b"another program");
    host.wait_for(2).await;
    // The second is not waited for: whoever comes next has to find it.
    write(&host.file("f"), b"and once more");
    let last = host.call().await;
    let authors: Vec<Author> = host.told().await.into_iter().map(|(_, author)| author).collect();
    assert_eq!(authors, [by(first), Author::Outside, Author::Outside, by(last)]);
    assert_eq!(text(&host.file("f")), "hello");
}

#[tokio::test]
async fn undoing_a_call_restores_what_was_there_before_it() {
    let host =
        Host::new(RootPolicy::Record, "sub", &[("sub/f", "before")], ("hello", End::Trap)).await;
    let call_id = host.call().await;
    assert_eq!(text(&host.file("sub/f")), "hello");
    assert_eq!(host.told().await, [("sub/f".to_owned(), by(call_id))], "as the root has it");
    host.blocking(move |integrity| integrity.undo(call_id)).await.expect("undone");
    assert_eq!(text(&host.file("sub/f")), "before");

    let call_id = host.call().await;
    write(&host.file("sub/f"), b"another program");
    let undone = host.blocking(move |integrity| integrity.undo(call_id)).await;
    assert!(undone.is_err(), "it would take away what another program wrote");
    assert_eq!(text(&host.file("sub/f")), "another program");
}

#[tokio::test]
async fn what_a_guest_makes_stays_where_what_others_make_is_removed() {
    let host = Host::new(RootPolicy::Restore, "", &[], ("hello", End::Return)).await;
    let call_id = host.call().await;
    write(&host.file("g"), b"another program");
    host.wait_for(3).await;
    assert!(!host.file("g").exists());
    assert_eq!(text(&host.file("f")), "hello");
    assert_eq!(host.told().await[0], ("f".to_owned(), by(call_id)));
}

#[tokio::test]
async fn a_mount_that_holds_a_root_announces_what_lies_in_it_and_nothing_else() {
    let policy = RootPolicy::Record;
    let writes = ("hello", End::Return);
    let inside = Host::with(policy, "sub", "", "sub/f", &[], writes).await;
    let call_id = inside.call().await;
    assert_eq!(inside.told().await, [("f".to_owned(), by(call_id))]);
    let beside = Host::with(policy, "sub", "", "f", &[], writes).await;
    beside.call().await;
    assert_eq!(text(&beside.file("f")), "hello");
    assert_eq!(beside.told().await, []);
}
