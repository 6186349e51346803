//! A walk over the files below a place, in the order of their names.
//!
//! Symbolic links are reported and never followed, so a walk ends and stays where it began.
//! Directories that cannot be read are counted, not fatal: a search is useful without them.
//! The invariant: memory is bounded by the depth of the tree times one directory's names.

use std::fs;
use std::path::{Path, PathBuf};
use std::vec;

use crate::failure::Failure;
use crate::ignore::{self, Rules, Verdict};
use crate::mounts::Place;
use crate::selection::Selection;

/// Names of one directory that are held at once; the rest is counted as left out.
const DIRECTORY_ENTRIES_MAX: usize = 50_000;
const DEPTH_MAX: usize = 128;

/// What is found at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    File,
    Directory,
    Symlink,
    Other,
}

impl From<fs::FileType> for Kind {
    fn from(file_type: fs::FileType) -> Self {
        if file_type.is_file() {
            Self::File
        } else if file_type.is_dir() {
            Self::Directory
        } else if file_type.is_symlink() {
            Self::Symlink
        } else {
            Self::Other
        }
    }
}

/// Names that start with a dot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hidden {
    Include,
    Skip,
}

/// `.gitignore` files on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gitignore {
    Respect,
    Disregard,
}

/// What a walk passes over.
#[derive(Debug)]
pub(crate) struct WalkOptions<'a> {
    pub(crate) hidden: Hidden,
    pub(crate) gitignore: Gitignore,
    pub(crate) selection: &'a Selection,
    /// How deep to go: 1 is the entries of the place itself.
    pub(crate) depth: usize,
}

/// One thing on the way.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) path: String,
    pub(crate) location: PathBuf,
    pub(crate) kind: Kind,
    /// The start of the part of `path` that is relative to where the walk began.
    relative_start: usize,
}

impl Entry {
    pub(crate) fn relative(&self) -> &str {
        &self.path[self.relative_start..]
    }
}

/// A walk that has begun.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    options: WalkOptions<'a>,
    levels: Vec<Level>,
    relative_start: usize,
    /// Rules of the directories above the start, each with the length of its path.
    outer_rules: Vec<(usize, Rules)>,
    unreadable: u64,
    left_out: u64,
}

#[derive(Debug)]
struct Level {
    path: String,
    location: PathBuf,
    names: vec::IntoIter<(String, Kind)>,
    rules: Option<Rules>,
}

impl<'a> Walk<'a> {
    /// # Errors
    /// The place is not a directory that can be read.
    pub(crate) fn begin(place: &Place<'_>, options: WalkOptions<'a>) -> Result<Self, Failure> {
        let mut walk = Self {
            relative_start: place.path.trim_end_matches('/').len() + 1,
            outer_rules: match options.gitignore {
                Gitignore::Respect => rules_above(place),
                Gitignore::Disregard => Vec::new(),
            },
            options,
            levels: Vec::new(),
            unreadable: 0,
            left_out: 0,
        };
        let path = place.path.trim_end_matches('/').to_owned();
        let level = walk.open(path, place.location.clone());
        walk.levels.push(level.map_err(|error| Failure::from_io(&error, &place.path))?);
        Ok(walk)
    }

    /// Directories and entries that could not be read.
    pub(crate) fn unreadable(&self) -> u64 {
        self.unreadable
    }

    /// Entries left out because a directory has too many, or a tree too many levels.
    pub(crate) fn left_out(&self) -> u64 {
        self.left_out
    }

    fn open(&mut self, path: String, location: PathBuf) -> std::io::Result<Level> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&location)? {
            let Ok(entry) = entry else {
                self.unreadable += 1;
                continue;
            };
            // A name that is not UTF-8 cannot be asked for again, so it is not shown either.
            let (Ok(name), Ok(file_type)) = (entry.file_name().into_string(), entry.file_type())
            else {
                self.unreadable += 1;
                continue;
            };
            if names.len() == DIRECTORY_ENTRIES_MAX {
                self.left_out += 1;
                continue;
            }
            names.push((name, Kind::from(file_type)));
        }
        names.sort_unstable_by(|left, right| left.0.cmp(&right.0));
        let has_rules = self.options.gitignore == Gitignore::Respect
            && names.iter().any(|(name, kind)| name == ".gitignore" && *kind == Kind::File);
        let rules = if has_rules { read_rules(&location.join(".gitignore")) } else { None };
        Ok(Level { path, location, names: names.into_iter(), rules })
    }

    fn is_passed_over(&self, name: &str, path: &str, kind: Kind) -> bool {
        if self.options.hidden == Hidden::Skip && name.starts_with('.') {
            return true;
        }
        if self.options.selection.excludes(&path[self.relative_start..]) {
            return true;
        }
        self.options.gitignore == Gitignore::Respect
            && (name == ".git" || self.is_ignored(path, kind == Kind::Directory))
    }

    /// The innermost directory whose rules have something to say decides.
    fn is_ignored(&self, path: &str, is_directory: bool) -> bool {
        let inner = self.levels.iter().rev().filter_map(|level| {
            level.rules.as_ref()?.verdict(&path[level.path.len() + 1..], is_directory)
        });
        let outer = self
            .outer_rules
            .iter()
            .rev()
            .filter_map(|(prefix, rules)| rules.verdict(&path[*prefix + 1..], is_directory));
        inner.chain(outer).next() == Some(Verdict::Ignored)
    }
}

impl Iterator for Walk<'_> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        loop {
            let level = self.levels.last_mut()?;
            let Some((name, kind)) = level.names.next() else {
                self.levels.pop();
                continue;
            };
            let path = format!("{}/{name}", level.path);
            let location = level.location.join(&name);
            if self.is_passed_over(&name, &path, kind) {
                continue;
            }
            if kind == Kind::Directory && self.levels.len() < self.options.depth {
                if self.levels.len() >= DEPTH_MAX {
                    self.left_out += 1;
                } else {
                    match self.open(path.clone(), location.clone()) {
                        Ok(level) => self.levels.push(level),
                        Err(_) => self.unreadable += 1,
                    }
                }
            }
            return Some(Entry { path, location, kind, relative_start: self.relative_start });
        }
    }
}

/// The rules of the directories from the mount down to the place, without the place itself.
fn rules_above(place: &Place<'_>) -> Vec<(usize, Rules)> {
    let mount = place.mount.path().trim_end_matches('/').len();
    let mut found = Vec::new();
    let mut location = place.location.clone();
    let mut path = place.path.trim_end_matches('/');
    while path.len() > mount {
        let Some((parent, _)) = path.rsplit_once('/') else { break };
        path = parent;
        location.pop();
        if let Some(rules) = read_rules(&location.join(".gitignore")) {
            found.push((path.len(), rules));
        }
    }
    found.reverse();
    found
}

fn read_rules(location: &Path) -> Option<Rules> {
    use std::io::Read;
    let mut bytes = Vec::new();
    fs::File::open(location).ok()?.take(ignore::FILE_MAX_BYTES).read_to_end(&mut bytes).ok()?;
    Some(Rules::parse(&String::from_utf8_lossy(&bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::Sandbox;

    fn walked(sandbox: &Sandbox, path: &str, options: WalkOptions<'_>) -> Vec<String> {
        let place = sandbox.mounts.resolve(path).expect("covered");
        Walk::begin(&place, options).expect("a directory").map(|entry| entry.path).collect()
    }

    fn options(selection: &Selection) -> WalkOptions<'_> {
        WalkOptions {
            hidden: Hidden::Skip,
            gitignore: Gitignore::Respect,
            selection,
            depth: usize::MAX,
        }
    }

    #[test]
    fn a_walk_is_sorted_and_passes_over_what_is_hidden_or_ignored() {
        let sandbox = Sandbox::with(&[
            (".gitignore", "target\n*.log\n"),
            (".git/config", ""),
            ("b.txt", ""),
            ("a/z.rs", ""),
            ("a/.secret", ""),
            ("a/x.log", ""),
            ("target/out", ""),
        ]);
        let all = Selection::parse(&[], &[]).expect("globs");
        assert_eq!(
            walked(&sandbox, "/data", options(&all)),
            ["/data/a", "/data/a/z.rs", "/data/b.txt"]
        );
    }

    #[test]
    fn the_rules_above_the_start_hold_below_it() {
        let sandbox = Sandbox::with(&[(".gitignore", "*.log\n"), ("a/x.log", ""), ("a/y.txt", "")]);
        let all = Selection::parse(&[], &[]).expect("globs");
        assert_eq!(walked(&sandbox, "/data/a", options(&all)), ["/data/a/y.txt"]);
    }

    #[test]
    fn an_inner_file_brings_back_what_an_outer_one_ignores() {
        let sandbox = Sandbox::with(&[
            (".gitignore", "*.log\n"),
            ("a/.gitignore", "!keep.log\n"),
            ("a/keep.log", ""),
            ("keep.log", ""),
        ]);
        let all = Selection::parse(&[], &[]).expect("globs");
        assert_eq!(walked(&sandbox, "/data", options(&all)), ["/data/a", "/data/a/keep.log"]);
    }

    #[test]
    fn everything_is_seen_where_everything_is_asked_for() {
        let sandbox = Sandbox::with(&[(".gitignore", "x\n"), (".h/x", "")]);
        let all = Selection::parse(&[], &[]).expect("globs");
        let options = WalkOptions {
            hidden: Hidden::Include,
            gitignore: Gitignore::Disregard,
            ..options(&all)
        };
        assert_eq!(
            walked(&sandbox, "/data", options),
            ["/data/.gitignore", "/data/.h", "/data/.h/x"]
        );
    }

    #[test]
    fn an_excluded_directory_is_not_entered() {
        let sandbox = Sandbox::with(&[("a/b/c", ""), ("d/c", "")]);
        let selection = Selection::parse(&[], &["b".to_owned()]).expect("globs");
        assert_eq!(
            walked(&sandbox, "/data", options(&selection)),
            ["/data/a", "/data/d", "/data/d/c"]
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_reported_and_not_followed() {
        let sandbox = Sandbox::with(&[("a/x", "")]);
        std::os::unix::fs::symlink(sandbox.root(), sandbox.root().join("a/loop")).expect("link");
        let all = Selection::parse(&[], &[]).expect("globs");
        assert_eq!(
            walked(&sandbox, "/data", options(&all)),
            ["/data/a", "/data/a/loop", "/data/a/x"]
        );
    }

    #[test]
    fn depth_is_counted_from_the_start() {
        let sandbox = Sandbox::with(&[("a/b/c", "")]);
        let all = Selection::parse(&[], &[]).expect("globs");
        let options = WalkOptions { depth: 1, ..options(&all) };
        assert_eq!(walked(&sandbox, "/data", options), ["/data/a"]);
    }
}
