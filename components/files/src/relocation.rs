//! `move` and `delete`: where a file is, and whether it still is.
//!
//! Deleting a directory that is not empty has to be asked for, and a mount is never moved
//! nor deleted. Links are moved and deleted as links. The invariant: nothing outside of the
//! named path is touched.

use std::fs;
use std::io;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::listing;
use crate::mounts::{Mounts, Place};
use crate::selection::Selection;
use crate::walk::{Gitignore, Hidden, Kind, Walk, WalkOptions};
use crate::writing;

/// Arguments of `move`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MoveArguments {
    /// Absolute path of the file or directory to move.
    from: String,
    /// Absolute path of its new place, with its new name.
    to: String,
    /// Replace a file that is already there.
    #[serde(default)]
    overwrite: bool,
    /// Create missing directories on the way to the new place.
    #[serde(default)]
    parents: bool,
}

/// Arguments of `delete`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeleteArguments {
    /// Absolute path of the file, link or directory to delete.
    path: String,
    /// Delete a directory with everything in it. Without it, a directory has to be empty.
    #[serde(default)]
    recursive: bool,
}

/// What was moved.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Moved {
    /// Absolute path where it was.
    pub(crate) from: String,
    /// Absolute path where it is.
    pub(crate) to: String,
    /// A file that was there was replaced.
    pub(crate) replaced: bool,
}

/// What was deleted.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Deleted {
    /// Absolute path.
    pub(crate) path: String,
    /// Files and links deleted.
    pub(crate) files: u64,
    /// Directories deleted.
    pub(crate) directories: u64,
}

pub(crate) fn move_entry(mounts: &Mounts, arguments: &MoveArguments) -> Result<Moved, Failure> {
    let from = writing::file_place(mounts, &arguments.from)?;
    let to = writing::file_place(mounts, &arguments.to)?;
    let kind = Kind::from(listing::metadata(&from)?.file_type());
    if to.path.strip_prefix(&from.path).is_some_and(|rest| rest.starts_with('/')) {
        return Err(Failure::invalid("/to", format!("{} lies in {}", to.path, from.path)));
    }
    let replaced = from.path != to.path && check_target(&to, arguments.overwrite)?;
    if arguments.parents {
        writing::create_parents(&to)?;
    }
    match fs::rename(&from.location, &to.location) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            move_between_mounts(&from, &to, kind)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Failure::impossible(format!(
                "the directory of {} does not exist: say \"parents\": true to create it",
                to.path
            )));
        }
        Err(error) => return Err(Failure::from_io(&error, &to.path)),
    }
    Ok(Moved { from: from.path, to: to.path, replaced })
}

pub(crate) fn delete(mounts: &Mounts, arguments: &DeleteArguments) -> Result<Deleted, Failure> {
    let place = writing::file_place(mounts, &arguments.path)?;
    let kind = Kind::from(listing::metadata(&place)?.file_type());
    let failed = |error: io::Error| Failure::from_io(&error, &place.path);
    if kind != Kind::Directory {
        fs::remove_file(&place.location).map_err(failed)?;
        return Ok(Deleted { path: place.path, files: 1, directories: 0 });
    }
    if arguments.recursive {
        return delete_tree(&place);
    }
    match fs::remove_dir(&place.location) {
        Ok(()) => Ok(Deleted { path: place.path, files: 0, directories: 1 }),
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
            Err(Failure::impossible(format!(
                "{} is a directory that is not empty: say \"recursive\": true to delete it with \
                 everything in it",
                place.path
            )))
        }
        Err(error) => Err(failed(error)),
    }
}

/// Whether a file at the target will be replaced.
fn check_target(to: &Place<'_>, overwrite: bool) -> Result<bool, Failure> {
    match fs::symlink_metadata(&to.location) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Failure::from_io(&error, &to.path)),
        Ok(metadata) if metadata.is_dir() => Err(Failure::impossible(format!(
            "{} is a directory: give the full new path, with the name",
            to.path
        ))),
        Ok(_) if overwrite => Ok(true),
        Ok(_) => Err(Failure::impossible(format!(
            "{} already exists: say \"overwrite\": true to replace it",
            to.path
        ))),
    }
}

/// A rename does not reach from one file system to another; for one file a copy does.
fn move_between_mounts(from: &Place<'_>, to: &Place<'_>, kind: Kind) -> Result<(), Failure> {
    if kind != Kind::File {
        return Err(Failure::impossible(format!(
            "{} cannot be moved to another mount: only files can",
            from.path
        )));
    }
    fs::copy(&from.location, &to.location).map_err(|error| Failure::from_io(&error, &to.path))?;
    fs::remove_file(&from.location).map_err(|error| Failure::from_io(&error, &from.path))
}

fn delete_tree(place: &Place<'_>) -> Result<Deleted, Failure> {
    let mut deleted = Deleted { path: place.path.clone(), files: 0, directories: 0 };
    let everything = Selection::parse(&[], &[])?;
    let options = WalkOptions {
        hidden: Hidden::Include,
        gitignore: Gitignore::Disregard,
        selection: &everything,
        depth: usize::MAX,
    };
    let mut walk = Walk::begin(place, options)?;
    // A walk names a directory before what is in it, so directories go last, backwards.
    let mut directories = Vec::new();
    for entry in walk.by_ref() {
        if entry.kind == Kind::Directory {
            directories.push((entry.path, entry.location));
            continue;
        }
        fs::remove_file(&entry.location).map_err(|error| Failure::from_io(&error, &entry.path))?;
        deleted.files += 1;
    }
    if walk.left_out() > 0 || walk.unreadable() > 0 {
        return Err(Failure::impossible(format!(
            "{}: {} files were deleted, but some entries could not be read; delete again to go on",
            place.path, deleted.files
        )));
    }
    directories.insert(0, (place.path.clone(), place.location.clone()));
    for (path, location) in directories.into_iter().rev() {
        fs::remove_dir(location).map_err(|error| Failure::from_io(&error, &path))?;
        deleted.directories += 1;
    }
    Ok(deleted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::Sandbox;
    use serde_json::{Value, json};

    fn moved(sandbox: &Sandbox, arguments: Value) -> Result<Moved, Failure> {
        move_entry(&sandbox.mounts, &serde_json::from_value(arguments).expect("arguments"))
    }

    fn deleted(sandbox: &Sandbox, arguments: Value) -> Result<Deleted, Failure> {
        delete(&sandbox.mounts, &serde_json::from_value(arguments).expect("arguments"))
    }

    #[test]
    fn a_file_and_a_directory_are_moved() {
        let sandbox = Sandbox::with(&[("a", "1"), ("d/f", "2")]);
        moved(&sandbox, json!({"from": "/data/a", "to": "/data/d/a"})).expect("moved");
        moved(&sandbox, json!({"from": "/data/d", "to": "/data/e"})).expect("moved");
        assert_eq!(sandbox.names(), ["e"]);
        assert_eq!((sandbox.text("e/a"), sandbox.text("e/f")), ("1".into(), "2".into()));
    }

    #[test]
    fn what_is_there_is_replaced_only_where_that_is_said() {
        let sandbox = Sandbox::with(&[("a", "1"), ("b", "2"), ("d/f", "")]);
        let error =
            moved(&sandbox, json!({"from": "/data/a", "to": "/data/b"})).expect_err("exists");
        assert!(error.to_string().contains("\"overwrite\": true"), "{error}");
        let error = moved(&sandbox, json!({"from": "/data/a", "to": "/data/d", "overwrite": true}));
        assert!(matches!(error, Err(Failure::Impossible { .. })), "never a directory");
        let result =
            moved(&sandbox, json!({"from": "/data/a", "to": "/data/b", "overwrite": true}));
        assert!(result.expect("moved").replaced);
        assert_eq!(sandbox.text("b"), "1");
    }

    #[test]
    fn a_directory_is_not_moved_into_itself() {
        let sandbox = Sandbox::with(&[("d/f", "")]);
        let result = moved(&sandbox, json!({"from": "/data/d", "to": "/data/d/e"}));
        assert!(matches!(result, Err(Failure::Invalid { pointer: "/to", .. })));
    }

    #[test]
    fn both_ends_of_a_move_have_to_be_granted() {
        let sandbox = Sandbox::with(&[("a", "")]);
        for (from, to) in [("/data/a", "/tmp/a"), ("/tmp/a", "/data/b")] {
            let result = moved(&sandbox, json!({"from": from, "to": to}));
            assert!(matches!(result, Err(Failure::NotGranted { .. })), "{from} {to}");
        }
        let sandbox = Sandbox::read_only(&[("a", "")]);
        let result = moved(&sandbox, json!({"from": "/data/a", "to": "/data/b"}));
        assert!(matches!(result, Err(Failure::ReadOnly { .. })));
    }

    #[test]
    fn a_directory_with_something_in_it_has_to_be_asked_for() {
        let sandbox = Sandbox::with(&[("d/e/f", ""), ("d/.g", ""), ("h", "")]);
        let error = deleted(&sandbox, json!({"path": "/data/d"})).expect_err("not empty");
        assert!(error.to_string().contains("\"recursive\": true"), "{error}");
        let result =
            deleted(&sandbox, json!({"path": "/data/d", "recursive": true})).expect("deleted");
        assert_eq!((result.files, result.directories), (2, 2));
        assert_eq!(sandbox.names(), ["h"]);
    }

    #[test]
    fn a_file_and_an_empty_directory_are_deleted() {
        let sandbox = Sandbox::with(&[("a", "")]);
        fs::create_dir(sandbox.root().join("d")).expect("a directory");
        assert_eq!(deleted(&sandbox, json!({"path": "/data/a"})).expect("deleted").files, 1);
        assert_eq!(deleted(&sandbox, json!({"path": "/data/d"})).expect("deleted").directories, 1);
        assert!(matches!(
            deleted(&sandbox, json!({"path": "/data/a"})),
            Err(Failure::NotFound { .. })
        ));
        assert!(sandbox.names().is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn what_a_link_points_to_is_left_alone() {
        let outside = tempfile::tempdir().expect("a directory");
        fs::write(outside.path().join("keep"), "").expect("a file");
        let sandbox = Sandbox::with(&[("d/f", "")]);
        std::os::unix::fs::symlink(outside.path(), sandbox.root().join("d/link")).expect("link");
        let result =
            deleted(&sandbox, json!({"path": "/data/d", "recursive": true})).expect("deleted");
        assert_eq!(result.files, 2);
        assert!(outside.path().join("keep").exists());
    }

    #[test]
    fn a_mount_is_neither_moved_nor_deleted() {
        let sandbox = Sandbox::with(&[("a", "")]);
        assert!(deleted(&sandbox, json!({"path": "/data", "recursive": true})).is_err());
        assert!(moved(&sandbox, json!({"from": "/data", "to": "/data/b"})).is_err());
        assert_eq!(sandbox.names(), ["a"]);
    }
}
