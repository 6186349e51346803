//! Watching while things go wrong.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use foreshore_domain::integrity::{Author, ChangeKind};
use foreshore_integrity::{Depth, Report, WatchConfig, WatchState};

use crate::support::{Place, wait};

#[test]
fn a_rename_is_one_change_where_the_kernel_said_so() {
    let place = Place::with(
        |_| {},
        |root| {
            fs::create_dir(root.join("d")).expect("makes");
            fs::write(root.join("d/f"), "one").expect("writes");
        },
    );
    let watch = place.watch();
    fs::rename(place.path("d"), place.path("e")).expect("renames");
    wait(|| place.count() >= 2);
    let from = |path: &str| ChangeKind::Renamed { from: path.parse().expect("a path") };
    assert_eq!(
        place.ledger.told(0),
        [
            (from("d"), "e".to_owned(), Author::Outside),
            (from("d/f"), "e/f".to_owned(), Author::Outside)
        ]
    );
    drop(watch);
}

#[test]
fn what_changed_while_nobody_watched_is_found_at_the_start() {
    let place = Place::with(|_| {}, |root| fs::write(root.join("f"), "one").expect("writes"));
    drop(place.watch());
    place.write("f", "two");
    let watch = place.watch();
    place.wait_for("f", &ChangeKind::Modified);
    drop(watch);
}

#[test]
fn a_flood_of_changes_loses_none() {
    let place = Place::new();
    let watch = place.watch();
    // Four events each: more than the 16,384 that the kernel keeps for whoever does not listen;
    // this one does, so they may or may not be lost.
    let count = 6_000;
    for number in 0..count {
        fs::write(place.path(&number.to_string()), "x").expect("writes");
    }
    wait(|| {
        let all = place.ledger.lock();
        // The root itself does not count.
        all.known.len() == count + 1
    });
    drop(watch);
    assert_eq!(place.scan(Depth::Full).suspects, 0);
}

#[test]
fn a_root_that_is_removed_and_made_again_is_watched_again() {
    let place = Place::with(|_| {}, |root| fs::write(root.join("f"), "one").expect("writes"));
    let watch = place.watch();
    fs::remove_dir_all(place.path("")).expect("removes");
    wait(|| matches!(watch.state(), WatchState::Missing { .. }));
    place.wait_for("f", &ChangeKind::Deleted);
    fs::create_dir(place.path("")).expect("makes");
    wait(|| matches!(watch.state(), WatchState::Watching { .. }));
    place.write("g", "new");
    place.wait_for("g", &ChangeKind::Created);
    place.write("g", "newer");
    place.wait_for("g", &ChangeKind::Modified);
    drop(watch);
}

#[test]
fn a_root_that_another_directory_takes_the_place_of_is_compared_with_it() {
    let place = Place::with(|_| {}, |root| fs::write(root.join("f"), "one").expect("writes"));
    let watch = place.watch();
    let other = place.temporary.path().join("other");
    fs::create_dir(&other).expect("makes");
    fs::write(other.join("f"), "evil").expect("writes");
    fs::rename(place.path(""), place.temporary.path().join("away")).expect("renames");
    fs::rename(&other, place.path("")).expect("renames");
    wait(|| {
        let known = &place.ledger.lock().known;
        let path = (place.watched.name().clone(), "f".parse().expect("a path"));
        known.get(&path).is_some_and(|state| state.size_bytes == 4)
    });
    drop(watch);
}

#[test]
fn a_root_without_events_is_polled_and_says_so() {
    let place = Place::with(|_| {}, |root| fs::write(root.join("f"), "one").expect("writes"));
    let config = WatchConfig { poll_every: Duration::from_millis(50), ..WatchConfig::default() };
    let watch = place.watched.poll(config, "no events in this test");
    wait(|| watch.is_ready());
    let WatchState::Polling { why, .. } = watch.state() else { panic!("{:?}", watch.state()) };
    assert_eq!(why, "no events in this test");
    place.write("f", "two");
    place.wait_for("f", &ChangeKind::Modified);
    drop(watch);
}

#[test]
fn a_ledger_that_fails_for_a_while_gets_every_change_later() {
    let place = Place::with(|_| {}, |root| fs::write(root.join("f"), "one").expect("writes"));
    let watch = place.watch();
    place.ledger.broken.store(true, Ordering::Release);
    place.write("f", "two");
    std::thread::sleep(Duration::from_millis(200));
    place.ledger.broken.store(false, Ordering::Release);
    place.wait_for("f", &ChangeKind::Modified);
    drop(watch);
}

#[test]
fn a_file_that_never_holds_still_is_recorded_all_the_same() {
    let place = Place::with(|_| {}, |root| fs::write(root.join("f"), "0").expect("writes"));
    let watch = place.watch();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writer = {
        let (stop, path) = (Arc::clone(&stop), place.path("f"));
        std::thread::spawn(move || {
            let mut number = 0_u64;
            while !stop.load(Ordering::Acquire) {
                fs::write(&path, format!("{number}").repeat(2_000)).expect("writes");
                number += 1;
            }
        })
    };
    place.wait_for("f", &ChangeKind::Modified);
    stop.store(true, Ordering::Release);
    writer.join().expect("no panic");
    wait(|| place.scan(Depth::Full).suspects == 0);
    drop(watch);
}

#[test]
fn an_observer_is_told_how_a_root_is_watched_and_scanned() {
    let place = Place::new();
    let watch = place.watch();
    wait(|| place.reports.count(|report| matches!(report, Report::Scanned(_))) == 1);
    let states =
        |report: &Report| matches!(report, Report::State(WatchState::Watching { directories: 1 }));
    assert_eq!(place.reports.count(states), 1);
    drop(watch);
}

#[test]
fn one_change_is_recorded_within_a_tenth_of_a_second() {
    let place = Place::with(|_| {}, |root| fs::write(root.join("f"), "0").expect("writes"));
    let watch = place.watch();
    let mut delays = Vec::new();
    for number in 1..=40_u64 {
        let made = std::time::Instant::now();
        place.write("f", &"x".repeat(usize::try_from(number).expect("small")));
        wait(|| place.known("f").is_some_and(|state| state.size_bytes == number));
        delays.push(made.elapsed());
    }
    drop(watch);
    delays.sort();
    println!("one change: median {:?}, worst {:?}", delays[20], delays[39]);
    assert!(delays[20] < Duration::from_millis(100), "{delays:?}");
}
