//! `write` and `append`: bytes into a file.
//!
//! A file that exists is replaced by writing a temporary file beside it and renaming that
//! over it, so that a reader sees the old text or the new one, and a call that is stopped
//! in the middle leaves the old. The price is that a rename gives the file new permissions:
//! `in_place` keeps them and gives up that promise. The invariant: no failure of ours
//! leaves a temporary file behind (a call that is killed may).

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::mounts::{Mounts, Place};

/// Arguments of `write`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WriteArguments {
    /// Absolute path of the file, such as `/data/notes.txt`, in a mount that is read-write.
    path: String,
    /// The new text of the file. Either this or `base64`.
    #[serde(default)]
    text: Option<String>,
    /// The new bytes of the file, in base64. Either this or `text`.
    #[serde(default)]
    base64: Option<String>,
    /// Create the file if it does not exist. Without it, a missing file is an error.
    #[serde(default = "yes")]
    create: bool,
    /// Replace the file if it exists. Without it, an existing file is an error.
    #[serde(default)]
    overwrite: bool,
    /// Create missing directories on the way.
    #[serde(default)]
    parents: bool,
    /// Write into the existing file instead of replacing it. Keeps its permissions (such as
    /// being executable), but a reader may see a half-written file.
    #[serde(default)]
    in_place: bool,
}

/// Arguments of `append`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AppendArguments {
    /// Absolute path of the file, in a mount that is read-write.
    path: String,
    /// What to add at the end. No line end is added to it.
    text: String,
    /// Create the file if it does not exist.
    #[serde(default = "yes")]
    create: bool,
}

/// What was written.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Written {
    /// Absolute path.
    pub(crate) path: String,
    /// How many bytes were written.
    pub(crate) written_bytes: u64,
    /// Size of the file now.
    pub(crate) size_bytes: u64,
    /// The file did not exist before.
    pub(crate) created: bool,
}

/// How a file comes by its new bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replacement {
    /// A temporary file is renamed over it.
    Atomic,
    /// It is cut to nothing and written.
    InPlace,
}

pub(crate) fn write(mounts: &Mounts, arguments: &WriteArguments) -> Result<Written, Failure> {
    let bytes = arguments.bytes()?;
    let place = file_place(mounts, &arguments.path)?;
    let exists = is_file(&place)?;
    match (exists, arguments.create, arguments.overwrite) {
        (true, _, false) => {
            return Err(Failure::impossible(format!(
                "{} already exists: say \"overwrite\": true to replace it, or use edit or append",
                place.path
            )));
        }
        (false, false, _) => return Err(Failure::NotFound { path: place.path }),
        _ => {}
    }
    if exists {
        let how = if arguments.in_place { Replacement::InPlace } else { Replacement::Atomic };
        replace(&place, &bytes, how)?;
    } else {
        if arguments.parents {
            create_parents(&place)?;
        }
        create(&place, &bytes)?;
    }
    let written_bytes = length(&bytes);
    Ok(Written { path: place.path, written_bytes, size_bytes: written_bytes, created: !exists })
}

pub(crate) fn append(mounts: &Mounts, arguments: &AppendArguments) -> Result<Written, Failure> {
    let place = file_place(mounts, &arguments.path)?;
    let exists = is_file(&place)?;
    if !exists && !arguments.create {
        return Err(Failure::NotFound { path: place.path });
    }
    let failed = |error: io::Error| failure(&error, &place);
    let mut file = OpenOptions::new()
        .append(true)
        .create(arguments.create)
        .open(&place.location)
        .map_err(failed)?;
    file.write_all(arguments.text.as_bytes()).map_err(failed)?;
    let size_bytes = file.metadata().map_err(failed)?.len();
    Ok(Written {
        written_bytes: length(arguments.text.as_bytes()),
        size_bytes,
        created: !exists,
        path: place.path,
    })
}

impl WriteArguments {
    fn bytes(&self) -> Result<Vec<u8>, Failure> {
        match (&self.text, &self.base64) {
            (Some(text), None) => Ok(text.as_bytes().to_vec()),
            (None, Some(base64)) => base64::engine::general_purpose::STANDARD
                .decode(base64)
                .map_err(|error| Failure::invalid("/base64", error.to_string())),
            _ => Err(Failure::invalid("/text", "give either \"text\" or \"base64\"")),
        }
    }
}

/// Replaces the bytes of a file that exists.
///
/// # Errors
/// The mount is read-only or full, or the file system says no.
pub(crate) fn replace(place: &Place<'_>, bytes: &[u8], how: Replacement) -> Result<(), Failure> {
    let outcome = match how {
        Replacement::InPlace => OpenOptions::new()
            .write(true)
            .truncate(true)
            .open(&place.location)
            .and_then(|mut file| file.write_all(bytes)),
        Replacement::Atomic => replace_atomically(&place.location, bytes),
    };
    outcome.map_err(|error| failure(&error, place))
}

fn replace_atomically(location: &Path, bytes: &[u8]) -> io::Result<()> {
    // Through a link, the file it points to is replaced, as a plain write would.
    let location = match fs::read_link(location) {
        Ok(target) => location.parent().unwrap_or(location).join(target),
        Err(_) => location.to_owned(),
    };
    let temporary = temporary_beside(&location);
    let outcome = write_new(&temporary, bytes).and_then(|()| fs::rename(&temporary, &location));
    if outcome.is_err() {
        // The first error is the one to report.
        drop(fs::remove_file(&temporary));
    }
    outcome
}

/// Creates a file that must not exist: two callers cannot both succeed.
fn create(place: &Place<'_>, bytes: &[u8]) -> Result<(), Failure> {
    let mut file =
        OpenOptions::new().write(true).create_new(true).open(&place.location).map_err(|error| {
            match error.kind() {
                io::ErrorKind::NotFound => Failure::impossible(format!(
                    "the directory of {} does not exist: say \"parents\": true to create it",
                    place.path
                )),
                _ => failure(&error, place),
            }
        })?;
    let outcome = file.write_all(bytes);
    drop(file);
    outcome.map_err(|error| {
        drop(fs::remove_file(&place.location));
        failure(&error, place)
    })
}

fn write_new(location: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file: File = OpenOptions::new().write(true).create_new(true).open(location)?;
    file.write_all(bytes)?;
    // The rename must not overtake the bytes, or a crash leaves an empty file.
    file.sync_all()
}

fn temporary_beside(location: &Path) -> PathBuf {
    let random = RandomState::new().hash_one(location);
    location.with_file_name(format!(".foreshore-{random:016x}.tmp"))
}

/// The place of a file that is to be changed.
///
/// # Errors
/// No mount covers it, its mount is read-only, or it is a mount itself.
pub(crate) fn file_place<'a>(mounts: &'a Mounts, path: &str) -> Result<Place<'a>, Failure> {
    let place = mounts.resolve(path)?;
    place.writable()?;
    if place.is_mount() {
        return Err(Failure::impossible(format!("{} is a mount, not a file", place.path)));
    }
    Ok(place)
}

/// Creates the directories above a place.
///
/// # Errors
/// The file system says no.
pub(crate) fn create_parents(place: &Place<'_>) -> Result<(), Failure> {
    match place.location.parent() {
        Some(parent) => fs::create_dir_all(parent).map_err(|error| failure(&error, place)),
        None => Ok(()),
    }
}

/// Whether there is a file; anything else there is an error.
fn is_file(place: &Place<'_>) -> Result<bool, Failure> {
    match fs::metadata(&place.location) {
        Ok(metadata) if metadata.is_file() => Ok(true),
        Ok(metadata) if metadata.is_dir() => {
            Err(Failure::impossible(format!("{} is a directory", place.path)))
        }
        Ok(_) => Err(Failure::impossible(format!("{} is not a regular file", place.path))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Failure::from_io(&error, &place.path)),
    }
}

fn failure(error: &io::Error, place: &Place<'_>) -> Failure {
    Failure::from_io(error, &place.path)
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::Sandbox;
    use serde_json::{Value, json};

    fn written(sandbox: &Sandbox, arguments: Value) -> Result<Written, Failure> {
        write(&sandbox.mounts, &serde_json::from_value(arguments).expect("arguments"))
    }

    #[test]
    fn a_new_file_is_created() {
        let sandbox = Sandbox::with(&[]);
        let result = written(&sandbox, json!({"path": "/data/a", "text": "hé"})).expect("written");
        assert_eq!((result.written_bytes, result.created), (3, true));
        assert_eq!(sandbox.text("a"), "hé");
    }

    #[test]
    fn an_existing_file_is_replaced_only_where_that_is_said() {
        let sandbox = Sandbox::with(&[("a", "old")]);
        let error =
            written(&sandbox, json!({"path": "/data/a", "text": "new"})).expect_err("exists");
        assert!(error.to_string().contains("\"overwrite\": true"), "{error}");
        assert_eq!(sandbox.text("a"), "old");
        let result =
            written(&sandbox, json!({"path": "/data/a", "text": "new", "overwrite": true}));
        assert!(!result.expect("written").created);
        assert_eq!(sandbox.text("a"), "new");
        assert_eq!(sandbox.names(), ["a"], "no temporary file is left");
    }

    #[test]
    fn a_missing_file_is_created_only_where_that_is_allowed() {
        let sandbox = Sandbox::with(&[]);
        let arguments = json!({"path": "/data/a", "text": "", "create": false, "overwrite": true});
        assert!(matches!(written(&sandbox, arguments), Err(Failure::NotFound { .. })));
        assert!(sandbox.names().is_empty());
    }

    #[test]
    fn missing_directories_are_created_on_request() {
        let sandbox = Sandbox::with(&[]);
        let error =
            written(&sandbox, json!({"path": "/data/a/b", "text": "x"})).expect_err("missing");
        assert!(error.to_string().contains("\"parents\": true"), "{error}");
        written(&sandbox, json!({"path": "/data/a/b", "text": "x", "parents": true}))
            .expect("written");
        assert_eq!(sandbox.text("a/b"), "x");
    }

    #[test]
    fn a_read_only_mount_is_not_written() {
        let sandbox = Sandbox::read_only(&[("a", "old")]);
        let arguments = json!({"path": "/data/a", "text": "new", "overwrite": true});
        assert!(matches!(
            written(&sandbox, arguments),
            Err(Failure::ReadOnly { path }) if path == "/data/a"
        ));
        assert_eq!(sandbox.text("a"), "old");
    }

    #[test]
    fn bytes_come_in_base64_and_never_with_text() {
        let sandbox = Sandbox::with(&[]);
        written(&sandbox, json!({"path": "/data/a", "base64": "AP8="})).expect("written");
        assert_eq!(fs::read(sandbox.root().join("a")).expect("a file"), [0, 0xFF]);
        for arguments in [
            json!({"path": "/data/b", "base64": "AP8=", "text": ""}),
            json!({"path": "/data/b"}),
            json!({"path": "/data/b", "base64": "?"}),
        ] {
            assert!(matches!(written(&sandbox, arguments), Err(Failure::Invalid { .. })));
        }
        assert_eq!(sandbox.names(), ["a"]);
    }

    #[cfg(unix)]
    #[test]
    fn writing_in_place_keeps_the_permissions() {
        use std::os::unix::fs::PermissionsExt;
        let sandbox = Sandbox::with(&[("run.sh", "old")]);
        let path = sandbox.root().join("run.sh");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("permissions");
        let arguments =
            json!({"path": "/data/run.sh", "text": "new", "overwrite": true, "in_place": true});
        written(&sandbox, arguments).expect("written");
        assert_eq!(sandbox.text("run.sh"), "new");
        assert_eq!(fs::metadata(path).expect("a file").permissions().mode() & 0o777, 0o755);
    }

    #[cfg(unix)]
    #[test]
    fn through_a_link_the_file_it_points_to_is_replaced() {
        let sandbox = Sandbox::with(&[("d/a", "old")]);
        std::os::unix::fs::symlink("d/a", sandbox.root().join("l")).expect("link");
        written(&sandbox, json!({"path": "/data/l", "text": "new", "overwrite": true}))
            .expect("written");
        assert_eq!(sandbox.text("d/a"), "new");
        assert!(fs::symlink_metadata(sandbox.root().join("l")).expect("l").is_symlink());
    }

    #[test]
    fn a_mount_and_a_directory_are_not_files() {
        let sandbox = Sandbox::with(&[("d/f", "")]);
        for path in ["/data", "/data/d"] {
            let arguments = json!({"path": path, "text": "", "overwrite": true});
            assert!(matches!(written(&sandbox, arguments), Err(Failure::Impossible { .. })));
        }
    }

    #[test]
    fn appending_adds_at_the_end() {
        let sandbox = Sandbox::with(&[("a", "1\n")]);
        let arguments = serde_json::from_value(json!({"path": "/data/a", "text": "2\n"}));
        let result = append(&sandbox.mounts, &arguments.expect("arguments")).expect("appended");
        assert_eq!((result.written_bytes, result.size_bytes, result.created), (2, 4, false));
        assert_eq!(sandbox.text("a"), "1\n2\n");
        let arguments =
            serde_json::from_value(json!({"path": "/data/b", "text": "x", "create": false}));
        assert!(matches!(
            append(&sandbox.mounts, &arguments.expect("arguments")),
            Err(Failure::NotFound { .. })
        ));
    }
}
