//! `server.json` in the data directory: where the server is that has it.
//!
//! Written when a server listens and removed when it ends; what a killed server left behind is
//! noticed by its process being gone. Deliberately absent: trust. The file only says whom to
//! ask; who holds the journal is known by the lock on the journal.

use std::io::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use rustix::process::{Pid, test_kill_process};
use serde::{Deserialize, Serialize};

/// Where a server listens, and its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ServerFile {
    pub(crate) address: SocketAddr,
    pub(crate) pid: u32,
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

    /// Says that this process listens there, unless `yields` and another server's file stands.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn write(
        data: &Path,
        address: SocketAddr,
        yields: bool,
    ) -> std::io::Result<Option<Written>> {
        let path = path(data);
        if yields && Self::read(data).is_some() {
            return Ok(None);
        }
        let content = Self { address, pid: std::process::id() };
        let part = path.with_extension(format!("json.{}.part", content.pid));
        let mut options = std::fs::File::options();
        options.write(true).create(true).truncate(true);
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&part)?;
        serde_json::to_writer(&mut file, &content)?;
        file.write_all(b"\n")?;
        std::fs::rename(&part, &path)?;
        Ok(Some(Written { path, content }))
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

impl Drop for Written {
    fn drop(&mut self) {
        if ServerFile::parse(&self.path) == Some(self.content) {
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
        let written = ServerFile::write(data, address, false).expect("written").expect("first");
        let found = ServerFile::read(data).expect("this process runs");
        assert_eq!((found.address, found.pid), (address, std::process::id()));
        assert_eq!(found.reachable().to_string(), "127.0.0.1:7433");
        assert!(ServerFile::write(data, address, true).expect("fine").is_none());
        drop(written);
        assert_eq!(ServerFile::read(data), None);
        // No process has a number this high: the kernel's ceiling is 2^22 (proc(5), pid_max).
        std::fs::write(path(data), r#"{"address":"127.0.0.1:1","pid":2147483646}"#).expect("ok");
        assert_eq!(ServerFile::read(data), None);
        std::fs::write(path(data), "{").expect("written");
        assert_eq!(ServerFile::read(data), None);
    }
}
