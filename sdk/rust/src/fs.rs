//! Why a file operation failed, in terms that the caller can act on.
//!
//! A path in no mount does not exist for a guest: the host shows it only what it may see. This
//! module asks which directories there are, and so tells "not granted" from "not there". It is
//! for the error path only; a tool reads and writes with [`std::fs`].

use std::io;
use std::path::{Component, Path, PathBuf};

use crate::Error;

/// What a failed operation wanted of the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To look.
    Read,
    /// To change.
    Write,
}

/// Explains why an operation on `path` failed: [`Error::Denied`] where no mount covers the path,
/// its mount is read-only or its quota is used up, [`Error::NotFound`] where nothing is there,
/// [`Error::Failed`] for the rest, each with the path in it.
///
/// ```no_run
/// use foreshore_sdk::fs::{Access, explain};
/// # fn read(path: &str) -> Result<String, foreshore_sdk::Error> {
/// std::fs::read_to_string(path).map_err(|error| explain(path, &error, Access::Read))
/// # }
/// ```
pub fn explain(path: impl AsRef<Path>, error: &io::Error, access: Access) -> Error {
    explain_within(&mounts(), path.as_ref(), error, access)
}

/// The directories that are granted to this component, as guests see them.
pub fn mounts() -> Vec<PathBuf> {
    #[cfg(target_family = "wasm")]
    let directories = wasip2::filesystem::preopens::get_directories();
    // Outside a component nothing is hidden.
    #[cfg(not(target_family = "wasm"))]
    let directories = [((), "/".to_owned()), ((), ".".to_owned())];
    directories.into_iter().map(|(_, path)| PathBuf::from(path)).collect()
}

fn explain_within(mounts: &[PathBuf], path: &Path, error: &io::Error, access: Access) -> Error {
    let shown = path.display();
    if !mounts.iter().any(|mount| covers(mount, path)) {
        return Error::denied_path(path);
    }
    match (error.kind(), access) {
        (io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem, Access::Write) => {
            Error::denied_write(path)
        }
        (io::ErrorKind::QuotaExceeded, _) => {
            Error::denied("mount_bytes_exhausted", shown.to_string())
        }
        // Out of the mount by `..` or a link.
        (io::ErrorKind::PermissionDenied, Access::Read) => Error::denied_path(path),
        (io::ErrorKind::NotFound, _) => Error::not_found(format!("{shown}: nothing is there")),
        _ => Error::failed(format!("{shown}: {error}")),
    }
}

/// Whether the path, taken without looking at any file, lies in the mount.
fn covers(mount: &Path, path: &Path) -> bool {
    let (mount, path) = (without_dots(mount), without_dots(path));
    matches!((mount, path), (Some(mount), Some(path)) if path.starts_with(&mount))
}

/// The path without `.` and `..`; `None` if it leads above where it starts. A relative path is
/// one from the root: a guest has no other working directory.
fn without_dots(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => plain.push(name),
            Component::ParentDir => {
                if !plain.pop() {
                    return None;
                }
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(path: &str, kind: io::ErrorKind, access: Access) -> Error {
        let mounts = [PathBuf::from("/data"), PathBuf::from("/notes")];
        explain_within(&mounts, Path::new(path), &io::Error::from(kind), access)
    }

    #[test]
    fn not_granted_and_not_there_are_told_apart() {
        let missing = io::ErrorKind::NotFound;
        for path in ["/etc/passwd", "/database/x", "/data/../etc/passwd", "/../data", "etc"] {
            let error = explained(path, missing, Access::Read);
            assert_eq!(error, Error::denied_path(path), "{path}");
        }
        for path in ["/data/x", "data/x", "/data/a/../x", "/./notes/x"] {
            let error = explained(path, missing, Access::Read);
            assert!(matches!(error, Error::NotFound(_)), "{path}: {error:?}");
        }
    }

    #[test]
    fn a_refused_write_in_a_mount_means_that_it_is_read_only() {
        let denied = io::ErrorKind::PermissionDenied;
        let write = explained("/data/x", denied, Access::Write);
        assert_eq!(write, Error::denied_write("/data/x"));
        let read = explained("/data/link", denied, Access::Read);
        assert_eq!(read, Error::denied_path("/data/link"));
    }

    #[test]
    fn a_quota_that_is_used_up_is_a_denial() {
        let error = explained("/data/x", io::ErrorKind::QuotaExceeded, Access::Write);
        assert_eq!(error, Error::denied("mount_bytes_exhausted", "/data/x"));
    }

    #[test]
    fn other_faults_stay_what_they_are() {
        let error = explained("/data/x", io::ErrorKind::IsADirectory, Access::Read);
        assert!(
            matches!(&error, Error::Failed(text) if text.starts_with("/data/x: ")),
            "{error:?}"
        );
    }
}
