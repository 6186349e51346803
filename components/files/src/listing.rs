//! `list`, `stat` and `glob`: what there is, without reading it.
//!
//! None of them follows a symbolic link. The invariant: entries come sorted by path,
//! directory by directory, and a result says whether it is all there is.

use std::fs;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::mounts::{Access, Mount, Mounts, Place};
use crate::selection::{Globs, Selection};
use crate::text;
use crate::timestamp::rfc3339;
use crate::walk::{Entry, Gitignore, Hidden, Kind, Walk, WalkOptions};

/// Arguments of `list`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListArguments {
    /// Absolute path of a directory, such as `/data/src`. `/` lists the mounts: the
    /// directories this tool has been granted.
    #[serde(default = "root")]
    path: String,
    /// How many levels to list: 1 is the directory itself, 2 also the directories in it.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 16))]
    depth: u32,
    /// Also list names that start with a dot.
    #[serde(default = "yes")]
    hidden: bool,
    /// The most entries to return.
    #[serde(default = "entries_default")]
    #[schemars(range(min = 1, max = 2000))]
    max_entries: u32,
}

/// Arguments of `glob`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GlobArguments {
    /// Absolute path of the directory to start from; `/` starts from every mount.
    #[serde(default = "root")]
    path: String,
    /// A glob: `*` is any part of a name, `**` any number of directories, `?` one
    /// character, `{a,b}` either, `[a-z]` a range. Without a slash it is matched against
    /// names at any depth (`*.rs`); with a slash against the path relative to `path`
    /// (`src/**/*.rs`).
    #[schemars(length(min = 1, max = 1000))]
    pattern: String,
    /// What to return.
    #[serde(default)]
    kind: Wanted,
    /// Also look at names that start with a dot.
    #[serde(default)]
    hidden: bool,
    /// Pass over what `.gitignore` files name.
    #[serde(default = "yes")]
    gitignore: bool,
    /// The most paths to return.
    #[serde(default = "entries_default")]
    #[schemars(range(min = 1, max = 2000))]
    max_entries: u32,
}

/// Arguments of `stat`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StatArguments {
    /// Absolute path of anything in a mount, such as `/data/notes.txt`.
    path: String,
}

/// What a glob returns.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Wanted {
    /// Files only.
    #[default]
    File,
    /// Directories only.
    Directory,
    /// Files, directories and links.
    Any,
}

/// What is in a directory.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Listing {
    /// Sorted by path, directory by directory.
    pub(crate) entries: Vec<Facts>,
    /// There is more than `entries` shows.
    pub(crate) truncated: bool,
    /// Entries that could not be read, or whose names are not UTF-8.
    pub(crate) unreadable: u64,
}

/// Paths that match a glob.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Paths {
    /// Absolute paths, sorted directory by directory.
    pub(crate) paths: Vec<String>,
    /// How many entries were looked at.
    pub(crate) scanned: u64,
    /// There may be more matches than `paths` shows.
    pub(crate) truncated: bool,
    /// Directories and entries that could not be read.
    pub(crate) unreadable: u64,
}

/// What is known of a path.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Facts {
    pub(crate) path: String,
    /// A link is not followed: its own facts are given.
    pub(crate) kind: Kind,
    /// Size of a file in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) size_bytes: Option<u64>,
    /// Time of the last change, RFC 3339 in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) modified: Option<String>,
    /// Whether it can be changed: given for a mount and by `stat`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) access: Option<Access>,
    /// The mount that holds it: given for a mount and by `stat`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mount: Option<String>,
}

pub(crate) fn list(mounts: &Mounts, arguments: &ListArguments) -> Result<Listing, Failure> {
    let place = match mounts.resolve(&arguments.path) {
        Ok(place) => place,
        Err(failure) => return list_mounts(mounts, &arguments.path, failure),
    };
    let everything = Selection::parse(&[], &[])?;
    let options = WalkOptions {
        hidden: if arguments.hidden { Hidden::Include } else { Hidden::Skip },
        gitignore: Gitignore::Disregard,
        selection: &everything,
        depth: count(arguments.depth.clamp(1, 16)),
    };
    let mut walk = Walk::begin(&place, options)?;
    let (entries, cut) = bounded(
        walk.by_ref(),
        arguments.max_entries,
        |facts: &Facts| &facts.path,
        |entry| Some(facts_of(entry)),
    );
    Ok(Listing { entries, truncated: cut || walk.left_out() > 0, unreadable: walk.unreadable() })
}

pub(crate) fn glob(mounts: &Mounts, arguments: &GlobArguments) -> Result<Paths, Failure> {
    let globs = Globs::parse(std::slice::from_ref(&arguments.pattern), "/pattern")?;
    let everything = Selection::parse(&[], &[])?;
    let mut found = Paths { paths: Vec::new(), scanned: 0, truncated: false, unreadable: 0 };
    for place in mounts.starting_at(&arguments.path)? {
        let options = WalkOptions {
            hidden: if arguments.hidden { Hidden::Include } else { Hidden::Skip },
            gitignore: if arguments.gitignore { Gitignore::Respect } else { Gitignore::Disregard },
            selection: &everything,
            depth: usize::MAX,
        };
        let mut walk = Walk::begin(&place, options)?;
        let left = arguments.max_entries.saturating_sub(bounded_count(found.paths.len()));
        let mut scanned = 0;
        let (paths, cut) = bounded(
            walk.by_ref(),
            left,
            |path: &String| path,
            |entry| {
                scanned += 1;
                let wanted = match arguments.kind {
                    Wanted::File => entry.kind == Kind::File,
                    Wanted::Directory => entry.kind == Kind::Directory,
                    Wanted::Any => true,
                };
                (wanted && globs.matches(entry.relative())).then(|| entry.path.clone())
            },
        );
        found.paths.extend(paths);
        found.scanned += scanned;
        found.truncated |= cut || walk.left_out() > 0;
        found.unreadable += walk.unreadable();
        if cut {
            break;
        }
    }
    Ok(found)
}

pub(crate) fn stat(mounts: &Mounts, arguments: &StatArguments) -> Result<Facts, Failure> {
    let place = match mounts.resolve(&arguments.path) {
        Ok(place) => place,
        Err(failure) => {
            // A directory that exists only because mounts lie below it.
            return if mounts.below(&arguments.path)?.is_empty() {
                Err(failure)
            } else {
                Ok(Facts {
                    path: arguments.path.clone(),
                    kind: Kind::Directory,
                    size_bytes: None,
                    modified: None,
                    access: Some(Access::ReadOnly),
                    mount: None,
                })
            };
        }
    };
    let metadata = metadata(&place)?;
    Ok(Facts {
        access: Some(place.mount.access()),
        mount: Some(place.mount.path().to_owned()),
        ..facts(place.path.clone(), &metadata)
    })
}

/// The facts of what is at a place itself, without following a link.
pub(crate) fn metadata(place: &Place<'_>) -> Result<fs::Metadata, Failure> {
    fs::symlink_metadata(&place.location).map_err(|error| Failure::from_io(&error, &place.path))
}

fn list_mounts(mounts: &Mounts, path: &str, failure: Failure) -> Result<Listing, Failure> {
    let below = mounts.below(path)?;
    if below.is_empty() && !path.trim_matches('/').is_empty() {
        return Err(failure);
    }
    let entries = below.into_iter().map(mount_facts).collect();
    Ok(Listing { entries, truncated: false, unreadable: 0 })
}

fn mount_facts(mount: &Mount) -> Facts {
    Facts {
        path: mount.path().to_owned(),
        kind: Kind::Directory,
        size_bytes: None,
        modified: None,
        access: Some(mount.access()),
        mount: Some(mount.path().to_owned()),
    }
}

fn facts_of(entry: &Entry) -> Facts {
    match fs::symlink_metadata(&entry.location) {
        Ok(metadata) => facts(entry.path.clone(), &metadata),
        // It went away between being listed and being looked at.
        Err(_) => Facts {
            path: entry.path.clone(),
            kind: entry.kind,
            size_bytes: None,
            modified: None,
            access: None,
            mount: None,
        },
    }
}

fn facts(path: String, metadata: &fs::Metadata) -> Facts {
    Facts {
        path,
        kind: Kind::from(metadata.file_type()),
        size_bytes: metadata.is_file().then_some(metadata.len()),
        modified: metadata.modified().ok().and_then(rfc3339),
        access: None,
        mount: None,
    }
}

/// What `select` keeps of the entries, up to a count and to what a result can carry; and
/// whether something was left out.
fn bounded<T>(
    entries: impl Iterator<Item = Entry>,
    max: u32,
    path: impl Fn(&T) -> &String,
    mut select: impl FnMut(&Entry) -> Option<T>,
) -> (Vec<T>, bool) {
    // The names of the fields and the values beside a path take about so much.
    const FACTS_BYTES: usize = 120;
    let mut kept = Vec::new();
    let mut bytes = 0;
    for entry in entries {
        let Some(item) = select(&entry) else { continue };
        bytes += text::json_length(path(&item)) + FACTS_BYTES;
        if bounded_count(kept.len()) >= max || bytes > text::RESULT_TEXT_MAX_BYTES {
            return (kept, true);
        }
        kept.push(item);
    }
    (kept, false)
}

fn bounded_count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn count(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn root() -> String {
    "/".to_owned()
}

fn one() -> u32 {
    1
}

fn yes() -> bool {
    true
}

fn entries_default() -> u32 {
    500
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::Sandbox;
    use serde_json::json;

    fn listed(sandbox: &Sandbox, arguments: serde_json::Value) -> Listing {
        let arguments = serde_json::from_value(arguments).expect("arguments");
        list(&sandbox.mounts, &arguments).expect("a directory")
    }

    fn globbed(sandbox: &Sandbox, arguments: serde_json::Value) -> Paths {
        let arguments = serde_json::from_value(arguments).expect("arguments");
        glob(&sandbox.mounts, &arguments).expect("a directory")
    }

    #[test]
    fn the_root_shows_the_mounts_and_their_access() {
        let listing = listed(&Sandbox::read_only(&[("a", "")]), json!({}));
        assert_eq!(listing.entries.len(), 1);
        assert_eq!(listing.entries[0].path, "/data");
        assert_eq!(listing.entries[0].access, Some(Access::ReadOnly));
    }

    #[test]
    fn a_directory_that_is_not_granted_is_denied() {
        let sandbox = Sandbox::with(&[]);
        let arguments = serde_json::from_value(json!({"path": "/etc"})).expect("arguments");
        assert!(matches!(
            list(&sandbox.mounts, &arguments),
            Err(Failure::NotGranted { path }) if path == "/etc"
        ));
    }

    #[test]
    fn entries_have_kind_size_and_time() {
        let listing = listed(
            &Sandbox::with(&[("a/b", "12345"), ("c", "")]),
            json!({"path": "/data", "depth": 2}),
        );
        let found: Vec<_> = listing
            .entries
            .iter()
            .map(|facts| (facts.path.as_str(), facts.kind, facts.size_bytes))
            .collect();
        assert_eq!(
            found,
            [
                ("/data/a", Kind::Directory, None),
                ("/data/a/b", Kind::File, Some(5)),
                ("/data/c", Kind::File, Some(0)),
            ]
        );
        assert!(listing.entries[1].modified.as_ref().expect("a time").ends_with('Z'));
        assert!(!listing.truncated);
    }

    #[test]
    fn a_listing_that_is_cut_says_so() {
        let sandbox = Sandbox::with(&[("a", ""), ("b", ""), ("c", "")]);
        let listing = listed(&sandbox, json!({"path": "/data", "max_entries": 2}));
        assert_eq!(listing.entries.len(), 2);
        assert!(listing.truncated);
        assert!(!listed(&sandbox, json!({"path": "/data", "max_entries": 3})).truncated);
    }

    #[test]
    fn a_glob_finds_files_below_every_mount() {
        let sandbox = Sandbox::with(&[("a/x.rs", ""), ("y.rs", ""), ("z.md", ""), ("d.rs/k", "")]);
        let found = globbed(&sandbox, json!({"pattern": "*.rs"}));
        assert_eq!(found.paths, ["/data/a/x.rs", "/data/y.rs"]);
        assert_eq!(found.scanned, 6);
        let found = globbed(&sandbox, json!({"pattern": "*.rs", "kind": "directory"}));
        assert_eq!(found.paths, ["/data/d.rs"]);
        let found = globbed(&sandbox, json!({"path": "/data/a", "pattern": "./x.rs"}));
        assert_eq!(found.paths, Vec::<String>::new(), "a pattern is relative, without a dot");
    }

    #[test]
    fn stat_tells_where_a_file_is_and_whether_it_can_change() {
        let sandbox = Sandbox::read_only(&[("a", "123")]);
        let arguments = serde_json::from_value(json!({"path": "/data/a"})).expect("arguments");
        let facts = stat(&sandbox.mounts, &arguments).expect("a file");
        assert_eq!(facts.size_bytes, Some(3));
        assert_eq!(facts.access, Some(Access::ReadOnly));
        assert_eq!(facts.mount.as_deref(), Some("/data"));
        let missing = serde_json::from_value(json!({"path": "/data/b"})).expect("arguments");
        assert!(matches!(stat(&sandbox.mounts, &missing), Err(Failure::NotFound { .. })));
    }
}
