//! Looking at a whole root.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use foreshore_domain::integrity::{Author, ChangeKind, EntryKind};
use foreshore_integrity::{Depth, ScanError};

use crate::support::{Place, entry};

#[test]
fn a_baseline_is_no_change_and_what_changed_since_is_from_outside() {
    let place = Place::with(|_| {}, |root| fs::write(root.join("f"), "one").expect("writes"));
    let report = place.scan(Depth::Quick);
    assert!(report.baseline && report.entries == 1 && report.hashed_bytes == 3);
    assert_eq!(place.count(), 0);
    place.write("f", "two");
    place.write("g", "new");
    place.scan(Depth::Full);
    assert_eq!(
        place.ledger.told(0),
        [
            (ChangeKind::Modified, "f".to_owned(), Author::Outside),
            (ChangeKind::Created, "g".to_owned(), Author::Outside)
        ]
    );
}

#[test]
fn links_are_recorded_and_never_followed() {
    let place = Place::with(
        |_| {},
        |root| {
            fs::create_dir(root.join("../elsewhere")).expect("makes");
            fs::write(root.join("../elsewhere/secret"), "x").expect("writes");
            symlink("../elsewhere", root.join("l")).expect("links");
            symlink("l", root.join("loop")).expect("links");
        },
    );
    place.scan(Depth::Full);
    let known = &place.ledger.lock().known;
    assert_eq!(known.len(), 3, "the root and two links");
    let link = &known[&(place.watched.name().clone(), entry("l"))];
    assert!(matches!(&link.kind, EntryKind::Symlink { target, .. } if target == "../elsewhere"));
}

#[test]
fn a_directory_swapped_for_a_link_leads_nowhere() {
    let place = Place::with(
        |_| {},
        |root| {
            fs::create_dir(root.join("d")).expect("makes");
            fs::write(root.join("d/f"), "x").expect("writes");
        },
    );
    place.scan(Depth::Full);
    fs::rename(place.path("d"), place.temporary.path().join("d")).expect("moves");
    symlink(place.temporary.path().join("d"), place.path("d")).expect("links");
    place.scan(Depth::Full);
    let told: Vec<_> = place.ledger.told(0).into_iter().map(|told| (told.0, told.1)).collect();
    assert_eq!(told, [(ChangeKind::Deleted, "d/f".to_owned()), (ChangeKind::Type, "d".to_owned())]);
}

#[test]
fn what_is_ignored_is_not_looked_at_nor_what_is_below_it() {
    let place = Place::with(
        |config| config.ignore = vec!["*.log".to_owned(), "target".to_owned(), "**/tmp".to_owned()],
        |root| {
            fs::create_dir_all(root.join("target/deep")).expect("makes");
            fs::create_dir_all(root.join("a/tmp")).expect("makes");
            for path in ["x.log", "target/deep/f", "a/tmp/f", "a/x.log", "a/f"] {
                fs::write(root.join(path), "x").expect("writes");
            }
        },
    );
    place.scan(Depth::Full);
    let known: Vec<String> =
        place.ledger.lock().known.keys().map(|(_, path)| path.to_string()).collect();
    assert_eq!(known, [".", "a", "a/f", "a/x.log"]);
}

#[test]
fn where_only_some_paths_are_named_nothing_else_is_looked_at() {
    let place = Place::with(
        |config| config.only = vec![entry("foreshore.toml"), entry("a/policy")],
        |root| {
            fs::create_dir_all(root.join("a/policy/deep")).expect("makes");
            for path in ["foreshore.toml", "notes", "a/notes", "a/policy/deep/f"] {
                fs::write(root.join(path), "x").expect("writes");
            }
        },
    );
    let watch = place.watch();
    let known: Vec<String> =
        place.ledger.lock().known.keys().map(|(_, path)| path.to_string()).collect();
    assert_eq!(known, [".", "a", "a/policy", "a/policy/deep", "a/policy/deep/f", "foreshore.toml"]);
    place.write("notes", "y");
    place.write("foreshore.toml", "y");
    place.wait_for("foreshore.toml", &ChangeKind::Modified);
    drop(watch);
    assert_eq!(place.count(), 1);
}

#[test]
fn bounds_are_kept_and_said() {
    let place = Place::with(
        |config| {
            config.look.hash_max_bytes = 10;
            config.look.depth_max = 2;
        },
        |root| {
            fs::write(root.join("large"), "eleven byte").expect("writes");
            fs::create_dir_all(root.join("a/b/c")).expect("makes");
        },
    );
    let report = place.scan(Depth::Full);
    assert_eq!(report.too_large, (1, vec![(entry("large"), 11)]));
    assert_eq!(report.not_looked_at, (1, vec![entry("a/b/c")]));
    place.write("large", "ELEVEN BYTE");
    place.scan(Depth::Full);
    assert_eq!(place.count(), 1, "its times stand for its content");

    let place = Place::with(
        |config| config.entries_max = 5,
        |root| {
            for name in 0..6 {
                fs::write(root.join(name.to_string()), "x").expect("writes");
            }
        },
    );
    let scanned = place.watched.scan(Depth::Full, &|_| {}, &|| false);
    assert!(matches!(scanned, Err(ScanError::TooManyEntries { entries_max: 5, .. })));
}

#[test]
fn a_ledger_that_fails_fails_the_scan_and_nothing_is_taken_for_known() {
    let place = Place::with(|_| {}, |root| fs::write(root.join("f"), "one").expect("writes"));
    place.scan(Depth::Full);
    place.write("f", "two");
    place.ledger.broken.store(true, Ordering::Release);
    let scanned = place.watched.scan(Depth::Full, &|_| {}, &|| false);
    assert!(matches!(scanned, Err(ScanError::Ledger(_))));
    place.ledger.broken.store(false, Ordering::Release);
    place.scan(Depth::Full);
    assert_eq!(place.count(), 1);
}

/// `cargo test --release -p foreshore-integrity -- --ignored --nocapture ten_thousand`
#[test]
#[ignore = "a measurement"]
fn ten_thousand_files_are_baselined_within_ten_seconds() {
    let place = Place::with(
        |_| {},
        |root| {
            for directory in 0..100 {
                let directory = root.join(format!("d{directory}"));
                fs::create_dir(&directory).expect("makes");
                for file in 0..100 {
                    let text = format!("{}{file}", "some text of a file\n".repeat(file * 8));
                    fs::write(directory.join(format!("f{file}")), text).expect("writes");
                }
            }
        },
    );
    let told = AtomicU64::new(0);
    let progress = |entries| told.store(entries, Ordering::Relaxed);
    let report = place.watched.scan(Depth::Full, &progress, &|| false).expect("scans");
    let mib = report.hashed_bytes >> 20;
    println!("baseline: {} entries, {mib} MiB in {:?}", report.entries, report.took);
    assert_eq!(told.load(Ordering::Relaxed), 10_100);
    assert!(report.took.as_secs() < 10);
    for depth in [Depth::Full, Depth::Quick] {
        let started = Instant::now();
        let report = place.scan(depth);
        println!("{depth:?} scan: {:?}, {} MiB read", started.elapsed(), report.hashed_bytes >> 20);
        std::thread::sleep(std::time::Duration::from_secs(2));
    }
}
