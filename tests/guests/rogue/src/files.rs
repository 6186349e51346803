//! Attempts on files, through the standard library and, where that would tidy a path up first,
//! through the raw interface.

use std::fs;
use std::io::Write as _;

use serde_json::{Value, json};
use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::{DescriptorFlags, OpenFlags, PathFlags};

use crate::{Seen, number, text};

fn said(error: std::io::Error) -> String {
    format!("{:?}: {error}", error.kind())
}

pub fn mounts(_: &Value) -> Seen {
    Ok(json!(get_directories().into_iter().map(|(_, path)| path).collect::<Vec<_>>()))
}

pub fn read(arguments: &Value) -> Seen {
    let bytes = fs::read(text(arguments, "path")).map_err(said)?;
    Ok(json!({"bytes": bytes.len(), "text": String::from_utf8_lossy(&bytes)}))
}

pub fn write(arguments: &Value) -> Seen {
    fs::write(text(arguments, "path"), text(arguments, "text")).map_err(said)?;
    Ok(json!("written"))
}

/// Appends pieces to one file until told to stop or stopped.
pub fn append_many(arguments: &Value) -> Seen {
    let mut file = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(text(arguments, "path"))
        .map_err(said)?;
    let piece = vec![b'a'; usize::try_from(number(arguments, "piece_bytes", 4_096)).unwrap_or(1)];
    let pieces = number(arguments, "pieces", 1_000_000);
    for n in 0..pieces {
        file.write_all(&piece).map_err(|error| format!("after {n} pieces: {}", said(error)))?;
    }
    file.flush().map_err(said)?;
    Ok(json!({"pieces": pieces}))
}

pub fn create_many(arguments: &Value) -> Seen {
    let directory = text(arguments, "path");
    for n in 0..number(arguments, "files", 1_000_000) {
        fs::write(format!("{directory}/entry-{n}"), "")
            .map_err(|error| format!("after {n} files: {}", said(error)))?;
    }
    Ok(json!("created"))
}

pub fn list(arguments: &Value) -> Seen {
    let mut names = Vec::new();
    for entry in fs::read_dir(text(arguments, "path")).map_err(said)? {
        names.push(entry.map_err(said)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(json!(names))
}

pub fn stat(arguments: &Value) -> Seen {
    let data = fs::symlink_metadata(text(arguments, "path")).map_err(said)?;
    Ok(json!({"bytes": data.len(), "file": data.is_file(), "directory": data.is_dir()}))
}

pub fn remove(arguments: &Value) -> Seen {
    let path = text(arguments, "path");
    fs::remove_file(path).or_else(|_| fs::remove_dir(path)).map_err(said)?;
    Ok(json!("removed"))
}

pub fn make_directory(arguments: &Value) -> Seen {
    fs::create_dir(text(arguments, "path")).map_err(said)?;
    Ok(json!("made"))
}

pub fn rename(arguments: &Value) -> Seen {
    fs::rename(text(arguments, "from"), text(arguments, "to")).map_err(said)?;
    Ok(json!("renamed"))
}

pub fn link(arguments: &Value) -> Seen {
    fs::hard_link(text(arguments, "from"), text(arguments, "to")).map_err(said)?;
    Ok(json!("linked"))
}

/// A symbolic link inside the first mount; the target is whatever the test says.
pub fn symlink(arguments: &Value) -> Seen {
    let (directory, _) = first_mount()?;
    directory
        .symlink_at(text(arguments, "target"), text(arguments, "name"))
        .map_err(|code| format!("{code:?}"))?;
    Ok(json!("linked"))
}

pub fn set_times(arguments: &Value) -> Seen {
    let (directory, _) = first_mount()?;
    use wasip2::filesystem::types::NewTimestamp;
    directory
        .set_times_at(
            PathFlags::empty(),
            text(arguments, "name"),
            NewTimestamp::Now,
            NewTimestamp::Now,
        )
        .map_err(|code| format!("{code:?}"))?;
    Ok(json!("set"))
}

/// `open-at` of the first mount with a path that is passed on as it is.
pub fn raw_open(arguments: &Value) -> Seen {
    let (directory, _) = first_mount()?;
    let flag = |name: &str| arguments[name].as_bool().unwrap_or(false);
    let mut open = OpenFlags::empty();
    open.set(OpenFlags::CREATE, flag("create"));
    open.set(OpenFlags::TRUNCATE, flag("truncate"));
    open.set(OpenFlags::DIRECTORY, flag("directory"));
    let mut access = DescriptorFlags::READ;
    access.set(DescriptorFlags::WRITE, flag("write"));
    access.set(DescriptorFlags::MUTATE_DIRECTORY, flag("mutate"));
    let follow = if flag("follow") { PathFlags::SYMLINK_FOLLOW } else { PathFlags::empty() };
    let path = match arguments["repeat"].as_u64() {
        Some(times) => text(arguments, "path").repeat(usize::try_from(times).unwrap_or(0)),
        None => text(arguments, "path").to_owned(),
    };
    let opened =
        directory.open_at(follow, &path, open, access).map_err(|code| format!("{code:?}"))?;
    let kind = opened.get_type().map_err(|code| format!("{code:?}"))?;
    let read =
        opened.read(1 << 20, 0).map(|(bytes, _)| String::from_utf8_lossy(&bytes).into_owned());
    Ok(json!({"type": format!("{kind:?}"), "text": read.ok()}))
}

fn first_mount() -> Result<(wasip2::filesystem::types::Descriptor, String), String> {
    get_directories().into_iter().next().ok_or_else(|| "no mount".to_owned())
}
