//! `files`: look at, search and change files in granted mounts.
//!
//! The functions here are the tools as a model sees them; what they do is in the modules, which
//! know no host and are tested as plain Rust. What may be touched is decided by the sandbox:
//! this component says which grant a refusal is about, and never works around one. The
//! invariant: a tool that is marked read-only changes nothing.

mod editing;
mod failure;
mod ignore;
mod lines;
mod listing;
#[cfg_attr(
    not(any(test, target_os = "wasi")),
    allow(dead_code, reason = "mounts exist in the sandbox and in tests")
)]
mod mounts;
mod nearest;
mod reading;
mod relocation;
#[cfg(test)]
mod sandbox;
mod searching;
mod selection;
mod text;
mod timestamp;
mod walk;
mod writing;

use foreshore_sdk::{Error, progress, tool};

use crate::editing::{EditArguments, Edited};
use crate::failure::Failure;
use crate::listing::{Facts, GlobArguments, ListArguments, Listing, Paths, StatArguments};
use crate::mounts::Mounts;
use crate::reading::{Contents, Range, RangeArguments, ReadArguments};
use crate::relocation::{DeleteArguments, Deleted, MoveArguments, Moved};
use crate::searching::{SearchArguments, SearchResult};
use crate::writing::{AppendArguments, WriteArguments, Written};

/// List a directory. Gives path, kind, size and time of change of each entry, sorted. Without
/// arguments it lists the mounts: the directories this tool may use, and whether they can be
/// changed. Links are shown and not followed.
///
/// Example: {"path": "/data/src", "depth": 2}
#[tool(read_only, idempotent)]
fn list(arguments: ListArguments) -> Result<Listing, Error> {
    Ok(listing::list(&Mounts::granted(), &arguments)?)
}

/// Read a text file from its start. Use read-range for a part of a large file, and search to find
/// the part. Text is UTF-8; invalid bytes are shown as U+FFFD and "lossy" says so. "truncated"
/// says whether the file goes on, and "next_offset_bytes" where.
///
/// Example: {"path": "/data/README.md"}
#[tool(read_only, idempotent)]
fn read(arguments: ReadArguments) -> Result<Contents, Error> {
    Ok(reading::read(&Mounts::granted(), &arguments)?)
}

/// Read a part of a file: lines or bytes. Lines are counted from 1 and both ends are included;
/// a negative start_line counts from the end. Bytes are counted from 0. Without a range it gives
/// the first 200 lines. Works on files of any size; a result is cut at 400 KiB.
///
/// Examples: {"path": "/data/a.rs", "start_line": 10, "end_line": 40} or
/// {"path": "/data/server.log", "start_line": -50} or
/// {"path": "/data/a.bin", "offset_bytes": 4096, "length_bytes": 512}
#[tool(name = "read-range", read_only, idempotent)]
fn read_range(arguments: RangeArguments) -> Result<Range, Error> {
    Ok(reading::read_range(&Mounts::granted(), &arguments)?)
}

/// Write a whole file. Creates it, and with "overwrite" replaces one that exists. A replaced file
/// appears at once and whole, with new permissions; "in_place" keeps the permissions instead. To
/// change a part of a file, use edit.
///
/// Example: {"path": "/data/notes.txt", "text": "first line\n", "overwrite": true}
#[tool(destructive, idempotent)]
fn write(arguments: WriteArguments) -> Result<Written, Error> {
    Ok(writing::write(&Mounts::granted(), &arguments)?)
}

/// Add text to the end of a file. Creates the file unless "create" is false. No line end is added.
///
/// Example: {"path": "/data/log.txt", "text": "one more line\n"}
#[tool]
fn append(arguments: AppendArguments) -> Result<Written, Error> {
    Ok(writing::append(&Mounts::granted(), &arguments)?)
}

/// Replace an exact text in a file. "old_text" has to be in the file exactly "expected_count"
/// times (default: once), with the same whitespace; otherwise nothing is changed and the error
/// shows how often and where it is, or which lines come near. Give enough of the lines around it
/// to make it unique. Everything else in the file stays as it is, byte by byte.
///
/// Example: {"path": "/data/a.rs", "old_text": "let n = 1;", "new_text": "let n = 2;"}
#[tool(destructive)]
fn edit(arguments: EditArguments) -> Result<Edited, Error> {
    Ok(editing::edit(&Mounts::granted(), &arguments)?)
}

/// Search files by regular expression. Gives each matching line with its path, number and column,
/// and the lines around it if "context" is set, sorted by path and line. Passes over binary,
/// hidden and git-ignored files unless told otherwise, and says how many files and bytes it
/// searched, what it skipped, and whether it stopped early.
///
/// Example: {"path": "/data", "pattern": "fn \\w+_test", "include": ["*.rs"], "context": 2}
#[tool(read_only, idempotent)]
fn search(arguments: SearchArguments) -> Result<SearchResult, Error> {
    let mut report = |files_scanned: u64, path: &str| {
        let files = u32::try_from(files_scanned).unwrap_or(u32::MAX);
        progress::report(f64::from(files), None, Some(&format!("{files} files, now {path}")));
    };
    Ok(searching::search(&Mounts::granted(), &arguments, &mut report)?)
}

/// Find files by name. Gives the paths that match a glob, sorted. Passes over hidden and
/// git-ignored files unless told otherwise. To search in files, use search.
///
/// Example: {"path": "/data", "pattern": "src/**/*.{rs,toml}"}
#[tool(read_only, idempotent)]
fn glob(arguments: GlobArguments) -> Result<Paths, Error> {
    Ok(listing::glob(&Mounts::granted(), &arguments)?)
}

/// Tell what is at a path. Gives kind, size, time of the last change, the mount that holds it and
/// whether that can be changed. A link is not followed.
///
/// Example: {"path": "/data/README.md"}
#[tool(read_only, idempotent)]
fn stat(arguments: StatArguments) -> Result<Facts, Error> {
    Ok(listing::stat(&Mounts::granted(), &arguments)?)
}

/// Move or rename a file or a directory. "to" is the full new path. A file that is there is
/// replaced only with "overwrite", a directory never. Between two mounts only files can be moved.
///
/// Example: {"from": "/data/a.txt", "to": "/data/old/a.txt", "parents": true}
#[tool(name = "move", destructive)]
fn move_entry(arguments: MoveArguments) -> Result<Moved, Error> {
    Ok(relocation::move_entry(&Mounts::granted(), &arguments)?)
}

/// Delete a file, a link or a directory. A directory has to be empty unless "recursive" is true.
/// It cannot be undone. Links are deleted, not what they point to.
///
/// Example: {"path": "/data/old", "recursive": true}
#[tool(destructive)]
fn delete(arguments: DeleteArguments) -> Result<Deleted, Error> {
    Ok(relocation::delete(&Mounts::granted(), &arguments)?)
}

foreshore_sdk::export!(
    list, read, read_range, write, append, edit, search, glob, stat, move_entry, delete
);

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NotGranted { path } => Self::denied_path(path),
            Failure::ReadOnly { path } => Self::denied_write(path),
            Failure::Full { path } => Self::denied("mount_bytes_exhausted", path),
            Failure::Invalid { pointer, message } => Self::invalid(pointer, message),
            Failure::NotFound { .. } => Self::not_found(failure.to_string()),
            Failure::Impossible { message } => Self::failed(message),
        }
    }
}
