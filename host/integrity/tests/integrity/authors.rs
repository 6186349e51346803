//! Whose a change is.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use foreshore_domain::integrity::{Author, ChangeKind};
use foreshore_integrity::{Depth, Writing};

use crate::support::{Place, call, entry, wait};

fn open_for_writing(place: &Place, author: &Author, path: &str, truncate: bool) -> (Writing, File) {
    let open = || {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(truncate).open(place.path(path))
    };
    place
        .watched
        .open_for_writing(author.clone(), &entry(path), truncate, open)
        .expect("looks")
        .expect("opens")
}

fn write(writing: &Writing, file: &File, offset: u64, text: &str) {
    let bytes = text.as_bytes();
    let written = writing.write_at(offset, bytes, || file.write_all_at(bytes, offset));
    written.expect("announced").expect("written");
}

fn baselined(files: &[(&str, &str)]) -> Place {
    let place = Place::with(
        |_| {},
        |root| {
            for (path, text) in files {
                fs::write(root.join(path), text).expect("writes");
            }
        },
    );
    place.scan(Depth::Full);
    place
}

#[test]
fn what_a_call_writes_is_its_own_and_what_another_program_writes_is_not() {
    let place = baselined(&[("f", "one")]);
    let watch = place.watch();
    let (_, author) = call(1);
    let (writing, file) = open_for_writing(&place, &author, "f", false);
    write(&writing, &file, 3, " two");
    writing.close().expect("recorded");
    assert_eq!(
        place.ledger.told(0),
        [(ChangeKind::Modified, "f".to_owned(), author)],
        "and not once more by the watch"
    );
    place.write("f", "outside");
    wait(|| place.count() > 1);
    assert_eq!(place.ledger.told(1), [(ChangeKind::Modified, "f".to_owned(), Author::Outside)]);
    drop(watch);
}

#[test]
fn a_write_from_outside_during_a_call_is_not_taken_for_the_calls() {
    let place = baselined(&[("f", "one")]);
    let (_, author) = call(1);
    let (writing, file) = open_for_writing(&place, &author, "f", false);
    write(&writing, &file, 0, "ONE");
    place.write("f", "evil");
    writing.close().expect("recorded");
    let changes = place.ledger.changes();
    let told = |at: usize| (&changes[at].author, changes[at].after.as_ref().and_then(|s| s.hash()));
    let hash = |text: &str| {
        Some(foreshore_domain::blob::BlobDigest::from_bytes(blake3::hash(text.as_bytes()).into()))
    };
    assert_eq!(changes.len(), 2);
    assert_eq!(told(0), (&author, hash("ONE")));
    assert_eq!(told(1), (&Author::Outside, hash("evil")));
    let kept = &place.ledger.lock().blobs;
    assert!(kept.contains_key(&hash("ONE").expect("a hash")), "what the call wrote is kept too");
}

#[test]
fn a_write_from_outside_that_a_call_writes_over_is_recorded_before_the_calls() {
    let place = baselined(&[("f", "one")]);
    let (_, author) = call(1);
    place.write("f", "evil");
    let (writing, file) = open_for_writing(&place, &author, "f", true);
    write(&writing, &file, 0, "good");
    writing.close().expect("recorded");
    let authors: Vec<Author> = place.ledger.told(0).into_iter().map(|told| told.2).collect();
    assert_eq!(authors, [Author::Outside, author]);
}

#[test]
fn two_calls_that_write_one_file_each_get_what_they_wrote() {
    let place = baselined(&[("f", "....")]);
    let ((_, one), (_, two)) = (call(1), call(2));
    let (first, file) = open_for_writing(&place, &one, "f", false);
    let (second, other) = open_for_writing(&place, &two, "f", false);
    write(&first, &file, 0, "a");
    write(&second, &other, 1, "b");
    write(&first, &file, 2, "c");
    first.close().expect("recorded");
    second.close().expect("recorded");
    let authors: Vec<Author> = place.ledger.told(0).into_iter().map(|told| told.2).collect();
    assert_eq!(authors, [one.clone(), two, one]);
    assert_eq!(place.read("f"), "abc.");
}

#[test]
fn a_file_that_stays_open_is_recorded_while_it_is_written() {
    let place = baselined(&[("f", "")]);
    let watch = place.watch();
    let (_, author) = call(1);
    let (writing, file) = open_for_writing(&place, &author, "f", false);
    write(&writing, &file, 0, "some");
    wait(|| place.count() == 1);
    write(&writing, &file, 4, " more");
    wait(|| place.count() == 2);
    drop(writing);
    assert!(place.ledger.told(0).iter().all(|told| told.2 == author));
    drop(watch);
}

#[test]
fn every_kind_of_change_by_a_call_is_its_own() {
    let place = baselined(&[("f", "one"), ("g", "two")]);
    let watch = place.watch();
    let (_, author) = call(1);
    let watched = Arc::clone(&place.watched);
    let path = |relative: &str| place.path(relative);
    watched
        .create_directory(&author, &entry("d"), || fs::create_dir(path("d")))
        .expect("announced")
        .expect("makes");
    watched
        .rename(&author, &entry("f"), &entry("d/f"), || fs::rename(path("f"), path("d/f")))
        .expect("announced")
        .expect("renames");
    watched
        .create_symlink(&author, &entry("l"), b"d/f", || {
            std::os::unix::fs::symlink("d/f", path("l"))
        })
        .expect("announced")
        .expect("links");
    watched
        .create_link(&author, &entry("d/f"), &entry("h"), || fs::hard_link(path("d/f"), path("h")))
        .expect("announced")
        .expect("links");
    watched
        .rename(&author, &entry("g"), &entry("h"), || fs::rename(path("g"), path("h")))
        .expect("announced")
        .expect("renames");
    watched
        .rename(&author, &entry("d"), &entry("e"), || fs::rename(path("d"), path("e")))
        .expect("announced")
        .expect("renames");
    watched
        .remove(&author, &entry("e/f"), || fs::remove_file(path("e/f")))
        .expect("announced")
        .expect("removes");
    watched
        .remove(&author, &entry("e"), || fs::remove_dir(path("e")))
        .expect("announced")
        .expect("removes");
    assert_eq!(place.scan(Depth::Full).suspects, 0);
    let told = place.ledger.told(0);
    assert!(told.iter().all(|told| told.2 == author), "{told:#?}");
    let kinds: Vec<String> = told.iter().map(|(_, path, _)| path.clone()).collect();
    assert_eq!(kinds, ["d", "d/f", "l", "h", "h", "g", "e", "e/f", "e/f", "e"]);
    drop(watch);
    assert_eq!(place.count(), told.len(), "and the watch adds nothing");
}

#[test]
fn an_operation_that_fails_is_no_change_and_a_swap_under_it_is_seen() {
    let place = baselined(&[("f", "one")]);
    let (_, author) = call(1);
    let failed =
        place.watched.remove(&author, &entry("gone"), || fs::remove_file(place.path("gone")));
    assert!(failed.expect("announced").is_err());
    assert_eq!(place.count(), 0);
    // Somebody puts a file where the call has just removed one.
    let removed = place.watched.remove(&author, &entry("f"), || {
        fs::remove_file(place.path("f"))?;
        fs::write(place.path("f"), "evil")
    });
    removed.expect("announced").expect("removes");
    let told = place.ledger.told(0);
    assert_eq!(told[0], (ChangeKind::Deleted, "f".to_owned(), author));
    assert_eq!(told[1], (ChangeKind::Created, "f".to_owned(), Author::Outside));
}

#[test]
fn a_file_moved_while_it_is_open_is_written_under_its_new_name() {
    let place = baselined(&[("f", "one")]);
    let (_, author) = call(1);
    let (writing, file) = open_for_writing(&place, &author, "f", false);
    write(&writing, &file, 0, "O");
    place
        .watched
        .rename(&author, &entry("f"), &entry("g"), || fs::rename(place.path("f"), place.path("g")))
        .expect("announced")
        .expect("renames");
    write(&writing, &file, 1, "N");
    writing.close().expect("recorded");
    let told = place.ledger.told(0);
    assert!(told.iter().all(|told| told.2 == author), "{told:#?}");
    assert_eq!(place.scan(Depth::Full).suspects, 0);
}

#[test]
fn what_a_call_wrote_while_nothing_could_be_recorded_is_still_its_own() {
    let place = baselined(&[("f", "one")]);
    let watch = place.watch();
    let ((_, one), (_, two)) = (call(1), call(2));
    let (first, file) = open_for_writing(&place, &one, "f", false);
    let (second, other) = open_for_writing(&place, &two, "f", false);
    write(&first, &file, 0, "a");
    write(&second, &other, 1, "b");
    place.ledger.broken.store(true, std::sync::atomic::Ordering::Release);
    assert!(second.close().is_err());
    assert!(first.close().is_err());
    place.ledger.broken.store(false, std::sync::atomic::Ordering::Release);
    wait(|| place.count() == 2);
    let authors: Vec<Author> = place.ledger.told(0).into_iter().map(|told| told.2).collect();
    assert_eq!(authors, [one, two]);
    drop(watch);
}

#[test]
fn a_call_and_another_program_that_write_one_file_at_once_never_hide_each_other() {
    let rounds =
        std::env::var("INTEGRITY_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(150);
    let place = baselined(&[("f", "one")]);
    let watch = place.watch();
    let (_, author) = call(1);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..rounds {
                place.write("f", &format!("outside {round}"));
                std::thread::sleep(std::time::Duration::from_micros(round % 7 * 100));
            }
        });
        for round in 0..rounds {
            let (writing, file) = open_for_writing(&place, &author, "f", true);
            write(&writing, &file, 0, &format!("inside {round}"));
            std::thread::sleep(std::time::Duration::from_micros(round % 5 * 100));
            writing.close().expect("recorded");
        }
    });
    wait(|| place.scan(Depth::Full).suspects == 0);
    drop(watch);
    let hash = |text: String| *blake3::hash(text.as_bytes()).as_bytes();
    let by_call: Vec<_> = place
        .ledger
        .changes()
        .iter()
        .filter(|change| change.author == author)
        .filter_map(|change| Some(*change.after.as_ref()?.hash()?.as_bytes()))
        .collect();
    for round in 0..rounds {
        assert!(by_call.contains(&hash(format!("inside {round}"))), "round {round} is hidden");
    }
    let mut own: Vec<_> = (0..rounds).map(|round| hash(format!("inside {round}"))).collect();
    // Opened and emptied, and not written yet.
    own.push(hash(String::new()));
    assert!(by_call.iter().all(|hash| own.contains(hash)), "a call got what another wrote");
    let outside = place.count() - by_call.len();
    println!("{rounds} writes by a call, {outside} changes from outside among them");
    assert!(outside > 0);
}

/// `cargo test --release -p foreshore-integrity -- --ignored --nocapture what_a_call_pays`
#[test]
#[ignore = "a measurement"]
fn what_a_call_pays_for_its_name() {
    let place = baselined(&[]);
    let watch = place.watch();
    let (_, author) = call(1);
    let count = 2_000_u32;
    let text = "x".repeat(1_000);
    let each = |run: &dyn Fn(u32)| {
        let started = std::time::Instant::now();
        (0..count).for_each(run);
        started.elapsed() / count
    };
    let announced = each(&|number| {
        let (writing, file) = open_for_writing(&place, &author, &format!("a{number}"), true);
        write(&writing, &file, 0, &text);
        writing.close().expect("recorded");
    });
    drop(watch);
    let bare = each(&|number| place.write(&format!("b{number}"), &text));
    println!(
        "a new file of 1 kB: {announced:?} by a call, {bare:?} by a program that is not watched"
    );
}

#[test]
fn a_call_does_not_wait_while_a_large_file_is_read() {
    let place = baselined(&[("f", "one")]);
    let watch = place.watch();
    let large = File::create(place.path("large")).expect("creates");
    large.set_len(200 << 20).expect("extends");
    drop(large);
    std::thread::sleep(std::time::Duration::from_millis(30));
    let (_, author) = call(1);
    let started = std::time::Instant::now();
    let (writing, file) = open_for_writing(&place, &author, "f", false);
    write(&writing, &file, 0, "ONE");
    writing.close().expect("recorded");
    let waited = started.elapsed();
    let was_read = place.known("large").is_some();
    wait(|| place.known("large").is_some());
    println!("a call waited {waited:?} beside a file of 200 MiB (read before: {was_read})");
    // Where the machine is so slow that it was read by then, there was nothing to wait for.
    assert!(was_read || waited < std::time::Duration::from_millis(500), "{waited:?}");
    drop(watch);
}
