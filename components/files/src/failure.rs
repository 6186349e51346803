//! Why a file operation was not done.
//!
//! The tools' own vocabulary, so that their logic can be tested without a host. It makes no
//! decision about grants: the sandbox does, and this says what its answer means. The
//! invariant: each message names the path as the caller wrote it, never a path of the host.

use std::io;

/// Why a file operation was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// No mount covers the path, or a link leads out of the mount.
    #[error("no mount covers {path}")]
    NotGranted { path: String },
    /// The mount is read-only.
    #[error("the mount that holds {path} is read-only")]
    ReadOnly { path: String },
    /// The mount's quota, or the disk behind it, is used up.
    #[error("no space left in the mount that holds {path}")]
    Full { path: String },
    /// The arguments are at fault.
    #[error("{message}")]
    Invalid { pointer: &'static str, message: String },
    /// Nothing is there.
    #[error("{path} does not exist")]
    NotFound { path: String },
    /// The operation cannot be done to what is there.
    #[error("{message}")]
    Impossible { message: String },
}

impl Failure {
    pub(crate) fn invalid(pointer: &'static str, message: impl Into<String>) -> Self {
        Self::Invalid { pointer, message: message.into() }
    }

    pub(crate) fn impossible(message: impl Into<String>) -> Self {
        Self::Impossible { message: message.into() }
    }

    /// What an error of the file system means for the caller.
    pub(crate) fn from_io(error: &io::Error, path: &str) -> Self {
        let path = path.to_owned();
        if error.raw_os_error() == Some(errno::NOT_PERMITTED) {
            // The sandbox answers so where a path leads out of its mount by a link. That a
            // mount is read-only is known before anything is tried: see `Place::writable`.
            return Self::NotGranted { path };
        }
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound { path },
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { path },
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path },
            io::ErrorKind::PermissionDenied => Self::impossible(format!(
                "{path}: the file system refuses access; the mount is granted, so its \
                 permissions on the host are the reason"
            )),
            io::ErrorKind::NotADirectory => {
                Self::impossible(format!("{path}: a part of this path is not a directory"))
            }
            io::ErrorKind::IsADirectory => Self::impossible(format!("{path} is a directory")),
            io::ErrorKind::AlreadyExists => Self::impossible(format!("{path} already exists")),
            io::ErrorKind::DirectoryNotEmpty => Self::impossible(format!("{path} is not empty")),
            io::ErrorKind::InvalidFilename => {
                Self::impossible(format!("{path}: a name in this path is too long"))
            }
            _ => Self::impossible(format!("{path}: {error}")),
        }
    }
}

#[cfg(target_os = "wasi")]
mod errno {
    pub(super) const NOT_PERMITTED: i32 = 63;
}

#[cfg(not(target_os = "wasi"))]
mod errno {
    pub(super) const NOT_PERMITTED: i32 = 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_leads_out_is_not_granted() {
        let error = io::Error::from_raw_os_error(errno::NOT_PERMITTED);
        assert!(matches!(
            Failure::from_io(&error, "/data/a"),
            Failure::NotGranted { path } if path == "/data/a"
        ));
    }

    #[test]
    fn the_hosts_own_permissions_are_no_denial() {
        let error = io::Error::from(io::ErrorKind::PermissionDenied);
        assert!(matches!(Failure::from_io(&error, "/data/a"), Failure::Impossible { .. }));
    }
}
