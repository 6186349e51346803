//! What a component may touch. An empty grant is the default and allows nothing.

mod memory;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::component::ComponentRef;
use crate::denial::{Denial, DenialCode};
use crate::http_rule::HttpRule;
use crate::limits::Limit;
use crate::secret::SecretUse;
pub use memory::{
    MemoryGrant, NamespaceGrant, NamespacePattern, NamespacePatternError, bucket, keyvalue_grant,
    memory_grant,
};

/// Everything a component was granted. Deny is the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// Directories.
    pub mounts: Vec<Mount>,
    /// Outgoing HTTP; `None` means that `wasi:http` is not granted at all.
    pub http: Option<HttpGrant>,
    /// Values for `wasi:config/store`; `None` means that it is not granted at all.
    pub config: Option<BTreeMap<String, String>>,
    /// Namespaces of memory; `None` means that `foreshore:memory` is not granted at all.
    pub memory: Option<MemoryGrant>,
    /// A bucket of its own for `wasi:keyvalue`.
    pub keyvalue: bool,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// What its clocks show.
    pub clock: Clock,
}

/// A directory of the host, shown to the guest under a path of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The directory on the host.
    pub host: PathBuf,
    /// Where the guest sees it.
    pub guest: GuestPath,
    /// What it may do there.
    pub access: Access,
    /// The most bytes that all files of the mount may hold together.
    pub bytes_max: Limit,
    /// The most files and directories that the mount may hold.
    pub entries_max: Limit,
}

impl Mount {
    /// Quota on bytes where the operator names none: 256 MiB.
    pub const DEFAULT_BYTES_MAX: Limit = const { Limit::new(256 << 20).expect("not zero") };
    /// Quota on entries where the operator names none.
    pub const DEFAULT_ENTRIES_MAX: Limit = const { Limit::new(100_000).expect("not zero") };
}

/// What a guest may do in a mount or a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read and list.
    ReadOnly,
    /// Also create, change and remove.
    ReadWrite,
}

impl Access {
    /// The word in configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadOnly => "read-only",
            Self::ReadWrite => "read-write",
        }
    }
}

/// An absolute, normal path in the guest's eyes: `/data`, never `/data/../x` or `/data/`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GuestPath(String);

impl GuestPath {
    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `path`, once normalized, is this path or below it.
    pub fn covers(&self, path: &str) -> bool {
        let path = normalized(path);
        self.0 == "/"
            || path == self.0
            || path.strip_prefix(&self.0).is_some_and(|rest| rest.starts_with('/'))
    }
}

impl fmt::Debug for GuestPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for GuestPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for GuestPath {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, GrantError> {
        let path =
            text.strip_suffix('/').filter(|rest| !rest.is_empty() && *rest != "/").unwrap_or(text);
        let normal = path.starts_with('/')
            && (path == "/" || path[1..].split('/').all(|part| !matches!(part, "" | "." | "..")))
            && !path.contains(['\0', '\\', ':']);
        if normal {
            Ok(Self(path.to_owned()))
        } else {
            Err(GrantError::GuestPath { text: text.to_owned() })
        }
    }
}

/// `.` and `..` resolved by text alone; the result never leaves the root.
fn normalized(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// Where outgoing HTTP may go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpGrant {
    /// A request is let out if one of these allows it.
    pub allow: Vec<HttpRule>,
    /// The second key: loopback, private and other special addresses that an allowed name may
    /// lead to. Global addresses need no second key.
    pub networks: Vec<ipnet::IpNet>,
    /// Secrets that the host puts into requests; the component never sees one.
    pub secrets: Vec<SecretUse>,
}

/// What a guest's clocks show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clock {
    /// Both clocks move in steps of a millisecond, too coarse to time a cache line.
    #[default]
    Coarse,
    /// The host's own resolution.
    Fine,
}

/// A grant that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GrantError {
    /// Not absolute or not normal.
    #[error(
        "guest path \"{text}\" is refused: write an absolute path without \".\", \"..\", \":\" or \"\\\", such as /data"
    )]
    GuestPath {
        /// What was given.
        text: String,
    },
    /// Two mounts in one place.
    #[error("two mounts share the guest path \"{path}\"")]
    MountTwice {
        /// Where.
        path: GuestPath,
    },
    /// Not `HOST:GUEST[:ro|:rw]`.
    #[error(
        "mount \"{text}\" is refused: write HOST:GUEST:ro or HOST:GUEST:rw, such as ./notes:/notes:ro"
    )]
    MountForm {
        /// What was given.
        text: String,
    },
}

impl FromStr for Mount {
    type Err = GrantError;

    /// The form of the command line, `HOST:GUEST[:ro|:rw]`; read-only unless said otherwise.
    fn from_str(text: &str) -> Result<Self, GrantError> {
        let form = || GrantError::MountForm { text: text.to_owned() };
        let (paths, access) = match text.rsplit_once(':') {
            Some((paths, "ro")) => (paths, Access::ReadOnly),
            Some((paths, "rw")) => (paths, Access::ReadWrite),
            _ => (text, Access::ReadOnly),
        };
        let (host, guest) = paths.rsplit_once(':').ok_or_else(form)?;
        if host.is_empty() {
            return Err(form());
        }
        Ok(Self {
            host: host.into(),
            guest: guest.parse()?,
            access,
            bytes_max: Self::DEFAULT_BYTES_MAX,
            entries_max: Self::DEFAULT_ENTRIES_MAX,
        })
    }
}

impl Grant {
    /// # Errors
    /// Two mounts under one guest path.
    pub fn checked(self) -> Result<Self, GrantError> {
        for (index, mount) in self.mounts.iter().enumerate() {
            if self.mounts[..index].iter().any(|other| other.guest == mount.guest) {
                return Err(GrantError::MountTwice { path: mount.guest.clone() });
            }
        }
        Ok(self)
    }

    /// The mount that covers a guest's path: the longest one.
    pub fn mount_for(&self, path: &str) -> Option<&Mount> {
        self.mounts
            .iter()
            .filter(|mount| mount.guest.covers(path))
            .max_by_key(|mount| mount.guest.as_str().len())
    }

    /// The denial of a path that no mount covers, or that a mount only lets read; `None` if
    /// the grants allow it.
    pub fn deny_path(
        &self,
        component: &ComponentRef,
        path: &str,
        access: Access,
    ) -> Option<Denial> {
        let mount = self.mount_for(path);
        let (code, guest) = match (mount, access) {
            (None, _) => (DenialCode::MountNotGranted, first_directory(path)),
            (Some(mount), Access::ReadWrite) if mount.access == Access::ReadOnly => {
                (DenialCode::MountReadOnly, mount.guest.as_str().to_owned())
            }
            (Some(_), _) => return None,
        };
        let host = mount.map_or_else(|| "./DIRECTORY".to_owned(), |m| m.host.display().to_string());
        Some(Denial {
            code,
            subject: path.to_owned(),
            grant: mount_grant(component, &host, &guest, access),
        })
    }
}

/// The line that grants a mount, and the flag that does the same for one call.
pub fn mount_grant(component: &ComponentRef, host: &str, guest: &str, access: Access) -> String {
    let flag = match access {
        Access::ReadOnly => "ro",
        Access::ReadWrite => "rw",
    };
    format!(
        "[components.{}] mounts = [{{ host = {host:?}, guest = {guest:?}, access = \"{}\" }}] (or, for one call: --mount {host}:{guest}:{flag})",
        component.name,
        access.as_str(),
    )
}

fn first_directory(path: &str) -> String {
    let path = normalized(path);
    let first = path[1..].split('/').next().unwrap_or_default();
    format!("/{first}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(mounts: &[&str]) -> Grant {
        let mounts = mounts.iter().map(|m| m.parse().expect("a mount")).collect();
        Grant { mounts, ..Grant::default() }
    }

    fn component() -> ComponentRef {
        ComponentRef::new("files", semver::Version::new(0, 1, 0)).expect("valid")
    }

    #[test]
    fn a_mount_is_read_only_unless_it_says_otherwise() {
        let mount: Mount = "./notes:/notes".parse().expect("valid");
        assert_eq!(mount.access, Access::ReadOnly);
        let mount: Mount = "./notes:/notes:rw".parse().expect("valid");
        assert_eq!((mount.access, mount.guest.as_str()), (Access::ReadWrite, "/notes"));
    }

    #[test]
    fn a_guest_path_that_is_not_normal_is_refused() {
        for bad in ["data", "/data/..", "/a/../b", "//", "/a//b", "", "/a\0b", "/a:b", "/./a"] {
            assert!(bad.parse::<GuestPath>().is_err(), "{bad:?}");
        }
        assert_eq!("/data/".parse::<GuestPath>().expect("valid").as_str(), "/data");
    }

    #[test]
    fn a_path_is_covered_only_after_it_is_normalized() {
        let data: GuestPath = "/data".parse().expect("valid");
        assert!(data.covers("/data") && data.covers("/data/x") && data.covers("/x/../data/y"));
        assert!(!data.covers("/data/../etc") && !data.covers("/database") && !data.covers("/"));
    }

    #[test]
    fn the_longest_mount_decides() {
        let grant = grant(&["./a:/data:rw", "./b:/data/fixed:ro"]);
        assert!(grant.deny_path(&component(), "/data/x", Access::ReadWrite).is_none());
        let denial =
            grant.deny_path(&component(), "/data/fixed/x", Access::ReadWrite).expect("denied");
        assert_eq!(denial.code, DenialCode::MountReadOnly);
    }

    #[test]
    fn a_denied_path_names_the_line_that_would_grant_it() {
        let denial =
            grant(&[]).deny_path(&component(), "/data/x.txt", Access::ReadOnly).expect("denied");
        assert_eq!(denial.code, DenialCode::MountNotGranted);
        assert!(denial.grant.contains("[components.files] mounts ="), "{}", denial.grant);
        assert!(denial.grant.contains("guest = \"/data\""), "{}", denial.grant);
    }

    #[test]
    fn two_mounts_in_one_place_are_refused() {
        assert!(grant(&["./a:/data", "./b:/data"]).checked().is_err());
    }
}
