//! Why something could not be done to a path.
//!
//! The text of a fault is what a person knows from a terminal, and for a denial the code that the
//! host answers with the grant. It decides nothing: the sandbox does, and this says what its
//! answer means. The invariant: a path in a message is the guest's, never one of the host.

use std::fmt;
use std::io;

/// Why something could not be done to a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// As the script wrote it.
    pub(crate) path: String,
    pub(crate) reason: Reason,
}

/// What is in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Policy says no.
    Denied(Denial),
    /// The script may only look.
    LooksOnly,
    NotFound,
    Exists,
    IsDirectory,
    NotDirectory,
    NotEmpty,
    /// A mount itself, or the directories above the mounts: they are the host's.
    Mount,
    Other(String),
}

/// What policy does not allow, with the path in full, for the host to answer with the grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Denial {
    pub(crate) code: DenialCode,
    pub(crate) path: String,
}

/// The kinds of denial that a path can meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DenialCode {
    NotGranted,
    ReadOnly,
    Full,
}

impl Reason {
    pub(crate) fn denied(code: DenialCode, path: &str) -> Self {
        Self::Denied(Denial { code, path: path.to_owned() })
    }

    /// What an error of the file system means. `path` is the path in full.
    pub(crate) fn from_io(error: &io::Error, path: &str) -> Self {
        if error.raw_os_error() == Some(NOT_PERMITTED) {
            // So the sandbox answers where a path leads out of its mount by a link. That a mount
            // is read-only is known before anything is tried.
            return Self::denied(DenialCode::NotGranted, path);
        }
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound,
            io::ErrorKind::AlreadyExists => Self::Exists,
            io::ErrorKind::IsADirectory => Self::IsDirectory,
            io::ErrorKind::NotADirectory => Self::NotDirectory,
            io::ErrorKind::DirectoryNotEmpty => Self::NotEmpty,
            io::ErrorKind::ReadOnlyFilesystem => Self::denied(DenialCode::ReadOnly, path),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::denied(DenialCode::Full, path)
            }
            io::ErrorKind::PermissionDenied => {
                Self::Other("Permission denied by the file's own permissions".to_owned())
            }
            _ => Self::Other(error.to_string()),
        }
    }

    pub(crate) fn at(self, path: &str) -> Fault {
        Fault { path: path.to_owned(), reason: self }
    }
}

impl DenialCode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NotGranted => "mount_not_granted",
            Self::ReadOnly => "mount_read_only",
            Self::Full => "mount_bytes_exhausted",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.reason)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Denied(Denial { code: DenialCode::NotGranted, .. }) => {
                "denied, no mount covers it (mount_not_granted)"
            }
            Self::Denied(Denial { code: DenialCode::ReadOnly, .. }) => {
                "denied, its mount is read-only (mount_read_only)"
            }
            Self::Denied(Denial { code: DenialCode::Full, .. }) => {
                "denied, no space is left in its mount (mount_bytes_exhausted)"
            }
            Self::LooksOnly => "`look` changes nothing: use `run`",
            Self::NotFound => "No such file or directory",
            Self::Exists => "File exists",
            Self::IsDirectory => "Is a directory",
            Self::NotDirectory => "Not a directory",
            Self::NotEmpty => "Directory not empty",
            Self::Mount => "is a mount, or holds mounts: only what is in a mount can be changed",
            Self::Other(text) => text,
        })
    }
}

#[cfg(target_os = "wasi")]
const NOT_PERMITTED: i32 = 63;

#[cfg(not(target_os = "wasi"))]
const NOT_PERMITTED: i32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_leads_out_is_not_granted_and_permissions_of_the_host_are_no_denial() {
        let out = Reason::from_io(&io::Error::from_raw_os_error(NOT_PERMITTED), "/data/a");
        assert_eq!(out, Reason::denied(DenialCode::NotGranted, "/data/a"));
        let own = Reason::from_io(&io::Error::from(io::ErrorKind::PermissionDenied), "/data/a");
        assert!(matches!(own, Reason::Other(_)), "{own:?}");
    }

    #[test]
    fn a_message_names_the_path_as_it_was_written() {
        assert_eq!(Reason::NotFound.at("a/b").to_string(), "a/b: No such file or directory");
    }
}
