//! `server.json` in the data directory: where the server is that has it.
//!
//! Written when a server listens and removed when it ends; what a killed server left behind is
//! noticed by its process being gone. Deliberately absent: trust. The file only says whom to
//! ask; who holds the journal is known by the lock on the journal.

use std::fmt;
use std::io::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use rustix::process::{Pid, test_kill_process};
use serde::{Deserialize, Serialize};

/// Where a server listens, and its process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ServerFile {
    pub(crate) address: SocketAddr,
    pub(crate) pid: u32,
    #[serde(default)]
    pub(crate) scheme: Scheme,
    /// SHA-256 of its certificate (DER), in hex: what a command holds it to. With TLS alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) certificate_sha256: Option<String>,
}

/// What a server speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scheme {
    #[default]
    Http,
    Https,
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http",
            Self::Https => "https",
        })
    }
}

/// Removes the file when the server ends.
pub(crate) struct Written {
    path: PathBuf,
    content: ServerFile,
}

impl ServerFile {
    /// What a data directory says; `None` if no process of that number runs.
    pub(crate) fn read(data: &Path) -> Option<Self> {
        Self::parse(&path(data)).filter(Self::runs)
    }

    fn parse(path: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    }

    /// Says that this process listens there, with which certificate if it has one, unless
    /// `yields` and another server's file stands.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn write(
        data: &Path,
        address: SocketAddr,
        certificate_sha256: Option<String>,
        yields: bool,
    ) -> std::io::Result<Option<Written>> {
        let path = path(data);
        if yields && Self::read(data).is_some() {
            return Ok(None);
        }
        let scheme = if certificate_sha256.is_some() { Scheme::Https } else { Scheme::Http };
        let content = Self { address, pid: std::process::id(), scheme, certificate_sha256 };
        content.put(&path)?;
        Ok(Some(Written { path, content }))
    }

    fn put(&self, path: &Path) -> std::io::Result<()> {
        let part = path.with_extension(format!("json.{}.part", self.pid));
        let mut options = std::fs::File::options();
        options.write(true).create(true).truncate(true);
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&part)?;
        serde_json::to_writer(&mut file, self)?;
        file.write_all(b"\n")?;
        std::fs::rename(&part, path)
    }

    /// Where to connect to: an address that means every interface is reached by loopback.
    pub(crate) fn reachable(&self) -> SocketAddr {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            match address {
                SocketAddr::V4(_) => address.set_ip(Ipv4Addr::LOCALHOST.into()),
                SocketAddr::V6(_) => address.set_ip(Ipv6Addr::LOCALHOST.into()),
            }
        }
        address
    }

    /// Whether its process is there, be it another user's.
    fn runs(&self) -> bool {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        pid.is_some_and(|pid| !matches!(test_kill_process(pid), Err(rustix::io::Errno::SRCH)))
    }
}

impl Written {
    /// Says that the server has another certificate now, if the file is still this server's.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn has_certificate(&mut self, sha256: String) -> std::io::Result<()> {
        if ServerFile::parse(&self.path).as_ref() == Some(&self.content) {
            self.content.certificate_sha256 = Some(sha256);
            self.content.put(&self.path)?;
        }
        Ok(())
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        if ServerFile::parse(&self.path).as_ref() == Some(&self.content) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn path(data: &Path) -> PathBuf {
    data.join("server.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_there_while_its_server_is_and_one_of_a_dead_process_counts_for_nothing() {
        let directory = tempfile::tempdir().expect("made");
        let data = directory.path();
        let address: SocketAddr = "0.0.0.0:7433".parse().expect("an address");
        let written =
            ServerFile::write(data, address, None, false).expect("written").expect("first");
        let found = ServerFile::read(data).expect("this process runs");
        assert_eq!((found.address, found.pid), (address, std::process::id()));
        assert_eq!(found.reachable().to_string(), "127.0.0.1:7433");
        assert!(ServerFile::write(data, address, None, true).expect("fine").is_none());
        drop(written);
        assert_eq!(ServerFile::read(data), None);
        let first = Some("aa".to_owned());
        let mut written = ServerFile::write(data, address, first, false).expect("ok").expect("ok");
        let found = ServerFile::read(data).expect("there");
        assert_eq!(
            (found.scheme, found.certificate_sha256.as_deref()),
            (Scheme::Https, Some("aa"))
        );
        written.has_certificate("bb".to_owned()).expect("written");
        let found = ServerFile::read(data).expect("there");
        assert_eq!(found.certificate_sha256.as_deref(), Some("bb"));
        drop(written);
        assert_eq!(ServerFile::read(data), None);
        // No process has a number this high: the kernel's ceiling is 2^22 (proc(5), pid_max).
        std::fs::write(path(data), r#"{"address":"127.0.0.1:1","pid":2147483646}"#).expect("ok");
        assert_eq!(ServerFile::read(data), None);
        std::fs::write(path(data), "{").expect("written");
        assert_eq!(ServerFile::read(data), None);
    }
}
