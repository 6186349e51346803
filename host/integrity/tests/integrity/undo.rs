//! Taking the changes of a call back.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use foreshore_domain::id::CallId;
use foreshore_domain::integrity::{Author, Change, HostAct};
use foreshore_integrity::{
    ConflictReason, Depth, Ledger as _, PlanOutcome, Step, UndoError, UndoPlan, WatchedRoot,
    resume, undo,
};
use proptest::prelude::*;

use crate::support::{Place, call, entry};

fn tree(root: &Path) {
    fs::create_dir_all(root.join("d/e")).expect("makes");
    fs::write(root.join("d/e/f"), "one").expect("writes");
    fs::write(root.join("g"), "two").expect("writes");
    fs::set_permissions(root.join("g"), Permissions::from_mode(0o640)).expect("sets");
    symlink("g", root.join("l")).expect("links");
}

fn roots(place: &Place) -> Vec<Arc<WatchedRoot>> {
    vec![Arc::clone(&place.watched)]
}

fn changes_of(place: &Place, author: &Author) -> Vec<Change> {
    place.ledger.changes().into_iter().filter(|change| change.author == *author).collect()
}

fn undo_call(place: &Place, (id, author): &(CallId, Author)) -> Result<Vec<Change>, UndoError> {
    undo(&roots(place), *id, &changes_of(place, author))
}

/// Everything below a directory: what it is and holds.
fn snapshot(root: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).expect("lists") {
            let path = entry.expect("an entry").path();
            let metadata = fs::symlink_metadata(&path).expect("metadata");
            let held = if metadata.is_dir() {
                pending.push(path.clone());
                "a directory".to_owned()
            } else if metadata.is_symlink() {
                format!("to {}", fs::read_link(&path).expect("reads").display())
            } else {
                fs::read_to_string(&path).expect("reads")
            };
            let name = path.strip_prefix(root).expect("below").display().to_string();
            all.insert(name, format!("{:o} {held}", metadata.permissions().mode()));
        }
    }
    all
}

/// What a call can do to files.
#[derive(Clone, Debug)]
enum Act {
    Write { path: &'static str, text: String },
    Append { path: &'static str },
    Remove { path: &'static str },
    CreateDirectory { path: &'static str },
    Rename { from: &'static str, to: &'static str },
    Symlink { path: &'static str },
    Link { of: &'static str, path: &'static str },
}

/// Does it on behalf of a call; what the file system refuses is no change.
fn act(place: &Place, author: &Author, act: &Act) {
    let watched = &place.watched;
    let done: io::Result<()> = match act {
        Act::Write { path, text } => {
            let opened = watched
                .open_for_writing(author.clone(), &entry(path), true, || {
                    fs::File::create(place.path(path))
                })
                .expect("looks");
            opened.map(|(writing, file)| {
                use std::os::unix::fs::FileExt;
                writing
                    .write_at(0, text.as_bytes(), || file.write_all_at(text.as_bytes(), 0))
                    .expect("announced")
                    .expect("writes");
            })
        }
        Act::Append { path } => {
            let opened = watched
                .open_for_writing(author.clone(), &entry(path), false, || {
                    fs::OpenOptions::new().append(true).create(true).open(place.path(path))
                })
                .expect("looks");
            opened.map(|(writing, mut file)| {
                use std::io::Write;
                writing.append(b"+", || file.write_all(b"+")).expect("announced").expect("writes");
            })
        }
        Act::Remove { path } => watched
            .remove(author, &entry(path), || {
                fs::remove_file(place.path(path)).or_else(|_| fs::remove_dir(place.path(path)))
            })
            .expect("looks"),
        Act::CreateDirectory { path } => watched
            .create_directory(author, &entry(path), || fs::create_dir(place.path(path)))
            .expect("looks"),
        Act::Rename { from, to } => watched
            .rename(author, &entry(from), &entry(to), || {
                fs::rename(place.path(from), place.path(to))
            })
            .expect("looks"),
        Act::Symlink { path } => watched
            .create_symlink(author, &entry(path), b"g", || symlink("g", place.path(path)))
            .expect("looks"),
        Act::Link { of, path } => watched
            .create_link(author, &entry(of), &entry(path), || {
                fs::hard_link(place.path(of), place.path(path))
            })
            .expect("looks"),
    };
    let _ = done;
}

fn write(path: &'static str, text: &str) -> Act {
    Act::Write { path, text: text.to_owned() }
}

#[test]
fn all_that_a_call_did_is_taken_back() {
    let place = Place::with(|_| {}, tree);
    place.scan(Depth::Full);
    let before = snapshot(&place.path(""));
    let call = call(1);
    for step in [
        write("g", "changed"),
        Act::Append { path: "g" },
        Act::CreateDirectory { path: "new" },
        write("new/file", "made"),
        Act::Rename { from: "d", to: "new/d" },
        Act::Remove { path: "new/d/e/f" },
        Act::Remove { path: "l" },
        Act::Symlink { path: "d" },
    ] {
        act(&place, &call.1, &step);
    }
    assert_ne!(snapshot(&place.path("")), before);
    let changes = undo_call(&place, &call).expect("undone");
    assert_eq!(snapshot(&place.path("")), before);
    assert!(changes.iter().all(|change| change.author == Author::Host(HostAct::Undo)));
    assert_eq!(place.scan(Depth::Full).suspects, 0, "and all of it is recorded");
    assert_eq!(place.ledger.lock().closed, [(call.0, PlanOutcome::Undone)]);
}

#[test]
fn a_file_that_changed_since_is_a_conflict_and_nothing_is_changed() {
    let place = Place::with(|_| {}, tree);
    place.scan(Depth::Full);
    let call = call(1);
    act(&place, &call.1, &write("g", "changed"));
    act(&place, &call.1, &write("d/e/f", "changed too"));
    place.write("g", "evil");
    let before = snapshot(&place.path(""));
    let Err(UndoError::Conflicts { conflicts }) = undo_call(&place, &call) else { panic!() };
    assert_eq!(conflicts.len(), 1);
    let hash = |text: &str| Some(*blake3::hash(text.as_bytes()).as_bytes());
    assert_eq!(conflicts[0].reason, ConflictReason::Changed);
    assert_eq!(conflicts[0].path, entry("g"));
    assert_eq!(conflicts[0].expected.map(|of| *of.as_bytes()), hash("changed"));
    assert_eq!(conflicts[0].found.map(|of| *of.as_bytes()), hash("evil"));
    assert_eq!(snapshot(&place.path("")), before);
    assert!(place.ledger.lock().plans.is_empty());
}

#[test]
fn each_obstacle_is_named() {
    let place = Place::with(|_| {}, tree);
    place.scan(Depth::Full);
    let reason = |call: &(CallId, Author)| match undo_call(&place, call) {
        Err(UndoError::Conflicts { conflicts }) => conflicts[0].reason.clone(),
        other => panic!("{other:?}"),
    };
    let made = call(1);
    act(&place, &made.1, &Act::CreateDirectory { path: "new" });
    place.write("new/theirs", "x");
    assert_eq!(reason(&made), ConflictReason::NotEmpty);

    let removed = call(2);
    act(&place, &removed.1, &Act::Remove { path: "d/e/f" });
    fs::remove_dir_all(place.path("d")).expect("removes");
    assert_eq!(reason(&removed), ConflictReason::NoDirectory);

    let mixed = call(3);
    act(&place, &mixed.1, &write("g", "by the call"));
    place.write("g", "by somebody");
    act(&place, &mixed.1, &Act::Append { path: "g" });
    assert_eq!(reason(&mixed), ConflictReason::ChangedBetween);

    let open = call(4);
    act(&place, &open.1, &write("h", "x"));
    let held = place
        .watched
        .open_for_writing(open.1.clone(), &entry("h"), false, || fs::File::open(place.path("h")))
        .expect("looks")
        .expect("opens");
    assert_eq!(reason(&open), ConflictReason::Open);
    drop(held);

    let last = call(5);
    act(&place, &last.1, &write("g", "by the last"));
    place.ledger.lock().blobs.clear();
    assert!(matches!(reason(&last), ConflictReason::NotKept { .. }));
}

#[test]
fn a_plan_that_a_crash_left_is_finished_from_wherever_it_was() {
    for done in 0..=3 {
        let (place, plan, before, after) = half_done(done);
        assert_ne!(before, after);
        let resumed = resume(&roots(&place)).expect("plans");
        assert!(matches!(resumed[..], [(id, Ok(PlanOutcome::Undone))] if id == plan.call_id));
        assert_eq!(snapshot(&place.path("")), before, "after {done} steps");
        assert_eq!(place.scan(Depth::Full).suspects, 0);
        assert!(place.ledger.lock().plans.is_empty());
    }
}

#[test]
fn a_plan_whose_file_somebody_changed_after_the_crash_is_taken_back() {
    for done in 0..3 {
        let (place, _, _, mut after) = half_done(done);
        place.write("g", "evil");
        after.insert("g".to_owned(), snapshot(&place.path(""))["g"].clone());
        let resumed = resume(&roots(&place)).expect("plans");
        assert!(matches!(resumed[..], [(_, Ok(PlanOutcome::RolledBack))]), "{resumed:?}");
        assert_eq!(snapshot(&place.path("")), after, "after {done} steps");
        assert!(place.ledger.lock().plans.is_empty());
    }
}

type Snapshot = BTreeMap<String, String>;

/// A call that removed `l`, made `new` and changed `g`, whose undo ended after so many steps.
fn half_done(done: usize) -> (Place, UndoPlan, Snapshot, Snapshot) {
    let place = Place::with(|_| {}, tree);
    place.scan(Depth::Full);
    let before = snapshot(&place.path(""));
    let (call_id, author) = call(1);
    for step in [write("new", "x"), Act::Remove { path: "l" }, write("g", "changed")] {
        act(&place, &author, &step);
    }
    let after = snapshot(&place.path(""));
    let changes = changes_of(&place, &author);
    let step = |path: &str| {
        let of_path = || changes.iter().filter(|change| change.path == entry(path));
        Step {
            root: place.watched.name().clone(),
            path: entry(path),
            before: of_path().next().expect("a change").before.clone(),
            after: of_path().next_back().expect("a change").after.clone(),
        }
    };
    let plan = UndoPlan { call_id, steps: vec![step("new"), step("l"), step("g")] };
    place.ledger.plan_opened(&plan).expect("noted");
    if done > 0 {
        fs::remove_file(place.path("new")).expect("removes");
    }
    if done > 1 {
        symlink("g", place.path("l")).expect("links");
    }
    if done > 2 {
        place.write("g", "two");
    }
    // What a crash between making and renaming leaves.
    fs::write(place.path(&format!(".foreshore-{call_id}-7")), "two").expect("writes");
    (place, plan, before, after)
}

#[test]
fn a_ledger_that_fails_stops_an_undo_before_anything_is_changed() {
    let place = Place::with(|_| {}, tree);
    place.scan(Depth::Full);
    let call = call(1);
    act(&place, &call.1, &write("g", "changed"));
    let changes = changes_of(&place, &call.1);
    place.ledger.broken.store(true, Ordering::Release);
    assert!(undo(&roots(&place), call.0, &changes).is_err());
    place.ledger.broken.store(false, Ordering::Release);
    assert_eq!(place.read("g"), "changed");
}

#[test]
fn whatever_the_ledger_fails_at_an_undo_is_whole_or_nothing() {
    let mut outcomes = [0, 0, 0];
    for number in 0.. {
        let place = Place::with(|_| {}, tree);
        place.scan(Depth::Full);
        let before = snapshot(&place.path(""));
        let call = call(1);
        for step in [
            write("g", "changed"),
            Act::CreateDirectory { path: "new" },
            Act::Rename { from: "d", to: "new/d" },
            Act::Remove { path: "l" },
        ] {
            act(&place, &call.1, &step);
        }
        let after = snapshot(&place.path(""));
        let changes = changes_of(&place, &call.1);
        place.ledger.fails_once_after.store(number, Ordering::Release);
        let undone = undo(&roots(&place), call.0, &changes);
        let left = place.ledger.fails_once_after.swap(usize::MAX, Ordering::AcqRel);
        let now = snapshot(&place.path(""));
        match undone {
            Ok(_) => assert_eq!(now, before, "{number}"),
            Err(UndoError::Interrupted(_)) => {
                outcomes[0] += 1;
                let resumed = resume(&roots(&place)).expect("plans");
                assert!(matches!(resumed[..], [(_, Ok(PlanOutcome::Undone))]), "{resumed:?}");
                assert_eq!(snapshot(&place.path("")), before, "{number}");
            }
            Err(UndoError::RolledBack(_)) => {
                outcomes[1] += 1;
                assert_eq!(now, after, "{number}");
            }
            Err(_) => {
                outcomes[2] += 1;
                assert_eq!(now, after, "{number}");
            }
        }
        assert!(place.ledger.lock().plans.is_empty(), "{number}");
        assert_eq!(place.scan(Depth::Full).suspects, 0, "{number}");
        if left < usize::MAX / 2 {
            println!("{number} failures: {outcomes:?} interrupted, rolled back, not begun");
            assert!(outcomes.iter().all(|count| *count > 0));
            return;
        }
    }
}

fn any_path() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["g", "l", "d", "d/e", "d/e/f", "n", "n/m", "d/x", "d/e/y"])
}

fn any_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (any_path(), "[a-c]{1,3}").prop_map(|(path, text)| Act::Write { path, text }),
        2 => any_path().prop_map(|path| Act::Append { path }),
        3 => any_path().prop_map(|path| Act::Remove { path }),
        2 => any_path().prop_map(|path| Act::CreateDirectory { path }),
        3 => (any_path(), any_path()).prop_map(|(from, to)| Act::Rename { from, to }),
        1 => any_path().prop_map(|path| Act::Symlink { path }),
        1 => (any_path(), any_path()).prop_map(|(of, path)| Act::Link { of, path }),
    ]
}

/// Somebody else writes to, or removes, a file.
fn interfere(place: &Place, path: &str, write: bool) {
    let path = place.path(path);
    // Through a link it would be another file.
    if !fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir() || metadata.is_symlink())
    {
        let _ = if write { fs::write(&path, "outside") } else { fs::remove_file(&path) };
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("INTEGRITY_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(60),
        max_shrink_iters: 200,
        ..ProptestConfig::default()
    })]

    #[test]
    fn an_undo_restores_exactly_or_reports_conflicts_and_changes_nothing(
        earlier in prop::collection::vec(any_act(), 0..4),
        acts in prop::collection::vec(any_act(), 1..8),
        outside in prop::collection::vec((0usize..8, any_path(), any::<bool>()), 0..3),
        disturbed in any::<bool>(),
    ) {
        let place = Place::with(|_| {}, tree);
        place.scan(Depth::Full);
        let (first, second) = (call(1), call(2));
        earlier.iter().for_each(|step| act(&place, &first.1, step));
        let (before, recorded) = (snapshot(&place.path("")), place.count());
        for (number, step) in acts.iter().enumerate() {
            act(&place, &second.1, step);
            for (_, path, write) in outside.iter().filter(|of| disturbed && of.0 == number) {
                interfere(&place, path, *write);
            }
        }
        place.scan(Depth::Full);
        let mine = changes_of(&place, &second.1);
        let others: Vec<Change> = place
            .ledger
            .changes()
            .into_iter()
            .skip(recorded)
            .filter(|change| change.author == Author::Outside)
            .collect();
        let after = snapshot(&place.path(""));
        match undo(&roots(&place), second.0, &mine) {
            Ok(_) => {
                let undone = snapshot(&place.path(""));
                for path in mine.iter().map(|change| change.path.to_string()) {
                    prop_assert!(
                        undone.get(&path) == before.get(&path)
                            || others.iter().any(|change| change.path.to_string() == path),
                        "{path}: {:?}, was {:?}", undone.get(&path), before.get(&path)
                    );
                }
                if !disturbed {
                    prop_assert_eq!(&undone, &before);
                }
            }
            Err(UndoError::Conflicts { .. }) => {
                prop_assert!(disturbed, "nobody else changed anything");
                prop_assert_eq!(snapshot(&place.path("")), after);
            }
            Err(error) => prop_assert!(false, "{error}"),
        }
        prop_assert_eq!(place.scan(Depth::Full).suspects, 0);
    }
}
