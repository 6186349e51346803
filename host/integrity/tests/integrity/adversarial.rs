//! Changes by somebody who does not want them found, each found, and how soon.

use std::ffi::OsStr;
use std::fs::{self, File, FileTimes, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use foreshore_domain::integrity::ChangeKind;
use foreshore_integrity::Depth;
use rustix::fs::{CWD, FileType, Mode, RenameFlags, XattrFlags, mknodat, renameat_with, setxattr};

use crate::support::{PATIENCE, Place, entry_of, wait};

/// One way to change something: what is there before, what is done, and where it must be found.
/// Both are given a directory of their own, and one outside of the root on the same file system.
struct Case {
    name: &'static str,
    before: fn(&Path, &Path, usize),
    change: fn(&Path, &Path, usize),
    found_at: &'static [&'static str],
}

const CONTENT: &str = "what was there before";

fn file(dir: &Path, _: &Path, variant: usize) {
    // Sizes around those of a page, and nothing.
    let size = [1, 21, 4_095, 4_096, 4_097, 70_000][variant % 6];
    fs::write(dir.join("f"), CONTENT.repeat(size / CONTENT.len() + 1)).expect("writes");
}

fn two_files(dir: &Path, outside: &Path, variant: usize) {
    file(dir, outside, variant);
    let other = fs::read_to_string(dir.join("f")).expect("reads").replace("before", "efoerb");
    fs::write(dir.join("g"), other).expect("writes");
}

fn nothing(_: &Path, _: &Path, _: usize) {}

fn open(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).open(path).expect("opens")
}

/// One byte becomes another, somewhere.
fn flip(file: &File, variant: usize) {
    let length = file.metadata().expect("metadata").len();
    let at = length * u64::try_from(variant % 7).expect("small") / 7;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("reads");
    file.write_all_at(&[byte[0] ^ 0x20], at).expect("writes");
}

fn with_times_kept(path: &Path, change: impl FnOnce()) {
    let before = fs::metadata(path).expect("metadata");
    change();
    let times = FileTimes::new()
        .set_modified(before.modified().expect("a time"))
        .set_accessed(before.accessed().expect("a time"));
    open(path).set_times(times).expect("sets times");
}

#[allow(unsafe_code, reason = "a write through a mapping is what is tested")]
fn map(path: &Path) -> memmap2::MmapMut {
    // SAFETY: nobody else maps or cuts this file while the test does.
    unsafe { memmap2::MmapMut::map_mut(&open(path)) }.expect("maps")
}

fn nested(dir: &Path, depth: usize) -> PathBuf {
    (0..depth).fold(dir.to_owned(), |path, level| path.join(format!("d{level}")))
}

const CASES: &[Case] = &[
    Case {
        name: "same size",
        before: file,
        change: |dir, _, variant| flip(&open(&dir.join("f")), variant),
        found_at: &["f"],
    },
    Case {
        name: "same size and mtime",
        before: file,
        change: |dir, _, variant| {
            let path = dir.join("f");
            with_times_kept(&path, || flip(&open(&path), variant));
        },
        found_at: &["f"],
    },
    Case {
        name: "append",
        before: file,
        change: |dir, _, _| {
            let mut file = OpenOptions::new().append(true).open(dir.join("f")).expect("opens");
            file.write_all(b"!").expect("writes");
        },
        found_at: &["f"],
    },
    Case {
        name: "truncate and extend to the same size",
        before: file,
        change: |dir, _, _| {
            let path = dir.join("f");
            with_times_kept(&path, || {
                let file = open(&path);
                let length = file.metadata().expect("metadata").len();
                file.set_len(length / 2).expect("cuts");
                file.set_len(length).expect("extends");
            });
        },
        found_at: &["f"],
    },
    Case {
        name: "a sparse end",
        before: file,
        change: |dir, _, variant| {
            let end = 1_000_000 * (1 + u64::try_from(variant % 3).expect("small"));
            open(&dir.join("f")).set_len(end).expect("extends");
        },
        found_at: &["f"],
    },
    Case {
        name: "names swapped by three renames",
        before: two_files,
        change: |dir, _, _| {
            let (f, g, h) = (dir.join("f"), dir.join("g"), dir.join("h"));
            fs::rename(&f, &h).expect("renames");
            fs::rename(&g, &f).expect("renames");
            fs::rename(&h, &g).expect("renames");
        },
        found_at: &["f", "g"],
    },
    Case {
        name: "names exchanged at once",
        before: two_files,
        change: |dir, _, _| {
            renameat_with(CWD, dir.join("f"), CWD, dir.join("g"), RenameFlags::EXCHANGE)
                .expect("exchanges");
        },
        found_at: &["f", "g"],
    },
    Case {
        name: "renamed over, with size and mtime kept",
        before: two_files,
        change: |dir, _, _| {
            let path = dir.join("f");
            with_times_kept(&path, || fs::rename(dir.join("g"), dir.join("f")).expect("renames"));
        },
        found_at: &["f", "g"],
    },
    Case {
        name: "moved in over it from outside",
        before: |dir, outside, variant| {
            file(dir, outside, variant);
            fs::write(outside.join("g"), "another").expect("writes");
        },
        change: |dir, outside, _| fs::rename(outside.join("g"), dir.join("f")).expect("renames"),
        found_at: &["f"],
    },
    Case {
        name: "moved out",
        before: file,
        change: |dir, outside, _| fs::rename(dir.join("f"), outside.join("f")).expect("renames"),
        found_at: &["f"],
    },
    Case {
        name: "renamed",
        before: file,
        change: |dir, _, _| fs::rename(dir.join("f"), dir.join("g")).expect("renames"),
        found_at: &["g"],
    },
    Case {
        name: "written through a mapping",
        before: file,
        change: |dir, _, variant| {
            let path = dir.join("f");
            with_times_kept(&path, || {
                let mut map = map(&path);
                let at = map.len() * (variant % 7) / 7;
                map[at] ^= 0x20;
            });
        },
        found_at: &["f"],
    },
    Case {
        name: "written under another name in the root",
        before: |dir, outside, variant| {
            file(dir, outside, variant);
            fs::create_dir(dir.join("d")).expect("makes");
            fs::hard_link(dir.join("f"), dir.join("d/g")).expect("links");
        },
        change: |dir, _, variant| flip(&open(&dir.join("d/g")), variant),
        found_at: &["f", "d/g"],
    },
    Case {
        name: "written under a name made since",
        before: file,
        change: |dir, _, variant| {
            fs::hard_link(dir.join("f"), dir.join("g")).expect("links");
            flip(&open(&dir.join("g")), variant);
        },
        found_at: &["f", "g"],
    },
    Case {
        name: "mode",
        before: file,
        change: |dir, _, variant| {
            let mode = [0o600, 0o4755, 0o777, 0o000][variant % 4];
            fs::set_permissions(dir.join("f"), Permissions::from_mode(mode)).expect("sets");
        },
        found_at: &["f"],
    },
    Case {
        name: "mode of a directory",
        before: |dir, _, _| fs::create_dir(dir.join("d")).expect("makes"),
        change: |dir, _, _| {
            fs::set_permissions(dir.join("d"), Permissions::from_mode(0o2777)).expect("sets");
        },
        found_at: &["d"],
    },
    Case {
        name: "deleted",
        before: file,
        change: |dir, _, _| fs::remove_file(dir.join("f")).expect("removes"),
        found_at: &["f"],
    },
    Case {
        name: "deleted and made again with another content of the same size",
        before: two_files,
        change: |dir, _, _| {
            let other = fs::read(dir.join("g")).expect("reads");
            fs::remove_file(dir.join("f")).expect("removes");
            fs::write(dir.join("f"), other).expect("writes");
        },
        found_at: &["f"],
    },
    Case { name: "made", before: nothing, change: file, found_at: &["f"] },
    Case {
        name: "made in directories made at once",
        before: nothing,
        change: |dir, outside, variant| {
            let deep = nested(dir, 3);
            fs::create_dir_all(&deep).expect("makes");
            file(&deep, outside, variant);
        },
        found_at: &["d0", "d0/d1", "d0/d1/d2", "d0/d1/d2/f"],
    },
    Case {
        name: "changed in a directory made since",
        before: nothing,
        change: |dir, outside, variant| {
            let deep = nested(dir, 2);
            fs::create_dir_all(&deep).expect("makes");
            file(&deep, outside, variant);
            flip(&open(&deep.join("f")), variant);
        },
        found_at: &["d0/d1/f"],
    },
    Case {
        name: "a directory renamed",
        before: |dir, outside, variant| {
            fs::create_dir_all(nested(dir, 2)).expect("makes");
            file(&nested(dir, 2), outside, variant);
        },
        change: |dir, _, _| fs::rename(dir.join("d0"), dir.join("e")).expect("renames"),
        found_at: &["e", "e/d1", "e/d1/f"],
    },
    Case {
        name: "changed in a directory renamed since",
        before: |dir, outside, variant| {
            fs::create_dir_all(nested(dir, 2)).expect("makes");
            file(&nested(dir, 2), outside, variant);
        },
        change: |dir, _, variant| {
            fs::rename(dir.join("d0"), dir.join("e")).expect("renames");
            flip(&open(&dir.join("e/d1/f")), variant);
        },
        found_at: &["e/d1/f"],
    },
    Case {
        name: "a directory removed with all that is in it",
        before: |dir, outside, variant| {
            fs::create_dir_all(nested(dir, 2)).expect("makes");
            file(&nested(dir, 2), outside, variant);
        },
        change: |dir, _, _| fs::remove_dir_all(dir.join("d0")).expect("removes"),
        found_at: &["d0", "d0/d1", "d0/d1/f"],
    },
    Case {
        name: "a link to somewhere else",
        before: |dir, _, _| symlink("/etc/hostname", dir.join("l")).expect("links"),
        change: |dir, _, _| {
            symlink("/etc/hosts", dir.join("m")).expect("links");
            fs::rename(dir.join("m"), dir.join("l")).expect("renames");
        },
        found_at: &["l"],
    },
    Case {
        name: "a file becomes a link to its copy",
        before: file,
        change: |dir, outside, _| {
            fs::rename(dir.join("f"), outside.join("f")).expect("renames");
            symlink(outside.join("f"), dir.join("f")).expect("links");
        },
        found_at: &["f"],
    },
    Case {
        name: "a file becomes a directory",
        before: file,
        change: |dir, outside, variant| {
            fs::remove_file(dir.join("f")).expect("removes");
            fs::create_dir(dir.join("f")).expect("makes");
            file(&dir.join("f"), outside, variant);
        },
        found_at: &["f", "f/f"],
    },
    Case {
        name: "a directory becomes a file",
        before: |dir, outside, variant| {
            fs::create_dir(dir.join("d")).expect("makes");
            file(&dir.join("d"), outside, variant);
        },
        change: |dir, _, _| {
            fs::remove_dir_all(dir.join("d")).expect("removes");
            fs::write(dir.join("d"), "a file").expect("writes");
        },
        found_at: &["d", "d/f"],
    },
    Case {
        name: "a file becomes a FIFO",
        before: file,
        change: |dir, _, _| {
            fs::remove_file(dir.join("f")).expect("removes");
            mknodat(CWD, dir.join("f"), FileType::Fifo, Mode::from_raw_mode(0o644), 0)
                .expect("makes");
        },
        found_at: &["f"],
    },
    Case {
        name: "a name that is not UTF-8",
        before: nothing,
        change: |dir, _, _| {
            fs::write(dir.join(OsStr::from_bytes(b"\xff\n%")), "x").expect("writes");
        },
        found_at: &["\u{f8ff}"],
    },
];

const XATTRS: Case = Case {
    name: "extended attributes",
    before: |dir, outside, variant| {
        file(dir, outside, variant);
        setxattr(dir.join("f"), "user.kind", b"good", XattrFlags::empty()).expect("sets");
    },
    change: |dir, _, _| {
        setxattr(dir.join("f"), "user.kind", b"evil", XattrFlags::empty()).expect("sets");
    },
    found_at: &["f"],
};

fn cases(outside: &Path) -> Vec<&'static Case> {
    let probe = outside.join("probe");
    fs::write(&probe, "").expect("writes");
    let mut cases: Vec<&Case> = CASES.iter().collect();
    match setxattr(&probe, "user.kind", b"x", XattrFlags::empty()) {
        Ok(()) => cases.push(&XATTRS),
        Err(error) => println!("extended attributes are not tried here: {error}"),
    }
    cases
}

/// Where a case must be found. A private character stands for the name that is not UTF-8.
fn found_at(directory: &str, name: &str) -> foreshore_domain::integrity::EntryPath {
    let name = if name == "\u{f8ff}" { OsStr::from_bytes(b"\xff\n%") } else { OsStr::new(name) };
    entry_of(&Path::new(directory).join(name))
}

fn variants() -> usize {
    std::env::var("INTEGRITY_VARIANTS").ok().and_then(|text| text.parse().ok()).unwrap_or(18)
}

fn prepare(place: &Place) -> (Vec<(&'static Case, usize, String)>, PathBuf) {
    let outside = place.temporary.path().join("outside");
    fs::create_dir(&outside).expect("makes");
    let mut all = Vec::new();
    for (number, case) in cases(&outside).into_iter().enumerate() {
        for variant in 0..variants() {
            let directory = format!("c{number}v{variant}");
            let aside = outside.join(&directory);
            fs::create_dir(&aside).expect("makes");
            fs::create_dir(place.path(&directory)).expect("makes");
            (case.before)(&place.path(&directory), &aside, variant);
            all.push((case, variant, directory));
        }
    }
    (all, outside)
}

#[test]
fn every_adversarial_change_is_found_by_events_within_two_seconds() {
    let place = Place::new();
    let (cases, outside) = prepare(&place);
    let watch = place.watch();
    assert_eq!(place.count(), 0, "a baseline is no change");
    let mut made = Vec::new();
    for (case, variant, directory) in &cases {
        (case.change)(&place.path(directory), &outside.join(directory), *variant);
        made.push(Instant::now());
    }
    let missing = || {
        let changes = place.ledger.lock();
        let found: std::collections::HashSet<_> =
            changes.changes.iter().map(|(_, change)| change.path.clone()).collect();
        let mut missing = Vec::new();
        for (case, _, directory) in &cases {
            for name in case.found_at {
                let path = found_at(directory, name);
                if !found.contains(&path) {
                    missing.push(format!("{}: {path}", case.name));
                }
            }
        }
        missing
    };
    let started = Instant::now();
    while !missing().is_empty() {
        assert!(started.elapsed() < PATIENCE, "not found: {:#?}", missing());
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(watch);
    let late = place.count();
    place.scan(Depth::Full);
    assert_eq!(place.ledger.told(late), [], "what is known is what is there");
    let all = place.ledger.lock();
    let mut delays: Vec<Duration> = Vec::new();
    for ((case, _, directory), made) in cases.iter().zip(made) {
        for name in case.found_at {
            let path = found_at(directory, name);
            let last = all.changes.iter().rev().find(|(_, change)| change.path == path);
            let (at, _) = last.expect("found");
            delays.push(at.saturating_duration_since(made));
        }
    }
    delays.sort();
    let (count, median) = (cases.len(), delays[delays.len() / 2]);
    let worst = *delays.last().expect("some");
    println!(
        "{count} changes, {} places: all found; median {median:?}, worst {worst:?}",
        delays.len()
    );
    assert!(count >= 500 || variants() < 18, "{count}");
    assert!(worst < Duration::from_secs(2), "the last was found after {worst:?}");
}

#[test]
fn every_adversarial_change_is_found_by_a_full_scan_alone() {
    let place = Place::new();
    let (cases, outside) = prepare(&place);
    place.scan(Depth::Full);
    for (case, variant, directory) in &cases {
        (case.change)(&place.path(directory), &outside.join(directory), *variant);
    }
    let report = place.scan(Depth::Full);
    let changes = place.ledger.changes();
    for (case, _, directory) in &cases {
        for name in case.found_at {
            let path = found_at(directory, name);
            assert!(changes.iter().any(|change| change.path == path), "{}: {path}", case.name);
        }
    }
    println!("{} changes found by a scan in {:?}", cases.len(), report.took);
    assert_eq!(place.scan(Depth::Full).suspects, 0, "all of it is known now");
}

#[test]
fn a_write_under_a_name_outside_of_the_root_is_found_by_the_scan() {
    let place = Place::with(|_| {}, |root| fs::write(root.join("f"), CONTENT).expect("writes"));
    let outside = place.temporary.path().join("g");
    fs::hard_link(place.path("f"), &outside).expect("links");
    let watch = place.watch();
    let path = outside.clone();
    with_times_kept(&path, || flip(&open(&outside), 1));
    watch.scan_soon();
    place.wait_for("f", &ChangeKind::Modified);
}

#[test]
fn a_write_through_a_mapping_that_stays_open_is_found_by_the_scan_and_else_when_it_is_closed() {
    let place = Place::with(|_| {}, |root| fs::write(root.join("f"), CONTENT).expect("writes"));
    let watch = place.watch();
    let mut map = map(&place.path("f"));
    map[0] ^= 0x20;
    watch.scan_soon();
    wait(|| place.count() == 1);
    map[1] ^= 0x20;
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(place.count(), 1, "nobody tells of a write to memory");
    let closed = Instant::now();
    drop(map);
    wait(|| place.count() == 2);
    println!("found {:?} after the mapping was closed", closed.elapsed());
}

#[test]
fn a_quick_scan_finds_the_same_size_with_mtime_set_back() {
    let place = Place::with(|_| {}, |root| fs::write(root.join("f"), CONTENT).expect("writes"));
    // Old enough for its time of change to mean something.
    std::thread::sleep(Duration::from_millis(2_100));
    place.scan(Depth::Full);
    let quick = place.scan(Depth::Quick);
    assert_eq!(quick.hashed_bytes, 0, "nothing is read again");
    let path = place.path("f");
    with_times_kept(&path, || flip(&open(&path), 3));
    place.scan(Depth::Quick);
    assert_eq!(place.ledger.told(0).len(), 1);
    place.wait_for("f", &ChangeKind::Modified);
}
