//! The mounts a call was granted, and the paths they cover.
//!
//! A path is normalized by its text alone, before anything is opened; that a link inside of a
//! mount does not lead out is the sandbox's business. The invariant: a `Place` lies in exactly
//! one mount, and its path has no `.`, no `..` and no empty part. Directories above the mounts
//! exist for looking only, and hold nothing but the way to the mounts.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::fault::{DenialCode, Reason};

/// Whether a mount can be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    ReadOnly,
    ReadWrite,
}

/// A directory of the host that the guest sees under a path.
#[derive(Clone, Debug)]
pub(crate) struct Mount {
    /// Without a slash at its end, so `/` itself is the empty text.
    prefix: String,
    access: Access,
    /// Where the standard library finds it: the same path in the sandbox, a temporary directory
    /// in tests.
    root: PathBuf,
}

/// All mounts of a call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mounts(Vec<Mount>);

/// What a path names.
#[derive(Debug)]
pub(crate) enum Spot {
    /// Inside of a mount.
    Place(Place),
    /// A directory above mounts.
    Above,
}

/// A path inside of a mount.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) access: Access,
    /// The mount itself.
    pub(crate) is_mount: bool,
    /// For the standard library.
    pub(crate) location: PathBuf,
}

impl Mount {
    pub(crate) fn new(path: &str, access: Access, root: PathBuf) -> Self {
        Self { prefix: path.trim_end_matches('/').to_owned(), access, root }
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

    /// Where a script starts that does not say where: in the only mount, else above them all.
    pub(crate) fn start(&self) -> String {
        match self.0.as_slice() {
            [only] if !only.prefix.is_empty() => only.prefix.clone(),
            _ => "/".to_owned(),
        }
    }

    /// What a normalized path names.
    ///
    /// # Errors
    /// A path that no mount covers and that leads to none.
    pub(crate) fn resolve(&self, path: &str) -> Result<Spot, Reason> {
        let rest_of = |mount: &Mount| mount.remainder(path).map(str::to_owned);
        let covering = self.0.iter().filter_map(|mount| Some((mount, rest_of(mount)?)));
        if let Some((mount, rest)) = covering.max_by_key(|(mount, _)| mount.prefix.len()) {
            let is_mount = rest.is_empty();
            let location = if is_mount { mount.root.clone() } else { mount.root.join(rest) };
            return Ok(Spot::Place(Place { access: mount.access, is_mount, location }));
        }
        // The root is there for everyone, even if nothing is mounted.
        if self.names_below(path).is_empty() && path != "/" {
            return Err(Reason::denied(DenialCode::NotGranted, path));
        }
        Ok(Spot::Above)
    }

    /// The first parts of the mounts' paths below a path.
    pub(crate) fn names_below(&self, path: &str) -> Vec<String> {
        let path = path.trim_end_matches('/');
        let below = |mount: &Mount| {
            let rest = mount.prefix.strip_prefix(path)?.strip_prefix('/')?;
            rest.split('/').next().map(str::to_owned)
        };
        let names: BTreeSet<_> = self.0.iter().filter_map(below).collect();
        names.into_iter().collect()
    }
}

/// The path in full, without `.`, `..`, doubled and trailing slashes.
pub(crate) fn absolute(directory: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let directory = if path.starts_with('/') { "" } else { directory };
    for part in directory.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
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

    #[test]
    fn a_path_is_taken_from_the_directory_and_normalized() {
        assert_eq!(absolute("/data/a", "../b//./c/"), "/data/b/c");
        assert_eq!(absolute("/data", "/etc/../x"), "/x");
        assert_eq!(absolute("/data", "../../.."), "/");
    }

    #[test]
    fn outside_of_all_mounts_nothing_is_granted() {
        let mounts = mounts(&["/data", "/mnt/a", "/mnt/b"]);
        for path in ["/etc", "/database", "/mnt/c"] {
            let reason = mounts.resolve(path).expect_err("not granted");
            assert_eq!(reason, Reason::denied(DenialCode::NotGranted, path));
        }
        for (path, expected) in [("/", vec!["data", "mnt"]), ("/mnt", vec!["a", "b"])] {
            assert!(matches!(mounts.resolve(path), Ok(Spot::Above)), "{path}");
            assert_eq!(mounts.names_below(path), expected);
        }
    }

    #[test]
    fn the_innermost_mount_wins() {
        let mounts = mounts(&["/data", "/data/private"]);
        match mounts.resolve("/data/private") {
            Ok(Spot::Place(place)) => assert!(place.is_mount),
            other => panic!("{other:?}"),
        }
        assert_eq!(mounts.start(), "/");
    }
}
