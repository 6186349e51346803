//! What is done about changes from outside.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use foreshore_domain::integrity::{Author, ChangeKind, HostAct, RootPolicy};
use foreshore_integrity::{Depth, OpenError, Report, RestoreRate, RootConfig, WatchedRoot};
use rustix::fs::{CWD, FileType, Mode, XattrFlags, getxattr, mknodat, setxattr};

use crate::support::{Memory, Place, Reports, call, entry, wait};

fn tree(root: &Path) {
    fs::create_dir_all(root.join("d/e")).expect("makes");
    fs::write(root.join("d/e/f"), "one").expect("writes");
    fs::write(root.join("g"), "two").expect("writes");
    fs::set_permissions(root.join("g"), Permissions::from_mode(0o640)).expect("sets");
    symlink("g", root.join("l")).expect("links");
}

#[test]
fn an_alert_is_raised_for_changes_from_outside_alone() {
    let place = Place::policy(RootPolicy::Alert, tree);
    place.scan(Depth::Full);
    let (_, author) = call(1);
    place
        .watched
        .remove(&author, &entry("l"), || fs::remove_file(place.path("l")))
        .expect("announced")
        .expect("removes");
    let alerts = |report: &Report| matches!(report, Report::Alert(_));
    assert_eq!(place.reports.count(alerts), 0);
    place.write("g", "evil");
    place.watched.check(&entry("g")).expect("looks");
    assert_eq!(place.reports.count(alerts), 1);
    assert_eq!(place.read("g"), "evil", "an alert changes nothing");
}

#[test]
fn whatever_somebody_does_the_approved_version_comes_back() {
    let place = Place::with(
        |config| {
            config.policy = RootPolicy::Restore;
            config.restore_rate.times = 100;
        },
        tree,
    );
    let has_xattrs = setxattr(place.path("g"), "user.kind", b"good", XattrFlags::empty()).is_ok();
    let watch = place.watch();
    let is_back = || {
        let mode = |path: &str| fs::metadata(place.path(path)).map(|of| of.mode() & 0o7777);
        let text = |path: &str| fs::read_to_string(place.path(path)).unwrap_or_default();
        let mut value = [0; 8];
        let xattr = getxattr(place.path("g"), "user.kind", &mut value);
        text("d/e/f") == "one"
            && fs::symlink_metadata(place.path("g")).is_ok_and(|of| of.is_file())
            && text("g") == "two"
            && mode("g").is_ok_and(|mode| mode == 0o640)
            && fs::read_link(place.path("l")).is_ok_and(|to| to == Path::new("g"))
            && (!has_xattrs || xattr == Ok(4) && &value[..4] == b"good")
            && fs::read_dir(place.path("")).expect("lists").count() == 3
    };
    assert!(is_back());
    let attacks: [&dyn Fn(); 11] = [
        &|| place.write("g", "evil"),
        &|| fs::set_permissions(place.path("g"), Permissions::from_mode(0o4777)).expect("sets"),
        &|| fs::remove_file(place.path("g")).expect("removes"),
        &|| {
            let _ = fs::remove_dir_all(place.path("d"));
        },
        &|| fs::rename(place.path("d"), place.path("moved")).expect("renames"),
        &|| {
            fs::remove_file(place.path("g")).expect("removes");
            let _ = fs::create_dir(place.path("g"));
            let _ = fs::write(place.path("g/inside"), "evil");
        },
        &|| {
            fs::remove_file(place.path("l")).expect("removes");
            let _ = symlink("/etc/passwd", place.path("l"));
        },
        &|| place.write("new", "evil"),
        &|| {
            // It may be gone again before it is whole.
            let _ = fs::create_dir_all(place.path("new/deep"));
            let _ = fs::write(place.path("new/deep/f"), "evil");
        },
        &|| {
            let _ = fs::remove_dir_all(place.path("d"));
            let _ = fs::write(place.path("d"), "evil");
        },
        &|| {
            if has_xattrs {
                setxattr(place.path("g"), "user.kind", b"evil", XattrFlags::empty()).expect("sets");
            } else {
                place.write("g", "evil");
            }
        },
    ];
    for attack in attacks {
        let before = place.count();
        attack();
        wait(|| place.count() > before && is_back());
        // What the host put back is nobody's attack.
        wait(|| place.scan(Depth::Full).suspects == 0);
    }
    let restored = place.ledger.told(0);
    assert!(restored.iter().any(|told| told.2 == Author::Host(HostAct::Restore)));
    drop(watch);
}

#[test]
fn a_writer_who_fights_is_reported_and_the_file_put_back_when_he_is_done() {
    let place = Place::with(
        |config| {
            config.policy = RootPolicy::Restore;
            config.restore_rate = RestoreRate { times: 3, within: Duration::from_millis(1_500) };
        },
        |root| fs::write(root.join("f"), "good").expect("writes"),
    );
    let watch = place.watch();
    let fought = |report: &Report| matches!(report, Report::Fought { .. });
    let restored = |report: &Report| matches!(report, Report::Restored(_));
    wait(|| {
        place.write("f", "evil");
        place.reports.count(fought) > 0
    });
    assert_eq!(place.reports.count(restored), 3, "not more often than its rate");
    wait(|| place.read("f") == "good");
    drop(watch);
}

#[test]
fn what_a_call_changes_is_not_put_back() {
    let place = Place::policy(RootPolicy::Restore, tree);
    let watch = place.watch();
    let (_, author) = call(1);
    place
        .watched
        .remove(&author, &entry("g"), || fs::remove_file(place.path("g")))
        .expect("announced")
        .expect("removes");
    place.write("d/e/f", "evil");
    wait(|| place.read("d/e/f") == "one");
    assert!(!place.path("g").exists());
    drop(watch);
}

#[test]
fn what_somebody_puts_into_a_root_is_moved_out_where_only_its_owner_reads_it() {
    let place = Place::policy(RootPolicy::Quarantine, tree);
    let watch = place.watch();
    place.write("g", "evil");
    place.write("new", "evil too");
    mknodat(CWD, place.path("pipe"), FileType::Fifo, Mode::from_raw_mode(0o644), 0).expect("makes");
    wait(|| ["g", "new", "pipe"].iter().all(|name| !place.path(name).exists()));
    let quarantine = place.temporary.path().join("quarantine");
    wait(|| place.reports.count(|report| matches!(report, Report::Quarantined { .. })) == 3);
    assert_eq!(fs::metadata(&quarantine).expect("metadata").mode() & 0o777, 0o700);
    let mut texts: Vec<String> = fs::read_dir(&quarantine)
        .expect("lists")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_file())
        .map(|path| fs::read_to_string(path).expect("reads"))
        .collect();
    texts.sort();
    assert_eq!(texts, ["evil", "evil too"]);
    let quarantined = (ChangeKind::Deleted, "g".to_owned(), Author::Host(HostAct::Quarantine));
    assert!(place.ledger.told(0).contains(&quarantined));
    assert_eq!(place.scan(Depth::Full).suspects, 0);
    drop(watch);
}

#[test]
fn a_quarantine_within_the_root_or_none_at_all_is_refused() {
    let temporary = tempfile::tempdir().expect("a directory");
    fs::create_dir(temporary.path().join("within")).expect("makes");
    let mut config = RootConfig::new("r".parse().expect("a name"), temporary.path());
    config.policy = RootPolicy::Quarantine;
    let open = |config: &RootConfig| {
        let ledger = std::sync::Arc::new(Memory::default());
        WatchedRoot::open(config.clone(), ledger, std::sync::Arc::new(Reports::default()))
    };
    assert!(matches!(open(&config), Err(OpenError::NoQuarantine { .. })));
    config.quarantine = Some(temporary.path().join("within"));
    assert!(matches!(open(&config), Err(OpenError::QuarantineWithin { .. })));
}

#[test]
fn any_kept_version_can_be_put_back_by_hand() {
    let place = Place::new();
    place.write("f", "first");
    place.scan(Depth::Full);
    let first = place.known("f");
    place.write("f", "second");
    place.scan(Depth::Full);
    place.watched.restore(&entry("f"), first.as_ref()).expect("restores");
    assert_eq!(place.read("f"), "first");
    let last = place.ledger.told(0).pop().expect("a change");
    assert_eq!(last.2, Author::Host(HostAct::Restore));
    place.ledger.lock().blobs.clear();
    place.write("f", "third");
    let failed = place.watched.restore(&entry("f"), first.as_ref());
    assert!(failed.expect_err("it is gone").to_string().contains("no version of f"));
    assert_eq!(place.read("f"), "third");
}

#[test]
fn a_root_that_was_removed_is_filled_again_when_there_is_one() {
    let place = Place::policy(RootPolicy::Restore, tree);
    let watch = place.watch();
    fs::rename(place.path(""), place.temporary.path().join("away")).expect("moves");
    wait(|| matches!(watch.state(), foreshore_integrity::WatchState::Missing { .. }));
    wait(|| place.known("d/e/f").is_none());
    fs::create_dir(place.path("")).expect("makes");
    wait(|| fs::read_to_string(place.path("d/e/f")).is_ok_and(|text| text == "one"));
    wait(|| fs::read_link(place.path("l")).is_ok());
    drop(watch);
}

#[test]
fn what_was_changed_while_nobody_watched_is_put_back_at_the_start() {
    let place = Place::policy(RootPolicy::Restore, tree);
    drop(place.watch());
    place.write("g", "evil");
    place.write("new", "evil");
    let watch = place.watch();
    wait(|| place.read("g") == "two" && !place.path("new").exists());
    drop(watch);
}
