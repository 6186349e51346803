//! The bounds over a real journal and real files.

use std::path::Path;

use foreshore_domain::id::CallId;
use foreshore_domain::integrity::RootPolicy;
use foreshore_integrity::{Depth, PlanOutcome, RootConfig, Step, UndoPlan};
use foreshore_store::{Journal, JournalConfig};

use super::*;

const BOUNDLESS: RetentionLimits = RetentionLimits {
    versions_per_file_max: usize::MAX,
    bytes_per_file_max: u64::MAX,
    versions_max: usize::MAX,
    bytes_max: u64::MAX,
};

/// A root with the files `a` and `b`, each with a baseline and changes from outside.
struct Fixture {
    integrity: Integrity,
    _directory: tempfile::TempDir,
}

impl Fixture {
    fn new(retention: RetentionLimits, changes: usize) -> Self {
        let directory = tempfile::tempdir().expect("made");
        for name in ["a", "b"] {
            write(directory.path(), name, 0);
        }
        let journal = Journal::in_memory(&JournalConfig::default()).expect("opens");
        let config = RootConfig {
            policy: RootPolicy::Record,
            ..RootConfig::new("notes".parse().expect("a name"), directory.path())
        };
        let mut integrity = Integrity::open(journal, vec![config]).expect("opens");
        integrity.retention = retention;
        let root = Arc::clone(&integrity.roots[0].root);
        root.scan(Depth::Full, &|_| {}, &|| false).expect("a baseline");
        for n in 1..=changes {
            for name in ["a", "b"] {
                write(directory.path(), name, n);
                root.check(&path(name)).expect("recorded");
            }
        }
        Self { integrity, _directory: directory }
    }

    /// Which contents of a file are kept, oldest first.
    fn kept(&self, name: &str) -> Vec<usize> {
        let mut versions = self.integrity.versions("notes", &path(name)).expect("readable");
        versions.reverse();
        let bytes = |version: &FileVersion| {
            let bytes = self.integrity.journal.blob(&version.hash).expect("readable");
            String::from_utf8(bytes.expect("kept").to_vec()).expect("text")
        };
        let number = |text: String| text.split(' ').nth(1).and_then(|n| n.parse().ok());
        versions.iter().map(|version| number(bytes(version)).expect("a number")).collect()
    }

    fn state(&self, name: &str, n: usize) -> EntryState {
        let root = "notes".parse().expect("a name");
        let known = self.integrity.ledger.read(|files| files.states(&root, &path(name)));
        let mut state = known.expect("readable").known.expect("there");
        let hash = Some(foreshore_store::Blob::new(content(name, n).into_bytes()).digest());
        state.kind = foreshore_domain::integrity::EntryKind::File { hash };
        state
    }

    fn assert_sound(&self) {
        let checked = tokio::runtime::Handle::current().block_on(self.integrity.journal.check());
        let checked = checked.expect("passes its check");
        let kept = self.kept("a").len() + self.kept("b").len();
        let plans = self.integrity.ledger.open_plans().expect("readable").len();
        assert_eq!(checked.blobs, u64::try_from(kept + plans).expect("small"), "none is left over");
    }
}

fn content(name: &str, n: usize) -> String {
    format!("{name} {n} {}", "x".repeat(1_000))
}

fn write(directory: &Path, name: &str, n: usize) {
    std::fs::write(directory.join(name), content(name, n)).expect("written");
}

fn path(name: &str) -> EntryPath {
    name.parse().expect("a path")
}

/// On a thread that may block, as the record of files asks.
async fn blocking(work: impl FnOnce() + Send + 'static) {
    tokio::task::spawn_blocking(work).await.expect("no panic");
}

#[tokio::test]
async fn each_file_keeps_its_newest_versions_and_the_approved_one_however_old() {
    let limits = RetentionLimits { versions_per_file_max: 4, ..BOUNDLESS };
    blocking(move || {
        let fixture = Fixture::new(limits, 9);
        assert_eq!(fixture.kept("a").len(), 10);
        assert_eq!(fixture.integrity.retain().expect("retained"), 12);
        // Nobody approved a change: the baseline is the last good one.
        assert_eq!(fixture.kept("a"), [0, 7, 8, 9]);
        assert_eq!(fixture.kept("b"), [0, 7, 8, 9]);
        fixture.assert_sound();
        assert_eq!(fixture.integrity.retain().expect("retained"), 0);
        fixture.integrity.approve("notes", Some(&path("a"))).expect("approved");
        let integrity = Integrity {
            retention: RetentionLimits { versions_per_file_max: 1, ..BOUNDLESS },
            ..fixture.integrity
        };
        let fixture = Fixture { integrity, ..fixture };
        fixture.integrity.retain().expect("retained");
        // Of one that is not approved, what is known and what is good stay.
        assert_eq!((fixture.kept("a"), fixture.kept("b")), (vec![9], vec![0, 9]));
        fixture.assert_sound();
    })
    .await;
}

#[tokio::test]
async fn the_oldest_of_all_files_go_first_until_the_bounds_hold() {
    for limits in [
        RetentionLimits { versions_max: 9, ..BOUNDLESS },
        RetentionLimits { bytes_max: 9 * 1_010, ..BOUNDLESS },
    ] {
        blocking(move || {
            let fixture = Fixture::new(limits, 9);
            assert_eq!(fixture.integrity.retain().expect("retained"), 11);
            assert_eq!(fixture.kept("a"), [0, 7, 8, 9]);
            assert_eq!(fixture.kept("b"), [0, 6, 7, 8, 9]);
            fixture.assert_sound();
        })
        .await;
    }
}

#[tokio::test]
async fn what_an_open_undo_needs_stays_until_it_has_ended() {
    let limits = RetentionLimits { versions_per_file_max: 2, ..BOUNDLESS };
    blocking(move || {
        let fixture = Fixture::new(limits, 9);
        let step = Step {
            root: "notes".parse().expect("a name"),
            path: path("a"),
            before: Some(fixture.state("a", 3)),
            after: Some(fixture.state("a", 5)),
        };
        let plan = UndoPlan { call_id: CallId::new(1), steps: vec![step] };
        fixture.integrity.ledger.plan_opened(&plan).expect("noted");
        fixture.integrity.retain().expect("retained");
        assert_eq!((fixture.kept("a"), fixture.kept("b")), (vec![0, 3, 5, 9], vec![0, 9]));
        // Planned after the versions were looked at, it is held to all the same.
        let all = fixture.integrity.oldest().expect("readable");
        assert_eq!(all, [], "none may go");
        fixture.assert_sound();
        let ledger = &fixture.integrity.ledger;
        ledger.plan_closed(plan.call_id, PlanOutcome::RolledBack, &[]).expect("closed");
        let may_go = fixture.integrity.oldest().expect("readable");
        ledger.plan_opened(&plan).expect("noted");
        assert_eq!(fixture.integrity.drop_versions(&may_go).expect("looked at"), []);
        ledger.plan_closed(plan.call_id, PlanOutcome::RolledBack, &[]).expect("closed");
        assert_eq!(fixture.integrity.retain().expect("retained"), 2);
        assert_eq!(fixture.kept("a"), [0, 9]);
        fixture.assert_sound();
    })
    .await;
}
