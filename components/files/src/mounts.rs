//! The mounts a call was granted, and the paths they cover.
//!
//! A path is absolute and in the guest's eyes: `/data/notes.txt` where `/data` is a mount.
//! It is normalized by its text alone, before anything is opened; that a link inside of a
//! mount does not lead out is the sandbox's business, not checked here. The invariant: a
//! `Place` lies in exactly one mount, and its path has no `.`, no `..` and no empty part.

use std::path::PathBuf;

use crate::failure::Failure;

/// Whether a mount can be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Access {
    /// Nothing in it can be changed.
    ReadOnly,
    /// Files can be created, changed and deleted.
    ReadWrite,
}

/// A directory of the host that the guest sees under a path.
#[derive(Clone, Debug)]
pub(crate) struct Mount {
    /// Without a slash at its end, so `/` itself is the empty text.
    prefix: String,
    access: Access,
    /// Where the standard library finds it: the same path in the sandbox, a temporary
    /// directory in tests.
    root: PathBuf,
}

/// All mounts of a call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mounts(Vec<Mount>);

/// A path inside of a mount.
#[derive(Clone, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) mount: &'a Mount,
    /// Absolute and normalized, for the caller.
    pub(crate) path: String,
    /// For the standard library.
    pub(crate) location: PathBuf,
}

impl Mount {
    pub(crate) fn new(path: &str, access: Access, root: PathBuf) -> Self {
        Self { prefix: path.trim_end_matches('/').to_owned(), access, root }
    }

    pub(crate) fn path(&self) -> &str {
        if self.prefix.is_empty() { "/" } else { &self.prefix }
    }

    pub(crate) fn access(&self) -> Access {
        self.access
    }

    /// The part of a normalized path below this mount; `None` if it is not in it.
    fn remainder<'p>(&self, path: &'p str) -> Option<&'p str> {
        let rest = path.strip_prefix(&self.prefix)?;
        if rest.is_empty() { Some("") } else { rest.strip_prefix('/') }
    }
}

impl Mounts {
    pub(crate) fn new(mut mounts: Vec<Mount>) -> Self {
        mounts.sort_by(|left, right| left.prefix.cmp(&right.prefix));
        Self(mounts)
    }

    /// The place a path names.
    ///
    /// # Errors
    /// A path that is not absolute, and one that no mount covers.
    pub(crate) fn resolve(&self, path: &str) -> Result<Place<'_>, Failure> {
        let path = normalize(path)?;
        let covering = self.0.iter().filter_map(|mount| Some((mount, mount.remainder(&path)?)));
        let Some((mount, rest)) = covering.max_by_key(|(mount, _)| mount.prefix.len()) else {
            return Err(Failure::NotGranted { path });
        };
        let location = if rest.is_empty() { mount.root.clone() } else { mount.root.join(rest) };
        Ok(Place { mount, path, location })
    }

    /// The mounts at or below a path that is itself in no mount; `/` gives all of them.
    ///
    /// # Errors
    /// A path that is not absolute.
    pub(crate) fn below(&self, path: &str) -> Result<Vec<&Mount>, Failure> {
        let path = normalize(path)?;
        let path = path.trim_end_matches('/');
        let inside = |mount: &&Mount| {
            mount.prefix.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'))
        };
        Ok(self.0.iter().filter(inside).collect())
    }

    /// Where a search that starts at a path has to look: in the one place the path names,
    /// or in all mounts below it.
    ///
    /// # Errors
    /// A path that is not absolute, and one that has no mount at, above or below it.
    pub(crate) fn starting_at(&self, path: &str) -> Result<Vec<Place<'_>>, Failure> {
        let denied = match self.resolve(path) {
            Ok(place) => return Ok(vec![place]),
            Err(failure) => failure,
        };
        let below = self.below(path)?;
        if below.is_empty() {
            return Err(denied);
        }
        below.iter().map(|mount| self.resolve(mount.path())).collect()
    }
}

impl Place<'_> {
    /// The mount can be changed.
    ///
    /// # Errors
    /// It is read-only.
    pub(crate) fn writable(&self) -> Result<(), Failure> {
        match self.mount.access {
            Access::ReadWrite => Ok(()),
            Access::ReadOnly => Err(Failure::ReadOnly { path: self.path.clone() }),
        }
    }

    pub(crate) fn is_mount(&self) -> bool {
        self.path == self.mount.path()
    }
}

/// The path without `.`, `..`, doubled and trailing slashes.
fn normalize(path: &str) -> Result<String, Failure> {
    if !path.starts_with('/') {
        return Err(Failure::invalid(
            "/path",
            format!(
                "{path:?} is not absolute: a path starts with the path of a mount, such as \
                 /data/notes.txt; list \"/\" to see the mounts"
            ),
        ));
    }
    if path.contains('\0') {
        return Err(Failure::invalid("/path", "a path cannot contain a NUL character"));
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    Ok(format!("/{}", parts.join("/")))
}

#[cfg(target_os = "wasi")]
impl Mounts {
    /// The directories that the host opened for this call.
    pub(crate) fn granted() -> Self {
        use wasip2::filesystem::{preopens, types::DescriptorFlags};
        let mounts = preopens::get_directories().into_iter().map(|(directory, path)| {
            let writable = directory
                .get_flags()
                .is_ok_and(|flags| flags.contains(DescriptorFlags::MUTATE_DIRECTORY));
            let access = if writable { Access::ReadWrite } else { Access::ReadOnly };
            Mount::new(&path, access, PathBuf::from(&path))
        });
        Self::new(mounts.collect())
    }
}

#[cfg(not(target_os = "wasi"))]
impl Mounts {
    /// Outside of the sandbox nothing is granted.
    pub(crate) fn granted() -> Self {
        Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounts(paths: &[&str]) -> Mounts {
        let mount = |path: &&str| Mount::new(path, Access::ReadWrite, PathBuf::from(path));
        Mounts::new(paths.iter().map(mount).collect())
    }

    fn resolved(mounts: &Mounts, path: &str) -> String {
        mounts.resolve(path).expect("covered").path
    }

    #[test]
    fn a_path_is_normalized_before_it_is_looked_up() {
        let mounts = mounts(&["/data"]);
        assert_eq!(resolved(&mounts, "//data/./a/../b//c/"), "/data/b/c");
        assert_eq!(resolved(&mounts, "/../../data"), "/data");
    }

    #[test]
    fn a_path_outside_of_all_mounts_is_not_granted() {
        let mounts = mounts(&["/data"]);
        for path in ["/", "/etc/passwd", "/database", "/data/../etc/passwd", "/data/.."] {
            assert!(matches!(mounts.resolve(path), Err(Failure::NotGranted { .. })), "{path}");
        }
    }

    #[test]
    fn the_innermost_mount_wins() {
        let mounts = mounts(&["/data", "/data/private", "/"]);
        assert_eq!(
            mounts.resolve("/data/private/x").expect("covered").mount.path(),
            "/data/private"
        );
        assert_eq!(mounts.resolve("/data/x").expect("covered").mount.path(), "/data");
        assert_eq!(mounts.resolve("/x").expect("covered").mount.path(), "/");
    }

    #[test]
    fn a_relative_path_and_a_nul_are_the_callers_fault() {
        let mounts = mounts(&["/data"]);
        for path in ["", "data/a", "/data/a\0b"] {
            assert!(matches!(mounts.resolve(path), Err(Failure::Invalid { pointer: "/path", .. })));
        }
    }

    #[test]
    fn a_search_above_the_mounts_looks_in_each() {
        let mounts = mounts(&["/mnt/b", "/mnt/a"]);
        let paths: Vec<_> = mounts
            .starting_at("/mnt")
            .expect("mounts")
            .into_iter()
            .map(|place| place.path)
            .collect();
        assert_eq!(paths, ["/mnt/a", "/mnt/b"]);
        assert!(matches!(mounts.starting_at("/etc"), Err(Failure::NotGranted { .. })));
    }
}
