//! What the view makes of the events about files.

use foreshore_domain::blob::BlobDigest;
use foreshore_domain::id::CallId;
use foreshore_domain::integrity::{Change, EntryKind, EntryState, Identity, Stamp, VersionName};
use redb::backends::InMemoryBackend;
use redb::{Database, ReadableDatabase as _};

use super::*;

struct Fixture {
    database: Database,
    seq: u64,
}

impl Fixture {
    fn new() -> Self {
        let database = Database::builder().create_with_backend(InMemoryBackend::new());
        Self { database: database.expect("a database"), seq: 0 }
    }

    fn apply(&mut self, kind: &str, payload: &impl Serialize) -> u64 {
        self.seq += 1;
        let transaction = self.database.begin_write().expect("a transaction");
        let payload = serde_json::to_vec(payload).expect("JSON");
        let event = EventRef {
            seq: self.seq,
            at_unix_ms: 7,
            tenant: "default",
            stream: "root/home",
            kind,
            payload: &payload,
        };
        apply(&transaction, &event).expect("applies");
        transaction.commit().expect("commits");
        self.seq
    }

    fn changed(&mut self, change: Change, blobs: &[u8]) -> u64 {
        let blobs = blobs.iter().map(|n| digest(*n)).collect();
        self.apply(kind::CHANGED, &FileChanged { change, blobs })
    }

    fn reader(&self) -> FilesReader {
        let transaction = self.database.begin_read().expect("a transaction");
        FilesReader::open(&transaction, "default").expect("opens")
    }

    fn states(&self, at: &str) -> (Option<BlobDigest>, Option<BlobDigest>) {
        let states = self.reader().states(&root(), &path(at)).expect("readable");
        let hash = |state: Option<EntryState>| state.and_then(|state| state.hash());
        (hash(states.known), hash(states.approved))
    }

    fn unapproved(&self) -> Vec<String> {
        let paths = self.reader().unapproved(&root(), None, 10).expect("readable");
        paths.iter().map(ToString::to_string).collect()
    }
}

fn root() -> RootName {
    "home".parse().expect("a name")
}

fn path(text: &str) -> EntryPath {
    text.parse().expect("a path")
}

fn digest(n: u8) -> BlobDigest {
    BlobDigest::from_bytes([n; 32])
}

fn file(n: u8) -> EntryState {
    EntryState {
        kind: EntryKind::File { hash: Some(digest(n)) },
        size_bytes: u64::from(n),
        mode: 0o644,
        owner: (0, 0),
        xattrs: None,
        identity: Identity { device: 1, inode: 2, links: 1 },
        stamp: Stamp { modified_ns: 0, changed_ns: 0, settled: true },
    }
}

fn change(at: &str, before: Option<u8>, after: Option<u8>, author: Author) -> Change {
    let (before, after) = (before.map(file), after.map(file));
    let kind = ChangeKind::between(before.as_ref(), after.as_ref()).expect("a change");
    Change { root: root(), path: path(at), kind, before, after, author }
}

fn component(call_id: CallId) -> Author {
    Author::Component { component: "files@0.1.0".into(), call_id }
}

#[test]
fn a_change_from_outside_is_known_and_not_approved_until_somebody_approves_it() {
    let mut fixture = Fixture::new();
    let entries = vec![(path("a"), file(1)), (path("b"), file(2))];
    let blobs = vec![digest(1), digest(2)];
    assert!(!fixture.reader().is_baselined(&root()).expect("readable"));
    let baseline = FileBaselined { root: root(), entries, complete: true, blobs };
    let baselined = fixture.apply(kind::BASELINED, &baseline);
    assert!(fixture.reader().is_baselined(&root()).expect("readable"));
    assert_eq!(fixture.states("a"), (Some(digest(1)), Some(digest(1))));

    fixture.changed(change("a", Some(1), Some(3), Author::Outside), &[3]);
    assert_eq!(fixture.states("a"), (Some(digest(3)), Some(digest(1))));
    assert_eq!(fixture.unapproved(), ["a"]);
    fixture.changed(change("b", Some(2), None, Author::Outside), &[]);
    assert_eq!(fixture.states("b"), (None, Some(digest(2))));
    assert_eq!(fixture.unapproved(), ["a", "b"]);
    fixture
        .apply(kind::APPROVED, &FilesApproved { root: root(), paths: vec![path("a"), path("b")] });
    assert_eq!(fixture.states("a"), (Some(digest(3)), Some(digest(3))));
    assert_eq!(fixture.states("b"), (None, None));
    assert_eq!(fixture.unapproved(), Vec::<String>::new());

    let versions = fixture.reader().versions(&root(), &path("a")).expect("readable");
    let kept: Vec<_> = versions.iter().map(|v| (v.seq, v.hash, v.size_bytes)).collect();
    assert_eq!(kept, [(2, digest(3), 3), (baselined, digest(1), 1)]);
    let version = VersionName { root: root(), path: path("a"), seq: baselined, hash: digest(1) };
    fixture.apply(kind::DROPPED, &VersionsDropped { versions: vec![version] });
    assert_eq!(fixture.reader().versions(&root(), &path("a")).expect("readable").len(), 1);
    let reader = fixture.reader();
    let mut last = None;
    for name in ["a", "b"] {
        let versions = reader.versions_after(last.as_ref().map(|(root, path)| (root, path)));
        let versions = versions.expect("readable");
        assert_eq!((versions.len(), &versions[0].path), (1, &path(name)));
        last = Some((root(), path(name)));
    }
    let last = last.as_ref().map(|(root, path)| (root, path));
    assert!(reader.versions_after(last).expect("readable").is_empty());
}

#[test]
fn a_rename_moves_what_is_known_and_from_outside_leaves_what_was_approved() {
    for (author, approved) in
        [(component(CallId::new(1)), None), (Author::Outside, Some(digest(1)))]
    {
        let mut fixture = Fixture::new();
        fixture.changed(change("old", None, Some(1), component(CallId::new(1))), &[1]);
        let renamed = Change {
            root: root(),
            path: path("new"),
            kind: ChangeKind::Renamed { from: path("old") },
            before: Some(file(1)),
            after: Some(file(1)),
            author,
        };
        fixture.changed(renamed, &[1]);
        assert_eq!(fixture.states("old"), (None, approved));
        assert_eq!(fixture.states("new").0, Some(digest(1)));
        assert_eq!(fixture.unapproved().is_empty(), approved.is_none());
    }
}

#[test]
fn the_changes_of_a_call_are_found_by_its_id_and_no_others() {
    let mut fixture = Fixture::new();
    let (call, other) = (CallId::new(1), CallId::new(1));
    let first = fixture.changed(change("a", None, Some(1), component(call)), &[1]);
    fixture.changed(change("b", None, Some(1), component(other)), &[1]);
    fixture.changed(change("c", None, Some(1), Author::Outside), &[1]);
    let last = fixture.changed(change("a", Some(1), Some(2), component(call)), &[2]);
    let seqs = fixture.reader().changes_of(&call.to_string()).expect("readable");
    assert_eq!(seqs, [first, last]);
}

#[test]
fn paths_below_a_directory_come_in_pages_and_without_look_alikes() {
    let mut fixture = Fixture::new();
    for at in ["d/a", "d/b/c", "d/e", "da", "d-x/y", "z"] {
        fixture.changed(change(at, None, Some(1), component(CallId::new(1))), &[]);
    }
    fixture.changed(change("d/e", Some(1), None, component(CallId::new(1))), &[]);
    let below = |directory: &str, after: Option<&str>, max| {
        let directory = if directory.is_empty() { EntryPath::root() } else { path(directory) };
        let after = after.map(path);
        let paths = fixture.reader().known_below(&root(), &directory, after.as_ref(), max);
        paths.expect("readable").iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(below("d", None, 10), ["d/a", "d/b/c"]);
    assert_eq!(below("d", None, 1), ["d/a"]);
    assert_eq!(below("d", Some("d/a"), 10), ["d/b/c"]);
    assert_eq!(below("", None, 10).len(), 5);
}

#[test]
fn a_plan_is_open_until_it_ends() {
    let mut fixture = Fixture::new();
    let planned = UndoPlanned { call_id: "call_1".to_owned(), blobs: [digest(9)] };
    fixture.apply(kind::UNDO_PLANNED, &planned);
    let open = fixture.reader().open_plans().expect("readable");
    assert_eq!(open, [("call_1".to_owned(), digest(9))]);
    let ended = UndoEnded { call_id: "call_1".to_owned(), outcome: "undone".to_owned() };
    fixture.apply(kind::UNDONE, &ended);
    assert!(fixture.reader().open_plans().expect("readable").is_empty());
}
